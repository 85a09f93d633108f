"""Units of systemd: Ray's head, Ray on the other machines, and the job, which is started again after a failure.

Ray starts again whenever it ends. The job does so a limited number of times in an hour, and resumes from its newest checkpoint.
`systemctl stop` and a shutdown send it SIGTERM, on which training writes a checkpoint of its step.
"""

import shlex
from collections.abc import Mapping, Sequence

from cluster.manifests.config import ManifestConfig
from cluster.manifests.job import Job, arguments, bounds
from cluster.manifests.starting import environment, ray_start
from pipeline.errors import RecipeError

Section = list[tuple[str, str]]
STOP_SECONDS = 300
"""Time for the checkpoint of a step after SIGTERM."""
RETRY_SECONDS = 30
"""Pause before the next attempt."""
STOPPED = 143
"""Exit code of training that stopped with a checkpoint because of SIGTERM."""


def units(config: ManifestConfig, job: Job) -> dict[str, str]:
    """Return the units by the names of their files.

    Raises: RecipeError for what is missing.
    """
    settings = config.onprem
    if not settings.head:
        raise RecipeError("onprem.head is missing: the address of the head")
    if not config.job.output:
        raise RecipeError("job.output is missing: a folder that all machines see, such as s3://bucket/nezha")
    if config.spot.max:
        raise RecipeError(f"spot.max {config.spot.max}: machines of your own are not taken away; set spot.max=0")
    for name in ("environment", "token_file"):
        if getattr(settings, name).startswith("~"):
            raise RecipeError(f"onprem.{name} {getattr(settings, name)}: systemd needs an absolute path")
    found = bounds(config, job.cluster, len(settings.hosts))
    ray, head = f"{config.name}-ray", [f"{settings.environment}/bin/ray"]
    no_work = {} if config.head.gpus else {"num-cpus": "0", "num-gpus": "0"}
    command = arguments(config, job, found)
    command[0] = f"{settings.environment}/bin/{command[0]}"
    return {
        f"{ray}-head.service": _service_file(
            [("Description", f"Ray's head of {config.name}"), *NETWORK],
            _service(
                config, ray_start(head[0], options={"node-ip-address": settings.head, **no_work}), environment(True), ALWAYS
            ),
        ),
        f"{ray}-machine.service": _service_file(
            [("Description", f"A machine of {config.name}, which joins Ray's head"), *NETWORK],
            _service(config, ray_start(head[0], settings.head), environment(False), ALWAYS),
        ),
        f"{config.name}.service": _service_file(
            [
                ("Description", escaped(f"nezha-pipe {config.job.command} {config.job.output}")),
                ("After", f"{ray}-head.service"),
                ("Wants", f"{ray}-head.service"),
                # A job that fails at once, or whose machines are not there yet, is no reason to try for ever.
                ("StartLimitIntervalSec", "1h"),
                ("StartLimitBurst", str(config.job.retries + 1)),
            ],
            _service(config, command, {"RAY_AUTH_MODE": "token"}, RESTARTED),
        ),
    }


NETWORK: Section = [("Wants", "network-online.target"), ("After", "network-online.target"), ("StartLimitIntervalSec", "0")]
ALWAYS: Section = [("Restart", "always"), ("RestartSec", "5"), ("TimeoutStopSec", "60"), ("KillMode", "mixed")]
RESTARTED: Section = [
    ("Restart", "on-failure"),
    ("RestartSec", str(RETRY_SECONDS)),
    ("SuccessExitStatus", str(STOPPED)),
    # SIGTERM to the supervisor alone, which passes it on; what is left after that time is killed.
    ("KillMode", "mixed"),
    ("TimeoutStopSec", str(STOP_SECONDS)),
]


def _service(config: ManifestConfig, command: Sequence[str], env: dict[str, str], restart: Section) -> Section:
    settings, storage = config.onprem, config.storage
    env = {**env, "RAY_AUTH_TOKEN_PATH": settings.token_file}
    if storage.endpoint:
        env["AWS_ENDPOINT_URL"] = storage.endpoint
    file = [("EnvironmentFile", storage.environment_file)] if storage.environment_file else []
    return [
        ("User", settings.user),
        *(("Environment", f"{name}={value}") for name, value in env.items()),
        *file,
        ("ExecStart", command_line(command)),
        *restart,
        ("LimitNOFILE", "65536"),
        ("NoNewPrivileges", "true"),
    ]


def _service_file(unit: Section, service: Section) -> str:
    return unit_file({"Unit": unit, "Service": service, "Install": [("WantedBy", "multi-user.target")]})


def escaped(text: str) -> str:
    """Return a text as a value of a unit: systemd would expand %."""
    return text.replace("%", "%%")


def command_line(words: Sequence[str]) -> str:
    """Return a command line as a value of a unit, quoted: systemd would expand % and $."""
    return " ".join(escaped(shlex.quote(word)).replace("$", "$$") for word in words)


def unit_file(sections: Mapping[str, Section]) -> str:
    """Return the content of a unit: its sections, each with names and values in the order given."""
    return "\n".join(f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in lines) for name, lines in sections.items())
