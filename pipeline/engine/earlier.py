"""Earlier stages of the same source, made with the same settings of other input: what is still true of them is not made again.

    documents_wiki-3f9a0c1b2d4e/      last quarter's dump
        part-00000.parquet ...        its documents
        known-00000.parquet           what each of them was made of: digests, by which it is found again
        run.json                      lists the files `known-...` with their checksums, and what was reused

The files `known-...` and the counts in run.json depend on what was there before, so they are no part of a stage's content: its
manifest, its digest and its files are those of a run from nothing. Nothing is used that is not what its manifest says.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.arrays import Hashes, Ints
from pipeline.engine import integrity, stages
from pipeline.engine.counting import Counts
from pipeline.engine.execution import Execution, News
from pipeline.engine.stages import FileEntry, Finished, Stage
from pipeline.errors import DamagedError, StorageError

PREFIX = "known-"
WORK = ("reused", "anew")
"""What is counted of records and documents: taken from an earlier stage, or made in this one."""


@dataclass(frozen=True)
class Earlier:
    """A finished stage that is used again, small enough to be part of a task."""

    stage: Finished
    """Without its lists of files."""
    known: tuple[str, ...]
    """URLs of its files `known-...`, which are intact."""


def find(root: str, stage: Stage, may_differ: Collection[str], execution: Execution) -> Earlier | None:
    """Return the newest finished stage that differs from `stage` in some of its inputs only; None if there is none.

    Args:
        may_differ: names of inputs, of which a file `known-...` tells how far they are the same.

    A damaged one is named, and not used. Raises: StorageError when one cannot be read now.
    """
    if not execution.reuse:
        return None
    for candidate, noted in _candidates(root, stage, may_differ):
        try:
            stages.check(stages.unchanged(candidate))
            files = noted["known"]
            integrity.check_all((candidate.file(entry["name"]), entry) for entry in files)
        except DamagedError as error:
            execution.report(0, 0, News(f"warning: {stage.name} is made anew, not from {candidate.url}: {error}"))
            continue
        return Earlier(candidate.without_files, tuple(candidate.file(entry["name"]) for entry in files))
    return None


def _candidates(root: str, stage: Stage, may_differ: Collection[str]) -> Iterator[tuple[Finished, dict[str, Any]]]:
    """Yield stages that can be used and their run.json, newest first."""
    found = []
    for folder in storage.list_names(root):
        url = storage.join(root, folder)
        if folder.rpartition("-")[0] != stage.name or folder == stage.folder:
            continue
        if not storage.exists(storage.join(url, stages.MANIFEST)) or not storage.exists(storage.join(url, stages.RUN)):
            continue
        try:
            candidate, noted = stages.load(url), stages.read_run(url)
        except DamagedError:
            continue  # whoever needs it says so
        except StorageError:
            if storage.exists(storage.join(url, stages.MANIFEST)):
                raise
            continue  # deleted meanwhile
        if "known" in noted and _same(candidate.manifest, stage, may_differ):
            found.append((candidate, noted))
    yield from sorted(found, key=lambda one: -float(one[1]["started"]))


def _same(manifest: Mapping[str, Any], stage: Stage, may_differ: Collection[str]) -> bool:
    """Return whether a finished stage is one of the same version, settings and inputs, except some."""
    before = {name: digest for name, digest in manifest["inputs"].items() if name not in may_differ}
    now = {name: digest for name, digest in stage.inputs.items() if name not in may_differ}
    decided = (manifest["version"], storage.json_bytes(manifest["settings"]), before)
    return decided == (stage.version, storage.json_bytes(stages.shown(stage.settings)), now)


def write_known(folder: str, name: str, table: pa.Table) -> Counts:
    """Write a file `known-<name>.parquet` and return the counts by which `run_facts` lists it."""
    file = f"{PREFIX}{name}.parquet"
    with storage.open_write(storage.join(folder, file)) as opened:
        pq.write_table(table, opened, compression="zstd")
    entry = {key: value for key, value in asdict(FileEntry.of(folder, file)).items() if key in ("bytes", "sha256")}
    return {"known": {file: entry}}


class Digests:
    """Rows by their digests of 16 bytes, to be found many at a time."""

    def __init__(self, columns: Iterable[pa.ChunkedArray]) -> None:
        chunks = [chunk for column in columns for chunk in column.chunks]
        column = pa.concat_arrays([pa.array([], pa.binary(16)), *chunks])
        digests = np.frombuffer(column.buffers()[1], np.uint64).reshape(-1, 2) if len(column) else np.empty((0, 2), np.uint64)
        self._rows = np.lexsort((digests[:, 1], digests[:, 0]))
        self._first, self._second = digests[self._rows].T

    def find(self, digests: Hashes) -> Ints:
        """Return the first row of each digest (n, 2): (n,), -1 for unknown ones.

        A digest is unknown too if another one has the same first half, and comes before it.
        """
        rows = np.full(len(digests), -1)
        if len(self._rows):
            low = np.searchsorted(self._first, digests[:, 0]).clip(max=len(self._rows) - 1)
            same = (self._first[low] == digests[:, 0]) & (self._second[low] == digests[:, 1])
            rows[same] = self._rows[low[same]]
        return rows


def numbers(digests: Iterable[bytes]) -> Hashes:
    """Return digests of 16 bytes as two numbers each, (digests, 2)."""
    data = b"".join(digests)
    return np.frombuffer(bytearray(data), np.uint64).reshape(-1, 2) if data else np.empty((0, 2), np.uint64)


def run_facts(counts: Counts, earlier: Earlier | None) -> dict[str, Any]:
    """Take out of a job's counts what belongs into run.json: the files `known-...`, and how much was reused and made anew."""
    known = [{"name": name, **entry} for name, entry in sorted(counts.pop("known", {}).items())]
    work = {name: counts.get("work", {}).get(name, 0) for name in WORK}
    counts.pop("work", None)
    return {"known": known, "work": {**work, "from": storage.base_name(earlier.stage.url) if earlier else ""}}


def report(name: str, facts: Mapping[str, Any], execution: Execution) -> None:
    """Say how much of a stage was reused, if anything was."""
    work = facts["work"]
    if work["reused"]:
        execution.report(0, 0, News(f"{name}: {work['reused']:,} unchanged, from {work['from']}; {work['anew']:,} done anew"))
