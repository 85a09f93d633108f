"""The step `promotion`: what a run ends with where it may change the champion."""

from pathlib import Path

import pytest

from pipeline.engine.stages import Finished
from tests.scored import drawn, exported, scored
from workflows import recipe
from workflows.chain import Chain
from workflows.registry import history, promotion
from workflows.registry.config import GateConfig
from workflows.registry.stage import promotion as step


def model(folder: Path, name: str, accuracy: float) -> tuple[Finished, Finished]:
    """Return a made export and its scores, as the stages of a run."""
    url = exported(str(folder / name), name)
    found = scored(str(folder / f"scores-{name}"), url, {"sentiment": drawn(5, 600, accuracy, seed=sum(map(ord, name)))})
    return tuple(
        Finished(place, {"stage": kind, "files": [{"name": "f", "sha256": name}]})
        for kind, place in (("export", url), ("scores", found))
    )  # type: ignore[return-value]


def test_a_better_model_is_promoted_and_a_worse_one_refused_each_once(tmp_path: Path) -> None:
    registry, told = str(tmp_path / "registry"), list[str]()
    config = GateConfig(resamples=1_000, promote_to=registry)

    def run(stages: tuple[Finished, Finished]) -> Finished:
        return step(config, *stages, lambda event, message: told.append(f"{event} {message}"), str(tmp_path / "out"))

    a, b, c = (model(tmp_path, name, accuracy) for name, accuracy in (("a", 0.80), ("b", 0.88), ("c", 0.70)))
    assert [run(stages).manifest["event"] for stages in (a, b, c)] == ["promoted", "promoted", "refused"]
    champion = history.last(registry)
    assert champion and champion.champion.startswith("b-")
    assert [line.split()[0] for line in told] == ["promoted", "promoted", "refused"] and "sentiment" in told[2]
    promotion.rollback(registry)
    assert not run(b).fresh  # what a rollback took out of use is not promoted again
    assert len(told) == 3 and len(history.records(registry)) == 4


def test_a_verdict_that_was_recorded_before_the_process_died_is_not_given_twice(tmp_path: Path) -> None:
    registry = str(tmp_path / "registry")
    config = GateConfig(resamples=1_000, promote_to=registry)
    stages = model(tmp_path, "a", 0.80)

    def die(event: str, message: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        step(config, *stages, die, str(tmp_path / "out"))
    told: list[str] = []
    done = step(config, *stages, lambda event, message: told.append(event), str(tmp_path / "out"))
    assert done.fresh and told == ["promoted"] and len(history.records(registry)) == 1


def test_it_is_a_step_where_the_recipe_asks_for_it(tmp_path: Path) -> None:
    assert "promotion" not in Chain(recipe.load("tiny"), str(tmp_path)).names()
    names = Chain(recipe.load("tiny", [f"gate.promote_to={tmp_path}/registry"]), str(tmp_path)).names()
    assert names[-3:] == ["scores", "promotion", "report"]
