"""Whether several machines see the same files: a path means another folder on each, unless the disk is shared.

with places.marked(folder) as mark:          a small file of random name and content in it
    problem = places.unseen(mark, [...])     on each machine: None, or what it does not see
"""

import contextlib
import secrets
from collections.abc import Iterator, Mapping

from pipeline import storage
from pipeline.errors import StorageError

PREFIX = "seen-by-all-"
"""Start of the name of a mark. One may be left by a run that was killed: it does no harm."""
WAY_ON = "use a disk that all machines share, or a store (s3://...)"


@contextlib.contextmanager
def marked(folder: str) -> Iterator[str]:
    """Mark a folder; yields the URL of the mark, which is removed at the end."""
    word = secrets.token_hex(8)
    mark = storage.join(folder, PREFIX + word)
    storage.write_bytes(mark, word.encode())
    try:
        yield mark
    finally:
        with contextlib.suppress(StorageError):
            storage.remove(mark)


def unseen(mark: str, files: Mapping[str, int]) -> str | None:
    """What this machine does not see as the others do; None if it sees everything.

    `files`: URL -> size, of files that all have to read.
    """
    word = mark.rpartition(PREFIX)[2]
    if not storage.exists(mark) or storage.read_bytes(mark) != word.encode():
        return f"{storage.parent(mark)} is not there, or is another folder"
    for url, size in files.items():
        if not storage.exists(url):
            return f"{url} is not there"
        if (found := storage.file_size(url)) != size:
            return f"{url} has {found:,} bytes, not {size:,}"
    return None


def unwritable(mark: str) -> str | None:
    """Why this machine cannot write beside a mark; None if it can."""
    own = f"{mark}-{secrets.token_hex(4)}"
    try:
        storage.write_bytes(own, b"")
        storage.remove(own)
    except StorageError as error:
        return str(error)
    return None
