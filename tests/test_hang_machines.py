"""Workers on several machines: one that sees other files, one that freezes, one whose link is cut."""

import os
from pathlib import Path

import pytest

from tests import machines, tiny
from tests.machines import Machines
from tests.slow_processes import PATIENCE
from tests.test_cluster import pretrain_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
cluster = machines.fixture(workers=3, interface=False)


def test_a_folder_that_is_another_one_elsewhere_is_refused_before_the_first_step(cluster: Machines, tmp_path: Path) -> None:
    run = pretrain_run(tiny.prepare(tmp_path), "/tmp/own-of-each")
    driver = cluster.pretrain("worker1", run, workers=2)
    _, errors = driver.communicate(timeout=PATIENCE)
    assert driver.returncode
    message = errors.decode().splitlines()[-1]
    assert "/tmp/own-of-each is not there, or is another folder; use a disk that all machines share, or a store" in message
    assert any(f"{host} does not see what this machine sees" in message for host in ("worker2", "worker3"))
    assert not [name for name in os.listdir(cluster.path("worker1", "/tmp/own-of-each")) if name.startswith(("att", "seen"))]
