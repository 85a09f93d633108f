"""The vocabulary: the tokens and their ids.

    vocab.txt, one token a line     [PAD]  [UNK]  [CLS]  [SEP]  [MASK]  ...  北    京    ...  ##s   ...
    id = number of the line, from 0   0      1      2      3      4           812   395        97

A token is a Chinese character, a Latin or digit word, or the end of one (`##s`). The file format is that of Google's BERT (the
released NEZHA models use Google's Chinese vocab.txt of 21,128 tokens); `build` makes a vocabulary from counts over a corpus.
Imports only the standard library, because the trainer needs it where little else is installed.
"""

import hashlib
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from pipeline.errors import CorpusError

PAD, UNK, CLS, SEP, MASK = SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

# Google's BERT puts spaces around exactly these (tokenization.py, _is_chinese_char), so each is a token of its own.
# Kana and Hangul are not included: they form words, as Latin letters do.
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
_SUBSTITUTES = (
    ("“„‟", '"「'),
    ("”", '"」'),
    ("‘‛`", "'『"),
    ("’", "'』"),
    ("—–―‒‐‑⸺", "-－"),  # the Chinese dash —— is two
    ("…‥", ".。"),  # the Chinese ellipsis …… is two
    ("「﹁", '「“"'),
    ("」﹂", '」”"'),
    ("『﹃", "『‘'"),
    ("』﹄", "』’'"),
    ("《〈", "《〈<"),
    ("》〉", "》〉>"),
    ("【〔［", "[［(（"),
    ("】〕］", "]］)）"),
    ("·・•", "·・•."),
    ("，、‚", ",，"),
    *(tuple(pair) for pair in ("。.", "；;", "：:", "？?", "！!", "（(", "）)", "｛{", "｝}", "％%", '＂"', "＇'", "－-")),
)
"""Punctuation marks and their substitutes, best first. A mark is a single token and so is its substitute, so the boundaries of
tokens do not change."""
_LATIN_WORD = re.compile("[0-9A-Za-z\u00c0-\u024f０-９Ａ-Ｚａ-ｚ]+")


@dataclass(frozen=True)
class Vocab:
    """Tokens in the order of their ids. Raises CorpusError for an unusable vocabulary: see `from_bytes`."""

    tokens: tuple[str, ...]

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> "Vocab":
        """Parse a vocab.txt, called `name` in error messages.

        Lines end at line feeds only: token 343 of Google's Chinese vocabulary is U+2028, which str.splitlines() would take for
        the end of a line and str.strip() would remove.

        Raises: CorpusError for a file that is not UTF-8, is empty, has blank or repeated lines, or lacks one of [PAD] [UNK]
            [CLS] [SEP] [MASK].
        """
        try:
            text = data.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise CorpusError(f"{name}: line {line} is not UTF-8; save the vocabulary as UTF-8, one token per line") from error
        tokens = tuple(text.removesuffix("\n").split("\n"))
        _check(tokens, name)
        return cls(tokens)

    def to_bytes(self) -> bytes:
        """Return the vocab.txt: UTF-8, with a line feed after every token."""
        return ("\n".join(self.tokens) + "\n").encode()

    @cached_property
    def sha256(self) -> str:
        """Digest of `to_bytes()`, by which shards, checkpoints and exports identify their vocabulary."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @cached_property
    def ids(self) -> dict[str, int]:
        """Token -> id."""
        return {token: number for number, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def pad_id(self) -> int:
        return self.ids[PAD]

    @property
    def unk_id(self) -> int:
        return self.ids[UNK]

    @property
    def cls_id(self) -> int:
        return self.ids[CLS]

    @property
    def sep_id(self) -> int:
        return self.ids[SEP]

    @property
    def mask_id(self) -> int:
        return self.ids[MASK]


def _check(tokens: tuple[str, ...], name: str) -> None:
    if tokens == ("",):
        raise CorpusError(f"{name} is empty; a vocabulary has one token per line, including [PAD] [UNK] [CLS] [SEP] [MASK]")
    lines: dict[str, int] = {}
    for line, token in enumerate(tokens, start=1):
        if not token:
            raise CorpusError(f"{name}: line {line} is blank; remove it, every line must be a token")
        if (first := lines.setdefault(token, line)) != line:
            raise CorpusError(f"{name}: {token!r} is on lines {first} and {line}; every token must occur once")
    if missing := [special for special in SPECIALS if special not in lines]:
        raise CorpusError(f"{name} lacks {' '.join(missing)}; is it a vocab.txt of a BERT model, one token per line?")


def punctuation_map(vocab: Vocab) -> dict[str, str]:
    """Map punctuation that the vocabulary lacks to marks that it has: {"“": '"', "—": "-", "…": "."} for Google's Chinese one.

    Without the mapping all of these become [UNK], 0.8 % of the tokens of news.
    """
    lacking = [(mark, known) for marks, known in _SUBSTITUTES for mark in marks if mark not in vocab.ids]
    found = {mark: next((sign for sign in known if sign in vocab.ids), "") for mark, known in lacking}
    return {mark: sign for mark, sign in found.items() if sign}


def find_words(text: str) -> list[str]:
    """Return the Latin and digit words of a text."""
    return _LATIN_WORD.findall(text)


def build(
    character_counts: Mapping[str, int],
    word_counts: Mapping[str, int],
    size: int,
    min_count: int,
    do_lower_case: bool = True,
) -> Vocab:
    """Build a vocabulary of at most `size` tokens. The result does not depend on the order of the counts.

    It has the special tokens ([PAD] is 0) and all of ASCII, then characters by falling frequency, then whole Latin and digit
    words by falling frequency. A character that can be inside a word (Latin, kana, full-width digits; not ideographs or
    punctuation) is included plain and with `##`, so a word only becomes [UNK] if one of its characters is too rare.

    Raises: CorpusError for a `size` in which the special tokens and ASCII do not fit.
    """
    return assemble(*normalised_counts(character_counts, word_counts, do_lower_case), size, min_count, do_lower_case)


def normalised_counts(
    character_counts: Mapping[str, int], word_counts: Mapping[str, int], do_lower_case: bool
) -> tuple[Counter[str], Counter[str]]:
    """Return the counts of characters and words after BERT's normalisation. Those of several texts may be added up."""
    return _characters(character_counts, do_lower_case), _normalised(word_counts, do_lower_case)


def assemble(characters: Mapping[str, int], words: Mapping[str, int], size: int, min_count: int, do_lower_case: bool) -> Vocab:
    """Build a vocabulary as `build` does, from counts that are normalised. Those below `min_count` may be left out."""
    tokens: dict[str, None] = dict.fromkeys(SPECIALS)
    for character in sorted(_characters(dict.fromkeys(string.printable, 1), do_lower_case)):
        tokens.update(dict.fromkeys(_forms(character)))
    if len(tokens) > size:
        raise CorpusError(f"a vocabulary of {size} tokens is too small: the special tokens and ASCII alone have {len(tokens)}")
    for character in _most_frequent(characters, min_count):
        forms = [form for form in _forms(character) if form not in tokens]
        if len(tokens) + len(forms) > size:
            break
        tokens.update(dict.fromkeys(forms))
    for word in _most_frequent(words, min_count):
        if len(tokens) >= size:
            break
        if all(_joins(character) for character in word):
            tokens.setdefault(word)
    return Vocab(tuple(tokens))


def _characters(counts: Mapping[str, int], do_lower_case: bool) -> Counter[str]:
    """Count single characters after normalisation, which may decompose a character (a Hangul syllable)."""
    characters: Counter[str] = Counter()
    for text, number in _normalised(counts, do_lower_case).items():
        for character in text:
            characters[character] += number
    return characters


def _normalised(counts: Mapping[str, int], do_lower_case: bool) -> Counter[str]:
    """Apply BERT's normalisation to the keys: remove spaces and control characters, and optionally accents and case."""
    normalised: Counter[str] = Counter()
    for text, number in counts.items():
        if do_lower_case:
            plain = (c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
            text = "".join(plain).lower()
        normalised[_visible(text)] += number
    del normalised[""]
    return normalised


def _visible(characters: Iterable[str]) -> str:
    # BERT's clean_text removes the categories Cc Cf Cn Co Cs, and U+FFFD.
    return "".join(c for c in characters if unicodedata.category(c)[0] not in "CZ" and c != "\ufffd")


def _most_frequent(counts: Mapping[str, int], min_count: int) -> Iterator[str]:
    frequent = ((-number, text) for text, number in counts.items() if number >= min_count)
    return (text for _, text in sorted(frequent))


def _forms(character: str) -> list[str]:
    """Return the tokens for a character: `中` -> 中; `！` -> ！; `a` -> a ##a."""
    return [character, f"##{character}"] if _joins(character) else [character]


def _joins(character: str) -> bool:
    """Return whether a character forms words with its neighbours. Ideographs and punctuation do not, in BERT's tokenisation."""
    if character in string.punctuation or unicodedata.category(character)[0] == "P":
        return False
    return not any(first <= ord(character) <= last for first, last in _IDEOGRAPHS)
