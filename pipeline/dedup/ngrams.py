"""Normalised texts and hashes of their n-grams: what deduplication and decontamination compare. Many texts at once, in numpy.

    ["ＡＢ，好！", "第１课。"]   ->   codes  a b 好 | 第 1 课 |     lengths [3, 3]

Only letters and digits count, normalised by NFKC and lower-cased. A table does this one character at a time, in 3 ms per MB
(normalising strings takes 40). The few characters that normalise to several letters (㍿, ½, ﬁ) are left as they are.

Hashes are polynomials of the codes modulo 2**64, scrambled by `mix`. Equal n-grams have equal hashes wherever they are;
different ones collide with a probability of about 2**-64.
"""

import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import GOLDEN_RATIO, CodePoints, Hashes, Ints, code_points, mix, ranges

_BASE = GOLDEN_RATIO
_BASE_INVERSE = np.uint64(pow(int(_BASE), -1, 1 << 64))
_GAP = "\0"
_GAP_CODE = np.uint32(0xFFFF)
"""The code after every text. No character normalises to it, so no n-gram of real characters spans two texts."""
_SURROGATES = range(0xD800, 0xE000)


@dataclass(frozen=True)
class NormalizedTexts:
    """The normalised characters of some texts in one array, with gap codes after each text."""

    codes: CodePoints
    """(codes,) normalised characters and gaps."""
    starts: Ints
    """(texts,) start of each text in `codes`."""
    lengths: Ints
    """(texts,) normalised characters of each text."""
    gap: int
    """Gap codes after each text."""
    raw: CodePoints
    """(raw,) the original characters, with as many gaps."""
    raw_starts: Ints
    """(texts,) start of each text in `raw`."""
    codes_before: Ints
    """(raw + 1,) number of codes before each original character: maps positions in `raw` to positions in `codes`."""

    def ngrams(self, size: int) -> tuple[Hashes, Ints]:
        """Return a hash for every code (codes,), and the number of n-grams of each text (texts,).

        The n-grams of a text are the hashes at its first codes; the hashes after them reach into the gap (see `owners`). A
        text shorter than `size` is a single n-gram, an empty one has none.
        """
        assert size <= self.gap + 1
        counts = np.where(self.lengths >= size, self.lengths - size + 1, np.minimum(self.lengths, 1))
        return mix(polynomials(self.codes, size)), counts

    def owners(self, counts: Ints) -> Ints:
        """Return the text of each n-gram (codes,), for `counts` (texts,) n-grams per text; the number of texts elsewhere."""
        texts = len(self.lengths)
        numbers = np.stack([np.arange(texts), np.full(texts, texts)], axis=1).ravel()
        repeats = np.stack([counts, self.lengths + self.gap - counts], axis=1).ravel()
        return np.repeat(numbers, repeats)

    def lines(self) -> "Lines":
        """Return the lines of all texts, text after text."""
        starts = self.raw_starts
        ends = np.append(starts, len(self.raw))[1:] - self.gap
        # A text has one line more than it has line breaks.
        breaks = np.flatnonzero(self.raw == ord("\n"))
        counts = np.searchsorted(breaks, ends) - np.searchsorted(breaks, starts) + 1
        texts = np.repeat(np.arange(len(starts)), counts)
        ordinals = ranges(np.zeros_like(counts), counts)
        # Lines start at the start of a text and after each break; they end at a break and at the end of a text.
        line_starts, line_ends = np.sort(np.concatenate([starts, breaks + 1])), np.sort(np.concatenate([ends, breaks]))
        return Lines(texts, ordinals, self.codes_before[line_starts], self.codes_before[line_ends], line_starts, line_ends)


@dataclass(frozen=True)
class Lines:
    """The lines of some texts; all arrays are (lines,)."""

    texts: Ints
    """Number of the text."""
    ordinals: Ints
    """Number of the line in its text."""
    starts: Ints
    ends: Ints
    """Its range in `NormalizedTexts.codes`."""
    raw_starts: Ints
    raw_ends: Ints
    """Its range in `NormalizedTexts.raw`, without the line break."""


def normalize_texts(texts: Sequence[str], gap: int = 1) -> NormalizedTexts:
    """Normalise some texts, with `gap` gap codes after each: n-grams of up to gap + 1 characters can then be hashed."""
    raw, starts, lengths = join_texts(texts, gap)
    codes = normalize(raw)
    kept = codes != 0
    before = np.zeros(len(raw) + 1, np.int64)
    np.cumsum(kept, out=before[1:])
    lengths = before[starts + lengths] - before[starts]
    return NormalizedTexts(codes.compress(kept), before[starts], lengths, gap, raw, starts, before)


def join_texts(texts: Sequence[str], gap: int) -> tuple[CodePoints, Ints, Ints]:
    """Return the code points of some texts with `gap` gaps after each; and the start and length of each text, both (texts,)."""
    joined = "".join(part for text in texts for part in (text.replace(_GAP, " ") if _GAP in text else text, _GAP * gap))
    lengths = np.fromiter((len(text) for text in texts), np.int64, len(texts))
    starts = np.cumsum(lengths + gap) - lengths - gap
    return code_points(joined), starts, lengths


def normalize(points: CodePoints) -> CodePoints:
    """Return the normalised code of each code point (characters,); 0 for anything but letters and digits."""
    table = _table()
    beyond = points > 0xFFFF
    if not beyond.any():
        return table.take(points)
    result = table[np.where(beyond, 0, points)]
    # Characters beyond the table are rare: normalise each distinct one in Python.
    rare, inverse = np.unique(points[beyond], return_inverse=True)
    result[beyond] = np.array([_normalize_one(int(point)) for point in rare], np.uint32)[inverse]
    return result


def _normalize_one(point: int) -> int:
    if point in _SURROGATES:
        return 0
    folded = unicodedata.normalize("NFKC", chr(point)).lower()
    if len(folded) == 1:  # nearly always
        return ord(folded) if folded.isalnum() else 0
    letters = "".join(filter(str.isalnum, folded))
    return ord(letters) if len(letters) == 1 else point if letters else 0


@functools.cache
def _table() -> CodePoints:
    table = np.array([_normalize_one(point) for point in range(1 << 16)], np.uint32)
    table[0] = _GAP_CODE
    return table


def polynomials(codes: CodePoints, size: int) -> Hashes:
    """Return sum(codes[i + k] * base**(size - 1 - k)) for each i: (codes,), with zeros after the end.

    Computed by doubling: the polynomial of 2n codes is made of two polynomials of n, so 13-grams take 5 steps, not 12.
    """
    padded = np.zeros(len(codes) + size, np.uint64)
    padded[: len(codes)] = codes
    result, length, power = padded.copy(), 1, _BASE  # `result` has polynomials of `length` codes; power = base**length
    with np.errstate(over="ignore"):
        # The bits of `size` after the first: each doubles the length, and a 1 appends one more code.
        for bit in bin(size)[3:]:
            second = result[length:].copy()
            result = result[: len(second)]
            result *= power
            result += second
            length, power = 2 * length, power * power
            if bit == "1":
                result = result[:-1]
                result *= _BASE
                result += padded[length : length + len(result)]
                length, power = length + 1, power * _BASE
    return result[: len(codes)]


def span_hashes(codes: CodePoints, starts: Ints, ends: Ints) -> Hashes:
    """Return the hashes (spans,) of spans codes[start:end] of any lengths.

    With P the running sum of code * base**position, (P[end] - P[start]) * base**-start is the polynomial of the span alone. The
    base is odd, so it has an inverse modulo 2**64.
    """
    powers, inverses = _powers(len(codes) + 1)
    sums = np.zeros(len(codes) + 1, np.uint64)
    with np.errstate(over="ignore"):
        np.cumsum(codes * powers[: len(codes)], out=sums[1:])
        return mix((sums[ends] - sums[starts]) * inverses[starts] + (ends - starts).astype(np.uint64))


def _powers(number: int) -> tuple[Hashes, Hashes]:
    """Return powers of the base and of its inverse, from 0 to at least number - 1."""
    return _powers_up_to(1 << max(18, (number - 1).bit_length()))


@functools.lru_cache(maxsize=4)
def _powers_up_to(number: int) -> tuple[Hashes, Hashes]:
    with np.errstate(over="ignore"):
        tables = [np.full(number, base, np.uint64) for base in (_BASE, _BASE_INVERSE)]
        for table in tables:
            table[0] = 1
            np.multiply.accumulate(table, out=table)
    return tables[0], tables[1]
