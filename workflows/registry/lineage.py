"""What an entry says of data, recipe, parents, licences and cost, from the folders of the stages that made a model.

    export-9ba007822d21  <-  checkpoint  <-  shards_news_128  <-  tokens_news  <-  documents_news, dedup, vocabulary

A model in the output folder of `nezha-pipe run` has all of them beside it. Of any other folder only its files are known, and
the licence that its model card states.
"""

import importlib.metadata
import re
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.engine import integrity, stages
from pipeline.engine.stages import MANIFEST, Finished
from pipeline.errors import StorageError

PACKAGE = "nezha-pipe"
_CARD_LICENCE = re.compile(r"\A---\n(?:.*\n)*?license: *(\S+)")


def export_stage(model_url: str) -> Finished | None:
    """Return the finished stage that a folder is; None if it is no stage."""
    return stages.load(model_url) if storage.exists(storage.join(model_url, MANIFEST)) else None


def made_from(export: Finished) -> list[Finished]:
    """Return the stages in the same output folder that a model was made from, itself first."""
    beside = stages.load_all(storage.parent(export.url))
    found, wanted = [export], set(export.manifest["inputs"].values())
    for kind in ("checkpoint", "shards", "replay", "tokens", "vocabulary", "documents"):
        for stage in beside:
            if stage.kind == kind and stage.digest in wanted:
                found.append(stage)
                wanted |= set(stage.manifest["inputs"].values())
    documents = {stage.digest for stage in found if stage.kind == "documents"}
    for stage in beside:
        # These were made from the documents, and the tokens from some of their files.
        if stage.kind in ("dedup", "contamination") and documents & set(stage.manifest["inputs"].values()):
            found.append(stage)
    return found


def before(chain: Sequence[Finished]) -> list[Finished] | None:
    """Return the stages of the model that training started from; None for fresh weights.

    There are none if its folder is not at hand, or is no stage of ours.
    """
    start = next((stage.manifest.get("start") for stage in chain if stage.kind == "checkpoint"), None)
    if not start:
        return None
    try:
        stage = export_stage(start["url"])
    except StorageError:
        return []
    return made_from(stage) if stage else []


def licences(model_url: str) -> dict[str, str]:
    """Return the licences of what a model was made from, as far as its folder and those beside it say."""
    stage = export_stage(model_url)
    documents = [one for one in made_from(stage) if one.kind == "documents"] if stage else []
    recorded = dict(stage.manifest.get("licences", {})) if stage else {}
    return recorded or {one.source: _data(one)["licence"] for one in documents} or _card_licence(model_url)


def scores_stage(export: Finished) -> Finished | None:
    """Return the stage `scores` of a model."""
    beside = stages.load_all(storage.parent(export.url))
    return next((one for one in beside if one.kind == "scores" and one.manifest["inputs"]["export"] == export.digest), None)


def facts(model_url: str, chain: Sequence[Finished]) -> dict[str, Any]:
    """Return data, recipe, parents, licences and cost of a model.

    Args:
        chain: the stages that it was made from; empty if they are unknown.
    """
    if not chain:
        return {"data": [], "recipe": None, "parents": [], "licences": _card_licence(model_url), "cost": {}, "stages": {}}
    export, *others = chain
    documents = [stage for stage in others if stage.kind == "documents"]
    checkpoint = next((stage for stage in others if stage.kind == "checkpoint"), None)
    start = checkpoint.manifest.get("start") if checkpoint else None
    parents = [{"stage": checkpoint.name, "key": checkpoint.manifest["key"], "digest": checkpoint.digest}] if checkpoint else []
    recipe = _recipe(export)
    return {
        "data": [_data(stage) for stage in documents],
        "recipe": recipe or (checkpoint.manifest["settings"] if checkpoint else None),
        "parents": [*parents, *([{"start_from": start["url"], "model": start["model"]}] if start else [])],
        "licences": dict(export.manifest.get("licences") or _card_licence(model_url)),
        "cost": _cost(chain, recipe),
        "stages": {f"{stage.name}-{stage.manifest['key']}": stage.manifest["version"] for stage in chain},
    }


@cache
def program() -> Mapping[str, str]:
    """Return the version of this program, and the git revision of its code; "" where it is not a checkout."""
    try:
        version = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        version = ""
    return {"version": version, "revision": _revision(Path(__file__).parent)}


def _revision(folder: Path) -> str:
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):  # no git
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _data(documents: Finished) -> dict[str, Any]:
    counts = documents.manifest["counts"]
    return {
        "source": documents.source,
        "licence": str(documents.manifest.get("licence", "not recorded")),
        "digest": documents.digest,
        "inputs": documents.manifest["inputs"],
        "documents": counts["kept"],
        "characters": counts["characters"],
    }


def _recipe(export: Finished) -> Any:
    """Return the recipe that the report of a run repeats; None without a report."""
    digest = integrity.manifest_digest(export.manifest)
    for stage in stages.load_all(storage.parent(export.url)):
        if stage.kind == "report" and stage.manifest["inputs"].get("export") == digest:
            return stage.manifest["settings"].get("recipe")
    return None


def _cost(chain: Sequence[Finished], recipe: Any) -> dict[str, Any]:
    """Return seconds by stage, as run.json has them, and the workers and GPUs of pretraining."""
    seconds = {}
    for stage in chain:
        if noted := stages.read_run(stage.url):
            seconds[stage.name] = round(float(noted.get("seconds", 0.0)), 1)
    cluster = recipe.get("cluster", {}) if isinstance(recipe, dict) else {}
    workers = cluster.get("workers")
    gpus = workers * cluster.get("gpus_per_worker", 0) if workers else None
    return {"seconds": round(sum(seconds.values()), 1), "stages": seconds, "workers": workers, "gpus": gpus}


def _card_licence(model_url: str) -> dict[str, str]:
    card = storage.join(model_url, "README.md")
    found = _CARD_LICENCE.match(storage.read_bytes(card).decode("utf-8", "replace")) if storage.exists(card) else None
    return {"model": found[1] if found else "not recorded"}
