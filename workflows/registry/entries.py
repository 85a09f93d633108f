"""An entry: everything that is known of a model, in files that never change.

    registry/models/tiny-5d0c1b2d4e3f.json      the entry, named after the model and a digest of its content
    registry/files/9a0c...e1.jsonl.gz           predictions, named after the SHA-256 of their bytes
    registry/history/000001.json                who was made the champion, and on what grounds (history.py)

The model itself stays where it is: the entry has the size and SHA-256 of its files. Registering the same model with the same
scores again gives the same entry.
"""

import datetime
import gzip
import hashlib
import json
import uuid
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from pipeline import conditional, storage
from pipeline.engine import integrity, stages
from pipeline.errors import DamagedError, RegistryError
from pipeline.redaction import public
from pipeline.storage_errors import one_line
from workflows.evaluation import encoders
from workflows.evaluation.run import GRID, SCORES
from workflows.evaluation.scores import UNTRAINED, Score, Summary, read_scores, summary
from workflows.registry import contaminated, lineage, predictions
from workflows.registry.predictions import Scores
from workflows.registry.resampled import Row

MODELS, FILES = "models", "files"
DIGITS = 12
_NOT_CONTENT = {stages.RUN, ".lock"}
"""Files of a model's folder that say when and where, not what."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A model of a registry, or one that is not in it yet."""

    name: str
    """`tiny-5d0c1b2d4e3f`"""
    content: Mapping[str, Any]
    fetch: Callable[[str], bytes]
    """Reads one of the files with predictions."""
    registered: Mapping[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the model is; "" for scores without a model."""
        return str(self.content["model"]["url"])

    @cached_property
    def scores(self) -> Scores:
        """Raises: TaskError, DamagedError."""
        recorded = self.content["scores"]
        return predictions.read([Score(**line) for line in recorded["lines"]], lambda uri: self._rows(recorded["files"][uri]))

    @property
    def summary(self) -> list[Summary]:
        """Means and deviations of the scores, without reading predictions."""
        return summary([Score(**line) for line in self.content["scores"]["lines"]])

    def tried(self, task: str) -> list[Mapping[str, Any]]:
        """Return the points of the grid of which the best on dev was scored; empty without a grid."""
        return list(self.content["scores"].get("grid", {}).get(task, []))

    @property
    def contaminated(self) -> frozenset[str] | None:
        """Digests of the starts of texts that it was trained on; None if that is unknown."""
        found = self.content["contaminated"]
        return None if found is None else frozenset(found)

    def _rows(self, file: str) -> list[Row]:
        packed = self.fetch(file)
        try:
            rows = [json.loads(line) for line in gzip.decompress(packed).decode().split("\n") if line]
        except (ValueError, OSError, EOFError, zlib.error) as error:
            raise DamagedError(f"{self.name}, {file}: damaged ({one_line(error)}); score the model again") from error
        if not all(isinstance(row, dict) for row in rows):
            raise DamagedError(f"{self.name}, {file}: damaged; score the model again")
        return rows

    def check_files(self, sizes_only: bool = False) -> None:
        """Compare the model's files with the entry; `sizes_only`: without reading them.

        Raises: RegistryError when one was changed since, or is missing; StorageError when one cannot be read now.
        """
        problems = []
        for entry in self.content["model"]["files"]:
            url = storage.join(_folder(self.url), entry["name"])
            if sizes_only:
                there = storage.exists(url)
                problem = "missing" if not there else "" if storage.file_size(url) == entry["bytes"] else "another size"
            else:
                problem = integrity.damage(url, entry)
            if problem:
                problems.append(f"{entry['name']} ({problem})")
        if problems:
            raise RegistryError(
                f"{self.name}: files in {self.url} have changed since it was registered: {', '.join(problems[:3])}"
                f"{' and others' if len(problems) > 3 else ''}; bring them back, or register the folder as another model"
            )


def collect(model_url: str, scores_url: str = "", name: str = "") -> tuple[Entry, dict[str, bytes]]:
    """Return the entry of a folder that is not registered, and the files that belong to it.

    Args:
        model_url: an exported model, or `hf:` and a folder that transformers loads; the output folder of `evaluate` for scores
            alone, which can be compared but not promoted.
        scores_url: the output folder of `evaluate`; "" = the stage `scores` beside an export.

    Raises: RegistryError for a folder without scores, or with those of another model.
    """
    alone = storage.exists(storage.join(model_url, SCORES))
    weights = "" if alone else encoders.digest(model_url)
    export = None if alone or encoders.is_foreign(model_url) else lineage.export_stage(model_url)
    chain = lineage.made_from(export) if export else []
    if not scores_url:
        stage = lineage.scores_stage(export) if export else None
        scores_url = model_url if alone else stage.url if stage else ""
    if not scores_url:
        raise RegistryError(f"{model_url}: no scores; run `nezha-pipe evaluate {model_url}` and give its folder with --scores")
    scores = _scores(scores_url, weights)
    packed = {score.predictions_uri: _packed(storage.join(scores_url, score.predictions_uri)) for score in scores}
    files = {f"{storage.bytes_digest(data)}.jsonl.gz": data for data in packed.values()}
    folder = _folder(model_url)
    content = {
        "name": name or (str(export.manifest.get("name", "")) if export else "") or storage.base_name(folder),
        "model": {
            "url": model_url,
            "files": [] if alone else [asdict(stages.FileEntry.of(folder, file)) for file in _files(folder)],
        },
        **lineage.facts(folder, chain),
        "scores": {
            "lines": [score.to_dict() for score in scores],
            "files": {uri: f"{storage.bytes_digest(data)}.jsonl.gz" for uri, data in packed.items()},
            "grid": grid(scores_url, scores[0].model_id),
        },
        "contaminated": contaminated.contaminated(chain) if chain else None,
    }
    content = json.loads(storage.json_bytes(public(content)))
    return Entry(_name(content), content, files.__getitem__), files


def register(registry: str, entry: Entry, files: Mapping[str, bytes]) -> Entry:
    """Write an entry and its files, unless they are there."""
    for file, data in files.items():
        url = storage.join(registry, FILES, file)
        if not (storage.exists(url) and storage.file_size(url) == len(data)):
            storage.write_bytes(url, data)
    program = {"at": now(), "token": uuid.uuid4().hex, **lineage.program()}
    written = storage.json_bytes({"content": entry.content, "registered": program})
    conditional.create(storage.join(registry, MODELS, f"{entry.name}.json"), written)
    return read(registry, entry.name)


def names(registry: str) -> list[str]:
    """Return the names of all entries.

    Raises: StorageError for a file in place of a registry.
    """
    storage.refuse_file(registry)
    return [name.removesuffix(".json") for name in storage.list_names(storage.join(registry, MODELS)) if name.endswith(".json")]


def find(registry: str, wanted: str) -> Entry:
    """Return an entry by its name, or by as much of its beginning as no other entry has; the digest may be left out.

    Raises: RegistryError.
    """
    known = names(registry)
    found = [name for name in known if name == wanted]
    found = found or [name for name in known if name.rpartition("-")[0] == wanted]
    found = found or [name for name in known if name.startswith(wanted)]
    if not known:
        raise RegistryError(f"{registry}: no models are registered here; add one with `nezha-pipe models --add FOLDER`")
    if len(found) != 1:
        which = f"{len(found)} models begin with {wanted!r}" if found else f"no model {wanted!r}"
        raise RegistryError(f"{registry}: {which}; there are {', '.join(found or known)}")
    return read(registry, found[0])


def read(registry: str, name: str) -> Entry:
    """Read an entry.

    Raises: DamagedError when it is no longer what it was; StorageError when it cannot be read now.
    """
    url = storage.join(registry, MODELS, f"{name}.json")
    try:
        found = json.loads(storage.read_bytes(url))
        content, registered = found["content"], found["registered"]
        same = _name(content) == name
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{url}: not a whole entry; delete it and register the model again") from error
    if not same:
        raise DamagedError(f"{url}: has been changed since it was written; delete it and register the model again")

    def fetch(file: str) -> bytes:
        place = storage.join(registry, FILES, file)
        data = storage.read_bytes(place)
        if storage.bytes_digest(data) != file.partition(".")[0]:
            raise DamagedError(f"{place}: not the bytes that its name says; delete it and register {name} again")
        return data

    return Entry(name, content, fetch, registered)


def _scores(url: str, weights: str) -> list[Score]:
    """Read the scores of a model. `weights`: their digest; "" for scores without a model.

    Raises: RegistryError if there are none of it, or those of several models.
    """
    place = storage.join(url, SCORES)
    if not storage.exists(place):
        raise RegistryError(f"{url}: no {SCORES} in it; give the folder that `nezha-pipe evaluate` wrote")
    scores = [score for score in read_scores(place) if score.model_id != UNTRAINED]
    own = [score for score in scores if not weights or score.weights == weights]
    models = sorted({score.model_id for score in own})
    if not models:
        of = ", ".join(sorted({score.model_id for score in scores})) or "nothing"
        raise RegistryError(f"{place}: scores of {of}, with other weights than this model's; evaluate it again")
    if len(models) > 1:
        raise RegistryError(f"{place}: scores of several models ({', '.join(models)}); evaluate each into a folder of its own")
    return own


def grid(url: str, model_id: str) -> dict[str, list[Any]]:
    """Return the settings that were tried, by task; empty without a grid."""
    place = storage.join(url, GRID)
    if not storage.exists(place):
        return {}
    found: dict[str, list[Any]] = {}
    for line in integrity.read_bytes(place).decode().splitlines():
        row = json.loads(line)
        if row["model_id"] == model_id:
            found.setdefault(row["task"], []).append(row["point"])
    return {task: sorted(tried, key=lambda point: json.dumps(point, sort_keys=True)) for task, tried in found.items()}


def _packed(url: str) -> bytes:
    """Return a file of predictions, compressed: the same bytes whenever that is done."""
    return gzip.compress(integrity.read_bytes(url), mtime=0)


def _folder(model_url: str) -> str:
    return model_url.removeprefix(encoders.FOREIGN)


def _files(folder: str, inside: str = "") -> list[str]:
    """Return the names of all files in a folder, those in its folders too."""
    found = []
    for name in storage.list_names(storage.join(folder, inside) if inside else folder):
        path = f"{inside}/{name}" if inside else name
        if name not in _NOT_CONTENT:
            found += _files(folder, path) if storage.is_folder(storage.join(folder, path)) else [path]
    return found


def _name(content: Mapping[str, Any]) -> str:
    """`tiny-5d0c1b2d4e3f`: the model's name without what a file's name must not have, and a digest of the content."""
    plain = "".join(c if c.isalnum() or c in "._-" else "-" for c in str(content["name"])).strip(".-") or "model"
    return f"{plain}-{hashlib.sha256(storage.json_bytes(content)).hexdigest()[:DIGITS]}"


def now() -> str:
    """Return the time, UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
