"""Speed from JSON lines to filtered, unique documents: reading, cleaning, quality filters and near-duplicate removal only.

    prepare/deduplicated/1-worker                   MB/s    baseline: datatrove, FineWeb-2's steps for Chinese
    prepare/deduplicated/1-worker/vs-characters     MB/s    baseline: the same with single characters as words, as ours counts

The text is that of `prepare`, plus every tenth document a second time without its last clause. Both sides find near duplicates
with 14 bands of 8 hashes over 5-grams, and count lines, punctuation, stop words and repeated n-grams. Seconds are of the whole
process. Ours runs three times and the median counts; datatrove, which takes minutes, runs once for each row, on at most 20 MB.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks import corpus, peers
from benchmarks.command import ROOT
from benchmarks.corpus import Corpus
from benchmarks.measurement import Measurement

NAME = "prepare/deduplicated/1-worker"
TURNS = 3
MAX_MEGABYTES = 20.0
"""datatrove with jieba takes 10 seconds per megabyte."""
PROGRAM = """
import json, sys
from workflows.chain import Chain
from workflows.recipe import build
source = {"name": "news", "kind": "news", "input": [sys.argv[1]]}
done = Chain(build({"name": "news", "source": [source]}, "benchmark", []), sys.argv[2]).run("dedup")
counts = done.manifest["counts"]["news"]
duplicates = sum(counts["dropped"].get(reason, 0) for reason in ("duplicate", "near_duplicate"))
print(json.dumps({"documents": counts["documents"], "duplicates": duplicates, "kept": counts["kept"]}))
"""
"""The stages of `nezha-pipe prepare` up to `dedup`."""
DIFFERENCES = (
    "only ours: detecting format and encoding, cleaning, language, repeated lines, verifying candidates by sketches; "
    "only datatrove: writing the kept documents, which ours leaves to the next stage"
)


def measurements(megabytes: float, python: str | None = None) -> Iterator[Measurement]:
    """Measure once, and compare with each of the two peers."""
    with tempfile.TemporaryDirectory(prefix="nezha-bench-") as name:
        folder = Path(name)
        text, duplicates = with_near_duplicates(corpus.write(folder, min(megabytes, MAX_MEGABYTES)), folder / "in")
        turns = [_ours(text, folder / f"out-{turn}") for turn in range(TURNS)]
        value = text.megabytes / statistics.median(seconds for seconds, _ in turns)
        about = f"{text.megabytes:.0f} MB, {text.documents:,} documents, {duplicates:,} of them near duplicates"
        about += f"; ours: {turns[0][1]}"
        for words, suffix in (("jieba", ""), ("characters", "/vs-characters")):
            try:
                seconds, found = _theirs(text, words, folder / words, python)
                baseline, note = text.megabytes / seconds, f"baseline: datatrove, words by {words}; {about}; theirs: {found}"
            except peers.PeerMissing as error:
                baseline, note = None, f"{error}; {about}"
            yield Measurement(name=NAME + suffix, value=value, unit="MB/s", baseline=baseline, note=f"{note}; {DIFFERENCES}")


def with_near_duplicates(text: Corpus, folder: Path) -> tuple[Corpus, int]:
    """Write the corpus to a new folder with near duplicates of every tenth document at the end. Return it, and their number."""
    contents = [json.loads(line)["content"] for line in text.file.read_text(encoding="utf-8").splitlines()]
    duplicates = [content[:last] for content in contents[::10] if (last := content.rstrip("，。！？；：\n").rfind("，")) > 0]
    folder.mkdir()
    path = folder / text.file.name
    with path.open("w", encoding="utf-8") as file:
        for content in (*contents, *duplicates):
            file.write(json.dumps({"title": "", "content": content}, ensure_ascii=False) + "\n")
    megabytes = sum(len(content.encode()) for content in (*contents, *duplicates)) / 1e6
    return replace(text, file=path, megabytes=megabytes, documents=len(contents) + len(duplicates)), len(duplicates)


def _ours(text: Corpus, output: Path) -> tuple[float, str]:
    """Return the seconds, and the counts in words."""
    started = time.perf_counter()
    command = [sys.executable, "-c", PROGRAM, str(text.file), str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    assert done.returncode == 0, done.stderr
    return seconds, _summary(json.loads(done.stdout))


def _theirs(text: Corpus, words: str, work: Path, python: str | None) -> tuple[float, str]:
    path = peers.environment(python)
    started = time.perf_counter()
    found = peers.ask(path, "peer_deduplicated.py", words, str(text.file.parent), str(work))
    return time.perf_counter() - started, _summary(found)


def _summary(counts: dict[str, int]) -> str:
    return f"{counts['duplicates']:,} dropped as duplicates, {counts['kept']:,} kept"
