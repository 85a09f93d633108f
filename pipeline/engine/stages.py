"""What a stage is: a folder named after everything that decides its content.

    runs/tiny/documents_news-3f9a0c1b2d4e/        the key: stage version, settings, digests of inputs
        part-00000.parquet ...                    files at their final names
        work-7c31.../                             finished parts of a run that was interrupted; gone when done
        manifest.json                             written last, the same for the same content: the commit
        run.json                                  when, where, how long: not part of the content

A folder without manifest.json is unfinished: readers pass it by and the stage goes on in it. One with it is never run again.
"""

import contextlib
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import asdict, dataclass, is_dataclass
from functools import cached_property
from typing import Any

from pipeline import storage
from pipeline.errors import StorageError

MANIFEST = "manifest.json"
WORK = "work-"
"""Folders with this beginning hold unfinished business; they go when the stage is done."""

Report = Callable[[int, int, str], None]
"""How a stage tells where it is: done, total, what is being done."""


def silent(done: int, total: int, what: str) -> None:
    """A report to nobody."""


@dataclass(frozen=True)
class FileEntry:
    """A file that a manifest vouches for."""

    name: str
    bytes: int
    sha256: str
    rows: int | None = None

    @staticmethod
    def of(folder: str, name: str, rows: int | None = None) -> "FileEntry":
        """The entry of a file that has just been written."""
        url = storage.join(folder, name)
        return FileEntry(name, storage.file_size(url), storage.sha256(url), rows)


@dataclass(frozen=True)
class Stage:
    """One step of the chain, told by what decides its content."""

    name: str
    version: int
    """Bumped by hand when the code would write something else from the same inputs."""
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    """Digests by a name of the input."""

    @cached_property
    def key(self) -> str:
        """Twelve hexadecimal digits that change with anything that could change the content."""
        content = {"name": self.name, "version": self.version, "settings": plain(self.settings), "inputs": dict(self.inputs)}
        return hashlib.blake2b(storage.json_bytes(content), digest_size=6).hexdigest()

    @property
    def folder(self) -> str:
        return f"{self.name}-{self.key}"


@dataclass(frozen=True)
class Finished:
    """A finished stage: where it is and what its manifest says."""

    url: str
    manifest: dict[str, Any]
    fresh: bool = False
    """Whether it ran just now."""

    @property
    def name(self) -> str:
        return str(self.manifest["stage"])

    @property
    def digest(self) -> str:
        """Digest of the content. Settings do not enter: a change that leaves the files as they were redoes nothing after it."""
        return self.digest_of(entry["name"] for entry in self.manifest["files"])

    def digest_of(self, names: Iterable[str]) -> str:
        """Digest of some of the files: what stands on these alone is not redone when others change."""
        wanted = set(names)
        files = sorted((entry["name"], entry["sha256"]) for entry in self.manifest["files"] if entry["name"] in wanted)
        assert len(files) == len(wanted), f"{self.url} lacks {wanted - {name for name, _ in files}}"
        return hashlib.blake2b(json.dumps(files).encode(), digest_size=16).hexdigest()

    @property
    def light(self) -> "Finished":
        """The same without its lists of files and samples: what a task carries to a worker."""
        return Finished(self.url, {name: value for name, value in self.manifest.items() if isinstance(value, str | int)})

    def file(self, name: str) -> str:
        """URL of a file of this stage."""
        return storage.join(self.url, name)

    def files(self, prefix: str = "", suffix: str = "") -> list[dict[str, Any]]:
        """Manifest entries by name."""
        return [e for e in self.manifest["files"] if e["name"].startswith(prefix) and e["name"].endswith(suffix)]


def plain(value: Any) -> Any:
    """Configuration classes and tuples as JSON knows them."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def load(url: str) -> Finished:
    """A finished stage by its folder; `StorageError` when it is missing, unfinished or damaged."""
    if not storage.exists(storage.join(url, MANIFEST)):
        raise StorageError(f"{url}: no {MANIFEST} ({_why_not(url)})")
    manifest = storage.read_json(storage.join(url, MANIFEST))
    if not isinstance(manifest, dict) or not {"stage", "key", "files"} <= manifest.keys():
        raise StorageError(f"{url}: {MANIFEST} is not one of nezha-pipe; remove the folder and run again")
    return Finished(url, manifest)


def _why_not(url: str) -> str:
    """What a folder without a manifest is."""
    if not storage.exists(url):
        return "no such folder"
    inside = (name for name in storage.list_names(url) if storage.exists(storage.join(url, name, MANIFEST)))
    if stage := next(inside, None):
        return f"it holds stages: name one of them, such as {storage.join(url, stage)}"
    return "unfinished: run its command again to go on"


def find(root: str, stage: Stage) -> Finished | None:
    """The stage if it is finished under `root`."""
    url = storage.join(root, stage.folder)
    return load(url) if storage.exists(storage.join(url, MANIFEST)) else None


def input_of(stage: Finished, name: str, prefix: str) -> Finished | None:
    """An input of a finished stage, if it lies beside it: the stage `prefix` whose content has the digest that was noted."""
    root = stage.url.rpartition("/")[0]
    for folder in storage.list_names(root):
        if folder.rpartition("-")[0] == prefix and storage.exists(storage.join(root, folder, MANIFEST)):
            found = load(storage.join(root, folder))
            if found.digest == stage.manifest["inputs"].get(name):
                return found
    return None


class NotDone(Exception):
    """A stage that would have to run, met while planning."""


_planning: ContextVar[bool] = ContextVar("planning", default=False)


@contextlib.contextmanager
def planning() -> Iterator[None]:
    """Inside, nothing runs: the first stage that is not finished raises `NotDone`."""
    token = _planning.set(True)
    try:
        yield
    finally:
        _planning.reset(token)


def run(root: str, stage: Stage, body: Callable[[str], Mapping[str, Any]]) -> Finished:
    """Run a stage unless it is finished. `body(folder)` writes files and returns `{"files": [FileEntry...], ...facts}`.

    Raises: StorageError when another process is at work on it (of this machine, or one that shares its file system).
    """
    lock = storage.join(root, f".{stage.folder}.lock")
    if done := find(root, stage):
        if not _planning.get():
            _tidy(done.url, lock)
        return done
    if _planning.get():
        raise NotDone(stage.folder)
    with storage.held(lock):
        return find(root, stage) or _run(storage.join(root, stage.folder), stage, body)


def _run(url: str, stage: Stage, body: Callable[[str], Mapping[str, Any]]) -> Finished:
    started = time.time()
    content = dict(body(url))
    files = sorted((asdict(entry) for entry in content.pop("files")), key=lambda entry: str(entry["name"]))
    manifest = {
        "stage": stage.name,
        "version": stage.version,
        "key": stage.key,
        "settings": plain(stage.settings),
        "inputs": dict(stage.inputs),
        "files": files,
        **plain(content),
    }
    storage.write_json(
        storage.join(url, "run.json"),
        {"started": started, "seconds": time.time() - started, "host": platform.node(), "pid": os.getpid()},
    )
    storage.write_json(storage.join(url, MANIFEST), manifest)
    _remove_work(url)
    return Finished(url, json.loads(storage.json_bytes(manifest)), fresh=True)


def _remove_work(url: str) -> None:
    storage.remove_unfinished(url)
    for name in _work_folders(url):
        storage.remove(storage.join(url, name))


def _work_folders(url: str) -> list[str]:
    return [name for name in storage.list_names(url) if name.startswith(WORK)]


def _tidy(url: str, lock: str) -> None:
    """Remove what a run has left in a finished stage that was killed between its commit and its end."""
    if storage.exists(lock) or _work_folders(url):
        # Else another run is at it, or the folder is not ours to change.
        with contextlib.suppress(StorageError), storage.held(lock):
            _remove_work(url)


def verify(url: str) -> list[str]:
    """What is wrong with a finished stage: files missing, cut short or changed since. Empty = all is well."""
    stage = load(url)
    problems = []
    for entry in stage.manifest["files"]:
        file = stage.file(entry["name"])
        if not storage.exists(file):
            problems.append(f"{file}: missing")
        elif (size := storage.file_size(file)) != entry["bytes"]:
            problems.append(f"{file}: {size:,} bytes, the manifest says {entry['bytes']:,}")
        elif storage.sha256(file) != entry["sha256"]:
            problems.append(f"{file}: content differs from its SHA-256 in the manifest")
    return problems
