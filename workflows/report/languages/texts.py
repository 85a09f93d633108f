"""Texts of a page in the language of its reader.

    t = texts("zh")
    t("{kept:,} of {read:,} records are kept", kept=3_000, read=3_101)      3,101 条记录中保留 3,000 条
    t.name("too_short")                                                     过短
    t.duration(7_300)                                                       2 小时 1 分
    t.date(1_796_042_700)                                                   2026年11月30日

English texts stand where they are used: in the templates and in the modules of captions. `<language>.toml` has one line for
each of them, the English text and its translation, with the same placeholders (tests/test_meeting.py).
"""

import datetime
import functools
import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any, Literal, get_args

from workflows.report.display_names import display_name

Language = Literal["en", "zh"]
LANGUAGES: tuple[str, ...] = get_args(Language)
TAGS = {"en": "en", "zh": "zh-Hans"}
"""The attribute `lang` of a page."""
_DURATIONS = {"en": ("{s} s", "{m} min {s} s", "{h} h {m} min"), "zh": ("{s} 秒", "{m} 分 {s} 秒", "{h} 小时 {m} 分")}
_DATES = {"en": "{0.day} {0:%B} {0.year}", "zh": "{0.year}年{0.month}月{0.day}日"}
_LARGE = {"en": ((1e9, " billion"), (1e6, " million")), "zh": ((1e8, " 亿"), (1e4, " 万"))}


PHRASES = (
    *("up to {n} characters", "{low} to {high} characters", "more than {n} characters"),
    *("up to {n} candidates", "{low} to {high} candidates", "about {n}", "too high by {size}", "too low by {size}"),
    "phase {n}",
    *("{kind} missed", "{kind} made up", "{kind} with other ends", "{kind} → {other}, with other ends"),
)
"""Names that contain values: phases, and kinds of errors (workflows/report/errors/cases.py)."""


@functools.cache
def _phrases() -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+?)", re.escape(phrase))), phrase) for phrase in PHRASES]


class Texts:
    """Texts, numbers and dates in one language."""

    def __init__(self, language: str, table: Mapping[str, str]) -> None:
        self.language, self._table = language, table

    @property
    def tag(self) -> str:
        return TAGS[self.language]

    def __call__(self, text: str, /, **values: Any) -> str:
        """Return a text with its placeholders filled in. A text that has no translation stays English."""
        found = self._table.get(text, text)
        return found.format(**values) if values else found

    def count(self, one: str, many: str, n: int, /, **values: Any) -> str:
        """Return `one` or `many`, with `{n}`. The table has `many`."""
        if self.language == "en" and n == 1:
            return one.format(n=n, **values)
        return self(many, n=n, **values)

    def name(self, name: str) -> str:
        """Return the words for a name of the manifests: `too_short` -> `too short`, 过短."""
        return self(display_name(name))

    def listed(self, parts: Iterable[str]) -> str:
        """`a, b`, `a、b`."""
        return ("、" if self.language == "zh" else ", ").join(parts)

    def joined(self, value: Any) -> Any:
        """Return sentences, or a list or dict of them, without the space between two: Chinese has none."""
        if isinstance(value, dict):
            return {name: self.joined(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.joined(item) for item in value]
        return value.replace("。 ", "。") if isinstance(value, str) and self.language == "zh" else value

    def phrase(self, text: str) -> str:
        """Return the translation of a text that has its values filled in already: `up to 8 characters` -> `8 个字符以内`."""
        for pattern, phrase in _phrases():
            if found := pattern.fullmatch(text):
                return self(phrase, **{name: self(value) for name, value in found.groupdict().items()})
        return self(text)

    def duration(self, seconds: float) -> str:
        """`0.42` -> `0.4 s`; `75` -> `1 min 15 s`; `7300` -> `2 h 1 min`."""
        short, middle, long = _DURATIONS[self.language]
        if seconds < 59.95:
            return short.format(s=f"{seconds:.1f}")
        minutes, rest = divmod(round(seconds), 60)
        return middle.format(m=minutes, s=rest) if minutes < 60 else long.format(h=minutes // 60, m=minutes % 60)

    def hours(self, hours: float) -> str:
        """`0.026` -> `0.03`, `1834.2` -> `1,834`: hours of machines, which are paid."""
        return f"{hours:,.2f}" if hours < 10 else f"{hours:,.1f}" if hours < 100 else f"{hours:,.0f}"

    def money(self, amount: float, currency: str) -> str:
        """`CNY 12.40`; Chinese has the currency behind: `12.40 CNY`."""
        shown = f"{amount:,.2f}" if amount < 1_000 else f"{amount:,.0f}"
        return f"{shown} {currency}" if self.language == "zh" else f"{currency} {shown}"

    def date(self, time: float) -> str:
        """Return the day, UTC."""
        return _DATES[self.language].format(datetime.datetime.fromtimestamp(time, datetime.UTC))

    def large(self, number: float) -> str:
        """`3942888` -> `3.94 million`, `394.3 万`; numbers below ten thousand stay whole."""
        for size, word in _LARGE[self.language]:
            if number >= size and number >= 10_000:
                return f"{number / size:,.2f}{word}" if number < 10 * size else f"{number / size:,.1f}{word}"
        return f"{number:,}"


@functools.cache
def texts(language: str = "en") -> Texts:
    """Return the texts of a language."""
    return Texts(language, {} if language == "en" else table(language))


ENGLISH = texts()


def table(language: str) -> dict[str, str]:
    """Return the translations of a language by the English texts."""
    content = (resources.files("workflows.report.languages") / f"{language}.toml").read_text(encoding="utf-8")
    return {english: text for section in tomllib.loads(content).values() for english, text in section.items()}
