"""Unicode: what a text's odd characters become. Invisible ones go, look-alikes become what they stand for, emoji stay whole.

    图书\\u200b馆 葛\\U000e0100 \\u2f00\\u2f08         ->  图书馆 葛 一人       zero-width space, variation selector, radicals
    👩\\u200d⚕\\ufe0f                         ->  👩\\u200d⚕             a sequence keeps its joiner, and loses its selector
    第一页\\x0c第二页                      ->  第一页\\n第二页          a form feed ends a line, as str.splitlines() has it
    他说\\ufffd\\ufffd                          ->  他说\\ufffd\\ufffd           what decoding has lost is no white space

Width is kept: NFKC would turn “，” into a comma. Of its compatibility forms only those are replaced that stand for ordinary
letters because a PDF's font says so: radicals that stand for ideographs, and Latin ligatures.
"""

import re
import unicodedata
from collections.abc import Callable

ChangedBy = Callable[[str, str, str], str]
"""Notes that a rule changed a text (rule, before, after); returns the text after it."""

_RADICALS = (
    "⺁厂⺂乛⺃乚⺄乙⺅亻⺆冂⺇𠘨⺈刀⺉刂⺊卜⺋㔾⺌小⺍小⺎兀⺏尣⺐尢⺑𡯂⺒巳⺓幺⺔彑⺕彐⺖忄⺗心⺘扌⺙攵⺛旡⺜日⺝月⺞歺⺟母⺠民⺡氵⺢氺⺣灬⺤爫⺥爫"
    "⺦丬⺧牛⺨犭⺩王⺪𤴔⺫目⺬示⺭礻⺮𥫗⺯糹⺰纟⺱罓⺲罒⺳㓁⺴冗⺵𦉫⺶羊⺷𦍌⺸𦍋⺹耂⺺肀⺻聿⺼肉⺽𦥑⺾艹⺿艹⻀艹⻁虎⻂衤⻃覀⻄西⻅见⻆角⻇𧢲"
    "⻈讠⻉贝⻊𧾷⻋车⻌辶⻍辶⻎辶⻏邑⻐钅⻑長⻒镸⻓长⻔门⻕𨸏⻖阝⻗雨⻘青⻙韦⻚页⻛风⻜飞⻝食⻞𩙿⻟飠⻠饣⻡𩠐⻢马⻣骨⻤鬼⻥鱼⻦鸟⻧卤⻨麦⻩黄⻪黾"
    "⻫斉⻬齐⻭歯⻮齿⻯竜⻰龙⻱龜⻲亀⻳龟"
)
"""Pairs of a radical of the block CJK Radicals Supplement and the ideograph that it stands for (Unicode Character Database,
EquivalentUnifiedIdeograph.txt). U+2E80 and U+2E9A have none."""
_KANGXI = (0x2F00, 0x2FD5)
_LIGATURES = (0xFB00, 0xFB06)
_STANDS_FOR: dict[int, str] = {
    **{ord(radical): ideograph for radical, ideograph in zip(_RADICALS[::2], _RADICALS[1::2], strict=True)},
    **{
        point: unicodedata.normalize("NFKC", chr(point))
        for first, last in (_KANGXI, _LIGATURES)
        for point in range(first, last + 1)
    },
}
_COMPATIBILITY = re.compile("[\u2e81-\u2fd5\ufb00-\ufb06]")

# Joiners (U+200D) and tags (U+E0020 to U+E007F) are left to _without_loose_parts: emoji are made with them.
_NONCHARACTERS = "\ufdd0-\ufdef\ufffe\uffff" + "".join(
    f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(1, 15)
)
_INVISIBLE_POINTS = (
    "\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200c\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\ud800-\udfff\ue000-\uf8ff\ufe00-\ufe0f\ufeff\ufff0-\ufffc\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e001f\U000e0080-\U000e0fff\U000f0000-\U0010ffff"
)
_INVISIBLE = re.compile(f"[{_INVISIBLE_POINTS}{_NONCHARACTERS}]+")
"""Control and format characters, whatever Unicode calls Default_Ignorable, all variation selectors, noncharacters, lone
surrogates and private-use characters. Not U+FFFD: it says that a character was there."""
_PRIVATE_IN_NUMBER = re.compile("(?<=[0-9０-９])[\ue000-\uf8ff](?=[0-9０-９])")
"""A private-use character that stands for a decimal point or the like: without it 103.5 would become 1035."""
_LINE_BREAKS = re.compile(r"\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_SPACES = re.compile(r"[ \t\u00a0\u1680\u2000-\u200a\u202f\u205f\u2800\u3000\u3164\uffa0]+")
"""White space, and three blanks that Unicode counts as letters or signs: an empty braille cell, and fillers of Hangul."""
_ODD = re.compile(
    "[^\n\x20-\x7e\u00a1-\u00ac\u00ae-\u034e\u0350-\u061b\u061d-\u115e\u1161-\u167f\u1681-\u17b3\u17b6-\u180a\u1810-\u1fff"
    "\u2010-\u2027\u2030-\u205e\u2070-\u27ff\u2801-\u2e80\u2fd6-\u3163\u3165-\ud7ff\uf900-\ufaff\ufb07-\ufdcf\ufdf0-\ufdff"
    "\ufe10-\ufefe\uff00-\uff9f\uffa1-\uffef\ufffd]"
)
"""Whatever this module may change, and all characters beyond the basic plane: as the complement of what it never changes, since
`re` looks up a set of the basic plane in a bitmap, and a larger one range by range."""

_EMOJI = "\u00a9\u00ae\u203c\u2049\u20e3\u2122-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_LOOSE_JOINERS = re.compile(f"(?<![{_EMOJI}])\u200d+|\u200d+(?![{_EMOJI}\u200d])")
_TAGS = re.compile("(\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f)|[\U000e0020-\U000e007f]+")
"""A flag of a region such as Scotland, made of a black flag and tags; other tags."""


def tidy(text: str, changed_by: ChangedBy) -> str:
    """Normalise white space, and replace or remove odd characters; the latter are noted as `invisible` or `compatibility`."""
    text = text.replace("\u3000", " ").replace("\u00a0", " ").replace("\t", " ").replace("\r\n", "\n")
    if _ODD.search(text):
        text = _LINE_BREAKS.sub("\n", text)
        visible = _without_loose_parts(_INVISIBLE.sub("", _PRIVATE_IN_NUMBER.sub("\ufffd", text)))
        if visible != text:
            text = changed_by("invisible", text, visible)
        if _COMPATIBILITY.search(text):
            text = changed_by("compatibility", text, text.translate(_STANDS_FOR))
        text = _SPACES.sub(" ", text)
    while "  " in text:
        text = text.replace("  ", " ")
    return "\n".join([line for part in text.split("\n") if (line := part.strip(" "))])


def _without_loose_parts(text: str) -> str:
    """Remove joiners and tags that are not part of an emoji: 👨\u200d👩 stays whole, 中\u200d文 becomes 中文."""
    if "\u200d" in text:
        text = _LOOSE_JOINERS.sub("", text)
    return _TAGS.sub(lambda tags: tags[1] or "", text)
