"""Quarters of retraining, undisturbed and disturbed, and what the files say of both."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.command import COMMAND, ROOT
from benchmarks.measurement import Measurement
from benchmarks.quarters import faults, proof, recipe, report, store, text
from benchmarks.quarters.daemon import Daemon
from benchmarks.quarters.report import Quarter, Result
from benchmarks.wiki_pages import Page
from pipeline.engine.stages import Finished

QUIET = (recipe.FIRST, recipe.SECOND)
DISTURBED = (*QUIET, recipe.SPOILT, recipe.PASSED)


def measurements(pages: int, dump_url: str | None, seed: int, folder: str | None) -> Iterator[Measurement]:
    """Run the quarters twice, print the table, and yield the rows. `folder`: keep all files there."""
    with tempfile.TemporaryDirectory(prefix="nezha-quarters-") as place:
        found = run(Path(folder or place), pages, dump_url, seed)
    print("\n".join(report.lines(found)), flush=True)
    yield from report.measurements(found)


def run(folder: Path, number: int, dump_url: str | None, seed: int) -> Result:
    """Run two quarters undisturbed, and all of them disturbed in the same place, so that paths are the same."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = text.pages(number, dump_url)
    result = Result(len(pages), seed)
    result.new = text.news(2).count(b"\n")
    tasks = folder.absolute() / "task"
    text.write_task(tasks)
    place = folder.absolute() / "quarters"
    shutil.rmtree(place, ignore_errors=True)
    with store.served() as served:
        quiet = Quarters(place, served, pages, seed, tasks)
        result.quiet = [quiet.command(name) for name in QUIET]
    expected = proof.digests(place / "runs")
    shutil.rmtree(folder / "quiet", ignore_errors=True)
    place.rename(folder / "quiet")
    with store.served() as served:
        disturbed = Quarters(place, served, pages, seed, tasks)
        disturbed.unattended(result)
        result.compared = len(expected)
        result.different = proof.differences(expected, {k: v for k, v in disturbed.digests.items() if k in expected})
        disturbed.prove(result)
    return result


class Quarters:
    """One row of quarters: a store, a recipe that changes with them, one output folder."""

    def __init__(self, folder: Path, served: store.Store, pages: list[Page], seed: int, tasks: Path) -> None:
        folder.mkdir(parents=True)
        self.folder, self.store, self.pages, self.seed, self.tasks = folder, served, pages, seed, tasks
        self.recipe, self.output = folder / "quarters.toml", folder / "runs"
        self.environment = {
            **served.environment,
            "NEZHA_PIPE_REGISTRY": store.REGISTRY,
            "NEZHA_PIPE_CACHE": str(folder / "cache"),
        }
        self.by_quarter: dict[str, list[Finished]] = {}
        self.withdrawn: list[int] = []
        self.digests: dict[str, str] = {}

    def bring(self, quarter: str) -> None:
        """Put what a quarter brings into the store; what the watch sees comes last."""
        recipe.write(self.recipe, quarter, self.tasks)
        if quarter == recipe.SECOND:
            self.withdrawn = text.withdrawn(proof.kept(self.by_quarter[recipe.FIRST]), self.seed)
        if quarter in QUIET:
            place = QUIET.index(quarter) + 1
            lines = "".join(f"{one:016x}  # withdrawn by its publisher\n" for one in self.withdrawn)
            self.store.put(store.WITHDRAWN.removeprefix(f"s3://{store.BUCKET}/"), lines.encode())
            self.store.put(store.DUMP, text.dump(self.pages if place == 1 else text.changed(self.pages), place))
            self.store.put(f"incoming/news/2026-{place}.jsonl", text.news(place))
        else:
            self.store.put(f"incoming/news/{quarter.replace(' ', '-')}.jsonl", text.more_news(quarter))

    def command(self, quarter: str) -> Quarter:
        """Run a quarter by `nezha-pipe run`, undisturbed."""
        self.bring(quarter)
        before, started = proof.names(self.output), time.monotonic()
        words = [*COMMAND, "run", str(self.recipe), "--output", str(self.output), "--workers", "2"]
        environment = {**os.environ, **self.environment, "PYTHONPATH": str(ROOT)}
        subprocess.run(words, cwd=self.folder, env=environment, check=True, stdout=sys.stderr)
        return self._came_to(quarter, before, Quarter(quarter, outcome="succeeded", seconds=time.monotonic() - started))

    def unattended(self, result: Result) -> None:
        """Let the page run all quarters, the second one with faults."""
        daemon = Daemon(self.folder, self.recipe, self.output, self.environment)
        recipe.write(self.recipe, recipe.FIRST, self.tasks)
        daemon.schedule()
        daemon.start()
        try:
            for number, quarter in enumerate(DISTURBED, 1):
                before = proof.names(self.output)
                injector = faults.Injector(daemon, self.store, self.seed, faults.PLAN if quarter == recipe.SECOND else ())
                self.bring(quarter)
                found = self._waited(daemon, number, injector, Quarter(quarter))
                result.disturbed.append(self._came_to(quarter, before, found))
                result.faults += injector.done
                result.kinds += injector.kinds
                if quarter == recipe.SECOND:
                    self.digests = proof.digests(self.output)
        finally:
            daemon.stop()

    def _waited(self, daemon: Daemon, number: int, injector: faults.Injector, found: Quarter) -> Quarter:
        started = time.monotonic()
        try:
            trigger = daemon.wait(number, injector.advance)
        finally:
            injector.end()
        found.seconds, found.outcome = time.monotonic() - started, trigger.outcome
        found.message, found.starts = trigger.message, trigger.starts
        print(f"{found.name}: {found.outcome} after {found.seconds:.0f} s: {found.message}", file=sys.stderr, flush=True)
        return found

    def _came_to(self, quarter: str, before: frozenset[str], found: Quarter) -> Quarter:
        """Add what the files say."""
        new = self.by_quarter[quarter] = proof.since(self.output, before)
        found.documents, found.tokens = proof.work(new, "documents"), proof.work(new, "tokens")
        found.to_shards = proof.seconds_to_shards(new)
        for stage in new:
            if stage.kind == "checkpoint":
                found.start = stage.manifest.get("start", {}).get("model", "")
            if stage.kind == "promotion":
                found.verdict = str(stage.manifest["message"])
        print(found, file=sys.stderr, flush=True)
        return found

    def prove(self, result: Result) -> None:
        """Look for withdrawn documents, and at the registry."""
        first, second = (self.by_quarter[name] for name in QUIET)
        tokens = [stage for stage in first if stage.kind == "tokens"]
        exports = [next(stage for stage in new if stage.kind == "export") for new in (first, second)]
        counted = [proof.withdrawn_rows(proof.made_from(one), self.withdrawn, tokens) for one in exports]
        result.withdrawn, (result.withdrawn_before, result.withdrawn_found) = len(self.withdrawn), counted
