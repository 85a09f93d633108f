"""What the files of an output folder say: what was done again, how long it took, withdrawn text, and all bytes."""

import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.engine import stages
from pipeline.engine.stages import Finished
from pipeline.tokenization.encoded import Documents, read_part
from workflows.registry import lineage

WINDOW = 16
"""Tokens in a row that only a withdrawn document has: less is a common phrase."""
AFTER_SHARDS = frozenset({"checkpoint", "export", "scores", "promotion", "report", "data_report"})
NOT_CONTENT = frozenset({"promotion", "report", "data_report"})
"""Stages that tell times and hosts, or names in a registry that are made of such."""
NUMBERED = frozenset({"checkpoint", "export", "scores"})
"""Stages whose folder is named after an input that tells times: the first quarter's is number 1."""
_ATTEMPT = re.compile(r"attempt-\d+")
_TELLS_MORE = re.compile(r"checkpoint/.*(metrics-\d+\.jsonl|(checkpoint|config|state)\.json)|export/(README\.md)")
"""Files of times, hosts, attempts or paths beside what was computed."""


@dataclass(frozen=True)
class Work:
    """Documents that a quarter has taken from earlier stages, and made anew; for cleaning and for tokens."""

    reused: int
    anew: int

    @property
    def ratio(self) -> float:
        return self.anew / (self.reused + self.anew)


def names(output: Path) -> frozenset[str]:
    """Return the folders of all finished stages."""
    return frozenset(path.parent.name for path in output.glob("*/manifest.json"))


def since(output: Path, before: Collection[str]) -> list[Finished]:
    """Return the stages that were finished after others."""
    return [stages.load(str(output / name)) for name in sorted(names(output) - frozenset(before))]


def work(new: Sequence[Finished], kind: str) -> Work:
    """Sum what the stages of a kind, `documents` or `tokens`, say that they have reused and made anew."""
    counts = [stages.read_run(stage.url)["work"] for stage in new if stage.kind == kind]
    return Work(sum(one["reused"] for one in counts), sum(one["anew"] for one in counts))


def seconds_to_shards(new: Sequence[Finished]) -> float:
    """Return the seconds from the start of a quarter's first stage to the end of its last shards."""
    runs = [stages.read_run(stage.url) for stage in new if stage.kind not in AFTER_SHARDS]
    return float(max(run["started"] + run["seconds"] for run in runs) - min(run["started"] for run in runs))


def kept(new: Sequence[Finished]) -> list[set[int]]:
    """Return the ids of the documents that each source has tokens of."""
    return [_ids(stage) for stage in new if stage.kind == "tokens"]


def made_from(export: Finished) -> list[Finished]:
    """Return the shards, tokens and old text that a model was trained on; not the tokens that old text was copied from."""
    chain = lineage.made_from(export)
    read = {stage.manifest["inputs"].get("tokens") for stage in chain if stage.kind == "shards"}
    return [stage for stage in chain if stage.kind == "shards" or stage.digest in read]


def withdrawn_rows(made: Sequence[Finished], withdrawn: Collection[int], before: Sequence[Finished]) -> int:
    """Count rows of shards and tokens with the id of a withdrawn document, or with text that no other document had.

    Args:
        before: the tokens of the first quarter, which have the withdrawn text.
    """
    gone = np.array(sorted(withdrawn), np.uint64)
    own = own_windows(before, gone)
    found = 0
    for stage in made:
        if stage.kind != "shards":
            for part in _parts(stage):
                found += int(np.isin(part.document_ids, gone).sum())
                bounds = part.document_starts.tolist()
                for start, end in itertools.pairwise(bounds):
                    found += int(np.isin(windows(part.ids[start:end]), own).sum())
            continue
        for entry in stage.manifest["files"]:
            table = pa.ipc.open_file(pa.memory_map(stage.file(entry["name"]))).read_all()
            found += int(np.isin(table["document_id"].to_numpy(), gone).sum())
            for batch in table.to_batches():
                found += int(np.isin(windows(batch["input_ids"].flatten().to_numpy()), own).sum())
    return found


def own_windows(tokens: Sequence[Finished], ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a number for each run of WINDOW tokens that only these documents have."""
    inside, outside = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    for stage in tokens:
        for part in _parts(stage):
            chosen = np.isin(part.document_ids, ids)
            bounds = part.document_starts.tolist()
            for start, end, is_own in zip(bounds[:-1], bounds[1:], chosen.tolist(), strict=True):
                (inside if is_own else outside).append(windows(part.ids[start:end]))
    return np.setdiff1d(np.concatenate(inside), np.concatenate(outside))


def windows(tokens: NDArray[Any]) -> NDArray[np.uint64]:
    """Return a number for each run of WINDOW tokens in a text: equal for equal runs."""
    if len(tokens) < WINDOW:
        return np.empty(0, np.uint64)
    factors = np.random.default_rng(0).integers(1, 1 << 63, WINDOW, np.uint64) | np.uint64(1)
    runs = np.lib.stride_tricks.sliding_window_view(tokens.astype(np.uint64), WINDOW)
    found: NDArray[np.uint64] = (runs * factors).sum(axis=1, dtype=np.uint64)
    return found


def digests(output: Path, only: Collection[str] = ()) -> dict[str, str]:
    """Return the SHA-256 of each file that a manifest names, by stage and name; not of those that tell times.

    Which attempt of a training wrote a checkpoint is left out of its name.
    """
    found = {}
    numbers: dict[str, int] = {}
    for stage in sorted(stages.load_all(str(output)), key=lambda stage: float(stages.read_run(stage.url)["started"])):
        if stage.kind in NOT_CONTENT or (only and stage.name not in only):
            continue
        number = numbers[stage.name] = numbers.get(stage.name, 0) + 1
        folder = f"{stage.name}-{number if stage.kind in NUMBERED else stage.manifest['key']}"
        entries: Sequence[Mapping[str, Any]] = stage.manifest.get("files", ())
        for entry in entries:
            if not _TELLS_MORE.fullmatch(f"{stage.kind}/{entry['name']}"):
                found[f"{folder}/{_ATTEMPT.sub('attempt', entry['name'])}"] = entry["sha256"]
    return found


def differences(quiet: Mapping[str, str], disturbed: Mapping[str, str]) -> list[str]:
    """Return the files that one has and the other has not, or that differ."""
    return sorted(name for name in quiet.keys() | disturbed.keys() if quiet.get(name) != disturbed.get(name))


def _ids(stage: Finished) -> set[int]:
    return {int(one) for part in _parts(stage) for one in part.document_ids}


def _parts(stage: Finished) -> list[Documents]:
    return [read_part(stage, entry["name"]) for entry in stage.manifest["files"] if entry["name"].endswith(".arrow")]
