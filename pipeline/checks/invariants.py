"""Rules for the content of finished stages, beyond the checksums of their files: what `nezha-pipe verify` checks.

    problems(stage, documents)
    ["runs/tiny/documents_news-3f9a0c1b2d4e/part-00002.parquet: row 4: its id belongs to another part"]

A checksum shows that a file is as it was written; these rules show that what was written is right. Each function checks one
kind of stage (the table in workflows/kinds.py names them), reading the files batch by batch.
"""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.checks import shard_invariants
from pipeline.checks.findings import Findings, differences
from pipeline.checks.shard_rows import ragged
from pipeline.documents import table
from pipeline.documents.stage import BAD_FILE
from pipeline.documents.table import document_id, part_of
from pipeline.engine import stages
from pipeline.engine.stages import Finished
from pipeline.errors import UserError
from pipeline.tokenization import encoded
from pipeline.tokenization.vocab import Vocab, punctuation_map
from pipeline.tokenization.vocabulary import load as load_vocabulary
from pipeline.wiki.dumps import side_input

Rules = Callable[[Finished], list[str]]


def problems(stage: Finished, rules: Rules) -> list[str]:
    """Check a finished stage and return one line per problem; files that cannot be read are problems too."""
    try:
        return rules(stage)
    except (pa.ArrowException, OSError, UserError) as error:
        return [f"{stage.url}: cannot be read ({' '.join(str(error).split())})"]
    except KeyError as error:
        return [f"{stage.url}: its manifest lacks {error}"]


def documents(stage: Finished) -> list[str]:
    """Check documents: ids, sources, languages and counts."""
    found: list[str] = []
    counts: Counter[str] = Counter(kept=0, bad=0, characters=0)
    tables: dict[str, Counter[str]] = {"languages": Counter(), "scripts": Counter()}
    for entry in stage.files("part-"):
        findings = Findings(stage.file(entry["name"]))
        for batch in findings.parquet(table.SCHEMA, ["id", "source", "origin", "characters", "language", "script"]):
            _document_rows(findings, batch, stage)
            counts.update(kept=len(batch), characters=int(batch["characters"].to_numpy().sum(dtype=np.int64)))
            tables["languages"].update(batch["language"].to_pylist())
            tables["scripts"].update(batch["script"].to_pylist())
        found += findings.done(entry)
    for entry in stage.files(BAD_FILE):
        counts["bad"] += storage.read_bytes(stage.file(entry["name"])).count(b"\n")
    # Wrong rows make wrong sums, so check the sums only if all rows are right.
    return found or [
        *differences(stage, counts, stage.manifest["counts"]),
        *differences(stage, {name: dict(table) for name, table in tables.items()}, stage.manifest),
    ]


def _document_rows(findings: Findings, batch: pa.RecordBatch, stage: Finished) -> None:
    ids, part = batch["id"].to_numpy(), int(findings.url.rpartition("-")[2].partition(".")[0])
    findings.increasing(ids)
    findings.demand("its id belongs to another part", part_of(ids, stage.manifest["parts"]) != part)
    sources, origins = batch["source"].to_pylist(), batch["origin"].to_pylist()
    right = [document_id(source, origin) for source, origin in zip(sources, origins, strict=True)]
    findings.demand("its id is not the hash of its source and origin", ids != np.array(right, np.uint64))
    name = stage.source
    findings.demand(f"its source is not {name}", np.array([source != name for source in sources], np.bool_))
    findings.demand("it has no characters", batch["characters"].to_numpy() <= 0)


def tokens(stage: Finished) -> list[str]:
    """Check documents as tokens: ids, sentences and units fit together."""
    vocab = _vocabulary_of(stage)
    found: list[str] = []
    counts: Counter[str] = Counter(documents=stage.manifest["counts"]["without_tokens"], tokens=0)
    for entry in stage.files("part-"):
        findings = Findings(stage.file(entry["name"]))
        with storage.open_read(findings.url) as file:
            reader = pa.ipc.open_file(file)
            kind = reader.schema.field("ids").type if "ids" in reader.schema.names else pa.null()
            # Without its vocabulary, the type of the ids gives an upper bound.
            size = len(vocab) if vocab else 1 << (kind.value_type.bit_width if pa.types.is_list(kind) else 0)
            if not reader.schema.equals(encoded.schema(size)):
                findings.add("its columns or their types are not those of tokens")
            else:
                for number in range(reader.num_record_batches):
                    _token_rows(findings, reader.get_batch(number), size, counts)
        found += findings.done(entry)
    return found or differences(stage, counts, stage.manifest["counts"])


def _token_rows(findings: Findings, batch: pa.RecordBatch, size: int, counts: Counter[str]) -> None:
    batch.validate(full=True)
    findings.increasing(batch["id"].to_numpy())
    ids, lengths = ragged(batch["ids"])
    ends, sentences = ragged(batch["sentence_ends"])
    starts, flags = ragged(batch["unit_starts"])
    counts.update(documents=len(batch), tokens=len(ids), sentences=len(ends), units=int(np.count_nonzero(starts)))
    shapes = (
        ("it has no tokens", lengths == 0),
        ("it has no sentences", sentences == 0),
        ("unit_starts does not have one flag per token", flags != lengths),
    )
    for rule, broken in shapes:
        findings.demand(rule, broken)
    if len(batch) and not any(broken.any() for _, broken in shapes):
        findings.demand(f"an id is not below {size}", np.maximum.reduceat(ids, np.cumsum(lengths) - lengths) >= size)
        rows, firsts = np.repeat(np.arange(len(batch)), sentences), np.cumsum(sentences) - sentences
        begins = np.append(np.int64(0), ends[:-1].astype(np.int64))
        begins[firsts] = 0
        findings.demand("sentence_ends are not increasing", ends <= begins, rows)
        beyond = ends[firsts + sentences - 1] != lengths
        findings.demand("the last sentence does not end with the last token", beyond)
        places = (np.cumsum(lengths) - lengths)[rows] + np.minimum(begins, lengths[rows] - 1)
        findings.demand("a sentence starts inside a unit", ~starts[places], rows)
    findings.row += len(batch)


def _vocabulary_of(stage: Finished) -> Vocab | None:
    """Return the vocabulary that a stage was made with, if it is in the same folder."""
    found = stages.input_of(stage, "vocabulary", "vocabulary")
    return load_vocabulary(found) if found else None


def vocabulary(stage: Finished) -> list[str]:
    """Check that a vocabulary is the one in its manifest."""
    vocab, manifest = load_vocabulary(stage), stage.manifest
    mapped = punctuation_map(vocab) if manifest["map_punctuation"] else {}
    return differences(stage, {"size": len(vocab), "sha256": vocab.sha256, "mapped_punctuation": mapped}, manifest)


def shards(stage: Finished) -> list[str]:
    """Check every row of every shard."""
    return shard_invariants.problems(stage, _vocabulary_of(stage))


def wiki_side_input(stage: Finished) -> list[str]:
    """Check the pages found in a dump: known kinds, unique names."""
    counts: Counter[str] = Counter()
    names: set[tuple[str, str]] = set()
    findings = Findings(stage.file(side_input.FILE))
    for batch in findings.parquet(side_input.SCHEMA, ["kind", "name"]):
        rows = list(zip(batch["kind"].to_pylist(), batch["name"].to_pylist(), strict=True))
        findings.demand("its kind is unknown", np.array([kind not in side_input.KINDS for kind, _ in rows], np.bool_))
        repeated = []
        for row in rows:
            repeated.append(row in names)
            names.add(row)
        findings.demand("its name repeats an earlier one", np.array(repeated, np.bool_))
        counts.update(kind for kind, _ in rows)
    (entry,) = stage.files(side_input.FILE)
    return findings.done(entry) or differences(
        stage, {kind: counts[kind] for kind in side_input.KINDS}, stage.manifest["counts"]
    )
