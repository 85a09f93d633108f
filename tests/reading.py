"""Reading files as `prepare` does, for tests: what is planned, and the records of all tasks of a plan."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline.config import Kind, SourceConfig
from pipeline.documents import reading
from pipeline.engine.counting import Counts
from pipeline.sources import inputs
from pipeline.sources.records import Bad, Raw, ReadTask, Record, Skipped

Found = list[Record | Bad]


def made(found: Iterable[Raw | Bad | Skipped], counts: Counts) -> Iterator[Record | Bad | Skipped]:
    """Make what was read: the records of `raw` of pipeline/documents/reading.py and of pipeline/wiki/pages.py."""
    for one in found:
        yield one.make(counts).record if isinstance(one, Raw) else one


def config(*paths: Path | str, kind: Kind = "text", **more: Any) -> SourceConfig:
    return SourceConfig(name="s", kind=kind, input=tuple(map(str, paths)), **more).resolved()


def planned(*paths: Path | str, task_bytes: int = 1 << 24, kind: Kind = "text", **more: Any) -> list[ReadTask]:
    """The tasks of some files and folders."""
    source = config(*paths, kind=kind, **more)
    return reading.plan(source, inputs.expand(source.input), task_bytes)


def read(
    *paths: Path | str, task_bytes: int = 1 << 24, kind: Kind = "text", counts: Counts | None = None, **more: Any
) -> Found:
    """The records of some files and folders, task by task."""
    source, counted = config(*paths, kind=kind, **more), {} if counts is None else counts
    tasks = planned(*paths, task_bytes=task_bytes, kind=kind, **more)
    found = [record for task in tasks for record in made(reading.raw(source, task, counted), counted)]
    return [record for record in found if isinstance(record, Record | Bad)]


def read_data(path: Path, data: bytes, *cuts: int, kind: Kind = "text", **more: Any) -> Found:
    """The records of a file with these bytes that is named `f`, read in the ranges between `cuts`."""
    path.write_bytes(data)
    edges = [0, *cuts, None]
    tasks = [ReadTask(str(path), "f", start or 0, end, n) for n, (start, end) in enumerate(pairwise(edges))]
    source = config(path, kind=kind, **more)
    found = [record for task in tasks for record in made(reading.raw(source, task, {}), {})]
    return [record for record in found if isinstance(record, Record | Bad)]


def texts(found: Sequence[Record | Bad]) -> list[str]:
    return [record.text for record in found if isinstance(record, Record)]


def bad(found: Sequence[Record | Bad]) -> list[Bad]:
    return [record for record in found if isinstance(record, Bad)]
