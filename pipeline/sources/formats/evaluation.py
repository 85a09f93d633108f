"""The texts of a file that models are evaluated on, whatever its format.

The format is detected, and every string is a text: the fields of tables (CSV, TSV, Parquet), the strings of JSON (SQuAD's
passages, questions and answers), the sentences of tagged characters, the lines of anything else.

    科0 B-ORG / 技1 I-ORG                           科技: tagged characters with their positions (Weibo)
    [["男：早。", "女：你早！"], [...], "25-35"]      男：早。 / 女：你早！ / both together: a list is also one text (C3)
    {"content": ["可谓#idiom000381#。"], ...}        可谓百尺竿头。: what is around a blank, with its answer (CHID: marks.py)

A text is shown as the readers of tasks have it (workflows/evaluation/formats), so that contaminated examples are known by it.
"""

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.errors import CorpusError
from pipeline.sources.formats import foreign, json_values, tables
from pipeline.sources.formats.marks import SPAN_MARKS, Passage, answers_of, passages, read_answers, with_marks

MAX_HEAD = 4_096
"""Characters that show whether a file is what its name says."""
MAX_SAMPLE = 1 << 20
"""Characters that show how a table is written."""
MIN_JOINED = 16
"""Characters of the shortest list that is also a text as a whole."""
SAMPLE_LINES = 200
"""Lines that show which columns of a file have items and tags."""
Passages = Callable[[Mapping[str, Any]], list[Passage]]
"""What a record has around blanks (marks.py)."""
_TAG = re.compile(r"[BIESMO]|[BIESM]-\S+")
_POSITIONED = re.compile(r"\S\d+")
_SPACED = re.compile(r"\S(?:[ \x02]\S)+")


class Text(NamedTuple):
    """An evaluation text."""

    searched: str
    """What documents are searched for."""
    shown: str
    """The same as an example of a task has it: with ____ where the answer belongs."""

    @classmethod
    def of(cls, text: str) -> "Text":
        """Return a text as it is, but for separators between single characters."""
        return cls(text, re.sub("[ \x02]", "", text) if _SPACED.fullmatch(text) else text)


def answer_files(urls: Iterable[str]) -> dict[str, str]:
    """Return the file with the answers to the blanks of a file, for those that have one: {"dev.json": "dev_answer.json"}."""
    there = {storage.join(storage.parent(url), storage.base_name(url)): url for url in urls}
    found = {url: answers_of(name, there.__contains__) for name, url in there.items()}
    return {url: there[answers] for url, answers in found.items() if answers}


def strings(url: str, answers_url: str | None = None) -> Iterator[Text]:
    """Yield every text of an evaluation file, repeated ones too.

    Args:
        answers_url: a file with the answers to its blanks; None = blanks stay empty.

    Raises: CorpusError for a file that is damaged or not UTF-8; TaskError for answers that do not fit.
    """
    around = functools.partial(passages, answers=_answers(answers_url) if answers_url else None, where=url)
    with storage.open_read(url, compression="infer") as file:
        data = file.read()
    if data.startswith(b"PAR1"):
        return (yield from _texts_in(_parquet_rows(data, url), around, root=True))
    content = _decoded(data, url)
    lines = content.split("\n")
    first = next((line for line in lines if line.strip()), "")
    if first.lstrip().startswith(("{", "[")):
        yield from _json_texts(content, lines, around)
    elif columns := _columns(lines):
        yield from map(Text.of, _sentences(lines, *columns))
    elif (table := tables.detect(content[:MAX_SAMPLE], len(content) <= MAX_SAMPLE)) and len(table.delimiter) == 1:
        yield from map(Text.of, filter(None, tables.all_fields(content, table)))
    else:
        yield from (Text.of(field) for line in lines for field in re.split(r"\t|\|\|", line.rstrip("\r")) if field)


def _decoded(data: bytes, url: str) -> str:
    try:
        content = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{url}: not UTF-8 ({error.reason} at byte {error.start}); convert it first") from error
    foreign.refuse_stand_in(content[:MAX_HEAD], url)
    return content


def _answers(url: str) -> dict[str, int]:
    with storage.open_read(url, compression="infer") as file:
        return read_answers(_decoded(file.read(), url), url)


def _parquet_rows(data: bytes, url: str) -> list[Any]:
    try:
        rows: list[Any] = pq.read_table(pa.BufferReader(data)).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(f"{url}: the Parquet file is cut short or damaged; fetch it again") from error
    return rows


def _json_texts(content: str, lines: Iterable[str], around: Passages) -> Iterator[Text]:
    """Yield the texts of JSON values, one or several. A line that is not JSON is a text itself."""
    try:
        found = [text for value in json_values.all_values(content) for text in _texts_in(value, around, root=True)]
    except (ValueError, RecursionError):
        found = []
        for line in lines:
            try:
                found += (text for value in json_values.all_values(line) for text in _texts_in(value, around, root=True))
            except (ValueError, RecursionError):
                found.append(Text.of(line))
    yield from found


def _texts_in(value: Any, around: Passages, root: bool = False, between: str = "\n") -> Iterator[Text]:
    """Yield the texts in a JSON value, keys left out.

    Args:
        root: whether it is a whole value of the file: an array of records, which are no text together.
        between: what is between the strings of a list where it is one text.
    """
    if isinstance(value, str):
        yield Text.of(value)
    elif isinstance(value, dict):
        yield from _texts_of_record(value, around)
    elif isinstance(value, list):
        if len(value) > 1 and not root and all(isinstance(one, str) for one in value):
            if all(map(_TAG.fullmatch, value)):
                return
            joined = ("" if all(len(one) <= 1 for one in value) else between).join(value)
            if len(joined) >= MIN_JOINED:
                yield Text(joined, joined)
        for item in value:
            yield from _texts_in(item, around)


def _texts_of_record(record: Mapping[str, Any], around: Passages) -> Iterator[Text]:
    if found := around(record):
        for passage in found:
            yield from (Text(blank.searched, blank.shown) for blank in passage.blanks)
            if not passage.blanks:
                yield Text.of(passage.text)
        return
    if (marked := _marked(record)) is not None:
        yield Text(str(record["text"]), marked)
    is_tagged = any(
        isinstance(one, list) and one and all(isinstance(tag, str) and _TAG.fullmatch(tag) for tag in one)
        for one in record.values()
    )
    for one in record.values():
        yield from _texts_in(one, around, between="" if is_tagged else " ")


def _marked(record: Mapping[str, Any]) -> str | None:
    """Return the text of a record of CLUEWSC2020 with marks around noun and pronoun, None for another: 在_床_上…，[它]响了。"""
    text, target = record.get("text"), record.get("target")
    if not (isinstance(text, str) and isinstance(target, dict)):
        return None
    found = []
    for number, marks in SPAN_MARKS:
        span, at = target.get(f"span{number}_text"), target.get(f"span{number}_index")
        if not (isinstance(span, str) and isinstance(at, int)):
            return None
        found.append((at, at + len(span), marks))
    return with_marks(text, found)


def _cells(line: str) -> list[str]:
    """Return the columns of a line of tagged items; the item may itself be white space: `  O`."""
    cells = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
    return [line[0], *cells] if len(cells) == 1 and line[:1].isspace() else cells


def _columns(lines: Iterable[str]) -> tuple[int, bool] | None:
    """Return which column of a file of tagged items has the items, and whether a position follows each item (`科0`).

    None for a file that is no such file: one with a line without a tag, as all of prose has.
    """
    sample = [_cells(line) for line in itertools.islice((line for line in lines if line.strip()), SAMPLE_LINES)]
    if not sample or min(map(len, sample)) < 2:
        return None
    for tag in (-1, *range(1, min(map(len, sample)) - 1)):
        if all(_TAG.fullmatch(cells[tag].strip()) for cells in sample):
            numbered = sum(cells[0].isdecimal() for cells in sample) == len(sample) > 1 and len(sample[0]) > 2
            item = int(numbered and tag != 1)
            positions = sum(_POSITIONED.fullmatch(cells[item]) is not None for cells in sample)
            return item, positions > 0.9 * len(sample)
    return None


def _sentences(lines: Iterable[str], item: int, positions: bool) -> Iterator[str]:
    """Yield sentences of tagged items: a line per item, an empty line after each sentence."""
    sentence: list[str] = []
    for line in (*lines, ""):
        if line.strip():
            cells = _cells(line)
            text = cells[item] if item < len(cells) else cells[0]
            sentence.append(text[:1] if positions else text)
        elif sentence:
            yield "".join(sentence)
            sentence = []
