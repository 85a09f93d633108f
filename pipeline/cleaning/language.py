"""Language and script of many texts at once, from their characters alone, without a model.

    text                                     language  script
    国务院总理在北京会见外宾。               zh        hans
    國務院總理在北京會見外賓。               zh        hant
    佢哋喺度食緊飯，唔好嘈。                 yue       hant
    学而时习之，不亦说乎？有朋自远方来……     lzh       hans
    東京都は日本の首都である。               ja        none
    3.14                                     none      none

A text with ideographs counts as Chinese unless there is strong evidence for another language: short texts are never dropped on
a guess. Scripts are distinguished by characters that only one of them uses, derived from OpenCC's tables and the two national
character sets: a character that OpenCC simplifies and that GB 2312 lacks is traditional; one that OpenCC converts to
traditional and that Big5 lacks is simplified. So 后, 云 and 里, which occur in both scripts, count for neither.
"""

import functools
import re
from collections.abc import Sequence

import numpy as np

from pipeline.arrays import Bytes, Flags, Ints, Strings
from pipeline.cleaning.characters import STOPWORDS, Batch, Class

LANGUAGES = ("zh", "yue", "lzh", "ja", "ko", "en", "other", "none")
SCRIPTS = ("hans", "hant", "mixed", "none")

CANTONESE = "嘅咗喺冇嘢啲唔哋嚟佢咁嗰乜啱瞓攞嘥嬲"
CLASSICAL = "之乎者也矣焉哉曰乃兮其吾汝"
"""Particles and pronouns that classical prose repeats."""
MODERN = "的了们們这這么麼吗嗎个個没沒很"
"""Characters that classical prose hardly ever has."""
_ENGLISH = frozenset("the of and to for that with by are from this it which his has".split())  # noqa: SIM905
_WORDS = re.compile(r"[a-z]+")

_SCRIPT_MARKS = 3
_PLAIN, _YUE, _LZH, _MODERN = range(4)


def detect(texts: Sequence[str]) -> tuple[Strings, Strings]:
    """Return the language (one of LANGUAGES) and the script (one of SCRIPTS) of each text."""
    batch = Batch.of(texts)
    counts = batch.counts
    han = counts[:, Class.HAN] + counts[:, Class.STOPWORD : Class.STOPWORD + len(STOPWORDS)].sum(axis=1)
    kana, hangul = counts[:, Class.KANA], counts[:, Class.HANGUL]
    alphabetic = counts[:, Class.LATIN] + counts[:, Class.LETTER]
    marks = _marks_of(batch)
    yue, lzh, modern = (marks[:, :, kind].sum(axis=1) for kind in (_YUE, _LZH, _MODERN))

    east_asian = han + kana + hangul
    # Three letters of an alphabet carry about as much as one ideograph.
    written = east_asian >= 0.3 * (east_asian + alphabetic / 3)
    chosen = [
        (east_asian + alphabetic == 0, "none"),
        (written & (hangul > 0.5 * east_asian), "ko"),
        # A shop called 鲜の每日, or an article that lists Japanese song titles, is Chinese.
        (written & (kana >= 4) & (kana > 0.2 * east_asian), "ja"),
        (written & (yue >= 2) & (yue >= 0.03 * han), "yue"),
        (written & (han >= 20) & (lzh >= 0.06 * han) & (modern <= lzh / 8), "lzh"),
        (written, "zh"),
    ]
    language = np.select([condition for condition, _ in chosen], [name for _, name in chosen], "other").astype("<U5")
    for number in np.flatnonzero((language == "other") & (counts[:, Class.LATIN] >= 0.9 * alphabetic)).tolist():
        language[number] = "en" if _is_english(texts[number]) else "other"
    for number in np.flatnonzero(language == "lzh").tolist():
        language[number] = "lzh" if sum(word in texts[number] for word in CLASSICAL) >= 3 else "zh"
    return language, _scripts(marks[:, 1].sum(axis=1), marks[:, 2].sum(axis=1), np.isin(language, ("zh", "yue", "lzh")))


def _scripts(simplified: Ints, traditional: Ints, chinese: Flags) -> Strings:
    """Return the script of each text, given its counts of characters that only one script uses.

    A text is mixed if its rarer script has at least three such characters (a name is not enough) and a tenth of all.
    """
    fewer = np.minimum(simplified, traditional)
    mixed = (fewer >= 3) & (fewer >= 0.1 * (simplified + traditional))
    found = np.select(
        [~chinese | (simplified + traditional == 0), mixed, simplified >= traditional], ["none", "mixed", "hans"], "hant"
    )
    return found.astype("<U5")


def _is_english(text: str) -> bool:
    words = _WORDS.findall(text[:10_000].lower())
    return sum(word in _ENGLISH for word in words) >= max(1, 0.08 * len(words))


def _marks_of(batch: Batch) -> Ints:
    """Count the marker characters of each text by script (neither, simplified, traditional) and language: (texts, 3, 4)."""
    kinds = _SCRIPT_MARKS * 4
    keys = batch.texts * np.int64(kinds) + _marks()[np.minimum(batch.points, 0xFFFF)]
    return np.bincount(keys, minlength=len(batch) * kinds).reshape(len(batch), _SCRIPT_MARKS, 4)


@functools.cache
def _marks() -> Bytes:
    """Return 4 * script (0 neither, 1 simplified, 2 traditional) + language of each code point below 0x10000: uint8."""
    table = np.zeros(0x10000, np.uint8)
    simplified, traditional = script_characters()
    table[[ord(character) for character in simplified]] = 4
    table[[ord(character) for character in traditional]] = 8
    for kind, characters in ((_YUE, CANTONESE), (_LZH, CLASSICAL), (_MODERN, MODERN)):
        table[[ord(character) for character in characters]] += np.uint8(kind)
    return table


@functools.cache
def script_characters() -> tuple[frozenset[str], frozenset[str]]:
    """Return the characters of the basic plane that only simplified and only traditional text uses."""
    import opencc

    ideographs = [chr(point) for first, last in ((0x3400, 0x4DBF), (0x4E00, 0x9FFF)) for point in range(first, last + 1)]
    lines = "\n".join(ideographs)  # one a line, so that no phrase rule applies
    to_simplified, to_traditional = (opencc.OpenCC(way).convert(lines).split("\n") for way in ("t2s", "s2t"))
    mainland, taiwan = (set(lines.encode(charset, "ignore").decode(charset)) for charset in ("gb2312", "big5"))
    traditional = {one for one, other in zip(ideographs, to_simplified, strict=True) if one != other} - mainland
    simplified = {one for one, other in zip(ideographs, to_traditional, strict=True) if one != other} - taiwan
    return frozenset(simplified - traditional), frozenset(traditional - simplified)
