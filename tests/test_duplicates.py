"""Duplicates: which documents are dropped and why, and what a new source, a new threshold or another worker changes."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import DedupConfig, FilterConfig, SourceConfig
from pipeline.dedup.decisions import levels
from pipeline.dedup.kept import decision_files
from pipeline.dedup.stage import dedup
from pipeline.errors import CorpusError
from tests import corpus
from tests.characters import visible
from tests.deciding import GOOD, LINE, Texts, changed, decide, kept_texts, reasons, rows
from tests.made_documents import generated, identity, made, needs_real_data, real_news

OTHER = "版权归某某报社所有，未经书面授权，任何媒体和个人都不得以任何方式复制或者在网上传播这篇文章"


def test_every_reason(tmp_path: Path) -> None:
    long = "\n".join(generated(1, 3, 12))
    scored = tmp_path / "scored.tsv"
    leaked = generated(2, 1, 12)[0]
    scored.write_text(f"label\ttext_a\n1\t{leaked}".replace(leaked, leaked.replace("\n", "")))
    texts: Texts = {
        "a": {
            "kept": long,
            "near": changed(long, 10)[:-2],
            "same": long.replace("。", "", 1),
            "short": "太短了",
            "leak": "序言\n" + leaked,
            "gone": generated(3, 1, 12)[0],
            "copy": generated(3, 1, 12)[0] + "。",
            "first": f"{LINE}\n{GOOD}\n{generated(5, 1)[0]}",
            "second": f"{OTHER}\n{generated(6, 1)[0]}",
            "line": f"{LINE}\n{OTHER}\n再见",
            "inside": long[40:90],
            "foreign": "Mostly English words here 中文",
        }
    }
    done = decide(
        tmp_path,
        texts,
        withdrawn=[identity("a", "gone")],
        evaluation=(str(scored),),
        filters={"min_characters": 5, "min_chinese_ratio": 0.3},
    )
    assert max(identity("a", "first"), identity("a", "second")) < identity("a", "line")
    wanted = {
        "near": "near_duplicate",
        "same": "duplicate",
        "short": "too_short",
        "leak": "contaminated",
        "gone": "withdrawn",
        "copy": "withdrawn_copy",
        "foreign": "not_chinese",
        "inside": "contained",
        "line": "duplicate_paragraphs",
    }
    assert reasons(done, "a") == {identity("a", origin): reason for origin, reason in wanted.items()}
    of = {row["id"]: row["kept_id"] for row in rows(done, "a")}
    copies = {"near": "kept", "same": "kept", "copy": "gone", "inside": "kept"}
    assert of == {identity("a", o): identity("a", copies[o]) if o in copies else None for o in wanted}
    counts = done.manifest["counts"]["a"]
    assert counts["dropped"] == Counter(wanted.values())
    assert (counts["documents"], counts["kept"], counts["clusters"]) == (12, 12 - len(wanted), 1)
    assert counts["cluster_sizes"] == {"4": 1}
    assert counts["contaminated_by"] == {"scored.tsv": 1}
    assert [row["file"] for row in rows(done, "a", "contaminated")] == ["scored.tsv"]
    samples = {sample["reason"]: sample for sample in done.manifest["samples"] if sample["reason"] != "repeated_paragraph"}
    assert samples.keys() == set(wanted.values())
    assert samples["too_short"] == {"source": "a", "reason": "too_short", "text": "太短了"}
    assert samples["near_duplicate"]["twin_text"] == long[:200]
    leak = samples["contaminated"]
    assert (leak["file"], leak["evaluation_text"]) == ("scored.tsv", leaked.replace("\n", "")[:60])


@pytest.mark.parametrize("which", ["generated", pytest.param("real", marks=needs_real_data)])
def test_counts_of_the_manifest_are_those_of_the_rows(tmp_path: Path, which: str) -> None:
    base = generated(4, 80) if which == "generated" else real_news(80)
    lines = [f"{text}\n{LINE}" for text in base[:20]]
    texts: Texts = {"text": base, "news": [*lines, *base[20:30], *generated(6, 30), "短"]}
    done = decide(tmp_path, texts, filters={"min_characters": 10})
    for name in texts:
        counts, gone = done.manifest["counts"][name], reasons(done, name)
        left = kept_texts(tmp_path, done, name, texts)
        assert Counter(gone.values()) == counts["dropped"]
        assert counts["documents"] == len(texts[name]) == counts["kept"] + len(gone)
        assert len(left) == counts["kept"]
        assert sum(map(visible, left.values())) == counts["characters_kept"]
        assert not gone.keys() & left.keys()
        assert list(gone) == sorted(gone)
        assert len(rows(done, name, "paragraphs")) == counts["paragraphs"]
    if which == "generated":
        assert done.manifest["counts"]["news"]["dropped"]["duplicate"] == 10


def test_limits_are_inclusive(tmp_path: Path) -> None:
    texts: Texts = {"a": ["五个汉字啊", "三汉字" + "abcdefg"]}
    done = decide(tmp_path, texts, filters={"min_characters": 5, "max_characters": 10, "min_chinese_ratio": 0.3})
    assert rows(done, "a") == []


def test_each_source_has_its_own_filters(tmp_path: Path) -> None:
    sources = [SourceConfig(name=name, kind="text") for name in "ab"]
    documents = [made(str(tmp_path), name, [GOOD, name * 3 + "我们的"]) for name in "ab"]
    bounds = {name: FilterConfig(min_characters=limit, min_chinese_ratio=0) for name, limit in (("a", 3), ("b", 10))}
    done = dedup(
        sources, documents, [], [], bounds, DedupConfig(exact=False, near=False, min_paragraph_characters=0), [], str(tmp_path)
    )
    assert [len(rows(done, name)) for name in "ab"] == [0, 1]


@pytest.mark.parametrize(("a", "b", "keeper"), [(0, 1, "b"), (1, 0, "a"), (0, 0, "a")])
def test_the_source_of_higher_priority_or_that_comes_first_keeps_the_copy(tmp_path: Path, a: int, b: int, keeper: str) -> None:
    done = decide(
        tmp_path,
        {"a": [GOOD, "甲" * 20], "b": [GOOD + "的。", GOOD + "。", "乙" * 20]},
        priorities={"a": a, "b": b},
        near=False,
    )
    other, kept, gone = (
        ("b", identity("a", 0), identity("b", 1)) if keeper == "a" else ("a", identity("b", 1), identity("a", 0))
    )
    assert rows(done, keeper) == []
    assert rows(done, other) == [{"id": gone, "reason": "duplicate", "kept_id": kept}]
    assert rows(done, other, "clusters") == [{"id": gone, "kept_id": kept, "cluster_size": 2}]
    assert rows(done, keeper, "clusters") == [{"id": kept, "kept_id": kept, "cluster_size": 2}]


def test_in_a_source_the_longest_stays_then_the_smallest_id(tmp_path: Path) -> None:
    texts: Texts = {"a": [GOOD, f"{GOOD}！！！", GOOD.replace("大学", "大 学"), f"{GOOD}。。。", "甲" * 20]}
    done = decide(tmp_path, texts)
    keeper = min(identity("a", 1), identity("a", 3))
    gone = {identity("a", n) for n in range(4)} - {keeper}
    assert {(row["id"], row["kept_id"]) for row in rows(done, "a")} == {(number, keeper) for number in gone}
    assert {row["cluster_size"] for row in rows(done, "a", "clusters")} == {4}


@pytest.mark.parametrize("which", ["generated", pytest.param("real", marks=needs_real_data)])
def test_near_copies_are_found_and_nothing_else(tmp_path: Path, which: str) -> None:
    base = [text for text in (generated(7, 200, 12) if which == "generated" else real_news(300)) if len(text) > 150][:100]
    # One letter in a hundred changed, a sentence added: a similarity of about 0.9.
    copies = [changed(text, *range(30, len(text), 100)) + "。完" for text in base[:50]]
    done = decide(
        tmp_path, {"a": base, "b": [*copies, base[0], GOOD]}, min_paragraph_characters=0, filters={"min_characters": 2}
    )
    found = {row["id"]: row["kept_id"] for row in rows(done, "b") if row["reason"] == "near_duplicate"}
    right = {identity("b", n): identity("a", n) for n in range(50)}
    assert len(found.items() & right.items()) >= 49
    assert found.items() <= right.items()
    assert rows(done, "a") == []


def test_near_duplicates_stay_where_the_recipe_says_so(tmp_path: Path) -> None:
    long = generated(8, 1, 12)[0]
    texts: Texts = {"a": [long, changed(long, 20)]}
    assert len(rows(decide(tmp_path, texts, near=False, min_paragraph_characters=0), "a")) == 0
    assert len(rows(decide(tmp_path, texts, min_paragraph_characters=0), "a")) == 1
    assert len(rows(decide(tmp_path, texts, similarity=0.999, min_paragraph_characters=0), "a")) == 0


def test_a_duplicate_is_only_dropped_for_a_document_that_stays(tmp_path: Path) -> None:
    # The copy of higher priority has too many signs and too few characters that are Chinese: the other one must stay.
    texts: Texts = {"a": ["，" * 60 + GOOD, "甲" * 20], "b": [GOOD, "乙" * 20]}
    done = decide(tmp_path, texts, priorities={"a": 9}, filters={"min_chinese_ratio": 0.3})
    assert [row["reason"] for row in rows(done, "a")] == ["not_chinese"]
    assert rows(done, "b") == []


def test_copies_stay_where_the_recipe_says_so(tmp_path: Path) -> None:
    done = decide(
        tmp_path, {"a": [GOOD, GOOD, "短"]}, exact=False, near=False, min_paragraph_characters=0, filters={"min_characters": 5}
    )
    assert [row["reason"] for row in rows(done, "a")] == ["too_short"]
    assert rows(done, "a", "clusters") == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("layout", corpus.LAYOUTS)
def test_the_same_bytes_however_the_work_is_cut(layout: tuple[str, int, int]) -> None:
    whole, cut = corpus.prepared(layout[0]), corpus.prepared(*layout)
    assert corpus.same_bytes(whole, cut, "dedup") == 9
    assert corpus.same_bytes(whole, cut, "signatures") >= 64


def test_the_same_bytes_whatever_the_workers(tmp_path: Path) -> None:
    base = generated(9, 60)
    texts: Texts = {
        "a": base,
        "b": [changed(text, 9) for text in base[:20]] + [f"{text}\n{LINE}" for text in base[30:50]] + ["独" * 30],
    }
    digests = {decide(tmp_path / str(n), texts, workers=n).digest for n in (1, 2)}
    assert len(digests) == 1


def test_the_files_of_better_sources_do_not_change_when_one_is_added(tmp_path: Path) -> None:
    base = generated(10, 60, 10)
    bridge = [changed(base[0], 20), base[1] + base[2]]
    old: Texts = {
        "a": [*base[:40], changed(base[0], 20, 40), f"{GOOD}\n{LINE}"],
        "b": [*base[30:50], f"{LINE}\n{base[55]}", "乙" * 30],
    }
    new: Texts = {**old, "c": [*base[20:60], *bridge, f"{LINE}\n{base[55]}"]}
    before, after = decide(tmp_path, old), decide(tmp_path, new)
    assert before.url != after.url
    for source in "ab":
        assert before.digest_of(decision_files(source)) == after.digest_of(decision_files(source))
        assert len(rows(after, source)) > 0
    assert len(rows(after, "c")) > 30
    # As long as it is not the better one.
    moved = decide(tmp_path, new, priorities={"c": 1})
    assert moved.digest_of(decision_files("a")) != before.digest_of(decision_files("a"))


def test_a_document_between_two_others_of_better_sources_joins_nothing_there(tmp_path: Path) -> None:
    one = generated(11, 1, 40)[0][:350]
    middle, other = (changed(one, *range(20, last, 30)) for last in (170, 320))
    how: dict[str, Any] = {"similarity": 0.77, "bands": 40, "rows": 4, "min_paragraph_characters": 0}
    assert rows(decide(tmp_path, {"a": [one, other]}, **how), "a") == []
    between = decide(tmp_path, {"a": [one, other], "b": [middle, GOOD]}, **how)
    assert rows(between, "a") == []
    assert [row["id"] for row in rows(between, "b")] == [identity("b", 0)]
    assert len(rows(decide(tmp_path, {"a": [one, other, middle]}, **how), "a")) == 2


def test_a_changed_threshold_reads_no_text_again(tmp_path: Path) -> None:
    texts: Texts = {"a": [GOOD, "太短了", "甲" * 20]}
    one, two = (decide(tmp_path, texts, filters={"min_characters": limit}) for limit in (10, 3))
    assert (len(rows(one, "a")), len(rows(two, "a"))) == (1, 0)
    same = decide(tmp_path, texts, filters={"min_characters": 4})  # another key, but the same decisions
    assert same.url != one.url
    assert same.digest == one.digest
    assert one.manifest["inputs"] == two.manifest["inputs"]


def test_a_source_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    texts: Texts = {"a": [GOOD], "b": ["短", "很短", GOOD]}
    with pytest.raises(
        CorpusError, match=r"source 'b': all 3 documents are dropped \(duplicate 1, too_short 2\); check \[filters\]"
    ):
        decide(tmp_path, texts, filters={"min_characters": 5})


def test_a_source_with_empty_parts(tmp_path: Path) -> None:
    done = decide(tmp_path, {"a": [GOOD], "b": [GOOD + "甲", GOOD]}, parts=16, near=False)
    assert reasons(done, "b") == {identity("b", 1): "duplicate"}


def test_levels_are_priorities_then_the_order_of_the_recipe() -> None:
    sources = [
        SourceConfig(name=name, kind="text", priority=priority) for name, priority in (("a", 0), ("b", 2), ("c", 0), ("d", -1))
    ]
    assert levels(sources) == (2, 1, 3, 4)
