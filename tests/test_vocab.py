"""Vocabularies: files are read unchanged, bad ones refused, and built ones leave no Latin or full-width word unknown."""

import hashlib
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import CorpusError
from pipeline.tokenization.vocab import (
    SPECIALS,
    Vocab,
    assemble,
    build,
    normalised_counts,
    punctuation_map,
)
from pipeline.tokenization.wordpiece import WordPieceEncoder
from tests.characters import count

GOOGLE = Path(__file__).parents[2] / "shared/data/vocab/vocab.txt"
GOOGLE_SHA256 = "45bbac6b341c319adc98a532532882e91a9cefc0329aa57bac9ae761c27b291c"


def file(*tokens: str) -> bytes:
    return "\n".join([*SPECIALS, *tokens]).encode() + b"\n"


@pytest.mark.skipif(not GOOGLE.exists(), reason="Google's Chinese vocab.txt is not here")
def test_the_released_vocabulary_keeps_its_ids() -> None:
    vocab = Vocab.from_bytes(GOOGLE.read_bytes(), "vocab.txt")
    assert len(vocab) == 21_128
    assert vocab.tokens[343] == "\u2028"
    assert vocab.tokens[13_502] == "##\u2028"
    assert (vocab.pad_id, vocab.unk_id, vocab.cls_id, vocab.sep_id, vocab.mask_id) == (0, 100, 101, 102, 103)
    assert vocab.sha256 == GOOGLE_SHA256
    assert vocab.to_bytes() == GOOGLE.read_bytes()


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_separators_of_other_kinds_are_tokens_not_line_ends(line_end: bytes) -> None:
    vocab = Vocab.from_bytes(file("\u2028", "\x85", "中").replace(b"\n", line_end), "vocab.txt")
    assert vocab.tokens[5:] == ("\u2028", "\x85", "中")


@pytest.mark.parametrize(
    "data",
    [file("中", "国"), file("中", "国")[:-1], file("中", "国").replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + file("中", "国")],
)
def test_line_ends_of_any_system_give_the_same_vocabulary(data: bytes) -> None:
    vocab = Vocab.from_bytes(data, "vocab.txt")
    assert vocab.tokens == (*SPECIALS, "中", "国")
    assert vocab.sha256 == hashlib.sha256(file("中", "国")).hexdigest()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("中国\n中文\n".encode("gbk"), "line 1 is not UTF-8"),
        (file("中") + "国".encode("gbk"), "line 7 is not UTF-8"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (file("中", "", "国"), "line 7 is blank"),
        (file("中", "国", "中"), "'中' is on lines 6 and 8"),
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n", r"lacks \[MASK\]"),
        (b'{"model_type": "bert"}', r"lacks \[PAD\] \[UNK\] \[CLS\] \[SEP\] \[MASK\]"),
    ],
)
def test_a_file_that_could_not_serve_is_refused_with_the_place(data: bytes, message: str) -> None:
    with pytest.raises(CorpusError, match=f"vocab.txt.*{message}"):
        Vocab.from_bytes(data, "vocab.txt")


def test_a_built_vocabulary_has_specials_ascii_characters_words_in_this_order() -> None:
    characters, words = count("中中中文文国 BERT bert Bert GPU gpu ab")
    vocab = build(characters, words, size=1_000, min_count=2)
    assert vocab.tokens[:5] == SPECIALS
    ascii_tokens = vocab.tokens[5:-4]
    assert {"a", "##a", "9", "##9", "!", "~"} <= set(ascii_tokens)
    assert not {"A", "##A", "##!"} & set(ascii_tokens)
    assert vocab.tokens[-4:] == ("中", "文", "bert", "gpu")


def test_capitals_are_kept_where_asked_for() -> None:
    vocab = build(*count("BERT BERT"), size=1_000, min_count=2, do_lower_case=False)
    assert {"B", "##B", "BERT"} <= set(vocab.tokens)


def test_the_order_of_counting_does_not_matter() -> None:
    characters, words = count("的一是不了人我在有他这为之大来以个中上们 ab cd ef gh " * 2)
    other_characters, other_words = (
        dict(random.Random(3).sample(list(counts.items()), len(counts))) for counts in (characters, words)
    )
    assert build(other_characters, other_words, 200, 1) == build(characters, words, 200, 1)


def test_counts_of_parts_may_be_added_up_after_normalisation() -> None:
    """A word is frequent although each of its forms is rare in each part."""
    texts = ["Cafés 한글 CPU", "cafés CAFÉS 한 gpu", "ｃａｆｅ 글 Gpu"]
    parts = [normalised_counts(*count(text), True) for text in texts]
    characters, words = (sum(some, Counter[str]()) for some in zip(*parts, strict=True))
    rare = {word for word, number in words.items() if number < 2}
    whole = build(*count("\n".join(texts)), size=1_000, min_count=2)
    assert assemble(characters, {word: words[word] for word in words.keys() - rare}, 1_000, 2, True) == whole
    assert rare == {"cpu", "ｃａｆｅ"} and {"cafes", "gpu"} <= set(whole.tokens)


def test_size_is_a_limit_and_frequent_characters_come_first() -> None:
    characters = {chr(0x4E00 + rank): 1_000 - rank for rank in range(500)}
    vocab = build(characters, {}, size=300, min_count=1)
    assert len(vocab) == 300
    assert vocab.tokens[-1] == chr(0x4E00 + len([token for token in vocab.tokens if token >= "\u4e00"]) - 1)


def test_a_size_without_room_for_text_is_refused() -> None:
    with pytest.raises(CorpusError, match="of 50 tokens is too small"):
        build({}, {}, size=50, min_count=1)


WORDS = st.text(st.sampled_from("abzAZéÜ09０９ａＺかなカ한글Жя℃№①→"), min_size=1, max_size=12)


@settings(deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=8), st.booleans())
def test_no_word_of_the_counted_text_is_unknown(words: list[str], do_lower_case: bool) -> None:
    text = " ".join(words)
    vocab = build(*count(text), size=2_000, min_count=1, do_lower_case=do_lower_case)
    assert WordPieceEncoder(vocab, do_lower_case).encode(text).unknown == 0


def test_importing_the_vocabulary_and_masks_loads_no_tokenizer_and_no_jieba() -> None:
    modules = "sys, pipeline.tokenization.vocab, pipeline.examples.masking"
    program = f"import {modules}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tokenizers", "jieba", "torch", "pyarrow", "apache_beam"} & set(loaded)


@pytest.mark.skipif(not GOOGLE.exists(), reason="Google's Chinese vocab.txt is not here")
def test_punctuation_that_the_released_vocabulary_lacks_becomes_what_it_has() -> None:
    mapped = punctuation_map(Vocab.from_bytes(GOOGLE.read_bytes(), "vocab.txt"))
    assert {mark: mapped[mark] for mark in "“”‘’—–…`"} == dict(zip("“”‘’—–…`", "\"\"''--.'", strict=True))
    assert not set("，。、；：？！（）《》「」『』【】·～％") & set(mapped)


def test_the_best_substitute_that_is_there_is_taken() -> None:
    assert punctuation_map(Vocab((*SPECIALS, "「", "」", "。"))) == {
        **dict.fromkeys("“„‟﹁", "「"),
        **dict.fromkeys("”﹂", "」"),
        **dict.fromkeys("…‥", "。"),
    }
    assert punctuation_map(Vocab((*SPECIALS, "中"))) == {}


def test_a_vocabulary_built_of_a_text_maps_none_of_its_punctuation() -> None:
    text = "“你好”——他说……‘好’" * 2
    assert not set(text) & set(punctuation_map(build(*count(text), size=1_000, min_count=1)))
