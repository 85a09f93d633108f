"""Made models with made scores, as `nezha-pipe export` and `nezha-pipe evaluate` leave them, for tests of the registry.

folder = exported(tmp_path / "tiny")
scored(tmp_path / "scores", folder, {"sentiment": right})        right: (seeds, examples) whether each label is right
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from model.exporting.export import REQUIRED
from pipeline import storage
from pipeline.arrays import Flags
from workflows.evaluation.examples import Example
from workflows.evaluation.scores import Score

SETTINGS = {"epochs": 3, "learning_rate": 3e-5, "max_length": 128}


def drawn(seeds: int, examples: int, accuracy: float, seed: int = 0) -> Flags:
    """Return labels that are right (seeds, examples) as those of one network are: some examples are hard for every seed."""
    draw = np.random.default_rng([seed, 1])
    hard = np.random.default_rng(0).normal(0.0, 1.0, examples)
    own = hard + draw.normal(0.0, 0.02, (seeds, 1)) + draw.normal(0.0, 0.3, (seeds, examples))
    right: Flags = own > np.quantile(hard, 1 - accuracy)
    return right


def exported(folder: str, content: str = "weights") -> str:
    """Write files with the names of an exported model's."""
    for name in REQUIRED:
        path = storage.local_path(storage.join(folder, name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name} of {content}")
    return folder


def example(number: int) -> Example:
    return Example((f"第{number}位客人说这家酒店的房间很干净服务也好",), (str(number % 2),))


def scored(
    folder: str,
    model: str,
    tasks: Mapping[str, Flags],
    *,
    settings: Mapping[str, Any] = SETTINGS,
    first: int = 0,
    order: np.random.Generator | None = None,
) -> str:
    """Write scores and predictions of a model with two labels.

    Args:
        tasks: (seeds, examples) whether each label is right.
        first: number of the first example, for other examples.
        order: draws an order of the examples.
    """
    weights = storage.sha256(storage.join(model, "model.safetensors"))
    lines = []
    for task, right in tasks.items():
        places = np.arange(right.shape[1]) if order is None else order.permutation(right.shape[1])
        examples = [example(first + int(place)) for place in places]
        for seed, own in enumerate(right):
            rows = []
            for one, place in zip(examples, places, strict=True):
                gold = one.labels[0]
                predicted = gold if own[place] else str(1 - int(gold))
                rows.append({"example": one.digest, "starts": one.starts, "gold": gold, "predicted": predicted})
            uri = f"predictions/{storage.base_name(model)}-{task}-{seed}-test.jsonl"
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            path = storage.local_path(storage.join(folder, uri))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            data = {"train": "a", "dev": "b", "test": str(first)}
            value, name = float(own.mean()), storage.base_name(model)
            lines.append(Score(name, task, "accuracy", "test", seed, settings, len(rows), value, uri, data, weights))
    text = "".join(json.dumps(asdict(line)) + "\n" for line in lines)
    storage.write_bytes(storage.join(folder, "scores.jsonl"), text.encode())
    return folder
