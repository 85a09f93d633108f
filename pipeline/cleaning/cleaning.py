"""Clean the text of a document without removing anything that a reader of Chinese would miss.

    "﻿他说：“你好”。\\r\\n<p>ＡＢＣ&nbsp;</p><p>责任编辑：王小明</p>"
    ->  "他说：“你好”。\\nＡＢＣ"                               changed: boilerplate, html, invisible

Full-width punctuation stays: folding width, as other cleaners do (NFKC, ftfy), turns “，” into a comma. Width and case are
folded only for fingerprints, which decide whether two documents are the same.

Each rule first checks, in a few nanoseconds per character, whether it applies at all: most texts are clean.
"""

import functools
import hashlib
import html
import re
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np

from pipeline.arrays import CodePoints, from_code_points
from pipeline.cleaning.boilerplate import without_boilerplate, without_separators
from pipeline.cleaning.characters import Batch

CHINESE = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]+")
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe0e\ufe0f\ufeff"
    r"\ufff9-\uffff\ud800-\udfff\ue000-\uf8ff\U000e0000-\U000e00ff\U000f0000-\U0010ffff]+"
)
"""Control and format characters, variation selectors, replacement characters, lone surrogates and private-use characters."""
_PRINTABLE_YET_INVISIBLE = "\ufe0e\ufe0f\ufffc\ufffd"
_LINE_BREAKS = re.compile(r"\r\n?|[\x85\u2028\u2029]")
_SPACES = re.compile(r"[ \t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_BLOCKS = (
    "address article aside blockquote body br caption center dd div dl dt fieldset figcaption figure footer form h1 h2 h3 h4 "
    "h5 h6 header hr html legend li main nav ol p pre section table tbody td tfoot th thead tr ul"
)
"""Elements that start and end a line (including td and th: cells would run together otherwise)."""
_INLINE = (
    "abbr audio base big bdi bdo button canvas cite code col colgroup data del dfn em embed font head img input ins kbd label "
    "link map area mark meta noscript param rp rt ruby samp select small source span strike strong sub sup svg time tt var "
    "video wbr"
)
_SWALLOWING = "iframe noembed noframes object option plaintext template textarea title xmp"
"""Elements that swallow the rest of the page if they are never closed: only their tags are removed."""
_ATTRIBUTES = r"""(?:\s+[\w:-]+(?:=(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>]+))?)*\s*/?>"""
# What follows the < of a tag. One-letter tags with more than a name need an attribute: in a<b and c>d, b is a variable.
_TAG = (
    rf"/?(?:{'|'.join((_BLOCKS + ' ' + _INLINE + ' ' + _SWALLOWING).split())}|(?:o|v|w|st1):[a-z]\w*)(?:[\s/][^<>]*)?>"
    r"|/?[abipqsu](?:\s+[^<>]*=[^<>]*|\s*)/?>|/(?:script|style)\s*>|!doctype[^<>]*>"
)
_STRAY = re.compile(f"<(?!{_TAG})", re.IGNORECASE)
_COMMONEST = ("<p>", "</p>", "<br>", "<br/>")
_PLAIN_BLOCKS = re.compile(f"</?(?:{'|'.join(_BLOCKS.split())}){_ATTRIBUTES}", re.IGNORECASE)
_PLAIN_INLINE = re.compile(
    f"</?(?:strong|span|font|b|i|u|em|a|sub|sup|img){_ATTRIBUTES}|</?(?:{'|'.join(_SWALLOWING.split())})(?:[\\s/][^<>]*)?>",
    re.IGNORECASE,
)
"""Tags that become a line break, or nothing: most pages of crawled corpora contain no others."""
_ANY_TAG = re.compile(r"""(<(?:[^<>"']++|"[^"<\n]*+"|'[^'<\n]*+')*+>)|<[^<>]*>""")
_HIDDEN = re.compile(r"<(!--|script(?=[\s/>])|style(?=[\s/>]))", re.IGNORECASE)
_HIDDEN_ENDS = {
    "!--": re.compile("--!?>"),
    "script": re.compile(r"</script\s*>", re.IGNORECASE),
    "style": re.compile(r"</style\s*>", re.IGNORECASE),
}
_HEAD = re.compile(
    r"\s*(?:<!doctype[^<>]*>\s*)?(?:<html(?:\s[^<>]*)?>\s*)?<head(?:\s[^<>]*)?>"
    r"(?:\s|<title(?:\s[^<>]*)?>[^<]*</title\s*>|<(?!/head)[^<>]*>)*+</head\s*>",
    re.IGNORECASE,
)
"""The head of a page, if it contains no text except the title."""
_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")


OnChange = Callable[[str, str, str], None]
"""Callback for each rule that changed a text: name of the rule, text before, text after."""


def clean(text: str, markup: bool = False, on_change: OnChange | None = None) -> tuple[str, set[str]]:
    """Return the cleaned text, and the names of the rules that changed it.

    Rules: `html` (only with `markup`: the text may contain HTML), `invisible`, `composed` (Unicode NFC), `boilerplate` and
    `separators` (boilerplate.py). White space is normalised without being reported: one kind of line break, single spaces, no
    empty lines.
    """
    changed = set()

    def changed_by(rule: str, before: str, after: str) -> str:
        changed.add(rule)
        if on_change is not None:
            on_change(rule, before, after)
        return after

    if markup and ("<" in text or "&" in text):
        stripped = strip_markup(text)
        if stripped != text:
            text = changed_by("html", text, stripped)
    text = _tidy_space(text, changed_by)
    if not unicodedata.is_normalized("NFC", text):
        text = changed_by("composed", text, unicodedata.normalize("NFC", text))
    left, lines = without_boilerplate(text)
    if lines:
        text = changed_by("boilerplate", text, left)
    left, lines = without_separators(text)
    if lines:
        text = changed_by("separators", text, left)
    return text, changed


def _tidy_space(text: str, changed_by: Callable[[str, str, str], str]) -> str:
    """Normalise white space and remove invisible characters; only the latter are reported."""
    text = text.replace("\u3000", " ").replace("\u00a0", " ").replace("\t", " ").replace("\r\n", "\n")
    # isprintable: a plain space, or neither separator, control, format, surrogate, private-use nor unassigned.
    if not text.replace("\n", " ").isprintable() or any(sign in text for sign in _PRINTABLE_YET_INVISIBLE):
        text = _LINE_BREAKS.sub("\n", text)
        visible = _INVISIBLE.sub("", text)
        if visible != text:
            text = changed_by("invisible", text, visible)
        text = _SPACES.sub(" ", text)
    while "  " in text:
        text = text.replace("  ", " ")
    return "\n".join([line for part in text.split("\n") if (line := part.strip(" "))])


def strip_markup(text: str) -> str:
    """Return the text of an HTML fragment, with line breaks for blocks and <br>. What is not a tag, as in a < b, stays.

    The parser (selectolax) lets a `<style>` or `<!--` that is never closed swallow everything after it, and prose about web
    pages is full of them. So scripts, styles and comments are removed first if they are closed, and kept as plain words if not.
    """
    for tag in _COMMONEST:
        text = text.replace(tag, "\n")
    if "<" in text:
        text = _without_hidden(text)
        if head := _HEAD.match(text):
            text = text[head.end() :]
        text = _PLAIN_INLINE.sub("", _PLAIN_BLOCKS.sub("\n", _STRAY.sub("&lt;", text)))
    if "<" not in text:
        return html.unescape(text)
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(_ANY_TAG.sub(_whole, text))
    for node in tree.css(_BLOCKS.replace(" ", ",")):
        node.insert_before("\n")
        node.insert_after("\n")
    return tree.body.text(separator="") if tree.body else ""


def _whole(tag: re.Match[str]) -> str:
    """Return the tag, or "" if a quote in it is never closed: that too would swallow everything after it."""
    return tag[1] or ""


def _without_hidden(text: str) -> str:
    """Remove scripts, styles and comments that are closed."""
    parts: list[str] = []
    place = 0
    ends = dict(_HIDDEN_ENDS)
    for beginning in _HIDDEN.finditer(text):
        name = beginning[1].lower()
        if beginning.start() < place or name not in ends:
            continue
        # Start at the dashes of <!--, because <!--> is a complete comment.
        if end := ends[name].search(text, beginning.start() + 2):
            parts.append(text[place : beginning.start()])
            place = end.end()
        else:
            del ends[name]  # no later one is closed either; keeps the scan linear
    return "".join([*parts, text[place:]])


def visible(text: str) -> int:
    """Return the number of characters that are not white space."""
    return len(text) - text.count(" ") - text.count("\n")


def chinese(text: str) -> int:
    """Return the number of Chinese characters (unified ideographs with extensions and compatibility forms)."""
    return len(text) - len(CHINESE.sub("", text))


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
        for point in range(first, last + 1):
            plain = unicodedata.normalize("NFKC", chr(point))
            normalised = folded(chr(point))
            # Hangul jamo (0x1100 to 0x11FF) combine into syllables.
            if len(normalised) < 2 and not any(unicodedata.combining(part) or "\u1100" <= part <= "\u11ff" for part in plain):
                table[point] = ord(normalised) if normalised else _REMOVED
    return table
