"""Writing a folder of files that belong together over an older one: no program ever loads a mix of both.

    with replacing("my-nezha", last="config.json") as write:
        write("config.json", b"{...}")
        write("model.safetensors", Path("model.safetensors"))

All files are first written, and synced, into a hidden folder inside. If that fails (a full disk, no permission) or is killed,
the older files are still there and whole. Then the old ones are removed, beginning with `last`, and the new ones moved to their
places, ending with `last`: a file without which programs refuse the folder. A kill in between leaves a folder that does not
load, until it is written again. On object stores moves are copies within the store.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pipeline import folders, locks, storage
from pipeline.errors import CheckpointError

UNFINISHED = ".unfinished"
"""Folder of files that have not been moved to their places; a killed writer leaves it to the next one."""
Write = Callable[[str, "bytes | Path"], None]


def refuse_training(folder: str) -> None:
    """Refuse a folder whose files training reads.

    Raises: CheckpointError.
    """
    if (found := folders.describe(folder)) in (folders.CHECKPOINT, folders.TRAINING):
        raise CheckpointError(f"{folder}: {found}, whose files an export would replace; choose another folder")


@contextlib.contextmanager
def replacing(folder: str, last: str, stale: Sequence[str] = ()) -> Iterator[Write]:
    """Yield `write(name, content)`, content being bytes or a local file, and put all files in place when the block ends.

    last: the file without which programs refuse to load the folder
    stale: names of files to remove if an older export left them and the new one does not write them

    Raises: StorageError, also if another process writes into the folder; CheckpointError if training does.
    """
    refuse_training(folder)
    unfinished = storage.join(folder, UNFINISHED)
    names: list[str] = []

    def write(name: str, content: bytes | Path) -> None:
        with storage.open_write(storage.join(unfinished, name)) as target:
            if isinstance(content, bytes):
                target.write(content)
            else:
                with content.open("rb") as source:
                    shutil.copyfileobj(source, target, 1 << 20)
        names.append(name)

    with locks.locked(storage.join(folder, ".export.lock")) as lock:
        storage.remove(unfinished)
        storage.remove_unfinished(folder)
        try:
            yield write
            lock.confirm()
            order = sorted(names, key=lambda name: name == last)
            for name in [*reversed(order), *stale]:
                storage.remove(storage.join(folder, name))
            for name in order:
                storage.move(storage.join(unfinished, name), storage.join(folder, name))
        finally:
            storage.remove(unfinished)
