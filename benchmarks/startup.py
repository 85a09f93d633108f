"""What a person waits for before anything happens.

    startup/help      s     `nezha-pipe --help`, the whole process
    run/second        s     `nezha-pipe run` of a recipe that is finished: nothing to do, and how long it takes to see that

No other program does the same, so there is no baseline. The median of some calls counts.
"""

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.command import COMMAND, ROOT, timed
from benchmarks.rows import Row

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
"""The whole chain at its smallest."""


def rows() -> Iterator[Row]:
    """Both rows."""
    seconds = [timed("--help")[0] for _ in range(HELP_CALLS)]
    yield Row(name="startup/help", value=statistics.median(seconds), unit="s", note=f"imports {', '.join(imported())}")
    with tempfile.TemporaryDirectory(prefix="nezha-bench-") as folder:
        recipe = Path(folder) / "startup.toml"
        recipe.write_text(RECIPE)
        call = ("run", str(recipe), "--output", str(Path(folder) / "out"))
        first, _ = timed(*call)
        seconds = [timed(*call)[0] for _ in range(RUN_CALLS)]
    yield Row(name="run/second", value=statistics.median(seconds), unit="s", note=f"the first run took {first:.1f} s")


def imported() -> list[str]:
    """Packages outside the standard library that `nezha-pipe --help` loads."""
    listing = "import atexit, sys; atexit.register(lambda: print('\\n@', *sys.modules, file=sys.stderr)); " + COMMAND[-1]
    done = subprocess.run([*COMMAND[:-1], listing, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = {name.partition(".")[0] for name in done.stderr.rpartition("@")[2].split()}
    return sorted(name for name in names - sys.stdlib_module_names if not name.startswith("_"))
