"""Rules for every row of every shard; pipeline/examples/shards.py says what a row is.

    problems(stage, vocab)     runs/shards_news_128-1b2d4e3f9a0c/train-00000.arrow: row 17: a unit is only partly masked

A batch of rows is checked as flat arrays: 220 to 260 MB/s on one core.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.arrays import Flags, Ints
from pipeline.checks.findings import Findings, differences
from pipeline.checks.shard_rows import Rows
from pipeline.engine.stages import Finished
from pipeline.examples import shards
from pipeline.examples.segments import NO_LABEL
from pipeline.examples.stage import SPLITS, in_validation, order_keys
from pipeline.tokenization.vocab import Vocab


@dataclass(frozen=True)
class Rules:
    """What the manifest says about rows."""

    manifest: dict[str, Any]
    vocab: Vocab | None
    """None = unknown; then [CLS] and [SEP] are what the first row has in their places."""

    @property
    def length(self) -> int:
        return int(self.manifest["sequence_length"])

    @property
    def size(self) -> int:
        return int(self.manifest["vocabulary"]["size"])

    @property
    def draws(self) -> int:
        return int(self.manifest["masking"]["static_draws"])

    @property
    def imported(self) -> bool:
        """Whether the rows were imported from TFRecords, which may repeat an example and label a single segment."""
        return "format" in self.manifest["settings"]

    @property
    def task(self) -> str:
        return str(self.manifest["pairs"]["task"])

    @cached_property
    def schema(self) -> pa.Schema:
        metadata = {"vocabulary_sha256": self.manifest["vocabulary"]["sha256"], "stage_key": self.manifest["key"]}
        return shards.schema(self.size, metadata)


@dataclass
class Totals:
    """Counts over the rows of one split, named as in the manifest."""

    counts: Counter[str] = field(default_factory=lambda: Counter(rows=0, tokens=0, masked=0))
    lengths: Ints = field(default_factory=lambda: np.zeros(1, np.int64))
    last_key: int = -1
    """Order key of the previous row, over all shards of the split."""

    def add_lengths(self, lengths: Ints) -> None:
        found = np.bincount(lengths, minlength=len(self.lengths))
        found[: len(self.lengths)] += self.lengths
        self.lengths = found

    def histogram(self) -> dict[str, int]:
        return {str(length): int(self.lengths[length]) for length in np.flatnonzero(self.lengths)}


def problems(stage: Finished, vocab: Vocab | None) -> list[str]:
    """Check all shards of a stage and return one line per problem."""
    rules = Rules(stage.manifest, vocab)
    found: list[str] = []
    for split in SPLITS:
        totals = Totals()
        for entry in stage.files(f"{split}-", ".arrow"):
            findings = Findings(stage.file(entry["name"]))
            try:
                _check_file(findings, split, rules, totals)
            except (pa.ArrowException, OSError) as error:
                findings.add(f"not a readable shard ({' '.join(str(error).split())})")
            found += findings.done(entry)
        # Wrong rows make wrong sums, so check the sums only if all rows are right.
        found += [] if found else _check_totals(stage, split, totals)
    return found


def _check_totals(stage: Finished, split: str, totals: Totals) -> list[str]:
    found = differences(stage, totals.counts, stage.manifest["counts"].get(split, {}), prefix=f"{split} ")
    if totals.histogram() != stage.manifest["length_histogram"].get(split, {}):
        found.append(f"{stage.url}: {split} length_histogram: the manifest does not match the rows")
    return found


def _check_file(findings: Findings, split: str, rules: Rules, totals: Totals) -> None:
    with storage.open_read(findings.url) as file:
        reader = pa.ipc.open_file(file)
        if not reader.schema.equals(rules.schema):
            return findings.add("its columns or their types are not those of a shard")
        for name, value in (rules.schema.metadata or {}).items():
            if (is_ := (reader.schema.metadata or {}).get(name, b"none")) != value:
                findings.add(f"{name.decode()} is {is_.decode()[:64]}, but in the manifest {value.decode()}")
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            batch.validate(full=True)
            most, last = shards.BATCH_ROWS, number + 1 == reader.num_record_batches
            if not (0 < batch.num_rows <= most if last else batch.num_rows == most):
                findings.add(f"batch {number} has {batch.num_rows:,} rows; all but the last must have {most:,}")
            _check_batch(batch, findings, split, rules, totals)
            findings.row += batch.num_rows


def _check_batch(batch: pa.RecordBatch, findings: Findings, split: str, rules: Rules, totals: Totals) -> None:
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    for name, column in columns.items():
        values = column.flatten() if pa.types.is_list(column.type) else column
        if name != "pair_label" and column.null_count + values.null_count:
            return findings.add(f"{name} contains nulls")
    rows, kept = Rows(batch), np.arange(batch.num_rows)
    whole = np.ones(len(rows), np.bool_)
    for rule, broken in _shapes(rows, rules):
        findings.demand(rule, broken)
        whole &= ~broken
    for rule, broken in (*_labels(rows, rules, totals), *_order(rows, split, rules, totals)):
        findings.demand(rule, broken)
    totals.add_lengths(rows.lengths)
    if not whole.all():  # the other rules need rows whose parts fit together
        kept = np.flatnonzero(whole)
        rows = Rows(batch.take(pa.array(kept)))
    if len(rows):
        for rule, broken, owners in (*_tokens(rows, rules, totals), *_masks(rows, rules, totals)):
            findings.demand(rule, broken, kept[owners])


def _shapes(rows: Rows, rules: Rules) -> Iterator[tuple[str, Flags]]:
    """Check that the parts of each row fit together."""
    lengths, second = rows.lengths, rows.second
    yield f"it is not 3 to {rules.length} tokens long", (lengths < 3) | (lengths > rules.length)
    yield "unit_starts does not have one bit per token", rows.unit_bytes != -(-lengths // 8)
    yield "second_start leaves a segment empty", (second > 0) & ((second < 3) | (second > lengths - 2))
    yield "mask_positions and mask_replacements differ in number", rows.masked != rows.replaced
    yield f"the number of its masks is not {rules.draws}", rows.draws != rules.draws
    of_row = np.repeat(np.arange(len(rows)), rows.draws)
    sums = np.bincount(of_row, rows.draw_lengths, minlength=len(rows))
    yield "mask_lengths do not add up to the number of mask_positions", sums != rows.masked


def _labels(rows: Rows, rules: Rules, totals: Totals) -> Iterator[tuple[str, Flags]]:
    labels, paired = rows.labels, rows.second > 0
    labelled = labels != NO_LABEL
    yield "pair_label is neither 0 nor 1", labelled & (labels > 1)
    if rules.imported:
        yield f"pair_label does not fit the task {rules.task!r}", labelled != (rules.task != "none")
    elif rules.task == "none":
        yield "it has a pair_label or a second segment, but the task has no pairs", labelled | paired
    else:
        yield "pair_label is null although there are two segments, or set although there is one", labelled != paired
    totals.counts.update(rows=len(rows), tokens=len(rows.ids), masked=len(rows.positions))
    ones = int(np.count_nonzero(labels == 1))
    totals.counts.update({"sop": {"swapped": ones, "single": int((~labelled).sum())}}.get(rules.task, {"random_next": ones}))


def _order(rows: Rows, split: str, rules: Rules, totals: Totals) -> Iterator[tuple[str, Flags]]:
    """Check that rows are in the order of a hash of their ids (distinct ids have distinct hashes) over all files of a split."""
    share = rules.manifest["settings"]["validation_ratio"]
    yield "its document belongs to the other split", in_validation(rows.document_ids, share) != (split == "validation")
    if not len(rows):
        return
    keys = order_keys(rows.example_ids, rules.manifest["seed"])
    before = np.concatenate((np.array([max(totals.last_key, 0)], np.uint64), keys[:-1]))
    later = keys > before
    later[0] |= totals.last_key < 0
    repeated = ~later & (keys == before)
    yield "it is not in hash order", ~later & ~repeated
    if not rules.imported:
        yield "its example_id repeats that of the previous row", repeated
    totals.last_key = int(keys[-1])


def _tokens(rows: Rows, rules: Rules, totals: Totals) -> Iterator[tuple[str, Flags, Ints]]:
    ids, every, last = rows.ids, np.arange(len(rows)), rows.firsts + rows.lengths - 1
    cls, sep = (rules.vocab.cls_id, rules.vocab.sep_id) if rules.vocab else (ids[0], ids[last[0]])
    yield f"an id is not below {rules.size}, the size of the vocabulary", ids >= rules.size, rows.owners
    yield "the first token is not [CLS]", ids[rows.firsts] != cls, every
    yield "the last token is not [SEP]", ids[last] != sep, every
    yield "there is no [SEP] before segment B", ids[rows.separators] != sep, every
    starts, beyond = rows.units
    yield "unit_starts has bits after the last token", beyond, every
    yield "[CLS] or [SEP] is not a unit of its own", _specials(rows, rules) & ~(starts & _next(starts)), rows.owners
    if rules.vocab:
        totals.counts.update(unknown=int(np.count_nonzero(ids == rules.vocab.unk_id)))


def _specials(rows: Rows, rules: Rules) -> Flags:
    """(tokens,) whether it is special: by its place, and with layout full_sentences, by its id, as [SEP] also separates
    documents."""
    if rules.manifest["pairs"]["layout"] != "full_sentences":
        return rows.specials
    separators: Flags = rows.ids == rows.ids[rows.lengths[0] - 1]
    return rows.specials | separators


def _next(starts: Flags) -> Flags:
    """(tokens,) whether a unit starts at the next token."""
    return np.append(starts[1:], True)


def _masks(rows: Rows, rules: Rules, totals: Totals) -> Iterator[tuple[str, Flags, Ints]]:
    of_draw = np.repeat(np.arange(len(rows)), rows.draws)
    if most := rules.manifest["masking"]["max_predictions_per_seq"]:
        yield f"a mask has more than {most} positions", rows.draw_lengths > most, of_draw
    if not len(rows.positions):
        return
    row, draw = (np.repeat(np.arange(len(numbers)), numbers) for numbers in (rows.masked, rows.draw_lengths))
    positions = rows.positions.astype(np.int64)
    outside = positions >= rows.lengths[row]
    yield "a mask position is after the last token", outside, row
    places = rows.firsts[row] + np.where(outside, 0, positions)
    yield "[CLS] or [SEP] is masked", ~outside & _specials(rows, rules)[places], row
    yield f"a replacement is not below {rules.size}, the size of the vocabulary", rows.replacements >= rules.size, row
    same, step = draw[1:] == draw[:-1], np.diff(positions)
    yield "the mask positions of a draw are not increasing", same & (step <= 0), row[1:]
    joined = same & (step == 1)
    starts, _ = rows.units
    cut_before = ~starts[places] & ~np.concatenate(([False], joined))
    cut_after = ~_next(starts)[places] & ~np.concatenate((joined, [False]))
    yield "a unit is only partly masked", cut_before | cut_after, row
    totals.counts.update(shown_as_is=int(np.count_nonzero(rows.replacements == rows.ids[places])))
    if rules.vocab:
        totals.counts.update(shown_as_mask=int(np.count_nonzero(rows.replacements == rules.vocab.mask_id)))
