"""Clusters for Ray's launcher (`ray up`): machines of your own, and machines that are rented at Amazon."""

from typing import Any

from cluster.manifests.config import ManifestConfig
from cluster.manifests.job import Job, bounds
from cluster.manifests.starting import environment, in_background, ray_start
from pipeline.errors import RecipeError

Object = dict[str, Any]
TOKEN = "~/.ray/auth_token"
"""Where Ray looks for its token on each machine; the file is copied there."""
BOOTSTRAP = {"autoscaling-config": "$HOME/ray_bootstrap_config.yaml"}
"""File that the launcher leaves on the head."""


def on_premises(config: ManifestConfig, job: Job) -> Object:
    """Return the cluster file for machines of your own.

    Raises: RecipeError for what is missing, and for spot machines.
    """
    settings = config.onprem
    if not settings.head:
        raise RecipeError("onprem.head is missing: the address of the head")
    if config.spot.max:
        raise RecipeError(f"spot.max {config.spot.max}: machines of your own are not taken away; set spot.max=0")
    found = bounds(config, job.cluster, len(settings.hosts))
    return {
        "cluster_name": config.name,
        "provider": {"type": "local", "head_ip": settings.head, "worker_ips": list(settings.hosts)},
        "auth": {"ssh_user": settings.user, "ssh_private_key": settings.ssh_key},
        "min_workers": found.min,
        "max_workers": found.max,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": config.machines.idle_seconds / 60,
        "file_mounts": {TOKEN: settings.token_file},
        **_start_commands(config, f"{settings.environment}/bin/ray"),
    }


def aws(config: ManifestConfig, job: Job) -> Object:
    """Return the cluster file for machines at Amazon, which run the container image.

    Raises: RecipeError for what is missing.
    """
    settings = config.aws
    for name in ("region", "machine_type"):
        if not getattr(settings, name):
            raise RecipeError(f"aws.{name} is missing")
    if not config.image:
        raise RecipeError("image is missing: a container image with this program; docs/cluster.md builds one")
    found = bounds(config, job.cluster)
    trains = {"CPU": config.head.cpus, "GPU": config.head.gpus} if config.head.gpus else {"CPU": 0}
    types: Object = {"head": {"resources": trains, "node_config": _node(config, settings.head_type)}}
    each = {"CPU": config.machines.cpus, **({"GPU": config.machines.gpus} if config.machines.gpus else {})}
    for name, least, most in (("machines", found.min, found.max), ("spot", found.spot_min, found.spot_max)):
        if most:
            node = _node(config, settings.machine_type, spot=name == "spot")
            types[name] = {"resources": each, "min_workers": least, "max_workers": most, "node_config": node}
    return {
        "cluster_name": config.name,
        "max_workers": found.max + found.spot_max,
        "provider": {
            "type": "aws",
            "region": settings.region,
            **({"availability_zone": ",".join(settings.zones)} if settings.zones else {}),
            "cache_stopped_nodes": False,
        },
        "auth": {"ssh_user": settings.user},
        "docker": {
            "image": config.image,
            "container_name": config.name,
            "pull_before_run": True,
            "run_options": ["--ulimit nofile=65536:65536"],
        },
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": config.machines.idle_seconds / 60,
        "available_node_types": types,
        "head_node_type": "head",
        "file_mounts": {TOKEN: settings.token_file},
        # The image has everything; Ray's defaults would install another Ray.
        "setup_commands": [],
        "head_setup_commands": [],
        "worker_setup_commands": [],
        **_start_commands(config, "ray"),
    }


def _node(config: ManifestConfig, kind: str, spot: bool = False) -> Object:
    settings = config.aws
    disk = {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": settings.disk_gb, "VolumeType": "gp3"}}
    return {
        "InstanceType": kind,
        **({"ImageId": settings.ami} if settings.ami else {}),
        "BlockDeviceMappings": [disk],
        **({"IamInstanceProfile": {"Arn": settings.instance_profile}} if settings.instance_profile else {}),
        **({"InstanceMarketOptions": {"MarketType": "spot"}} if spot else {}),
    }


def _start_commands(config: ManifestConfig, ray: str) -> dict[str, list[str]]:
    """The commands that start Ray. They take the place of Ray's own, which call `ray stop` first."""
    file = config.storage.environment_file
    extra = {"AWS_ENDPOINT_URL": config.storage.endpoint} if config.storage.endpoint else {}
    no_work = {} if config.head.gpus else {"num-cpus": "0", "num-gpus": "0"}
    head = ray_start(ray, options={**BOOTSTRAP, **no_work})
    machine = ray_start(ray, "$RAY_HEAD_IP")
    return {
        "head_start_ray_commands": [in_background(" ".join(head), {**environment(True), **extra}, file)],
        "worker_start_ray_commands": [in_background(" ".join(machine), {**environment(False), **extra}, file)],
    }
