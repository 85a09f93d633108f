"""Chinese text for the benchmarks, from what every machine has: the embedded corpus as JSON lines, in any size.

    {"title": "", "content": "新华社北京１月１日电 ..."}

Documents are cleaned, and each is there once. When more is wanted, further documents are made of the same clauses, dealt anew
over all documents: words, lengths and punctuation stay those of real text, and no two documents are near copies of one another,
so that deduplication keeps them. Almost all of what is written is thus kept: a megabyte read is a megabyte of clean text.
"""

import itertools
import json
import random
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pipeline.cleaning.cleaning import clean, fingerprint
from pipeline.sources import demo
from pipeline.tokenization import vocab

_CLAUSE = re.compile(r"[^，。！？；：\n]*[，。！？；：\n]+|[^，。！？；：\n]+")


@dataclass(frozen=True)
class Corpus:
    """A corpus on disk."""

    file: Path
    """JSON lines."""
    vocabulary: Path
    """A vocab.txt made of the same text, so that no side spends time on making one."""
    megabytes: float
    """UTF-8 bytes of the texts alone, in millions: what speeds are told in."""
    documents: int
    copies: int
    """Of the embedded corpus, the last one in part."""


def write(folder: Path, megabytes: float) -> Corpus:
    """Write at least `megabytes` of text."""
    folder.mkdir(parents=True, exist_ok=True)
    found = texts()
    written = documents = copies = 0
    path = folder / "corpus.jsonl"
    with path.open("w", encoding="utf-8") as file:
        while written < megabytes * 1e6:
            copies += 1
            for content in found if copies == 1 else dealt(found, copies):
                file.write(json.dumps({"title": "", "content": content}, ensure_ascii=False) + "\n")
                written += len(content.encode())
                documents += 1
                if written >= megabytes * 1e6:
                    break
    vocabulary = folder / "vocab.txt"
    vocabulary.write_bytes(_vocabulary(found))
    return Corpus(path, vocabulary, written / 1e6, documents, copies)


def dealt(found: list[str], seed: int) -> list[str]:
    """As many documents, each of as many clauses as the one in its place has, which come from anywhere."""
    clauses = [_CLAUSE.findall(text) for text in found]
    deck = [clause for document in clauses for clause in document]
    random.Random(seed).shuffle(deck)
    places = itertools.accumulate((len(document) for document in clauses), initial=0)
    return ["".join(deck[start:end]) for start, end in itertools.pairwise(places)]


def texts() -> list[str]:
    """The news of the embedded corpus, cleaned, each article once, in their order."""
    unique: dict[bytes, str] = {}
    for record in demo.records("news"):
        if record is not None and (text := clean(record.text)[0]):
            unique.setdefault(fingerprint(text), text)
    return list(unique.values())


def _vocabulary(found: list[str]) -> bytes:
    characters: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for text in found:
        for counted, more in zip((characters, words), vocab.count(text), strict=True):
            counted.update(more)
    return vocab.build(characters, words, size=21_128, min_count=2).to_bytes()
