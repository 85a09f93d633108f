"""What each quarter brings: a wiki dump of which a tenth of the pages changes, a file of news, and withdrawn documents.

Pages are the clauses of the demo corpus's news and reviews, shuffled, with wikitext around them; or the first articles of a
real dump. News is the demo corpus's, as JSON lines. All is a function of the number of pages and the quarter.
"""

import bz2
import hashlib
import itertools
import json
import random
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from html import escape
from pathlib import Path

import numpy as np

from benchmarks import corpus, wiki
from benchmarks.wiki_pages import Page
from pipeline.cleaning.cleaning import clean
from pipeline.sources import demo
from pipeline.sources.demo import Split

CHANGED = 10
"""One page in so many is another in the second quarter."""
REVIEWS, TOGETHER = 8_000, 8
"""Reviews that are used, and how many make a text before clauses are shuffled."""
NEW_NEWS = 0.1
"""Ratio of the news that comes with the second quarter."""
WITHDRAWN = 50
PHRASE = 12
"""Characters: fewer than a run of tokens has that proof.py looks for."""
PIECE, PIECES, DAMAGED = 40, 1_000, 0.3
"""Characters of an example of the task, examples of a split, and the ratio of characters that are replaced."""
HEAD = (
    '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="zh">\n  <siteinfo>\n'
    "    <sitename>Wikipedia</sitename>\n    <base>https://zh.wikipedia.org/wiki/Wikipedia:%E9%A6%96%E9%A1%B5</base>\n"
    "  </siteinfo>\n"
)


def pages(number: int, dump_url: str | None = None) -> list[Page]:
    """Return the pages of the first quarter; `dump_url`: the first of a real dump, as many as it has up to `number`."""
    if dump_url:
        return wiki.read(dump_url)[:number]
    return [_page(index, text) for index, text in enumerate(_made(number))]


def changed(before: Sequence[Page]) -> list[Page]:
    """Return the pages of the next quarter: each tenth has another paragraph."""
    more = _later()
    return [
        page._replace(wikitext=f"{page.wikitext}\n\n{more[index // CHANGED % len(more)]}\n") if index % CHANGED == 3 else page
        for index, page in enumerate(before)
    ]


def dump(some: Sequence[Page], quarter: int) -> bytes:
    """Return a dump as Wikimedia writes it; a changed page has a new revision."""
    body = "".join(
        f"  <page>\n    <title>{escape(page.title, quote=False)}</title>\n    <ns>0</ns>\n    <id>{number}</id>\n"
        f"    <revision>\n      <id>{number + 1_000_000 * quarter}</id>\n      <timestamp>2026-0{3 * quarter - 2}-01T00:00:00Z"
        f'</timestamp>\n      <model>wikitext</model>\n      <text bytes="{len(page.wikitext.encode())}" xml:space="preserve">'
        f"{escape(page.wikitext)}</text>\n      <sha1>0</sha1>\n    </revision>\n  </page>\n"
        for number, page in enumerate(some, 1)
    )
    return bz2.compress(f"{HEAD}{body}</mediawiki>\n".encode())


def news(quarter: int) -> bytes:
    """Return the news of a quarter as JSON lines: a tenth of all comes with the second."""
    return _lines(_news()[: _first()] if quarter == 1 else _news()[_first() :])


def _first() -> int:
    """Return how much of the news is there in the first quarter."""
    return round(len(_news()) * (1 - NEW_NEWS))


def more_news(name: str, number: int = 10) -> bytes:
    """Return a few more articles: what starts another run."""
    return _lines(_later()[-number * (len(name) + 1) :][:number])


def withdrawn(documents: Sequence[Collection[int]], seed: int) -> list[int]:
    """Draw documents to withdraw, as many of each source."""
    draw = np.random.default_rng(seed)
    each = WITHDRAWN // len(documents)
    return sorted(int(one) for ids in documents for one in draw.choice(np.array(sorted(ids), np.uint64), each, replace=False))


def write_task(folder: Path) -> None:
    """Write the files of a task: is a piece of held-out text whole, or were a third of its characters replaced by others?

    Pretraining teaches within minutes which characters are frequent and go together; examples of the task hardly do. So the
    gate can decide after a short training.
    """
    pieces: dict[Split, set[str]] = {"train": set(), "dev": set(), "test": set()}
    for split, review in demo.read_reviews():
        pieces[split].add("".join(review.text.split())[:PIECE])
    for side, article in demo.read_news():
        whole = "".join(article.text.split())
        pieces[side].update(whole[at : at + PIECE] for at in range(0, min(len(whole), 8 * PIECE), PIECE))
    characters = sorted({one for text in pieces["train"] for one in text if is_chinese(one)})
    folder.mkdir(parents=True, exist_ok=True)
    for split, texts in pieces.items():
        chosen = sorted((text for text in texts if len(text) >= PIECE // 2), key=_digest)[:PIECES]
        rows = [{"text": text, "label": "whole"} for text in chosen[::2]]
        rows += [{"text": damaged(text, characters), "label": "damaged"} for text in chosen[1::2]]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in sorted(rows, key=lambda row: _digest(row["text"]))]
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")


def damaged(text: str, characters: Sequence[str]) -> str:
    """Return a text with about a third of its characters replaced."""
    draw = random.Random(text)
    return "".join(draw.choice(characters) if draw.random() < DAMAGED else one for one in text)


def is_chinese(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _lines(texts: Sequence[str]) -> bytes:
    return "".join(json.dumps({"title": "", "content": text}, ensure_ascii=False) + "\n" for text in texts).encode()


def _made(number: int, seed: int = 0) -> list[str]:
    """Return so many texts of shuffled clauses."""
    made: list[str] = []
    while len(made) < number:
        seed += 1
        made += [text for text in corpus.shuffled(list(_real()), seed) if len(text) > 100]
    return made[:number]


@cache
def _real() -> tuple[str, ...]:
    """Return the news of the first quarter, and some reviews, several to a text."""
    return *_news()[: _first()], *_together(0, REVIEWS)


@cache
def _later() -> list[str]:
    """Return texts for what comes later: other reviews, none with a phrase of the first quarter, so that what a withdrawn
    document said does not come back with them."""
    phrases = {one for text in _real() for one in _phrases(text)}
    return [text for text in _together(REVIEWS, 2 * REVIEWS) if phrases.isdisjoint(_phrases(text))]


def _phrases(text: str) -> Iterator[int]:
    """Yield a number for each run of PHRASE characters."""
    return (hash(text[at : at + PHRASE]) for at in range(len(text) - PHRASE + 1))


def _together(start: int, end: int) -> list[str]:
    """Return reviews, several to a text."""
    records = itertools.islice(demo.records("reviews"), start, end)
    reviews = [text for record in records if record and (text := clean(record.text)[0])]
    return ["\n".join(reviews[first : first + TOGETHER]) for first in range(0, len(reviews), TOGETHER)]


@cache
def _news() -> tuple[str, ...]:
    return tuple(corpus.texts())


def _page(index: int, text: str) -> Page:
    """Put wikitext around a text."""
    title = f"条目{index}"
    half = text.find("。", len(text) // 2) + 1 or len(text)
    link = f"[[条目{index * 7 % 1_000}|参见]]"
    lead, rest = text[:half], text[half:]
    source = "<ref>{{cite web|url=http://www.example.org|title=来源}}</ref>"
    return Page(title, f"'''{title}'''：{lead}{source}\n\n== 正文 ==\n{rest}\n\n{link}\n\n[[Category:条目]]\n", "")
