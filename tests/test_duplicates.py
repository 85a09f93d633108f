"""Duplicates: who is dropped and why, who stays for it, and that a new threshold reads no text again."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline import storage
from pipeline.config import DedupConfig, FilterConfig, SourceConfig
from pipeline.documents import documents, read_part
from pipeline.duplicates import duplicates, kept_documents
from pipeline.errors import CorpusError
from pipeline.stages import Finished
from tests import corpus

GOOD = "北京大学的学生今天参观了科学技术博物馆"


def write(tmp_path: Path, **texts: list[str]) -> dict[str, str]:
    """A file of documents for each source."""
    for name, parts in texts.items():
        (tmp_path / f"{name}.txt").write_text("\n\n".join(parts))
    return {name: str(tmp_path / f"{name}.txt") for name in texts}


def decide(
    tmp_path: Path, priorities: dict[str, int], dedup: bool = True, **filters: Any
) -> tuple[Finished, dict[str, Finished]]:
    """Decisions over the files of `write`, and their documents."""
    sources = [
        SourceConfig(name=n, kind="text", input=(str(tmp_path / f"{n}.txt"),), priority=p) for n, p in priorities.items()
    ]
    root = str(tmp_path / "runs")
    read = [documents(source, root) for source in sources]
    done = duplicates(sources, read, FilterConfig(**filters), DedupConfig(exact=dedup), root)
    return done, dict(zip(priorities, read, strict=True))


def dropped(stage: Finished, source: str) -> list[dict[str, Any]]:
    with storage.open_read(stage.file(f"dropped_{source}.parquet")) as file:
        found: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return found


def all_rows(stage: Finished) -> dict[str, dict[str, Any]]:
    return {r["origin"]: r for e in stage.files("part-") for r in read_part(stage, e["name"]).to_pylist()}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("layout", corpus.LAYOUTS)
def test_the_same_bytes_however_the_work_is_cut(layout: tuple[str, int, int]) -> None:
    assert corpus.same_bytes(corpus.prepared(layout[0]), corpus.prepared(*layout), "duplicates") == 3


@pytest.mark.parametrize("which", ["generated", pytest.param("real", marks=corpus.needs_real_data)])
def test_counts_of_the_manifest_are_those_of_the_rows(which: str) -> None:
    stages = corpus.prepared(which)
    for name in ("text", "news"):
        counts, read = stages["duplicates"].manifest["counts"][name], stages[f"documents_{name}"]
        gone = dropped(stages["duplicates"], name)
        assert Counter(row["reason"] for row in gone) == counts["dropped"]
        assert counts["documents"] == read.manifest["counts"]["kept"] == counts["kept"] + len(gone)
        left = [kept_documents(read, stages["duplicates"], entry["name"]) for entry in read.files("part-")]
        assert sum(len(table) for table in left) == counts["kept"]
        texts = [text for table in left for text in table["text"].to_pylist()]
        assert sum(len(text.replace(" ", "").replace("\n", "")) for text in texts) == counts["characters_kept"]
        assert not {row["id"] for row in gone} & {number for table in left for number in table["id"].to_pylist()}
        assert [row["id"] for row in gone] == sorted(row["id"] for row in gone)
    assert stages["duplicates"].manifest["counts"]["news"]["dropped"] == {"duplicate": 6, "too_short": 5} or which == "real"


def test_every_reason(tmp_path: Path) -> None:
    write(tmp_path, a=[GOOD, "太短了", "长" * 50, "Mostly English words here 中文", GOOD])
    done, read = decide(tmp_path, {"a": 0}, min_characters=5, max_characters=40, min_chinese_share=0.3)
    texts = {row["id"]: row["text"] for row in all_rows(read["a"]).values()}
    reasons = {texts[row["id"]]: row["reason"] for row in dropped(done, "a")}
    assert reasons == {
        "太短了": "too_short",
        "长" * 50: "too_long",
        "Mostly English words here 中文": "not_chinese",
        GOOD: "duplicate",
    }
    assert done.manifest["counts"]["a"] == {
        "documents": 5,
        "kept": 1,
        "characters_kept": len(GOOD),
        "dropped": {"too_short": 1, "too_long": 1, "not_chinese": 1, "duplicate": 1},
    }
    assert {(s["source"], s["reason"], s["text"]) for s in done.manifest["samples"]} == {
        ("a", r, t) for t, r in reasons.items()
    }


def test_limits_are_inclusive(tmp_path: Path) -> None:
    write(tmp_path, a=["五个汉字啊", "三汉字" + "abcdefg"])
    done, _ = decide(tmp_path, {"a": 0}, min_characters=5, max_characters=10, min_chinese_share=0.3)
    assert dropped(done, "a") == []


@pytest.mark.parametrize(("a", "b", "keeper"), [(0, 1, "b"), (1, 0, "a")])
def test_the_source_of_higher_priority_keeps_the_copy(tmp_path: Path, a: int, b: int, keeper: str) -> None:
    write(tmp_path, a=[GOOD, "甲" * 20], b=[GOOD + "。", "乙" * 20])
    done, read = decide(tmp_path, {"a": a, "b": b})
    other = "b" if keeper == "a" else "a"
    (gone,) = dropped(done, other)
    assert dropped(done, keeper) == []
    kept = all_rows(read[keeper])[f"{keeper}.txt#0"]
    assert gone == {
        "id": all_rows(read[other])[f"{other}.txt#0"]["id"],
        "reason": "duplicate",
        "kept_id": kept["id"],
        "cluster_size": 2,
    }


def test_of_equal_priority_the_smallest_id_stays_and_the_cluster_is_counted(tmp_path: Path) -> None:
    copies = [GOOD, f"“{GOOD}”", GOOD.replace("大学", "大 学"), f"{GOOD}！！！"]
    write(tmp_path, a=[*copies, "甲" * 20])
    done, read = decide(tmp_path, {"a": 0})
    ids = sorted(row["id"] for row in all_rows(read["a"]).values() if row["text"] != "甲" * 20)
    assert [row["id"] for row in dropped(done, "a")] == ids[1:]
    assert {(row["kept_id"], row["cluster_size"]) for row in dropped(done, "a")} == {(ids[0], 4)}


def test_a_duplicate_is_only_dropped_for_a_document_that_stays(tmp_path: Path) -> None:
    # The copy of higher priority has too many signs and too few characters that are Chinese: the other one must stay.
    write(tmp_path, a=["，" * 60 + GOOD, "甲" * 20], b=[GOOD, "乙" * 20])
    done, _ = decide(tmp_path, {"a": 9, "b": 0})
    assert [row["reason"] for row in dropped(done, "a")] == ["not_chinese"]
    assert dropped(done, "b") == []


def test_copies_stay_where_the_recipe_says_so(tmp_path: Path) -> None:
    write(tmp_path, a=[GOOD, GOOD, "短"])
    done, _ = decide(tmp_path, {"a": 0}, dedup=False)
    assert [row["reason"] for row in dropped(done, "a")] == ["too_short"]


def test_a_changed_threshold_reads_no_document_again(tmp_path: Path) -> None:
    write(tmp_path, a=[GOOD, "太短了", "甲" * 20])
    one, read = decide(tmp_path, {"a": 0})
    two, again = decide(tmp_path, {"a": 0}, min_characters=3)
    assert (again["a"].fresh, two.fresh, one.url != two.url) == (False, True, True)
    assert (len(dropped(one, "a")), len(dropped(two, "a"))) == (1, 0)
    same, _ = decide(tmp_path, {"a": 0}, min_characters=4)  # another key, but the same decisions
    assert same.url != one.url
    assert same.digest == one.digest
    assert read["a"].url == again["a"].url


def test_a_source_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    write(tmp_path, a=[GOOD], b=["短", "很短", GOOD])
    with pytest.raises(
        CorpusError, match=r"source 'b': no document is left of 3 \(duplicate 1, too_short 2\); look at \[filters\]"
    ):
        decide(tmp_path, {"a": 1, "b": 0})
