"""Objects of KubeRay: a RayCluster that stays, a RayJob with a cluster of its own, a RayCronJob that starts such jobs."""

from importlib.metadata import version
from typing import Any

from cluster.manifests import pods
from cluster.manifests.config import ManifestConfig
from cluster.manifests.job import Bounds, Job, bounds, shell_line
from cluster.manifests.pods import metadata, without_empty
from pipeline.errors import RecipeError

Object = dict[str, Any]
API = "ray.io/v1"


def ray_cluster(config: ManifestConfig, job: Job) -> list[Object]:
    """Return a RayCluster that stays, for jobs that are submitted to it."""
    found = _checked(config, job, has_job=False)
    labels, annotations = _queue(config, found)
    about = metadata(config, config.name, labels=labels, annotations=annotations)
    return [_object("RayCluster", about, _cluster_spec(config, found, has_recipe=False))]


def ray_job(config: ManifestConfig, job: Job) -> list[Object]:
    """Return a RayJob: a cluster, the job on it, and the end of both; after a failure again, as often as `job.retries` says."""
    found = _checked(config, job)
    labels, annotations = _queue(config, found)
    about = metadata(config, config.name, labels=labels, annotations=annotations)
    return _with_recipe(config, job, _object("RayJob", about, _job_spec(config, job, found)))


def ray_cron_job(config: ManifestConfig, job: Job) -> list[Object]:
    """Return a RayCronJob.

    Raises: RecipeError where a schedule is missing, or labels are wanted that KubeRay does not pass on.
    """
    found = _checked(config, job)
    settings = config.kubernetes
    if not settings.schedule:
        raise RecipeError("kubernetes.schedule is missing, such as '0 3 * * 6': each Saturday at three")
    for name in ("kueue_queue", "volcano_queue"):
        if queue := getattr(settings, name):
            raise RecipeError(
                f"kubernetes.{name} {queue}: KubeRay copies no labels from a RayCronJob to its jobs, so they would not wait in"
                " a queue; leave it empty (Kueue takes jobs without a label into the LocalQueue named default)"
            )
    spec = without_empty({"schedule": settings.schedule, "timeZone": settings.time_zone})
    spec["jobTemplate"] = _job_spec(config, job, found)
    return _with_recipe(config, job, _object("RayCronJob", metadata(config, config.name), spec))


def _checked(config: ManifestConfig, job: Job, has_job: bool = True) -> Bounds:
    """Return the bounds of the machines.

    Raises: RecipeError for what Kubernetes needs and the settings lack.
    """
    if not config.image:
        raise RecipeError("image is missing: a container image with this program; docs/cluster.md builds one")
    for name in ("output", "data"):
        url = getattr(config.job, name)
        if name == "output" and not url and has_job:
            raise RecipeError("job.output is missing: a folder that all machines see, such as s3://bucket/nezha")
        if url and "://" not in url and not config.on_volume(url):
            where = f"is not below storage.mount {config.storage.mount}" if config.storage.claim else "needs storage.claim"
            raise RecipeError(f"job.{name} {url} {where}: all machines have to see it")
    if config.spot.max and not config.spot.selector:
        raise RecipeError(
            f"spot.selector is missing: labels of the {config.spot.max} spot machines, else these could be any others"
        )
    return bounds(config, job.cluster)


def _object(kind: str, about: Object, spec: Object) -> Object:
    return {"apiVersion": API, "kind": kind, "metadata": about, "spec": spec}


def _with_recipe(config: ManifestConfig, job: Job, what: Object) -> list[Object]:
    """The recipe first: pods wait for it."""
    return [pods.recipe_map(config, job), what] if job.text is not None else [what]


def _queue(config: ManifestConfig, found: Bounds) -> tuple[Object, Object]:
    """Labels and annotations for Kueue or Volcano."""
    settings = config.kubernetes
    if settings.kueue_queue:
        # Kueue refuses an autoscaled cluster unless it is marked as elastic.
        elastic = {"kueue.x-k8s.io/elastic-job": "true"} if found.autoscaled else {}
        return {"kueue.x-k8s.io/queue-name": settings.kueue_queue}, elastic
    if settings.volcano_queue:
        return {"ray.io/scheduler-name": "volcano", "volcano.sh/queue-name": settings.volcano_queue}, {}
    return {}, {}


def _job_spec(config: ManifestConfig, job: Job, found: Bounds) -> Object:
    return {
        "entrypoint": f"exec {shell_line(config, job, found)}",  # exec: the signal that stops a job reaches the driver
        "backoffLimit": config.job.retries,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": config.kubernetes.keep_seconds,
        "submitterPodTemplate": pods.submitter(config),
        "rayClusterSpec": _cluster_spec(config, found, has_recipe=job.text is not None),
    }


def _cluster_spec(config: ManifestConfig, found: Bounds, has_recipe: bool) -> Object:
    groups = [_group(config, "machines", found.min, found.max, spot=False)] if found.max else []
    if found.spot_max:
        groups.append(_group(config, "spot", found.spot_min, found.spot_max, spot=True))
    params = {} if config.head.gpus else {"num-cpus": "0", "num-gpus": "0"}
    scaling: Object = {}
    if found.autoscaled:
        options = {"version": "v2", "idleTimeoutSeconds": config.machines.idle_seconds}
        scaling = {"enableInTreeAutoscaling": True, "autoscalerOptions": options}
    return {
        "rayVersion": version("ray"),
        "authOptions": without_empty({"mode": "token", "secretName": config.kubernetes.token_secret}),
        **scaling,
        "headGroupSpec": {"rayStartParams": params, "template": pods.head(config, has_recipe)},
        "workerGroupSpecs": groups,
    }


def _group(config: ManifestConfig, name: str, least: int, most: int, spot: bool) -> Object:
    return {
        "groupName": name,
        "replicas": least,
        "minReplicas": least,
        "maxReplicas": most,
        "rayStartParams": {},
        "template": pods.machine(config, spot),
    }
