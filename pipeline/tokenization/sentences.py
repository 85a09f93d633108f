"""Text to sentences, by rules for Chinese.

    他说：“你好！”我没回答……价格是3.5元。Mr. Smith arrived. 见 http://a.cn/?x=1
    -> 他说：“你好！” | 我没回答…… | 价格是3.5元。 | Mr. Smith arrived. | 见 http://a.cn/?x=1

A sentence ends after 。！？；… with the quotes and brackets that close behind them, at a line break, and after ASCII . ! ?
where they cannot be part of a number, an address or an abbreviation. Nothing is lost but white space at the edges.
"""

import re

import numpy as np
from numpy.typing import NDArray

LIMIT = 256
"""Characters of the longest sentence; a longer one is cut."""

BREAKS = "\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
"""Characters that end a line, as a range of a regular expression: those of str.splitlines()."""
_STOPS = "。！？；｡…⋯"
_CLOSERS = "”’」』）】》〉〕］｝〗｣"
_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_ABBREVIATIONS = (
    *("Mr", "Ms", "Mrs", "Dr", "Prof", "St", "Jr", "Sr", "vs", "etc", "No", "Inc", "Ltd", "Co", "Corp", "Fig", "al"),
    *("II", "III", "IV", "VI", "VII", "VIII", "IX", "XI", "XII"),  # numbers of headings: II. 方法
)
_NO_ABBREVIATION = "".join(rf"(?<!\b{word}\.)" for word in _ABBREVIATIONS)

# It begins with a set of characters, and asks afterwards which one it was, so that `re` runs fast through all others.
_END = re.compile(
    rf"""
    [{BREAKS}{_STOPS}.!?]
    (?:
      (?<=[{BREAKS}]) [{BREAKS}]*
    | (?<=[{_STOPS}]) [{_STOPS}]* [!?]* [{_CLOSERS})\]]* (?: [{_STOPS}]+ [!?]* [{_CLOSERS})\]]* )*
    # A run of . ! ? is tried from its first sign alone: where that fails, the others would, at a cost of its square.
    | (?: (?<=\.) (?<!\.\.) \.{{2,}} | (?<=[{_HAN}{_CLOSERS}][!?]) [!?]* ) [{_CLOSERS}]* (?= [\s{_HAN}“‘「『（【《"] )
    | (?<=[!?]) (?<![!?][!?]) [!?]* [{_CLOSERS})\]"']* (?=\s)
    # A full stop: not after a single letter (J. Smith, U.S.; in 张J. too: ASCII), a digit (1. 引言) or an abbreviation.
    | (?a: (?<=\.) (?<!\b[A-Za-z]\.) (?<![0-9.]\.) {_NO_ABBREVIATION} ) [{_CLOSERS})\]"']* (?=\s)
    )
    """,
    re.VERBOSE,
)
_BREAK_POINTS = [point for point in range(0x2030) if re.match(f"[{BREAKS}]", chr(point))]
_PAUSE = re.compile(r"[，、：]|,(?![0-9])|\s")


def sentence_ends(text: str, limit: int = LIMIT) -> NDArray[np.int64]:
    """(sentences,): the character after each sentence, rising; the last is the length of the text.

    White space between sentences belongs to one of them, and some sentences are nothing else. Without it none has more than
    `limit` characters: longer ones are cut after the last ， 、 ： or white space in reach, and where there is none, hard.
    Documents may be joined by line breaks: what is found in one does not depend on the others.
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


def _with_quotes(text: str, ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Takes an ASCII " that closes into the sentence before it.

    It is the same at both ends: after a full stop it closes if its line holds an odd number before it.
    """
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    quotes = np.flatnonzero(points == ord('"'))
    line_starts = np.append(0, ends[np.isin(points[ends - 1], _BREAK_POINTS)])
    line_starts = line_starts[np.searchsorted(line_starts, ends, side="right") - 1]
    before = np.searchsorted(quotes, ends) - np.searchsorted(quotes, line_starts)
    closes = (np.append(points, 0)[ends] == ord('"')) & (before % 2 == 1)
    return np.unique(ends + closes)


def _cuts(text: str, start: int, end: int, limit: int) -> list[int]:
    """Where a long sentence is cut."""
    cuts: list[int] = []
    while True:
        while start < end and text[start].isspace():
            start += 1
        while start < end and text[end - 1].isspace():
            end -= 1
        if end - start <= limit:
            return cuts
        # Not in the first half: ever shorter rests would make many tiny sentences.
        pauses = [match.end() for match in _PAUSE.finditer(text, start + limit // 2, start + limit + 1)]
        start = max((pause for pause in pauses if pause <= start + limit), default=start + limit)
        cuts.append(start)
