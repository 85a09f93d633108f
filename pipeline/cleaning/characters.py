"""The characters of many texts as one array: the basis of quality.py, language.py and fingerprints.

    batch = Batch.of(["他在。", "OK"])
    batch.points    4ed6 5728 3002  a   4f  4b   a      code points, a line break after every text
    batch.starts    0                   4               where each text starts
    batch.ends                 3            6           and ends, without its line break
    classes()[batch.points]
                    HAN  在   END SPACE LATIN LATIN SPACE

Each character has exactly one class. The commonest words of Chinese prose (`STOPWORDS`) are classes of their own, so that one
histogram of classes answers every question about ratios of characters: ideographs are `HAN` and all classes from `STOPWORD` on.
"""

import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from pipeline.arrays import Bytes, CodePoints, Ints, Ints32, code_points

_PROSE = "的 年 在 月 是 和 日 了 于於 为為 有 被 人 中 他 与與 后後 也 而 由"
_SPEECH = "我 你 不 就 都 这這 很 说說 没沒 还還 要 个個 吗嗎 吧 太 去"
STOPWORDS = f"{_PROSE} {_SPEECH}".split()
"""One-character words, in both scripts: 20 that prose can hardly do without (FineWeb-2, configs/cmn_Hani.yml), 16 of speech."""


class Class(IntEnum):
    """The class of a character."""

    SPACE = 0
    HAN = 1
    LATIN = 2
    DIGIT = 3
    """Numerals of any form: 7 ７ ② Ⅳ ½."""
    KANA = 4
    HANGUL = 5
    LETTER = 6
    """A letter of any other script, or a combining mark."""
    END = 7
    """Punctuation that ends a sentence or clause, or closes a quotation or bracket, at the end of a line."""
    PUNCTUATION = 8
    SYMBOL = 9
    """Signs that are not part of sentences: currency, arrows, boxes, emoji, # * / _ | and the like."""
    STOPWORD = 10
    """The first of STOPWORDS; the others follow."""


CLASSES = int(Class.STOPWORD) + len(STOPWORDS)

_ENDS = "。．.！!？?；;：:…”’』」）)】》〉〕］］]～~"
_SYMBOLS = "#*/\\_|^`<>=+@&$＃＊／＼＿｜＾｀＜＞＝＋＠＆＄"
_HAN = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3134F))
IDEOGRAPHS = "".join(f"{chr(first)}-{chr(last)}" for first, last in _HAN)
"""Chinese characters, as part of a regular expression's character set."""
_KANA = ((0x3041, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F))
_HANGUL = ((0x1100, 0x11FF), (0x3131, 0x318E), (0xA960, 0xA97F), (0xAC00, 0xD7FF))
_LATIN = ((0, 0x24F), (0x1E00, 0x1EFF), (0xFF21, 0xFF5A))
_OF_CATEGORY = {
    **dict.fromkeys(("Zs", "Zl", "Zp"), Class.SPACE.value),
    **dict.fromkeys(("Nd", "Nl", "No"), Class.DIGIT.value),
    **dict.fromkeys(("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me"), Class.LETTER.value),
    **dict.fromkeys(("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"), Class.PUNCTUATION.value),
    **dict.fromkeys(("Sm", "Sc", "Sk", "So", "Cc", "Cf", "Cs", "Co", "Cn"), Class.SYMBOL.value),
}
"""The class of each general category of Unicode; white space among control characters is told apart later."""
_LAST_TABULATED = 0x1FFFF
"""Last code point classified one by one: later ones are ideographs (planes 2 and 3) or irrelevant."""


@functools.cache
def classes() -> Bytes:
    """Return the class of every code point: (0x110000,) uint8. Built once per process, in about 20 ms."""
    table = np.full(0x110000, Class.SYMBOL, np.uint8)
    characters = list(map(chr, range(_LAST_TABULATED + 1)))
    table[: _LAST_TABULATED + 1] = list(map(_OF_CATEGORY.__getitem__, map(unicodedata.category, characters)))
    latin = (point for first, last in _LATIN for point in range(first, last + 1))
    table[[point for point in latin if unicodedata.category(chr(point))[0] == "L"]] = Class.LATIN
    table[[point for point, is_space in enumerate(map(str.isspace, characters)) if is_space]] = Class.SPACE
    for ranges, kind in ((_HAN, Class.HAN), (_KANA, Class.KANA), (_HANGUL, Class.HANGUL)):
        for first, last in ranges:
            table[first : last + 1] = kind
    table[[ord(sign) for sign in "・゠"]] = Class.PUNCTUATION  # inside the katakana block
    for signs, kind in ((_ENDS, Class.END), (_SYMBOLS, Class.SYMBOL)):
        table[[ord(sign) for sign in signs]] = kind
    for number, word in enumerate(STOPWORDS):
        table[[ord(form) for form in word]] = Class.STOPWORD + number
    return table


@dataclass(frozen=True)
class Batch:
    """Texts concatenated, each followed by a line break."""

    points: CodePoints
    starts: Ints
    ends: Ints

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Batch":
        joined = "\n".join([*texts, ""])
        # A lone surrogate counts as a sign; it must not stop a run over millions of documents.
        points = code_points(joined)
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        ends = np.cumsum(lengths + 1) - 1
        return cls(points, ends - lengths, ends)

    def __len__(self) -> int:
        return len(self.starts)

    @functools.cached_property
    def texts(self) -> Ints32:
        """The index of the text that each character belongs to: (characters,) int32."""
        return np.repeat(np.arange(len(self), dtype=np.int32), self.ends - self.starts + 1)

    @functools.cached_property
    def classes(self) -> Bytes:
        """The class of each character: (characters,) uint8."""
        return classes().take(self.points)

    @functools.cached_property
    def counts(self) -> Ints:
        """How many characters of each class each text has: (texts, CLASSES)."""
        keys = self.texts * np.int64(CLASSES) + self.classes
        counts: Ints = np.bincount(keys, minlength=len(self) * CLASSES).reshape(len(self), CLASSES)
        counts[:, Class.SPACE] -= 1  # the line break after each text
        return counts
