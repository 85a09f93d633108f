"""Text of a bzip2 dump that is kept from the pass for its side input to the one for its pages, which reads the same bytes.

    wiki_side_input_zhwiki-3f9a0c1b2d4e/unpacked/
        5be1f20c7d34-0-1000000.parquet              position    text
        5be1f20c7d34-1000000-19a3f07.parquet        251733      900 kB of XML, as bzip2.py yields it

Decompressing bzip2 takes longer than anything else that is done to a page that did not change. The copies, in zstd, are up
to twice as large as the dump; they are on local disks only, and the stage of documents removes them once it has read them. They
decide nothing: what is missing or damaged is read from the dump, and a disk that gets full is rid of them first.

        given-up                                    in place of the copies: there was no room for them
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.engine.execution import News, Report
from pipeline.errors import NoSpaceError, StorageError
from pipeline.sources.records import ReadTask
from pipeline.wiki.dumps import bzip2

T = TypeVar("T")

_FOLDER = "unpacked"
_GIVEN_UP = "given-up"
_SCHEMA = pa.schema([pa.field("position", pa.int64(), nullable=False), pa.field("text", pa.binary(), nullable=False)])


def keep(folder: str, task: ReadTask) -> Iterator[tuple[int, bytes]]:
    """Yield the blocks of a dump from the start of a task on, and keep those in its range for `blocks`.

    folder: of the stage of the side input.
    Raises: CorpusError for a file that is cut short or damaged; NoSpaceError, see `with_room`.
    """
    found = bzip2.blocks(task.url, task.start)
    if not storage.is_local(folder) or _is_given_up(folder):
        yield from found
        return
    end = storage.file_size(task.url) if task.end is None else task.end
    url = storage.join(folder, _FOLDER, f"{_key(task.file)}-{task.start:x}-{end:x}.parquet")
    beyond = None
    with (
        storage.open_write(url) as file,
        pq.ParquetWriter(file, _SCHEMA, compression="zstd", use_dictionary=False, write_page_checksum=True) as writer,
    ):
        for position, text in found:
            if position >= end:
                beyond = position, text
                break
            writer.write_table(pa.table([[position], [text]], schema=_SCHEMA))  # a row group for each
            yield position, text
    if beyond:  # the end of the last page
        yield beyond
        yield from found


def blocks(folder: str, task: ReadTask) -> Iterator[tuple[int, bytes]]:
    """Yield the blocks of a dump from the start of a task on: those that are kept in a folder, and the others from the dump.

    Raises: CorpusError for a file that is cut short or damaged.
    """
    at = task.start
    for first, end, url in _copies(folder, task.file):
        if first <= at < end:
            with contextlib.suppress(OSError, pa.ArrowException, StorageError):
                for position, text in _read(url, at):
                    yield position, text
                    at = position + 1
                at = end
    if at < storage.file_size(task.url):
        yield from bzip2.blocks(task.url, at)


def with_room(folder: str, report: Report, work: Callable[[], T]) -> T:
    """Return what `work` returns. Where it finds the disk full, what is kept in a folder is given up, and it is called again.

    Args:
        folder: of the stage of the side input.
        work: resumes when it is called again.

    Raises: NoSpaceError when the disk is full without what was kept.
    """
    try:
        return work()
    except NoSpaceError:
        if not _is_kept(folder):
            raise
    remove(folder)
    storage.write_bytes(_mark(folder), b"")
    report(0, 0, News("no space left: the unpacked text of the dump is given up, and its pages take longer to read"))
    return work()


def _mark(folder: str) -> str:
    return storage.join(folder, _FOLDER, _GIVEN_UP)


def _is_given_up(folder: str) -> bool:
    return storage.exists(_mark(folder))


def _is_kept(folder: str) -> bool:
    """Return whether text is kept in a folder, or was about to be."""
    return storage.is_local(folder) and storage.is_folder(storage.join(folder, _FOLDER)) and not _is_given_up(folder)


def remove(folder: str) -> None:
    """Remove what is kept in a folder."""
    storage.remove(storage.join(folder, _FOLDER))


def _key(file: str) -> str:
    return hashlib.blake2b(file.encode(errors="surrogatepass"), digest_size=6).hexdigest()


def _copies(folder: str, file: str) -> list[tuple[int, int, str]]:
    """Return first byte, end and URL of the copies of a dump, in order."""
    if not folder or not storage.is_local(folder):
        return []
    kept = storage.join(folder, _FOLDER)
    found = []
    for name in storage.list_names(kept):
        if name == _GIVEN_UP:
            continue
        key, first, end = name.partition(".")[0].split("-")
        if key == _key(file):
            found.append((int(first, 16), int(end, 16), storage.join(kept, name)))
    return sorted(found)


def _read(url: str, start: int) -> Iterator[tuple[int, bytes]]:
    """Yield the blocks of a copy that start at byte `start` or later."""
    with storage.open_read(url) as file:
        copy = pq.ParquetFile(file, page_checksum_verification=True)
        for group, position in enumerate(copy.read(["position"])["position"].to_pylist()):
            if position >= start:
                yield position, copy.read_row_group(group, ["text"])["text"][0].as_py()
