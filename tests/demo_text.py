"""Real text for tests: articles and reviews of the demo corpus, with a vocabulary built from them."""

from collections import Counter
from functools import cache
from pathlib import Path

from pipeline.sources import demo
from pipeline.tokenization import vocab
from pipeline.tokenization.vocab import Vocab
from tests.parts import Document, encode


@cache
def articles(number: int = 250) -> list[str]:
    """Articles of People's Daily, January 1998; digits are full-width there."""
    with Path(demo.files("news")[0]).open(encoding="utf-8") as file:
        lines = [line for line, _ in zip(file, range(number * 10), strict=False)]
    return [article.text for article in demo.articles(lines)[:number]]


@cache
def reviews(number: int = 600) -> list[str]:
    """Short texts, many of a single sentence."""
    return Path(demo.files("reviews")[1]).read_text(encoding="utf-8").split("\n")[:number]


@cache
def vocabulary() -> Vocab:
    characters: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for text in (*articles(), *reviews()):
        characters.update(text)
        words.update(vocab.find_words(text))
    return vocab.build(characters, words, size=6_000, min_count=1)


@cache
def article_documents() -> list[Document]:
    return encode(articles(), vocabulary())


@cache
def review_documents() -> list[Document]:
    return encode(reviews(), vocabulary())
