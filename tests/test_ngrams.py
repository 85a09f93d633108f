"""Letters: folding by a table, hashes of runs and of stretches, lines; compared with the same on plain strings."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dedup.ngrams import (
    code_points,
    fold,
    letters,
    segments,
)

TEXTS = ["“ＡＢ”，好！", "第１课。\n\nab 好", "", "，。", "𠀀𠀁e\u0301 𝟙😀", "好" * 7]
lines = st.lists(st.text(alphabet="甲乙丙ＡaB1 。\n𠀀", max_size=30), min_size=1, max_size=6)


def folded(text: str) -> str:
    """The same, by Python's strings; characters that fold to several stay as they are."""
    kept = []
    for character in text:
        letter = "".join(filter(str.isalnum, unicodedata.normalize("NFKC", character).lower()))
        kept.append(letter if len(letter) <= 1 else character)
    return "".join(kept)


def read(texts: list[str], gap: int = 4) -> list[str]:
    found = letters(texts, gap)
    return [
        "".join(map(chr, found.codes[start : start + length]))
        for start, length in zip(found.starts, found.lengths, strict=True)
    ]


def test_letters_and_digits_are_left_without_width_and_case() -> None:
    assert read(TEXTS) == ["ab好", "第1课ab好", "", "", "𠀀𠀁e1", "好" * 7]


def test_signs_of_several_letters_and_lone_surrogates() -> None:
    assert read(["㍿½㈱", "a\ud800b", "a\0b"]) == ["㍿½株", "ab", "ab"]


def test_every_character_folds_as_strings_do() -> None:
    wanted = [folded(chr(code)) for code in range(1, 0x20000) if not 0xD800 <= code < 0xE000]
    raw = np.array([code for code in range(1, 0x20000) if not 0xD800 <= code < 0xE000], np.uint32)
    assert ["" if code == 0 else chr(code) for code in fold(raw)] == wanted


@given(lines)
def test_runs_have_equal_hashes_when_their_letters_are_equal(texts: list[str]) -> None:
    found = letters(texts, gap=2)
    hashes, counts = found.windows(3)
    seen: dict[str, int] = {}
    for start, count, text in zip(found.starts, counts, map(folded, texts), strict=True):
        runs = [text[i : i + 3] for i in range(len(text) - 2)] or [text] * bool(text)
        assert len(runs) == count
        for run, value in zip(runs, hashes[start : start + count].tolist(), strict=True):
            assert seen.setdefault(run, value) == value
    assert len(set(seen.values())) == len(seen)
    owners = found.owners(counts)
    assert [int((owners == text).sum()) for text in range(len(texts))] == counts.tolist()
    assert len(owners) == len(found.codes) == len(hashes)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 13, 20])
def test_runs_of_any_length(length: int) -> None:
    text = "我们在春天的时候去了长江那里看风景然后我们在春天的时候去了长江那里看风景"
    found = letters([text, text[1:]], gap=length - 1)
    hashes, counts = found.windows(length)
    one, other = (hashes[start : start + count] for start, count in zip(found.starts, counts, strict=True))
    assert (one[1:] == other).all()
    assert len(set(one.tolist())) == len({text[i : i + length] for i in range(len(text) - length + 1)})


@given(lines)
def test_lines_are_those_of_the_texts(texts: list[str]) -> None:
    found = letters(texts, gap=3)
    cut = found.lines()
    wanted = [(row, number, line) for row, text in enumerate(texts) for number, line in enumerate(text.split("\n"))]
    raw = ["".join(map(chr, found.raw[a:b])) for a, b in zip(cut.raw_starts, cut.raw_ends, strict=True)]
    assert list(zip(cut.rows.tolist(), cut.ordinals.tolist(), raw, strict=True)) == wanted
    kept = ["".join(map(chr, found.codes[a:b])) for a, b in zip(cut.starts, cut.ends, strict=True)]
    assert kept == [folded(line) for _, _, line in wanted]


@given(lines)
def test_stretches_have_equal_hashes_when_their_letters_are_equal(texts: list[str]) -> None:
    found = letters(texts)
    cut = found.lines()
    hashes = segments(found.codes, cut.starts, cut.ends).tolist()
    seen: dict[str, int] = {}
    for value, line in zip(hashes, (folded(line) for text in texts for line in text.split("\n")), strict=True):
        assert seen.setdefault(line, value) == value
    assert len(set(seen.values())) == len(seen)


def test_code_points_of_no_text_at_all() -> None:
    raw, starts, lengths = code_points([], 4)
    assert (len(raw), len(starts), len(lengths)) == (0, 0, 0)
    assert read([]) == []
    assert len(letters([], 1).lines().rows) == 0
