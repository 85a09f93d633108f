"""Files that grow while a training runs: appended in place on a local disk; in an object store, which cannot append, written in
a temporary folder and uploaded whole now and then.

    folder = GrowingFolder("s3://bucket/run/live")
    file = GrowingFile(folder, "metrics-0001", "jsonl")
    file.append(b"...")       metrics-0001-000.jsonl
    folder.publish()          what has grown is uploaded
"""

import contextlib
import tempfile
from pathlib import Path

from pipeline import storage

PART_BYTES = 8 << 20
"""Size at which a file of an object store is followed by another one: what grows is uploaded again and again."""


class GrowingFolder:
    """A folder of such files."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.local = storage.is_local(url)
        self._exit = contextlib.ExitStack()
        if self.local:
            self.path = storage.local_path(url)
        else:
            self.path = Path(self._exit.enter_context(tempfile.TemporaryDirectory(prefix="nezha-pipe-live-")))
        self._uploaded: dict[str, int] = {}

    def publish(self) -> None:
        """Upload what has grown since the last time.

        Raises: StorageError.
        """
        if self.local:
            return
        for path in sorted(self.path.iterdir()):
            size = path.stat().st_size
            if self._uploaded.get(path.name) != size:
                storage.upload(str(path), storage.join(self.url, path.name))
                self._uploaded[path.name] = size

    def close(self) -> None:
        """Remove the temporary folder."""
        self._exit.close()


class GrowingFile:
    """One of them, in parts: `metrics-0001-000.jsonl`, `metrics-0001-001.jsonl`, ...

    Args:
        head: what each part begins with.
    """

    def __init__(self, folder: GrowingFolder, stem: str, suffix: str, head: bytes = b"") -> None:
        self.folder, self.stem, self.suffix, self.head = folder, stem, suffix, head
        self._part = 0
        self._whole = 0
        """Bytes of the part that are written for certain: what a full disk cut short is overwritten."""

    def append(self, data: bytes) -> None:
        """Append whole records.

        Raises: OSError; then nothing of them counts, and they may be appended again.
        """
        storage.make_folder(self.folder.path)
        path = self.folder.path / f"{self.stem}-{self._part:03d}.{self.suffix}"
        if not self._whole:
            data = self.head + data
        with path.open("r+b" if path.exists() else "wb") as file:
            file.seek(self._whole)
            file.truncate()
            file.write(data)
        self._whole += len(data)
        if not self.folder.local and self._whole >= PART_BYTES:
            self._part, self._whole = self._part + 1, 0
