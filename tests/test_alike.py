"""The page decides as `run` does: one recipe by the command and by a job that Dagster launches, in processes of their own."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from tests.slow_processes import PATIENCE
from tests.three_sources import SOURCES, mend, spoil, write
from workflows.cli import main
from workflows.definitions import OUTPUT, RECIPES, WORKERS
from workflows.orchestration.history import SETTING, History

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Did:
    """What the history says of the last run."""

    status: dg.DagsterRunStatus
    ran: dict[str, bool]
    """Whether each finished step ran, or was finished before."""
    failed: set[str]
    attempts: int
    """Steps that were started."""
    checks: set[tuple[str, str, bool]]
    """Step, check, and whether it passed."""


def did(output: Path) -> Did:
    with History.of(str(output)).opened() as instance:
        (run, *_) = instance.get_runs(limit=1)
        events = [entry.dagster_event for entry in instance.all_logs(run.run_id) if entry.dagster_event]
    made = [event.step_materialization_data.materialization for event in events if event.is_step_materialization]
    found = [event.asset_check_evaluation_data for event in events if event.event_type_value == "ASSET_CHECK_EVALUATION"]
    return Did(
        status=run.status,
        ran={one.asset_key.path[1]: bool(one.metadata["ran"].value) for one in made},
        failed={str(event.step_key) for event in events if event.is_step_failure},
        attempts=sum(event.is_step_start for event in events),
        checks={(one.asset_key.path[1], one.check_name, one.passed) for one in found},
    )


def by_command(recipe: Path, output: Path) -> Did:
    CliRunner(catch_exceptions=False).invoke(main, ["run", str(recipe), "--output", str(output), "--workers", "1"])
    return did(output)


def by_dagster(recipe: Path, output: Path) -> Did:
    history = History.of(str(output))
    history.prepare()
    variables = {RECIPES: str(recipe), OUTPUT: str(output), WORKERS: "1", "DAGSTER_HOME": str(history.folder)}
    subprocess.run(
        [sys.executable, "-m", "dagster", "job", "execute", "-m", "workflows.definitions", "-j", "three"],
        cwd=ROOT,
        env={**os.environ, **variables, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=PATIENCE,
    )
    return did(output)


def manifests(output: Path) -> dict[str, bytes]:
    """Return the manifests of the finished stages; digests of all files are in them. That of the page has times in its file."""
    found = {path.parent.name: path.read_bytes() for path in output.glob("*/manifest.json")}
    return {name: content for name, content in found.items() if not name.startswith("report-")}


@pytest.mark.slow
def test_the_command_and_dagster_do_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SETTING, raising=False)
    recipe, here, there = write(tmp_path), tmp_path / "here", tmp_path / "there"

    spoil(tmp_path, "second")
    broken, other = by_command(recipe, here), by_dagster(recipe, there)
    assert broken == other and broken.status == dg.DagsterRunStatus.FAILURE
    assert broken.failed == {"three__documents_second"}
    done = {f"{kind}_{source}" for kind in ("documents", "signatures") for source in SOURCES if source != "second"}
    assert broken.ran == dict.fromkeys(done, True) and broken.attempts == len(done) + 1, "each step is tried once"
    assert manifests(here) == manifests(there)

    mend(tmp_path, "second")
    mended, other = by_command(recipe, here), by_dagster(recipe, there)
    assert mended == other and mended.status == dg.DagsterRunStatus.SUCCESS and not mended.failed
    assert {name for name, ran in mended.ran.items() if not ran} == done, "what was done in the run that failed"
    assert {check for _, check, _ in mended.checks} == {"enough_kept", "no_leak", "known_tokens"}
    assert manifests(here) == manifests(there) and len(manifests(here)) == len(mended.ran) - 1

    again, other = by_command(recipe, here), by_dagster(recipe, there)
    assert again == other and not any(again.ran.values()) and again.ran.keys() == mended.ran.keys()
