"""WordPiece: the tokens of BERT's tokenizer, with their positions in the original text."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.tokenization.vocab import SPECIALS, Vocab
from pipeline.tokenization.wordpiece import EncodedText, WordPieceEncoder, build_tokenizer
from tests import demo_text

VOCAB = Vocab((*SPECIALS, *"北京cafe好[]mask,.!，。１２", *(f"##{c}" for c in "cafeskm１２"), "cafe", "ma", "\u2028"))
ENCODER = WordPieceEncoder(VOCAB, do_lower_case=True)


def tokens(encoded: EncodedText, vocab: Vocab = VOCAB) -> list[str]:
    return [vocab.tokens[number] for number in encoded.ids]


def places(text: str, encoded: EncodedText) -> list[str]:
    return [text[start:end] for start, end in encoded.offsets]


def test_tokens_and_their_places_in_the_text_as_given() -> None:
    text = "北京 CAFÉs，好"
    encoded = ENCODER.encode(text)
    assert tokens(encoded) == ["北", "京", "cafe", "##s", "，", "好"]
    assert places(text, encoded) == ["北", "京", "CAFÉ", "s", "，", "好"]
    assert encoded.ids.dtype == np.uint16


@pytest.mark.parametrize("accent", ["e\u0301", "\u0301e\u0301\u0301"])
def test_places_hold_where_accents_are_characters_of_their_own(accent: str) -> None:
    text = f"好caf{accent}s好"
    encoded = ENCODER.encode(text)
    assert tokens(encoded) == ["好", "cafe", "##s", "好"]
    assert places(text, encoded)[2:] == ["s", "好"]
    assert encoded.offsets[-1].tolist() == [len(text) - 1, len(text)]


def test_special_tokens_in_a_text_are_text() -> None:
    encoded = ENCODER.encode("好[MASK][SEP][PAD]")
    assert not {VOCAB.mask_id, VOCAB.sep_id, VOCAB.pad_id} & set(encoded.ids.tolist())
    assert tokens(encoded)[:2] == ["好", "["]


def test_what_normalisation_removes_has_no_token() -> None:
    encoded = ENCODER.encode("北\u200b\ufeff京\x00\ufffd\u0301 \u3000\n")
    assert tokens(encoded) == ["北", "京"]
    assert encoded.offsets.tolist() == [[0, 1], [3, 4]]


def test_half_a_character_from_broken_json_is_removed() -> None:
    encoded = ENCODER.encode("北\ud83d京")
    assert tokens(encoded) == ["北", "京"]
    assert encoded.offsets.tolist() == [[0, 1], [2, 3]]


def test_unknown_tokens_are_counted() -> None:
    encoded = ENCODER.encode("北龘京 zzz，" + "c" * 101)
    assert tokens(encoded) == ["北", "[UNK]", "京", "[UNK]", "，", "[UNK]"]
    assert encoded.unknown == 3


def test_an_empty_text_has_no_tokens() -> None:
    (encoded,) = ENCODER.encode_batch([""])
    assert len(encoded.ids) == 0
    assert encoded.offsets.shape == (0, 2)


# Where the table and the tokenizer could part: marks, controls, compatibility ideographs, Hangul, kana, signs, private use.
ODD = st.characters(codec="utf-8") | st.sampled_from(
    "北京好。，！“”…—·中文 \n\t\u3000\x85\u2028\u200b\u0301\ufa0e\uf900한か℃→1aÉİßΣςﬁ１Ａ[]#\ue000"
)


@settings(max_examples=400, deadline=None)
@given(st.text(ODD, max_size=40), st.booleans())
def test_the_table_gives_what_the_tokenizer_gives(text: str, do_lower_case: bool) -> None:
    encoder = TABLES[do_lower_case]
    expected = TOKENIZERS[do_lower_case].encode(text, add_special_tokens=False)
    encoded = encoder.encode(text)
    assert encoded.ids.tolist() == expected.ids
    assert encoded.offsets.tolist() == [list(place) for place in expected.offsets]


TABLES = {lower: WordPieceEncoder(VOCAB, lower) for lower in (False, True)}
TOKENIZERS = {lower: build_tokenizer(VOCAB, lower) for lower in (False, True)}


def test_tokens_of_one_character_stay_in_order_in_a_long_text() -> None:
    vocab = Vocab((*SPECIALS, "北", *"\u1100\u1161\u11a8", "##\u1161", "##\u11a8"))
    encoded = WordPieceEncoder(vocab, True).encode("각北" * 100)  # BERT takes a Hangul syllable apart
    assert tokens(encoded, vocab) == ["\u1100", "##\u1161", "##\u11a8", "北"] * 100


ASCII = Vocab((*SPECIALS, *"中a1\"'-.,;:?![](){}<>%", "##a", "##1", "cafe", "##cafe"))
MAPPING = WordPieceEncoder(ASCII, True, map_punctuation=True)
MARKS = "“”‘’—–―…‥`「」『』《》〈〉【】（），。、；：？！·•・－％"


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from(MARKS + "中a1 ") | ODD, max_size=40))
def test_mapped_punctuation_stands_where_it_stood(text: str) -> None:
    expected = build_tokenizer(ASCII, True, map_punctuation=True).encode(text, add_special_tokens=False)
    encoded = MAPPING.encode(text)
    assert encoded.ids.tolist() == expected.ids
    assert encoded.offsets.tolist() == [list(place) for place in expected.offsets]
    assert encoded.offsets.tolist() == WordPieceEncoder(ASCII, True).encode(text).offsets.tolist()
    if not set(text) - set(MARKS + "中a1 "):
        assert encoded.unknown == 0


def test_punctuation_is_mapped_where_the_vocabulary_lacks_it_and_where_asked_for() -> None:
    assert tokens(MAPPING.encode("“中”——a…"), ASCII) == ['"', "中", '"', "-", "-", "a", "."]
    assert WordPieceEncoder(ASCII, True).encode("“中”").unknown == 2
    both = Vocab((*ASCII.tokens, "“"))
    assert tokens(WordPieceEncoder(both, True, map_punctuation=True).encode("“中”"), both) == ["“", "中", '"']


def test_no_token_goes_on_over_a_break() -> None:
    text = "cafecafe cafe"
    assert tokens(MAPPING.encode(text), ASCII) == ["cafe", "##cafe", "cafe"]
    encoded = MAPPING.encode(text, np.array([4, 8, 13]))
    assert tokens(encoded, ASCII) == ["cafe"] * 3
    assert places(text, encoded) == ["cafe"] * 3


def test_a_batch_has_the_tokens_that_each_text_has_alone() -> None:
    texts = ["北京cafe", "", "\n", "cafe\ud83d好", "好\r\n北", *demo_text.reviews(50)]
    for text, encoded in zip(texts, ENCODER.encode_batch(texts), strict=True):
        alone = ENCODER.encode(text)
        assert encoded.ids.tolist() == alone.ids.tolist()
        assert encoded.offsets.tolist() == alone.offsets.tolist()
        assert encoded.unknown == alone.unknown


def test_runs_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.tokenization.wordpiece._CACHED_RUNS", 3)
    encoder = WordPieceEncoder(VOCAB, True)
    for text in ("cafe 1 2 ma", "mask 1 cafe", "s", "cafe 1 2 ma"):
        assert encoder.encode(text).ids.tolist() == ENCODER.encode(text).ids.tolist()
        assert len(encoder._runs._numbers) <= 3 + len(text.split())


def test_the_table_gives_what_the_tokenizer_gives_on_real_text() -> None:
    vocab = demo_text.vocabulary()
    texts = [*demo_text.articles(60), *demo_text.reviews(200)]
    expected = build_tokenizer(vocab, True).encode_batch(texts, add_special_tokens=False)
    for text, encoded, wanted in zip(texts, WordPieceEncoder(vocab, True).encode_batch(texts), expected, strict=True):
        assert encoded.ids.tolist() == wanted.ids, text[:50]
        assert encoded.offsets.tolist() == [list(place) for place in wanted.offsets], text[:50]


def test_an_encoder_travels_to_other_processes() -> None:
    text = "北京 cafés 好"
    travelled = pickle.loads(pickle.dumps(ENCODER))
    assert travelled.encode(text).ids.tolist() == ENCODER.encode(text).ids.tolist()
    assert pickle.loads(pickle.dumps(MAPPING)).map_punctuation
    assert len(pickle.dumps(ENCODER)) < 10_000  # without its table of 1.1 million code points


def test_large_vocabularies_have_wide_ids() -> None:
    vocab = Vocab((*SPECIALS, *map(str, range(65_536)), "好"))
    encoded = WordPieceEncoder(vocab, True).encode("好")
    assert encoded.ids.dtype == np.uint32
    assert encoded.ids.tolist() == [len(vocab) - 1]


def test_the_tokenizer_of_an_export_adds_and_knows_the_special_tokens() -> None:
    tokenizer = build_tokenizer(VOCAB, do_lower_case=True, special_tokens=True)
    encoding = tokenizer.encode("北[MASK]", "好")
    assert encoding.tokens == ["[CLS]", "北", "[MASK]", "[SEP]", "好", "[SEP]"]
    assert encoding.type_ids == [0, 0, 0, 0, 1, 1]
