"""A source that fails does not stop the others, by `run`, by `prepare` and in Dagster; what is no fault of it stops all."""

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, cast

import dagster as dg
import pytest
from click.testing import CliRunner

from pipeline.engine.execution import Execution, News
from pipeline.errors import CorpusError, MemoryFullError, NoSpaceError, StoreAwayError, UserError
from pipeline.storage_errors import translate_error
from tests.three_sources import SOURCES, finished, spoil, write
from workflows import recipe
from workflows.assets import SOURCE_TAG, definitions, execute
from workflows.chain import Chain, SourcesFailed
from workflows.cli import main
from workflows.orchestration.history import SETTING, History


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SETTING, raising=False)


def chain_of(folder: Path) -> Chain:
    return Chain(recipe.load(str(write(folder))), str(folder / "out"), checked=True)


def fail(chain: Chain, name: str, error: BaseException) -> list[str]:
    """Let a step of a chain raise an error; returns a list that grows with each attempt."""
    attempts: list[str] = []

    def run(*_: Any) -> NoReturn:
        attempts.append(name)
        raise error

    chain.steps[name] = replace(chain.steps[name], run=run)
    return attempts


def each(chain: Chain, execution: Execution) -> None:
    chain.run_each(chain.names(), execution)


def by_dagster(chain: Chain, execution: Execution) -> None:
    execute(chain, execution, history=History.of(chain.root))


@pytest.mark.parametrize("run", [each, by_dagster])
@pytest.mark.parametrize("error", [CorpusError("no text"), ZeroDivisionError("a bug")])
def test_the_steps_of_other_sources_are_done(tmp_path: Path, run: Callable[[Chain, Execution], None], error: Exception) -> None:
    chain, said = chain_of(tmp_path), list[str]()
    attempts = fail(chain, "documents_second", error)
    with pytest.raises(type(error)) as raised:
        run(chain, Execution(report=lambda done, total, what: said.append(what)))
    assert raised.value is error and attempts == ["documents_second"]
    assert finished(tmp_path / "out") == {
        f"{kind}_{source}" for kind in ("documents", "signatures") for source in ("first", "third")
    }
    news = [line for line in said if isinstance(line, News)]
    assert len(news) == 1 and news[0].startswith("source second failed, the others go on: ") and str(error) in news[0]


@pytest.mark.parametrize("run", [each, by_dagster])
@pytest.mark.parametrize(
    "error",
    [
        *(NoSpaceError("full"), StoreAwayError("away"), KeyboardInterrupt(), SystemExit(143)),
        *(MemoryFullError(), MemoryError("no room"), OSError(errno.ENOMEM, "Cannot allocate memory")),
    ],
)
def test_what_is_no_fault_of_a_source_stops_all_at_once(
    tmp_path: Path, run: Callable[[Chain, Execution], None], error: BaseException
) -> None:
    chain = chain_of(tmp_path)
    attempts = fail(chain, "documents_first", error)
    with pytest.raises(type(error)) as raised:
        run(chain, Execution())
    assert attempts == ["documents_first"] and not finished(tmp_path / "out")
    assert str(raised.value) == str(error)


def test_a_full_disk_has_a_class_of_its_own() -> None:
    with pytest.raises(NoSpaceError, match="no space left"), translate_error("/x"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_step_that_all_need_stops_all(tmp_path: Path) -> None:
    chain = chain_of(tmp_path)
    error = UserError("no decision")
    attempts = fail(chain, "dedup", error)
    with pytest.raises(UserError, match="no decision"):
        execute(chain)
    with pytest.raises(UserError, match="no decision"):  # asked again, it says the same
        chain.run("report")
    assert attempts == ["dedup"] and {name.partition("_")[0] for name in finished(tmp_path / "out")} == {
        "documents",
        "signatures",
    }


@pytest.mark.parametrize("command", ["run", "prepare"])
def test_each_failed_source_is_a_line(tmp_path: Path, command: str) -> None:
    path, output = write(tmp_path), tmp_path / "out"
    for name in SOURCES[1:]:
        spoil(tmp_path, name)
    done = CliRunner(catch_exceptions=False).invoke(main, [command, str(path), "--output", str(output), "--workers", "1"])
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert done.exit_code == 2 and len(lines) == 2, done.stderr
    assert all(line.startswith(f"Error: source {name}: ") for name, line in zip(SOURCES[1:], lines, strict=True))
    assert finished(output) == {"documents_first", "signatures_first"} and "Traceback" not in done.stderr


def test_several_errors_are_one_error_of_several_lines() -> None:
    error = SourcesFailed("source a: not\nfound", "source b: damaged")
    assert error.lines == ["source a: not found", "source b: damaged"] and isinstance(error, UserError)
    assert UserError("two\nlines").lines == ["two lines"]


def test_the_page_has_a_job_for_each_source_and_runs_one_step_at_a_time(tmp_path: Path) -> None:
    chain = chain_of(tmp_path)
    found = definitions(chain)
    names = {asset.path[1] for asset in found.resolve_job_def("three__second").asset_layer.selected_asset_keys}
    assert names == {
        *(f"{kind}_{source}" for kind in ("documents", "signatures") for source in SOURCES),
        *("dedup", "vocabulary", "tokens_second", "shards_second_128", "shards_second_512"),
    } & {*chain.names()}
    graph = found.resolve_asset_graph()
    assert graph.get(dg.AssetKey(["three", "tokens_second"])).tags[SOURCE_TAG] == "second"
    assert graph.get(dg.AssetKey(["three", "dedup"])).tags.get(SOURCE_TAG) is None
    assert {found.resolve_job_def(name).executor_def for name in ("three", "three__second")} == {dg.in_process_executor}


def test_no_step_is_retried_by_dagster(tmp_path: Path) -> None:
    job = definitions(chain_of(tmp_path)).resolve_job_def("three")
    policies = [
        policy
        for node in job.graph.nodes
        for policy in (node.retry_policy, cast("dg.OpDefinition", node.definition).retry_policy)
    ]
    assert policies and not any(policies)
    assert "dagster/max_retries" not in job.tags
    with History.of(str(tmp_path)).opened() as instance:
        assert not (instance.run_retries_enabled and instance.run_retries_retry_on_asset_or_op_failure)
