"""Pod templates that all kinds of Kubernetes share: head, machines, spot machines, and the pod that submits the job."""

from collections.abc import Mapping
from typing import Any

from cluster.manifests.config import ManifestConfig
from cluster.manifests.job import FOLDER, Job

USER = 1000
"""User and group of the container image."""
RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # 15 would starve training beside any other program
}
"""Environment of all of Ray's processes."""
HEAD = {
    **RAY,
    # A lost machine is noticed after about ten seconds instead of a minute.
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
}
"""Environment of Ray's head."""
GRACE_SECONDS = 90
"""Time for a pod to end: Ray drains its machine for up to 30 s, in which training writes a checkpoint."""
PORTS = {"gcs-server": 6379, "dashboard": 8265, "client": 10001}


def recipe_map(config: ManifestConfig, job: Job) -> dict[str, Any]:
    """Return the ConfigMap with the recipe."""
    data = {"recipe.toml": job.text}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(config, recipe_name(config)), "data": data}


def recipe_name(config: ManifestConfig) -> str:
    """Name of the ConfigMap with the recipe."""
    return f"{config.name}-recipe"


def metadata(config: ManifestConfig, name: str, **more: Any) -> dict[str, Any]:
    """Return the metadata of an object: name, namespace, and what else is not empty."""
    return without_empty({"name": name, "namespace": config.kubernetes.namespace, **more})


def without_empty(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is not set."""
    return {name: value for name, value in fields.items() if value not in ("", None, {}, [])}


def head(config: ManifestConfig, has_recipe: bool) -> dict[str, Any]:
    """Return the template of the head. It runs the driver, so it has the recipe of a job."""
    machine = config.head
    container = _container(config, "ray-head", _resources(config, machine.cpus, machine.memory, machine.gpus), HEAD)
    container["ports"] = [{"name": name, "containerPort": port} for name, port in PORTS.items()]
    template = _template(config, container, {})
    if has_recipe:
        volume = {"name": "recipe", "configMap": {"name": recipe_name(config)}}
        container.setdefault("volumeMounts", []).append({"name": "recipe", "mountPath": FOLDER, "readOnly": True})
        template["spec"].setdefault("volumes", []).append(volume)
    return template


def machine(config: ManifestConfig, spot: bool) -> dict[str, Any]:
    """Return the template of a machine that trains."""
    machines = config.machines
    container = _container(config, "ray-worker", _resources(config, machines.cpus, machines.memory, machines.gpus), RAY)
    selector = {**machines.selector, **(config.spot.selector if spot else {})}
    return _template(config, container, selector, config.spot.selector if spot else {})


def submitter(config: ManifestConfig) -> dict[str, Any]:
    """Return the template of the pod that submits the job and follows it."""
    resources = {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    container = _container(config, "ray-job-submitter", resources, {"RAY_USAGE_STATS_ENABLED": "0"})
    for name in ("envFrom", "volumeMounts"):  # it needs no access to the store
        container.pop(name, None)
    template = _template(config, container, {})
    template["spec"].pop("volumes", None)
    return template


def _resources(config: ManifestConfig, cpus: int, memory: str, gpus: int) -> dict[str, Any]:
    """Requests equal limits: a pod is never killed for memory that another one took."""
    amounts: dict[str, Any] = {"cpu": str(cpus), "memory": memory}
    if gpus:
        amounts[config.kubernetes.gpu_resource] = str(gpus)
    return {"requests": amounts, "limits": dict(amounts)}


def _container(config: ManifestConfig, name: str, resources: dict[str, Any], env: Mapping[str, str]) -> dict[str, Any]:
    storage = config.storage
    env = {**env, **({"AWS_ENDPOINT_URL": storage.endpoint} if storage.endpoint else {})}
    return without_empty(
        {
            "name": name,
            "image": config.image,
            "resources": resources,
            "env": [{"name": name, "value": value} for name, value in env.items()],
            "envFrom": [{"secretRef": {"name": storage.secret}}] if storage.secret else [],
            "volumeMounts": [{"name": "shared", "mountPath": storage.mount}] if storage.claim else [],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    )


def _template(
    config: ManifestConfig, container: dict[str, Any], selector: Mapping[str, str], tolerated: Mapping[str, str] = {}
) -> dict[str, Any]:
    kubernetes = config.kubernetes
    claim = {"name": "shared", "persistentVolumeClaim": {"claimName": config.storage.claim}}
    spec = without_empty(
        {
            "serviceAccountName": kubernetes.service_account,
            "imagePullSecrets": [{"name": kubernetes.pull_secret}] if kubernetes.pull_secret else [],
            "nodeSelector": dict(selector),
            "tolerations": [
                {"key": name, "operator": "Equal", "value": value, "effect": "NoSchedule"} for name, value in tolerated.items()
            ],
            "restartPolicy": "Never",  # Ray's autoscaler and KubeRay start new pods
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [claim] if config.storage.claim else [],
        }
    )
    return {"spec": spec}
