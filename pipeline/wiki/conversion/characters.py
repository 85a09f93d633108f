"""Characters between the two scripts, by OpenCC's tables, in text of either script or of both.

    convert("岳飞是咸丰年间的人", "zh-tw")     ->  "岳飛是咸豐年間的人"
    convert("岳飛是咸豐年間的人", "zh-tw")     ->  "岳飛是咸豐年間的人"    already traditional: 岳 and 咸 stay
    convert("「沿著裡面走」", "zh-cn")         ->  "“沿着里面走”"

Some characters are in both scripts: 后 is "queen" in both, and in simplified text "after" (後) too. OpenCC takes all text for
simplified, which would turn 岳飛 into 嶽飛. So such a character changes only where the text around it is simplified.
"""

import functools
import re
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Bytes, CodePoints, Ints, Ints32, code_points, from_code_points
from pipeline.cleaning.language import script_characters
from pipeline.wiki.conversion.choices import chosen

if TYPE_CHECKING:
    from opencc import OpenCC

SIMPLIFIED = ("zh-hans", "zh-cn", "zh-sg", "zh-my")
"""Variants in simplified script; the others are in traditional script."""
_CLAUSES, _SENTENCES = "，；：、（）“”「」《》", "。！？\n"
"""What ends the stretch of text that tells the script of a place: a clause; where it tells nothing a sentence, then all."""

_GLYPHS = (
    "臺台 檯台 佈布 週周 瞭了 釐厘 箇個 汙污 溼濕 巖岩 嶽岳 鹹咸 豔艷 鉅巨 稜棱 燬毀 傢家 絃弦 燻熏 昇升 蒐搜 嚐嘗 剋克 "
    "侷局 衚胡 衕同 慼戚 滷鹵 幷并 簷檐 歎嘆 恒恆 卹恤 甕瓮 彿佛 彷仿 孃娘 唸念 俬私 餈糍 譭毀 蝨虱 揹背 嚥咽 篠筿 痺痹 "
    "捱挨 吒咤 柺拐 樸朴 鑑鑒 範范"
)
"""Traditional characters that OpenCC writes for simplified ones, and those that Wikipedia writes."""
_GLYPHS_OF = {
    "zh-hant": "佔占 洩泄 菸煙 綵彩 睪睾 鉤鈎",
    "zh-tw": "佔占 綵彩 賬帳",
    "zh-hk": "裡裏 敘敍 洩泄 菸煙 睪睾 鉤鈎",
    "zh-mo": "裡裏 敘敍 洩泄 菸煙 睪睾 鉤鈎",
}
_UNDOUBTED = {"zh-hk": "占", "zh-mo": "占"}
"""Characters of both scripts that a variant in traditional script does not use."""
_SIMPLER = "「“ 」” 『‘ 』’ ｢“ ｣” 砲炮 鎗枪 牠它 妳你 暱昵 瑯琅 衞卫 姪侄 粧妆 羗羌 効效 擧举 脇胁"
_ALWAYS = {
    "zh-hans": _SIMPLER,
    **dict.fromkeys(("zh-cn", "zh-sg", "zh-my"), f"{_SIMPLER} 矽硅 醯酰"),
    "zh-hant": "",
    "zh-tw": "着著 硅矽 酰醯 睾睪",
    "zh-hk": "裡裏 硅矽 雇僱",
    "zh-mo": "裡裏 硅矽 雇僱",
}
"""What a variant writes wherever it stands: quotation marks, forms that OpenCC does not simplify, elements."""
_BEFORE_LI, _AFTER_LI = "弗埃杰穆克达基扎戈伯茨塞赫", "诺奇姆德克古巴西奥亚斯希埃·"
"""Characters beside 里 in names of foreigners."""
_CLOSING = re.compile(r"’(?!(?<=[^\W\d_㐀-鿿]’)[^\W\d_㐀-鿿])")
"""A right quotation mark that is no apostrophe within a word: don’t."""
_PARTICLE = re.compile(
    "著"
    "(?:(?<!显著)|(?<=彰显著))"
    "(?<![名原编专译土卓昭较巨遗拙所撰合新]著)"
    "(?:(?<!论著)|(?<=[讨谈议理]论著))"
    "(?:(?![《〈])|(?<=[随伴循本揣]著))"
    "(?:(?!作|述|录|者|称|有[《〈多大一二三四五六七八九十数])|(?<=[志挥]著))"
    "(?:(?!名)|(?<=写著))"
    "(?:(?<=[㐀-鿿\x1e\x1f]著)|(?=[力眼手重陆装色火急迷想落实凉墨笔法]))"
)
"""著 that simplified text writes 着; 显著, 编著, 著名, 著《…》 and 著 as the first word of a clause are not.

Of 15,732 occurrences in simplified news, reviews, laws and articles, 43 go wrong; with OpenCC's t2s alone, which keeps 著,
13,313 do."""

_PARTICLE_INSIDE = re.compile(f"{_PARTICLE.pattern}(?=[㐀-鿿])")
"""What is left in a line that was simplified already: there a 著 at the end of a clause tells an author."""


def convert(text: str, variant: str) -> str:
    """Convert the characters of a text to a variant, quotation marks included."""
    return _simplified(text, variant) if variant in SIMPLIFIED else _traditional(text, variant)


def traditional(text: str, most: int = 1000) -> bool:
    """Return whether a text is in traditional script, by its first `most` characters."""
    return bool(text) and int(_scripts()[_in_plane(code_points(text[:most]))].sum()) < 0


@functools.cache
def opencc(config: str) -> "OpenCC":
    from opencc import OpenCC

    return OpenCC(config)


def _simplified(text: str, variant: str) -> str:
    new: str = opencc("t2s").convert(text)
    if "著" in new and variant != "zh-hans":
        lines = zip(text.split("\n"), new.split("\n"), strict=True)
        new = "\n".join([(_PARTICLE_INSIDE if a == b else _PARTICLE).sub("着", b) if "著" in b else b for a, b in lines])
    return _replaced(new, _ALWAYS[variant])


def _traditional(text: str, variant: str) -> str:
    new: str = opencc("s2t").convert(text)
    if new != text:
        new = _where_simplified(text, new, variant)
    if variant in ("zh-hk", "zh-mo"):
        new = _with_particles(new)
    return _quoted(_replaced(new, _ALWAYS[variant]))


def _with_particles(text: str) -> str:
    """Write 着 for the particle in traditional text, as Hong Kong does."""
    if "著" not in text:
        return text
    simplified = opencc("t2s").convert(text)
    if len(simplified) != len(text):
        return text
    parts, place = [], 0
    for match in _PARTICLE.finditer(simplified):
        parts.append(text[place : match.start()])
        place = match.end()
    return "着".join([*parts, text[place:]])


def _where_simplified(text: str, new: str, variant: str) -> str:
    """Take from `new` what is not in both scripts, and what is where the text around it is simplified.

    text, new: of equal length, since OpenCC replaces the characters of one script one by one.
    """
    old, now = code_points(text), code_points(new).copy()
    if len(old) != len(now):
        return "\n".join([_where_simplified(a, b, variant) for a, b in zip(text.split("\n"), new.split("\n"), strict=True)])
    choices = {place: ord(character) for place, character in chosen(text)}
    chosen_places = np.fromiter(choices, np.int64, len(choices))
    now[chosen_places] = list(choices.values())
    places = _in_plane(old)
    scripts = _scripts()[places]
    changed = np.flatnonzero(old != now)
    doubtful = (scripts[changed] == 0) & (old[changed] < 0x10000)
    for character in _UNDOUBTED.get(variant, ""):
        doubtful &= old[changed] != ord(character)
    if doubtful.any():
        kept = np.flatnonzero(doubtful)
        kept = kept[_votes(scripts, _borders()[places], changed[kept]) < 0]
        changed = np.delete(changed, kept)
    result = old.copy()
    changed = _without_names(old, now, changed)
    new_points = now[changed]
    # Rare characters become ones beyond the basic plane (㓆, 𠗣), which are in no table.
    glyphs = _glyphs(variant)[_in_plane(new_points)]
    result[changed] = np.where((new_points < 0x10000) & ~np.isin(changed, chosen_places), glyphs, new_points)
    return from_code_points(result)


def _votes(scripts: NDArray[np.int8], borders: Bytes, places: Ints) -> Ints32:
    """Return for each place whether its surroundings are simplified (> 0) or traditional (< 0).

    scripts, borders: (characters,); places: (n,) gives (n,)
    """
    total = np.concatenate(([0], np.cumsum(scripts, dtype=np.int32)))
    votes = np.zeros(len(places), np.int32)
    for level in (1, 2, 3):
        if not votes.all():
            ends = np.concatenate(([-1], np.flatnonzero(borders >= level), [len(scripts)]))
            after = np.searchsorted(ends, places)
            votes = np.where(votes == 0, total[ends[after]] - total[ends[after - 1] + 1], votes)
    return votes


def _without_names(old: CodePoints, now: CodePoints, changed: Ints) -> Ints:
    """Return the changed places without 里 in names of foreigners, which is no 裡: 埃里克, 比里奇."""
    inside = now[changed] == ord("裏")
    if inside.any():
        before, after = old[np.maximum(changed - 1, 0)], old[np.minimum(changed + 1, len(old) - 1)]
        names = np.isin(before, code_points(_BEFORE_LI)) | np.isin(after, code_points(_AFTER_LI))
        changed = changed[~(inside & names)]
    return changed


def _quoted(text: str) -> str:
    """Write quotation marks as traditional text does; apostrophes stay."""
    if "’" in text:
        text = _CLOSING.sub("』", text)
    return text.replace("“", "「").replace("”", "」").replace("‘", "『")


def _replaced(text: str, pairs: str) -> str:
    """Replace the first character of each pair by the second; fast if few of them occur."""
    for pair in pairs.split():
        if pair[0] in text:
            text = text.replace(pair[0], pair[1])
    return text


def _in_plane(points: CodePoints) -> CodePoints:
    """Return code points as indices of a table of the basic plane; its last entry stands for all others."""
    return np.minimum(points, 0xFFFF)


@functools.cache
def _scripts() -> NDArray[np.int8]:
    """Return 1 for each code point below 0x10000 that only simplified text uses, -1 for traditional, 0 for others.

    The second level of Big5 has rare forms such as 体, which traditional text does not use; 涂 (a surname) is one that it does.
    """
    table = np.zeros(0x10000, np.int8)
    simplified, traditional = script_characters()
    ideographs = [chr(point) for point in range(0x4E00, 0xA000)]
    pairs = zip(ideographs, opencc("s2t").convert("\n".join(ideographs)).split("\n"), strict=True)
    rare = [a for a, b in pairs if a != b and a.encode("big5", "ignore") >= b"\xc9\x40" and a not in "涂淀熏瓮洒沄"]
    table[[ord(character) for character in (*simplified, *rare)]] = 1
    table[[ord(character) for character in traditional]] = -1
    return table


@functools.cache
def _borders() -> Bytes:
    """Return 1 for each code point below 0x10000 that ends a clause, 2 for a sentence, 0 for others."""
    table = np.zeros(0x10000, np.uint8)
    table[code_points(_CLAUSES)], table[code_points(_SENTENCES)] = 1, 2
    return table


@functools.cache
def _glyphs(variant: str) -> CodePoints:
    """Return what a variant writes for each code point below 0x10000 that OpenCC makes of a simplified one."""
    ideographs = "".join(map(chr, range(0x3400, 0xA000)))
    table = np.arange(0x10000, dtype=np.uint32)
    table[0x3400:0xA000] = code_points(_replaced(opencc("t2tw").convert("\n".join(ideographs)).replace("\n", ""), _GLYPHS))
    for pair in _GLYPHS_OF[variant].split():
        table[table == ord(pair[0])] = ord(pair[1])
    return table
