"""Hosts on one machine: a network namespace each, with its own address, host name, /tmp and /dev/shm, joined by a bridge.

    hosts = Network({})
    with connected(hosts, {"one": 1, "two": 2}, shared=[tmp_path]):
        process = hosts.run("one", ["hostname"], stdout=PIPE)      a Popen; its pid is the command's own
        hosts.cut("two"), hosts.join("two")                        the link is down, silently, and up again
        hosts.limit("one", 50), hosts.unlimit("one")               50 Mbit/s each way, and as before
        hosts.lose("two")                                          all its processes are killed

The bridge is in a namespace of its own, to which this process has a link too. Every host resolves its own name to 127.0.1.1, as
Debian does, knows the others by name, and names its interface differently. Everything outside /tmp is this machine's own disk,
and so is what is shared: a folder there is at the same path on each host, as on NFS. All else in /tmp or /dev/shm exists on one
host only. Process ids are those of this machine, so `os.kill` reaches all.

Nothing has a name that outlives it: namespaces, mounts and links are gone with the last process of a host, and each host's
first process kills the others when it is told to, and when this process ends, however it ends.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.slow_processes import PATIENCE

ROOT = Path(__file__).resolve().parents[1]
TAG = "NEZHA_MACHINES"
"""Variable of all processes of the hosts: the process that started them, and when it was born."""
HOST = r"""
# Arguments: the host's name, then the folders of /tmp that all hosts share.
set -e
trap '' INT TERM HUP
name=$1; shift
mount -t tmpfs -o mode=1777 tmpfs /mnt
for folder in "$@"; do
    mkdir -p "/mnt/${folder#/tmp/}"
    mount --bind "$folder" "/mnt/${folder#/tmp/}"
done
mount --move /mnt /tmp
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mkdir -p /tmp/home /tmp/ray
printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$name" > /tmp/hosts
mount --bind /tmp/hosts /etc/hosts
# No name server can be reached from here: without this, each look-up of a name by torch or gRPC waits 10 s for one.
: > /tmp/resolv.conf
[ ! -e /etc/resolv.conf ] || mount --bind /tmp/resolv.conf /etc/resolv.conf
hostname "$name"
ip link set lo up
echo ready
read line || true
# Kill all other processes of this host, again while there are any: some may just be starting others.
mine=$(readlink /proc/$$/ns/net)
left=yes
while [ "$left" ]; do
    left=
    for each in /proc/[0-9]*; do
        pid=${each#/proc/}
        if [ "$pid" != $$ ] && [ "$(readlink $each/ns/net)" = "$mine" ] && kill -9 "$pid"; then
            left=yes
        fi
    done 2> /dev/null
    [ -z "$left" ] || sleep 0.05
done
"""


class Unavailable(Exception):
    """There can be no hosts here. The message gives the reason."""


@dataclass
class Host:
    """A host while it is there."""

    name: str
    address: str
    interface: str
    holder: "subprocess.Popen[bytes]"
    """Its first process, which holds its namespaces."""
    processes: "list[subprocess.Popen[Any]]" = field(default_factory=list)
    """What was started on it by `run`."""


class Network:
    """Hosts that are running, by their names. `environment`: variables of all their processes."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.hosts: dict[str, Host] = {}
        self.environment = dict(environment)
        self.prefix = f"10.{64 + os.getpid() // 250 % 64}.{os.getpid() % 250}"
        """The first three numbers of all addresses; this process has 254."""
        self.link = f"nz{os.getpid():x}"
        """The link of this process."""
        self.switch: subprocess.Popen[bytes]

    def variables(self, host: Host) -> dict[str, str]:
        """Variables of all processes of one host."""
        return {}

    def run(
        self, host: str, command: Sequence[str], env: Mapping[str, str] | None = None, **options: Any
    ) -> "subprocess.Popen[Any]":
        """Start a command on a host. It has `environment`, and `options` are those of Popen; `cwd` is this checkout."""
        one = self.hosts[host]
        folder = str(options.pop("cwd", ROOT))
        process = subprocess.Popen(
            [*enter(one.holder.pid), "sh", "-c", 'cd "$0" && exec "$@"', folder, *command],
            env={**own_environment(), **self.environment, **self.variables(one), **(env or {})},
            start_new_session=True,
            **options,
        )
        one.processes.append(process)
        return process

    def path(self, host: str, path: str) -> Path:
        """Where this process finds a file of a host's own /tmp."""
        return Path(f"/proc/{self.hosts[host].holder.pid}/root{path}")

    def processes(self, host: str, name: str = "") -> dict[int, str]:
        """Return process ids and command lines on a host of those whose command line contains `name`."""
        one = self.hosts[host]
        found = {pid: line for pid, line in in_namespace(one.holder.pid).items() if name in line}
        found.pop(one.holder.pid, None)
        return found

    def cut(self, host: str) -> None:
        """Take a host's link down, at the switch: packets to and from it are lost without a word."""
        self._on_switch(f"link set {host} down")

    def join(self, host: str) -> None:
        """Bring its link up again."""
        self._on_switch(f"link set {host} up")

    def limit(self, host: str, megabits: float) -> None:
        """Limit a host's link to so many Mbit/s in each direction."""
        rate = ["root", "tbf", "rate", f"{megabits}mbit", "burst", "128kb", "latency", "100ms"]
        one = self.hosts[host]
        _call([*enter(one.holder.pid), "tc", "qdisc", "replace", "dev", one.interface, *rate])
        _call([*enter(self.switch.pid), "tc", "qdisc", "replace", "dev", host, *rate])

    def unlimit(self, host: str) -> None:
        """End the limit of a host's link, if it has one."""
        one = self.hosts[host]
        for pid, link in ((one.holder.pid, one.interface), (self.switch.pid, host)):
            command = [*enter(pid), "tc", "qdisc", "del", "dev", link, "root"]
            subprocess.run(command, stderr=subprocess.DEVNULL)  # an error without a limit

    def lose(self, host: str) -> None:
        """Kill all processes of a host at once. Its /tmp is kept, as a disk is."""
        while left := self.processes(host):  # again, as some may just have started others
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for process in self.hosts[host].processes:
                process.poll()
        self.hosts[host].processes.clear()

    def _add(self, name: str, number: int, shared: Sequence[str], stack: contextlib.ExitStack) -> None:
        """Add a host to the network."""
        holder = stack.enter_context(_held(["unshare", "--net", "--mount", "--uts", "sh", "-c", HOST, name, name, *shared]))
        host = Host(name, f"{self.prefix}.{number}", f"net{number}", holder)
        self.hosts[name] = host
        self._on_switch(f"link add {name} type veth peer name {host.interface} netns {holder.pid}")
        self._on_switch(f"link set {name} master bridge up")
        for command in (
            f"address add {host.address}/24 dev {host.interface}",
            f"link set {host.interface} up",
            # Nothing is there, but by the way to it Ray finds out the address of its own machine.
            f"route add default via {self.prefix}.254",
        ):
            _call([*enter(holder.pid), "ip", *command.split()])

    def _introduce(self) -> None:
        """Tell each host the names of the others."""
        for host in self.hosts:
            with self.path(host, "/tmp/hosts").open("a") as file:
                file.writelines(f"{other.address} {other.name}\n" for other in self.hosts.values() if other.name != host)

    def _on_switch(self, command: str) -> None:
        _call([*enter(self.switch.pid), "ip", *command.split()])

    def _connect(self, stack: contextlib.ExitStack) -> None:
        """Make the switch, with a link to this process."""
        sweep()
        waiting = "trap '' INT TERM HUP; ip link add bridge type bridge; ip link set bridge up; echo ready; read line"
        stack.callback(_wait, lambda: not Path(f"/sys/class/net/{self.link}").exists())  # removed a moment later
        self.switch = stack.enter_context(_held(["unshare", "--net", "sh", "-c", waiting]))
        self._on_switch(f"link add outside type veth peer name {self.link} netns {os.getpid()}")
        self._on_switch("link set outside master bridge up")
        _call(["ip", "address", "add", f"{self.prefix}.254/24", "dev", self.link])
        _call(["ip", "link", "set", self.link, "up"])


@contextlib.contextmanager
def connected(network: Network, numbers: Mapping[str, int], shared: Sequence[Path | str] = ()) -> Iterator[None]:
    """Set hosts up, and take them down. `numbers`: the last number of each host's address.

    Raises: Unavailable, with the reason, where there can be none.
    """
    if reason := unavailable():
        raise Unavailable(reason)
    visible = sorted({str(Path(path).resolve()) for path in (*shared, ROOT, sys.prefix, sys.base_prefix)})
    below = [path for path in visible if path.startswith("/tmp/")]
    with contextlib.ExitStack() as stack:
        network._connect(stack)
        for name, number in numbers.items():
            network._add(name, number, below, stack)
        network._introduce()
        stack.callback(_reap, network)
        yield


def _reap(network: Network) -> None:
    """End the processes of all hosts, and collect them."""
    for host in network.hosts.values():
        host.holder.stdin.close()  # type: ignore[union-attr]
    for host in network.hosts.values():
        host.holder.wait()
        for process in host.processes:
            process.wait()


def unavailable() -> str:
    """Return why there can be no hosts here; empty if they can."""
    if sys.platform != "linux":
        return "network namespaces are part of Linux"
    if missing := [name for name in ("ip", "unshare", "nsenter", "mount") if not shutil.which(name)]:
        return f"hosts need {', '.join(missing)} (packages iproute2 and util-linux)"
    probe = "mount -t tmpfs tmpfs /mnt && ip link add one type veth peer name two && ip link add three type bridge"
    tried = subprocess.run(["unshare", "--net", "--mount", "--uts", "sh", "-c", probe], capture_output=True, text=True)
    if tried.returncode:
        return f"network namespaces are not allowed here ({tried.stderr.strip() or 'no reason given'}): they need root"
    return ""


def sweep() -> None:
    """Kill what is left of clusters whose process is gone: only if their hosts' first processes were killed too."""
    outside = os.readlink("/proc/self/ns/net")
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            tag = re.search(rf"(?:^|\0){TAG}=(\d+)-(\d+)\0".encode(), (entry / "environ").read_bytes())
            if tag and _born(int(tag[1])) != int(tag[2]) and os.readlink(entry / "ns/net") != outside:
                for pid in in_namespace(int(entry.name)):
                    os.kill(pid, signal.SIGKILL)


def _born(pid: int) -> int:
    """When a process was born, in ticks since the machine's start; 0 if there is none."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0


def own_environment() -> dict[str, str]:
    """The variables of this process that hosts get, with those that would lead them astray removed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AWS_", "GLOO_", "NCCL_"))}
    mine = f"{os.getpid()}-{_born(os.getpid())}"
    return {**kept, "PYTHONPATH": str(ROOT), "HOME": "/tmp/home", "TMPDIR": "/tmp", TAG: mine}


@contextlib.contextmanager
def _held(command: Sequence[str]) -> "Iterator[subprocess.Popen[bytes]]":
    """A process that says `ready` and lives until its input ends: at the latest with this process."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=own_environment(), start_new_session=True
    )
    assert process.stdin and process.stdout
    try:
        assert process.stdout.readline() == b"ready\n", f"a host could not be set up: {command[-1]}"
        yield process
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def enter(pid: int) -> list[str]:
    """Return the words that start a command in the namespaces of a process, as the same process."""
    return ["nsenter", f"--target={pid}", "--net", "--mount", "--uts", "--"]


def in_namespace(pid: int) -> dict[int, str]:
    """Return the processes in the network namespace of one, itself included, and their command lines."""
    namespace = os.readlink(f"/proc/{pid}/ns/net")
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile
            if os.readlink(entry / "ns/net") == namespace:  # unreadable once it has ended, although not yet collected
                found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
    return found


def _wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done() and time.monotonic() < deadline:
        time.sleep(0.02)


def _call(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
