"""What the report shows of kept documents: samples, frequent lines and titles, and what other thresholds would do."""

import random
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cleaning import quality
from pipeline.cleaning.web import measures
from pipeline.config import DedupConfig, FilterConfig
from pipeline.dedup import dropping, overview
from pipeline.dedup.overview import Frequent
from tests.deciding import GOOD, LINE, Texts, changed, decide, kept_texts, reasons
from tests.made_documents import generated, identity
from workflows.report import kept_figures
from workflows.report.display_names import DISPLAY_NAMES
from workflows.report.funnel import GROUPS, group_of


def test_every_reason_has_words_on_the_page() -> None:
    assert {reason for reason in dropping.REASONS if reason not in DISPLAY_NAMES} == set()
    assert {group_of(reason) for reason in dropping.REASONS} == set(GROUPS)


@pytest.mark.parametrize("rule", quality.RULES, ids=lambda rule: rule.name)
def test_reasons_are_written_whole_beside_duplicates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: Any) -> None:
    def by_rule(columns: Any, filters: Any) -> Any:
        return np.where(columns["characters"] < 5, rule.name, "")

    monkeypatch.setattr(quality, "decide", by_rule)
    done = decide(tmp_path, {"a": ["短的", GOOD, GOOD]}, near=False)
    assert Counter(reasons(done, "a").values()) == {rule.name: 1, "duplicate": 1}
    assert done.manifest["counts"]["a"]["dropped"] == {rule.name: 1, "duplicate": 1}


def test_an_exact_duplicate_is_shown_beside_its_equal(tmp_path: Path) -> None:
    long = generated(1, 1, 12)[0]
    near = long[:30] + "囍" + long[31:-3]
    done = decide(tmp_path, {"a": [long, near, near + "。", *generated(2, 2)]}, min_paragraph_characters=0)
    found = Counter(reasons(done, "a").values())
    assert found == {"duplicate": 1, "near_duplicate": 1}
    shown = {sample["reason"]: sample for sample in done.manifest["samples"]}
    assert shown["duplicate"]["twin_text"].startswith(near[:40]) and shown["duplicate"]["text"].startswith(near[:40])
    assert shown["near_duplicate"]["twin_text"].startswith(long[:40])


def test_what_contains_a_document_is_shown_from_there(tmp_path: Path) -> None:
    long = generated(3, 1, 30)[0].replace("\n", "")[:480]
    done = decide(tmp_path, {"a": [long, long[300:340]]})
    (sample,) = done.manifest["samples"]
    assert (sample["reason"], sample["text"]) == ("contained", long[300:340])
    assert long[300:340] in sample["twin_text"]


def test_samples_of_kept_documents_depend_on_the_seed_alone(tmp_path: Path) -> None:
    texts: Texts = {"a": [*generated(4, 60), *generated(4, 60)], "b": [f"{text}\n{LINE}" for text in generated(5, 20)]}
    chosen = {}
    for name, seed, parts in (("one", 1, 4), ("two", 1, 16), ("three", 2, 4)):
        done = decide(tmp_path / name, texts, seed=seed, parts=parts)
        chosen[name] = {source: found["samples"] for source, found in done.manifest["overview"].items()}
        for source in texts:
            kept = kept_texts(tmp_path / name, done, source, texts) if name != "two" else {}
            for sample in chosen[name][source] if kept else []:
                text = kept[int(sample["id"], 16)]
                assert (sample["text"], sample["characters"]) == (text[:500], len(text))
    assert chosen["one"] == chosen["two"] != chosen["three"]
    assert {len(samples) for samples in chosen["one"].values()} == {overview.SAMPLES}


def test_short_lines_that_are_left_are_counted_among_kept_documents(tmp_path: Path) -> None:
    base = generated(6, 60)
    some = [f"{text}\n点击查看更多" for text in base[:30]] + [f"{text}\n责任编辑：张三" for text in base[30:34]]
    texts: Texts = {"a": [*some, f"{base[0]}\n点击查看更多", f"{base[1]}\n点击查看更多。", "点击查看更多"]}
    done = decide(tmp_path, texts, parts=2, filters={"min_characters": 1})
    found = done.manifest["overview"]["a"]
    lines = {row["text"].rstrip("。"): row["documents"] for row in found["lines"]}
    assert 30 - found["lines_missed"] <= lines["点击查看更多"] <= 30
    assert found["lines_missed"] == 2
    assert lines.keys() <= {"点击查看更多", "责任编辑：张三"}
    page = kept_figures.frequent(done)
    assert page["lines"][0]["text"].rstrip("。") == "点击查看更多" and page["lines_missed"] == 2


@given(st.lists(st.dictionaries(st.integers(0, 30), st.integers(1, 9), max_size=12), max_size=12), st.integers(1, 40))
def test_frequent_keys_are_counted_within_their_bound(parts: list[dict[int, int]], entries: int) -> None:
    frequent, exact = Frequent[int](entries), Counter[int]()
    for part in parts:
        frequent.add(part.items())
        exact.update(part)
    assert len(frequent.counts) <= entries
    for key, number in exact.items():
        assert number - frequent.missed <= frequent.counts.get(key, 0) <= number
    if len(exact) <= entries:
        assert frequent.missed == 0
    assert frequent.missed <= sum(exact.values()) / (entries + 1)


def test_other_thresholds_are_those_of_deciding_again() -> None:
    chance = random.Random(7)
    texts = [text[: chance.randrange(5, 400)] for text in generated(7, 60, 12)]
    texts += ["\n".join(["短句"] * 8) + text for text in texts[:20]] + [
        "哈哈哈哈" * chance.randrange(10, 60) for _ in range(10)
    ]
    texts += [f"2024年{number * 997}，12345，67890。" * chance.randrange(1, 9) for number in range(20)]
    draw = np.random.default_rng(7)
    columns = quality.measure(texts)
    columns |= {name: draw.choice([0, 1, 2, 3, 8], len(texts)).astype(np.float32) / 4 for name, _ in measures.COLUMNS}
    columns["junk"] = draw.random(len(texts), np.float32)
    columns["form"] = draw.choice(["prose", "verse"], len(texts)).astype(object)
    filters = FilterConfig(languages=(), judge_from_characters=40, judge_from_lines=3, min_characters=60)
    now = int((quality.decide(columns, filters) != "").sum())
    found = quality.dropped_at(columns, filters, (0.5, 2))
    numeric = {field.name for field in fields(filters) if isinstance(getattr(filters, field.name), int | float)}
    assert found.keys() == numeric
    for name, changes in found.items():
        for factor, change in zip((0.5, 2), changes, strict=True):
            other = FilterConfig()
            for field in fields(filters):  # without the checks of `replace`: a ratio may become more than 1
                object.__setattr__(other, field.name, getattr(filters, field.name))
            object.__setattr__(other, name, getattr(filters, name) * factor)
            assert int((quality.decide(columns, other) != "").sum()) - now == change, (name, factor)
    assert found["min_characters"][0] < 0 < found["min_characters"][1]


def test_thresholds_are_on_the_page_with_their_values(tmp_path: Path) -> None:
    texts: Texts = {"a": [GOOD, "七个字的短文本", "十四个字的短文本还有一点长", *generated(8, 4)]}
    done = decide(tmp_path, texts, filters={"min_characters": 10})
    assert done.manifest["overview"]["a"]["thresholds"]["min_characters"] == {"half": -1, "twice": 2}
    page = kept_figures.thresholds(done)
    assert page["rows"] == [
        {"name": "min_characters", "values": [10], "half": -1, "twice": 2, "by_source": [{"half": -1, "twice": 2}]}
    ]
    assert "max_characters" in page["unchanged"]


def test_thresholds_of_contamination_are_counted_too(tmp_path: Path) -> None:
    scored = tmp_path / "scored.txt"
    leaked = generated(9, 1, 12)[0].replace("\n", "")
    scored.write_text(leaked[:120])
    texts: Texts = {"a": [GOOD + leaked[:45], GOOD[::-1] + leaked[20:100], *generated(10, 3)]}
    done = decide(tmp_path, texts, evaluation=(str(scored),), min_paragraph_characters=0)
    found = done.manifest["overview"]["a"]["thresholds"]
    assert reasons(done, "a") == {identity("a", 0): "contaminated", identity("a", 1): "contaminated"}
    assert found["min_matching_ngrams"] == {"half": 0, "twice": -1}


EDITS = (6, 28, 48, 70, 92, 15, 38, 80)
"""Places in a text of 100 characters that are at least five apart: each edit costs 5 of its 96 n-grams."""


def test_similarity_and_containment_are_counted_at_half_and_at_twice_their_distance(tmp_path: Path) -> None:
    letters = [chr(0x4E00 + number) for number in random.Random(11).sample(range(20_000), 2_500)]
    fresh = iter("".join(letters[start : start + 100]) for start in range(0, 2_500, 100))
    # Similarities of (96 - 5 k) / (96 + 5 k): 0.90, 0.81, 0.66, 0.59 and 0.42.
    pairs = [(text, changed(text, *EDITS[:k])) for k, text in zip((1, 2, 4, 5, 8), fresh, strict=False)]
    longer = ["".join(next(fresh) for _ in range(4)) for _ in range(4)]
    # Of their n-grams in the longer text: 36 of 36, 55 of 60, 31 of 36, 50 of 60.
    inside = [
        longer[0][50:90],
        changed(longer[1][50:114], 22),
        changed(longer[2][50:90], 19),
        changed(longer[3][50:114], 22, 40),
    ]
    texts: Texts = {"a": [text for pair in pairs for text in pair], "b": [*longer, *inside]}
    # With one wide band no pair is found by its signature.
    done = decide(tmp_path, texts, bands=1, rows=64)
    assert Counter(reasons(done, "a").values()) == {"near_duplicate": 2}
    assert Counter(reasons(done, "b").values()) == {"contained": 2}
    found = {name: done.manifest["overview"][name]["thresholds"] for name in texts}
    assert [found["a"][name] for name in overview.SIMILARITIES] == [{"half": -1, "twice": 2}, {"half": 0, "twice": 0}]
    assert [found["b"][name] for name in overview.SIMILARITIES] == [{"half": 0, "twice": 0}, {"half": -1, "twice": 2}]
    rows = {row["name"]: row for row in kept_figures.thresholds(done)["rows"]}
    assert (rows["similarity"]["values"], rows["similarity"]["at"]) == ([0.75], [(0.875, 0.5)])
    assert (rows["containment"]["values"], rows["containment"]["at"]) == ([0.9], [(0.95, 0.8)])


@pytest.mark.parametrize("limits", [{}, {"similarity": 0.4, "containment": 0.0}, {"short_characters": 0}], ids=str)
def test_duplicates_at_other_thresholds_are_those_of_comparing_again(tmp_path: Path, limits: dict[str, Any]) -> None:
    chance = random.Random(12)
    base = [text[: chance.randrange(20, 900)] for text in generated(12, 60, 12)]
    edited = [changed(text, *chance.sample(range(len(text)), len(text) // chance.randrange(8, 60))) for text in base * 2]
    cut = [text[len(text) // 4 :][:150] for text in edited]
    texts: Texts = {"a": [*base, *edited[:60]], "b": [*edited[60:], *cut]}
    priorities, gone = {"a": 1}, [identity("a", 0)]

    def dropped(folder: str, **changed_limits: float) -> tuple[dict[str, int], dict[str, Any]]:
        settings = {"min_paragraph_characters": 0, **limits, **changed_limits}
        done = decide(tmp_path / folder, texts, priorities=priorities, withdrawn=gone, parts=2, **settings)
        numbers = {name: sum(reason in dropping.DUPLICATES for reason in reasons(done, name).values()) for name in texts}
        return numbers, {name: done.manifest["overview"][name]["thresholds"] for name in texts}

    now, found = dropped("now")
    changes = set()
    for name in overview.SIMILARITIES:
        value = getattr(DedupConfig(**limits), name)
        for side, ratio in zip(("half", "twice"), overview.at_distances(value) if value else (0.0, 0.0), strict=True):
            again, _ = dropped(f"{name}-{side}", **{name: ratio})
            assert {source: again[source] - now[source] for source in texts} == {
                source: found[source][name][side] for source in texts
            }, (name, side)
            changes |= {np.sign(again[source] - now[source]) for source in texts}
    assert changes >= {-1, 1}


def test_thresholds_do_not_depend_on_workers_or_parts(tmp_path: Path) -> None:
    base = generated(13, 40)
    texts: Texts = {"a": [*base, *(changed(text, *range(5, len(text), 25)) for text in base)]}
    found = [decide(tmp_path / str(n), texts, workers=n, parts=parts) for n, parts in ((1, 4), (2, 4), (1, 9))]
    thresholds = [done.manifest["overview"]["a"]["thresholds"] for done in found]
    assert thresholds[0] == thresholds[1] == thresholds[2]
    assert found[0].manifest["overview"] == found[1].manifest["overview"]
    assert thresholds[0]["similarity"] != {"half": 0, "twice": 0}


def test_without_near_duplicates_no_ratio_is_counted(tmp_path: Path) -> None:
    done = decide(tmp_path, {"a": [GOOD, GOOD, *generated(14, 3)]}, near=False)
    assert not set(overview.SIMILARITIES) & done.manifest["overview"]["a"]["thresholds"].keys()


def test_removed_lines_that_are_shorter_than_twice_the_threshold_are_counted(tmp_path: Path) -> None:
    short, long = LINE[:40], LINE + GOOD[:15] + "。"
    assert len(short) < 60 <= len(long)
    texts: Texts = {
        "a": [f"{text}\n{line}" for text, line in zip(generated(15, 5), (short, short, short, long, long), strict=True)]
    }
    done = decide(tmp_path, texts)
    assert done.manifest["counts"]["a"]["paragraphs"] == 3
    assert kept_figures.thresholds(done)["removed_lines_below_twice"] == 2


def test_repeated_titles_are_counted() -> None:
    counted = overview.Overview(0)
    counted.titles.add([("公告", 3), ("通知", 2), ("独有", 1)])
    facts = counted.facts()
    assert facts["titles"] == [{"title": "公告", "documents": 3}, {"title": "通知", "documents": 2}]
    assert facts["repeated_titles"] == {"titles": 2, "documents": 5, "missed": 0}
