"""How much a web page looks like spam, spun text, advertising or a list: numbers, which rules of quality.py judge.

    title                           text                                    spam  spun  advertising  listing
    市区调整公交线路_万鼎体育官网       万鼎体育app下载：记者获悉，万鼎体育官网……      4     0     1            0.0
    娃娃菜的做法                     本文摘要：……沦为……本文关键词：娃娃,菜,的        0     5     0            0.1
    不锈钢水箱厂家_宏泽水箱             欢迎新老客户来电咨询！联系人：王经理……          0     0     31           0.2
    手机报价                        星河X20 8GB ￥2599 / 按价格：1000以下|……      0     0     0            0.9

spam            different phrases of phrases.SPAM, names of gambling sites, and a point for each that comes back three times
spun            signs of text made by a program: swapped words, a repeated summary, keywords cut by a segmenter, a stuffed title
advertising     points per 1,000 characters: 3 for a call to buy, 2 for talk of the firm, half a point for praise
listing         characters in lines that are no sentences / characters
"""

import functools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.arrays import Array, Strings
from pipeline.cleaning.characters import IDEOGRAPHS
from pipeline.cleaning.forms import spoken
from pipeline.cleaning.web import phrases
from pipeline.cleaning.web.lines import KEYWORDS, TITLE_PARTS, may_have_keywords

COLUMNS: list[tuple[str, pa.DataType]] = [(name, pa.float32()) for name in ("spam", "spun", "advertising", "listing")]

_SPAM = phrases.pattern(phrases.SPAM)
_SPUN = phrases.pattern(phrases.SPUN)
_SWAPPED, _PLAIN = phrases.pattern(phrases.SWAPPED), phrases.pattern(phrases.PLAIN)
_ADVERTISING = tuple(
    (phrases.pattern(table), weight) for table, weight in ((phrases.CALL, 3.0), (phrases.TALK, 2.0), (phrases.PRAISE, 0.5))
)
_PHONE, _CLINIC, _FIRM, _STUFFED = 2.5, 8.0, 3.0, 5.0
"""Points for a telephone number; and points per 1,000 characters for a clinic or firm in the title, and for a stuffed title."""
_TITLE_WORDS = re.compile("[_|｜,，、/ -]")
_TITLE = 200
"""Characters of a title that are looked at: its end, where the site is named."""
_AGAIN = 3
"""Occurrences from which a phrase counts once more as spam, and up to which an advertiser's phrase counts."""
_SMOOTHING = 300
"""Characters added to a text's length, so that one phrase does not condemn a short text."""
_LONG = 3_000
"""Characters of a text in which one phrase of each table may occur by chance."""
_COPIED = 0.12
"""Ratio of characters in clauses that were there before, from which a page is put together from copies."""
_MIN_COPIED = 60
_MIN_SWAPPED, _SWAPPED_TO_PLAIN = 4, 2.5
"""Different words of phrases.SWAPPED that a program leaves, and how many for each word of phrases.PLAIN."""
_ARTICLE = re.compile("^第[一二三四五六七八九十百0-9]{1,6}条", re.M)
_MIN_ARTICLES = 3
_STUFFED_CLAUSE = 0.04
"""Ratio of characters in one clause that comes back, from which a page is stuffed with it."""
_CUT_WORDS = frozenset("的了和与及有是在被也都将之又还‘’“”【】《》（）()、,，。？！?!「」")
"""What no one chooses as a keyword, but what a segmenter makes of a title."""
_CLOSING = "”’」』\"'）)】"
_END = re.compile(
    f"[。！？!?…；;：:.．](?:(?<=[。！？!?])[{_CLOSING}]*|(?<=…)…|(?<=[；;])$|(?<=.{{9}}[：:])$"
    f"|(?<=[.])(?<![.][.])[.](?![.])|(?<=[.])[.]{{3,}}|(?<=[{IDEOGRAPHS}”）)][.．])(?![.．A-Za-z0-9])[{_CLOSING}]*)"
)
"""The end of a sentence: a clause of a law or a step ends in ；, the sentence before such a list in ：.

All marks are in one set at the start: `re` is fast at skipping what is not in it."""
_MIN_CUT = 2
"""Lines that must be cut off for any to be the beginning of another page: a single one pauses."""
_LATIN = re.compile(r"[A-Za-z/_.:#*()\[\]{}<>=-]+")
_CODE = re.compile(f"\n([A-Za-z0-9]{{12,24}})(?=[{IDEOGRAPHS}])")
_IS_RANDOM = re.compile("(?=.*[0-9])(?=.*[a-z].*[A-Z].*[a-z].*[A-Z])")
"""Letters and digits at random before a line, with which programs make copies differ."""
_PINYIN = re.compile(
    f"[(（](?<=[{IDEOGRAPHS}].)(?:zh|ch|sh|[bpmfdtnlgkhjqxzcsryw])?[aeiouvüāáǎàēéěèīíǐìōóǒòūúǔùǖǘǚǜ]{{1,3}}(?:ng?|r)?[)）]"
)
"""A character with its sound behind it, as programs put it to make copies differ: 烟(yan)台市(shi)."""
_MIN_PINYIN = 5
_BEGINNING, _LONGEST_PHRASE = 100, 24
_MIN_CLAUSE, _MIN_HAN, _MIN_HEAD = 9, 6, 6
_CLAUSE = re.compile(f"[^，。？！；,?!;\n]{{{_MIN_CLAUSE},}}")
_HAN = re.compile(f"[{IDEOGRAPHS}]")
_MIN_ARTICLE = 250
"""Characters of sentences from which what follows the last one is taken for links below an article."""
_LONG_LINE = 40
_MIN_REST, _MAX_REST = 12, 8
_SPOKEN = 0.2
_FEW_STOPWORDS = {200: 2, 300: 4}
"""By the least length of a text: stop words up to which it is a list, however its lines end."""
_FOREIGN, _FOREIGN_STOPWORDS, _MIN_JUDGED = 0.3, 6, 200
"""Digits and Latin letters, stop words and length that a list of sizes and models has."""


def measure(
    pages: Sequence[tuple[str, str]],
    forms: Strings,
    scripts: Strings,
    measures: Mapping[str, Array],
    extra: Sequence[str] | None = (),
) -> dict[str, Array]:
    """Return the columns of COLUMNS, one value per page.

    Args:
        pages: titles and texts: cleaned, but with the names of sites and the keywords that lines.py removes: they tell most.
        forms: of forms.py. Verse and dialogue are no lists.
        scripts: of language.py. Words are looked for in simplified Chinese.
        measures: of quality.py.
        extra: phrases of spam besides phrases.SPAM. None: these are no web pages, and all values are 0.
    """
    if extra is None:
        return {name: np.zeros(len(pages), np.float32) for name, _ in COLUMNS}
    spam = phrases.pattern((*phrases.SPAM, *extra)) if extra else _SPAM
    simplified = [in_simplified(title, text, script) for (title, text), script in zip(pages, scripts.tolist(), strict=True)]
    foreign = measures["digit_share"] + measures["latin_share"]
    rows = [
        (
            _spam(title, text, spam),
            _spun(title, text, form),
            _advertising(title, text),
            _listing(text, stopwords, foreign) if form == "prose" else 0.0,
        )
        for (title, text), form, stopwords, foreign in zip(
            simplified, forms.tolist(), measures["stopwords"].tolist(), foreign.tolist(), strict=True
        )
    ]
    values = np.array(rows, np.float32).reshape(len(rows), len(COLUMNS))
    return {name: values[:, column] for column, (name, _) in enumerate(COLUMNS)}


def in_simplified(title: str, text: str, script: str) -> tuple[str, str]:
    """Return the end of a title and a text in simplified Chinese."""
    title = title[-_TITLE:]
    return (_simplify(title), _simplify(text)) if script in ("hant", "mixed") else (title, text)


def _simplify(text: str) -> str:
    return str(_converter().convert(text))


@functools.cache
def _converter() -> Any:
    import opencc

    return opencc.OpenCC("t2s")


def _spam(title: str, text: str, spam: re.Pattern[str]) -> float:
    page = f"{title}\n{text}"
    found = [*spam.findall(page), *phrases.site_names(page)]
    points = len(set(found)) + bool(phrases.SPAM_SITE.search(title))
    if len(found) >= _AGAIN:
        points += sum(number >= _AGAIN for number in Counter(found).values())
    points += page.count("官方网站") >= _AGAIN  # as if it were the name of someone who meets, speaks and visits
    return points / (1 + len(page) // _LONG)


def _spun(title: str, text: str, form: str) -> float:
    points = len(set(_SPUN.findall(text))) / (1 + len(text) // _LONG)
    points += 2 * phrases.has_summary(text) + 2 * any(map(_IS_RANDOM.match, _CODE.findall("\n" + text)))
    points += 2 * (len(_PINYIN.findall(text)) >= _MIN_PINYIN) + 2 * _is_swapped(text[:_LONG])
    for line in KEYWORDS.finditer(text) if may_have_keywords(text) else ():
        if _CUT_WORDS & set(re.split("[,，、 ]", line[1])):
            points += 3
            break
    points += 2 * _has_searched_words(text)
    head = TITLE_PARTS.split(title)[0].strip()
    if len(head) >= _MIN_HEAD and phrases.QUERY.search(head) and text.count(head) > _AGAIN:
        points += 3
    return points + (2 * _is_copied(text) if form == "prose" else 0)


def _is_swapped(text: str) -> bool:
    """Return whether a text has 假如, 全是, 早已 and the like, but hardly any 如果, 都是, 已经."""
    swapped = _SWAPPED.findall(text)
    return len(set(swapped)) >= _MIN_SWAPPED and len(swapped) >= _SWAPPED_TO_PLAIN * len(_PLAIN.findall(text))


def _has_searched_words(text: str) -> bool:
    """Return whether a text begins with phrases for search engines: 郑州网站优化技巧,互联网营销的方法,分析网站优缺点,……"""
    parts = text[:_BEGINNING].partition("\n")[0].replace("，", ",").split(",")[:-1]
    if len(parts) < 3:
        return False
    phrases_only = [part for part in parts[:4] if 3 <= len(part) <= _LONGEST_PHRASE and not _END.search(part)]
    return len(phrases_only) >= 3 and sum(bool(phrases.SEARCHED.search(part)) for part in phrases_only) >= 2


def _is_copied(text: str) -> bool:
    """Return whether many of the clauses were there before, or one comes back again and again, as they do only in laws."""
    if text.count("\n第") >= _MIN_ARTICLES - 1 and len(_ARTICLE.findall(text)) >= _MIN_ARTICLES:
        return False
    clauses = [clause for part in _CLAUSE.findall(text) if len(clause := part.strip()) >= _MIN_CLAUSE]
    if len(set(clauses)) == len(clauses):
        return False
    repeated = [
        (len(clause), number)
        for clause, number in Counter(clauses).items()
        if number > 1 and len(_HAN.findall(clause)) >= _MIN_HAN
    ]
    again = sum(length * (number - 1) for length, number in repeated)
    most = max((length * number for length, number in repeated if number > _AGAIN), default=0)
    stuffed = most > _STUFFED_CLAUSE * len(text) and len(text) <= _LONG
    return again > max(_MIN_COPIED, _COPIED * len(text)) or stuffed


def _advertising(title: str, text: str) -> float:
    page = f"{title}\n{text}"
    phones = min(_AGAIN, phrases.phone_numbers(page))
    points, different = _PHONE * phones, int(phones > 0)
    for words, weight in _ADVERTISING:
        if found := words.findall(page):
            numbers = Counter(found).values()
            different += len(numbers)
            points += weight * sum(min(_AGAIN, number) for number in numbers)
    return points * (1_000 if different > 1 else 500) / (len(page) + _SMOOTHING) + title_points(title)


def title_points(title: str) -> float:
    """Return the points for advertising that a title adds, whatever the text is."""
    clinic, firm = phrases.CLINIC.search(title), phrases.FIRM_SITE.search(title)
    return _CLINIC * bool(clinic) + _FIRM * bool(firm) + _STUFFED * _is_stuffed(title)


def _is_stuffed(title: str) -> bool:
    """Return whether three parts of a title have a word in common: 烧烤环境批发,烧烤环境供应,烧烤环境厂家."""
    parts = [part for part in _TITLE_WORDS.split(title) if len(part) >= 3]
    if len(parts) < 3:
        return False
    first = parts[0]
    return any(sum(first[start : start + 2] in part for part in parts) >= 3 for start in range(len(first) - 1))


def _listing(text: str, stopwords: int, foreign: float) -> float:
    """Return the ratio of characters outside sentences. Links below an article do not count.

    Args:
        stopwords: how many of the commonest words occur: prose has many, however its lines end.
        foreign: ratio of digits and Latin letters.
    """
    if len(text) >= _MIN_JUDGED and foreign >= _FOREIGN and stopwords <= _FOREIGN_STOPWORDS:
        return 1.0
    if any(len(text) >= length and stopwords <= few for length, few in _FEW_STOPWORDS.items()):
        return 1.0
    lines = [line for line in text.split("\n") if not _is_latin(line)]
    if may_have_keywords(text):
        lines = [line for line in lines if not KEYWORDS.match(line)]
    ends = [_end_of(line) for line in lines]
    # Beginnings of other pages, cut without a mark: most of the long lines have no end.
    rests = [len(line) - end for line, end in zip(lines, ends, strict=True) if len(line) >= _LONG_LINE]
    cut = sum(rest > _MAX_REST for rest in rests) >= max(3, 0.6 * len(rests))
    cuts = [_is_cut(line) for line in lines]
    of_cut = len if sum(cuts) < _MIN_CUT else _nothing
    sentences = [
        of_cut(line) if is_cut else _in_sentences(line, end, cut) for line, end, is_cut in zip(lines, ends, cuts, strict=True)
    ]
    prose = sum(sentences)
    if prose >= _MIN_ARTICLE:
        while lines and not sentences[-1]:
            lines.pop()
            sentences.pop()
    total = sum(map(len, lines))
    return 1 - prose / total if total else 0.0


def _is_latin(line: str) -> bool:
    """Return whether a line is mostly code, links or English: neither a sentence nor a list."""
    # Han takes three bytes, ASCII one.
    mostly_ascii = len(line.encode("utf-8", "surrogatepass")) < 1.9 * len(line)
    return mostly_ascii and sum(map(len, _LATIN.findall(line))) > 0.6 * len(line)


def _nothing(line: str) -> int:
    return 0


def _is_cut(line: str) -> bool:
    """Return whether a line ends in `...` or a single `…`, brackets after it or not: something else begins with it."""
    if line[-1:] not in "….)]）】":
        return False
    line = line.rstrip(")]）】")
    return (line.endswith("...") and line[-4:-3] != ".") or (line.endswith("…") and line[-2:-1] != "…")


def _in_sentences(line: str, end: int, cut: bool) -> int:
    """Return how many characters of a line are in sentences.

    Args:
        end: where the last sentence ends.
        cut: whether long lines without an end are beginnings of something else.
    """
    rest = line[end:].strip()
    if not rest:
        return len(line)
    if cut and len(line) >= _LONG_LINE:
        return 0
    # A last sentence without its full stop, or one that goes on in the next line.
    if (len(rest) >= _MIN_REST and ("，" in rest or "," in rest or spoken(rest) >= _SPOKEN)) or (
        end and len(rest) <= _MAX_REST
    ):
        return len(line)
    return end


def _end_of(line: str) -> int:
    """Return where the last sentence of a line ends, 0 if none does."""
    end = 0
    for mark in _END.finditer(line):
        end = mark.end()
    return end
