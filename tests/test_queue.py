"""Runs that are started on the page: one at a time in an output folder, also those of assets that were chosen there."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from pipeline import storage
from workflows import recipe
from workflows.definitions import of_recipes
from workflows.orchestration.history import OUTPUT_TAG, History
from workflows.orchestration.launching import DetachedRunLauncher

MUTATION = """mutation($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkspaceProcessContext]:
    """Serve two recipes, for three runs at a time; what is started is only noted."""
    pytest.importorskip("dagster_graphql")
    monkeypatch.setattr(DetachedRunLauncher, "launch_run", lambda launcher, context: None)
    (tmp_path / "other.toml").write_text(recipe.text_of("tiny").replace('name = "tiny"', 'name = "other"', 1))
    monkeypatch.setattr("workflows.definitions.defs", of_recipes(["tiny", str(tmp_path / "other.toml")]))
    origin = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="workflows.definitions"), location_name="here")
    with (
        History(tmp_path / "history", max_parallel=3).opened() as instance,
        WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as context,
    ):
        yield context


def started(page: WorkspaceProcessContext, job: str, assets: Sequence[Sequence[str]] | None = None) -> str:
    """Start a run as the page does, and return its id."""
    from dagster_graphql.schema import create_schema

    selector = {"repositoryLocationName": "here", "repositoryName": "__repository__", "pipelineName": job}
    chosen = {"assetSelection": [{"path": path} for path in assets], "assetCheckSelection": []} if assets else {}
    params = {"params": {"selector": {**selector, **chosen}}}
    context = page.create_request_context()
    answer = asyncio.run(create_schema().execute_async(MUTATION, context_value=context, variable_values=params))
    assert not answer.errors and answer.data["launchPipelineExecution"]["__typename"] == "LaunchRunSuccess", answer
    run_id: str = answer.data["launchPipelineExecution"]["run"]["runId"]
    return run_id


def test_runs_of_one_folder_wait_for_each_other_however_they_were_started(page: WorkspaceProcessContext) -> None:
    runs = [
        started(page, "__ASSET_JOB", [("tiny", "tasks")]),
        started(page, "__ASSET_JOB", [("tiny", "documents_news")]),
        started(page, "tiny"),
        started(page, "__ASSET_JOB", [("other", "tasks")]),
    ]
    list(QueuedRunCoordinatorDaemon(1).run_iteration(page))
    found = [page.instance.get_run_by_id(run_id) for run_id in runs]
    statuses = dg.DagsterRunStatus
    assert [run.status for run in found if run] == [statuses.STARTING, statuses.QUEUED, statuses.QUEUED, statuses.STARTING]
    assert [run.tags[OUTPUT_TAG] for run in found if run] == [
        storage.absolute(f"runs/{name}") for name in ("tiny", "tiny", "tiny", "other")
    ]
