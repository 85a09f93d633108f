"""Texts to tokens: documents are independent, units are words or phrases and never span the end of a sentence."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import CorpusConfig, MaskingConfig, MaskingPolicy, VocabularyConfig, WordsConfig
from pipeline.tokenization.encoder import EncodedTexts, TextEncoder, text_settings
from pipeline.tokenization.sentences import LIMIT
from pipeline.tokenization.vocab import SPECIALS, Vocab
from pipeline.tokenization.wordpiece import WordPieceEncoder
from pipeline.tokenization.words import Segmenter, unit_starts
from tests import demo_text
from tests.parts import split_sentences

VOCAB = Vocab((*SPECIALS, *'他出生在北京。她笑好！大学"', "cafe", "##s", "a", "##a"))


def config(policy: MaskingPolicy = "word", phrases: str = "", words: WordsConfig | None = None) -> CorpusConfig:
    return CorpusConfig(
        sources=(),
        sequence_lengths=(128,),
        masking=MaskingConfig(policy=policy, phrases=phrases),
        words=words or WordsConfig(),
        vocabulary=VocabularyConfig(),
    )


def units(encoded: EncodedTexts, vocab: Vocab = VOCAB) -> list[str]:
    """Tokens, joined within a unit."""
    firsts = np.flatnonzero(encoded.unit_starts).tolist()
    tokens = [vocab.tokens[number] for number in encoded.ids]
    return ["".join(tokens[a:b]) for a, b in zip(firsts, [*firsts[1:], len(tokens)], strict=True)]


def test_documents_become_flat_columns() -> None:
    encoded = TextEncoder(VOCAB, config()).encode(["他出生在北京。她笑。", "", "“好！”Cafes龘"])
    assert units(encoded) == ["他", "出生", "在", "北京", "。", "她", "笑", "。", '"', "好", "！", '"', "cafe##s", "[UNK]"]
    assert encoded.sentence_ends.tolist() == [7, 10, 14, 17]
    assert encoded.document_starts.tolist() == [0, 10, 10, 17]
    assert encoded.unknown == {"龘": 1}
    assert encoded.ids.dtype == np.uint16


def test_no_documents_are_no_tokens() -> None:
    for texts in ([], [""], ["\n \u200b", ""]):
        encoded = TextEncoder(VOCAB, config()).encode(texts)
        assert encoded.document_starts.tolist() == [0] * (len(texts) + 1)
        assert len(encoded.ids) == len(encoded.unit_starts) == len(encoded.sentence_ends) == 0


TEXT = st.text(
    st.sampled_from('他出生在北京cafeCs1。！？.!…”" \n\r\t\x0b\x1c\u2028\u200b\ud83d⋯-') | st.characters(), max_size=60
)


@settings(deadline=None)
@given(st.lists(TEXT, max_size=4))
def test_documents_together_are_as_each_alone(texts: list[str]) -> None:
    encoder = TextEncoder(VOCAB, config())
    together = encoder.encode(texts)
    assert (np.diff(together.sentence_ends, prepend=0) > 0).all()
    assert together.sentence_ends[-1:].tolist() == [len(together.ids)] * (len(together.ids) > 0)
    starts = np.append(0, together.sentence_ends)[:-1]
    assert together.unit_starts[starts].all()
    assert set(together.document_starts.tolist()) <= {0, *together.sentence_ends.tolist()}
    for number, text in enumerate(texts):
        start, end = together.document_starts[number : number + 2].tolist()
        alone = encoder.encode([text])
        assert alone.ids.tolist() == together.ids[start:end].tolist()
        assert alone.unit_starts.tolist() == together.unit_starts[start:end].tolist()
        ends = together.sentence_ends
        assert alone.sentence_ends.tolist() == (ends[(ends > start) & (ends <= end)] - start).tolist()


def test_real_documents_are_as_sentence_by_sentence() -> None:
    texts = [*demo_text.articles(40), *demo_text.reviews(200)]
    vocab, segmenter = demo_text.vocabulary(), Segmenter()
    encoded = TextEncoder(vocab, config()).encode(texts)
    encoder = WordPieceEncoder(vocab, True, True)
    ids: list[int] = []
    starts: list[bool] = []
    ends: list[int] = []
    for text in texts:
        for sentence in split_sentences(text):
            one = encoder.encode(sentence)
            ids += one.ids.tolist()
            starts += unit_starts(one.offsets[:, 0], segmenter.word_starts(sentence)).tolist()
            ends += [len(ids)] if len(one.ids) else []
    assert encoded.ids.tolist() == ids
    assert encoded.unit_starts.tolist() == starts
    assert encoded.sentence_ends.tolist() == ends


def test_a_word_longer_than_a_sentence_may_be_is_cut_with_it() -> None:
    encoded = TextEncoder(VOCAB, config()).encode(["a" * (LIMIT + 10) + "好"])
    assert encoded.sentence_ends.tolist() == [1, 12]  # [UNK], as words above 100 characters are; then a ##a ... 好
    assert encoded.unknown == {"a" * LIMIT: 1}
    assert encoded.unit_starts[1]


def test_units_are_what_the_policy_says(tmp_path: Path) -> None:
    (tmp_path / "phrases.txt").write_text("在北京\n", "utf-8")
    texts = ["他出生在北京。"]
    assert units(TextEncoder(VOCAB, config("token")).encode(texts)) == [*"他出生在北京。"]
    assert units(TextEncoder(VOCAB, config("span")).encode(texts)) == ["他", "出生", "在", "北京", "。"]
    assert units(TextEncoder(VOCAB, config("entity", str(tmp_path / "phrases.txt"))).encode(texts)) == [
        "他",
        "出生",
        "在北京",
        "。",
    ]


def test_a_sentence_begins_a_unit_whatever_a_segmenter_says() -> None:
    given_words = TextEncoder(VOCAB, config(words=WordsConfig(segmenter="given")))
    assert units(given_words.encode(["北京 大学。她 笑好"])) == ["北京", "大学。", "她", "笑好"]


def test_settings_change_with_what_decides_tokens(tmp_path: Path) -> None:
    phrases = tmp_path / "phrases.txt"
    phrases.write_text("北京\n", "utf-8")
    word, span = text_settings(config()), text_settings(config("span"))
    assert word == span
    entity = text_settings(config("entity", str(phrases)))
    phrases.write_text("北京\n上海\n", "utf-8")
    assert entity != text_settings(config("entity", str(phrases)))
    others = [text_settings(config(words=WordsConfig(segmenter="given"))), text_settings(config("token")), entity]
    assert all(other != word for other in others)
    assert text_settings(config())["map_punctuation"] is True


@pytest.mark.parametrize("line_break", ["\v", "\f", "\x1c", "\x85", "\u2028"])
def test_words_end_at_line_breaks_of_every_kind(line_break: str) -> None:
    encoded = TextEncoder(VOCAB, config()).encode([f"cafe{line_break}cafe"])
    assert units(encoded) == ["cafe", "cafe"]
    assert encoded.sentence_ends.tolist() == [1, 2]
