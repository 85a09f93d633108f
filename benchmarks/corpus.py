"""Chinese text of any size for the benchmarks: the embedded corpus as JSON lines, so nothing needs downloading.

    {"title": "", "content": "新华社北京１月１日电 ..."}

Documents are cleaned and unique. Beyond the size of the corpus, further documents are made by shuffling its clauses over all
documents. Words, lengths and punctuation stay those of real text, and no two documents are near duplicates, so deduplication
keeps almost all of them: a megabyte read is a megabyte of clean text.
"""

import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Iterable
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
    """A vocab.txt built from the same text, so that neither side spends time on building one."""
    megabytes: float
    """UTF-8 bytes of the texts alone, in millions: the unit of all speeds."""
    documents: int
    rounds: int
    """Passes over the embedded corpus, the last one possibly partial."""


def write(folder: Path, megabytes: float) -> Corpus:
    """Write at least `megabytes` of text."""
    folder.mkdir(parents=True, exist_ok=True)
    found = texts()
    written = documents = rounds = 0
    path = folder / "corpus.jsonl"
    with path.open("w", encoding="utf-8") as file:
        while written < megabytes * 1e6:
            rounds += 1
            for content in found if rounds == 1 else shuffled(found, rounds):
                file.write(json.dumps({"title": "", "content": content}, ensure_ascii=False) + "\n")
                written += len(content.encode())
                documents += 1
                if written >= megabytes * 1e6:
                    break
    vocabulary = folder / "vocab.txt"
    vocabulary.write_bytes(vocabulary_of(found))
    return Corpus(path, vocabulary, written / 1e6, documents, rounds)


def shuffled(found: list[str], seed: int) -> list[str]:
    """Return as many documents with as many clauses each, shuffled over all documents."""
    clauses = [_CLAUSE.findall(text) for text in found]
    deck = [clause for document in clauses for clause in document]
    random.Random(seed).shuffle(deck)
    places = itertools.accumulate((len(document) for document in clauses), initial=0)
    return ["".join(deck[start:end]) for start, end in itertools.pairwise(places)]


def texts() -> list[str]:
    """Return the news of the embedded corpus in order, cleaned and without exact duplicates."""
    unique: dict[bytes, str] = {}
    for record in demo.records("news"):
        if record is not None and (text := clean(record.text)[0]):
            unique.setdefault(fingerprint(text), text)
    return list(unique.values())


def vocabulary_of(found: Iterable[str]) -> bytes:
    """Return a vocab.txt that is built from texts."""
    characters: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for text in found:
        characters.update(text)
        words.update(vocab.find_words(text))
    return vocab.build(characters, words, size=21_128, min_count=2).to_bytes()
