"""Settings of a cluster that is written down: one TOML file, a table for each subject.

    name = "nezha"
    image = "registry.example/nezha-pipe:0.1.0"
    [machines]
    gpus = 8
    [job]
    output = "s3://bucket/nezha"

A wrong value is refused by the name of its field. No setting holds a secret: secrets are named, and where they are kept.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import PurePosixPath
from typing import Literal

from pipeline.redaction import redact
from pipeline.validation import check_ranges, check_types

Command = Literal["run", "prepare", "pretrain"]

NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
"""Names of objects of Kubernetes, with room for what KubeRay adds to them: 5 to 23 of 63 characters."""
QUANTITY = re.compile(r"[1-9]\d*(\.\d+)?([kMGTP]i?)?")
"""Amounts of memory as Kubernetes writes them: 64Gi."""
SELECTOR = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-\w.]*[A-Za-z0-9])?")
HOST = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|[0-9a-fA-F:]+")
USER = re.compile(r"[a-z_][-a-z0-9_]{0,31}")
CRON_ITEM = re.compile(r"(?:\*|([0-9]+|[a-z]{3})(?:-([0-9]+|[a-z]{3}))?)(?:/0*[1-9][0-9]*)?")
"""What commas separate in a field of cron: all, a number or a name, or a range of them; with a step, each nth of these."""
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
CRON_FIELDS = ((0, 59, ()), (0, 23, ()), (1, 31, ()), (1, 12, MONTHS), (0, 6, DAYS))
"""Least and largest number of minute, hour, day, month and day of week, and what their numbers are called."""
TOKEN = re.compile(r"[0-9a-fA-F]{32,}")
"""What Ray's tokens look like."""


def check_text(settings: object) -> None:
    """Check the types of all fields, and that no text is on several lines or holds a secret.

    Raises: ValueError for the first field that is wrong.
    """
    check_types(settings)
    for one in fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, one.name)
        for text in (*value, *value.values()) if isinstance(value, Mapping) else value if isinstance(value, tuple) else [value]:
            if isinstance(text, str) and not text.isprintable():
                raise ValueError(f"{one.name} {text!r:.60} has characters that cannot be printed")
            if isinstance(text, str) and redact(text) != text:
                raise ValueError(
                    f"{one.name} {redact(text)} holds a secret, which would be written down: name where it is kept"
                )


def check_form(settings: object, form: re.Pattern[str], what: str, *names: str) -> None:
    """Check fields against a pattern; an empty one is not set.

    Raises: ValueError for the first that does not match.
    """
    for name in names:
        value = getattr(settings, name)
        for text in value if isinstance(value, tuple) else [value]:
            if text and not form.fullmatch(text):
                raise ValueError(f"{name} {text!r:.60} is not {what}")


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """`[head]`: the machine that runs Ray's head and the driver of the job."""

    cpus: int = 8
    """Its CPUs. `run` prepares data with as many processes."""
    memory: str = "32Gi"
    """Its memory."""
    gpus: int = 0
    """GPUs of the head, on which workers train too. 0: the head only drives, and no worker is placed on it."""

    def __post_init__(self) -> None:
        check_text(self)
        check_ranges(self, cpus=(1, 1024), gpus=(0, 64))
        check_form(self, QUANTITY, "an amount of memory such as 64Gi", "memory")


@dataclass(frozen=True, kw_only=True)
class MachinesConfig:
    """`[machines]`: the machines that train."""

    gpus: int = 8
    """GPUs of each; 0 trains on CPUs."""
    cpus: int = 32
    """CPUs of each."""
    memory: str = "256Gi"
    """Memory of each."""
    min: int | None = None
    """Machines that are always there. Left out: as many as the recipe's workers need to start."""
    max: int | None = None
    """Most machines. Left out: as many as the recipe's most workers need. Above `min`, an autoscaler adds and removes them."""
    idle_seconds: int = 300
    """Seconds after which the autoscaler removes an idle machine."""
    selector: Mapping[str, str] = field(default_factory=dict)
    """Labels of the Kubernetes nodes to take, such as `"nvidia.com/gpu.product" = "Tesla-V100-SXM2-32GB"`."""

    def __post_init__(self) -> None:
        check_text(self)
        check_ranges(self, gpus=(0, 64), cpus=(1, 1024), idle_seconds=(10, 86_400))
        check_form(self, QUANTITY, "an amount of memory such as 64Gi", "memory")
        check_selector(self.selector)
        for name in ("min", "max"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 10_000:
                raise ValueError(f"{name} {value} is not between 0 and 10000")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")


@dataclass(frozen=True, kw_only=True)
class SpotConfig:
    """`[spot]`: a second pool of the same machines, cheaper, which may be taken away."""

    min: int = 0
    """Spot machines that are asked for at any time."""
    max: int = 0
    """Most spot machines; 0: no such pool."""
    selector: Mapping[str, str] = field(default_factory=dict)
    """Labels of the Kubernetes nodes of the pool, such as `"cloud.google.com/gke-spot" = "true"`; equal taints are fine."""

    def __post_init__(self) -> None:
        check_text(self)
        check_ranges(self, min=(0, 10_000), max=(0, 10_000))
        check_selector(self.selector)
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")


def check_selector(selector: Mapping[str, str]) -> None:
    """Raise ValueError for labels that Kubernetes would refuse."""
    for name, value in selector.items():
        if not SELECTOR.fullmatch(name) or (value and not SELECTOR.fullmatch(value)) or len(value) > 63:
            raise ValueError(f"selector {name!r} = {value!r} is not a label of Kubernetes")


@dataclass(frozen=True, kw_only=True)
class StorageConfig:
    """`[storage]`: what all machines share: a volume, or an object store."""

    claim: str = ""
    """Name of a PersistentVolumeClaim that many nodes can write (ReadWriteMany). Empty: `output` is in an object store."""
    mount: str = "/data"
    """Where it is mounted."""
    secret: str = ""
    """Name of a Secret of Kubernetes whose entries become environment variables, such as AWS_ACCESS_KEY_ID."""
    environment_file: str = ""
    """The same for `onprem`, `aws` and `systemd`: a file on each machine with lines NAME=value, for its user's eyes only."""
    endpoint: str = ""
    """URL of an object store other than Amazon's (AWS_ENDPOINT_URL)."""

    def __post_init__(self) -> None:
        check_text(self)
        check_form(self, NAME, "a name of Kubernetes", "claim", "secret")
        check_form(self, re.compile(r"/[-\w./]+"), "an absolute path", "mount", "environment_file")
        check_form(self, re.compile(r"https?://[-\w.:\[\]]+(/[-\w./]*)?"), "a URL that begins with http", "endpoint")


@dataclass(frozen=True, kw_only=True)
class JobConfig:
    """`[job]`: what the cluster is for."""

    command: Command = "run"
    """`run` for the whole recipe; `prepare` for its data; `pretrain` on data that is prepared."""
    output: str = ""
    """Folder of the results: a URL, or a path on what all machines share."""
    data: str = ""
    """Output folder of `prepare`, for `pretrain`."""
    retries: int = 3
    """Times that a job that failed is started again: KubeRay's `backoffLimit`, with a new cluster each time; systemd's limit of
    starts in an hour. Training resumes from its newest checkpoint."""

    def __post_init__(self) -> None:
        check_text(self)
        check_ranges(self, retries=(0, 1000))
        for name in ("output", "data"):
            value = getattr(self, name)
            if value and not value.startswith("/") and "://" not in value:
                raise ValueError(f"{name} {value!r} is relative: give a URL or an absolute path")
        if self.command == "pretrain" and not self.data:
            raise ValueError("data is missing: the output folder of `nezha-pipe prepare`, which pretrain needs")


@dataclass(frozen=True, kw_only=True)
class KubernetesConfig:
    """`[kubernetes]`: for `kuberay`, `kuberay-job` and `kuberay-cron`."""

    namespace: str = ""
    """Namespace of all objects; empty: that of the caller of kubectl."""
    service_account: str = ""
    """Service account of the pods, for example one that may use a bucket."""
    pull_secret: str = ""
    """Name of the Secret with which the image is pulled."""
    token_secret: str = ""
    """Name of a Secret whose entry `auth_token` is Ray's token. Empty: KubeRay makes one. Never the token."""
    kueue_queue: str = ""
    """LocalQueue of Kueue that admits the job."""
    volcano_queue: str = ""
    """Queue of Volcano, where KubeRay's operator runs with `--batch-scheduler=volcano`."""
    gpu_resource: Literal["nvidia.com/gpu", "amd.com/gpu"] = "nvidia.com/gpu"
    """Resource by which nodes offer their GPUs."""
    keep_seconds: int = 3600
    """Seconds for which the cluster of a finished job is kept, for its logs."""
    schedule: str = ""
    """When `kuberay-cron` starts a job: minute, hour, day of month, month, day of week."""
    time_zone: str = ""
    """Time zone of the schedule, such as Asia/Shanghai; empty: that of KubeRay's operator."""

    def __post_init__(self) -> None:
        check_text(self)
        check_ranges(self, keep_seconds=(0, 31_536_000))
        names = ("namespace", "service_account", "pull_secret", "token_secret", "kueue_queue", "volcano_queue")
        for name in names:
            if TOKEN.fullmatch(getattr(self, name)):
                raise ValueError(f"{name} looks like a token: give the name of the Secret that holds it")
        check_form(self, NAME, "a name of Kubernetes", *names)
        if self.kueue_queue and self.volcano_queue:
            raise ValueError(f"volcano_queue {self.volcano_queue}: kueue_queue is set too; choose one of them")
        if self.schedule:
            check_schedule(self.schedule)
        check_form(self, re.compile(r"[A-Z]\w+(/[A-Z][-+\w]+)*"), "a time zone such as Asia/Shanghai", "time_zone")


def check_schedule(schedule: str) -> None:
    """Raise ValueError for what is no line of cron."""
    if schedule.startswith("@"):
        if schedule not in ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"):
            raise ValueError(f"schedule {schedule!r} is none of @hourly, @daily, @weekly, @monthly, @yearly")
        return
    parts = schedule.split()
    if len(parts) != 5:
        raise ValueError(f"schedule {schedule!r} has {len(parts)} parts, not 5: minute, hour, day, month, day of week")
    for part, (low, high, names) in zip(parts, CRON_FIELDS, strict=True):
        if not all(_is_cron_item(item, low, high, names) for item in part.lower().split(",")):
            raise ValueError(f"schedule {schedule!r}: {part} is not between {low} and {high}, a range or a list of them")


def _is_cron_item(item: str, low: int, high: int, names: Sequence[str]) -> bool:
    found = CRON_ITEM.fullmatch(item)
    ends = [end for end in (found.groups() if found else ()) if end]
    numbers = [int(end) if end.isdecimal() else low + names.index(end) if end in names else -1 for end in ends]
    return found is not None and numbers == sorted(numbers) and all(low <= number <= high for number in numbers)


@dataclass(frozen=True, kw_only=True)
class OnpremConfig:
    """`[onprem]`: machines of your own, for `onprem` and `systemd`."""

    head: str = ""
    """Address of the head."""
    hosts: tuple[str, ...] = ()
    """Addresses of the other machines."""
    user: str = "nezha"
    """User who runs everything; `onprem` logs in as this one."""
    ssh_key: str = "~/.ssh/id_ed25519"
    """Private key for that, on the machine from which `ray up` is called."""
    environment: str = "/opt/nezha-pipe"
    """Python environment with this program, at the same path on each machine."""
    token_file: str = "~/.ray/auth_token"
    """File with Ray's token, where `ray up` is called; it is copied to each machine. For `systemd`: its path on each."""

    def __post_init__(self) -> None:
        check_text(self)
        check_form(self, HOST, "the name or address of a machine", "head", "hosts")
        check_form(self, USER, "the name of a user", "user")
        check_form(self, re.compile(r"[~/][-\w./]*"), "an absolute path", "ssh_key", "environment", "token_file")
        everyone = [*filter(None, [self.head]), *self.hosts]
        if twice := [host for host in self.hosts if everyone.count(host) > 1]:
            raise ValueError(f"hosts: {twice[0]} is named twice")


@dataclass(frozen=True, kw_only=True)
class AwsConfig:
    """`[aws]`: machines that Ray's launcher rents at Amazon."""

    region: str = ""
    """Region, such as us-east-1."""
    zones: tuple[str, ...] = ()
    """Availability zones, tried in this order; empty: any."""
    head_type: str = "m7i.2xlarge"
    """Type of the head. `cpus`, `memory` and `gpus` have to describe it."""
    machine_type: str = ""
    """Type of the machines that train, such as p4d.24xlarge."""
    ami: str = ""
    """Image of the machines, with Docker and NVIDIA's container toolkit. Empty: Ray's default for the region."""
    user: str = "ubuntu"
    """User of that image, to log in."""
    disk_gb: int = 500
    """Disk of each machine."""
    instance_profile: str = ""
    """ARN of the instance profile by which machines may use the bucket. The head's autoscaler needs EC2 as well."""
    token_file: str = "~/.ray/auth_token"
    """File with Ray's token, where `ray up` is called; it is copied to each machine."""

    def __post_init__(self) -> None:
        check_text(self)
        check_ranges(self, disk_gb=(50, 65_536))
        check_form(self, re.compile(r"[a-z]{2}(-[a-z]+)+-\d"), "a region such as us-east-1", "region")
        check_form(self, re.compile(r"[a-z]{2}(-[a-z]+)+-\d[a-z]"), "an availability zone such as us-east-1a", "zones")
        check_form(
            self, re.compile(r"[a-z0-9-]+\.[a-z0-9-]+"), "an instance type such as p4d.24xlarge", "head_type", "machine_type"
        )
        check_form(self, re.compile(r"ami-[0-9a-f]{8,17}"), "an image such as ami-0123456789abcdef0", "ami")
        check_form(self, USER, "the name of a user", "user")
        check_form(self, re.compile(r"arn:aws[-\w]*:iam::\d{12}:instance-profile/.+"), "the ARN of one", "instance_profile")
        check_form(self, re.compile(r"[~/][-\w./]*"), "an absolute path", "token_file")
        if strange := [zone for zone in self.zones if not zone.startswith(self.region)]:
            raise ValueError(f"zones: {strange[0]} is not in {self.region}")


@dataclass(frozen=True, kw_only=True)
class ManifestConfig:
    """All settings of a cluster. Tables that a file leaves out have their defaults."""

    name: str = "nezha"
    """Name of the cluster and of its job."""
    image: str = ""
    """Container image with this program, for all kinds but `onprem` and `systemd`."""
    head: HeadConfig = field(default_factory=HeadConfig)
    machines: MachinesConfig = field(default_factory=MachinesConfig)
    spot: SpotConfig = field(default_factory=SpotConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    job: JobConfig = field(default_factory=JobConfig)
    kubernetes: KubernetesConfig = field(default_factory=KubernetesConfig)
    onprem: OnpremConfig = field(default_factory=OnpremConfig)
    aws: AwsConfig = field(default_factory=AwsConfig)

    def __post_init__(self) -> None:
        check_text(self)
        check_form(self, NAME, "a name of Kubernetes: up to 40 lower-case letters, digits and hyphens, a letter first", "name")
        check_form(self, re.compile(r"[\w][\w.:/@-]*"), "an image such as registry.example/nezha-pipe:0.1.0", "image")
        if not self.name:
            raise ValueError("name is empty")

    def on_volume(self, url: str) -> bool:
        """Whether a folder is on the shared volume."""
        mount = PurePosixPath(self.storage.mount)
        return bool(self.storage.claim) and "://" not in url and mount in (PurePosixPath(url), *PurePosixPath(url).parents)
