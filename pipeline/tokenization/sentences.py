"""Split text into sentences, by rules for Chinese.

    他说：“你好！”我没回答……价格是3.5元。Mr. Smith arrived. 见 http://a.cn/?x=1 他来了.迈克.乔丹也来了.
    -> 他说：“你好！” | 我没回答…… | 价格是3.5元。 | Mr. Smith arrived. | 见 http://a.cn/?x=1 他来了. | 迈克.乔丹也来了.

A sentence ends after 。！？；… and the closing quotes and brackets that follow, at a line break, and after ASCII . ! ? ; or a
full-width ． unless they may be part of a number, an address, an abbreviation or a name. Only white space at the edges of
sentences is lost.
"""

import re

import numpy as np

from pipeline.arrays import Ints, code_points

LIMIT = 256
"""Characters of the longest sentence. Longer ones are cut."""

BREAKS = "\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
"""Characters that end a line, those of str.splitlines(), as part of a regular expression's character set."""
_STOPS = "。！？；｡…⋯"
_CLOSERS = "”’」』）】》〉〕］｝〗｣"
_OPENERS = '“‘「『（【《〈"'
_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_NUMERALS = "一二三四五六七八九十百〇零壹贰叁肆伍陆柒捌玖拾甲乙丙丁戊己庚辛壬癸"
"""What numbers a heading: 一.总则, 第三.结论."""
_NAMES = (
    "阿埃艾爱安奥巴拜班邦鲍贝本比彼宾波伯博布查达戴丹道德登迪蒂丁东杜多厄恩尔法凡菲费芬佛弗福富盖甘冈高戈格葛贡古哈海汉豪赫亨洪胡怀霍基吉加贾杰金久卡"
    "凯坎康考科柯克肯孔库拉莱赖兰朗劳勒雷黎里李利莉立丽林琳龙卢鲁路伦罗洛吕马玛迈曼芒毛梅门蒙米密敏明摩莫默姆木穆纳娜南内妮尼宁纽诺欧帕潘庞佩彭皮平"
    "普齐奇契恰乔钦琼丘让热日茹瑞若萨塞桑瑟森沙山尚绍舍申圣施史士舒斯松苏索塔太泰坦汤唐陶特滕提廷图托陀瓦万旺威韦维文翁沃乌武伍西希锡夏香肖谢辛欣休许"
    "雅亚延扬杨耶叶伊英尤于约泽扎詹珍朱祖兹佐翰蜜华盛顿因吐温茨夫廉莎列白根逊琪芙蕾芭黛丝珊崔诗京"
)
"""Characters that spell foreign names, which a full stop may part: 迈克.乔丹."""
_NO_HEADING = (
    rf"(?<![^{_HAN}][{_NUMERALS}].)(?<!\A[{_NUMERALS}].)(?<![第十][{_NUMERALS}].)(?<![{_NUMERALS}]十.)"
    rf"(?<![{_NUMERALS}0-9０-９][)）〕】].)"
)
_NO_NAME = rf"(?! (?<=[{_NAMES}][{_NAMES}].) [{_NAMES}]{{2}} | (?:中国|公司|网络|网址|政务|公益) (?![{_HAN}]) )"
"""The stop parts neither a name nor a domain: 例子.中国"""
_ABBREVIATIONS = (
    *("Mr", "Ms", "Mrs", "Dr", "Prof", "St", "Jr", "Sr", "vs", "etc", "No", "Inc", "Ltd", "Co", "Corp", "Fig", "al"),
    *("II", "III", "IV", "VI", "VII", "VIII", "IX", "XI", "XII"),  # numbered headings: II. 方法
)
_NO_ABBREVIATION = "".join(rf"(?<!\b{word}\.)" for word in _ABBREVIATIONS)

# The pattern starts with a set of characters and only then tests which one it was, so that `re` skips all others quickly.
_END = re.compile(
    rf"""
    [{BREAKS}{_STOPS}.．!?;]
    (?:
      (?<=[{BREAKS}]) [{BREAKS}]*
    | (?<=[{_STOPS}]) [{_STOPS}]* [!?]* [{_CLOSERS})\]]* (?: [{_STOPS}]+ [!?]* [{_CLOSERS})\]]* )*
    # A run of . ! ? is only tried from its first sign. If that fails the others would too, in quadratic time.
    | (?: (?<=\.) (?<!\.\.) \.{{2,}} | (?<=[{_HAN}{_CLOSERS}][!?]) [!?]* ) [{_CLOSERS}]* (?= [\s{_HAN}“‘「『（【《"] )
    # A full stop or semicolon in Chinese: not in a name, nor after the number of a heading; at most closers follow.
    | (?<=[{_HAN}{_CLOSERS}%％℃)][.．;]) {_NO_HEADING} {_NO_NAME} [{_CLOSERS}]* (?= [\s{_HAN}{_OPENERS}] | \d{{1,4}}[年月日] )
    | (?<=[!?]) (?<![!?][!?]) [!?]* [{_CLOSERS})\]"']* (?=\s)
    # A full stop: not after a single letter (J. Smith, U.S.; in 张J. too: ASCII), a digit (1. 引言) or an abbreviation.
    | (?a: (?<=\.) (?<!\b[A-Za-z]\.) (?<![0-9.]\.) {_NO_ABBREVIATION} ) {_NO_HEADING} [{_CLOSERS})\]"']* (?=\s)
    )
    """,
    re.VERBOSE,
)
_BREAK_POINTS = [point for point in range(0x2030) if re.match(f"[{BREAKS}]", chr(point))]
_PAUSE = re.compile(r"[，、：]|,(?![0-9])|\s")


def sentence_ends(text: str, limit: int = LIMIT) -> Ints:
    """Return the end (exclusive) of each sentence, (sentences,), rising; the last is the length of the text.

    White space between sentences belongs to one of them, and some sentences are only white space. Without it no sentence has
    more than `limit` characters: longer ones are cut after the last ， 、 ： or white space within the limit, or else at it.
    Documents may be joined by line breaks; the result for each does not depend on the others.
    """
    ends = np.array([match.end() for match in _END.finditer(text)], np.int64)
    if len(ends) == 0 or ends[-1] != len(text):
        ends = np.append(ends, len(text)) if text else ends
    if '"' in text:
        ends = _with_quotes(text, ends)
    long = np.flatnonzero(np.diff(ends, prepend=0) > limit)
    if len(long):
        cuts = [cut for end in long.tolist() for cut in _cuts(text, int(ends[end - 1]) if end else 0, int(ends[end]), limit)]
        ends = np.unique(np.concatenate((ends, np.array(cuts, np.int64))))
    return ends


def _with_quotes(text: str, ends: Ints) -> Ints:
    """Move the end of a sentence, given by `ends` (sentences,), behind an ASCII " that closes it.

    An opening and a closing " look the same. After a full stop it closes if an odd number of them precede it in its line.
    """
    points = code_points(text)
    quotes = np.flatnonzero(points == ord('"'))
    # The start of the line in which each sentence ends.
    line_starts = np.append(0, ends[np.isin(points[ends - 1], _BREAK_POINTS)])
    line_starts = line_starts[np.searchsorted(line_starts, ends, side="right") - 1]
    # Quotes from there to the end of the sentence.
    before = np.searchsorted(quotes, ends) - np.searchsorted(quotes, line_starts)
    closes = (np.append(points, 0)[ends] == ord('"')) & (before % 2 == 1)
    return np.unique(ends + closes)


def _cuts(text: str, start: int, end: int, limit: int) -> list[int]:
    """Return where to cut a long sentence [start, end)."""
    cuts: list[int] = []
    while True:
        while start < end and text[start].isspace():
            start += 1
        while start < end and text[end - 1].isspace():
            end -= 1
        if end - start <= limit:
            return cuts
        # Not in the first half, which could leave many tiny sentences.
        pauses = [match.end() for match in _PAUSE.finditer(text, start + limit // 2, start + limit + 1)]
        start = max((pause for pause in pauses if pause <= start + limit), default=start + limit)
        cuts.append(start)
