"""What is done to the text of every document: nothing that a reader of Chinese would miss.

    "﻿他说：“你好”。\\r\\n<p>ＡＢＣ&nbsp;</p><p>责任编辑：王小明</p>"
    ->  "他说：“你好”。\\nＡＢＣ"                               changed: boilerplate, html, invisible

Full-width punctuation stays as it is: folding widths, which other cleaners do (NFKC, ftfy), turns “，” into a comma. Width and
case are folded for fingerprints alone, which decide whether two documents are the same.

Every rule asks first, in a few nanoseconds a character, whether the text holds anything for it: most texts are clean.
"""

import functools
import hashlib
import html
import re
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.cleaning.boilerplate import without_boilerplate, without_separators
from pipeline.cleaning.characters import Batch

CHINESE = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]+")
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe0e\ufe0f\ufeff"
    r"\ufff9-\uffff\ud800-\udfff\ue000-\uf8ff\U000e0000-\U000e00ff\U000f0000-\U0010ffff]+"
)
"""Control and format characters, variation selectors, signs of broken encodings, lone surrogates and private characters."""
_PRINTABLE_YET_INVISIBLE = "\ufe0e\ufe0f\ufffc\ufffd"
_LINE_BREAKS = re.compile(r"\r\n?|[\x85\u2028\u2029]")
_SPACES = re.compile(r"[ \t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_BLOCKS = (
    "address article aside blockquote body br caption center dd div dl dt fieldset figcaption figure footer form h1 h2 h3 h4 "
    "h5 h6 header hr html legend li main nav ol p pre section table tbody td tfoot th thead tr ul"
)
"""Elements that begin and end a line (td and th too: cells run together otherwise)."""
_INLINE = (
    "abbr audio base big bdi bdo button canvas cite code col colgroup data del dfn em embed font head img input ins kbd label "
    "link map area mark meta noscript param rp rt ruby samp select small source span strike strong sub sup svg time tt var "
    "video wbr"
)
_GREEDY = "iframe noembed noframes object option plaintext template textarea title xmp"
"""Elements that take all that follows along when they are not closed: only their tags go."""
_ATTRIBUTES = r"""(?:\s+[\w:-]+(?:=(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>]+))?)*\s*/?>"""
# What follows the < of a tag. A single letter with more than its name needs an attribute: in a<b and c>d it is a variable.
_TAG = (
    rf"/?(?:{'|'.join((_BLOCKS + ' ' + _INLINE + ' ' + _GREEDY).split())}|(?:o|v|w|st1):[a-z]\w*)(?:[\s/][^<>]*)?>"
    r"|/?[abipqsu](?:\s+[^<>]*=[^<>]*|\s*)/?>|/(?:script|style)\s*>|!doctype[^<>]*>"
)
_STRAY = re.compile(f"<(?!{_TAG})", re.IGNORECASE)
_COMMONEST = ("<p>", "</p>", "<br>", "<br/>")
_PLAIN_BLOCKS = re.compile(f"</?(?:{'|'.join(_BLOCKS.split())}){_ATTRIBUTES}", re.IGNORECASE)
_PLAIN_INLINE = re.compile(
    f"</?(?:strong|span|font|b|i|u|em|a|sub|sup|img){_ATTRIBUTES}|</?(?:{'|'.join(_GREEDY.split())})(?:[\\s/][^<>]*)?>",
    re.IGNORECASE,
)
"""Tags that are nothing but a line break, or nothing: most pages of crawled corpora hold no others."""
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
"""The head of a page, where it holds no text but the title."""
_NOT_LETTERS = re.compile(r"[\W_]+")


Tell = Callable[[str, str, str], None]
"""Is told which rule changed a text, the text before that rule, and after it."""


def clean(text: str, markup: bool = False, tell: Tell | None = None) -> tuple[str, set[str]]:
    """The cleaned text, and the names of the rules that changed it. `markup` says that the text may hold HTML.

    Rules: `html`, `invisible`, `composed` (Unicode NFC), `boilerplate` and `separators` (boilerplate.py). White space is put in
    order without a word: one kind of line break, one space, no empty lines.
    """
    changed = set()

    def told(rule: str, before: str, after: str) -> str:
        changed.add(rule)
        if tell is not None:
            tell(rule, before, after)
        return after

    if markup and ("<" in text or "&" in text):
        stripped = strip_markup(text)
        if stripped != text:
            text = told("html", text, stripped)
    text = _in_order(text, told)
    if not unicodedata.is_normalized("NFC", text):
        text = told("composed", text, unicodedata.normalize("NFC", text))
    left, lines = without_boilerplate(text)
    if lines:
        text = told("boilerplate", text, left)
    left, lines = without_separators(text)
    if lines:
        text = told("separators", text, left)
    return text, changed


def _in_order(text: str, told: Callable[[str, str, str], str]) -> str:
    """The text with plain white space and without invisible characters; the latter are told."""
    text = text.replace("\u3000", " ").replace("\u00a0", " ").replace("\t", " ").replace("\r\n", "\n")
    # Printable is a plain space and whatever is neither separator, control, format, surrogate, private nor unassigned.
    if not text.replace("\n", " ").isprintable() or any(sign in text for sign in _PRINTABLE_YET_INVISIBLE):
        text = _LINE_BREAKS.sub("\n", text)
        visible = _INVISIBLE.sub("", text)
        if visible != text:
            text = told("invisible", text, visible)
        text = _SPACES.sub(" ", text)
    while "  " in text:
        text = text.replace("  ", " ")
    return "\n".join([line for part in text.split("\n") if (line := part.strip(" "))])


def strip_markup(text: str) -> str:
    """The text of an HTML fragment, blocks and <br> as line breaks; what is no tag, as a < b, stays as it is.

    The parser (selectolax) would give to a `<style>` or `<!--` that is never closed all that follows, and prose about web pages
    is full of them. So what hides text is taken out before, where it is closed, and stays as the words that it is where not.
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
    """A tag, or nothing where a quote in it is never closed: that too would take all that follows along."""
    return tag[1] or ""


def _without_hidden(text: str) -> str:
    """The text without scripts, styles and comments that are closed."""
    parts: list[str] = []
    place = 0
    ends = dict(_HIDDEN_ENDS)
    for beginning in _HIDDEN.finditer(text):
        name = beginning[1].lower()
        if beginning.start() < place or name not in ends:
            continue
        # From the dashes of <!-- on: <!--> is a comment.
        if end := ends[name].search(text, beginning.start() + 2):
            parts.append(text[place : beginning.start()])
            place = end.end()
        else:
            del ends[name]  # nothing further on is closed either: each end is looked for but once
    return "".join([*parts, text[place:]])


def visible(text: str) -> int:
    """Characters that are not white space."""
    return len(text) - text.count(" ") - text.count("\n")


def chinese(text: str) -> int:
    """Chinese characters (unified ideographs with extensions and compatibility forms)."""
    return len(text) - len(CHINESE.sub("", text))


def folded(text: str) -> str:
    """Letters and digits alone, without width and case: `“ＡＢ”，好！` -> `ab好`."""
    return _NOT_LETTERS.sub("", unicodedata.normalize("NFKC", text).lower())


def fingerprint(text: str) -> bytes:
    """Sixteen bytes that two documents share when they are the same but for width, case, punctuation and white space."""
    return _digest(folded(text))


def fingerprints(texts: Sequence[str]) -> list[bytes]:
    """The fingerprint of each text, many at once: what folds character by character is looked up in a table."""
    if not texts:
        return []
    batch = Batch.of(texts)
    fold = _foldings()[np.minimum(batch.points, 0xFFFF)]
    kept = fold < _TOGETHER
    letters = fold[kept].tobytes().decode("utf-32-le")
    ends = np.cumsum(kept)[batch.ends].tolist()
    together = np.logical_or.reduceat(fold == _TOGETHER, batch.starts).tolist()
    bounds = zip(texts, [0, *ends], ends, together, strict=False)
    return [_digest(folded(text) if whole else letters[start:end]) for text, start, end, whole in bounds]


def _digest(letters: str) -> bytes:
    return hashlib.blake2b(letters.encode(), digest_size=16).digest()


_TOGETHER = 0xFFFFFFFE
"""What a character folds to may depend on its neighbours, or is not one character: the text is folded as a whole."""
_GONE = 0xFFFFFFFF
_ALONE = (
    (0x0, 0xFF),
    (0x2000, 0x2BFF),
    (0x3000, 0x30FF),
    (0x3200, 0x9FFF),
    (0xAC00, 0xD7A3),
    (0xFE30, 0xFE6F),
    (0xFF00, 0xFFEF),
)
"""Ranges without characters that join the one before them, combining marks apart."""


@functools.cache
def _foldings() -> npt.NDArray[np.uint32]:
    """What each code point below 0x10000 folds to: a code point, _GONE or _TOGETHER."""
    table = np.full(0x10000, _TOGETHER, np.uint32)
    for first, last in _ALONE:
        for point in range(first, last + 1):
            plain = unicodedata.normalize("NFKC", chr(point))
            letters = folded(chr(point))
            # Letters of Hangul (0x1100 to 0x11FF) join into syllables.
            if len(letters) < 2 and not any(unicodedata.combining(part) or "\u1100" <= part <= "\u11ff" for part in plain):
                table[point] = ord(letters) if letters else _GONE
    return table
