"""Checks of `[checks]`: one that fails ends `nezha-pipe run` in one line, and is a failed asset check in the history."""

import pickle
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from model.checkpoints.rows import file_name, to_bytes
from pipeline.engine.stages import Finished
from pipeline.errors import RecipeError
from tests.test_chain import RECIPE
from workflows import recipe
from workflows.assets import definitions
from workflows.chain import Chain
from workflows.checks.table import CHECKS, ChecksFailed, checks_of, outcomes, refuse
from workflows.cli import main
from workflows.kinds import KINDS
from workflows.orchestration.history import SETTING, History
from workflows.steps import Inputs, Settings

SCORED = """
name = "scored"
source = [{ name = "news", kind = "news", input = ["news.jsonl"] }]
phase = [{ sequence_length = 32, batch_size = 8, steps = 8, learning_rate = 1e-3 }]
decontamination = { enabled = false }
evaluation = { data = "tasks", tasks = ["chnsenticorp"] }
"""


def settings(text: str, *changes: str) -> Settings:
    from workflows import toml_settings

    return Settings(recipe.build(toml_settings.parse(text, "test"), "test", changes), "nowhere")


def stage(name: str, **facts: Any) -> Finished:
    return Finished(f"nowhere/{name}-0", {"stage": name, "files": [], **facts})


def dedup(documents: int, kept: int) -> Finished:
    counts = {"documents": documents, "kept": kept, "dropped": {"contaminated": 2}}
    return stage("dedup", counts={"news": counts}, comparison={"withdrawn_not_found": 0})


def test_every_check_is_of_a_kind_of_stages_and_has_a_name_of_its_own() -> None:
    assert {check.kind for check in CHECKS} <= KINDS.keys()
    assert len({check.name for check in CHECKS}) == len(CHECKS)


@pytest.mark.parametrize(("documents", "kept", "passed"), [(100, 5, True), (100, 4, False), (0, 0, False)])
def test_too_few_kept_documents(documents: int, kept: int, passed: bool) -> None:
    found = outcomes(settings(RECIPE), dedup(documents, kept), Inputs([]))["enough_kept"]
    assert found.passed == passed
    assert passed or f"{kept} of {documents} documents of news are kept: checks.min_kept_ratio is 0.05" in found.message


@pytest.mark.parametrize(("unknown", "passed"), [(5, True), (6, False)])
def test_too_many_unknown_tokens(unknown: int, passed: bool) -> None:
    counts = {"sentences": 1, "units": 1, "tokens": 100, "unknown": unknown}
    tokens = stage("tokens_news", source="news", counts=counts, unknown_characters={"龘": 9}, words_never_found=[])
    found = outcomes(settings(RECIPE), tokens, Inputs([]))["known_tokens"]
    assert found.passed == passed and f"{unknown} of 100 tokens of news are [UNK]" in found.message
    assert passed or "'龘'" in found.message


def test_documents_that_were_not_compared_with_what_is_scored() -> None:
    found = outcomes(settings(SCORED), dedup(10, 10), Inputs([]))["no_leak"]
    assert not found.passed and "decontamination.enabled = true" in found.message
    assert outcomes(settings(SCORED, "checks.allow_leak=true"), dedup(10, 10), Inputs([]))["no_leak"].passed
    compared = Inputs([stage("contamination_news", source="news")])
    assert outcomes(settings(SCORED), dedup(10, 10), compared)["no_leak"].figures == {"dropped": 2}
    assert "no_leak" not in outcomes(settings(RECIPE), dedup(10, 10), Inputs([]))


@pytest.mark.parametrize(("losses", "passed"), [([9.0, 8.0], True), ([8.0, 9.0], False), ([8.0, 8.0], False), ([9.0], None)])
def test_a_loss_that_does_not_fall(tmp_path: Path, losses: list[float], passed: bool | None) -> None:
    (tmp_path / "attempt-0001").mkdir()
    rows = [{"kind": "validation", "source": "all", "step": 4 * n, "loss": loss} for n, loss in enumerate(losses, start=1)]
    step = 4 * len(losses)
    (tmp_path / "attempt-0001" / file_name(step)).write_bytes(to_bytes(rows, 0, step))
    trained = Finished(str(tmp_path), {"stage": "checkpoint", "files": []})
    found = outcomes(settings(RECIPE), trained, Inputs([])).get("loss_fell")
    assert (found and found.passed) == passed
    assert not outcomes(settings(RECIPE, "checks.loss_falls=false"), trained, Inputs([]))


def test_what_failed_is_one_line_that_names_the_step() -> None:
    done = dedup(100, 1)
    with pytest.raises(ChecksFailed, match=r"^dedup: 1 of 100 documents .* \(enough_kept\)$") as caught:
        refuse(done, outcomes(settings(RECIPE), done, Inputs([])))
    again = pickle.loads(pickle.dumps(caught.value))  # as a process sends it to another
    assert (str(again), again.stage.name, again.found) == (str(caught.value), "dedup", caught.value.found)


@pytest.mark.parametrize("change", ["checks.min_kept_ratio=2", "checks.max_unknown_ratio=-1", "checks.kept=1"])
def test_limits_out_of_range_are_one_line(change: str) -> None:
    with pytest.raises(RecipeError, match="checks"):
        settings(RECIPE, change)


def test_every_check_is_a_blocking_asset_check(tmp_path: Path) -> None:
    chain = Chain(settings(RECIPE).recipe, str(tmp_path), checked=True)
    graph = definitions(chain).resolve_asset_graph()
    wanted = {(step.name, check.name) for step in chain.steps.values() for check in checks_of(step.kind)}
    assert {(key.asset_key.path[1], key.name) for key in graph.asset_check_keys} == wanted
    assert all(graph.get(key).blocking for key in graph.asset_check_keys)


def test_a_check_that_fails_ends_the_run_and_is_in_the_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SETTING, raising=False)
    (tmp_path / "mini.toml").write_text(RECIPE)
    output = tmp_path / "out"
    arguments = ["run", str(tmp_path / "mini.toml"), "--output", str(output), "--workers", "1"]
    for _ in range(2):  # a finished stage does not pass the second time either
        done = CliRunner(catch_exceptions=False).invoke(main, [*arguments, "--set", "checks.min_kept_ratio=0.9"])
        assert done.exit_code == 2
        (line,) = (line for line in done.stderr.splitlines() if line.startswith("Error"))
        assert "documents of reviews are kept: checks.min_kept_ratio is 0.9" in line
        assert list(output.glob("dedup-*")) and not list(output.glob("vocabulary-*"))
    with History.of(str(output)).opened() as instance:
        assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.FAILURE] * 2
        key = dg.AssetCheckKey(dg.AssetKey(["mini", "dedup"]), "enough_kept")
        (last, *_) = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
        evaluation = last.event.dagster_event.asset_check_evaluation_data if last.event and last.event.dagster_event else None
        assert evaluation and not evaluation.passed and evaluation.blocking


def test_without_dagster_a_check_stops_the_same_step(tmp_path: Path) -> None:
    """`Chain.run` decides: the assets only tell Dagster."""
    chain = Chain(settings(RECIPE, "checks.min_kept_ratio=0.9").recipe, str(tmp_path), checked=True)
    with pytest.raises(ChecksFailed, match="dedup"):
        chain.run("report")
    assert not list(tmp_path.glob("vocabulary-*")) and not chain.outcomes["dedup"]["enough_kept"].passed
