"""Measures of quality against slow plain loops, and what the rules drop."""

import json
import lzma
import math
import re
import unicodedata
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cleaning import quality
from pipeline.cleaning.characters import (
    STOPWORDS,
    Batch,
    Class,
    classes,
)
from pipeline.cleaning.cleaning import clean
from pipeline.cleaning.forms import FORMS
from pipeline.cleaning.quality import (
    BULLETS,
    COLUMNS,
    CUT,
    DUP_NGRAMS,
    NOTE,
    RULES,
    SPARED,
    TOP_NGRAMS,
    decide,
    dropped_at,
    filters_for,
    measure,
)
from pipeline.cleaning.repetition import first_equal
from pipeline.cleaning.web import junk, measures
from pipeline.config import FilterConfig, SourceConfig
from pipeline.errors import RecipeError
from tests import corpus
from tests.characters import chinese, visible

NEWS = "国务院总理在北京会见外宾，双方就经贸合作和人文交流交换了意见，并共同见证了有关协议的签署。"
PROSE = (
    "入冬以后，山里的雪一场接一场，路也被埋住了。老张每天天不亮就起来扫雪，从院门口一直扫到村头的小桥。他说这条路上有学生要走，"
    "不能耽搁。孩子们背着书包，踩着他留下的脚印去上课，远远看见他就喊爷爷。到了年底，县里送来一台小型铲雪机，大家都劝他歇一歇，"
    "可他还是拿起扫帚，跟在机器后面，把边角清理得干干净净。有人问他图什么，他笑着摆摆手，只说看见这些娃娃平平安安，心里就踏实。"
)
LINES = [PROSE[start : start + 12] for start in range(0, 144, 12)]
LONG = [PROSE[start : start + 24] for start in range(0, 144, 24)]


def slowly(text: str) -> dict[str, float]:
    """Compute all measures of one text by their definitions."""
    seen = [character for character in text if not character.isspace()]
    kinds = Counter(int(classes()[ord(character)]) for character in seen)
    lines = [line for line in text.split("\n") if line]
    han = sum(number for kind, number in kinds.items() if kind == Class.HAN or kind >= Class.STOPWORD)
    signs = kinds[Class.END] + kinds[Class.PUNCTUATION] + kinds[Class.SYMBOL]
    letters = [c for c in seen if classes()[ord(c)] not in (Class.END, Class.PUNCTUATION, Class.SYMBOL)]
    again = [line for number, line in enumerate(lines) if line in lines[:number]]
    result: dict[str, float] = {
        "characters": len(seen),
        "lines": len(lines),
        "stopwords": sum(any(form in text for form in word) for word in STOPWORDS),
        "chinese_share": han / max(1, len(seen)),
        "latin_share": kinds[Class.LATIN] / max(1, len(seen)),
        "digit_share": kinds[Class.DIGIT] / max(1, len(seen)),
        "sign_share": signs / max(1, len(seen)),
        "symbol_share": kinds[Class.SYMBOL] / max(1, len(seen)),
        "lost_share": (text.count("\ufffd") + 3 * text.count("锟斤拷") + sum(map(text.count, "锛銆鐨"))) / max(1, len(seen)),
        "mean_line_length": len(seen) / max(1, len(lines)),
        "ended_line_share": sum(
            classes()[ord(line[-1])] == Class.END or any(sign in line[-NOTE:] for sign in "。！？!?") for line in lines
        )
        / max(1, len(lines)),
        "short_line_share": sum(len(line) < 10 for line in lines) / max(1, len(lines)),
        "bullet_line_share": sum(line[0] in BULLETS for line in lines) / max(1, len(lines)),
        "ellipsis_line_share": sum(
            len(line) >= CUT and (line.endswith("...") or (line.endswith("…") and not line.endswith("……"))) for line in lines
        )
        / max(1, len(lines)),
        "duplicate_line_share": len(again) / max(1, len(lines)),
        "duplicate_line_characters": sum(map(len, again)) / max(1, sum(map(len, lines))),
    }
    for length in (*TOP_NGRAMS, *DUP_NGRAMS):
        grams = ["".join(letters[start : start + length]) for start in range(len(letters) - length + 1)]
        most = max(Counter(grams).values(), default=0)
        covered = {start + i for start, gram in enumerate(grams) if gram in grams[:start] for i in range(length)}
        if length in TOP_NGRAMS:
            result[f"top_{length}"] = min(1, most * length / max(1, len(letters))) if most > 1 else 0
        else:
            result[f"repeated_{length}"] = len(covered) / max(1, len(letters))
    return result


CHARACTERS = st.sampled_from("好吃的年在中，。！…．.-•# a1Ａ１か가Я①\U00020000😀\n\n")
TEXTS = st.lists(
    st.one_of(
        st.text(CHARACTERS, max_size=40),
        st.lists(st.sampled_from(["好吃", "推荐给大家", "物流速度太慢了，", "a", "1", "\n", "。", " "]), max_size=60).map(
            "".join
        ),
    ),
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_measures_are_what_their_definitions_say(texts: list[str]) -> None:
    columns = measure(texts)
    for number, text in enumerate(texts):
        expected = slowly(text)
        assert set(expected) == set(columns)
        for name, value in expected.items():
            assert columns[name][number] == pytest.approx(value, rel=1e-6), (name, text)


def test_examples_of_the_measures() -> None:
    columns = measure(["好吃好吃好吃，推荐", "", "- 一\n- 二……\n- 一", "A1。"])
    assert columns["top_3"].tolist() == [0.75, 0, 0, 0]
    assert columns["lines"].tolist() == [1, 0, 3, 1]
    assert columns["bullet_line_share"].tolist() == [0, 0, 1, 0]
    assert columns["duplicate_line_share"].tolist() == [0, 0, np.float32(1 / 3), 0]
    assert columns["latin_share"].tolist() == [0, 0, 0, np.float32(1 / 3)]


def test_columns_are_of_the_declared_types() -> None:
    assert {name: pa.from_numpy_dtype(column.dtype) for name, column in measure([NEWS]).items()} == dict(COLUMNS)
    assert [len(column) for column in measure([]).values()] == [0] * len(COLUMNS)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_measures_do_not_depend_on_how_texts_are_batched(sizes: list[int], chance: Any) -> None:
    texts = ["".join(chance.choices([NEWS, "好吃", "\n", "物流太慢，", "#", "1"], k=size)) for size in sizes]
    together = measure(texts)
    alone = [measure([text]) for text in texts]
    for name, column in together.items():
        assert column.tobytes() == b"".join(one[name].tobytes() for one in alone), name


def test_grams_are_counted_in_the_first_characters_of_a_very_long_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "_MAX_NGRAM_CHARACTERS", 40)
    beginning, rest = "".join(chr(0x4E00 + number) for number in range(40)), "好吃" * 40
    short, cut, whole = (measure(texts) for texts in ([beginning], ["甲，" * 9, beginning + rest, rest], [rest[:40]]))
    for name in [name for name, _ in COLUMNS if name.startswith(("top_", "repeated_"))]:
        assert cut[name][1] == short[name][0], name
        assert cut[name][2] == whole[name][0] > 0, name
    assert cut["characters"].tolist() == [18, 120, 80]


def test_large_batches_are_measured_in_blocks() -> None:
    texts = [NEWS * number for number in (1, 3_000, 2, 0, 1_500, 1)]
    together = measure(texts)
    assert together["characters"].tolist() == [visible(text) for text in texts]
    assert together["repeated_17"].tolist() == [float(measure([text])["repeated_17"][0]) for text in texts]


@given(st.text(st.characters(exclude_categories=["Cs", "Z", "C"]), max_size=60))
def test_characters_and_chinese_are_those_of_cleaning(text: str) -> None:
    columns = measure([text])
    assert columns["characters"][0] == visible(text)
    assert columns["chinese_share"][0] == np.float32(chinese(text) / max(1, visible(text)))


def test_every_character_has_the_class_of_its_kind() -> None:
    kinds = {
        "山": Class.HAN,
        "\uf900": Class.HAN,
        "𠀀": Class.HAN,
        "é": Class.LATIN,
        "Ａ": Class.LATIN,
        "７": Class.DIGIT,
        "②": Class.DIGIT,
    }
    kinds |= {
        "ー": Class.KANA,
        "ｱ": Class.KANA,
        "・": Class.PUNCTUATION,
        "한": Class.HANGUL,
        "Я": Class.LETTER,
        "。": Class.END,
    }
    kinds |= {
        "”": Class.END,
        "，": Class.PUNCTUATION,
        "%": Class.PUNCTUATION,
        "#": Class.SYMBOL,
        "￥": Class.SYMBOL,
        "😀": Class.SYMBOL,
    }
    kinds |= {"\u3000": Class.SPACE, "\n": Class.SPACE, " ": Class.SPACE}
    assert {sign: Class(int(classes()[ord(sign)])) for sign in kinds} == kinds
    assert classes()[ord("與")] == classes()[ord("与")] > Class.STOPWORD
    letters = [chr(point) for point in range(0x20000) if unicodedata.category(chr(point))[0] == "L"]
    assert not any(classes()[ord(letter)] in (Class.SPACE, Class.DIGIT, Class.PUNCTUATION, Class.SYMBOL) for letter in letters)


def test_a_batch_knows_where_its_texts_are() -> None:
    batch = Batch.of(["他在。", "", "OK"])
    assert batch.starts.tolist() == [0, 4, 5] and batch.ends.tolist() == [3, 4, 7]
    assert batch.texts.tolist() == [0, 0, 0, 0, 1, 2, 2, 2]
    assert batch.counts.sum(axis=1).tolist() == [3, 0, 2]


@given(st.lists(st.integers(0, 50).map(lambda number: number * 0x0123456789ABCDEF % (1 << 64)), max_size=300))
def test_the_first_equal_key_is_found(keys: list[int]) -> None:
    assert first_equal(np.array(keys, np.uint64)).tolist() == [keys.index(key) for key in keys]


def reasons(texts: list[str], **filters: Any) -> list[str]:
    columns = {**measure(texts), "language": np.full(len(texts), filters.pop("language", "zh"))}
    return [str(reason) for reason in decide(columns, FilterConfig(**filters))]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (PROSE, ""),
        ("房间很好，服务也不错。", ""),
        ("好。", "too_short"),
        ("(更新时间戳: 1682772552640)", "digit_share"),
        (PROSE + "\ufffd" * 3, ""),
        (PROSE + "\ufffd" * 9, "lost_share"),
        (PROSE + "锟斤拷" * 3, "lost_share"),
        ("涓婃捣锛屽寳浜銆傛垜鐨勫鏍★紝浣犵殑銆傘€", "lost_share"),
        ("\ufffd" * 90 + "房间很好", "lost_share"),
        ("Mostly English words stand in here 中文", "not_chinese"),
        ("山川草木鸟兽鱼虫" * 15, "stopwords"),
        (PROSE + "，" * 200, "sign_share"),
        (PROSE + "#" * 60, "symbol_share"),
        (PROSE + "0123456789" * 20, "digit_share"),
        ("的年" + "好吃好吃好吃" * 20, "top_3"),
        (NEWS + "中国一重集团有限公司、" * 4, ""),
        ("\n".join(["物流速度的确是太慢了，等了三天才到，再也不在这里买了。", PROSE[:60]] * 8), "repeated_8"),
        ("\n".join(PROSE[start : start + 4] for start in range(0, 160, 4)), "mean_line_length"),
        ("\n".join(re.sub("[，。]", "", line) for line in LINES), "ended_line_share"),
        ("\n".join([*(re.sub("[，。]", "", line) for line in LINES), "好。"]), ""),
        ("\n".join(re.sub("[，。]", "", line) + "。[详细]" for line in LINES), ""),
        ("\n".join(line + "..." for line in LONG), "ellipsis_line_share"),
        ("\n".join(line + "…" for line in LONG), "ellipsis_line_share"),
        ("\n".join(line + "……" for line in LONG), ""),
        ("\n".join(line + "..." for line in LINES), ""),
        ("\n".join([*(line + "。" for line in LONG[:4]), LONG[4] + "..."]), ""),
    ],
)
def test_the_first_rule_that_is_broken_names_the_reason(text: str, reason: str) -> None:
    assert reasons([text, NEWS]) == [reason, ""]


def test_lines_that_repeat_and_bullets_are_judged_in_documents_of_several_lines() -> None:
    lines = [line + "。" for line in LINES[:8]]
    free = {f"max_dup_{length}gram_ratio": 1.0 for length in DUP_NGRAMS} | {
        f"max_top_{length}gram_ratio": 1.0 for length in TOP_NGRAMS
    }
    assert reasons(["\n".join(lines + lines[:2])], **free) == [""]
    assert reasons(["\n".join(lines + lines[:6])], **free) == ["duplicate_line_characters"]
    assert reasons(["\n".join(lines[:2] * 6)], **free) == ["duplicate_line_share"]
    assert reasons(["\n".join("•" + line for line in lines)], **free) == ["bullet_line_share"]
    assert reasons(["\n".join("•" + line for line in lines)], **free, judge_from_lines=9) == [""]
    assert reasons(["\n".join("•" + line for line in lines)], **free, judge_from_characters=1_000) == [""]


def test_a_threshold_is_a_bound_that_is_allowed_itself() -> None:
    """Ratios are single precision: 0.2 in a recipe must equal a ratio of one in five."""
    assert reasons(["中" + "a" * 4], min_characters=1, min_chinese_ratio=0.2) == [""]
    assert reasons(["中" + "a" * 4], min_characters=5, max_characters=5, min_chinese_ratio=0.2) == [""]
    assert reasons(["中" + "a" * 4], min_characters=6, min_chinese_ratio=0.2) == ["too_short"]


def test_a_bound_may_be_larger_than_any_document() -> None:
    columns = measure([PROSE, "好。"]) | {"language": np.array(["zh", "zh"])}
    assert decide(columns, FilterConfig(max_characters=10**12, min_stopwords=10**12)).tolist() == ["stopwords", "too_short"]
    assert dropped_at(columns, FilterConfig(max_characters=2**31 - 1), (0.5, 2))["max_characters"] == [0, 0]


def test_languages_are_kept_by_name() -> None:
    assert reasons([NEWS], language="ja") == ["language"]
    assert reasons([NEWS], language="ja", languages=()) == [""]
    assert reasons([NEWS], language="yue") == [""]
    assert decide(measure([NEWS]), FilterConfig(languages=())).tolist() == [""]
    stored = {**measure([NEWS] * 3), "language": np.array(["zh", "ja", "none"], object)}
    assert decide(stored, FilterConfig()).tolist() == ["", "language", ""]


def test_every_threshold_has_a_rule_and_every_rule_a_column() -> None:
    thresholds = {rule.threshold for rule in RULES}
    named = {name for name in FilterConfig.__dataclass_fields__ if name.startswith(("min_", "max_"))}
    assert thresholds == named | {"languages"}
    columns = {name for name, _ in (*COLUMNS, *measures.COLUMNS, *junk.COLUMNS)}
    assert {rule.column for rule in RULES} - {"language"} <= columns
    assert SPARED.keys() <= {rule.name for rule in RULES} and {form for some in SPARED.values() for form in some} <= {*FORMS}
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_a_source_may_have_thresholds_of_its_own() -> None:
    common = FilterConfig(min_characters=20)
    source = SourceConfig(name="reviews", kind="text", filters={"min_characters": 8, "max_top_3gram_ratio": 1})
    assert filters_for(source, common) == FilterConfig(min_characters=8, max_top_3gram_ratio=1.0)
    assert filters_for(SourceConfig(name="news", kind="news"), common) is not None
    assert filters_for(SourceConfig(name="news", kind="news"), common) == common


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"min_character": 8}, "source 'a': filters has no threshold 'min_character'; did you mean 'min_characters'?"),
        ({"languages": 1}, "source 'a': filters has no threshold 'languages'"),
        ({"min_characters": 8.5}, "source 'a': min_characters = 8.5 in filters must be a whole number"),
        ({"max_characters": math.inf}, "source 'a': max_characters = inf in filters must be a whole number"),
        ({"max_characters": math.nan}, "source 'a': max_characters = nan in filters must be a whole number"),
        ({"max_sign_ratio": 2}, "source 'a': max_sign_ratio 2.0 is not between 0 and 1"),
    ],
)
def test_a_wrong_threshold_of_a_source_is_refused(filters: dict[str, float], message: str) -> None:
    with pytest.raises(RecipeError) as error:
        filters_for(SourceConfig(name="a", kind="text", filters=filters), FilterConfig())
    assert str(error.value).startswith(message)


@corpus.needs_real_data
def test_good_prose_is_kept() -> None:
    with lzma.open(corpus.REAL / "corpora/news/xinwenlianbo.jsonl.xz") as file:
        news = [clean(json.loads(file.readline())["content"], markup=True)[0] for _ in range(1_500)]
    with lzma.open(corpus.REAL / "corpora/text/laws.jsonl.xz") as file:
        laws = [clean(json.loads(file.readline())["text"])[0] for _ in range(60)]
    for texts in (news, [law for law in laws if visible(law) > 100]):
        counted = Counter(reasons(texts, min_characters=8))
        assert counted[""] >= 0.99 * len(texts), counted
