"""What is rendered for machines of one's own starts a real Ray on real hosts, asks for its token, and ends alone."""

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.local import patience
from cluster.manifests.starting import STOP
from tests.hosts import Network, connected, unavailable
from tests.machines import NODES
from tests.slow_processes import PATIENCE
from tests.test_manifests import documents, made, unit

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "hosts are possible")]
TOKEN = "/tmp/home/.ray/auth_token"
"""Where Ray looks for it, and where `ray up` copies it."""


@pytest.fixture
def hosts() -> Iterator[Network]:
    network = Network(patience())
    with connected(network, {"head": 1, "two": 2}):
        token = secrets.token_hex(32)
        for host in network.hosts:
            path = network.path(host, TOKEN)
            path.parent.mkdir(parents=True)
            path.write_text(token)
        yield network


def nodes(hosts: Network, token: str, *wanted: str, seconds: float = PATIENCE) -> set[str]:
    """The addresses of the machines that the head knows, asked with a token; waits for those that are wanted."""
    program = NODES.replace("ADDRESS", f"{hosts.prefix}.1:6379")
    command = [sys.executable, "-c", program, str(seconds), *wanted]
    env = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    asked = hosts.run("head", command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return set(json.loads(asked.communicate()[0]))


def test_rendered_commands_start_a_ray_that_ends_alone(hosts: Network) -> None:
    head, two = (hosts.hosts[name].address for name in ("head", "two"))
    settings = {"onprem__head": head, "onprem__hosts": [two], "onprem__environment": str(Path(sys.executable).parents[1])}
    service = unit(made("systemd", workers="8", **settings, onprem__token_file=TOKEN)["nezha-ray-head.service"])["Service"]
    environment = [line.partition("=")[2] for line in lines(made("systemd", workers="8", **settings)["nezha-ray-head.service"])]
    slowly = [f"{name}={value}" for name, value in patience().items()]  # this machine may be busy
    with hosts.path("head", "/tmp/head.log").open("wb") as log:
        command = ["env", *environment, f"RAY_AUTH_TOKEN_PATH={TOKEN}", *slowly, "sh", "-c", f"exec {service['ExecStart']}"]
        hosts.run("head", command, stdout=log, stderr=log)
    (config,) = documents(made("onprem", workers="8", **settings))
    (line,) = config["worker_start_ray_commands"]
    token = hosts.path("head", TOKEN).read_text()
    assert nodes(hosts, token, head) == {head}, hosts.path("head", "/tmp/head.log").read_text()
    for _ in range(2):
        assert hosts.run("two", ["bash", "-c", f"export RAY_HEAD_IP={head}; {line}"]).wait(PATIENCE) == 0
        assert nodes(hosts, token, head, two) == {head, two}, hosts.path("two", "/tmp/home/.nezha-pipe-ray.log").read_text()
    assert len(hosts.processes("two", "raylet/raylet")) == 1, "the second start did nothing"
    assert nodes(hosts, secrets.token_hex(32), seconds=5) == set(), "another token is refused"

    assert hosts.run("two", ["bash", "-c", STOP]).wait(PATIENCE) == 0
    deadline = time.monotonic() + PATIENCE
    while hosts.processes("two", "ray"):
        assert time.monotonic() < deadline, hosts.processes("two", "ray")
        time.sleep(0.2)
    assert hosts.processes("head", "raylet/raylet"), "the other machine's Ray goes on"


def lines(text: str) -> list[str]:
    """The lines of a unit that set variables."""
    return [line for line in text.splitlines() if line.startswith("Environment=") and "TOKEN_PATH" not in line]
