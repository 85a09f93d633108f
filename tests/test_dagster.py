"""The chain as Dagster sees it: the same assets that `nezha-pipe run` executes load in Dagster's own tools."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from workflows import recipe
from workflows.assets import definitions
from workflows.chain import Chain

ROOT = Path(__file__).parent.parent


def test_every_step_is_an_asset_and_depends_on_the_right_ones(tmp_path: Path) -> None:
    chain = Chain(recipe.load("tiny"), str(tmp_path))
    graph = definitions(chain).resolve_asset_graph()
    names = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert names == set(chain.names())
    for key in graph.get_all_asset_keys():
        parents = {parent.to_user_string() for parent in graph.get(key).parent_keys}
        assert parents == set(chain.steps[key.to_user_string()].needs)


def test_a_step_needs_only_earlier_steps(tmp_path: Path) -> None:
    chain = Chain(recipe.load("tiny"), str(tmp_path))
    order = list(chain.steps)
    for step in chain.steps.values():
        assert all(order.index(needed) < order.index(step.name) for needed in step.needs)


@pytest.mark.slow
def test_dagster_dev_serves_the_assets(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(tmp_path),
        "NEZHA_PIPE_OUTPUT": str(tmp_path / "out"),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "dagster", "dev", "-m", "workflows.definitions", "-h", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        query = json.dumps({"query": "{ assetNodes { assetKey { path } } }"}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", query, {"Content-Type": "application/json"})
        found: set[str] = set()
        deadline = time.monotonic() + 90
        while not found and time.monotonic() < deadline:
            assert server.poll() is None, "dagster dev ended"
            time.sleep(1)
            try:
                nodes = json.load(urllib.request.urlopen(request, timeout=10))["data"]["assetNodes"]
                found = {node["assetKey"]["path"][0] for node in nodes}
            except OSError:
                continue
        assert found == set(Chain(recipe.load("tiny"), str(tmp_path)).names())
    finally:
        server.terminate()
        server.wait(30)
