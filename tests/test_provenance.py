"""Provenance: every stage that contains a document is listed, with what it records."""

from typing import Any

import pyarrow as pa
import pytest

from pipeline import storage
from pipeline.checks import provenance
from pipeline.checks.provenance import where
from pipeline.config import DecontaminationConfig, DedupConfig, FilterConfig, SourceConfig
from pipeline.dedup.decontamination import contamination
from pipeline.dedup.signatures import signatures
from pipeline.dedup.stage import dedup
from pipeline.engine import stages
from pipeline.engine.stages import FileEntry, Stage
from pipeline.errors import CorpusError
from pipeline.examples import shards
from tests.made_documents import IN_LOOPS, generated, identity, made

LINE = "本文由某某翻译小组的译者原创编译，在某某中国网站荣誉推出，转载时请注明作者和出处以及译者的名字"
TEXTS = generated(1, 6, 14)
TRACES = {name: getattr(provenance, name) for name in ("documents", "contamination", "dedup", "shards")}


def write_shards(root: str, source: str, documents: list[int]) -> None:
    """Write a shard with one row per id."""
    schema = shards.schema(100)
    empty = {"list": [], "binary": b"", "uint": 0}
    rows: list[dict[str, Any]] = []
    for place, number in enumerate(documents):
        row = {field.name: next(value for kind, value in empty.items() if str(field.type).startswith(kind)) for field in schema}
        rows.append({**row, "document_id": number, "example_id": place})

    def body(folder: str) -> dict[str, object]:
        with (
            storage.open_write(storage.join(folder, "train-00000.arrow")) as file,
            pa.ipc.new_file(file, schema) as writer,
        ):
            writer.write_table(pa.Table.from_pylist(rows, schema=schema), max_chunksize=2)
        return {"files": [FileEntry.of(folder, "train-00000.arrow", len(rows))]}

    stages.run(root, Stage("shards", 1, {"documents": documents}, {}, source=source, length=64), body)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("provenance")
    url = str(folder / "runs")
    (folder / "dev.tsv").write_text(TEXTS[4].replace("\n", ""))
    texts = {"a": [TEXTS[0], f"{LINE}\n{TEXTS[1]}"], "b": [TEXTS[0][:-3], f"{TEXTS[2]}\n{LINE}", TEXTS[4], TEXTS[3]]}
    sources = [SourceConfig(name=name, kind="text") for name in texts]
    leaks, config = DecontaminationConfig(inputs=(str(folder / "dev.tsv"),)), DedupConfig()
    read = [made(url, name, content) for name, content in texts.items()]
    both = list(zip(sources, read, strict=True))
    signed = [signatures(s, d, config, url, execution=IN_LOOPS) for s, d in both]
    found = [contamination(s, d, leaks, url, execution=IN_LOOPS) for s, d in both]
    off = dict.fromkeys(texts, FilterConfig(judge_from_characters=10**9))
    dedup(sources, read, signed, found, off, config, [], url, decontamination=leaks, execution=IN_LOOPS)
    write_shards(url, "a", [identity("a", 0), 5, identity("a", 0), identity("a", 1)])
    write_shards(url, "b", [identity("b", 1)])
    storage.write_bytes(storage.join(url, "shards_b_64-unfinished", "train-00000.arrow"), b"")
    return url


def facts_of(root: str, source: str, number: int) -> list[tuple[str, str]]:
    return [(fact.kind, fact.text) for fact in where(root, identity(source, number), TRACES)]


def test_a_document_that_stays_for_another(root: str) -> None:
    facts = facts_of(root, "a", 0)
    assert [kind for kind, _ in facts] == ["document", "kept", "cluster", "shard"]
    beginning = " ".join(TEXTS[0][:200].split())
    assert facts[0][1].startswith("0 (part-0000") and facts[0][1].endswith(beginning)
    assert facts[2:] == [
        ("cluster", "one of 2 duplicates, this one is kept"),
        ("shard", "train-00000.arrow: 2 examples (rows 0, 2)"),
    ]


def test_a_near_duplicate(root: str) -> None:
    kept = f"{identity('a', 0):016x}"
    assert facts_of(root, "b", 0)[1:] == [
        ("dropped", f"dropped: near_duplicate of {kept}"),
        ("cluster", f"one of 2 duplicates, {kept} is kept"),
    ]
    (document, *_) = where(root, identity("b", 0), TRACES)
    assert document.details["source"] == "b"
    assert document.stage.startswith("documents_b-")


def test_a_document_that_loses_a_line(root: str) -> None:
    lines = TEXTS[2].count("\n") + 1
    assert facts_of(root, "b", 1)[1:] == [
        ("kept", "kept"),
        ("paragraphs", f"1 line removed: {lines} (as in {identity('a', 1):016x})"),
        ("shard", "train-00000.arrow: 1 example (row 0)"),
    ]


def test_a_document_that_holds_an_evaluation_text(root: str) -> None:
    facts = facts_of(root, "b", 2)
    assert [kind for kind, _ in facts] == ["document", "overlap", "dropped", "contaminated"]
    assert facts[1][1].startswith("dev.tsv: ")
    assert facts[2][1] == "dropped: contaminated"
    assert "100% of a text of dev.tsv" in facts[3][1]


def test_an_unknown_document_is_an_error_that_says_what_ids_are(root: str) -> None:
    with pytest.raises(
        CorpusError, match="no finished stage contains document 0000000000000011; ids are 16 hexadecimal digits"
    ):
        where(root, 17, TRACES)
