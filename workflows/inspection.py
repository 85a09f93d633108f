"""Looking at what stages wrote (`inspect`), and checking that it is as it was written (`verify`)."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from pipeline import stages, storage
from pipeline.errors import CorpusError, StorageError
from pipeline.stages import Finished


def inspect(url: str, rows: int) -> dict[str, Any]:
    """Facts and some rows of a stage folder or a checkpoint; `text` holds them as a person reads them.

    Raises: StorageError when the folder is none of ours.
    """
    from model.checkpoint import MARKER

    if storage.exists(storage.join(url, MARKER)):
        return _checkpoint(url)
    stage = stages.load(url)
    facts = {name: value for name, value in stage.manifest.items() if name not in ("files", "length_histogram", "samples")}
    if stage.name.startswith("shards_"):
        shown = list(_examples(stage, rows))
    elif stage.name.startswith("documents_"):
        shown = list(_documents(stage, rows))
    else:
        shown = [f"{entry['bytes']:>14,} bytes  {entry['name']}" for entry in stage.manifest["files"]]
    text = "\n".join([json.dumps(facts, ensure_ascii=False, indent=2), "", *shown])
    return {"facts": facts, "rows": shown, "text": text}


def follow(root: str, document: str) -> dict[str, Any]:
    """Where a document went: what every finished stage below `root` says of it.

    Raises: CorpusError for what is no id, or a document that no stage knows.
    """
    from pipeline.decisions import parse_id
    from pipeline.provenance import where

    if (number := parse_id(document)) is None:
        raise CorpusError(f"--document {document}: an id has 16 hexadecimal digits, as `nezha-pipe inspect` shows them")
    facts = where(root, number)
    lines = [f"{fact.stage:<40} {fact.text}" for fact in facts]
    return {"facts": [dataclasses.asdict(fact) for fact in facts], "rows": lines, "text": "\n".join(lines)}


def marked(pieces: list[str], hidden: set[int], seen: dict[int, str], starts: list[bool]) -> str:
    """A row as text: units parted by a thin bar, hidden pieces in 【】 with what the network sees in their place.

    北京|大学|的|【图→[MASK] 书→书 馆→[MASK]】
    """
    result = []
    for position, piece in enumerate(pieces):
        if starts[position] and position:
            result.append("|")
        first = position in hidden and (position - 1 not in hidden or starts[position])
        last = position in hidden and (position + 1 not in hidden or position + 1 == len(pieces) or starts[position + 1])
        word = piece.removeprefix("##")
        shown = f"{word}→{seen[position]}" if position in hidden else word
        result.append(("【" if first else " " if position in hidden else "") + shown + ("】" if last else ""))
    return "".join(result)


def _examples(stage: Finished, rows: int) -> Iterator[str]:
    from pipeline.shards import ShardSet

    shards = ShardSet(stage, "train")
    pieces = _pieces(stage)
    for index in range(min(rows, len(shards))):
        row = shards.row(index)
        seen = {int(p): _piece(pieces, int(r)) for draw in row.draws[:1] for p, r in zip(*draw, strict=True)}
        label = {None: "one segment", 0: "B follows A", 1: "B is from elsewhere"}[row.pair_label]
        yield f"example {row.example_id:016x} of document {row.document_id:016x}, {len(row.input_ids)} pieces, {label}"
        words = [_piece(pieces, int(i)) for i in row.input_ids]
        yield marked(words, set(seen), seen, row.unit_starts.tolist())
        yield ""


def _pieces(stage: Finished) -> list[str]:
    """The vocabulary that made the shards, if it lies beside them; else ids are shown."""
    from pipeline import vocabulary

    root = stage.url.rpartition("/")[0]
    wanted = stage.manifest["vocabulary"]["sha256"]
    for name in storage.list_names(root):
        if name.startswith("vocabulary-"):
            try:
                found = stages.load(storage.join(root, name))
            except StorageError:
                continue
            if found.manifest["sha256"] == wanted:
                return list(vocabulary.load(found).pieces)
    return []


def _piece(pieces: list[str], number: int) -> str:
    return pieces[number] if pieces else f"#{number}"


def _documents(stage: Finished, rows: int) -> Iterator[str]:
    from pipeline.documents import read_part

    for entry in stage.files("part-"):
        for document in read_part(stage, entry["name"]).slice(0, rows).to_pylist():
            measured = f"{document['characters']:,} characters, {document['chinese_share']:.0%} Chinese"
            yield f"document {document['id']:016x} ({document['origin']}), {measured}"
            if document["title"]:
                yield document["title"]
            yield document["text"][:400]
            yield ""
            rows -= 1
        if rows <= 0:
            return


def _checkpoint(url: str) -> dict[str, Any]:
    state = storage.read_json(storage.join(url, "state.json"))
    config = storage.read_json(storage.join(url, "config.json"))
    facts = {"state": state, "config": config}
    names = storage.list_names(url)
    shown = [f"{storage.file_size(storage.join(url, name)):>14,} bytes  {name}" for name in names]
    return {"facts": facts, "rows": shown, "text": "\n".join([json.dumps(facts, ensure_ascii=False, indent=2), "", *shown])}


def verify(url: str) -> tuple[int, list[str]]:
    """How many folders were checked (this one, or all finished ones below it), and what is wrong in them.

    Checksums are compared, then what the files hold (pipeline/invariants.py).

    Raises: StorageError when there is nothing of ours.
    """
    from model.checkpoint import MARKER, committed, damage
    from pipeline import invariants

    folders = [url] if storage.exists(storage.join(url, stages.MANIFEST)) else []
    folders = folders or [
        f for n in storage.list_names(url) if storage.exists(storage.join(f := storage.join(url, n), stages.MANIFEST))
    ]
    # What is not as it was written is not looked into.
    problems = [problem for folder in folders for problem in stages.verify(folder) or invariants.problems(stages.load(folder))]
    checkpoints = (
        [url] if storage.exists(storage.join(url, MARKER)) else [c for folder in {url, *folders} for c in committed(folder)]
    )
    problems += [f"{place}: {problem}" for place in sorted(checkpoints) if (problem := damage(place))]
    if not folders and not checkpoints:
        raise StorageError(f"{url}: nothing to verify: no {stages.MANIFEST} in it or in a folder of it")
    return len(folders) + len(checkpoints), problems
