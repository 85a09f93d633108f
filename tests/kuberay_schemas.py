"""KubeRay's own schemas, made strict: a field that they do not have is an error, where Kubernetes would drop it silently."""

import gzip
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "shared" / "reference" / "kuberay"
needs_schemas = pytest.mark.skipif(not FOLDER.exists(), reason="KubeRay's schemas are not here (../shared/reference/kuberay)")
FILES = {"RayCluster": "rayclusters", "RayJob": "rayjobs", "RayCronJob": "raycronjobs"}


def errors(manifest: dict[str, Any]) -> list[str]:
    """What KubeRay's schema says against a manifest."""
    found = validator(manifest["kind"]).iter_errors(manifest)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message:.200}" for error in found]


@cache
def validator(kind: str) -> Any:
    """The schema of the version that Kubernetes stores."""
    with gzip.open(FOLDER / f"{FILES[kind]}.yaml.gz") as file:
        definition = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    (version,) = [one for one in definition["spec"]["versions"] if one["storage"]]
    group, known = definition["spec"]["group"], definition["spec"]["names"]["kind"]
    schema = strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["apiVersion"] = {"const": f"{group}/{version['name']}"}
    schema["properties"]["kind"] = {"const": known}
    schema["properties"]["metadata"] = METADATA
    schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
    return jsonschema.Draft7Validator(schema)


LABELS = {
    "type": "object",
    "additionalProperties": {"type": "string", "pattern": r"^([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?$"},
}
METADATA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 41},
        "namespace": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
        "labels": LABELS,
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
"""What Kubernetes knows of every object, as far as we use it; 41: a job's own name and its cluster's are longer by 22."""


def strict(schema: Any) -> Any:
    """A schema of a CRD as JSON schema without unknown fields."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    plain = {name: strict(value) for name, value in schema.items() if not name.startswith("x-kubernetes") and name != "format"}
    has_fields = plain.get("type") == "object" and isinstance(plain.get("properties"), dict)
    if has_fields and not schema.get("x-kubernetes-preserve-unknown-fields"):
        plain.setdefault("additionalProperties", False)
    return plain
