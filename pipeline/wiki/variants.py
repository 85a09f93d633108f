"""The written forms of Chinese, and OpenCC between them.

    to_variant("沿著資訊科技學系裡面的走廊", "zh-cn")  ->  "沿着资讯科技学系里面的走廊"
    to_variant("计算机里面的头发", "zh-tw")             ->  "計算機裡面的頭髮"
    script("這是一門社會科學")                          ->  "zh-hant"

Characters are converted, words are not (資訊 does not become 信息): the word tables of OpenCC (tw2sp, s2twp) were tried on
news, where they turn 核心 into 内核, 建立 into 创建, 工作文件 into 工作檔案. Words are the trade of the rules that editors
write, see rules.py.
"""

import functools
import operator
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opencc import OpenCC

VARIANTS = ("zh", "zh-hans", "zh-hant", "zh-cn", "zh-hk", "zh-mo", "zh-my", "zh-sg", "zh-tw")
"""MediaWiki's codes, in the order of its ZhConverter; `zh` is the text as it was written."""
FALLBACKS = {
    "zh": ("zh-hans", "zh-hant", "zh-cn", "zh-tw", "zh-hk", "zh-sg", "zh-mo", "zh-my"),
    "zh-hans": ("zh-cn", "zh-sg", "zh-my"),
    "zh-hant": ("zh-tw", "zh-hk", "zh-mo"),
    "zh-cn": ("zh-hans", "zh-sg", "zh-my"),
    "zh-sg": ("zh-my", "zh-hans", "zh-cn"),
    "zh-my": ("zh-sg", "zh-hans", "zh-cn"),
    "zh-tw": ("zh-hant", "zh-hk", "zh-mo"),
    "zh-hk": ("zh-mo", "zh-hant", "zh-tw"),
    "zh-mo": ("zh-hk", "zh-hant", "zh-tw"),
}
"""Whose text is shown where a variant has none (MediaWiki, includes/language/converters/ZhConverter.php)."""

_CONFIGS = {
    **dict.fromkeys(("zh-hans", "zh-cn", "zh-sg", "zh-my"), "t2s"),
    **dict.fromkeys(("zh-hant", "zh-tw"), "s2tw"),
    **dict.fromkeys(("zh-hk", "zh-mo"), "s2hk"),
}
_KEPT_ZHU = re.compile(
    r"(?<!彰显)(?<=显)著"
    r"|(?<=[名原编专译土卓昭较巨遗拙所撰合])著"
    r"|(?<![讨谈议理]论)(?<=论)著"
    r"|(?<![随伴循本揣])著(?=[《〈])"
    r"|(?<![志挥])著(?=作|述|录|者|称|有[《〈多大一二三四五六七八九十数])"
    r"|(?<!写)著(?=名)"
    r"|(?<![㐀-鿿\x1f])著(?![力眼手重陆装色火急迷想落实凉墨笔法])"
)
"""著 that stays 著 in simplified text: 显著, 编著, 著名, 著《…》, or the first word of a clause. Of 15,732 places in simplified
news, reviews, laws and articles about 50 go wrong, and 13,313 where all stay 著, as OpenCC's t2s has it."""


def to_variant(text: str, variant: str) -> str:
    """The text in a variant; `none` and `zh` change nothing.

    Traditional text has one character, 著, for the particle 着 and for 著 "to write, notable". Lines that were traditional get
    their 着 back; a line that is simplified already is left alone.
    """
    if variant in ("none", "zh"):
        return text
    new: str = _opencc(_CONFIGS[variant]).convert(text)
    if "著" in new and _CONFIGS[variant] == "t2s" and new != text:
        old_lines, lines = text.split("\n"), new.split("\n")
        return "\n".join(_with_particles(b) if "著" in b and a != b else b for a, b in zip(old_lines, lines, strict=True))
    return new


def script(text: str, most: int = 4000) -> str:
    """`zh-hans`, `zh-hant`, or `zh` where neither (or both alike) show in the first characters."""
    text = text[:most]
    simplified, traditional = _opencc("t2s").convert(text), _opencc("s2t").convert(text)
    differences = sum(map(operator.ne, text, traditional)) - sum(map(operator.ne, text, simplified))
    return "zh-hans" if differences > 0 else "zh-hant" if differences < 0 else "zh"


def _with_particles(line: str) -> str:
    kept = [match.start() for match in _KEPT_ZHU.finditer(line)]
    characters = list(line.replace("著", "着"))
    for place in kept:
        characters[place] = "著"
    return "".join(characters)


@functools.cache
def _opencc(config: str) -> "OpenCC":
    from opencc import OpenCC

    return OpenCC(config)
