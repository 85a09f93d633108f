"""Killed at any moment and started again, prepare ends with the bytes of a run that was never killed."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.corpus import write_news

ROOT = Path(__file__).parents[1]
KILLS = 10


def command(corpus: Path, output: Path, workers: int) -> list[str]:
    program = "from workflows.cli import main; main(prog_name='nezha-pipe')"
    named = ["--corpus", "news", "--input", str(corpus), "--output", str(output), "--workers", str(workers)]
    return [sys.executable, "-c", program, "prepare", *named, "--set", "vocabulary.size=3000"]


def digests(folder: Path) -> dict[str, str]:
    """Every file that was written but run.json, which says when and where."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in ("run.json", "digests.json"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("workers", [1, 2])
def test_ten_kills_at_random_moments_change_no_byte(tmp_path: Path, workers: int) -> None:
    (tmp_path / "corpus").mkdir()
    corpus = write_news(tmp_path / "corpus", 6_000)
    started = time.monotonic()
    subprocess.run(command(corpus, tmp_path / "whole", workers), cwd=ROOT, check=True, capture_output=True)
    seconds = time.monotonic() - started

    moments = random.Random(workers)
    killed = 0
    for _ in range(KILLS):
        run = subprocess.Popen(
            command(corpus, tmp_path / "killed", workers),
            cwd=ROOT,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            run.wait(moments.uniform(0.3, 0.7) * seconds)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            killed += 1
    assert killed >= KILLS // 2, "most runs ended before they were killed"
    done = subprocess.run(command(corpus, tmp_path / "killed", workers), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")
