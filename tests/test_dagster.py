"""The chain as Dagster sees it: the same assets that `nezha-pipe run` executes load in Dagster's own tools."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import RecipeError
from tests.histories import trivial
from tests.slow_processes import PATIENCE
from workflows import recipe
from workflows.assets import definitions
from workflows.chain import Chain
from workflows.definitions import of_recipes
from workflows.orchestration.history import History
from workflows.orchestration.server import is_loopback, serve

ROOT = Path(__file__).parent.parent


def test_every_step_is_an_asset_and_depends_on_the_right_ones(tmp_path: Path) -> None:
    chain = Chain(recipe.load("tiny"), str(tmp_path))
    graph = definitions(chain).resolve_asset_graph()
    assert {tuple(key.path) for key in graph.get_all_asset_keys()} == {("tiny", name) for name in chain.names()}
    for key in graph.get_all_asset_keys():
        parents = {parent.path[1] for parent in graph.get(key).parent_keys}
        assert parents == set(chain.steps[key.path[1]].needs)


def test_the_code_server_finds_the_rooms_from_any_folder_and_imports_nothing_from_it(tmp_path: Path) -> None:
    """Dagster takes the first folder off sys.path: the rooms' own one, when the current folder is not trusted."""
    (tmp_path / "pipeline.py").write_text("raise SystemExit('imported from the current folder')")
    program = (
        "from dagster._core.workspace.autodiscovery import loadable_targets_from_python_module as load\n"
        "from workflows.orchestration.server import DEFINITIONS, MODULES\n"
        "assert load(DEFINITIONS, MODULES)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_recipes_that_cannot_be_loaded_are_one_line_each_beside_the_others(tmp_path: Path) -> None:
    broken, twin = tmp_path / "broken.toml", tmp_path / "twin.toml"
    broken.write_text("name = 'broken'\n[[source]\n")
    twin.write_text(recipe.text_of("tiny"))
    names = ["tiny", str(broken), str(tmp_path / "nowhere.toml"), str(twin)]
    found = of_recipes(names)
    nodes = {tuple(key.path): found.resolve_asset_graph().get(key) for key in found.resolve_asset_graph().get_all_asset_keys()}
    failed = [node.description or "" for path, node in nodes.items() if path[1] == "cannot_be_loaded"]
    assert len(failed) == 3 and not any("\n" in line for line in failed)
    for name, reason in zip(names[1:], ("broken.toml", "no recipe", "another recipe is named 'tiny'"), strict=True):
        assert any(line.startswith(f"{name}: ") and reason in line for line in failed), failed
    assert {path[1] for path in nodes if path[0] == "tiny"} == set(Chain(recipe.load("tiny"), "nowhere").names())
    assert found.resolve_job_def("tiny")


def test_only_loopback_is_loopback_and_a_taken_port_is_one_line(tmp_path: Path) -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.7", "example.org", "")] == [False] * 5
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(RecipeError, match="in use; choose another --port"):
            serve(History(tmp_path / "history"), {}, "127.0.0.1", taken.getsockname()[1], print)
    with pytest.raises(RecipeError, match=r"^192\.0\.2\.1: Cannot assign requested address; choose another --host"):
        serve(History(tmp_path / "history"), {}, "192.0.2.1", 3000, print)


def test_a_step_needs_only_earlier_steps(tmp_path: Path) -> None:
    chain = Chain(recipe.load("tiny"), str(tmp_path))
    order = list(chain.steps)
    for step in chain.steps.values():
        assert all(order.index(needed) < order.index(step.name) for needed in step.needs)


@pytest.mark.slow
def test_the_page_serves_the_assets_and_the_runs_of_the_command(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    output = tmp_path / "out"
    with History.of(str(output)).opened() as instance:
        trivial().execute_in_process(instance=instance)
    program = "from workflows.cli import main; main(prog_name='nezha-pipe')"
    command = [sys.executable, "-c", program, "ui", "tiny", "--output", str(output), "--port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True)
    try:
        query = json.dumps({"query": QUERY}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", query, {"Content-Type": "application/json"})
        found: dict[str, Any] = {}
        deadline = time.monotonic() + PATIENCE
        while not found.get("assetNodes") and time.monotonic() < deadline:
            assert server.poll() is None, "the page ended"
            time.sleep(1)
            try:
                found = json.load(urllib.request.urlopen(request, timeout=PATIENCE))["data"]
            except OSError:
                continue
        assert {node["assetKey"]["path"][1] for node in found["assetNodes"]} == {*Chain(recipe.load("tiny"), "nowhere").names()}
        assert [(run["jobName"], run["status"]) for run in found["runsOrError"]["results"]] == [("trivial", "SUCCESS")]
    finally:
        os.kill(server.pid, signal.SIGINT)
        server.wait(PATIENCE)


QUERY = "{ assetNodes { assetKey { path } } runsOrError { ... on Runs { results { jobName status } } } }"
