"""Text to sentences, by rules for Chinese.

    他说：“你好！”我没回答……价格是3.5元。Mr. Smith arrived. 见 http://a.cn/?x=1
    -> 他说：“你好！” | 我没回答…… | 价格是3.5元。 | Mr. Smith arrived. | 见 http://a.cn/?x=1

A sentence ends after 。！？；… with the quotes and brackets that close behind them, at a line break, and after ASCII . ! ?
where they cannot be part of a number, an address or an abbreviation. Nothing is lost but white space at the edges.
"""

import re
from collections.abc import Iterator

_CLOSERS = "”’」』）】》〉〕］｝〗"
_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_ABBREVIATIONS = ("Mr", "Ms", "Mrs", "Dr", "Prof", "St", "Jr", "Sr", "vs", "etc", "No", "Inc", "Ltd", "Co", "Corp", "Fig", "al")
_NO_ABBREVIATION = "".join(rf"(?<!\b{word})" for word in _ABBREVIATIONS)

_END = re.compile(
    rf"""
      (?P<line> [\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+ )
    | (?: [。！？；｡…⋯]+ [!?]* [{_CLOSERS}]* )+ (?P<quote> " )?
    | (?: \.{{3,}} | (?<=[{_HAN}{_CLOSERS}])[!?]+ ) [{_CLOSERS}]* (?= [\s{_HAN}“‘「『（【《"] ) (?P<quote2> " )?
    | [!?]+ [{_CLOSERS})\]"']* (?=\s)
    # A full stop: not after a single letter (J. Smith, U.S.; in 张J. too: ASCII), a digit (1. 引言) or an abbreviation.
    | (?a: (?<!\b[A-Za-z]) (?<![0-9.]) {_NO_ABBREVIATION} ) \. [{_CLOSERS})\]"']* (?=\s)
    """,
    re.VERBOSE,
)
_PAUSE = re.compile(r"[，、：]|,(?![0-9])|\s")


def split_sentences(text: str, limit: int = 256) -> list[str]:
    """The sentences of a text, without white space around them, none empty.

    No sentence has more than `limit` characters: longer ones are cut after the last ， 、 ： or white space in reach, and where
    there is none, hard. Joined and freed of white space, the sentences are the text freed of white space.
    """
    sentences = (text[start:end].strip() for start, end in _spans(text))
    return [part for sentence in sentences if sentence for part in _cut(sentence, limit)]


def _spans(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    line_start = 0
    has_quotes = '"' in text
    for match in _END.finditer(text):
        end = match.end()
        if has_quotes and (group := match.lastgroup) in ("quote", "quote2"):
            # An ASCII " is the same at both ends: after a full stop it closes if the line holds an odd number before it.
            quote = match.start(group)
            if text.count('"', line_start, quote) % 2 == 0:
                end = quote
        yield start, end
        start = end
        if match.lastgroup == "line":
            line_start = end
    yield start, len(text)


def _cut(sentence: str, limit: int) -> Iterator[str]:
    while len(sentence) > limit:
        # Not in the first half: ever shorter rests would make many tiny sentences.
        pauses = [match.end() for match in _PAUSE.finditer(sentence, limit // 2, limit + 1) if match.end() <= limit]
        end = pauses[-1] if pauses else limit
        yield sentence[:end].rstrip()
        sentence = sentence[end:].lstrip()
    if sentence:
        yield sentence
