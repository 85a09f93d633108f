"""Subtitles and lyrics: what is said or sung, without numbers, times and styles. A file is one document.

1\\n00:00:01,600 --> 00:00:04,200\\n<i>你去哪儿？</i>                  SubRip, and WEBVTT: 你去哪儿？
Dialogue: 0,0:00:01.60,0:00:04.20,默认,,0,0,0,,{\\an8}你去哪儿？       ASS and SSA: 你去哪儿？
[ti:城里的月光]\\n[00:12.50]每颗心上某一个地方                        LRC: 每颗心上某一个地方, with the title
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import IO

from pipeline.sources.formats.encodings import Encoding
from pipeline.sources.formats.lines import MAX_RECORD_BYTES, Block, Range
from pipeline.sources.records import Bad, Record

SUBTITLES = re.compile(
    r"\d{1,6}[ \t]*\r?\n\d{1,2}:\d\d:\d\d[,.]\d{1,3}[ \t]*-->|WEBVTT(?:[ \t\r\n]|\Z)|\[Script Info\]", re.IGNORECASE
)
LYRICS = re.compile(
    r"\[\d{1,3}:\d\d\.\d{1,3}\]"
    r"|\[(?:ti|ar|al|by|au|offset)[ \t]*:[^\]\n]*\][\s\S]{0,2000}?\n\[\d{1,3}:\d\d[.:]\d",
    re.IGNORECASE,
)
_TIMES = re.compile(r"(?:^[^\n]*\n)?^(?:\d{1,2}:)?\d{1,2}:\d\d[,.]\d{1,3}[ \t]*-->[^\n]*(?:\n|\Z)", re.MULTILINE)
"""The times of a cue, and the line before them, which is its number or name, or blank."""
_NO_CUES = re.compile(r"(?:\A|\n[ \t]*\n)(?:WEBVTT|NOTE|STYLE|REGION)(?:[ \t][^\n]*)?(?:\n[^\n]*\S[^\n]*)*")
_DIALOGUE = re.compile(r"^Dialogue:(?:[^,\n]*,){9}([^\n]*)", re.MULTILINE | re.IGNORECASE)
_STYLE = re.compile(r"\{\\[^{}\n]*\}|</?(?:[biuvc]|font|ruby|rt|lang)(?:[ .][^<>\n]*)?>", re.IGNORECASE)
_TITLE = re.compile(r"^\[ti[ \t]*:([^\]\n]*)\]", re.MULTILINE | re.IGNORECASE)
_SUNG = re.compile(
    r"^(?:\[(?:\d{1,3}:\d\d(?:[.:]\d{1,3})?|[A-Za-z#]+[ \t]*:[^\]\n]*)\][ \t]*)+|<\d{1,3}:\d\d[.:]\d{1,3}>", re.MULTILINE
)
"""Times and facts before a line of lyrics, and times within it."""


def subtitles(file: IO[bytes], part: Range, encoding: Encoding, url: str) -> Iterator[Record | Bad]:
    """Yield a file of subtitles as one document."""
    found = _whole(file, part, encoding)
    yield replace(found, text=_spoken(found.text.lstrip("\ufeff"))) if isinstance(found, Record) else found


def lyrics(file: IO[bytes], part: Range, encoding: Encoding, url: str) -> Iterator[Record | Bad]:
    """Yield a file of lyrics as one document."""
    found = _whole(file, part, encoding)
    if isinstance(found, Record):
        title = _TITLE.search(found.text)
        found = replace(found, title=title[1].strip() if title else "", text=_lines(_SUNG.sub("", found.text.lstrip("\ufeff"))))
    yield found


def _whole(file: IO[bytes], part: Range, encoding: Encoding) -> Record | Bad:
    found = Block(part.origin(0), file.read(MAX_RECORD_BYTES + 1)).record(encoding)
    return replace(found, text=found.text.replace("\r\n", "\n")) if isinstance(found, Record) else found


def _spoken(text: str) -> str:
    if text.lstrip()[:13].lower() == "[script info]":
        spoken = "\n".join(_DIALOGUE.findall(text)).replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")
    else:
        spoken = _TIMES.sub("\n", _NO_CUES.sub("\n", text))
    return _lines(_STYLE.sub("", spoken))


def _lines(text: str) -> str:
    """Return the lines that are not blank."""
    return "\n".join(line for line in map(str.strip, text.split("\n")) if line)
