"""Clean the text of a document without removing anything that a reader of Chinese would miss.

    "﻿他说：“你好”。\\r\\n<p>ＡＢＣ&nbsp;</p><p>责任编辑：王小明</p>"
    ->  "他说：“你好”。\\nＡＢＣ"                               changed: boilerplate, html, invisible

Full-width punctuation stays: folding width, as other cleaners do (NFKC, ftfy), turns “，” into a comma. Width and case are
folded only for fingerprints, which decide whether two documents are the same.

Each rule first checks, in a few nanoseconds per character, whether it applies at all: most texts are clean.
"""

import functools
import hashlib
import re
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np

from pipeline.arrays import CodePoints, from_code_points
from pipeline.cleaning.boilerplate import without_boilerplate, without_separators
from pipeline.cleaning.characters import Batch
from pipeline.cleaning.escapes import unescape
from pipeline.cleaning.markup import strip_markup
from pipeline.cleaning.normalization import tidy

_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")


OnChange = Callable[[str, str, str], None]
"""Callback for each rule that changed a text: name of the rule, text before, text after."""


def clean(text: str, markup: bool = False, on_change: OnChange | None = None) -> tuple[str, set[str]]:
    """Return the cleaned text, and the names of the rules that changed it.

    Rules: `escapes` (escapes.py), `html` (only with `markup`: the text may contain HTML), `invisible` and `compatibility`
    (normalization.py), `composed` (Unicode NFC), `boilerplate` and `separators` (boilerplate.py). White space is normalised
    without being reported: one kind of line break, single spaces, no empty lines.
    """
    changed = set()

    def changed_by(rule: str, before: str, after: str) -> str:
        changed.add(rule)
        if on_change is not None:
            on_change(rule, before, after)
        return after

    if "\\" in text:
        unescaped = unescape(text)
        if unescaped != text:
            text = changed_by("escapes", text, unescaped)
    if markup and ("<" in text or "&" in text or "＆" in text):
        stripped = strip_markup(text)
        if stripped != text:
            text = changed_by("html", text, stripped)
    text = tidy(text, changed_by)
    if not unicodedata.is_normalized("NFC", text):
        text = changed_by("composed", text, unicodedata.normalize("NFC", text))
    left, lines = without_boilerplate(text)
    if lines:
        text = changed_by("boilerplate", text, left)
    left, lines = without_separators(text)
    if lines:
        text = changed_by("separators", text, left)
    return text, changed


def folded(text: str) -> str:
    """Return the normalised characters: letters and digits without width and case: `“ＡＢ”，好！` -> `ab好`."""
    return _NOT_ALPHANUMERIC.sub("", unicodedata.normalize("NFKC", text).lower())


def fingerprint(text: str) -> bytes:
    """Return 16 bytes that are equal for documents that differ only in width, case, punctuation and white space."""
    return _digest(folded(text))


def fingerprints(texts: Sequence[str]) -> list[bytes]:
    """Return the fingerprint of each text: many at once, mostly by a table of folded characters."""
    if not texts:
        return []
    batch = Batch.of(texts)
    fold = _foldings()[np.minimum(batch.points, 0xFFFF)]
    kept = fold < _CONTEXTUAL
    folded_characters = from_code_points(fold[kept])
    ends = np.cumsum(kept)[batch.ends].tolist()
    together = np.logical_or.reduceat(fold == _CONTEXTUAL, batch.starts).tolist()
    bounds = zip(texts, [0, *ends], ends, together, strict=False)
    return [_digest(folded(text) if whole else folded_characters[start:end]) for text, start, end, whole in bounds]


def _digest(normalised: str) -> bytes:
    return hashlib.blake2b(normalised.encode(), digest_size=16).digest()


_CONTEXTUAL = 0xFFFFFFFE
"""Marks a character whose folding may depend on its neighbours or yield several: its text is folded as a whole."""
_REMOVED = 0xFFFFFFFF
_INDEPENDENT = (
    (0x0, 0xFF),
    (0x2000, 0x2BFF),
    (0x3000, 0x30FF),
    (0x3200, 0x9FFF),
    (0xAC00, 0xD7A3),
    (0xFE30, 0xFE6F),
    (0xFF00, 0xFFEF),
)
"""Ranges of characters that never combine with the one before them, except for combining marks."""


@functools.cache
def _foldings() -> CodePoints:
    """Return what each code point below 0x10000 folds to: a code point, _REMOVED or _CONTEXTUAL. (0x10000,) uint32."""
    table = np.full(0x10000, _CONTEXTUAL, np.uint32)
    for first, last in _INDEPENDENT:
        for point, character in enumerate(map(chr, range(first, last + 1)), first):
            plain = unicodedata.normalize("NFKC", character)
            if plain == character == character.lower() and character.isalnum():  # most are ideographs
                table[point] = point
                continue
            normalised = folded(character)
            # Hangul jamo (0x1100 to 0x11FF) combine into syllables.
            if len(normalised) < 2 and not any(unicodedata.combining(part) or "\u1100" <= part <= "\u11ff" for part in plain):
                table[point] = ord(normalised) if normalised else _REMOVED
    return table
