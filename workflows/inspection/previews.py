"""Rows of stages as text, for `nezha-pipe inspect`.

preview(stage, rows=1)      of shards     example 7c31... of document 0a4f..., 62 tokens, B follows A, mask 1 of 2
                                          [CLS]|北京|大学|的|【图→[MASK] 书→书 馆→[MASK]】|[SEP]
                            of tokens     document 0a4f..., 58 tokens in 2 sentences
                                          北京|大学|的|图书馆|很|大|。
                            of dedup      dropped from news: 0a4f... near_duplicate of 77c1...
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.documents import table
from pipeline.engine import parquet, stages
from pipeline.engine.integrity import open_finished
from pipeline.engine.stages import Finished
from pipeline.errors import CorpusError
from pipeline.tokenization.vocab import SPECIALS
from pipeline.tokenization.vocabulary import load as load_vocabulary
from workflows.kinds import kind_of

MOST_CHARACTERS = 400
"""Characters shown of a document."""
MOST_SENTENCES = 10
"""Sentences shown of a document as tokens."""
BEGINNING = 60
"""Characters shown of a document that another row refers to."""
TOKENS_PER_LINE = 20


def preview(stage: Finished, rows: int, draw: int | None = None) -> list[str]:
    """Return lines that show some rows of a stage, or its file names if it has no rows.

    Args:
        draw: which static mask to show, for shards; None = the first, if there is one.

    Raises: CorpusError for shards without that mask.
    """
    if show := kind_of(stage).function("preview"):
        return list(show(stage, rows, draw))
    return [f"{entry['bytes']:>14,} bytes  {entry['name']}" for entry in stage.manifest["files"]]


def mark_hidden(tokens: list[str], hidden: set[int], seen: dict[int, str], starts: list[bool]) -> str:
    """Return a row as text: words separated by |, masked tokens in 【】 with their replacements.

    北京|大学|的|【图→[MASK] 书→书 馆→[MASK]】
    """
    result = []
    for position, token in enumerate(tokens):
        if starts[position] and position:
            result.append("|")
        first = position in hidden and (position - 1 not in hidden or starts[position])
        last = position in hidden and (position + 1 not in hidden or position + 1 == len(tokens) or starts[position + 1])
        word = token.removeprefix("##")
        shown = f"{word}→{seen[position]}" if position in hidden else word
        result.append(("【" if first else " " if position in hidden else "") + shown + ("】" if last else ""))
    return "".join(result)


@dataclass(frozen=True)
class _Names:
    """Tokens by their ids; without the vocabulary, the ids themselves."""

    tokens: tuple[str, ...]

    @classmethod
    def of(cls, stage: Finished) -> "_Names":
        found = stages.input_of(stage, "vocabulary", "vocabulary")
        return cls(load_vocabulary(found).tokens if found else ())

    def __call__(self, number: int) -> str:
        return self.tokens[number] if number < len(self.tokens) else f"#{number} "


_LABELS = {
    "nsp": ("B follows A", "B is from elsewhere"),
    "sop": ("A and B are in order", "A and B are swapped"),
}


def shards(stage: Finished, rows: int, draw: int | None) -> Iterator[str]:
    """Show examples with their masks."""
    from pipeline.examples.shards import ShardSet

    draws, task = stage.manifest["masking"]["static_draws"], stage.manifest["pairs"]["task"]
    if draw is not None and draw >= draws:
        masks = f"{draws} static masks, counted from 0" if draws else "no static masks; masks are drawn during training"
        raise CorpusError(f"--draw {draw}: these shards have {masks}")
    shards, names = ShardSet(stage, "train"), _Names.of(stage)
    mask = f"mask {(draw or 0) + 1} of {draws}" if draws else "masked during training"
    for index in range(min(rows, len(shards))):
        row = shards.row(index)
        chosen = row.draws[draw or 0] if draws else ((), ())
        seen = {int(place): names(int(number)) for place, number in zip(*chosen, strict=True)}
        label = "one segment" if row.pair_label is None else _LABELS[task][row.pair_label]
        about = f"{len(row.input_ids)} tokens, {label}, {mask}"
        yield f"example {row.example_id:016x} of document {row.document_id:016x}, {about}"
        yield mark_hidden([names(int(number)) for number in row.input_ids], set(seen), seen, row.unit_starts.tolist())
        yield ""


def documents(stage: Finished, rows: int, draw: int | None) -> Iterator[str]:
    """Show documents and what was measured."""
    columns = ["id", "origin", "title", "text", "characters", "chinese_share", "language", "script"]
    for row in _rows(stage, "part-", rows, columns):
        measured = f"{row['characters']:,} characters, {row['chinese_share']:.0%} Chinese, {row['language']} {row['script']}"
        yield f"document {row['id']:016x} ({row['origin']}), {measured}"
        if row["title"]:
            yield row["title"]
        yield row["text"][:MOST_CHARACTERS]
        yield ""


def tokens(stage: Finished, rows: int, draw: int | None) -> Iterator[str]:
    """Show documents as tokens, a sentence per line."""
    names = _Names.of(stage)
    for row in islice(_token_rows(stage), rows):
        starts, ends = row["unit_starts"], row["sentence_ends"]
        yield f"document {row['id']:016x}, {len(starts):,} tokens in {len(ends):,} sentences"
        for begin, end in list(zip([0, *ends], ends, strict=False))[:MOST_SENTENCES]:
            yield mark_hidden([names(number) for number in row["ids"][begin:end]], set(), {}, starts[begin:end])
        if len(ends) > MOST_SENTENCES:
            yield f"... {len(ends) - MOST_SENTENCES:,} more"
        yield ""


def _token_rows(stage: Finished) -> Iterator[dict[str, Any]]:
    for entry in stage.files("part-"):
        with open_finished(stage.file(entry["name"])) as file:
            reader = pa.ipc.open_file(file)
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                yield from (batch.slice(row, 1).to_pylist()[0] for row in range(batch.num_rows))


def _rows(stage: Finished, prefix: str, rows: int, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the first rows of Parquet files."""
    for entry in stage.files(prefix, ".parquet"):
        with open_finished(stage.file(entry["name"])) as file:
            for batch in pq.ParquetFile(file).iter_batches(batch_size=min(max(rows, 1), 64), columns=columns):
                yield from batch.slice(0, rows).to_pylist()
                rows -= min(rows, batch.num_rows)
                if not rows:
                    return


def dedup(stage: Finished, rows: int, draw: int | None) -> Iterator[str]:
    """Show what was dropped, with the beginnings of the documents."""
    read = [found for source in stage.manifest["counts"] if (found := _documents_of(stage, source))]
    for source in stage.manifest["counts"]:
        for row in _rows(stage, f"dropped_{source}.", rows):
            of = f" of {row['kept_id']:016x}" if row["kept_id"] is not None else ""
            yield f"dropped from {source}: {row['id']:016x} {row['reason']}{of}"
            yield from (_beginning(read, number) for number in (row["id"], row["kept_id"]) if number is not None)
        for row in _rows(stage, f"paragraphs_{source}.", rows):
            yield f"removed from {row['id']:016x} of {source}: line {row['ordinal']}, as in {row['kept_id']:016x}"
        for row in _rows(stage, f"contaminated_{source}.", rows):
            yield _overlap(row)
        yield ""


def _documents_of(stage: Finished, source: str) -> Finished | None:
    return stages.input_of(stage, f"documents_{source}", f"documents_{source}")


def _beginning(read: list[Finished], number: int) -> str:
    """Return the beginning of a document, searched in some sources."""
    for done in read:
        if done.files(name := table.part_file(number, done.manifest["parts"])):
            row = next(parquet.read_rows(done.file(name), "id", [number], ["id", "text"]), None)
            if row:
                return f"    {' '.join(row['text'][:BEGINNING].split())}"
    return f"    ({number:016x}: the documents of its source are not here)"


def contamination(stage: Finished, rows: int, draw: int | None) -> Iterator[str]:
    """Show documents and the evaluation texts they contain."""
    yield from map(_overlap, _rows(stage, "part-", rows))


def _overlap(row: dict[str, Any]) -> str:
    found = f"{row['runs']} n-grams, {row['share']:.0%} of a text of {row['file']}"
    return f"document {row['id']:016x} contains {found}: {row['text']}"


def signatures(stage: Finished, rows: int, draw: int | None) -> Iterator[str]:
    """Show signatures as hexadecimal digits."""
    for row in _rows(stage, "part-", rows):
        bands = " ".join(row["bands"][place : place + 8][::-1].hex() for place in (0, 8))
        about = f"{row['letters']:,} normalised characters, {row['paragraphs']} paragraphs"
        yield f"document {row['id']:016x}, {about}, bands {bands} ..., sketch {row['sketch'][:8].hex()}..."


def evaluation(stage: Finished, rows: int, draw: int | None) -> Iterator[str]:
    """Show evaluation texts."""
    for row in _rows(stage, "texts", rows):
        yield f"{row['file']}, {row['runs']} n-grams: {row['text']}"


def wiki_side_input(stage: Finished, rows: int, draw: int | None) -> Iterator[str]:
    """Show pages of each kind."""
    table = parquet.read(stage.file("side.parquet"))
    for kind in table["kind"].unique().to_pylist():
        some = table.filter(pc.equal(table["kind"], kind))
        yield f"{len(some):,} of kind {kind}:"
        for row in some.slice(0, rows).to_pylist():
            yield f"    {row['name']} -> {' '.join(row['text'][:BEGINNING].split())}"


def vocabulary(stage: Finished, rows: int, draw: int | None) -> Iterator[str]:
    """Show tokens of each kind."""
    vocab = load_vocabulary(stage)
    kinds: dict[str, list[str]] = {
        "special": list(SPECIALS),
        "unused": [],
        "single characters": [],
        "words": [],
        "word parts": [],
    }
    for token in vocab.tokens:
        if len(token) == 1:
            kinds["single characters"].append(token)
        elif token[0] in "[<" and token not in SPECIALS:
            kinds["unused"].append(token)
        elif token not in SPECIALS:
            kinds["word parts" if token.startswith("##") else "words"].append(token)
    for kind, tokens in kinds.items():
        yield f"{len(tokens):,} {kind}"
        # A sample of all tokens, not only the most frequent, which come first.
        shown = tokens[:: -(-len(tokens) // (rows * TOKENS_PER_LINE)) or 1] if rows else []
        for first in range(0, len(shown), TOKENS_PER_LINE):
            line = shown[first : first + TOKENS_PER_LINE]
            yield "    " + "  ".join(f"{vocab.ids[token]} {token if token.isprintable() else ascii(token)}" for token in line)
