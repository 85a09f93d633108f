"""Speed and memory of preparing data: JSON lines in, masked training examples of 128 tokens out.

    prepare/all-stages/1-worker     MB/s     baseline: a plain script with jieba and the BERT tokenizer (peer_prepare.py)
    prepare/all-stages/2-workers    MB/s     baseline: ours with one worker, so a ratio of 2 would be perfect scaling
    prepare/all-stages/2-runs       MB/s     baseline: the same. Two simultaneous runs of one worker each share only the
                                             machine, so this is the best scaling that it allows
    prepare/runner-ray/2-workers    MB/s     baseline: ours without a runner, on as many cores; each runner has such a row
    prepare/peak-memory/1GB         GB       no baseline; sum over all processes, with 2 workers

A MB is a million UTF-8 bytes of clean text. Seconds are of the whole command, the data report included, and likewise for the
peer. Both are given the vocabulary. All take turns and the median counts. The peer's time is proportional to its text, so it
gets less.
"""

import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path

from benchmarks import corpus, peers
from benchmarks.command import COMMAND, ROOT, timed
from benchmarks.corpus import Corpus
from benchmarks.measurement import Measurement
from pipeline import storage

Started = AbstractContextManager[Sequence[str]]


@contextlib.contextmanager
def _spark(workers: int) -> Iterator[Sequence[str]]:
    """Spark's executors in its driver, on as many cores."""
    if not (find_spec("pyspark") and shutil.which("java")):
        raise peers.PeerMissing("needs pyspark and Java 17")
    yield ["--runner", "spark"]


RUNNERS: Mapping[str, Callable[[int], Started]] = {
    "ray": lambda workers: contextlib.nullcontext(["--runner", "ray"]),  # starts one of its own
    "spark": _spark,
}
"""Where to run: starts what a runner needs for so many workers, and yields the options of `prepare`. Raises PeerMissing where
it cannot run."""
TURNS = 3
PEER_MEGABYTES = 32
SECONDS_BETWEEN_SAMPLES = 0.2


def measurements(megabytes: float, big: float | None = None, python: str | None = None) -> Iterator[Measurement]:
    """Measure speed on `megabytes` of text and, if `big` is given, memory on `big` megabytes."""
    with tempfile.TemporaryDirectory(prefix="nezha-bench-") as folder:
        peers_text = corpus.write(Path(folder) / "peer", min(megabytes, PEER_MEGABYTES))
        yield from _speeds(corpus.write(Path(folder), megabytes), peers_text, Path(folder), python)
    if big:
        with tempfile.TemporaryDirectory(prefix="nezha-bench-") as folder:
            yield _memory(corpus.write(Path(folder), big), Path(folder), big)


def arguments(text: Corpus, output: Path, workers: int, runner: Sequence[str] = ()) -> list[str]:
    """Return the arguments of `nezha-pipe` to prepare a corpus. `runner`: options of where to run."""
    named = {"--corpus": "news", "--input": text.file, "--vocab": text.vocabulary, "--output": output, "--workers": workers}
    return ["prepare", "--sequence-length", "128", *(str(word) for pair in named.items() for word in pair), *runner]


def _speeds(text: Corpus, peers_text: Corpus, folder: Path, python: str | None) -> Iterator[Measurement]:
    seconds: dict[str | int, list[float]] = defaultdict(list)
    missing = stages = ""
    absent: dict[str, str] = {}
    for _ in range(TURNS):
        for workers in (1, 2):
            seconds[workers].append(timed(*arguments(text, folder / "out", workers))[0])
            stages = stages or _stage_seconds(folder / "out")
            storage.remove(str(folder / "out"))
        seconds["runs"].append(_two_at_once(text, folder))
        for name in RUNNERS.keys() - absent.keys():
            try:
                with RUNNERS[name](2) as options:
                    seconds[name].append(timed(*arguments(text, folder / "out", 2, options))[0])
                storage.remove(str(folder / "out"))
            except peers.PeerMissing as error:
                absent[name] = str(error)
        if not missing:
            try:
                seconds["peer"].append(_peer_seconds(peers_text, folder / "peer.arrow", python))
            except peers.PeerMissing as error:
                missing = str(error)
    size = text.megabytes
    sizes: dict[str | int, float] = {1: size, 2: size, "runs": 2 * size, "peer": peers_text.megabytes}
    one, two, runs, peer = (size / statistics.median(seconds[who]) if seconds[who] else None for who, size in sizes.items())
    assert one and two and runs
    about = f"{text.megabytes:.0f} MB, {text.documents:,} documents of the embedded corpus ({text.rounds} rounds)"
    plain = f"baseline: a plain script with jieba and BertTokenizerFast over {peers_text.megabytes:.0f} MB"
    note = f"{missing or plain}; {about}; {stages}"
    yield Measurement(name="prepare/all-stages/1-worker", value=one, unit="MB/s", baseline=peer, note=note)
    note = "baseline: ours with one worker" + (f"; {two / peer:.3g} times the peer" if peer else "")
    yield Measurement(name="prepare/all-stages/2-workers", value=two, unit="MB/s", baseline=one, workers=2, note=note)
    note = "baseline: ours with one worker; two simultaneous runs, the best that the machine allows"
    yield Measurement(name="prepare/all-stages/2-runs", value=runs, unit="MB/s", baseline=one, workers=2, note=note)
    for name in RUNNERS:
        if name in absent:
            print(f"prepare/runner-{name}: not measured: {absent[name]}", file=sys.stderr)
            continue
        speed = size / statistics.median(seconds[name])
        note = f"baseline: ours without a runner, with two workers; --runner {name}, its start included"
        yield Measurement(name=f"prepare/runner-{name}/2-workers", value=speed, unit="MB/s", baseline=two, workers=2, note=note)


def _two_at_once(text: Corpus, folder: Path) -> float:
    """Return the seconds until two simultaneous runs have both finished."""
    outputs = [folder / "left", folder / "right"]
    with ThreadPoolExecutor(len(outputs)) as pool:
        seconds = [one for one, _ in pool.map(lambda output: timed(*arguments(text, output, 1)), outputs)]
    for output in outputs:
        storage.remove(str(output))
    return max(seconds)


def _peer_seconds(text: Corpus, output: Path, python: str | None) -> float:
    path = peers.environment(python)
    started = time.perf_counter()
    peers.ask(path, "peer_prepare.py", str(text.file), str(text.vocabulary), str(output))
    return time.perf_counter() - started


def _stage_seconds(output: Path) -> str:
    """Return `documents 3.1 s, dedup 0.6 s, ...`, as recorded by the stages of a run."""
    recorded = [
        (entry.parent.name.partition("_")[0].partition("-")[0], storage.read_json(str(entry))["seconds"])
        for entry in sorted(output.glob("*/run.json"), key=lambda entry: entry.stat().st_mtime)
    ]
    return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in recorded)


def _memory(text: Corpus, folder: Path, megabytes: float) -> Measurement:
    size = f"{megabytes / 1000:g}GB" if megabytes >= 1000 else f"{megabytes:g}MB"
    started = time.perf_counter()
    command = [*COMMAND, *arguments(text, folder / "out", 2)]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors)
        peak = 0
        while process.poll() is None:
            peak = max(peak, _proportional_bytes(process.pid))
            time.sleep(SECONDS_BETWEEN_SAMPLES)
        errors.seek(0)
        assert process.returncode == 0, errors.read()
    note = f"{text.megabytes:.0f} MB of text in {time.perf_counter() - started:.0f} s; sum of PSS over all processes"
    return Measurement(name=f"prepare/peak-memory/{size}", value=peak / 1e9, unit="GB", workers=2, note=note)


def _proportional_bytes(root: int) -> int:
    """Return the memory of a process and all its descendants, with shared pages counted once (PSS, proc(5))."""
    children = defaultdict(list)
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just exited
        children[int(after_name[1])].append(int(entry.parent.name))
    total, waiting = 0, [root]
    while waiting:
        process = waiting.pop()
        waiting += children[process]
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    return total
