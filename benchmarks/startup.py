"""Start-up time of the command.

    startup/help      s     `nezha-pipe --help`, the whole process
    run/second        s     `nezha-pipe run` of a finished recipe, which only finds that there is nothing to do

No other program does the same, so there is no baseline. The median of several calls counts.
"""

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.command import COMMAND, ROOT, timed
from benchmarks.measurement import Measurement

HELP_CALLS = 5
RUN_CALLS = 3
RECIPE = """
name = "startup"
validation_ratio = 0.02

[[source]]
name = "reviews"
kind = "demo"
input = ["reviews"]

[vocabulary]
size = 5000

[encoder]
hidden_size = 32
num_hidden_layers = 1
num_attention_heads = 2
intermediate_size = 64

[training]
validation_sequences = 16

[[phase]]
sequence_length = 32
batch_size = 8
steps = 4

[cluster]
workers = 1

[evaluation]
tasks = ["sentiment"]
seeds = 1
epochs = 1
train_examples = 64
test_examples = 32
max_length = 32
"""
"""All stages at their smallest."""


def measurements() -> Iterator[Measurement]:
    """Measure both."""
    seconds = [timed("--help")[0] for _ in range(HELP_CALLS)]
    yield Measurement(name="startup/help", value=statistics.median(seconds), unit="s", note=f"imports {', '.join(imported())}")
    with tempfile.TemporaryDirectory(prefix="nezha-bench-") as folder:
        recipe = Path(folder) / "startup.toml"
        recipe.write_text(RECIPE)
        call = ("run", str(recipe), "--output", str(Path(folder) / "out"))
        first, _ = timed(*call)
        seconds = [timed(*call)[0] for _ in range(RUN_CALLS)]
    yield Measurement(name="run/second", value=statistics.median(seconds), unit="s", note=f"the first run took {first:.1f} s")


def imported() -> list[str]:
    """Return the packages outside the standard library that `nezha-pipe --help` imports."""
    listing = "import atexit, sys; atexit.register(lambda: print('\\n@', *sys.modules, file=sys.stderr)); " + COMMAND[-1]
    done = subprocess.run([*COMMAND[:-1], listing, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = {name.partition(".")[0] for name in done.stderr.rpartition("@")[2].split()}
    return sorted(name for name in names - sys.stdlib_module_names if not name.startswith("_"))
