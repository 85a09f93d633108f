"""What a text is, beyond prose: verse, dialogue or classical Chinese. Rules that were made for prose do not judge these.

    床前明月光 / 疑是地上霜 / 举头望明月 / 低头思故乡       verse       short lines of one length, or of the words of songs
    甲：在吗 / 乙：在的 / 甲：周末去爬山吗                dialogue    few speakers who speak again and again
    环滁皆山也。其西南诸峰，林壑尤美……                   classical   by its particles (language.py: lzh)
    直导柱 D16 12.50元 / 带肩导套 D20 8.60元             prose       a list: no form of its own

A list of names or goods also has short lines without punctuation. What tells verse from it: lines of nearly one length and of
ideographs only, or as many pronouns and particles as people use when they speak (我 你 的 了 不). What tells dialogue from a
table of properties: the names before the colons come back.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.arrays import Array, Strings
from pipeline.cleaning.characters import IDEOGRAPHS

FORMS = ("prose", "verse", "dialogue", "classical")

SPOKEN = frozenset(
    "我你他她它您咱们們的了着著过過吗嗎吧呢啊呀哦嗯哈嘛啦是不没沒在有就都也还還要会會想说說去来來这這那谁誰什么麼怎一个個和把被让讓給给里裡得地"
)
"""Pronouns, particles and the commonest verbs: every fourth character of speech and songs, every tenth of headlines."""
OLD = frozenset("不有无無何人来來去此与與相自欲又似应應见見知归歸还還谁誰却卻且犹猶已未复復独獨更几幾今我长長难難莫须須休")
"""What the songs of Tang and Song are full of, besides moon and wind."""
MIN_LINES = 4
MAX_MEAN_LINE = 30
"""Characters per line up to which a text can be verse or dialogue; others are prose without a closer look."""
MAX_VERSE_LINE = 24
MAX_SUNG_LINE = 15
"""Mean characters of a line of songs and of talk."""
_LEAST, _SONG, _TALK, _OLD = 0.12, 0.22, 0.26, 0.2
"""Ratios of characters of SPOKEN in lines with speakers, in songs and in talk without speakers; of OLD in old songs."""
_MIN_DISTINCT = 20
_METRES = frozenset((4, 5, 6, 7, 8, 10, 12, 14, 16))
"""Characters of a line of regular verse, or of a couplet on one line."""
_SPEAKER = re.compile(r"([^\s:：,，。！？!?、；;\d]{1,10}) ?[（(]?[^()（）\n:：]{0,12}[)）]?[:：](?!//)")
_QUOTED = ("“", "「", "『", '"', "——", "－－", "- ")
_HAN = re.compile(f"[{IDEOGRAPHS}]")
_MARKS = re.compile(r"[\s，。！？；：、,.!?;:…—~～\-“”‘’\"'「」『』《》（）()·]+")
_MEMORY = 400
"""Lines that are looked at: more tell nothing new."""


def recognise(texts: Sequence[str], languages: Strings, measures: Mapping[str, Array]) -> Strings:
    """Return the form of each text, one of FORMS. `measures` are those of quality.py."""
    forms = np.full(len(texts), "prose", "<U9")
    forms[languages == "lzh"] = "classical"
    lined = (measures["lines"] >= MIN_LINES) & (measures["mean_line_length"] <= MAX_MEAN_LINE)
    for number in np.flatnonzero(lined).tolist():
        lines = [line for line in texts[number].split("\n", _MEMORY)[:_MEMORY] if line]
        if form := _form_of(lines):
            forms[number] = form
    return forms


def _form_of(lines: Sequence[str]) -> str:
    """Return `verse` or `dialogue` for such lines, "" for others."""
    if _has_speakers(lines):
        return "dialogue"
    bare = [_MARKS.sub("", line) for line in lines]
    short = [line for line in bare if line and len(line) <= MAX_VERSE_LINE]
    letters = "".join(short)
    if len(short) < max(MIN_LINES, 0.85 * len(lines)) or len(_HAN.findall(letters)) < 0.95 * len(letters):
        return ""
    if _is_regular(short):
        return "verse"
    if len(letters) > MAX_SUNG_LINE * len(short) or len(set(letters)) < _MIN_DISTINCT:
        return ""
    ratio = spoken(letters)
    if sum(any(mark in line for mark in "，。？！,?!") for line in lines) >= 0.3 * len(lines):
        return "dialogue" if ratio >= _TALK else "verse" if _is_old(letters) else ""
    return "verse" if ratio >= _SONG or _is_old(letters) else ""


def _has_speakers(lines: Sequence[str]) -> bool:
    """Return whether most lines begin with a speaker who speaks again, or with a quotation, and are spoken."""
    speakers = Counter(found[1] for line in lines if (found := _SPEAKER.match(line)))
    again = sum(number for number in speakers.values() if number > 1)
    few = again >= 0.5 * len(lines) and len(speakers) <= max(2, 0.4 * sum(speakers.values()))
    if few or sum(line.startswith(_QUOTED) for line in lines) >= 0.6 * len(lines):
        return spoken(_MARKS.sub("", "".join(lines))) >= _LEAST
    return False


def _is_regular(lines: Sequence[str]) -> bool:
    """Return whether most lines have one of two lengths, as in poems of five or seven characters, and different ends.

    Names of one kind of goods or firms begin or end alike.
    """
    lengths = Counter(map(len, lines)).most_common(2)
    if sum(number for _, number in lengths) < 0.85 * len(lines) or lengths[0][0] not in _METRES:
        return False
    return all(len({line[place] for line in lines}) >= 0.6 * len(set(lines)) for place in (0, -1))


def _is_old(text: str) -> bool:
    """Return whether a text has the words of old songs."""
    return sum(map(OLD.__contains__, text)) >= _OLD * len(text)


def spoken(text: str) -> float:
    """Return the ratio of characters that speech is full of."""
    return sum(map(SPOKEN.__contains__, text)) / max(1, len(text))
