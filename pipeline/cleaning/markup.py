"""HTML in text: whether there is any, and the text without it.

    <p>他说：&ldquo;你好&rdquo;</p><p>再见</p>        ->  他说：“你好”\\n再见
    北京&nbsp上海&amp;nbsp;广州                      ->  北京 上海 广州          no semicolon; escaped twice
    看图<img data-rawwidth="5                        ->  看图                    a tag that the text, or a line, is cut off in
    若a<b且c>d，AT&T                                 ->  若a<b且c>d，AT&T        no markup

The parser (selectolax) lets a `<style>` or `<!--` that is never closed swallow everything after it, and prose about web pages
is full of them. So scripts, styles and comments are removed first if they are closed, and kept as plain words if not.
"""

import functools
import html
import re
from html.entities import html5

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
_ELEMENTS = frozenset(f"{_BLOCKS} {_INLINE} {_SWALLOWING} a b i p q s u html head body script style svg".split())
_ATTRIBUTES = r"""(?:\s++[\w:-]++(?:=(?:"[^"<>]*+"|'[^'<>]*+'|[^\s"'<>]++))?+)*+\s*+/?+>"""
# What follows the < of a tag. One-letter tags with more than a name need an attribute: in a<b and c>d, b is a variable.
_TAG = (
    rf"/?(?:{'|'.join((_BLOCKS + ' ' + _INLINE + ' ' + _SWALLOWING).split())}|(?:o|v|w|st1):[a-z]\w*+)(?:[\s/][^<>]*+)?+>"
    r"|/?[abipqsu](?:\s++[^<>=]*+=[^<>]*+|\s*+/?+)>|/(?:script|style)\s*+>|!doctype[^<>]*+>"
)
_STRAY = re.compile(f"<(?!{_TAG})", re.IGNORECASE)
_COMMONEST = ("<p>", "</p>", "<br>", "<br/>")
_PLAIN_BLOCKS = re.compile(f"</?(?:{'|'.join(_BLOCKS.split())}){_ATTRIBUTES}", re.IGNORECASE)
_PLAIN_INLINE = re.compile(
    f"</?(?:strong|span|font|b|i|u|em|a|sub|sup|img){_ATTRIBUTES}|</?(?:{'|'.join(_SWALLOWING.split())})(?:[\\s/][^<>]*+)?+>",
    re.IGNORECASE,
)
"""Tags that become a line break, or nothing: most pages of crawled corpora contain no others."""
_NO_TAG = "\ufdd0"
"""Stands for a < that starts no tag, a noncharacter until tags are gone: a quote in a tag must not go on beyond it."""
_ANY_TAG = re.compile(rf"""(<(?:[^<>"']++|"[^"<\n{_NO_TAG}]*+"|'[^'<\n{_NO_TAG}]*+')*+>)|<[^<>]*+>""")
_HIDDEN = re.compile(r"<(!--|script(?=[\s/>])|style(?=[\s/>]))", re.IGNORECASE)
_HIDDEN_ENDS = {
    "!--": re.compile("--!?>"),
    "script": re.compile(r"</script\s*+>", re.IGNORECASE),
    "style": re.compile(r"</style\s*+>", re.IGNORECASE),
}
_HEAD = re.compile(
    r"\s*+(?:<!doctype[^<>]*+>\s*+)?+(?:<html(?:\s[^<>]*+)?+>\s*+)?+<head(?:\s[^<>]*+)?+>"
    r"(?:\s|<title(?:\s[^<>]*+)?+>[^<]*+</title\s*+>|<(?!/head)[^<>]*+>)*+</head\s*+>",
    re.IGNORECASE,
)
"""The head of a page, if it contains no text except the title."""

_WITHOUT_SEMICOLON = "|".join(sorted((name for name in html5 if not name.endswith(";")), key=len, reverse=True))
_ENTITY = re.compile(
    f"&(?:#[0-9]{{1,7}};?|#[xX][0-9A-Fa-f]{{1,6}};?|[A-Za-z][A-Za-z0-9]{{1,31}};|nbsp|(?:{_WITHOUT_SEMICOLON})(?![A-Za-z0-9=]))"
)
"""An entity. One that HTML allows without semicolon must not go on as the parameter of an address does: &copy=2"""
_HTML = re.compile(f"</?[A-Za-z][^<>]*+>|<!--|{_ENTITY.pattern}")
_MARKDOWN = re.compile(r"^(?:#{1,6} \S|```|~~~)", re.MULTILINE)
_WIDE_ENTITY = re.compile("[&＆](#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31})[;；]")
_SURROGATE_PAIR = re.compile(r"&#(x[dD][89abAB][0-9a-fA-F]{2}|5[56]\d{3});&#(x[dD][c-fC-F][0-9a-fA-F]{2}|5[67]\d{3});")
_MOST_LEVELS = 8
"""Times that a text may have been escaped."""
_ESCAPED_PAGE = re.compile(rf"\s*+<({'|'.join(_BLOCKS.split())})(?:\s[^<>]*+)?+>", re.IGNORECASE)

_CUT_OFF = re.compile(
    rf"<(?:{'|'.join(sorted(_ELEMENTS, key=len, reverse=True))})"
    r"""(?:[^\S\n]++[\w:-]++(?:=(?:"[^"<>\n]*+"?+|'[^'<>\n]*+'?+|[^\s"'<>]*+))?+)++[^\S\n]*+$(?![^<>]*+>)""",
    re.IGNORECASE | re.MULTILINE | re.ASCII,
)
"""A tag without its end, at the end of a line: texts are cut at a number of characters, before or after they are joined."""
_KNOWN_ATTRIBUTE = re.compile(
    r"\s(?:class|href|src|style|id|target|rel|title|alt|width|height|name|type|align|color|size|border|data-[\w-]+)(?![\w-])",
    re.IGNORECASE,
)
_BEFORE_BREAKS = frozenset("\n\u3000>。！？；…”’）】」』")
"""Characters before a tag that breaks a line, also as the one that ended the line before it."""
_ALONE = re.compile(
    r"<(?:[!/]|(?:br|hr|p|li|d[dt]|t[rdh]|img|input|link|meta|wbr|col|area|base|embed|source|script|style|option)(?![\w-]))",
    re.IGNORECASE,
)
"""The beginning of a tag that need not be closed."""


def holds_html(text: str) -> bool:
    """Return whether a text has tags or entities."""
    if ("<" in text or "&" in text) and (_HTML.search(text) or _without_cut_off(text) != text):
        return True
    return "＆" in text and _WIDE_ENTITY.search(text) is not None


def is_element(name: str) -> bool:
    """Return whether HTML has an element of this name."""
    return name.lower() in _ELEMENTS


def is_markdown(text: str) -> bool:
    """Return whether a text is Markdown, which quotes tags as its subject."""
    return ("#" in text or "```" in text or "~~~" in text) and _MARKDOWN.search(text) is not None


def strip_markup(text: str) -> str:
    """Return the text of an HTML fragment, with line breaks for blocks and <br>. What is not a tag, as in a < b, stays.

    Entities are replaced as often as the text was escaped. If all tags of a page were escaped with it, they are tags. Tags that
    prose is about (用 <div> 分区) stay: in markup, one of them would be closed, or stand alone.
    """
    if "<" in text:
        text = _without_cut_off(text)
    if "<" not in text:
        text = _unescaped(text)
        if "<" not in text or not _were_tags(text):
            return text
    elif "</" not in text and not _ALONE.search(text) and not text.lstrip().startswith("<"):
        return _unescaped(text)
    return _unescaped(_without_tags(text))


def _without_cut_off(text: str) -> str:
    """Remove tags that a line ends in; prose has no attributes behind a <."""
    return _CUT_OFF.sub(lambda tag: "" if _KNOWN_ATTRIBUTE.search(tag[0]) else tag[0], text)


def _were_tags(text: str) -> bool:
    """Return whether tags that were escaped are markup: they make a page, or all break lines where sentences end."""
    if (page := _ESCAPED_PAGE.match(text)) and f"</{page[1]}" in text[page.end() :]:
        return True
    places = [found.start() for found in _PLAIN_BLOCKS.finditer(text)]
    return bool(places) and all(place == 0 or text[place - 1] in _BEFORE_BREAKS for place in places)


def _unescaped(text: str) -> str:
    """Replace entities by their characters, also those without semicolon, with a full-width one, or escaped again."""
    for _ in range(_MOST_LEVELS if "&" in text or "＆" in text else 0):
        if "&#" in text:
            text = _SURROGATE_PAIR.sub(_joined_surrogates, text)
        if "；" in text or "＆" in text:
            text = _WIDE_ENTITY.sub(_plain_entity, text)
        before, text = text, _ENTITY.sub(_character, text)
        if text == before or "&" not in text:
            break
    return text


def _character(entity: re.Match[str]) -> str:
    return _unescape(entity[0])


_unescape = functools.lru_cache(maxsize=4_096)(html.unescape)
"""A few entities occur again and again."""


def _joined_surrogates(pair: re.Match[str]) -> str:
    """Return the character that is written as two halves of UTF-16: &#55357;&#56832; -> 😀"""
    high, low = (int(half[1:], 16) if half[0] == "x" else int(half) for half in pair.groups())
    if not (0xD800 <= high < 0xDC00 <= low < 0xE000):
        return pair[0]
    return chr(0x10000 + (high - 0xD800 << 10) + low - 0xDC00)


def _plain_entity(entity: re.Match[str]) -> str:
    """Return an entity whose & or ; is full-width with plain ones, if it is an entity: ＆nbsp； -> &nbsp;"""
    known = entity[1][0] == "#" or f"{entity[1]};" in html5
    return f"&{entity[1]};" if known else entity[0]


def _without_tags(text: str) -> str:
    """Remove tags, scripts, styles and comments; entities stay, unless the parser is needed."""
    for tag in _COMMONEST:
        text = text.replace(tag, "\n")
    if "<" in text:
        text = _without_hidden(text)
        if head := _HEAD.match(text):
            text = text[head.end() :]
        text = _PLAIN_INLINE.sub("", _PLAIN_BLOCKS.sub("\n", _STRAY.sub(_NO_TAG, text)))
    if "<" not in text:
        return text.replace(_NO_TAG, "&lt;")
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(_ANY_TAG.sub(_whole, text).replace(_NO_TAG, "&lt;"))
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
