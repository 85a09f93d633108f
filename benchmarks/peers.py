"""Peers: other programs that do the same work, as scripts that run in a separate environment.

    python = environment()                                             /.../nezha-pipe/.venv-bench/bin/python
    ask(python, "peer_prepare.py", "in.jsonl", "vocab.txt", "out")     {"documents": 9120, "rows": 31207, ...}

    with dialogue(python, "peer_step.py", ...) as ask:                 one line in, one line of JSON out, repeatedly,
        ask("0")                                                       {"seconds": 4.1}     so that both can take turns

The environment is created once, next to the checkout's own, from the pinned versions in peers.txt. If that fails (no package
index in reach), `PeerMissing` gives the reason, and measurements have no baseline.
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
    """A peer could not be installed, or failed. The message gives the reason."""


def environment(python: str | None = None) -> str:
    """Return the Python with the peers: the given one, or that of `.venv-bench`, which is created if needed.

    Raises: PeerMissing if it cannot be created.
    """
    if python is not None:
        return python
    installed = FOLDER / PINS.name  # written last, so its presence means that everything is installed
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
    """Run a script of this folder. Return the JSON of its last line. Raises: PeerMissing if it fails."""
    done = subprocess.run(_command(python, script, arguments), capture_output=True, text=True, env=_variables())
    if done.returncode:
        raise PeerMissing(f"the peer {script} failed: {_last_line(done.stderr)}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


@contextlib.contextmanager
def dialogue(python: str, script: str, *arguments: str) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Start a script of this folder that answers each line of input with a line of JSON. Yield the function to ask it.

    The function raises PeerMissing if the script has failed.
    """
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
            with contextlib.suppress(BrokenPipeError):  # it has exited; its last error is reported below
                print(line, file=question, flush=True)
            if not (reply := answers.readline()):
                process.wait()
                errors.seek(0)
                raise PeerMissing(f"the peer {script} failed: {_last_line(errors.read())}")
            answer: dict[str, Any] = json.loads(reply)
            return answer

        try:
            yield ask
        finally:
            process.communicate()


def _command(python: str, script: str, arguments: tuple[str, ...]) -> list[str]:
    return [python, str(HERE / script), *arguments]


def _variables() -> dict[str, str]:
    # One thread for the peer's tokenizer, like ours: one process is compared with one process.
    return {**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no error message"
