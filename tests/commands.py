"""The command in this process, for tests: `prepare("--corpus", "news", "--input", folder, output=folder)`."""

import hashlib
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from workflows.cli import main

VARYING = ("run.json", "digests.json")
"""Files that differ between equal runs: they record time and place. The report does too."""


def prepare(*arguments: object, output: Path | str) -> Result:
    """Run `nezha-pipe prepare`; unexpected exceptions are raised."""
    words = ["prepare", *map(str, arguments), "--output", str(output)]
    result = CliRunner().invoke(main, words, prog_name="nezha-pipe")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def refused(result: Result) -> str:
    """Return the error of a command that must have failed with one line and exit code 2."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output and result.stdout == ""
    *before, last = result.stderr.splitlines()
    assert last.startswith("Error: ") and not any(line.startswith("Error") for line in before), result.output
    return last.removeprefix("Error: ")


def digests(output: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of the stages, including hidden ones."""
    files = (path for path in sorted(output.rglob("*")) if path.is_file() and path.name not in VARYING)
    names = ((str(path.relative_to(output)), path) for path in files)
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in names if not name.startswith("data_report")}


def manifest(output: Path, stage: str) -> dict[str, Any]:
    """Return the manifest of the only finished stage with this name."""
    (folder,) = output.glob(f"{stage}-*")
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return content
