"""Reading: the files of a source become tasks, and a task becomes records. Nothing is judged, and nothing is lost silently.

    plan(source, files, 16 MiB)      news.jsonl, 40 MiB    -> [0, 16 Mi), [16 Mi, 32 Mi), [32 Mi, end)
                                     0001.txt ... 8000.txt -> one task of many small files
                                     part.parquet          -> row groups [0, 3), [3, 6)
    records(source, task, counts)    -> Record("news.jsonl#412", "外宾来访", "国家主席在北京会见外宾。"), Bad(...), Skipped(...)

The format of a file is detected from its content (pipeline/sources/formats/). The identity of a record does not depend on how
files are cut into tasks. Two kinds of input have readers of their own: `demo` (pipeline/sources/demo.py) and MediaWiki dumps.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeline import storage
from pipeline.config import SourceConfig
from pipeline.engine import counting
from pipeline.engine.counting import Counts
from pipeline.engine.stages import (
    Finished,
)
from pipeline.errors import CorpusError
from pipeline.sources.formats import arrow, detection, fields, foreign, json_values, parquet, plain, tables
from pipeline.sources.formats.detection import FileFormat
from pipeline.sources.formats.fields import FIELDS
from pipeline.sources.formats.lines import Range
from pipeline.sources.formats.text_formats import TEXT_FORMATS
from pipeline.sources.inputs import InputFile
from pipeline.sources.records import Bad, Raw, ReadTask, Record, Skipped

__all__ = ["Bad", "ReadTask", "Record", "Skipped", "plan", "raw"]

_NOT_WIKI = {
    "documents": "plain text",
    "a document": "a text or a web page",
    "lines": "plain text",
    "WET": "web pages",
    "subtitles": "subtitles",
    "lyrics": "lyrics",
}
"""Formats that a source of kind `wiki` cannot have: a server's error page must not pass for an article."""
_WIKI_FIELDS = frozenset(("text", "completion", "index"))
"""One of these is in records that were extracted from a wiki; `index` in search dumps."""
MAX_POINTER = 200
"""Bytes of the longest file that may be a pointer."""
_DETECTION_THREADS = 8
"""Files whose format is detected at the same time, because they may be in an object store."""


Formats = Mapping[InputFile, FileFormat]
"""Formats of files that have been detected."""


def plan(source: SourceConfig, files: Sequence[InputFile], task_bytes: int, known: Formats | None = None) -> list[ReadTask]:
    """Return tasks of about `task_bytes` each: large files are split where the format allows, small ones are grouped.

    Args:
        known: of a `wiki` source, what `wiki_formats` found, if it was asked.

    Raises: CorpusError for a large file that is damaged, or for input that cannot be read at all.
    """
    if source.kind == "demo":
        return [ReadTask("", source.input[0], 0, None, 0)]
    if source.kind == "wiki":
        known = wiki_formats(source, files) if known is None else known
        files = list(known)
    _refuse_pointers(files)
    if known is None:
        known = _detect_formats(source, [file for file in files if file.size > task_bytes])
    tasks: list[ReadTask] = []
    for first, *rest in _groups(files, task_bytes, dumps(known)):
        following = tuple((file.url, file.name) for file in rest)
        for start, end in _ranges(first, known.get(first), task_bytes):
            tasks.append(ReadTask(first.url, first.name, start, end, len(tasks), known.get(first), following))
            following = ()  # only once, even if a small file has several ranges: Parquet can be far larger uncompressed
    return tasks


def _refuse_pointers(files: Sequence[InputFile]) -> None:
    """Raise an error for Git LFS pointers before anything is read: they are some 130 bytes long."""
    tiny = [file.url for file in files if 0 < file.size <= MAX_POINTER]
    with ThreadPoolExecutor(_DETECTION_THREADS) as pool:
        for url, data in zip(tiny, pool.map(storage.read_bytes, tiny), strict=True):
            foreign.refuse_stand_in(data.decode(errors="replace"), url, pages=False)


def wiki_formats(source: SourceConfig, files: Sequence[InputFile]) -> Formats:
    """Return the files of a `wiki` source that are read, with their formats: dumps, or what wikiextractor has made of them.

    Raises: CorpusError for plain text and web pages.
    """
    from pipeline.wiki.dumps import dump

    return _detect_formats(source, [file for file in files if not dump.is_index(file.name)])


def _detect_formats(source: SourceConfig, files: Sequence[InputFile]) -> Formats:
    with ThreadPoolExecutor(_DETECTION_THREADS) as pool:
        known = dict(zip(files, pool.map(lambda file: detection.detect_format(file.url, source.encoding), files), strict=True))
    for file, file_format in known.items():
        if source.kind == "wiki" and file_format.kind in _NOT_WIKI:
            raise CorpusError(
                f"{file.url}: neither a MediaWiki dump nor extracted from one, but {_NOT_WIKI[file_format.kind]}; "
                "name the pages-articles .xml.bz2 itself, or read plain text with --corpus text"
            )
        if source.kind == "wiki":
            _check_wiki_fields(source, file, file_format)
        elif file_format.kind == "MediaWiki dump":
            raise _dump_error(source, file.url)
    return known


def _check_wiki_fields(source: SourceConfig, file: InputFile, file_format: FileFormat) -> None:
    """Raise an error for records that cannot be articles of a wiki, such as news: they would be converted as if they were."""
    names = file_format.table.names if file_format.table else file_format.fields
    if file_format.kind == "Parquet":
        names = parquet.column_names(file.url)
    if source.text_field or not names or _WIKI_FIELDS.intersection(names):
        return
    what = "have no field known to hold text" if fields.find_format(names) is None else "are not extracted from a wiki"
    raise CorpusError(
        f"{file.url}: its records {what} ({FIELDS}{', '.join(names)}); read news, encyclopedias and other text with "
        "--corpus news, baike or text, or name the fields with --text-field"
    )


def dumps(known: Formats) -> list[InputFile]:
    """Return the files that are MediaWiki dumps."""
    return [file for file, file_format in known.items() if file_format.kind == "MediaWiki dump"]


def _groups(files: Sequence[InputFile], task_bytes: int, alone: Container[InputFile]) -> Iterator[list[InputFile]]:
    """Yield files to read together, in order: small ones up to `task_bytes`; large ones, and `alone`, by themselves."""
    group: list[InputFile] = []
    size = 0
    for file in files:
        size += file.size
        if group and (size > task_bytes or file in alone):
            yield group
            group, size = [], file.size
        group.append(file)
        if file in alone:
            yield group
            group, size = [], 0
    if group:
        yield group


def _ranges(file: InputFile, file_format: FileFormat | None, task_bytes: int) -> list[tuple[int, int | None]]:
    """Return the ranges that a file is read in."""
    if file_format is not None and file_format.kind == "MediaWiki dump":
        from pipeline.wiki.dumps import dump

        return [(task.start, task.end) for task in dump.split(file, task_bytes)]
    if file_format is not None and file_format.kind == "Parquet":
        return [*parquet.ranges(file.url, task_bytes)]
    if file_format is None or not file_format.splittable:
        return [(0, None)]
    starts = range(0, file.size, task_bytes)
    return [(start, start + task_bytes if start != starts[-1] else None) for start in starts]


def raw(
    source: SourceConfig, task: ReadTask, counts: Counts, side_input: Finished | None = None
) -> Iterator[Raw | Bad | Skipped]:
    """Yield the records of one task before anything is done to them.

    `counts` receives the formats of files; `side_input` is what pages of a wiki need from other pages.
    Raises: CorpusError for a file that is cut short, damaged, or in a format that cannot be read.
    """
    if source.kind == "demo":
        from pipeline.sources import demo

        for record in demo.records(task.file):
            yield Raw.of(record) if record else Skipped("split_off")
        return
    following = (ReadTask(url, file, 0, None, number) for number, (url, file) in enumerate(task.following))
    for file_task in (task, *following):
        for one in _read_file(source, file_task, counts, side_input):
            yield Raw.of(one) if isinstance(one, Record) else one


def _read_file(
    source: SourceConfig, task: ReadTask, counts: Counts, side_input: Finished | None
) -> Iterator[Raw | Record | Bad | Skipped]:
    file_format = task.file_format or detection.detect_format(task.url, source.encoding)
    if task.start == 0:
        counting.count(counts, "files", str(file_format))
    if file_format.kind == "MediaWiki dump":
        yield from _pages(source, task, side_input)
        return
    part, encoding = Range(task.file, task.start, task.end), detection.stream_encoding(file_format)
    with detection.open_unpacked(task.url, file_format) as file:
        match file_format.kind:
            case "JSON lines":
                yield from json_values.lines(file, part, encoding, source)
            case "JSON values":
                yield from json_values.values(file, part, file_format.encoding, task.url, source)
            case "Parquet":
                yield from parquet.rows(file, part, task.url, source)
            case "documents":
                yield from plain.documents(file, part, encoding)
            case "Arrow":
                yield from arrow.rows(file, part, task.url, source)
            case "CSV" | "TSV" if file_format.table:
                yield from tables.rows(file, part, encoding, task.url, source, file_format.table)
            case "a document":
                yield from plain.document(file, part, encoding)
            case "lines":
                yield from plain.lines(file, part, encoding)
            case name if name in TEXT_FORMATS:
                yield from TEXT_FORMATS[name].read(file, part, encoding, task.url)


def _pages(source: SourceConfig, task: ReadTask, side_input: Finished | None) -> Iterator[Raw | Bad | Skipped]:
    if source.kind != "wiki":
        raise _dump_error(source, task.url)
    from pipeline.wiki import pages

    yield from pages.raw(source, task, side_input)


def _dump_error(source: SourceConfig, url: str) -> CorpusError:
    return CorpusError(f"{url}: a MediaWiki dump; source {source.name!r} must be of kind 'wiki', not {source.kind!r}")


def too_many_bad(source: SourceConfig, bad: int, read: int, samples: Sequence[Mapping[str, str]], fix: str) -> str:
    """Return the error message for a source with too many unreadable records."""
    examples = "; ".join(f"{sample['origin']}: {sample['reason']}" for sample in samples[:2])
    return (
        f"source {source.name!r}: {bad:,} of {read:,} records cannot be read, "
        f"max_bad_ratio allows {source.max_bad_ratio:.2%} ({examples}); "
        f"{_hint(source, samples[0])}{fix}, or raise max_bad_ratio"
    )


def _hint(source: SourceConfig, sample: Mapping[str, str]) -> str:
    """Return how to fix the cause of unreadable records, if it is known."""
    if sample["text"].startswith(FIELDS):
        return f"name the fields with text in text_field ({sample['text']}); "
    return "leave the encoding at auto; " if source.encoding != "auto" and sample["reason"].startswith("not ") else ""
