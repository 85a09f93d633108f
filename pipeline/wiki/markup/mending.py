"""What removal leaves behind is mended: empty brackets, doubled punctuation, spaces before it. Runs last, after conversion.

    mend("柏林（，Berlin）是首都 ，，也是《》城市（）。")     ("柏林（Berlin）是首都，也是城市。", 5)

The number of repairs tells how much a page lost: it is a sign of quality.
"""

import re
from collections.abc import Callable

_PAIRS = ("（）", "()", "［］", "〔〕", "「」", "『』", "《》", "〈〉", "【】", "“”", "‘’")
_FILLING = r"[\s，、；：:,;·•－–—/]*+"
_EMPTY = re.compile(
    "|".join(
        # f() and main() are names of functions, and stay.
        (r"(?<![A-Za-z0-9_])" if pair == "()" else "") + re.escape(pair[0]) + _FILLING + re.escape(pair[1])
        for pair in _PAIRS
    )
)
_MAX_DEPTH = 3
# Each pattern begins where a run begins, or a long run would be looked at from each of its characters.
_LEADING = re.compile(
    r"([（「『《〈【〔])[ \t]*+[，、；：,;][ \t，、；：,;]*+|(?<![A-Za-z0-9_])(\()[ \t]*+[，、；,;][ \t，、；,;]*+"
)
_TRAILING = re.compile(r"(?<![ \t，、；,;])[ \t，、；,;]++(?=[）」』》〉】〕])|(?<![ \t，、；])[ \t，、；]++(?=\))")
_DOUBLED = re.compile(r"(?<!。)(?!。。。)[，、；：。](?:[ \t]*+[，、；：。！？])++")
_STRENGTH = "、，：；？！。"
_SPACE_BEFORE = re.compile(r"(?<![ \t])[ \t]++(?=[，。、；：！？（「『《〈【〔）」』》〉】〕”’])")
_SPACE_AFTER = re.compile(r"(?<=[（「『《〈【〔“‘，。、；：！？）」』》〉】〕])[ \t]++")
_SPACES = re.compile(r"(?<! ) {2,}+")
_WORD = re.compile(r"\w")


def mend(text: str) -> tuple[str, int]:
    """The mended text, without lines that hold no letter, and the number of repairs."""
    repairs = 0
    for _ in range(_MAX_DEPTH):
        text, number = _EMPTY.subn("", text)
        repairs += number
        if not number:
            break
    steps: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
        (_LEADING, lambda match: match[1] or match[2]),
        (_TRAILING, ""),
        (_SPACE_BEFORE, ""),
        (_DOUBLED, _strongest),
        (_SPACE_AFTER, ""),
        (_SPACES, " "),
    )
    for pattern, replacement in steps:
        text, number = pattern.subn(replacement, text)
        repairs += number
    return "\n".join(line.strip() for line in text.split("\n") if _WORD.search(line)), repairs


def _strongest(match: re.Match[str]) -> str:
    """Of several marks in a row the one that parts most. (。。。 is somebody's ellipsis, and is not matched.)"""
    return max(match[0].replace(" ", "").replace("\t", ""), key=_STRENGTH.index)
