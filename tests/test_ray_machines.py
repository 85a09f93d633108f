"""Ray on several machines: what `cluster check` finds there, and `prepare` on all of them, one of which is lost."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster.checking import versions
from pipeline.engine import job
from tests import commands, corpus, hosts, machines, number_jobs
from tests.machines import Machines
from tests.slow_processes import PATIENCE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200)]
cluster = machines.fixture(
    workers=3,
    interface=False,
    environment={"RAY_health_check_timeout_ms": "20000"},  # a busy machine is not lost; one that is killed refuses at once
)
COMMAND = "from workflows.cli import main; main(prog_name='nezha-pipe')"


def start(cluster: Machines, host: str, *words: object, program: str = COMMAND, **env: str) -> "subprocess.Popen[str]":
    """Start the command, or a program, on a host."""
    command = [sys.executable, "-c", program, *map(str, words)]
    return cluster.run(host, command, env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Wait for it; returns its exit code, output and errors."""
    out, errors = process.communicate(timeout=2 * PATIENCE)
    return process.returncode, out, errors


def wait_until(condition: Callable[[], Any], process: "subprocess.Popen[str] | None" = None) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.05)


def check(cluster: Machines, *words: object, **env: str) -> "subprocess.Popen[str]":
    # Four machines import torch at once on what may be two busy cores.
    return start(cluster, "worker1", "cluster", "check", "--address", cluster.head_address, "--timeout", 240, *words, **env)


def test_machines_that_are_fit(cluster: Machines, tmp_path: Path) -> None:
    code, out, errors = ended(check(cluster, "--output", tmp_path / "run", "--json"))
    assert code == 0, out + errors
    result = json.loads(out)
    assert result["fit"] and not [one for one in result["findings"] if one["level"] == "error"]
    assert [one["host"] for one in result["machines"]] == ["head", "worker1", "worker2", "worker3"]
    assert [one["works"] for one in result["machines"]] == [False, True, True, True]
    assert {one["versions"]["ray"] for one in result["machines"]} == {versions_here()["ray"]}
    assert all(abs(one["clock"]["seconds"]) <= one["clock"]["error"] + 0.1 for one in result["machines"])
    assert set(result["network"]["links"]) == {"worker1", "worker2", "worker3"} and result["network"]["seconds"] > 0
    (network,) = [one["text"] for one in result["findings"] if one["topic"] == "network" and one["level"] == "ok"]
    interfaces = ", ".join(sorted(cluster.hosts[name].interface for name in cluster.workers))
    assert f"by gloo over {interfaces};" in network
    assert not list(tmp_path.rglob("seen*"))
    assert not [line for name in cluster.workers for line in cluster.processes(name).values() if "Machine" in line]


def versions_here() -> dict[str, str | None]:
    from cluster.checking.machine import version

    return {name: version(name) for name in versions.PACKAGES}


def test_what_a_user_can_mend_is_one_line(cluster: Machines) -> None:
    address, other = cluster.head_address, "f" * 64
    changed = f"import ray; ray.__version__ = '0.1'\n{COMMAND}"
    words = ["cluster", "check", "--address"]
    asked = {
        "asks for a token: put the one": start(cluster, "worker1", *words, address, RAY_AUTH_MODE="", RAY_AUTH_TOKEN=""),
        "refuses the token of this machine: put": start(cluster, "worker1", *words, address, RAY_AUTH_TOKEN=other),
        "RAY_AUTH_MODE is token, but there is none": start(cluster, "worker1", *words, address, RAY_AUTH_TOKEN=""),
        "has Ray 2.": start(cluster, "worker1", *words, address, program=changed),
        "this machine is no part of the cluster": start(cluster, machines.STORE, *words, address),
        "nothing answers at": start(cluster, "worker1", *words, f"{cluster.hosts['worker1'].address}:1"),
    }
    for message, process in asked.items():
        code, out, errors = ended(process)
        assert code == 2 and not out and message in errors and len(errors.splitlines()) == 1, (message, code, out, errors)


JOB = """
import sys
from pathlib import Path
from cluster.config import ClusterConfig
from cluster.session import connected
from cluster.tasks import RayTasks
from pipeline.engine import job
from pipeline.engine.execution import Execution
from tests import number_jobs
folder, address = sys.argv[1:]
with connected(ClusterConfig(workers=3, address=address)):
    work = number_jobs.job(Path(folder), "there", tasks=12, hosts=3, lose_at="000050")
    job.run(work, Execution(workers=3, executor=RayTasks()))
"""


def test_a_job_uses_all_machines_and_survives_the_loss_of_one(cluster: Machines, tmp_path: Path) -> None:
    cluster.heal()
    process = start(cluster, "head", tmp_path, cluster.head_address, program=JOB)
    calls = tmp_path / "calls"
    wait_until(lambda: [path for path in calls.glob("000050.*") if path.read_text()], process)
    (first,) = calls.glob("000050.*")
    cluster.lose(first.read_text())
    code, out, errors = ended(process)
    assert code == 0, out + errors
    assert number_jobs.hosts(str(calls)) == set(cluster.workers)
    twice = [path.read_text() for path in calls.glob("000050.*")]
    assert len(twice) == len(set(twice)) == 2
    job.run(number_jobs.job(tmp_path, "here", tasks=12))
    files = {path.name: path.read_bytes() for path in (tmp_path / "here").glob("bucket*")}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "there").glob("bucket*")} and len(files) == 4


def test_prepare_writes_the_same_bytes_though_a_machine_is_lost(cluster: Machines, tmp_path: Path) -> None:
    cluster.heal()
    text = corpus.write_text(tmp_path / "text")
    words = ["--corpus", "text", "--input", text]
    ray = ["--runner", "ray", "--runner-option", f"address={cluster.head_address}"]
    process = start(cluster, "head", "prepare", *words, *ray, "--output", tmp_path / "there")
    wait_until(lambda: list((tmp_path / "there").glob("*/manifest.json")), process)
    cluster.lose("worker3")
    code, out, errors = ended(process)
    assert code == 0, out + errors
    assert commands.prepare(*words, output=tmp_path / "here").exit_code == 0
    assert commands.digests(tmp_path / "there") == commands.digests(tmp_path / "here")
    assert not list(tmp_path.rglob("seen*"))


def test_prepare_refuses_what_other_machines_do_not_see(cluster: Machines, tmp_path: Path) -> None:
    cluster.heal()
    text = corpus.write_text(tmp_path / "text")
    (tmp_path / "words.txt").write_text("人工智能\n")
    own = cluster.path("worker1", "/tmp/own")
    own.mkdir(exist_ok=True)
    corpus.write_text(own / "text")
    (own / "words.txt").write_text("人工智能\n")
    asked = {}
    for input_, words, output, unseen in (
        ("/tmp/own/text", tmp_path / "words.txt", tmp_path / "one", "/tmp/own/text/a.txt is not there"),
        (text, "/tmp/own/words.txt", tmp_path / "two", "/tmp/own/words.txt is not there"),
        (text, tmp_path / "words.txt", "/tmp/own/out", "/tmp/own/out is not there, or is another folder"),
    ):
        asked[unseen] = start(
            *(cluster, "worker1", "prepare", "--corpus", "text", "--input", input_, "--output", output),
            *("--set", f'words.user_dictionary=["{words}"]'),
            *("--runner", "ray", "--runner-option", f"address={cluster.head_address}"),
        )
    for unseen, process in asked.items():
        code, out, errors = ended(process)
        assert code == 2 and not out, out + errors
        assert f"does not see what this machine sees: {unseen}" in errors.splitlines()[-1], errors
        assert any(f"{host} does not see" in errors.splitlines()[-1] for host in ("worker2", "worker3"))
    assert not [path for folder in (tmp_path, own) for path in folder.rglob("*") if path.name.startswith(("doc", "seen"))]


def another_host(folder: Path) -> dict[str, str]:
    """Variables of a host with other packages, and whose clock is 2,000 s ahead.

    No namespace has a clock of its own: Linux can move the monotonic ones only. So this is the clock of its Python.
    """
    for name, version in (("jieba", "0.1"), ("nezha_pipe", "9.9")):
        installed = folder / f"{name}-{version}.dist-info"
        installed.mkdir(parents=True)
        (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (folder / "sitecustomize.py").write_text("import time\nright = time.time\ntime.time = lambda: right() + 2_000\n")
    return {"PYTHONPATH": f"{folder}{os.pathsep}{hosts.ROOT}"}


def test_what_would_break_a_run_is_named_with_its_machine(cluster: Machines, tmp_path: Path) -> None:
    cluster.lose("worker3")
    gone = cluster.hosts["worker3"].address
    wait_until(lambda: gone not in cluster.nodes())
    cluster.own["worker3"] = another_host(tmp_path / "another")
    cluster.start("worker3")
    cluster.limit("worker2", 40)
    code, out, errors = ended(check(cluster, "--output", "/tmp/own-of-each"))
    assert code == 1 and not errors, out + errors
    lines = out.splitlines()

    def line(*words: str) -> str:
        (found,) = [one for one in lines if all(word in one for word in words)] or [""]
        return found

    assert line("error", "worker3: jieba 0.1, here", "prepare would write other bytes there"), out
    assert line("warning", "worker3: nezha-pipe 9.9, here"), out
    assert line("error", "worker3: its clock is ", "s ahead, give or take", "stores refuse its requests"), out
    for name in ("worker2", "worker3"):
        assert line("error", f"{name}: /tmp/own-of-each is not there, or is another folder", "use a disk that all"), out
    assert line("warning", "head: /tmp/own-of-each is not there"), out
    assert line("warning", "worker2: its link carries"), out
    assert not cluster.path("worker2", "/tmp/own-of-each").exists()


def test_a_machine_that_hangs_is_a_finding(cluster: Machines) -> None:
    frozen = cluster.processes("worker3")
    for pid in frozen:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    process = start(cluster, "worker1", "cluster", "check", "--address", cluster.head_address, "--timeout", 60)
    code, out, errors = ended(process)
    assert code == 1 and not errors, out + errors
    assert any(line.startswith("error    worker3: ") for line in out.splitlines()), out
