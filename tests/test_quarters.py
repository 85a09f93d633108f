"""The benchmark of two quarters: what it brings, and that its proofs find what they look for."""

import bz2
import re
from pathlib import Path

import pytest

from benchmarks.quarters import proof, recipe, text
from benchmarks.quarters.faults import PLAN, unfinished
from benchmarks.wiki_pages import Page
from pipeline.engine import stages
from workflows import recipe as recipes
from workflows import toml_settings
from workflows.chain import Chain

NUMBER = 60
SMALL = """
name = "small"
validation_ratio = 0.0
[vocabulary]
size = 5000
[[phase]]
sequence_length = 64
batch_size = 8
steps = 8
"""


@pytest.fixture(scope="module")
def pages() -> list[Page]:
    return text.pages(NUMBER)


def chain(folder: Path, dump: bytes, withdrawn: list[int]) -> Chain:
    """Return a chain over a dump in place of any other."""
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in" / "dump.xml.bz2").write_bytes(dump)
    (folder / "withdrawn.txt").write_text("".join(f"{one:016x}\n" for one in withdrawn))
    source = f"source=[{{name='wiki', kind='wiki', input=['{folder}/in']}}]"
    content = toml_settings.parse(SMALL, "test")
    changes = [source, f"dedup.withdrawn={folder}/withdrawn.txt", "masking.policy=token"]
    return Chain(recipes.build(content, "test", changes), str(folder / "out"))


def test_a_tenth_of_the_pages_changes_and_news_is_new(pages: list[Page]) -> None:
    later = text.changed(pages)
    assert sum(one != other for one, other in zip(pages, later, strict=True)) == NUMBER // 10
    first, second = (bz2.decompress(text.dump(some, quarter)) for quarter, some in enumerate((pages, later), 1))
    assert re.findall(rb"\n    <id>\d+", first) == re.findall(rb"\n    <id>\d+", second), "pages keep their numbers"
    old, new = (set(text.news(quarter).splitlines()) for quarter in (1, 2))
    assert 0 < len(new) < len(old) / 5 and not old & new


@pytest.mark.slow
def test_withdrawn_text_is_counted_and_found_in_what_was_made_before(pages: list[Page], tmp_path: Path) -> None:
    first = chain(tmp_path, text.dump(pages, 1), [])
    made = [first.run("tokens_wiki"), first.run("shards_wiki_64")]
    before = proof.names(tmp_path / "out")
    (kept,) = proof.kept(made)
    withdrawn = text.withdrawn([kept], 1)
    assert len(set(withdrawn)) == text.WITHDRAWN and set(withdrawn) <= kept
    second = chain(tmp_path, text.dump(text.changed(pages), 2), withdrawn[:5])
    later = [second.run("tokens_wiki"), second.run("shards_wiki_64")]
    assert proof.withdrawn_rows(later, withdrawn[:5], made[:1]) == 0
    assert proof.withdrawn_rows(later, withdrawn[5:15], made[:1]) > 10
    for stage in made:
        assert proof.withdrawn_rows([stage], withdrawn[:5], made[:1]) > 5
    new = proof.since(tmp_path / "out", before)
    assert proof.work(new, "documents") == proof.Work(NUMBER * 9 // 10, NUMBER // 10)
    # The vocabulary is built anew from changed text, so all tokens are too; from a champion it would be its own.
    assert proof.work(new, "tokens") == proof.Work(0, NUMBER - 5)
    assert proof.seconds_to_shards(new) > 0


def test_files_that_differ_are_named_and_attempts_do_not_count(tmp_path: Path) -> None:
    for place, attempt, content in (("a", 1, b"x"), ("b", 3, b"x"), ("c", 1, b"y")):

        def body(folder: str, attempt: int = attempt, content: bytes = content) -> dict[str, object]:
            file = f"attempt-{attempt:04d}/weights"
            Path(folder, file).parent.mkdir(parents=True)
            Path(folder, file).write_bytes(content)
            return {"files": [stages.FileEntry.of(folder, file)]}

        stages.run(str(tmp_path / place), stages.Stage("checkpoint", 1, {}, {}), body)
    found = {place: proof.digests(tmp_path / place) for place in "abc"}
    assert proof.differences(found["a"], found["b"]) == []
    assert len(proof.differences(found["a"], found["c"])) == 1 == len(proof.differences(found["a"], {}))


def test_five_kills_and_two_failures_of_the_store_are_planned(tmp_path: Path) -> None:
    assert sum(fault.kind != "store" for fault in PLAN) == 5 and len(PLAN) == 7
    (tmp_path / "tokens_news-0123456789ab").mkdir()
    assert [path.name for path in unfinished(tmp_path)] == ["tokens_news-0123456789ab"]


def test_every_recipe_can_be_loaded_and_has_its_task(tmp_path: Path) -> None:
    text.write_task(tmp_path)
    for quarter in recipe.STEPS:
        recipe.write(tmp_path / "q.toml", quarter, tmp_path)
        loaded = recipes.load(str(tmp_path / "q.toml"))
        assert (loaded.training.start_from == "") == (quarter == recipe.FIRST)
        assert set(loaded.evaluation.files()) == {"damaged/train", "damaged/dev", "damaged/test"}
