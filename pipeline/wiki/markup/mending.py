"""Repair what removal left behind: empty brackets, doubled punctuation, spaces before punctuation. Runs last, after conversion.

    mend("柏林（，Berlin）是首都 ，，也是《》城市（）。")     ("柏林（Berlin）是首都，也是城市。", 5)

The number of repairs shows how much a page lost, which is a measure of its quality.
"""

import re
from collections.abc import Callable

_PAIRS = ("（）", "()", "［］", "〔〕", "「」", "『』", "《》", "〈〉", "【】", "“”", "‘’")
_FILLING = r"[\s，、；：:,;·•－–—/]*+"
_EMPTY = re.compile(
    "|".join(
        # f() and main() are function names and stay.
        (r"(?<![A-Za-z0-9_])" if pair == "()" else "") + re.escape(pair[0]) + _FILLING + re.escape(pair[1])
        for pair in _PAIRS
    )
)
_MAX_DEPTH = 3
# Each pattern only matches at the start of a run; otherwise a long run would be scanned again from each of its characters.
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
    """Return the repaired text, without lines that have no letter or digit, and the number of repairs."""
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
    """Return the strongest of several consecutive marks. (。。。, an improvised ellipsis, does not get here.)"""
    return max(match[0].replace(" ", "").replace("\t", ""), key=_STRENGTH.index)
