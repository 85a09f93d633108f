"""Chinese text for the benchmarks, from what every machine has: the embedded corpus as JSON lines, in any size.

    {"title": "", "content": "第2份\n新华社北京１月１日电 ..."}

Documents are cleaned, and each is there once; when more is wanted they come again, under another first line ("copy 2"), so
that exact deduplication keeps them. All of what is written is thus kept: a megabyte read is a megabyte of clean text.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pipeline import demo, vocab
from pipeline.cleaning import clean, fingerprint


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
    found = texts()
    written = documents = copies = 0
    path = folder / "corpus.jsonl"
    with path.open("w", encoding="utf-8") as file:
        while written < megabytes * 1e6:
            copies += 1
            for text in found:
                content = text if copies == 1 else f"第{copies}份\n{text}"
                file.write(json.dumps({"title": "", "content": content}, ensure_ascii=False) + "\n")
                written += len(content.encode())
                documents += 1
                if written >= megabytes * 1e6:
                    break
    vocabulary = folder / "vocab.txt"
    vocabulary.write_bytes(_vocabulary(found))
    return Corpus(path, vocabulary, written / 1e6, documents, copies)


def texts() -> list[str]:
    """News and reviews of the embedded corpus, cleaned, each once, in their order."""
    unique: dict[bytes, str] = {}
    for part in demo.PARTS:
        for record in demo.records(part):
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
