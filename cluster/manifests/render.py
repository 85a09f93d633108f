"""Write a cluster down: settings and a job become the files that a kind of cluster is started from.

render("kuberay-job", config, job)      {"nezha.yaml": "apiVersion: ray.io/v1..."}
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import yaml

from cluster.manifests import kuberay, launcher, systemd
from cluster.manifests.config import ManifestConfig
from cluster.manifests.job import Job
from pipeline.errors import RecipeError
from pipeline.redaction import redact

Kind = Literal["kuberay", "kuberay-job", "kuberay-cron", "onprem", "aws", "systemd"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Documents = list[dict[str, Any]]

_IN_YAML: dict[str, Callable[[ManifestConfig, Job], Documents]] = {
    "kuberay": kuberay.ray_cluster,
    "kuberay-job": kuberay.ray_job,
    "kuberay-cron": kuberay.ray_cron_job,
    "onprem": lambda config, job: [launcher.on_premises(config, job)],
    "aws": lambda config, job: [launcher.aws(config, job)],
}


def render(kind: Kind, config: ManifestConfig, job: Job) -> dict[str, str]:
    """Return the files of a kind of cluster, by name.

    Raises: RecipeError naming the setting that is wrong or missing; also for a recipe with a secret.
    """
    for text in (job.text or "", *job.settings):
        if redact(text) != text:
            raise RecipeError(
                f"{job.recipe} has a URL with a secret, which would be written down: give the key of a store by"
                " storage.secret or storage.environment_file"
            )
    if kind == "systemd":
        return {**systemd.units(config, job), **({} if job.text is None else {"recipe.toml": job.text})}
    return {f"{config.name}.yaml": to_yaml(_IN_YAML[kind](config, job))}


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # yaml has no types
    """Text on several lines as a block, lists indented below their key, nothing by reference."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
        return super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def to_yaml(documents: Documents) -> str:
    """Return YAML of one or more documents, keys in their order."""
    written = [yaml.dump(one, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000) for one in documents]
    return "---\n".join(written)
