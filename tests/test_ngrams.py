"""Normalised texts: normalisation by a table, hashes of n-grams and spans, lines; compared with plain strings."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dedup.ngrams import (
    join_texts,
    normalize,
    normalize_texts,
    span_hashes,
)

TEXTS = ["“ＡＢ”，好！", "第１课。\n\nab 好", "", "，。", "𠀀𠀁e\u0301 𝟙😀", "好" * 7]
lines = st.lists(st.text(alphabet="甲乙丙ＡaB1 。\n𠀀", max_size=30), min_size=1, max_size=6)


def normalized(text: str) -> str:
    """The same with strings; characters that normalise to several letters are left as they are."""
    kept = []
    for character in text:
        letter = "".join(filter(str.isalnum, unicodedata.normalize("NFKC", character).lower()))
        kept.append(letter if len(letter) <= 1 else character)
    return "".join(kept)


def read(texts: list[str], gap: int = 4) -> list[str]:
    found = normalize_texts(texts, gap)
    return [
        "".join(map(chr, found.codes[start : start + length]))
        for start, length in zip(found.starts, found.lengths, strict=True)
    ]


def test_letters_and_digits_are_left_without_width_and_case() -> None:
    assert read(TEXTS) == ["ab好", "第1课ab好", "", "", "𠀀𠀁e1", "好" * 7]


def test_signs_of_several_letters_and_lone_surrogates() -> None:
    assert read(["㍿½㈱", "a\ud800b", "a\0b"]) == ["㍿½株", "ab", "ab"]


def test_every_character_is_normalised_as_strings_are() -> None:
    wanted = [normalized(chr(code)) for code in range(1, 0x20000) if not 0xD800 <= code < 0xE000]
    raw = np.array([code for code in range(1, 0x20000) if not 0xD800 <= code < 0xE000], np.uint32)
    assert ["" if code == 0 else chr(code) for code in normalize(raw)] == wanted


@given(lines)
def test_ngrams_have_equal_hashes_when_their_characters_are_equal(texts: list[str]) -> None:
    found = normalize_texts(texts, gap=2)
    hashes, counts = found.ngrams(3)
    seen: dict[str, int] = {}
    for start, count, text in zip(found.starts, counts, map(normalized, texts), strict=True):
        ngrams = [text[i : i + 3] for i in range(len(text) - 2)] or [text] * bool(text)
        assert len(ngrams) == count
        for ngram, value in zip(ngrams, hashes[start : start + count].tolist(), strict=True):
            assert seen.setdefault(ngram, value) == value
    assert len(set(seen.values())) == len(seen)
    owners = found.owners(counts)
    assert [int((owners == text).sum()) for text in range(len(texts))] == counts.tolist()
    assert len(owners) == len(found.codes) == len(hashes)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 13, 20])
def test_ngrams_of_any_size(length: int) -> None:
    text = "我们在春天的时候去了长江那里看风景然后我们在春天的时候去了长江那里看风景"
    found = normalize_texts([text, text[1:]], gap=length - 1)
    hashes, counts = found.ngrams(length)
    one, other = (hashes[start : start + count] for start, count in zip(found.starts, counts, strict=True))
    assert (one[1:] == other).all()
    assert len(set(one.tolist())) == len({text[i : i + length] for i in range(len(text) - length + 1)})


@given(lines)
def test_lines_are_those_of_the_texts(texts: list[str]) -> None:
    found = normalize_texts(texts, gap=3)
    cut = found.lines()
    wanted = [(row, number, line) for row, text in enumerate(texts) for number, line in enumerate(text.split("\n"))]
    raw = ["".join(map(chr, found.raw[a:b])) for a, b in zip(cut.raw_starts, cut.raw_ends, strict=True)]
    assert list(zip(cut.texts.tolist(), cut.ordinals.tolist(), raw, strict=True)) == wanted
    kept = ["".join(map(chr, found.codes[a:b])) for a, b in zip(cut.starts, cut.ends, strict=True)]
    assert kept == [normalized(line) for _, _, line in wanted]


@given(lines)
def test_spans_have_equal_hashes_when_their_characters_are_equal(texts: list[str]) -> None:
    found = normalize_texts(texts)
    cut = found.lines()
    hashes = span_hashes(found.codes, cut.starts, cut.ends).tolist()
    seen: dict[str, int] = {}
    for value, line in zip(hashes, (normalized(line) for text in texts for line in text.split("\n")), strict=True):
        assert seen.setdefault(line, value) == value
    assert len(set(seen.values())) == len(seen)


def test_code_points_of_no_text_at_all() -> None:
    raw, starts, lengths = join_texts([], 4)
    assert (len(raw), len(starts), len(lengths)) == (0, 0, 0)
    assert read([]) == []
    assert len(normalize_texts([], 1).lines().texts) == 0
