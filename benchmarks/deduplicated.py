"""How fast JSON lines become good documents, each there once: reading, cleaning, filters and near copies, and nothing after.

    prepare/deduplicated/1-worker                   MB/s    baseline: datatrove, FineWeb-2's steps for Chinese
    prepare/deduplicated/1-worker/vs-characters     MB/s    baseline: the same with single characters for words, as ours counts

The text is that of `prepare` with every tenth document once more, its last clause missing. Both sides look for near copies with
14 bands of 8 hashes over runs of 5, and count lines, signs, stop words and repeated n-grams. Seconds are those of the whole
process. Ours is asked three times, and the median counts; datatrove, which takes minutes, once each, and never for more than
20 MB.
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
from benchmarks.rows import Row

NAME = "prepare/deduplicated/1-worker"
TURNS = 3
MOST = 20.0
"""Megabytes: datatrove with jieba takes 10 seconds for one of them."""
PROGRAM = """
import json, sys
from workflows.chain import Chain
from workflows.recipe import build
source = {"name": "news", "kind": "news", "input": [sys.argv[1]]}
done = Chain(build({"name": "news", "source": [source]}, "benchmark", []), sys.argv[2]).run("dedup")
counts = done.manifest["counts"]["news"]
copies = sum(counts["dropped"].get(reason, 0) for reason in ("duplicate", "near_duplicate"))
print(json.dumps({"documents": counts["documents"], "copies": copies, "kept": counts["kept"]}))
"""
"""The stages of `nezha-pipe prepare` up to `dedup`."""
DIFFERENCES = (
    "ours alone: recognising layout and encoding, cleaning, language, repeated lines, candidates checked by sketches; "
    "datatrove alone: what is kept is written out again, which ours leaves to the next stage"
)


def rows(megabytes: float, python: str | None = None) -> Iterator[Row]:
    """The row beside each of the two peers."""
    with tempfile.TemporaryDirectory(prefix="nezha-bench-") as name:
        folder = Path(name)
        text, copies = recopied(corpus.write(folder, min(megabytes, MOST)), folder / "in")
        turns = [_ours(text, folder / f"out-{turn}") for turn in range(TURNS)]
        value = text.megabytes / statistics.median(seconds for seconds, _ in turns)
        about = f"{text.megabytes:.0f} MB, {text.documents:,} documents, {copies:,} of them near copies; ours: {turns[0][1]}"
        for words, suffix in (("jieba", ""), ("characters", "/vs-characters")):
            try:
                seconds, found = _theirs(text, words, folder / words, python)
                baseline, note = text.megabytes / seconds, f"baseline: datatrove, words by {words}; {about}; theirs: {found}"
            except peers.PeerMissing as error:
                baseline, note = None, f"{error}; {about}"
            yield Row(name=NAME + suffix, value=value, unit="MB/s", baseline=baseline, note=f"{note}; {DIFFERENCES}")


def recopied(text: Corpus, folder: Path) -> tuple[Corpus, int]:
    """A corpus in a folder of its own, with near copies of every tenth document behind the others; how many these are."""
    contents = [json.loads(line)["content"] for line in text.file.read_text(encoding="utf-8").splitlines()]
    copies = [content[:last] for content in contents[::10] if (last := content.rstrip("，。！？；：\n").rfind("，")) > 0]
    folder.mkdir()
    path = folder / text.file.name
    with path.open("w", encoding="utf-8") as file:
        for content in (*contents, *copies):
            file.write(json.dumps({"title": "", "content": content}, ensure_ascii=False) + "\n")
    megabytes = sum(len(content.encode()) for content in (*contents, *copies)) / 1e6
    return replace(text, file=path, megabytes=megabytes, documents=len(contents) + len(copies)), len(copies)


def _ours(text: Corpus, output: Path) -> tuple[float, str]:
    """Seconds, and what was kept."""
    started = time.perf_counter()
    command = [sys.executable, "-c", PROGRAM, str(text.file), str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    assert done.returncode == 0, done.stderr
    return seconds, _told(json.loads(done.stdout))


def _theirs(text: Corpus, words: str, work: Path, python: str | None) -> tuple[float, str]:
    path = peers.environment(python)
    started = time.perf_counter()
    found = peers.ask(path, "peer_deduplicated.py", words, str(text.file.parent), str(work))
    return time.perf_counter() - started, _told(found)


def _told(counts: dict[str, int]) -> str:
    return f"{counts['copies']:,} dropped as copies, {counts['kept']:,} kept"
