"""Commands that start Ray on a machine, for Ray's launcher and for systemd.

Nothing calls `ray stop`: it ends every Ray on a machine, whoever started it. Here Ray stays in the foreground (`--block`) below
a process that holds a lock, so that a second start does nothing, and ending that process ends this Ray alone.
"""

import shlex
from collections.abc import Mapping

from cluster.manifests.pods import HEAD, RAY

PORT = 6379
LOCK = "$HOME/.nezha-pipe-ray.lock"
LOG = "$HOME/.nezha-pipe-ray.log"
STOP = f"kill $(cat {LOCK})"
"""How a person stops the Ray of a machine."""


def ray_start(ray: str, head: str = "", options: Mapping[str, str] = {}) -> list[str]:
    """Return the command for a machine: a head, or one that joins the head at an address.

    Args:
        ray: path of the command; `head`: address of the head, empty on the head itself.
    """
    role = [f"--address={head}:{PORT}"] if head else ["--head", f"--port={PORT}", "--dashboard-host=127.0.0.1"]
    return [ray, "start", *role, *(f"--{name}={value}" for name, value in options.items()), "--block"]


def environment(is_head: bool) -> dict[str, str]:
    """Return the environment of Ray on a machine. It asks for a token, which is in a file there."""
    return {"RAY_AUTH_MODE": "token", **(HEAD if is_head else RAY)}


def in_background(command: str, env: Mapping[str, str], environment_file: str = "") -> str:
    """Return a shell line that starts Ray and returns; does nothing where it runs already.

    Args:
        command: the line that starts it, which may have variables of the shell; `environment_file`: what it reads first.
    """
    words = " ".join(f"{name}={shlex.quote(value)}" for name, value in env.items())
    load = f"set -a; . {shlex.quote(environment_file)}; set +a; " if environment_file else ""
    # The lock holds the number of the process: a shell that has become Ray.
    inner = f'echo $$ > "{LOCK}"; exec env {words} {command}'
    return f'{load}ulimit -n 65536; setsid flock --nonblock "{LOCK}" sh -c {shlex.quote(inner)} >> "{LOG}" 2>&1 < /dev/null &'
