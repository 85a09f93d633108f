"""Lines of Chinese web pages that are not prose: credits, copyright notices, buttons, links to other pages, separators.

    正文第一段。
    责任编辑：王小明             boilerplate
    扫描二维码，关注我们         boilerplate
    ==============               separators
    正文第二段。

A line is removed when all of it matches one of the forms of furniture.py, never because of a word in it: prose about editors,
copyright or QR codes (“版权所有者应当……”, “乘客扫描二维码即可进站。”) matches none. A form that could be a sentence also needs
the colon, number or end of line that only page furniture has.

Forms are also removed after the last sentence of a paragraph (……圆满结束。（记者 某某）), credits and fields before its first
(【记者 某某】正文……). Lines that may belong to a list or dialogue, such as 作者：某某, only go at the top and bottom of a text.
"""

import functools
import re

from pipeline.cleaning.furniture import BRACKETED, DAY, EDGE_FORMS, FIELDS, FORMS, TIME

_FIRST = frozenset("".join(starts for _, _, starts in FORMS))
"""Characters that a form may start with: most lines are told from furniture by their first character."""
_EDGE_FIRST = frozenset("".join(starts for _, _, starts in EDGE_FORMS))
_LONGEST_EDGE = 60
_SENTENCE_ENDS = frozenset("。！？…”’」』；，、!?")
_SIGNS = r"\-=_*#~+|/\\<>^·•—＊－＝＿～｜／＼＃＋─-╿■-◿★☆※"

_LONGEST_LINE = 400
_ENDS = "。！？…”’」』）)】!?"
_BEFORE_TAIL = re.compile(rf"[{_ENDS}](?= ?([{re.escape(''.join(sorted(_FIRST)))}]))")
"""The end of a sentence that a form may follow."""
_LONGEST_TAIL = 160
_TAIL_STOPS = frozenset("转载。 出处。 必究。 所有。 删除。 订阅。 关注。 来源。 报名。 查看。 众号。".split())  # noqa: SIM905
"""How a tail ends that looks like a sentence; all others end without full stop."""
_HEAD = re.compile(
    rf"{BRACKETED} ?(?=\w)|(?P<date>{DAY}(?: ?{TIME})?[ |]{{1,3}})?"
    rf"(?P<fields>(?:(?:{FIELDS})[:：] ?(?:{DAY}(?: {TIME})?|[^\s。！？，；：]{{1,16}})[ |]{{1,3}}){{1,6}})(?=\w.{{20}})"
)
"""Credits or fields of a page at the start of a paragraph: 来源：新华网 发布时间：2019-07-20 正文……"""
_HEAD_FIRST = frozenset("（([【0123456789" + "".join(field[0] for field in re.sub(r"[(?:)]", "", FIELDS).split("|")))
_STARTS = _FIRST | _HEAD_FIRST
_HEAD_START = re.compile(r"[（(\[【\d]|[^:：]{2,5}[:：]")
_LONG = 80
_LONG_STARTS = frozenset(
    "声明 免责 特别 郑重 版权 未经 如有 如若 若有 如涉 本文 本站 本网 本刊 以上 文章 图片 作品 网站 所有 转载 Co CO".split()  # noqa: SIM905
)
"""How longer forms start that end as a sentence does."""
_EDGE_LINES = 5
"""Lines at the top and at the bottom of a text that count as its edges."""
_LABEL = re.compile(r"[^:：\n]{1,8}[:：]")
_SEPARATORS = re.compile(rf"\n(?=[{_SIGNS} ]++(?:\n|\Z))[{_SIGNS} ]*?([{_SIGNS}]) ?\1 ?\1[{_SIGNS} ]*+")
"""Lines of signs and spaces only, with the same sign three times: `-----`, `* * *`, `━━━★━━━`. “……” and `^_^` stay."""
_HTML_COMMENTS = re.compile(r"\n<!--[^\n]*?-->(?=\n|\Z)")
_MARKDOWN_COMMENTS = re.compile(r"\n\[(?:#|//)\]: [^\n]*")
"""Comments of Markdown, which no page shows: `<!-- INFO END -->`, `[//]: # (comment)`, `[#]: author: (name)`."""


def without_boilerplate(text: str) -> tuple[str, int]:
    """Return the text without boilerplate, and how many pieces there were. Lines must be trimmed."""
    lines = text.split("\n")
    total = 0
    unended = False
    for number, line in enumerate(lines):
        # Most lines end as a sentence does, and need no more than these looks at their first and last characters.
        if line[-1:] not in _SENTENCE_ENDS:
            unended = True
        elif (line[:1] not in _STARTS and line[-3:] not in _TAIL_STOPS) or not _may_be_trimmed(line):
            continue
        left = _trimmed(line)
        if left != line:
            lines[number] = left
            total += 1
    if total:
        lines = [line for line in lines if line]
    if unended and len(lines) > 1:
        total += _clear_edges(lines)
    return ("\n".join([line for line in lines if line]), total) if total else (text, 0)


def _may_be_trimmed(line: str) -> bool:
    """Return whether furniture that ends as a sentence does may be in a line, by a few of its characters."""
    first = line[0]
    if first in _FIRST and (len(line) < _LONG or line[:2] in _LONG_STARTS):
        return True
    return line[-3:] in _TAIL_STOPS or (first in _HEAD_FIRST and _HEAD_START.match(line) is not None)


def without_separators(text: str) -> tuple[str, int]:
    """Return the text without separators and comments of a line, and how many there were. Lines must be trimmed."""
    text, number = _SEPARATORS.subn("", "\n" + text)
    if "<!--" in text and "```" not in text:  # in blocks of code they are an example
        text, more = _HTML_COMMENTS.subn("", text)
        number += more
    if "\n[" in text:
        text, more = _MARKDOWN_COMMENTS.subn("", text)
        number += more
    return text[1:], number


def _trimmed(line: str) -> str:
    """Return a line without the furniture at its start and end; "" if it is nothing else."""
    if _is_form(line):
        return ""
    start, end = 0, len(line)
    while line[start : start + 1] in _HEAD_FIRST and (head := _HEAD.match(line, start)) and _is_head(head):
        start = head.end()
    while line[end - 1 : end] not in _SENTENCE_ENDS or line[max(start, end - 3) : end] in _TAIL_STOPS:
        before = _before_tail(line, max(start, end - _LONGEST_TAIL), end)
        if before < 0:
            break
        end = before
    if start == 0 and end == len(line):
        return line
    return "" if _is_form(line[start:end]) else line[start:end]


def _before_tail(line: str, first: int, end: int) -> int:
    """Return where the first sentence from `first` ends after which a form is all that is left up to `end`; -1 if none does."""
    for found in _BEFORE_TAIL.finditer(line, first, end):
        if _matches(_forms_from(found[1]), line, found.start(1), end):
            return found.end()
    return -1


def _is_form(line: str) -> bool:
    return line[:1] in _FIRST and len(line) <= _LONGEST_LINE and _matches(_forms_from(line[0]), line, 0, len(line))


def _matches(forms: tuple[re.Pattern[str], ...], line: str, start: int, end: int) -> bool:
    """Return whether any of some forms is all of line[start:end]."""
    for form in forms:  # noqa: SIM110 - `any` with a generator takes longer than most forms
        if form.fullmatch(line, start, end):
            return True
    return False


@functools.cache
def _forms_from(first: str) -> tuple[re.Pattern[str], ...]:
    """Return the forms that start with a character. Most texts need few, and compiling all takes 30 ms."""
    return tuple(_compiled(form) for _, form, starts in FORMS if first in starts)


@functools.cache
def _edge_forms_from(first: str) -> tuple[re.Pattern[str], ...]:
    return tuple(_compiled(form) for _, form, starts in EDGE_FORMS if first in starts)


_compiled = functools.cache(re.compile)
"""Compile a form once, whichever characters it may start with."""


def _is_head(head: re.Match[str]) -> bool:
    """Return whether a head is brackets, or at least two fields, or one with a date; a single field may begin a sentence."""
    return head["fields"] is None or head["date"] is not None or len(re.findall("[:：]", head["fields"])) > 1


def _clear_edges(lines: list[str]) -> int:
    """Empty the lines at the top and bottom that are furniture only there; return how many. Some other line must remain."""
    size = len(lines)
    edges = range(size) if size <= 2 * _EDGE_LINES else (*range(_EDGE_LINES), *range(size - _EDGE_LINES, size))
    gone = [
        number
        for number in edges
        if lines[number][-1:] not in _SENTENCE_ENDS and _is_edge(lines[number]) and not _is_listed(lines, number)
    ]
    if not gone or len(gone) == sum(map(bool, lines)):
        return 0
    for number in gone:
        lines[number] = ""
    return len(gone)


def _is_edge(line: str) -> bool:
    if line[-1:] in _SENTENCE_ENDS or line[:1] not in _EDGE_FIRST or len(line) > _LONGEST_EDGE:
        return False
    return _matches(_edge_forms_from(line[0]), line, 0, len(line))


def _is_listed(lines: list[str], number: int) -> bool:
    """Return whether a line is one of a list or dialogue: others have its label, or a line with another label is beside it."""
    label = _LABEL.match(lines[number])
    if label is None:
        return False
    if sum(line.startswith(label[0]) for line in lines) > 2:
        return True
    beside = lines[max(0, number - 1) : number] + lines[number + 1 : number + 2]
    return any(_LABEL.match(line) and not _is_edge(line) for line in beside)
