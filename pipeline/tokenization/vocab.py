"""The vocabulary: which tokens there are, and which number each has.

    vocab.txt, one token a line     [PAD]  [UNK]  [CLS]  [SEP]  [MASK]  ...  北    京    ...  ##s   ...
    id = number of the line, from 0   0      1      2      3      4           812   395        97

A token is a Chinese character, a Latin or digit word, or the rest of one (`##s`). Files as Google's BERT has them are read
(the released NEZHA models use Google's Chinese vocab.txt, 21,128 tokens); `build` makes one from what a corpus contains.
Imports the standard library only: the trainer needs it where little else is installed.
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

# Google's BERT puts spaces around these and only these (tokenization.py, _is_chinese_char), so each stands alone.
# Kana and Hangul are not among them: they form words, as Latin letters do.
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
"""Punctuation marks, and what may stand for them, the best first. A mark is one token by itself, and so is what stands for it:
tokens end where they did."""
_LATIN_WORD = re.compile("[0-9A-Za-z\u00c0-\u024f０-９Ａ-Ｚａ-ｚ]+")


@dataclass(frozen=True)
class Vocab:
    """Tokens in the order of their ids. Raises CorpusError if it could not serve: see `from_bytes`."""

    tokens: tuple[str, ...]

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> "Vocab":
        """Reads a vocab.txt; `name` is what messages call it.

        Splits at line feeds only: token 343 of Google's Chinese vocabulary is U+2028, at which str.splitlines() would split,
        and which str.strip() would make empty. Raises CorpusError if the file is not UTF-8, is empty, has blank or repeated
        lines, or lacks one of [PAD] [UNK] [CLS] [SEP] [MASK].
        """
        try:
            text = data.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise CorpusError(f"{name}: line {line} is not UTF-8; save the vocabulary as UTF-8, one token a line") from error
        tokens = tuple(text.removesuffix("\n").split("\n"))
        _check(tokens, name)
        return cls(tokens)

    def to_bytes(self) -> bytes:
        """The vocab.txt: UTF-8, a line feed after every token."""
        return ("\n".join(self.tokens) + "\n").encode()

    @cached_property
    def sha256(self) -> str:
        """Digest of `to_bytes()`: shards, checkpoints and exports name their vocabulary by it."""
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
        raise CorpusError(f"{name} is empty; a vocabulary has one token a line, [PAD] [UNK] [CLS] [SEP] [MASK] among them")
    lines: dict[str, int] = {}
    for line, token in enumerate(tokens, start=1):
        if not token:
            raise CorpusError(f"{name}: line {line} is blank; remove it, every line must be one token")
        if (first := lines.setdefault(token, line)) != line:
            raise CorpusError(f"{name}: {token!r} stands on lines {first} and {line}; every token must be there once")
    if missing := [special for special in SPECIALS if special not in lines]:
        raise CorpusError(f"{name} lacks {' '.join(missing)}; is it a vocab.txt of a BERT model, one token a line?")


def punctuation_map(vocab: Vocab) -> dict[str, str]:
    """Punctuation that the vocabulary lacks -> what it has for it: {"“": '"', "—": "-", "…": "."} for Google's Chinese one.

    Without, all these are [UNK], 0.8 % of the tokens of news. What the vocabulary has stays as it is.
    """
    lacking = [(mark, known) for marks, known in _SUBSTITUTES for mark in marks if mark not in vocab.ids]
    found = {mark: next((sign for sign in known if sign in vocab.ids), "") for mark, known in lacking}
    return {mark: sign for mark, sign in found.items() if sign}


def count(text: str) -> tuple[Counter[str], Counter[str]]:
    """Characters, and Latin or digit words, of a text: what `build` wants, summed over all documents."""
    return Counter(text), Counter(find_words(text))


def find_words(text: str) -> list[str]:
    """The Latin and digit words of a text."""
    return _LATIN_WORD.findall(text)


def build(
    character_counts: Mapping[str, int],
    word_counts: Mapping[str, int],
    size: int,
    min_count: int,
    do_lower_case: bool = True,
) -> Vocab:
    """Makes a vocabulary of at most `size` tokens; the same counts give the same vocabulary, in whatever order they come.

    First the special tokens ([PAD] is 0) and all of ASCII, then characters, the most frequent first, then whole Latin and digit
    words, the most frequent first. Whatever can stand inside a word (Latin, kana, full-width digits; not ideographs,
    not punctuation) is there plain and as `##`, so a word is [UNK] only if it holds a character that is too rare.
    """
    tokens: dict[str, None] = dict.fromkeys(SPECIALS)
    for character in sorted(_characters(dict.fromkeys(string.printable, 1), do_lower_case)):
        tokens.update(dict.fromkeys(_forms(character)))
    if len(tokens) > size:
        raise CorpusError(f"a vocabulary of {size} tokens is too small: the special tokens and ASCII alone are {len(tokens)}")
    for character in _most_frequent(_characters(character_counts, do_lower_case), min_count):
        forms = [form for form in _forms(character) if form not in tokens]
        if len(tokens) + len(forms) > size:
            break
        tokens.update(dict.fromkeys(forms))
    for word in _most_frequent(_normalised(word_counts, do_lower_case), min_count):
        if len(tokens) >= size:
            break
        if all(_joins(character) for character in word):
            tokens.setdefault(word)
    return Vocab(tuple(tokens))


def _characters(counts: Mapping[str, int], do_lower_case: bool) -> Counter[str]:
    """Counts of single characters after normalisation, which may take a character apart (a Hangul syllable)."""
    characters: Counter[str] = Counter()
    for text, number in _normalised(counts, do_lower_case).items():
        for character in text:
            characters[character] += number
    return characters


def _normalised(counts: Mapping[str, int], do_lower_case: bool) -> Counter[str]:
    """Counts of what BERT's normalisation makes of each key: spaces and control characters go, accents and capitals may."""
    normalised: Counter[str] = Counter()
    for text, number in counts.items():
        if do_lower_case:
            plain = (c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
            text = "".join(plain).lower()
        normalised[_visible(text)] += number
    del normalised[""]
    return normalised


def _visible(characters: Iterable[str]) -> str:
    # Cc Cf Cn Co Cs and U+FFFD are what BERT's clean_text removes.
    return "".join(c for c in characters if unicodedata.category(c)[0] not in "CZ" and c != "\ufffd")


def _most_frequent(counts: Mapping[str, int], min_count: int) -> Iterator[str]:
    frequent = ((-number, text) for text, number in counts.items() if number >= min_count)
    return (text for _, text in sorted(frequent))


def _forms(character: str) -> list[str]:
    """`中` -> 中; `！` -> ！; `a` -> a ##a."""
    return [character, f"##{character}"] if _joins(character) else [character]


def _joins(character: str) -> bool:
    """Whether a character joins its neighbours to a word; ideographs and punctuation stand alone in BERT's tokenisation."""
    if character in string.punctuation or unicodedata.category(character)[0] == "P":
        return False
    return not any(first <= ord(character) <= last for first, last in _IDEOGRAPHS)
