"""Language and script: short samples, real dumps, and a batch gives what single texts give."""

import bz2
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cleaning.language import (
    CANTONESE,
    CLASSICAL,
    LANGUAGES,
    MODERN,
    SCRIPTS,
    detect,
    script_characters,
)
from tests import corpus

SAMPLES = [
    ("国务院总理在北京会见外宾。", "zh", "hans"),
    ("國務院總理在北京會見外賓。", "zh", "hant"),
    ("好", "zh", "none"),
    ("房间很好", "zh", "hans"),
    ("鲜の每日，好吃不贵", "zh", "hans"),
    ("他在歌曲「微笑みの爆弾」中担任合唱，这首歌后来成为动画片的主题曲，并且在各国广为流传", "zh", "hans"),
    ("用 Python 写爬虫：import requests; print(requests.get(url).text)，很简单", "zh", "hans"),
    ("佢哋喺度食緊飯，唔好嘈。", "yue", "hant"),
    ("佢今日冇返工，話自己唔舒服，要去睇醫生。", "yue", "hant"),
    ("他唔了一声，没有说话，我们都觉得很奇怪，后来才知道是怎么回事。", "zh", "hans"),
    ("子曰：“学而时习之，不亦说乎？有朋自远方来，不亦乐乎？人不知而不愠，不亦君子乎？”", "lzh", "hans"),
    ("环滁皆山也。其西南诸峰，林壑尤美，望之蔚然而深秀者，琅琊也。临溪而渔者谁？太守乎！", "lzh", "hans"),
    ("本台播发央视快评《以学铸魂，筑牢信仰之基、补足精神之钙、把稳思想之舵》。", "zh", "hans"),
    ("床前明月光，疑是地上霜。", "zh", "none"),
    ("东京都は日本の首都である。", "ja", "none"),
    ("さくらの花が咲いた。", "ja", "none"),
    ("안녕하세요 여러분", "ko", "none"),
    ("大韓民國은 민주공화국이다.", "ko", "none"),
    ("The president of the country met with foreign guests this morning.", "en", "none"),
    ("Der Präsident hat am Morgen ausländische Gäste in Berlin empfangen.", "other", "none"),
    ("Привет, мир", "other", "none"),
    ("3.14", "none", "none"),
    ("", "none", "none"),
    ("他說這個問題已經解決了，可是我们还没有看到结果。", "zh", "mixed"),
    ("这家店是陳記老店，味道很不错，我们下次还会来吃的。", "zh", "hans"),
]


@pytest.mark.parametrize(("text", "language", "script"), SAMPLES)
def test_samples(text: str, language: str, script: str) -> None:
    languages, scripts = detect([text])
    assert (languages.tolist(), scripts.tolist()) == ([language], [script])


def test_a_batch_is_as_good_as_its_texts() -> None:
    languages, scripts = detect([text for text, _, _ in SAMPLES])
    assert languages.tolist() == [language for _, language, _ in SAMPLES]
    assert scripts.tolist() == [script for _, _, script in SAMPLES]
    assert [column.tolist() for column in detect([])] == [[], []]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.sampled_from("国國嘅唔之乎者的が カ한글abcтж1。\U00020000"), max_size=30), max_size=5))
def test_any_text_has_a_known_language_and_script_whatever_stands_beside_it(texts: list[str]) -> None:
    languages, scripts = detect(texts)
    assert set(languages.tolist()) <= set(LANGUAGES) and set(scripts.tolist()) <= set(SCRIPTS)
    assert [(str(*detect([text])[0]), str(*detect([text])[1])) for text in texts] == [*zip(languages, scripts, strict=True)]


def test_characters_of_one_script_only() -> None:
    simplified, traditional = script_characters()
    assert set("国学们这说边") <= simplified and set("國學們這說邊") <= traditional
    # Used in both scripts, or in personal names.
    assert not set("后云里台松着著乾於堃喆") & (simplified | traditional)
    assert not simplified & traditional
    assert len(simplified) > 2_000 and len(traditional) > 3_000


def test_no_character_points_to_two_languages() -> None:
    assert not (set(CANTONESE) & set(CLASSICAL) or set(CLASSICAL) & set(MODERN) or set(CANTONESE) & set(MODERN))


def paragraphs(name: str) -> Iterator[str]:
    """Prose of a real dump, of 100 characters and more, roughly freed of markup."""
    with bz2.open(corpus.REAL / "corpora/wiki/dbpedia_minidumps" / name) as file:
        for _, element in ElementTree.iterparse(file):
            if element.tag.endswith("}text"):
                text = re.sub(r"(?s)<!--.*?-->|<ref.*?(</ref>|/>)|\{\|.*?\|\}", "", element.text or "")
                text = re.sub(r"\[\[(?:[^|\]]*\|)?([^\]]*)\]\]|<[^>]*>|\{\{[^{}]*\}\}", r"\1", text)
                yield from (
                    line for line in text.split("\n") if len(line) >= 100 and line[0].isalpha() and ":" not in line[:30]
                )


@corpus.needs_real_data
@pytest.mark.parametrize(
    ("name", "language", "least"),
    [
        ("zhwiki.xml.bz2", "zh", 1.0),
        ("jawiki.xml.bz2", "ja", 0.97),
        ("kowiki.xml.bz2", "ko", 1.0),
        ("enwiki.xml.bz2", "en", 0.97),
    ],
)
def test_real_dumps(name: str, language: str, least: float) -> None:
    languages = Counter(detect(list(paragraphs(name)))[0].tolist())
    assert languages[language] >= least * languages.total() > 0, languages


@corpus.needs_real_data
def test_real_reviews_and_web_text_are_chinese() -> None:
    text = (corpus.REAL / "corpora/text/cluecorpussmall_bert_sample.txt").read_text(encoding="utf-8")
    languages, scripts = (Counter(column.tolist()) for column in detect(text.split("\n\n")))
    assert languages["zh"] >= 0.998 * languages.total()
    assert scripts["hans"] >= 0.97 * scripts.total() and 5 <= scripts["hant"] <= 15
