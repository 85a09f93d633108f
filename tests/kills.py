"""`prepare`, killed at random moments and started again until it is done, over and over.

    killed(folder, number=200, seed=1)      Outcome(kills={"worker": 52, "tree": 47, ...}, finished=31, problems=[])

Each kill is one of four, by a seed: SIGKILL to one worker, or to the whole tree of processes; SIGTERM or SIGINT to the command.
After each, nothing that it started may be running, nobody may see a traceback, and unless nothing could clean up (the whole
tree was killed) its folder for temporary files must be empty. Every run that is done must have written the same bytes.
"""

import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.corpus import write_news
from tests.slow_processes import PATIENCE, descendants

ROOT = Path(__file__).parents[1]
WORKER, TREE, TERM, INT = "worker", "tree", "SIGTERM", "SIGINT"
KINDS = (WORKER, TREE, TERM, INT)
CODES = {WORKER: {0, 2}, TREE: {-9}, TERM: {0, 143, -15}, INT: {0, 130}}
"""Exit codes that may follow; 0: it was done, or the worker had nothing more to do."""
Say = Callable[[str], object]


@dataclass
class Outcome:
    """What happened. `problems`: one line each."""

    kills: Counter[str] = field(default_factory=Counter)
    codes: Counter[tuple[str, int]] = field(default_factory=Counter)
    finished: int = 0
    problems: list[str] = field(default_factory=list)


def command(corpus: Path, output: Path, workers: int) -> list[str]:
    program = "from workflows.cli import main; main(prog_name='nezha-pipe')"
    named = ["--corpus", "news", "--input", str(corpus), "--output", str(output), "--workers", str(workers)]
    return [sys.executable, "-c", program, "prepare", *named, "--set", "vocabulary.size=3000"]


def digests(folder: Path) -> dict[str, str]:
    """Every file of the data: not run.json, which says when and where, nor the report, which tells how long it took."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in ("run.json", "digests.json"))
    found = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return {name: digest for name, digest in found.items() if not name.startswith("data_report-")}


def killed(
    folder: Path,
    number: int,
    seed: int,
    *,
    workers: int = 2,
    documents: int = 2_000,
    kinds: Sequence[str] = KINDS,
    say: Say = lambda line: None,
) -> Outcome:
    """Kill `prepare` so many times below an empty `folder`, and finish what is left. `say` is called after each run."""
    corpus = write_news(folder / "corpus", documents)
    started = time.monotonic()
    subprocess.run(command(corpus, folder / "whole", workers), cwd=ROOT, check=True, capture_output=True)
    seconds = time.monotonic() - started
    output = folder / "killed"
    started = time.monotonic()
    subprocess.run([*command(corpus, output, workers)[:3], "--version"], cwd=ROOT, check=True, capture_output=True)
    loading = time.monotonic() - started
    whole, chance = digests(folder / "whole"), random.Random(seed)
    outcome = Outcome()
    while (done := outcome.kills.total()) < number or output.exists():
        kind = chance.choice(kinds) if done < number else ""
        # A moment in the work that is left: nothing is done twice, so a run that is resumed is shorter.
        # While the program is being loaded, Python itself answers Ctrl-C, with a traceback.
        moment = max(chance.uniform(0.02, 0.7) * seconds, 2 * loading)
        run = Run(folder, command(corpus, output, workers))
        hit = kind and run.kill(kind, moment, chance.random())
        code = run.process.wait()
        outcome.codes[kind if hit else "", code] += 1
        before = len(outcome.problems)
        place = f"kill {done + 1} ({kind} after {moment:.2f} s)" if hit else f"after {done} kills"
        outcome.problems += [f"{place}: {problem}" for problem in run.problems(kind if hit else "")]
        if hit:
            outcome.kills[kind] += 1
        if code == 0:
            outcome.finished += 1
            if digests(output) != whole:
                outcome.problems.append(f"{place}: other bytes")
            shutil.rmtree(output)
        say("\n".join([f"{place}: code {code}", *outcome.problems[before:]]))
    return outcome


class Run:
    """One run of the command."""

    def __init__(self, folder: Path, words: list[str]) -> None:
        self.temporary, self.log = folder / "tmp", folder / "log.txt"
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir()
        self.seen: dict[int, str] = {}
        """Processes below it, at the time of the kill."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                words,
                cwd=ROOT,
                env={**os.environ, "TMPDIR": str(self.temporary)},
                start_new_session=True,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def kill(self, kind: str, moment: float, choice: float) -> bool:
        """Kill after some seconds; False if it ended before."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(moment)
        while self.process.poll() is None:
            self.seen = descendants(self.process.pid)
            pids = sorted(pid for pid, line in self.seen.items() if "popen_loky_posix" in line)
            if kind == WORKER and not pids:  # none yet, or none any more
                time.sleep(0.02)
                continue
            if kind == TREE:
                os.killpg(self.process.pid, signal.SIGKILL)
            elif kind == WORKER:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pids[int(choice * len(pids))], signal.SIGKILL)
            elif kind == TERM:
                self.process.terminate()
            else:
                os.killpg(self.process.pid, signal.SIGINT)  # as a terminal does
            return True
        return False

    def problems(self, kind: str) -> list[str]:
        """What is wrong after its end, one line each."""
        found = []
        deadline = time.monotonic() + PATIENCE
        while (left := self._left()) and time.monotonic() < deadline:
            time.sleep(0.05)
        if left:
            found.append(f"left running: {left}")
            for pid in left:
                os.kill(pid, signal.SIGKILL)
        code, said = self.process.returncode, self.log.read_text(errors="replace")
        if code not in CODES.get(kind, {0}):
            found.append(f"exit code {code}: {said[-500:]!r}")
        if "Traceback" in said or "Exception" in said:
            found.append(f"a traceback: {said[-1500:]!r}")
        if kind != TREE and (names := sorted(path.name for path in self.temporary.iterdir())):
            found.append(f"left in the folder for temporary files: {names}")
        return found

    def _left(self) -> dict[int, str]:
        """Processes of its session that are running."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # ended meanwhile
                state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(session) == self.process.pid and state != "Z":
                    found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")[:200]
        return found
