"""Words: jieba's, placed by characters; and the masking units that they make of pieces."""

import logging
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import jieba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.pieces import PieceEncoder
from pipeline.vocab import SPECIALS, Vocab
from pipeline.words import LONGEST_UNIT, Segmenter, unit_starts
from tests import demo_text

SEGMENTER = Segmenter()


def words(text: str) -> list[str]:
    starts = np.flatnonzero(SEGMENTER.word_starts(text)).tolist()
    return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def test_words_are_placed_where_they_stand() -> None:
    assert words("北京大学的iPhones很好") == ["北京大学", "的", "iPhones", "很", "好"]


@pytest.fixture(scope="module")
def plain_jieba(tmp_path_factory: pytest.TempPathFactory) -> jieba.Tokenizer:
    jieba.setLogLevel(logging.WARNING)
    tokenizer = jieba.Tokenizer()
    tokenizer.tmp_dir = str(tmp_path_factory.mktemp("jieba"))
    return tokenizer


def test_words_are_those_of_jieba_with_its_hidden_markov_model(plain_jieba: jieba.Tokenizer) -> None:
    for text in (*demo_text.articles(60), *demo_text.reviews(200)):
        assert words(text) == list(plain_jieba.cut(text, HMM=True))
    assert "杭研" in words("他来到了网易杭研大厦")  # not in the dictionary


def test_an_empty_text_has_no_words() -> None:
    assert len(SEGMENTER.word_starts("")) == 0


ODD = st.sampled_from("他来到网易杭研大厦 \r\n\t\u3000a1.%+#&_-，。\u200b\ud83d") | st.characters()


@settings(max_examples=200, deadline=None)
@given(text=st.text(ODD, min_size=1, max_size=60))
def test_words_are_those_of_jieba_whatever_the_text(plain_jieba: jieba.Tokenizer, text: str) -> None:
    assert words(text) == list(plain_jieba.cut(text))


def _words_elsewhere(text: str) -> list[bool]:
    starts: list[bool] = SEGMENTER.word_starts(text).tolist()
    return starts


def test_forked_and_spawned_workers_cut_alike() -> None:
    text = "他来到了网易杭研大厦"
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.apply(_words_elsewhere, (text,)) == _words_elsewhere(text)


def test_segmenting_writes_no_file_and_says_nothing(tmp_path: Path) -> None:
    program = "from pipeline.words import Segmenter; Segmenter().word_starts('你好')"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert result.stdout + result.stderr == ""
    assert list(tmp_path.iterdir()) == []


def units(text: str, vocab: Vocab, policy: str = "word") -> list[str]:
    encoded = PieceEncoder(vocab, True).encode(text)
    starts = unit_starts(encoded.offsets[:, 0], SEGMENTER.word_starts(text), policy)  # type: ignore[arg-type]
    pieces = [vocab.pieces[number] for number in encoded.ids]
    firsts = np.flatnonzero(starts).tolist()
    return [" ".join(pieces[start:end]) for start, end in zip(firsts, [*firsts[1:], len(pieces)], strict=True)]


VOCAB = Vocab((*SPECIALS, *"北京大学的很好c+", "iphone", "##s", "##p", "##h", "##o"))


def test_pieces_of_a_word_are_a_unit() -> None:
    assert units("北京大学的iPhones很好", VOCAB) == ["北 京 大 学", "的", "iphone ##s", "很", "好"]


def test_single_pieces_are_units_where_asked_for() -> None:
    assert units("北京的iPhones", VOCAB, "piece") == ["北", "京", "的", "iphone", "##s"]


def test_unknown_and_removed_characters_do_not_shift_the_words_after_them() -> None:
    assert units("龘北京\u200b的\u0301 北京", VOCAB) == ["[UNK]", "北 京", "的", "北 京"]


def test_a_piece_over_several_words_is_one_unit() -> None:
    piece_starts = np.array([0, 4, 6])
    word_starts = np.array([True, False, True, False, True, False, False])
    assert unit_starts(piece_starts, word_starts).tolist() == [True, True, False]


def test_a_word_that_begins_inside_a_piece_makes_the_next_piece_a_unit() -> None:
    assert unit_starts(np.array([0, 3]), np.array([True, True, False, False])).tolist() == [True, True]


def test_pieces_of_one_character_are_one_unit() -> None:
    assert unit_starts(np.array([0, 1, 1, 1, 2]), np.array([True, True, True])).tolist() == [True, True, False, False, True]


@pytest.mark.parametrize("length", [LONGEST_UNIT, LONGEST_UNIT + 1, 3 * LONGEST_UNIT + 5])
def test_long_serial_numbers_are_parted(length: int) -> None:
    word_starts = np.zeros(2 + length, np.bool_)
    word_starts[[0, 2]] = True
    firsts = np.flatnonzero(unit_starts(np.arange(2 + length), word_starts)).tolist()
    assert firsts == [0, *range(2, 2 + length, LONGEST_UNIT)]
