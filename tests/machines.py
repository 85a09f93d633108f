"""A cluster of real hosts on one machine (tests/hosts.py): a Ray head, workers, and an S3 server, each on its own host.

    with machines(workers=3, shared=[tmp_path]) as cluster:       hosts `head`, `worker1` to `worker3`, `store`
        driver = cluster.run("worker1", command, stdout=PIPE)     a Popen; its pid is the command's own
        cluster.cut("worker2"), cluster.join("worker2")           the link is down, silently, and up again
        cluster.lose("worker3"), cluster.start("worker3")         all its processes are killed; its Ray starts again

    cluster = fixture(workers=2)                                  the same for all tests of a file, skipped where impossible
    def test_it(cluster: Machines) -> None: ...

A driver must run on a host, as it needs the sockets of its Ray: `nezha-pipe pretrain --address ...` by `cluster.run`, with
`cluster.head_address`, or `cluster.pretrain`. This process reads the store with the variables `cluster.environment`.
"""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline import storage
from tests.hosts import Host, Network, connected, unavailable
from tests.slow_processes import PATIENCE
from tests.store_server import REFUSE, SENT

if TYPE_CHECKING:
    from model.training.run import PretrainRun

GCS_PORT, STORE_PORT = 6379, 5000
HEAD, STORE, LOGIN = "head", "store", "login"
STORE_SETTINGS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_worker_niceness": "0",  # the default of 15 starves training beside other programs
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    # A machine that is silent for about 10 s is lost; the default is a minute.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
}
KEEP_RAY_UP = r"""
# As a service manager does: `ray start --block` again, a second after it has ended.
while :; do
    "$@" >> /tmp/ray-start.log 2>&1 < /dev/null || true
    sleep 1
done
"""
NODES = """
import json, sys, time
from ray._raylet import GcsClient
wanted, deadline = set(sys.argv[2:]), time.monotonic() + float(sys.argv[1])
while True:
    try:
        nodes = GcsClient(address="ADDRESS").get_all_node_info()
        found = {node.node_manager_address: number.hex() for number, node in nodes.items() if node.state == 0}
    except Exception as error:
        found, failed = {}, error
    if wanted <= found.keys() or time.monotonic() > deadline:
        break
    time.sleep(0.3)
print(json.dumps(found))
"""


DRIVER = """
import json, sys
from cluster.config import ClusterConfig
from cluster.launch import pretrain
from model.training.run import PretrainRun
document, settings = json.load(sys.stdin)
report = lambda *words: print(*words, file=sys.stderr, flush=True)
pretrain(PretrainRun.from_json(document), ClusterConfig(**settings), report)
"""


class Machines(Network):
    """A cluster that is running; see the module's docstring."""

    store_url = "s3://machines"

    def __init__(self, workers: int, cpus: float, environment: Mapping[str, str], interface: bool) -> None:
        super().__init__({})
        self.environment = {
            **STORE_SETTINGS,
            "AWS_ENDPOINT_URL": f"http://{self.prefix}.2:{STORE_PORT}",
            **RAY_SETTINGS,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            **environment,
        }
        self.workers = tuple(f"worker{number + 1}" for number in range(workers))
        self.cpus = cpus
        self.interface = interface
        self.own: dict[str, dict[str, str]] = {}
        """Variables of single hosts, for what is started on them from now on."""
        self.up: set[str] = set()
        """Hosts whose Ray, or server, should run."""

    def variables(self, host: Host) -> dict[str, str]:
        return {**({"GLOO_SOCKET_IFNAME": host.interface} if self.interface else {}), **self.own.get(host.name, {})}

    @property
    def head_address(self) -> str:
        """Address of Ray, for `--address`."""
        return f"{self.hosts[HEAD].address}:{GCS_PORT}"

    def pretrain(self, host: str, run: "PretrainRun", **cluster: Any) -> "subprocess.Popen[bytes]":
        """Start a driver on a host that calls `cluster.launch.pretrain` in this cluster. `cluster`: fields of ClusterConfig."""
        process = self.run(
            host, [sys.executable, "-c", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdin
        settings = {"address": self.head_address, "workers": len(self.workers), "cpus_per_worker": self.cpus, **cluster}
        process.stdin.write(storage.json_bytes([run.to_json(), settings]))
        process.stdin.close()
        process.stdin = None  # so that `communicate` does not close it again
        return process

    def train_workers(self, host: str) -> list[int]:
        """Return the processes of training on a host."""
        return sorted(self.processes(host, "ray::RayTrainWorker"))

    def start(self, host: str, wait: bool = True) -> None:
        """Start a host's Ray, or the store's server; it is kept up until `lose`. `wait`: until it is part of the cluster."""
        one = self.hosts[host]
        self.up.add(host)
        if host == STORE:
            self._start_store()
            return
        role = (
            ["--head", f"--port={GCS_PORT}", "--num-cpus=0", "--include-dashboard=false"]
            if host == HEAD
            else [f"--address={self.head_address}", f"--num-cpus={0 if host == LOGIN else self.cpus:g}"]
        )
        options = [
            "--block",
            "--disable-usage-stats",
            f"--node-ip-address={one.address}",
            f"--object-store-memory={100 << 20}",
            *(["--temp-dir=/tmp/ray"] if host == HEAD else []),
        ]
        ray = str(Path(sys.executable).parent / "ray")
        self.run(host, ["sh", "-c", KEEP_RAY_UP, "keep-ray-up", sys.executable, ray, "start", *role, *options])
        if wait:
            self.wait_for(host)

    def lose(self, host: str) -> None:
        super().lose(host)
        self.up.discard(host)

    def restart_head(self, wait: bool = True) -> None:
        """Lose the head and start it again. The Rays of the workers end and start again when they notice."""
        self.lose(HEAD)
        self.start(HEAD, wait)

    def refuse(self, refuse: bool) -> None:
        """Let the store answer every request by 503, or no longer."""
        flag = self.path(STORE, REFUSE)
        flag.touch() if refuse else flag.unlink(missing_ok=True)

    def sent(self) -> int:
        """Return how many bytes the store has sent, without headers."""
        with urllib.request.urlopen(f"{self.environment['AWS_ENDPOINT_URL']}{SENT}") as answer:
            return int(answer.read())

    def heal(self) -> None:
        """Mend what a test broke: links, lost machines, stopped processes. Spares run afterwards too."""
        for host in self.hosts:
            self.join(host)
            self.unlimit(host)
            for pid in self.processes(host):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        rays = [host for host in self.hosts if host != STORE]
        for host in self.hosts:
            if host not in self.up:
                self.start(host, wait=False)
        self.wait_for(*rays)

    def nodes(self) -> dict[str, str]:
        """Return the addresses of the machines that Ray believes to be alive, and their node ids, as `ray drain-node` takes."""
        return self._nodes(0)

    def wait_for(self, *hosts: str) -> None:
        """Wait until hosts are part of the cluster."""
        addresses = [self.hosts[host].address for host in hosts]
        found = self._nodes(PATIENCE, *addresses)
        logs = [self.path(host, "/tmp/ray-start.log") for host in hosts if self.hosts[host].address not in found]
        assert not logs, "\n".join(f"Ray did not start: {log.read_text()[-2000:]}" for log in logs if log.exists())

    def _nodes(self, seconds: float, *addresses: str) -> dict[str, str]:
        program = NODES.replace("ADDRESS", self.head_address)
        asked = self.run(
            HEAD,
            [sys.executable, "-c", program, str(seconds), *addresses],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        answer, _ = asked.communicate()
        self.hosts[HEAD].processes.remove(asked)
        found: dict[str, str] = json.loads(answer)
        return found

    def _start_store(self) -> None:
        """Start the S3 server. What it holds is in its memory: a store that is lost is empty afterwards."""
        import boto3

        store = self.hosts[STORE]
        log = self.path(STORE, "/tmp/store.log").open("wb")
        with log:
            command = [sys.executable, "-m", "tests.store_server", store.address, str(STORE_PORT)]
            server = self.run(STORE, command, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while not _answers(store.address, STORE_PORT):
            assert server.poll() is None and time.monotonic() < deadline, "the S3 server does not start"
            time.sleep(0.1)
        client = boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            region_name="us-east-1",
        )
        client.create_bucket(Bucket=self.store_url.removeprefix("s3://"))
        client.close()


@contextlib.contextmanager
def machines(
    workers: int = 3,
    cpus: float = 1,
    shared: Sequence[Path | str] = (),
    *,
    spares: int = 0,
    ray: bool = True,
    store: bool = True,
    login: bool = False,
    interface: bool = True,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Machines]:
    """Run a cluster of a head, workers and a store.

    `cpus`: of each worker; the head has none. `shared`: folders below /tmp that all hosts see. `spares`: how many workers, the
    last ones, have no Ray until `start`. `ray=False`: hosts without Ray. `login`: one more host, for drivers that survive the
    head; its Ray has no CPUs. `interface`: tell Gloo the interface of each host. `environment`: variables for all hosts, such
    as other health checks.

    Raises: Unavailable, with the reason, where there can be none.
    """
    cluster = Machines(workers, cpus, environment or {}, interface)
    numbers = {
        HEAD: 1,
        **({STORE: 2} if store else {}),
        **({LOGIN: 3} if login else {}),
        **{name: 11 + n for n, name in enumerate(cluster.workers)},
    }
    with connected(cluster, numbers, shared):
        if ray:
            cluster.start(HEAD, wait=False)
        if store:
            cluster.start(STORE)
        if ray:
            cluster.wait_for(HEAD)  # `ray start` on the others would fail until then, over and over
            present = [*([LOGIN] if login else []), *cluster.workers[: workers - spares]]
            for name in present:
                cluster.start(name, wait=False)
            cluster.wait_for(*present)
        yield cluster


def fixture(**options: Any) -> Any:
    """Return a fixture for all tests of a file: `machines(**options)`, which shares the temporary folders of the tests.

    The store's variables are those of the tests meanwhile. Where there can be no hosts, the tests are skipped with the reason.
    """

    @pytest.fixture(scope="module")
    def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
        import s3fs

        if reason := unavailable():
            pytest.skip(reason)
        with (
            machines(shared=[tmp_path_factory.getbasetemp()], **options) as running,
            pytest.MonkeyPatch.context() as patch,
        ):
            for name in (*STORE_SETTINGS, "AWS_ENDPOINT_URL"):
                patch.setenv(name, running.environment[name])
            s3fs.S3FileSystem.clear_instance_cache()
            yield running
            s3fs.S3FileSystem.clear_instance_cache()

    return cluster


def _answers(address: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
        return True
    return False
