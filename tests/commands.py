"""The command in this process, for tests: `prepare("--corpus", "news", "--input", folder, output=folder)`."""

import hashlib
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from workflows.cli import main

UNLIKE = ("run.json", "digests.json")
"""Files that say when and where; the report tells seconds too."""


def prepare(*arguments: object, output: Path | str) -> Result:
    """Run `nezha-pipe prepare`; errors of our own come out as they are."""
    words = ["prepare", *map(str, arguments), "--output", str(output)]
    result = CliRunner().invoke(main, words, prog_name="nezha-pipe")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def refused(result: Result) -> str:
    """The error of a command that must have been refused: one line, exit code 2."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output and result.stdout == ""
    *before, last = result.stderr.splitlines()
    assert last.startswith("Error: ") and not any(line.startswith("Error") for line in before), result.output
    return last.removeprefix("Error: ")


def digests(output: Path) -> dict[str, str]:
    """SHA-256 of every file of the stages, hidden ones too."""
    files = (path for path in sorted(output.rglob("*")) if path.is_file() and path.name not in UNLIKE)
    names = ((str(path.relative_to(output)), path) for path in files)
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in names if not name.startswith("data_report")}


def manifest(output: Path, stage: str) -> dict[str, Any]:
    """What the one finished stage of a name says."""
    (folder,) = output.glob(f"{stage}-*")
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return content
