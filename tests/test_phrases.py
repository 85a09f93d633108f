"""Phrases: the first and longest phrase of a list becomes one word, whatever the words were."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import CorpusError
from pipeline.tokenization.phrases import Phrases
from tests import demo_text


def found(phrases: Phrases, text: str) -> list[str]:
    return [text[start:end] for start, end in phrases.spans(text).tolist()]


def test_the_first_phrase_is_taken_and_of_these_the_longest() -> None:
    phrases = Phrases(["大学生", "北京大学", "北京", "北京大学生", "人工智能", "的"])
    assert found(phrases, "在北京大学生的人工智能课，大学生人工智") == ["北京大学生", "人工智能", "大学生"]


def test_phrases_are_one_word_and_part_the_words_that_they_cut() -> None:
    phrases = Phrases(["北京大学", "人工智能"])
    text = "在北京大学生学人工智能北京大学"
    words = np.array([c in "在北大学人智" for c in text])
    assert words.tolist()[1:6] == [True, False, True, True, False]  # 北京|大|学生
    joined = phrases.join(text, words)
    starts = np.flatnonzero(joined).tolist()
    assert [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)] == [
        *("在", "北京大学", "生", "学", "人工智能", "北京大学")
    ]
    assert words.tolist()[1:6] == [True, False, True, True, False]  # as it was


@settings(deadline=None)
@given(
    st.lists(st.text(st.sampled_from("北京大学a\n\ud83d"), max_size=5), max_size=8),
    st.text(st.sampled_from("北京大学a\n\ud83d")),
)
def test_phrases_are_found_as_a_search_at_every_place_finds_them(phrases: list[str], text: str) -> None:
    expected, place = [], 0
    while place < len(text):
        fitting = [phrase for phrase in phrases if len(phrase) > 1 and text.startswith(phrase, place)]
        longest = max(map(len, fitting), default=0)
        expected += [text[place : place + longest]] if longest else []
        place += longest or 1
    assert found(Phrases(phrases), text) == expected


def test_thousands_of_phrases_are_found_in_real_text() -> None:
    text = "\n".join(demo_text.articles(20))
    names = {text[start : start + 4] for start in range(0, len(text), 7)}
    spans = Phrases(names).spans(text)
    assert len(spans) > len(names) / 2
    assert {text[start:end] for start, end in spans.tolist()} <= names
    assert (spans[1:, 0] >= spans[:-1, 1]).all()


def test_a_list_is_a_phrase_a_line(tmp_path: Path) -> None:
    path = tmp_path / "phrases.txt"
    path.write_text("\ufeff北京大学\r\n\n  人工智能 \n的\n", "utf-8")
    assert found(Phrases.read(str(path)), "北京大学的人工智能") == ["北京大学", "人工智能"]


@pytest.mark.parametrize(
    ("content", "message"), [("北京".encode("gb18030"), "not UTF-8 at byte 0"), (b"\n\xe7\x9a\x84\n", "no phrase")]
)
def test_a_list_that_cannot_serve_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "phrases.txt").write_bytes(content)
    with pytest.raises(CorpusError, match=f"phrases.txt: {message}"):
        Phrases.read(str(tmp_path / "phrases.txt"))
