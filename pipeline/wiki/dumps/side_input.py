"""The stage `wiki_side_input_<source>`: what pages of a dump need from other pages, gathered in one pass.

    side.parquet    kind      name                  text
                    redirect  Le                    Link-en                                   {{Le|...}} is {{Link-en|...}}
                    group     IT                    return { name = 'IT', content = {...} }   the page Module:CGroup/IT
                    site      zhwiki-20250801.xml   https://zh.wikipedia.org/wiki/            where its pages are on the web

Namespaces are identified by number, and the name before a title's colon is ignored: dumps of zhwiki say `Template:`, others
`模板:`, and some contain the <siteinfo> of another wiki.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.config import SourceConfig
from pipeline.engine import job, parquet, steps
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import FileEntry, Finished, Stage
from pipeline.engine.stages import run as run_stage
from pipeline.sources import inputs
from pipeline.sources.inputs import InputFile
from pipeline.sources.records import Bad, ReadTask
from pipeline.wiki.conversion import groups
from pipeline.wiki.dumps import dump, unpacked

STAGE_VERSION = 2
TASK_BYTES = 64 << 20
FILE = "side.parquet"
SCHEMA = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("kind", "name", "text")])
_READ = SCHEMA.insert(2, pa.field("revision", pa.int64(), nullable=False))
KINDS = ("redirect", "group", "site")
_TEMPLATE, _MODULE = 10, 828
_MAX_HOPS = 5


@dataclass(frozen=True)
class SideInput:
    """What the stage found, by names as in titles (`Link-en`, with spaces, first letter in upper case)."""

    redirects: dict[str, str]
    """Redirects between templates: {"Le": "Link-en"}; the target is not a redirect itself."""
    groups: dict[str, str]
    """Lua modules (or the wikitext of old templates) of public conversion groups, by the name of the group."""
    sites: dict[str, str]
    """Base URL of pages, by the name of the dump file."""


def side_input(
    source: SourceConfig,
    files: Sequence[InputFile],
    root: str,
    *,
    execution: Execution = SERIAL,
    task_bytes: int = TASK_BYTES,
) -> Finished:
    """Gather redirects of templates and public conversion groups from the dumps of a source.

    Raises: CorpusError for a file that is not a dump, or is cut short.
    """
    files = [file for file in files if not dump.is_index(file.name)]
    known = inputs.digests(files, root)
    stage = Stage("wiki_side_input", STAGE_VERSION, {}, {"input": inputs.digest(known)}, source=source.name)

    def body(folder: str) -> dict[str, object]:
        tasks: list[ReadTask] = []
        for file in files:
            tasks += dump.split(file, task_bytes, first=len(tasks))
        name, made_of = f"templates and groups of {source.name}", inputs.versions(files)
        with inputs.unchanged(f"source {source.name!r}", [file.url for file in files], files, known, root, folder):
            work = steps.Job(name, folder, tasks, FindRows(folder), WriteSideInput(folder), made_of)
            entries, counts = unpacked.with_room(folder, execution.report, lambda: job.run(work, execution))
        return {"files": entries, "counts": counts}

    return run_stage(root, stage, body, execution)


@dataclass(frozen=True)
class FindRows:
    """Map: the rows of one task. Unreadable pages are counted by the stage `documents`, not here."""

    folder: str
    """The stage's: the text is kept there for the stage `documents`."""

    def __call__(self, task: ReadTask) -> steps.Mapped:
        rows = list(_rows(task, partial(unpacked.keep, self.folder)))
        return steps.Mapped(_table(rows, _READ), np.zeros(len(rows), np.int64), {})


def _table(rows: Sequence[tuple[str | int, ...]], schema: pa.Schema) -> pa.Table:
    return pa.table([[row[column] for row in rows] for column in range(len(schema))], schema=schema)


def _rows(task: ReadTask, blocks: dump.Blocks) -> Iterator[tuple[str, str, int, str]]:
    if task.start == 0:
        yield "site", task.file, 0, dump.site(task.url)
    for page in dump.pages(task, {_TEMPLATE, _MODULE}, others=False, blocks=blocks):
        if isinstance(page, Bad):
            continue
        space, _, name = page.title.partition(":")
        if page.redirect:
            if page.namespace == _TEMPLATE and page.redirect.startswith(f"{space}:"):
                yield "redirect", name, page.revision, page.redirect.partition(":")[2].partition("#")[0]
        elif group := groups.name(f"Module:{name}"):
            yield "group" if page.namespace == _MODULE else "old group", group, page.revision, page.text


@dataclass(frozen=True)
class WriteSideInput:
    """Reduce: write all rows to one file, sorted; if a name is defined twice, the latest page wins."""

    folder: str

    def __call__(self, bucket: int, table: pa.Table) -> steps.Reduced:
        found: dict[str, dict[str, str]] = {kind: {} for kind in (*KINDS, "old group")}
        for kind, name, _, text in sorted(zip(*table.to_pydict().values(), strict=True), key=_latest_first):
            found[kind].setdefault(name, text)
        found["group"] = found.pop("old group") | found["group"]
        found["redirect"] = {name: _follow(name, found["redirect"]) for name in found["redirect"]}
        rows = [(kind, name, text) for kind, texts in sorted(found.items()) for name, text in sorted(texts.items())]
        with storage.open_write(storage.join(self.folder, FILE)) as file:
            pq.write_table(_table(rows, SCHEMA), file, compression="zstd")
        counts = {kind: len(texts) for kind, texts in found.items()}
        return steps.Reduced((FileEntry.of(self.folder, FILE, len(rows)),), counts)


def _latest_first(row: tuple[str, str, int, str]) -> tuple[str, str, int, str]:
    kind, name, revision, text = row
    return kind, name, -revision, text


def _follow(name: str, leads: dict[str, str]) -> str:
    """Follow redirects to their end; circles are abandoned after a few steps."""
    for _ in range(_MAX_HOPS):
        if name not in leads:
            break
        name = leads[name]
    return name


@lru_cache(maxsize=4)
def load(url: str) -> SideInput:
    """Load what the finished stage in folder `url` found."""
    found: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    for kind, name, text in zip(*parquet.read(storage.join(url, FILE)).to_pydict().values(), strict=True):
        found[kind][name] = text
    return SideInput(found["redirect"], found["group"], found["site"])
