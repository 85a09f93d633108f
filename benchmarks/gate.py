"""How often the gate is wrong: `python -m benchmarks gate [--data FOLDER]`.

The predictions of one model with many seeds are drawn from again and again: two sets of different seeds, as if they were two
models. They are the same model, so "better" is wrong. Then the second set is given a true gain: a random part of the examples
is right in each of its seeds, so large that accuracy rises by 2 points in the mean.

The predictions are those of tests/data/gate.json, or of a folder that `nezha-pipe evaluate --seeds 20` wrote.
"""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.measurement import Measurement
from workflows.registry.bootstrap import Difference, difference
from workflows.registry.resampled import Floats

PREDICTIONS = Path(__file__).parent.parent / "tests" / "data" / "gate.json"
GATES, GAIN, CONFIDENCE = 200, 0.02, 0.95
SEEDS = (3, 5)
RESAMPLES = 2_000
"""For each of the gates: a fifth of what the gate draws, which moves the ends of an interval by a hundredth of its width."""
SPEED_EXAMPLES = 3_000


def measurements(folder: str | None) -> Iterator[Measurement]:
    """Yield error rates for each number of seeds a side, and the seconds of one gate."""
    right = read(Path(folder)) if folder else stored()
    about = f"{len(right)} seeds of one model on {right.shape[1]:,} examples, accuracy {right.mean():.3f}, "
    about += f"deviation between seeds {right.mean(axis=1).std(ddof=1):.4f}"
    for seeds in (number for number in SEEDS if 2 * number <= len(right)):
        draw = np.random.default_rng(seeds)
        pairs = [drawn(right, seeds, draw) for _ in range(GATES)]
        same = [found(first, second, number) for number, (first, second) in enumerate(pairs)]
        gained = [found(first, learned(second, GAIN, draw), number) for number, (first, second) in enumerate(pairs)]
        name = f"gate/{seeds}-seeds"
        yield Measurement(name=f"{name}/same-model-not-better", value=100 - _better(same), unit="%", note=about)
        yield Measurement(name=f"{name}/same-model-within-2-points", value=_within(same, GAIN), unit="%")
        yield Measurement(name=f"{name}/gain-of-2-points-better", value=_better(gained), unit="%", note=about)
        half = np.mean([(one.interval(CONFIDENCE)[1] - one.interval(CONFIDENCE)[0]) / 2 for one in same])
        covered = 100 * np.mean([_has(one, GAIN, CONFIDENCE) for one in gained])
        note = f"half of an interval is {100 * half:.2f} points in the mean"
        yield Measurement(name=f"{name}/interval-has-the-gain", value=float(covered), unit="%", note=note)
    yield speed(right)


def speed(right: NDArray[np.bool_]) -> Measurement:
    """Time 10,000 resamples of 3,000 examples and 5 seeds."""
    draw = np.random.default_rng(0)
    first, second = (sums(right[:, draw.integers(0, right.shape[1], SPEED_EXAMPLES)][:5]) for _ in range(2))
    started = time.perf_counter()
    difference(first, second)
    return Measurement(name="gate/10,000-resamples", value=time.perf_counter() - started, unit="s")


def stored() -> NDArray[np.bool_]:
    """Return the predictions of tests/data/gate.json: (seeds, examples) which are right."""
    content = json.loads(PREDICTIONS.read_text())
    rows = [np.unpackbits(np.frombuffer(bytes.fromhex(row), np.uint8)) for row in content["right"]]
    return np.array(rows, bool)[:, : content["examples"]]


def read(folder: Path) -> NDArray[np.bool_]:
    """Return the test predictions of the first task in a folder that `nezha-pipe evaluate` wrote."""
    scores = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    own = [one for one in scores if one["split"] == "test" and one["metric"] == "accuracy" and one["model_id"] != "untrained"]
    files = [folder / one["predictions_uri"] for one in own if one["task"] == own[0]["task"]]
    rows = [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
    return np.array([[row["gold"] == row["predicted"] for row in file] for file in rows], bool)


def drawn(right: NDArray[np.bool_], seeds: int, draw: np.random.Generator) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return two sets of different seeds."""
    chosen = draw.permutation(len(right))[: 2 * seeds]
    return right[chosen[:seeds]], right[chosen[seeds:]]


def learned(right: NDArray[np.bool_], gain: float, draw: np.random.Generator) -> NDArray[np.bool_]:
    """Return predictions with a random part of the examples right in each seed, so that accuracy rises by `gain`."""
    order = draw.permutation(right.shape[1])
    gained = np.cumsum(1 - right.mean(axis=0)[order]) / right.shape[1]
    better = right.copy()
    better[:, order[: int(np.searchsorted(gained, gain)) + 1]] = True
    return better


def sums(right: NDArray[np.bool_]) -> Floats:
    """Return what resampled.py makes of labels: (seeds, examples, 2)."""
    return np.stack([right.astype(float), np.ones(right.shape)], axis=-1)


def found(champion: NDArray[np.bool_], model: NDArray[np.bool_], seed: int) -> Difference:
    return difference(sums(model), sums(champion), resamples=RESAMPLES, seed=seed)


def _better(differences: Sequence[Difference]) -> float:
    return 100 * float(np.mean([one.interval(CONFIDENCE)[0] > 0 for one in differences]))


def _within(differences: Sequence[Difference], margin: float) -> float:
    return 100 * float(np.mean([one.interval(CONFIDENCE)[0] > -margin for one in differences]))


def _has(one: Difference, value: float, confidence: float) -> bool:
    low, high = one.interval(confidence)
    return low <= value <= high
