"""Invariants: a prepared corpus breaks none, and each one broken on purpose is reported by file and row."""

import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from pipeline import storage
from pipeline.checks.findings import Findings
from pipeline.config import MaskingConfig, PairsConfig
from pipeline.engine import integrity, stages
from pipeline.engine.stages import FileEntry, Finished
from pipeline.errors import StorageError
from pipeline.examples import shards
from pipeline.examples.shards import unpack_units
from pipeline.examples.stage import in_validation, order_keys
from pipeline.examples.stage import shards as make_shards
from pipeline.sources.inputs import expand
from pipeline.tfrecords.exchange import export_tfrecords, import_tfrecords
from pipeline.tokenization.vocabulary import load
from pipeline.wiki.dumps.side_input import side_input
from tests import corpus, wiki_dumps
from tests.deciding import GOOD, LINE, decide
from tests.made_documents import IN_LOOPS, generated, identity
from tests.tiny import pack_units
from tests.wiki_dumps import Draft
from workflows.chain import DataPointer
from workflows.cli import main
from workflows.inspection.inspect import content_problems, verify

Row = dict[str, Any]
LAYOUTS = [
    *((task, layout) for task in ("nsp", "sop", "none") for layout in ("segments", "sentences")),
    ("none", "full_sentences"),
]


@pytest.mark.parametrize("which", ["generated", pytest.param("real", marks=corpus.needs_real_data)])
def test_a_prepared_corpus_has_no_problem(which: str) -> None:
    for name, stage in corpus.prepared(which).items():
        assert verify(stage.url) == (1, []), name


@pytest.mark.parametrize(("task", "layout"), LAYOUTS)
@pytest.mark.parametrize(("policy", "draws", "most"), [("word", 1, 0), ("span", 2, 0), ("token", 0, 0), ("word", 2, 3)])
def test_shards_of_every_kind_have_no_problem(
    tmp_path: Path, task: Any, layout: Any, policy: Any, draws: int, most: int
) -> None:
    made = corpus.prepared()
    masking = MaskingConfig(policy=policy, static_draws=draws, max_predictions_per_seq=most)
    pairs = PairsConfig(task=task, layout=layout, dupe_factor=2)
    config = replace(corpus.generated(), masking=masking, pairs=pairs)
    done = make_shards(
        config.sources[0], 40, made["tokens_text"], made["vocabulary"], config, str(tmp_path), execution=IN_LOOPS
    )
    assert content_problems(done) == []  # the vocabulary is not beside it
    shutil.copytree(made["vocabulary"].url, tmp_path / storage.base_name(made["vocabulary"].url))
    assert content_problems(done) == []


def test_shards_of_tfrecords_have_no_problem(tmp_path: Path) -> None:
    made = corpus.prepared()
    export_tfrecords(made["shards_text_64"], load(made["vocabulary"]), str(tmp_path / "records"))
    root = str(tmp_path / "runs")
    shutil.copytree(made["vocabulary"].url, Path(root) / storage.base_name(made["vocabulary"].url))
    files = expand([str(tmp_path / "records")])
    twice = [*files, *files]  # imports may repeat an example
    done = import_tfrecords(twice, "old", made["vocabulary"], root, validation_ratio=0.1, execution=IN_LOOPS)
    assert content_problems(done) == []


@pytest.fixture
def copied(tmp_path: Path) -> dict[str, Finished]:
    """Copy the prepared corpus, to break it."""
    made = corpus.prepared()
    shutil.copytree(Path(made["vocabulary"].url).parent, tmp_path / "runs")
    return {name: stages.load(str(tmp_path / "runs" / storage.base_name(stage.url))) for name, stage in made.items()}


def rewrite(stage: Finished, name: str, change: Callable[[list[Row]], object]) -> str:
    """Change the rows of a file, write a manifest with its new checksum, and return the file's URL."""
    url = stage.file(name)
    if name.endswith(".arrow"):
        table = pa.ipc.open_file(storage.read_bytes(url)).read_all()
    else:
        with storage.open_read(url) as source:
            table = pq.read_table(source)
    rows = table.to_pylist()
    change(rows)
    table = pa.Table.from_pylist(rows, schema=table.schema)
    with storage.open_write(url) as file:
        if name.endswith(".arrow"):
            with pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table, max_chunksize=shards.BATCH_ROWS)
        else:
            pq.write_table(table, file)
    commit(stage, name)
    return url


def commit(stage: Finished, name: str) -> None:
    """Write a manifest with the checksum of a changed file."""
    for entry in stage.manifest["files"]:
        if entry["name"] == name:
            entry.update(asdict(FileEntry.of(stage.url, name, entry["rows"])))
    storage.write_json(stage.file("manifest.json"), stage.manifest)
    storage.write_json(stage.file("run.json"), {"manifest_sha256": integrity.manifest_digest(stage.manifest)})


def hide(row: Row, positions: list[int]) -> None:
    row.update(mask_positions=positions, mask_replacements=[5] * len(positions), mask_lengths=[len(positions)])


def units(row: Row) -> Any:
    return unpack_units(row["unit_starts"], len(row["input_ids"]))


def with_units(row: Row, changed: Callable[[Any], object]) -> None:
    starts = np.append(units(row), np.zeros(-len(row["input_ids"]) % 8, np.bool_))
    changed(starts)
    row["unit_starts"] = pack_units(starts)


def half(row: Row) -> None:
    """Mask half of a word of two tokens."""
    starts = np.append(units(row), True)
    first = next(p for p in range(1, len(starts) - 2) if starts[p] and not starts[p + 1] and starts[p + 2])
    hide(row, [first])


def other_half(row: Row) -> None:
    half(row)
    hide(row, [row["mask_positions"][0] + 1])


def of_other_split(row: Row) -> None:
    row["document_id"] = next(n for n in range(10_000) if in_validation(np.array([n], np.uint64), 0.1)[0])


UNPAIRED = "pair_label is null although there are two segments, or set although there is one"
BREAKS: dict[str, tuple[Callable[[Row], object], str]] = {
    "cls": (lambda row: row["input_ids"].__setitem__(0, 9), "the first token is not [CLS]"),
    "sep": (lambda row: row["input_ids"].__setitem__(-1, 9), "the last token is not [SEP]"),
    "middle": (lambda row: row["input_ids"].__setitem__(row["second_start"] - 1, 9), "there is no [SEP] before segment B"),
    "id": (lambda row: row["input_ids"].__setitem__(2, 60_000), "an id is not below SIZE, the size of the vocabulary"),
    "bytes": (lambda row: row.update(unit_starts=row["unit_starts"] + b"\0"), "unit_starts does not have one bit per token"),
    "unit": (
        lambda row: with_units(row, lambda starts: starts.__setitem__(1, False)),
        "[CLS] or [SEP] is not a unit of its own",
    ),
    "tail": (
        lambda row: with_units(row, lambda starts: starts.__setitem__(-1, True)),
        "unit_starts has bits after the last token",
    ),
    "second": (lambda row: row.update(second_start=2), "second_start leaves a segment empty"),
    "behind": (lambda row: row.update(second_start=len(row["input_ids"]) - 1), "second_start leaves a segment empty"),
    "label": (lambda row: row.update(pair_label=None), UNPAIRED),
    "single": (lambda row: row.update(second_start=0), UNPAIRED),
    "number": (lambda row: row.update(pair_label=2), "pair_label is neither 0 nor 1"),
    "special": (lambda row: hide(row, [row["second_start"] - 1]), "[CLS] or [SEP] is masked"),
    "outside": (lambda row: hide(row, [len(row["input_ids"])]), "a mask position is after the last token"),
    "falling": (lambda row: hide(row, row["mask_positions"][::-1]), "the mask positions of a draw are not increasing"),
    "twice": (
        lambda row: hide(row, row["mask_positions"] + row["mask_positions"][-1:]),
        "the mask positions of a draw are not increasing",
    ),
    "half": (half, "a unit is only partly masked"),
    "other half": (other_half, "a unit is only partly masked"),
    "replacement": (
        lambda row: row["mask_replacements"].__setitem__(0, 60_000),
        "a replacement is not below SIZE, the size of the vocabulary",
    ),
    "fewer": (lambda row: row["mask_replacements"].pop(), "mask_positions and mask_replacements differ in number"),
    "sum": (lambda row: row["mask_lengths"].__setitem__(0, 1), "mask_lengths do not add up to the number of mask_positions"),
    "draws": (lambda row: row["mask_lengths"].append(0), "the number of its masks is not 1"),
    "example": (lambda row: row.update(example_id=row["example_id"] ^ 1), "it is not in hash order"),
    "split": (of_other_split, "its document belongs to the other split"),
}


def roomy(row: Row) -> bool:
    """Return whether a row is long enough for all of BREAKS."""
    return bool(len(row["input_ids"]) % 8 and row["second_start"] > 4 and len(row["mask_positions"]) > 2)


def below(row: Row, before: Row) -> bool:
    """Return whether the row, with its id changed, comes before another."""
    ids = np.array([row["example_id"] ^ 1, before["example_id"]], np.uint64)
    return bool(np.less(*order_keys(ids, 12_345)))


@pytest.mark.parametrize("what", BREAKS)
def test_a_row_that_is_wrong_is_named(copied: dict[str, Finished], what: str) -> None:
    change, rule = BREAKS[what]
    stage, place = copied["shards_text_64"], 0
    rule = rule.replace("SIZE", str(stage.manifest["vocabulary"]["size"]))

    def at(rows: list[Row]) -> None:
        nonlocal place
        place = next(n for n in range(1, len(rows)) if roomy(rows[n]) and (what != "example" or below(rows[n], rows[n - 1])))
        change(rows[place])

    url = rewrite(stage, "train-00000.arrow", at)
    assert f"{url}: row {place}: {rule}" in verify(stage.url)[1]


def test_rows_that_break_many_rules_give_few_lines(copied: dict[str, Finished]) -> None:
    stage = copied["shards_text_64"]

    def change(rows: list[Row]) -> None:
        for row in rows:
            row["input_ids"][0] = row["input_ids"][-1] = 7
        rows[3].update(input_ids=[7], unit_starts=b"\1")
        rows[5].update(input_ids=[], unit_starts=b"")

    number = stage.files("train-00000")[0]["rows"]
    url = rewrite(stage, "train-00000.arrow", change)
    lines = verify(stage.url)[1]
    assert f"{url}: rows 3, 5: it is not 3 to 64 tokens long" in lines
    assert f"{url}: rows 0, 1, 2 and {number - 5} more: the first token is not [CLS]" in lines
    assert len(lines) < 12


def test_an_example_that_is_there_twice(copied: dict[str, Finished]) -> None:
    stage = copied["shards_text_64"]
    url = rewrite(stage, "train-00000.arrow", lambda rows: rows.__setitem__(4, rows[3]))
    assert f"{url}: row 4: its example_id repeats that of the previous row" in verify(stage.url)[1]


def test_values_that_are_missing(copied: dict[str, Finished]) -> None:
    stage = copied["shards_text_64"]
    url = rewrite(stage, "train-00000.arrow", lambda rows: rows[4].update(mask_lengths=None))
    assert verify(stage.url)[1] == [f"{url}: mask_lengths contains nulls"]


def shards_changed(stage: Finished, change: Callable[[pa.Table], tuple[pa.Table, int]]) -> None:
    url = stage.file("train-00000.arrow")
    table, rows = change(pa.ipc.open_file(storage.read_bytes(url)).read_all())
    with storage.open_write(url) as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    commit(stage, "train-00000.arrow")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda t: (t.drop_columns("pair_label"), 1024), "its columns or their types are not those of a shard"),
        (lambda t: (t, 7), "batch 0 has 7 rows; all but the last must have 1,024"),
        (lambda t: (t.replace_schema_metadata({"schema_version": "1"}), 1024), "stage_key is none, but in the manifest KEY"),
        (
            lambda t: (t.replace_schema_metadata({**t.schema.metadata, b"vocabulary_sha256": "ab12"}), 1024),
            "vocabulary_sha256 is ab12, but in the manifest SHA",
        ),
        (
            lambda t: (t.replace_schema_metadata({**t.schema.metadata, b"schema_version": "2"}), 1024),
            "schema_version is 2, but in the manifest 1",
        ),
        (lambda t: (t.slice(1), 1024), "rows: the files hold FEWER, the manifest says ROWS"),
    ],
)
def test_a_shard_that_is_not_of_its_manifest(copied: dict[str, Finished], change: Any, problem: str) -> None:
    stage = copied["shards_text_64"]
    rows = stage.files("train-")[0]["rows"]
    shards_changed(stage, change)
    values = {
        "KEY": stage.manifest["key"],
        "SHA": stage.manifest["vocabulary"]["sha256"],
        "FEWER": f"{rows - 1}",
        "ROWS": f"{rows}",
    }
    for name, value in values.items():
        problem = problem.replace(name, value)
    assert f"{stage.file('train-00000.arrow')}: {problem}" in verify(stage.url)[1]


@pytest.mark.parametrize("name", ["rows", "tokens", "masked", "unknown", "shown_as_mask", "shown_as_is", "random_next"])
def test_a_count_of_shards_that_is_wrong(copied: dict[str, Finished], name: str) -> None:
    stage = copied["shards_news_64"]
    number = stage.manifest["counts"]["train"][name]
    stage.manifest["counts"]["train"][name] = number + 1
    commit(stage, "")
    assert verify(stage.url)[1] == [f"{stage.url}: train {name}: the files hold {number:,}, the manifest says {number + 1:,}"]


def test_a_histogram_of_lengths_that_is_wrong(copied: dict[str, Finished]) -> None:
    stage = copied["shards_news_64"]
    stage.manifest["length_histogram"]["validation"]["64"] = 99
    commit(stage, "")
    assert verify(stage.url)[1] == [f"{stage.url}: validation length_histogram: the manifest does not match the rows"]


Break = tuple[str, Callable[[list[Row]], object], str]
"""Prefix of a file name, a change of the file's rows, and the problem it causes."""


def put(place: int, **values: Any) -> Callable[[list[Row]], object]:
    return lambda rows: rows[place].update(values)


def repeat(rows: list[Row]) -> None:
    rows[1] = rows[0]


DOCUMENTS: list[Break] = [
    ("part-", lambda rows: rows.reverse(), ": its id is smaller than the previous one"),
    ("part-", repeat, "row 1: its id repeats that of the previous row"),
    ("part-", put(0, id=(1 << 64) - 1), "row 0: its id belongs to another part"),
    ("part-", put(0, origin="x#1"), "row 0: its id is not the hash of its source and origin"),
    ("part-", put(0, source="x"), "row 0: its source is not text"),
    ("part-", put(0, characters=0), "row 0: it has no characters"),
]
TOKENS: list[Break] = [
    ("part-", lambda rows: rows.reverse(), ": its id is smaller than the previous one"),
    ("part-", repeat, "row 1: its id repeats that of the previous row"),
    ("part-", lambda rows: rows[2]["ids"].__setitem__(4, 60_000), "row 2: an id is not below SIZE"),
    ("part-", lambda rows: rows[2]["unit_starts"].pop(), "row 2: unit_starts does not have one flag per token"),
    ("part-", lambda rows: rows[2]["sentence_ends"].reverse(), "row 2: sentence_ends are not increasing"),
    ("part-", lambda rows: rows[2]["sentence_ends"].pop(), "row 2: the last sentence does not end with the last token"),
    ("part-", lambda rows: rows[2].update(sentence_ends=[]), "row 2: it has no sentences"),
    ("part-", lambda rows: rows[2].update(ids=[], unit_starts=[]), "row 2: it has no tokens"),
    ("part-", lambda rows: rows[2]["unit_starts"].__setitem__(0, False), "row 2: a sentence starts inside a unit"),
    (
        "part-",
        lambda rows: rows[2]["unit_starts"].__setitem__(rows[2]["sentence_ends"][0], False),
        "row 2: a sentence starts inside a unit",
    ),
]


def broken(stage: Finished, change: Break) -> None:
    """Break a file and assert that the problem is found."""
    prefix, how, problem = change
    name = str(next(entry["name"] for entry in stage.files(prefix) if entry["rows"] > 2 or prefix != "part-"))
    url = rewrite(stage, name, how)
    lines = [line.removeprefix(f"{url}: ") for line in verify(stage.url)[1]]
    assert any(line == problem or (problem[0] == ":" and line.endswith(problem)) for line in lines), lines


@pytest.mark.parametrize("change", DOCUMENTS, ids=lambda change: change[2])
def test_a_document_that_is_wrong_is_named(copied: dict[str, Finished], change: Break) -> None:
    broken(copied["documents_text"], change)


@pytest.mark.parametrize("change", TOKENS, ids=lambda change: change[2])
def test_tokens_that_are_wrong_are_named(copied: dict[str, Finished], change: Break) -> None:
    size = str(copied["vocabulary"].manifest["size"])
    broken(copied["tokens_text"], (*change[:2], change[2].replace("SIZE", size)))


SIGNATURES: list[Break] = [
    ("part-", lambda rows: rows.reverse(), ": its id is smaller than the previous one"),
    ("part-", repeat, "row 1: its id repeats that of the previous row"),
    ("part-", put(0, id=3), "row 0: its id is not that of the document in the same row"),
    ("part-", lambda rows: rows.pop(), "rows: the files hold FEWER, the manifest says ROWS"),
    ("paragraphs-", lambda rows: rows.reverse(), ": its id is smaller than the previous one"),
    ("paragraphs-", lambda rows: rows.insert(1, rows[0]), "row 1: its ordinal is not greater than the previous one"),
    ("paragraphs-", put(0, id=3), "row 0: its document has no signature"),
    ("paragraphs-", put(0, characters=0), "row 0: it has no characters"),
    ("paragraphs-", lambda rows: rows.pop(), "documents whose number of lines differs from the signature: 1, the first LAST"),
]


@pytest.mark.parametrize("change", SIGNATURES, ids=lambda change: f"{change[0]} {change[2]}")
def test_signatures_that_are_wrong_are_named(copied: dict[str, Finished], change: Break) -> None:
    stage = copied["signatures_text"]
    prefix, how, problem = change
    entry = next(entry for entry in stage.files(prefix) if entry["rows"] > 2)
    with storage.open_read(stage.file(entry["name"])) as file:
        last = pq.read_table(file)["id"][-1].as_py()
    values = {"FEWER": f"{entry['rows'] - 1}", "ROWS": f"{entry['rows']}", "LAST": f"{last:016x}"}
    for name, value in values.items():
        problem = problem.replace(name, value)
    broken(stage, (entry["name"], how, problem))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        *(("signatures_news", ("counts", count)) for count in ("documents", "letters", "paragraphs")),
        *(("documents_news", ("counts", count)) for count in ("kept", "characters")),
        *(("documents_news", (table, "x")) for table in ("languages", "scripts")),
        *(("tokens_news", ("counts", count)) for count in ("documents", "tokens", "sentences", "units")),
        *(("dedup", ("counts", "news", count)) for count in ("kept", "clusters", "paragraphs")),
        ("dedup", ("counts", "news", "dropped", "duplicate")),
        ("vocabulary", ("size",)),
        ("vocabulary", ("mapped_punctuation", "x")),
    ],
)
def test_a_number_of_a_manifest_that_is_wrong(copied: dict[str, Finished], name: str, path: tuple[str, ...]) -> None:
    stage = copied[name]
    *tables, key = path
    values = stage.manifest
    for table in tables:
        values = values[table]
    values[key] = values.get(key, 0) + 1
    commit(stage, "")
    (problem,) = verify(stage.url)[1]
    assert problem.startswith(f"{stage.url}: ") and "the manifest says" in problem
    assert any(part in problem for part in path)


def test_a_vocabulary_that_is_not_of_its_manifest(copied: dict[str, Finished]) -> None:
    stage = copied["vocabulary"]
    text = storage.read_bytes(stage.file("vocab.txt"))
    storage.write_bytes(stage.file("vocab.txt"), text.replace(b"\n[MASK]\n", b"\n[MISK]\n"))
    commit(stage, "vocab.txt")
    (problem,) = verify(stage.url)[1]
    assert problem.startswith(f"{stage.url}: cannot be read") and "lacks [MASK]" in problem
    storage.write_bytes(stage.file("vocab.txt"), text + b"\xe9\xbe\x98\n")
    commit(stage, "vocab.txt")
    size = stage.manifest["size"]
    assert f"{stage.url}: size: the files hold {size + 1}, the manifest says {size}" in verify(stage.url)[1]


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Make decisions with every kind of row."""
    folder = tmp_path_factory.mktemp("decided")
    text = generated(1, 8, 12)
    (folder / "dev.tsv").write_text(text[5].replace("\n", ""))
    texts = {
        "a": [text[0], text[1], f"{LINE}\n{GOOD}", f"{text[2]}\n{LINE}", f"{LINE}\n再见", "短", text[5], text[6], text[6]],
        "b": [text[0][:-3], text[1], f"{text[3]}\n{LINE}", text[4]],
    }
    withdrawn = [identity("b", 3)]
    evaluation = (str(folder / "dev.tsv"),)
    done = decide(
        folder / "runs",
        {**texts, "c": [text[4], text[7]]},
        withdrawn=withdrawn,
        evaluation=evaluation,
        filters={"min_characters": 5},
    )
    assert content_problems(done) == []
    return done


def of_reason(reason: str, **values: Any) -> Callable[[list[Row]], object]:
    return lambda rows: next(row for row in rows if row["reason"] == reason).update(values)


DECISIONS: list[Break] = [
    ("dropped_a", lambda rows: rows.reverse(), ": its id is smaller than the previous one"),
    ("dropped_a", repeat, "row 1: its id repeats that of the previous row"),
    ("dropped_b", put(0, reason="boring"), "row 0: its reason is unknown"),
    ("dropped_b", put(0, id=3), "row 0: there is no such document"),
    ("dropped_b", of_reason("duplicate", kept_id=None), ": it is a duplicate without kept_id, or has one and is no duplicate"),
    ("dropped_a", of_reason("too_short", kept_id=5), ": it is a duplicate without kept_id, or has one and is no duplicate"),
    ("dropped_b", of_reason("duplicate", kept_id=identity("a", 5)), ": its kept_id is dropped itself"),
    ("dropped_c", of_reason("withdrawn_copy", kept_id=identity("a", 0)), ": its kept_id is not withdrawn"),
    ("paragraphs_b", put(0, id=identity("b", 1)), "row 0: its document is dropped"),
    ("paragraphs_b", put(0, kept_id=identity("b", 1)), "row 0: the document of kept_id is dropped"),
    ("paragraphs_b", lambda rows: rows.append(rows[0]), "row 1: its ordinal is not greater than the previous one"),
    ("clusters_a", put(0, kept_id=7), ": it is not dropped as a duplicate, although another document is kept for it"),
    (
        "clusters_b",
        lambda rows: [row.update(kept_id=row["id"]) for row in rows],
        ": it is dropped as a duplicate, although it is kept for others",
    ),
    ("clusters_b", put(0, cluster_size=1), "row 0: its cluster_size is below 2"),
    ("contaminated_a", put(0, id=identity("a", 0)), "row 0: it is not dropped as contaminated"),
    ("contaminated_a", put(0, share=1.5), "row 0: its share is not between 0 and 1"),
]
CONTAMINATION: list[Break] = [
    ("", put(0, id=3), "row 0: its id is that of no document in this part"),
    ("", put(0, runs=0), "row 0: it has no matching n-grams"),
    ("", put(0, share=0.0), "row 0: its share is not in (0, 1]"),
    ("", put(0, share=float("nan")), "row 0: its share is not in (0, 1]"),
    ("", lambda rows: rows.pop(), "rows: the files hold 0, the manifest says 1"),
]


@pytest.mark.parametrize("change", DECISIONS, ids=lambda change: f"{change[0]} {change[2]}")
def test_a_decision_that_is_wrong_is_named(decided: Finished, tmp_path: Path, change: Break) -> None:
    shutil.copytree(Path(decided.url).parent, tmp_path / "runs")
    broken(stages.load(str(tmp_path / "runs" / storage.base_name(decided.url))), change)


@pytest.mark.parametrize("change", CONTAMINATION, ids=lambda change: change[2])
def test_an_overlap_that_is_wrong_is_named(decided: Finished, tmp_path: Path, change: Break) -> None:
    shutil.copytree(Path(decided.url).parent, tmp_path / "runs")
    (folder,) = (tmp_path / "runs").glob("contamination_a-*")
    stage = stages.load(str(folder))
    assert content_problems(stage) == []
    (name,) = (entry["name"] for entry in stage.files("part-") if entry["rows"])
    broken(stage, (name, *change[1:]))


def test_what_a_dump_says_of_its_pages_is_checked(tmp_path: Path) -> None:
    pages = [Draft("Template:Le", "", 10, "Template:Link-en"), Draft("Module:CGroup/IT", "return {}", 828)]
    stage = side_input(
        wiki_dumps.source(), [wiki_dumps.written(tmp_path / "w.xml", wiki_dumps.xml(pages))], str(tmp_path / "runs")
    )
    assert content_problems(stage) == []
    broken(stage, ("side", put(0, kind="goup"), "row 0: its kind is unknown"))
    broken(stage, ("side", lambda rows: rows.append(rows[-1]), ": its name repeats an earlier one"))


def test_findings_name_three_rows_and_count_the_others() -> None:
    findings = Findings("a.arrow")
    for start in (0, 10):
        findings.row = start
        findings.demand("odd", np.arange(10) % 2 == 1)
        findings.demand("an item is five", np.arange(4) == 3, np.array([1, 1, 2, 5]))
        findings.demand("never", np.zeros(10, np.bool_))
    assert findings.lines() == ["a.arrow: rows 1, 3, 5 and 7 more: odd", "a.arrow: rows 5, 15: an item is five"]


def test_a_manifest_that_lacks_something(copied: dict[str, Finished]) -> None:
    stage = copied["shards_text_64"]
    del stage.manifest["masking"]
    commit(stage, "")
    assert verify(stage.url)[1] == [f"{stage.url}: its manifest lacks 'masking'"]


@pytest.mark.parametrize("damaged", [b'"seed": 8', b'"seed": \x01'])
def test_a_damaged_manifest_is_named_and_the_other_folders_are_checked(
    copied: dict[str, Finished], tmp_path: Path, damaged: bytes
) -> None:
    stage = copied["shards_text_64"]
    url = stage.file("manifest.json")
    written = storage.read_bytes(url)
    storage.write_bytes(url, re.sub(rb'"seed": \d+', damaged, written, count=1))
    assert storage.read_bytes(url) != written
    (problem,) = verify(stage.url)[1]
    assert problem.startswith(f"{stage.url}: manifest.json ") and problem.endswith("; delete the folder and run again")
    checked, problems = verify(storage.parent(stage.url))
    assert checked >= len(copied) and problems == [problem]


@pytest.mark.parametrize("content", [b"{", b"[]"])
def test_damaged_notes_of_a_run_are_named(copied: dict[str, Finished], content: bytes) -> None:
    stage = copied["vocabulary"]
    storage.write_bytes(stage.file("run.json"), content)
    (problem,) = verify(stage.url)[1]
    assert problem.startswith(f"{stage.url}: ") and problem.endswith("; delete the folder and run again")


def test_a_damaged_pointer_is_named_and_written_again(tmp_path: Path) -> None:
    pointer = DataPointer("r", "vocabulary-1", {"news/128": "shards-1"}, None)
    pointer.write(str(tmp_path))
    (tmp_path / "data.json").write_text("{")
    with pytest.raises(StorageError, match="not valid JSON; run the same `prepare` or `run` again"):
        DataPointer.read(str(tmp_path))
    pointer.write(str(tmp_path))
    assert DataPointer.read(str(tmp_path)) == pointer


def test_content_of_another_version_is_not_judged(copied: dict[str, Finished]) -> None:
    stage = copied["signatures_text"]
    stage.manifest["version"] -= 1
    del stage.manifest["settings"]["shape"]["short_characters"]
    commit(stage, "")
    assert verify(stage.url) == (1, [])
    found = CliRunner().invoke(main, ["verify", stage.url])
    assert found.exit_code == 0
    assert "written by another version of this program, so only checksums were compared: signatures_text" in found.output


def test_a_file_that_is_not_as_it_was_written_is_not_looked_into(copied: dict[str, Finished]) -> None:
    stage = copied["shards_text_64"]
    url = stage.file("train-00000.arrow")
    storage.write_bytes(url, storage.read_bytes(url)[:-100])
    (problem,) = verify(stage.url)[1]
    assert problem.startswith(f"{url}: ") and "bytes, the manifest says" in problem
    commit(stage, "train-00000.arrow")  # with a matching manifest, an unreadable shard is reported too
    (problem,) = verify(stage.url)[1]
    assert problem.startswith(f"{url}: not a readable shard (")
