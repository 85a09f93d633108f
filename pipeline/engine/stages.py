"""Stages: folders named after everything that decides their content.

    runs/tiny/documents_news-3f9a0c1b2d4e/        the key: stage version, settings, digests of inputs
        part-00000.parquet ...                    files at their final names
        work-7c31.../                             finished parts of an interrupted run; removed at the end
        manifest.json                             written last, the same for the same content: the commit
        run.json                                  when, where, how long: not part of the content

A folder without manifest.json is unfinished: readers skip it, and the next run resumes in it. A finished stage never runs
again.
"""

import contextlib
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from functools import cached_property
from typing import Any

from pipeline import folders, locks, storage
from pipeline.engine import integrity
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.integrity import WORK as WORK
from pipeline.errors import DamagedError, StorageError
from pipeline.folders import MANIFEST as MANIFEST
from pipeline.redaction import public

RUN = "run.json"
"""When, where and how long; and the digest of the manifest, which a flipped bit would change too."""

Body = Callable[[str], Mapping[str, Any]]
"""Writes the files of a stage into a folder and returns `{"files": [FileEntry, ...], **facts}`.

A fact `run` goes into run.json: what differs between runs that write the same.
"""


class NotFinished(Exception):
    """A stage would have to run, in a dry run."""


@dataclass(frozen=True)
class FileEntry:
    """A file that a manifest vouches for."""

    name: str
    bytes: int
    sha256: str
    rows: int | None = None

    @staticmethod
    def of(folder: str, name: str, rows: int | None = None) -> "FileEntry":
        """Return the entry of a file that has just been written."""
        url = storage.join(folder, name)
        return FileEntry(name, storage.file_size(url), storage.sha256(url), rows)


@dataclass(frozen=True)
class Stage:
    """A stage before it runs: its kind, and everything that decides its content.

    Stage("shards", 3, {...}, {...}, source="news", length=128).folder     shards_news_128-1b2d4e3f9a0c
    """

    kind: str
    version: int
    """Bumped by hand when the code would write other bytes for the same inputs."""
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    """Digests by the name of the input."""
    source: str = ""
    """The source it is about, if it is about one."""
    length: int = 0
    """Sequence length, for shards."""

    @property
    def name(self) -> str:
        return "_".join(str(part) for part in (self.kind, self.source, self.length) if part)

    @cached_property
    def key(self) -> str:
        """Twelve hexadecimal digits that change with anything that could change the content."""
        content = {"name": self.name, "version": self.version, "settings": shown(self.settings), "inputs": public(self.inputs)}
        return hashlib.blake2b(storage.json_bytes(content), digest_size=6).hexdigest()

    @property
    def folder(self) -> str:
        return f"{self.name}-{self.key}"

    @property
    def labels(self) -> dict[str, Any]:
        """What the manifest says about source and length."""
        labels = {"source": self.source, "sequence_length": self.length}
        return {name: label for name, label in labels.items() if label}


@dataclass(frozen=True)
class Finished:
    """A finished stage: its folder and its manifest."""

    url: str
    manifest: dict[str, Any]
    fresh: bool = False
    """Whether it ran just now."""

    @property
    def name(self) -> str:
        """`shards_news_128`"""
        return str(self.manifest["stage"])

    @property
    def kind(self) -> str:
        """`shards`: the name without source and length."""
        labels = [self.manifest[name] for name in ("source", "sequence_length") if name in self.manifest]
        return self.name.removesuffix("".join(f"_{label}" for label in labels))

    @property
    def source(self) -> str:
        """`news`; "" for a stage that is not about one source."""
        return str(self.manifest.get("source", ""))

    @property
    def digest(self) -> str:
        """Digest of the files. Settings are not part of it: if they change but the files do not, later stages stay valid."""
        return self.digest_of(entry["name"] for entry in self.manifest["files"])

    def digest_of(self, names: Iterable[str]) -> str:
        """Return the digest of some of the files, for a stage that reads only these."""
        wanted = set(names)
        files = sorted((entry["name"], entry["sha256"]) for entry in self.manifest["files"] if entry["name"] in wanted)
        assert len(files) == len(wanted), f"{self.url} lacks {wanted - {name for name, _ in files}}"
        return hashlib.blake2b(json.dumps(files).encode(), digest_size=16).hexdigest()

    @property
    def without_files(self) -> "Finished":
        """A copy without lists of files and samples, small enough to be part of a task."""
        return Finished(self.url, {name: value for name, value in self.manifest.items() if isinstance(value, str | int)})

    def file(self, name: str) -> str:
        """Return the URL of a file of this stage."""
        return storage.join(self.url, name)

    def files(self, prefix: str = "", suffix: str = "") -> list[dict[str, Any]]:
        """Return the manifest entries of files with this prefix and suffix."""
        return [e for e in self.manifest["files"] if e["name"].startswith(prefix) and e["name"].endswith(suffix)]


def plain(value: Any) -> Any:
    """Return configuration classes and tuples as JSON values."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def shown(value: Any) -> Any:
    """Return settings or facts as JSON values without the secrets of URLs: as they are stored, and as they decide keys."""
    return public(plain(value))


def load(url: str) -> Finished:
    """Load the finished stage in a folder.

    Raises: StorageError when it is missing or unfinished; DamagedError when its manifest is no longer JSON.
    """
    if not storage.exists(storage.join(url, MANIFEST)):
        raise StorageError(f"{url}: no {MANIFEST} ({_why_not(url)})")
    manifest = _read(url, MANIFEST)
    if not isinstance(manifest, dict) or not {"stage", "key", "files"} <= manifest.keys():
        raise StorageError(f"{url}: {MANIFEST} was not written by nezha-pipe; delete the folder and run again")
    return Finished(url, manifest)


def _read(folder: str, name: str) -> Any:
    """Read a JSON file of a finished stage. Raises: DamagedError when it no longer is JSON."""
    try:
        return json.loads(storage.read_bytes(storage.join(folder, name)))
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{folder}: {name} is not valid JSON; delete the folder and run again") from error


def read_run(url: str) -> dict[str, Any]:
    """Read run.json of a finished stage; {} if it has none. Raises: DamagedError when it no longer is JSON."""
    noted = _read(url, RUN) if storage.exists(storage.join(url, RUN)) else {}
    return noted if isinstance(noted, dict) else {"manifest_sha256": ""}


def unchanged(stage: Finished) -> Finished:
    """Return a finished stage whose manifest is as it was written; what it counts decides what later stages do.

    Raises: DamagedError when it is not.
    """
    digest = read_run(stage.url).get("manifest_sha256")
    if digest not in (None, integrity.manifest_digest(stage.manifest)):
        raise DamagedError(f"{stage.url}: {MANIFEST} has changed since it was written; delete the folder and run again")
    return stage


def _why_not(url: str) -> str:
    """Explain what a folder without a manifest is."""
    if not storage.exists(url):
        return "no such folder"
    if stage := folders.stage_in(url, ""):
        return f"it contains stages: name one of them, such as {stage}"
    return "unfinished: run its command again to resume"


def load_all(root: str) -> list[Finished]:
    """Load every finished stage in an output folder, in the order of their names."""
    urls = (storage.join(root, name) for name in storage.list_names(root))
    return [load(url) for url in urls if storage.exists(storage.join(url, MANIFEST))]


def find(root: str, stage: Stage) -> Finished | None:
    """Return the stage if it is finished under `root`."""
    url = storage.join(root, stage.folder)
    return load(url) if storage.exists(storage.join(url, MANIFEST)) else None


def input_of(stage: Finished, name: str, stage_name: str) -> Finished | None:
    """Return an input of a finished stage, if it is in the same output folder.

    That is the stage `stage_name` whose content has the digest noted for the input `name`.
    """
    root = stage.url.rpartition("/")[0]
    for folder in storage.list_names(root):
        if folder.rpartition("-")[0] == stage_name and storage.exists(storage.join(root, folder, MANIFEST)):
            found = load(storage.join(root, folder))
            if found.digest == stage.manifest["inputs"].get(name):
                return found
    return None


def run(root: str, stage: Stage, body: Body, execution: Execution = SERIAL) -> Finished:
    """Run a stage unless it is finished.

    Raises: StorageError when another process is running it (on this machine, or on one that shares its file system or object
        store), or has taken it over; NotFinished in a dry run.
    """
    lock = storage.join(root, f".{stage.folder}.lock")
    if done := find(root, stage):
        if execution.dry_run:
            return done
        _tidy(done.url, lock)
        return unchanged(done)
    if execution.dry_run:
        raise NotFinished(stage.folder)
    with locks.locked(lock) as held:
        return find(root, stage) or _run(storage.join(root, stage.folder), stage, body, held)


def _run(url: str, stage: Stage, body: Body, lock: locks.Lock) -> Finished:
    started = time.time()
    content = dict(body(url))
    noted = content.pop("run", {})
    files = sorted((asdict(entry) for entry in content.pop("files")), key=lambda entry: str(entry["name"]))
    manifest = {
        "stage": stage.name,
        "version": stage.version,
        "key": stage.key,
        "settings": shown(stage.settings),
        "inputs": public(stage.inputs),
        "files": files,
        **stage.labels,
        **{name: fact if name == "samples" else public(fact) for name, fact in plain(content).items()},
    }
    lock.confirm()
    times = {"started": started, "seconds": time.time() - started, "host": platform.node(), "pid": os.getpid()}
    storage.write_json(storage.join(url, RUN), {**times, **noted, "manifest_sha256": integrity.manifest_digest(manifest)})
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
    """Remove the leftovers of a run that was killed after its commit."""
    if storage.exists(lock) or _work_folders(url):
        # An error means that another run is at it, or that the folder is read-only.
        with contextlib.suppress(StorageError), locks.locked(lock, wait=False):
            _remove_work(url)


def verify(url: str) -> list[str]:
    """Return what is wrong with the files of a finished stage: missing, truncated or changed since."""
    try:
        stage = unchanged(load(url))
    except DamagedError as error:
        return [str(error)]
    found = (
        (stage.file(entry["name"]), integrity.damage(stage.file(entry["name"]), entry)) for entry in stage.manifest["files"]
    )
    return [f"{file}: {problem}" for file, problem in found if problem]


def check(stage: Finished) -> None:
    """Compare all files of a finished stage with its manifest, for a stage that reads them by other means than `integrity`.

    Raises: DamagedError.
    """
    integrity.check_all((stage.file(entry["name"]), entry) for entry in stage.manifest["files"])
