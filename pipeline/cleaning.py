"""What is done to the text of every document: nothing that a reader of Chinese would miss.

    "﻿他说：“你好”。\\r\\n<p>ＡＢＣ&nbsp;</p>"   ->   "他说：“你好”。\\nＡＢＣ"      changed: invisible, html

Full-width punctuation stays as it is: folding widths, which other cleaners do (NFKC, ftfy), turns “，” into a comma. Width and
case are folded for `fingerprint` alone, which decides whether two documents are the same.
"""

import hashlib
import html
import re
import unicodedata

CHINESE = re.compile(r"[㐀-䶿一-鿿豈-﫿\U00020000-\U0003134F]+")
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\uffff]+"
)
_LINE_BREAKS = re.compile(r"\r\n?|[\x85\u2028\u2029]")
_SPACES = re.compile(r"[ \t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_AROUND_BREAKS = re.compile(r" ?\n[ \n]*")
_BLOCKS = (
    "address article aside blockquote body br caption center dd div dl dt fieldset figcaption figure footer form h1 h2 h3 h4 "
    "h5 h6 header hr html legend li main nav ol p pre section table tbody td tfoot th thead tr ul"
)
"""Elements that begin and end a line (td and th too: cells run together otherwise)."""
_INLINE = (
    "abbr audio base big bdi bdo button canvas cite code col colgroup data del dfn em embed font head iframe img input ins kbd "
    "label link map area mark meta noscript object option param rp rt ruby samp script select small source span strike strong "
    "style sub sup svg textarea time title tt var video wbr"
)
# What follows the < of a tag. A single letter with more than its name needs an attribute: in a<b and c>d it is a variable.
_TAG = (
    rf"/?(?:{'|'.join((_BLOCKS + ' ' + _INLINE).split())}|(?:o|v|w|st1):[a-z]\w*)(?:\s[^<>]*)?/?>"
    r"|/?[abipqsu](?:\s+[^<>]*=[^<>]*|\s*)/?>|!--|!doctype"
)
_MARKUP = re.compile(f"<(?:{_TAG})", re.IGNORECASE)
_STRAY = re.compile(f"<(?!{_TAG})", re.IGNORECASE)
_NOT_LETTERS = re.compile(r"[\W_]+")


def clean(text: str, markup: bool = False) -> tuple[str, set[str]]:
    """The cleaned text, and the names of the rules that changed it. `markup` says that the text may hold HTML."""
    changed = set()

    def note(rule: str, new: str) -> str:
        nonlocal text
        if new != text:
            changed.add(rule)
        return new

    if markup and ("<" in text or "&" in text):
        text = note("html", strip_markup(text))
    text = _LINE_BREAKS.sub("\n", text)
    text = note("invisible", _INVISIBLE.sub("", text))
    if not unicodedata.is_normalized("NFC", text):
        text = note("composed", unicodedata.normalize("NFC", text))
    return _AROUND_BREAKS.sub("\n", _SPACES.sub(" ", text)).strip(), changed


def strip_markup(text: str) -> str:
    """The text of an HTML fragment, blocks and <br> as line breaks; a < that begins no tag stays as it is."""
    if not _MARKUP.search(text):
        return html.unescape(text)
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(_STRAY.sub("&lt;", text))
    tree.strip_tags(["script", "style", "head"], recursive=True)
    for node in tree.css(_BLOCKS.replace(" ", ",")):
        node.insert_before("\n")
        node.insert_after("\n")
    return tree.body.text(separator="") if tree.body else ""


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
    return hashlib.blake2b(folded(text).encode(), digest_size=16).digest()
