"""Read the examples of a task from a file.

    sentiment/train.tsv            entities/train.txt
        label  text_a                  海 O
        1      房间很干净，服务也好。     钓 O
        0      太吵了，一夜没睡。         厦 B-LOC
                                       门 I-LOC
                                       (blank line between sentences)

    lcqmc/train.tsv                ocnli/train.10k.json, one object per line
        text_a      text_b      label  {"sentence1": "他睡了。", "sentence2": "他没睡。", "label": "contradiction"}
        谁有高清的    高清图谁有    0

An example is its items with their labels. A text to classify is one item, a pair of texts is two, a sentence to tag has one
item per character. Only the last kind has a label for each item:

    Example(("房间很干净，服务也好。",), ("1",))         Example(("海", "钓", "厦", "门"), ("O", "O", "B-LOC", "I-LOC"))
    Example(("他睡了。", "他没睡。"), ("contradiction",))
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline import storage
from pipeline.errors import TaskError

HEADER = "label\ttext_a"
FIRST, SECOND = ("text_a", "premise", "sentence1"), ("text_b", "hypo", "hypothesis", "sentence2")
"""Names of the two texts of a pair, in a header or in JSON."""
NO_MAJORITY = "-"
"""OCNLI's label for a pair on which the annotators did not agree."""
ALIASES = {"contradictory": "contradiction"}
"""XNLI's training set uses another word for one of its labels."""

# An item may itself be a space: only the last run of white space separates item and tag.
_TAGGED = re.compile(r"(.+?)[ \t]+(\S+)")
_TAG = re.compile(r"O|[BI]-\S+")


@dataclass(frozen=True)
class Example:
    """Items (whole texts, or the characters of a sentence) with their labels."""

    items: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def text(self) -> str:
        return "".join(self.items)


def read_classified(url: str) -> list[Example]:
    """Read a `label<TAB>text_a` file with that header. There is no quoting: a `"` is a character of the text.

    Raises: TaskError naming file and line.
    """
    header, *rows = _lines(url)
    if header != HEADER:
        raise TaskError(f"{url}: the first line must be {HEADER!r}, it is {header[:40]!r}")
    examples = []
    for number, row in enumerate(rows, start=2):
        if not row.strip():
            continue
        label, *texts = row.split("\t")
        if not label or len(texts) != 1 or not texts[0].strip():
            raise TaskError(f"{url}, line {number}: expected a label, one tab and a text, got {row[:40]!r}")
        examples.append(Example((texts[0],), (label,)))
    return _not_empty(examples, url)


def read_pairs(url: str) -> list[Example]:
    """Read pairs of texts from JSON lines, or from tab-separated columns named by the header. Skip pairs labelled `-`.

    Raises: TaskError naming file and line.
    """
    rows = _json_rows(url) if ".json" in storage.base_name(url) else _table_rows(url)
    examples = []
    for number, row in rows:
        first, second = (next((row[name] for name in names if name in row), None) for names in (FIRST, SECOND))
        label = row.get("label")
        if not (isinstance(first, str) and isinstance(second, str) and first.strip() and second.strip() and label):
            raise TaskError(f"{url}, line {number}: expected two texts and a label, got {str(row)[:80]}")
        if label != NO_MAJORITY:
            examples.append(Example((first, second), (ALIASES.get(str(label), str(label)),)))
    return _not_empty(examples, url)


def read_tagged(url: str) -> list[Example]:
    """Read sentences with one item and its BIO tag per line. An I- without a B- before it begins an entity, as in conlleval.

    Raises: TaskError naming file and line.
    """
    return _not_empty(list(_sentences(url)), url)


def _lines(url: str) -> list[str]:
    """Return the lines of a UTF-8 file, split at line feeds only: reviews contain U+2028 and the like."""
    try:
        with storage.open_read(url, compression="infer") as file:
            text = file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaskError(f"{url}: not UTF-8 at byte {error.start}; convert it, e.g. with iconv -f GB18030") from error
    return [line.removesuffix("\r") for line in text.split("\n")]


def _json_rows(url: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a JSON lines file with their line numbers."""
    for number, line in enumerate(_lines(url), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise TaskError(f"{url}, line {number}: expected a JSON object with two texts and a label, got {line[:40]!r}")
            yield number, row


def _table_rows(url: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a tab-separated file as dicts, with their line numbers. There is no quoting."""
    header, *rows = _lines(url)
    names = header.split("\t")
    if len(names) != len({*names}) or any(len({*names} & {*known}) != 1 for known in (FIRST, SECOND, ("label",))):
        expected = "a label and two texts, e.g. 'text_a\\ttext_b\\tlabel'"
        raise TaskError(f"{url}: the first line must name {expected}, it is {header[:40]!r}")
    for number, line in enumerate(rows, start=2):
        if line.strip():
            if len(fields := line.split("\t")) != len(names):
                raise TaskError(f"{url}, line {number}: expected {len(names)} fields separated by tabs, got {line[:40]!r}")
            yield number, dict(zip(names, fields, strict=True))


def _sentences(url: str) -> Iterator[Example]:
    items: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*_lines(url), ""], start=1):
        if match := _TAGGED.fullmatch(line):
            if not _TAG.fullmatch(match[2]):
                raise TaskError(f"{url}, line {number}: {match[2]!r} is not a BIO tag (O, B-PER, I-PER, ...)")
            items.append(match[1])
            tags.append(match[2])
        elif line.strip():
            raise TaskError(f"{url}, line {number}: expected a character, a space and a BIO tag, got {line[:40]!r}")
        elif items:
            yield Example(tuple(items), tuple(tags))
            items, tags = [], []


def _not_empty(examples: list[Example], url: str) -> list[Example]:
    if not examples:
        raise TaskError(f"{url}: no examples in it; download or write it again")
    return examples
