"""Killed at any moment and started again, prepare ends with the bytes of a run that was never killed."""

import hashlib
import os
import random
import shutil
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
    """Every file of the data: not run.json, which says when and where, nor the report, which tells how long it took."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in ("run.json", "digests.json"))
    found = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return {name: digest for name, digest in found.items() if not name.startswith("data_report-")}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("workers", [1, 2])
def test_ten_kills_at_random_moments_change_no_byte(tmp_path: Path, workers: int) -> None:
    (tmp_path / "corpus").mkdir()
    corpus = write_news(tmp_path / "corpus", 6_000)
    started = time.monotonic()
    subprocess.run(command(corpus, tmp_path / "whole", workers), cwd=ROOT, check=True, capture_output=True)
    seconds = time.monotonic() - started

    whole, output = digests(tmp_path / "whole"), tmp_path / "killed"
    moments = random.Random(workers)
    killed = finished = 0
    while killed < KILLS or not finished:
        run = subprocess.Popen(
            command(corpus, output, workers),
            cwd=ROOT,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            # A moment in the work that is left: nothing is done twice, so a run that goes on is shorter.
            run.wait(moments.uniform(0.2, 0.8) * seconds if killed < KILLS else None)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            killed += 1
        else:
            assert run.returncode == 0
            assert digests(output) == whole
            shutil.rmtree(output)
            finished += 1
