"""Other programs that do the same work, each a script that runs in an environment of its own.

    python = environment()                                             /.../nezha-pipe/.venv-bench/bin/python
    ask(python, "peer_prepare.py", "in.jsonl", "vocab.txt", "out")     {"documents": 9120, "rows": 31207, ...}

    with dialogue(python, "peer_step.py", ...) as ask:                 one line in, one line of JSON out, again and again,
        ask("0")                                                       {"seconds": 4.1}     so that both can take turns

The environment is made once, beside the checkout's own, from the pins in peers.txt. Where that cannot be done (no package
index in reach), `PeerMissing` says why, and rows are printed without a baseline.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FOLDER = HERE.parent / ".venv-bench"
PINS = HERE / "peers.txt"


class PeerMissing(Exception):
    """A peer cannot be had, or failed; the message is the reason, for people to read."""


def environment(python: str | None = None) -> str:
    """The Python that has the peers: the one given, or that of `.venv-bench`, which is made if it is not there."""
    if python is not None:
        return python
    installed = FOLDER / PINS.name  # written last: what stands in it is installed
    path = FOLDER / "bin" / "python"
    if not (installed.exists() and installed.read_text() == PINS.read_text()):
        print(f"Setting up {FOLDER.name} for the peers: about a minute, 1.3 GB", file=sys.stderr)
        torch = next(line for line in PINS.read_text().splitlines() if line.startswith("torch=="))
        install = [str(path), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for command in ([sys.executable, "-m", "venv", str(FOLDER)], [*install, torch], [*install, "-r", str(PINS)]):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise PeerMissing(f"no peer: {_last_line(done.stderr)}")
        installed.write_text(PINS.read_text())
    return str(path)


def ask(python: str, script: str, *arguments: str) -> dict[str, Any]:
    """Run a script of this folder; the JSON of its last line."""
    done = subprocess.run(_command(python, script, arguments), capture_output=True, text=True, env=_variables())
    if done.returncode:
        raise PeerMissing(f"the peer {script} failed: {_last_line(done.stderr)}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


@contextlib.contextmanager
def dialogue(python: str, script: str, *arguments: str) -> Iterator[Callable[[str], dict[str, Any]]]:
    """A script of this folder that answers each line with one line of JSON, until its input ends; the function that asks."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            _command(python, script, arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=_variables(),
        )
        assert process.stdin and process.stdout
        question, answers = process.stdin, process.stdout

        def ask(line: str) -> dict[str, Any]:
            with contextlib.suppress(BrokenPipeError):  # it is dead; what it said last is told below
                print(line, file=question, flush=True)
            if not (said := answers.readline()):
                process.wait()
                errors.seek(0)
                raise PeerMissing(f"the peer {script} failed: {_last_line(errors.read())}")
            answer: dict[str, Any] = json.loads(said)
            return answer

        try:
            yield ask
        finally:
            process.communicate()


def _command(python: str, script: str, arguments: tuple[str, ...]) -> list[str]:
    return [python, str(HERE / script), *arguments]


def _variables() -> dict[str, str]:
    # One thread for the peer's tokenizer, as ours has: rows compare one process with one process.
    return {**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
