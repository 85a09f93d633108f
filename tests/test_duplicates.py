"""Duplicates: who is dropped and why, who stays for it, and what a new source, a new threshold or another worker changes."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline import cleaning, job, storage
from pipeline.config import DecontaminationConfig, DedupConfig, FilterConfig, SourceConfig
from pipeline.decisions import levels, read_withdrawn
from pipeline.decontamination import overlaps
from pipeline.documents import read_part
from pipeline.duplicates import decision_files, duplicates, kept_documents
from pipeline.errors import CorpusError, StorageError
from pipeline.signatures import needed, signatures
from pipeline.stages import Finished
from tests.made_documents import generated, identity, made, needs_real_data, plainly, real_news

GOOD = "北京大学的学生今天参观了科学技术博物馆"
LINE = "本文由某某翻译小组的译者原创编译，在某某中国网站荣誉推出，转载时请注明作者和出处以及译者的名字"
Texts = dict[str, list[str] | dict[str, str]]


def decide(
    root: Path,
    texts: Texts,
    *,
    priorities: dict[str, int] | None = None,
    withdrawn: list[int] | None = None,
    evaluation: tuple[str, ...] = (),
    filters: dict[str, Any] | None = None,
    workers: int = 1,
    parts: int = 4,
    **dedup: Any,
) -> Finished:
    """Decisions over sources of texts, with no filters but those that are named."""
    sources = [SourceConfig(name=name, kind="text", priority=(priorities or {}).get(name, 0)) for name in texts]
    documents = [made(str(root), name, content, parts) for name, content in texts.items()]
    config, leaks = DedupConfig(**dedup), DecontaminationConfig(inputs=evaluation)
    off = {"judge_from_characters": 10**9, "min_characters": 1, "min_chinese_share": 0.0, "languages": ()}
    bounds = dict.fromkeys(texts, FilterConfig(**{**off, **(filters or {})}))
    operational: dict[str, Any] = {"workers": workers}
    with job.executed_by(None if workers > 1 else plainly):
        both = list(zip(sources, documents, strict=True))
        signed = [signatures(s, d, config, str(root), **operational) for s, d in both if needed(config)]
        found = [overlaps(s, d, leaks, str(root), **operational) for s, d in both if evaluation]
        return duplicates(
            sources, documents, signed, found, bounds, config, withdrawn or [], str(root), decontamination=leaks, **operational
        )


def rows(stage: Finished, source: str, kind: str = "dropped") -> list[dict[str, Any]]:
    with storage.open_read(stage.file(f"{kind}_{source}.parquet")) as file:
        found: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return found


def reasons(stage: Finished, source: str) -> dict[int, str]:
    return {row["id"]: row["reason"] for row in rows(stage, source)}


def kept_texts(root: Path, stage: Finished, source: str, texts: Texts) -> dict[int, str]:
    documents = made(str(root), source, texts[source])
    tables = [kept_documents(documents, stage, entry["name"]) for entry in documents.files("part-")]
    return {row["id"]: row["text"] for table in tables for row in table.to_pylist()}


def changed(text: str, *places: int) -> str:
    """The text with a letter changed here and there."""
    for place in places:
        text = text[:place] + "囍" + text[place + 1 :]
    return text


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
            "line": f"{LINE}\n再见",
            "foreign": "Mostly English words here 中文",
        }
    }
    done = decide(
        tmp_path,
        texts,
        withdrawn=[identity("a", "gone")],
        evaluation=(str(scored),),
        filters={"min_characters": 5, "min_chinese_share": 0.3},
    )
    assert identity("a", "first") < identity("a", "line")
    wanted = {
        "near": "near_duplicate",
        "same": "duplicate",
        "short": "too_short",
        "leak": "contaminated",
        "gone": "withdrawn",
        "copy": "withdrawn_copy",
        "foreign": "not_chinese",
        "line": "duplicate_paragraphs",
    }
    assert reasons(done, "a") == {identity("a", origin): reason for origin, reason in wanted.items()}
    of = {row["id"]: row["kept_id"] for row in rows(done, "a")}
    copies = {"near": "kept", "same": "kept", "copy": "gone"}
    assert of == {identity("a", o): identity("a", copies[o]) if o in copies else None for o in wanted}
    counts = done.manifest["counts"]["a"]
    assert counts["dropped"] == Counter(wanted.values())
    assert (counts["documents"], counts["kept"], counts["clusters"]) == (10, 10 - len(wanted), 1)
    assert counts["contaminated_by"] == {"scored.tsv": 1}
    assert [row["file"] for row in rows(done, "a", "contaminated")] == ["scored.tsv"]
    samples = {sample["reason"]: sample for sample in done.manifest["samples"] if sample["reason"] != "repeated_paragraph"}
    assert samples.keys() == set(wanted.values())
    assert samples["too_short"] == {"source": "a", "reason": "too_short", "text": "太短了"}
    assert samples["near_duplicate"]["kept_text"] == long[:200]


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
        assert sum(map(cleaning.visible, left.values())) == counts["characters_kept"]
        assert not gone.keys() & left.keys()
        assert list(gone) == sorted(gone)
        assert len(rows(done, name, "paragraphs")) == counts["paragraphs"]
    if which == "generated":
        assert done.manifest["counts"]["news"]["dropped"]["duplicate"] == 10


def test_limits_are_inclusive(tmp_path: Path) -> None:
    texts: Texts = {"a": ["五个汉字啊", "三汉字" + "abcdefg"]}
    done = decide(tmp_path, texts, filters={"min_characters": 5, "max_characters": 10, "min_chinese_share": 0.3})
    assert rows(done, "a") == []


def test_each_source_has_its_own_filters(tmp_path: Path) -> None:
    sources = [SourceConfig(name=name, kind="text") for name in "ab"]
    documents = [made(str(tmp_path), name, [GOOD, name * 3 + "我们的"]) for name in "ab"]
    bounds = {name: FilterConfig(min_characters=limit, min_chinese_share=0) for name, limit in (("a", 3), ("b", 10))}
    done = duplicates(
        sources, documents, [], [], bounds, DedupConfig(exact=False, near=False, paragraph_letters=0), [], str(tmp_path)
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
    done = decide(tmp_path, {"a": base, "b": [*copies, base[0], GOOD]}, paragraph_letters=0, filters={"min_characters": 2})
    found = {row["id"]: row["kept_id"] for row in rows(done, "b") if row["reason"] == "near_duplicate"}
    right = {identity("b", n): identity("a", n) for n in range(50)}
    assert len(found.items() & right.items()) >= 49
    assert found.items() <= right.items()
    assert rows(done, "a") == []


def test_near_duplicates_stay_where_the_recipe_says_so(tmp_path: Path) -> None:
    long = generated(8, 1, 12)[0]
    texts: Texts = {"a": [long, changed(long, 20)]}
    assert len(rows(decide(tmp_path, texts, near=False, paragraph_letters=0), "a")) == 0
    assert len(rows(decide(tmp_path, texts, paragraph_letters=0), "a")) == 1
    assert len(rows(decide(tmp_path, texts, similarity=0.999, paragraph_letters=0), "a")) == 0


def test_a_duplicate_is_only_dropped_for_a_document_that_stays(tmp_path: Path) -> None:
    # The copy of higher priority has too many signs and too few characters that are Chinese: the other one must stay.
    texts: Texts = {"a": ["，" * 60 + GOOD, "甲" * 20], "b": [GOOD, "乙" * 20]}
    done = decide(tmp_path, texts, priorities={"a": 9}, filters={"min_chinese_share": 0.3})
    assert [row["reason"] for row in rows(done, "a")] == ["not_chinese"]
    assert rows(done, "b") == []


def test_copies_stay_where_the_recipe_says_so(tmp_path: Path) -> None:
    done = decide(
        tmp_path, {"a": [GOOD, GOOD, "短"]}, exact=False, near=False, paragraph_letters=0, filters={"min_characters": 5}
    )
    assert [row["reason"] for row in rows(done, "a")] == ["too_short"]
    assert rows(done, "a", "clusters") == []


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
    how: dict[str, Any] = {"similarity": 0.77, "bands": 40, "rows": 4, "paragraph_letters": 0}
    assert rows(decide(tmp_path, {"a": [one, other]}, **how), "a") == []
    between = decide(tmp_path, {"a": [one, other], "b": [middle, GOOD]}, **how)
    assert rows(between, "a") == []
    assert [row["id"] for row in rows(between, "b")] == [identity("b", 0)]
    assert len(rows(decide(tmp_path, {"a": [one, other, middle]}, **how), "a")) == 2


def test_copies_of_a_withdrawn_document_go_from_every_source(tmp_path: Path) -> None:
    text = generated(12, 1, 12)[0]
    texts: Texts = {"a": [changed(text, 20), GOOD], "b": [text, "乙" * 20], "c": [text + "！", "丙" * 20]}
    done = decide(tmp_path, texts, withdrawn=[identity("b", 0), 12345])
    assert reasons(done, "a") == {identity("a", 0): "withdrawn_copy"}
    assert reasons(done, "b") == {identity("b", 0): "withdrawn"}
    assert reasons(done, "c") == {identity("c", 0): "withdrawn_copy"}
    assert {row["kept_id"] for source in "ac" for row in rows(done, source)} == {identity("b", 0)}
    assert done.manifest["comparison"]["withdrawn_not_found"] == 1
    assert rows(done, "a", "clusters") == []


def test_withdrawn_copies_go_even_where_copies_stay(tmp_path: Path) -> None:
    texts: Texts = {"a": [GOOD, GOOD + "。", "甲" * 20, "甲" * 20]}
    done = decide(tmp_path, texts, withdrawn=[identity("a", 0)], exact=False, near=False, paragraph_letters=0)
    assert reasons(done, "a") == {identity("a", 0): "withdrawn", identity("a", 1): "withdrawn_copy"}


def test_lists_of_withdrawn_documents(tmp_path: Path) -> None:
    path = tmp_path / "withdrawn.txt"
    path.write_text("\ufeff00000000000000ff\n\n  18446744073709551615  # a letter of 3 May\r\n# nothing\n17\n")
    assert read_withdrawn(str(path)) == [255, (1 << 64) - 1, 17]
    for wrong in ("news.jsonl#17", "-3", "18446744073709551616", "00ff"[:3] + "g"):
        path.write_text(f"17\n{wrong}\n")
        with pytest.raises(CorpusError, match=r"withdrawn.txt: line 2: .* is no id of a document"):
            read_withdrawn(str(path))
    with pytest.raises(StorageError, match="not found"):
        read_withdrawn(str(tmp_path / "missing.txt"))


def test_a_paragraph_stays_in_the_first_document_that_has_it(tmp_path: Path) -> None:
    texts: Texts = {
        "a": [f"甲甲甲\n{LINE}\n{GOOD}的事"],
        "b": {"0": f"乙乙乙\n{LINE}！\n丙丙丙", "1": f"{LINE}\n丁丁丁\n{LINE}", "2": f"短\n{GOOD}的事", "3": "短\n短"},
    }
    done = decide(tmp_path, texts, near=False)
    assert rows(done, "a", "paragraphs") == []
    gone = [(row["id"], row["ordinal"], row["kept_id"]) for row in rows(done, "b", "paragraphs")]
    b0, b1 = identity("b", 0), identity("b", 1)
    assert gone == sorted([(b0, 1, identity("a", 0)), (b1, 0, identity("a", 0)), (b1, 2, identity("a", 0))])
    assert kept_texts(tmp_path, done, "b", texts) == {
        b0: "乙乙乙\n丙丙丙",
        b1: "丁丁丁",
        identity("b", 2): f"短\n{GOOD}的事",
        identity("b", 3): "短\n短",
    }
    assert done.manifest["counts"]["b"]["paragraph_characters"] == 3 * len(LINE) + 1


def test_paragraphs_of_dropped_documents_do_not_count(tmp_path: Path) -> None:
    texts: Texts = {"a": [f"Only some English words stand here\n{LINE}" * 9, GOOD], "b": [f"乙乙乙\n{LINE}"]}
    done = decide(tmp_path, texts, filters={"max_characters": 200})
    assert list(reasons(done, "a").values()) == ["too_long"]
    assert rows(done, "b", "paragraphs") == []


def test_a_document_of_which_too_little_is_left_is_dropped(tmp_path: Path) -> None:
    other = generated(13, 1)[0].split("\n")[0] * 2
    texts: Texts = {"a": [f"{LINE}\n{other}"], "b": [f"{LINE}\n短", f"{LINE}\n{GOOD}", LINE[:-1] + "啊", other, "乙" * 10]}
    done = decide(tmp_path, texts, near=False, filters={"min_characters": 10})
    assert reasons(done, "b") == {identity("b", 0): "duplicate_paragraphs", identity("b", 3): "duplicate_paragraphs"}
    assert [row["id"] for row in rows(done, "b", "paragraphs")] == [identity("b", 1)]


def test_paragraphs_stay_where_the_recipe_says_so(tmp_path: Path) -> None:
    texts: Texts = {"a": [f"甲甲甲\n{LINE}", f"乙乙乙\n{LINE}"]}
    done = decide(tmp_path, texts, near=False, paragraph_letters=0)
    assert rows(done, "a", "paragraphs") == []
    assert len(kept_texts(tmp_path, done, "a", texts)) == 2


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
        CorpusError, match=r"source 'b': no document is left of 3 \(duplicate 1, too_short 2\); look at \[filters\]"
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


def test_read_part_gives_what_was_made(tmp_path: Path) -> None:
    documents = made(str(tmp_path), "a", [GOOD])
    (entry,) = documents.files("part-")
    assert read_part(documents, entry["name"], ["text"])["text"].to_pylist() == [GOOD]
