"""An ablation of several pretrainings, some at a time, beside its cells one after the other: seconds from shards to scores.

Two cells, three pretrainings each, of a very small network on the demo corpus. Each pretraining has one worker, so that two
cores have room for two. Data are prepared before the clock starts.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measurement import Measurement
from pipeline.engine.execution import cpus

COMMAND = (sys.executable, "-c", "from workflows.cli import main; main(prog_name='nezha-pipe')")
PRETRAININGS = 3
SETTINGS = (
    *("cluster.workers=1", "encoder.hidden_size=64", "encoder.intermediate_size=256", "phase.0.steps=300", "phase.1.steps=20"),
    *("phase.0.warmup_steps=30", "phase.1.warmup_steps=2", "training.validate_every=100", "training.checkpoint_every=100"),
    *("evaluation.epochs=2", "evaluation.train_examples=500", "evaluation.test_examples=300", "evaluation.baseline=false"),
)
TASKS = "evaluation.tasks=['peoples_daily_ner', 'chnsenticorp', 'lcqmc', 'cmrc2018']"
"""Names, reviews, pairs and reading, where there is a folder with their files; else the demo's names and reviews."""


def measurements(tasks: str | None) -> Iterator[Measurement]:
    """Measure both; `tasks`: a folder with the files of tasks."""
    settings = [*SETTINGS, *([f"evaluation.data={tasks}", TASKS] if tasks else [])]
    changed = [word for setting in settings for word in ("--set", setting)]
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared"
        for policy in ("word", "token"):
            run("prepare", "tiny", *changed, "--set", f"masking.policy={policy}", "--output", str(prepared))
        seconds = {}
        for name, at_once in (("one after the other", ["--at-once", "1"]), ("at a time", [])):
            output = Path(folder) / name.replace(" ", "-")
            shutil.copytree(prepared, output)
            grid = ["--over", "masking.policy=word,token", "--pretrain-seeds", str(PRETRAININGS), "--seeds", "1"]
            started = time.perf_counter()
            run("ablate", "tiny", *changed, *grid, *at_once, "--output", str(output))
            seconds[name] = time.perf_counter() - started
            shutil.rmtree(output)
    yield Measurement(
        name=f"ablate/{2 * PRETRAININGS}-pretrainings",
        value=seconds["at a time"],
        unit="s",
        baseline=seconds["one after the other"],
        workers=cpus(),
        note="baseline: the same one after the other",
    )


def run(*arguments: str) -> None:
    """Run a command of ours; its output is shown if it fails."""
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
