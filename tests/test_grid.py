# ruff: noqa: F811  # fixtures are imported
"""Settings by task, presets, grids: the best point on dev counts, and a killed evaluation loses only what was under way."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from cluster.config import ClusterConfig
from cluster.session import connected
from pipeline import storage
from pipeline.engine.execution import Report
from pipeline.errors import ClusterError, RecipeError
from tests.commands import refused
from tests.ray_head import PATIENCE, Head, head, why_not
from tests.slow_processes import descendants, wait_for
from tests.test_evaluation import data, model  # noqa: F401
from workflows import recipe as recipes
from workflows.cli import main
from workflows.evaluation import run as evaluation
from workflows.evaluation.config import EvaluationConfig
from workflows.evaluation.grid import choice
from workflows.evaluation.grid.executors import on_cluster
from workflows.evaluation.grid.settings import PRESETS, GridConfig, TaskSettings, points, read_grid
from workflows.evaluation.run import evaluate, file_entries, files_read
from workflows.evaluation.scores import Score, read_scores

GRID = GridConfig(learning_rate=(1e-9, 5e-3), batch_size=(16, 32))
LONG_ENOUGH = 200
"""Epochs of a run that takes seconds, so that it can be killed."""
SMALL = EvaluationConfig(
    tasks=("sentiment",), seeds=2, epochs=2, max_length=16, train_examples=64, learning_rate=5e-3, baseline=False
)


def test_table_3_of_the_paper_is_a_preset() -> None:
    tasks = ("cmrc2018", "xnli", "lcqmc", "peoples_daily_ner", "chnsenticorp", "ocnli")
    base, large = (EvaluationConfig(tasks=tasks, preset=name) for name in ("nezha-2019", "nezha-2019-large"))

    def settings(config: EvaluationConfig, task: str) -> tuple[int, int, float, int]:
        one = config.at(task, {})
        return one.batch_size, one.max_length, one.learning_rate, one.epochs

    assert settings(base, "cmrc2018") == (16, 384, 3e-5, 2) and settings(large, "cmrc2018") == (72, 384, 3e-5, 2)
    assert settings(base, "xnli") == (64, 128, 3e-5, 3) and settings(large, "lcqmc") == (32, 128, 3e-5, 5)
    assert settings(base, "peoples_daily_ner") == (64, 256, 3e-5, 5) and settings(large, "chnsenticorp") == (16, 128, 3e-5, 10)
    assert settings(base, "ocnli") == (32, 0, 3e-5, 3), "a task that the preset does not know"


def test_the_table_in_the_docs_is_the_preset() -> None:
    page = (Path(__file__).parents[1] / "docs/evaluation.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| 3e-5 \|$", page, re.MULTILINE)
    base, large = PRESETS["nezha-2019"], PRESETS["nezha-2019-large"]
    assert len(rows) == 5 and rows == [
        (task, *map(str, (one.batch_size, large[task].batch_size, one.max_length, one.epochs))) for task, one in base.items()
    ]
    assert {one.learning_rate for preset in PRESETS.values() for one in preset.values()} == {3e-5}


def test_a_point_counts_before_the_task_the_preset_and_the_table() -> None:
    own = {"xnli": TaskSettings(learning_rate=1e-4, epochs=1)}
    config = EvaluationConfig(tasks=("xnli",), preset="nezha-2019", settings=own, batch_size=8, learning_rate=1e-3)
    one = config.at("xnli", {"learning_rate": 5e-5})
    assert (one.learning_rate, one.epochs, one.batch_size, one.tasks) == (5e-5, 1, 64, ("xnli",))
    assert (one.preset, one.settings, one.grid) == ("", {}, GridConfig())


def test_a_recipe_has_settings_of_tasks_and_a_grid(tmp_path: Path) -> None:
    table = "[evaluation.settings.entities]\nlearning_rate = 1e-4\n[evaluation.grid]\nbatch_size = [16, 32]\n"
    (tmp_path / "r.toml").write_text(recipes.text_of("tiny") + table, encoding="utf-8")
    config = recipes.load(str(tmp_path / "r.toml")).evaluation
    assert config.at("entities", {}).learning_rate == 1e-4 and config.at("sentiment", {}).learning_rate == 5e-4
    assert points(config.grid) == [{"batch_size": 16}, {"batch_size": 32}]
    with pytest.raises(RecipeError, match="settings of xnli, but the tasks are sentiment, entities"):
        recipes.load("tiny", ["evaluation.settings.xnli.epochs=3"])
    with pytest.raises(RecipeError, match="no preset 'nezha'; there are nezha-2019, nezha-2019-large"):
        recipes.load("tiny", ["evaluation.preset=nezha"])
    with pytest.raises(RecipeError, match="batch_size 0 is below 1"):
        recipes.load("tiny", ["evaluation.grid.batch_size=[16, 0]"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--grid", "learning_rate"], "--grid learning_rate: write it as SETTING=VALUE,VALUE"),
        (["--grid", "rate=1"], "settings: epochs, batch_size, learning_rate, max_length"),
        (["--grid", "batch_size=16,x"], "the values of batch_size are whole numbers"),
        (["--grid", "batch_size=16,16"], "batch_size has a value twice: 16, 16"),
        (["--grid", "batch_size=16", "--grid", "batch_size=32"], "batch_size is given twice"),
        (["--grid", "batch_size=0"], "batch_size 0 is below 1"),
        (["--grid", "batch_size=16", "--batch-size", "32"], "--grid batch_size and --batch-size: give one of them"),
        (["--preset", "bert"], "no preset 'bert'"),
    ],
)
def test_wrong_settings_are_one_line(options: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["evaluate", "model", "--data", str(tmp_path), *options])
    assert message in refused(result)


def test_a_grid_is_read() -> None:
    assert read_grid(["learning_rate=2e-5,3e-5", "batch_size=16"]) == GridConfig(learning_rate=(2e-5, 3e-5), batch_size=(16,))


def score(point: float, split: str, seed: int, value: float) -> Score:
    return Score("m", "t", "accuracy", split, seed, {"learning_rate": point}, 9, value, "p")


def test_dev_chooses_and_test_does_not() -> None:
    values = {1.0: {"dev": (0.70, 0.72), "test": (0.9, 0.9)}, 2.0: {"dev": (0.75, 0.73), "test": (0.5, 0.5)}}
    by_point = {
        ("m", "t", f"-{point}"): (
            {"learning_rate": point},
            [score(point, split, seed, value) for split, found in splits.items() for seed, value in enumerate(found)],
        )
        for point, splits in values.items()
    }
    first, second = choice.choose(by_point)
    assert (first.chosen, second.chosen) == (False, True)
    assert (
        second.dev == {"accuracy": pytest.approx(0.74)}
        and second.seeds == 2
        and second.deviation == pytest.approx(0.01414, abs=1e-4)
    )
    assert choice.lines([first, second]) == [
        "m, t: learning rate 2 is the best of 2 points on dev (0.740; the others from 0.710)"
    ]


def test_a_point_of_which_runs_diverged_is_not_chosen_beside_another() -> None:
    points = {rate: ({"learning_rate": rate}, [score(rate, "dev", 0, 1 - rate)]) for rate in (0.1, 0.2, 0.3)}
    points[0.1][1][0] = replace(points[0.1][1][0], diverged=1)
    tried = choice.choose({("m", "t", f"-{rate}"): found for rate, found in points.items()})
    assert [one.chosen for one in tried] == [False, True, False]
    assert choice.lines(tried)[0] == "m, t: learning rate 0.1: 1 of 1 seeds diverged"
    assert ["diverged" in one.to_json() for one in tried] == [True, False, False]


def test_a_grid_keeps_the_scores_of_the_point_that_is_best_on_dev(model: str, data: str, tmp_path: Path) -> None:
    config = EvaluationConfig(**{**vars(SMALL), "seeds": 1, "epochs": 4, "train_examples": 0, "grid": GRID})
    scores = evaluate(model, data, config, str(tmp_path), threads=1)
    tried = choice.read(str(tmp_path))
    best = max(tried, key=lambda one: one.mean)
    assert len(tried) == 4 and [one for one in tried if one.chosen] == [best] and best.point["learning_rate"] == 5e-3
    assert all(best.point.items() <= s.hyperparameters.items() for s in scores)
    assert next(s.value for s in scores if s.split == "dev") == best.mean
    assert read_scores(storage.join(str(tmp_path), "scores.jsonl")) == scores
    names = {entry.name for entry in file_entries(str(tmp_path), scores)}
    assert names == {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    # The same task without a grid leaves no grid of before.
    evaluate(model, data, EvaluationConfig(**{**vars(SMALL), "seeds": 1}), str(tmp_path), threads=1)
    assert choice.read(str(tmp_path)) == []


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not waited for has no command line."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_evaluation_that_is_killed_resumes_and_loses_the_runs_under_way_alone(
    model: str, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = EvaluationConfig(**{**vars(SMALL), "grid": GridConfig(learning_rate=(1e-3, 5e-3)), "seeds": 3})
    command = [sys.executable, "-c", "from workflows.cli import main; main()", "evaluate", model, "--data", data]
    command += ["--tasks", "sentiment", "--seeds", "3", "--epochs", "2", "--max-length", "16", "--train-examples", "64"]
    command += ["--grid", "learning_rate=1e-3,5e-3", "--no-baseline", "--workers", "2", "--output", str(tmp_path / "killed")]
    process = subprocess.Popen(command, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    work = tmp_path / "killed" / "work"
    try:
        wait_for(lambda: len([*work.glob("*.jsonl")]) >= 2, process)
    finally:
        workers = descendants(process.pid)
        process.kill()
        process.wait()
    wait_for(lambda: not any(map(is_running, workers)))  # they end within half a second, and may finish a run of this size
    kept = {path: path.stat().st_mtime_ns for path in work.glob("*.jsonl")}
    begun: list[str] = []
    run_one = evaluation.run_one

    def noted(run: evaluation.Run, progress: Report | None = None) -> list[Score]:
        begun.append(run.name)
        return run_one(run, progress)

    monkeypatch.setattr(evaluation, "run_one", noted)
    resumed = evaluate(model, data, config, str(tmp_path / "killed"), threads=1)
    monkeypatch.undo()
    assert len(kept) >= 2 and len(begun) == 6 - len(kept), "a run that is finished is not run again"
    assert resumed == evaluate(model, data, config, str(tmp_path / "whole"), threads=1)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cluster_gives_what_this_machine_gives(model: str, data: str, tmp_path: Path) -> None:
    here = evaluate(model, data, SMALL, str(tmp_path / "here"), threads=1)
    output, files = str(tmp_path / "there"), files_read(model, data, SMALL)
    assert {Path(path).name for path in files} >= {"model.safetensors", "train.tsv", "dev.tsv", "test.tsv"}
    with connected(ClusterConfig(workers=2)):
        with on_cluster("", None, output, files) as cluster:
            assert cluster.workers == 2, "as many as there is room for"
            there = evaluate(model, data, SMALL, output, threads=1, executor=cluster)
        changed = {path: size + 1 for path, size in files.items()}
        with pytest.raises(ClusterError, match="does not see what this machine sees"), on_cluster("", None, output, changed):
            pass
    assert there == here
    assert json.loads((tmp_path / "there" / "summary.json").read_text()) == json.loads(
        (tmp_path / "here" / "summary.json").read_text()
    )


def fine_tuning(cluster: Head) -> list[int]:
    """Return the processes of a cluster that run a run."""
    return [pid for pid, name in descendants(cluster.process.pid).items() if name.startswith("ray::_apply")]


@pytest.mark.slow
@pytest.mark.timeout(2 * PATIENCE)
@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_a_killed_worker_of_a_cluster_that_was_there_before_costs_its_own_run_alone(
    model: str, data: str, tmp_path: Path
) -> None:
    changed = {"grid": GridConfig(learning_rate=(1e-3, 5e-3)), "seeds": 3, "epochs": LONG_ENOUGH}
    config = EvaluationConfig(**{**vars(SMALL), **changed})
    settings = ["--tasks", "sentiment", "--seeds", "3", "--epochs", LONG_ENOUGH, "--max-length", "16", "--train-examples", "64"]
    work, predictions = tmp_path / "there" / "work", tmp_path / "there" / "predictions"

    def finished() -> set[str]:
        return {path.stem for path in work.glob("*.jsonl")}

    def two_under_way() -> list[int]:
        """Return the processes of two runs that have begun to learn, when another is finished."""
        begun, processes = {path.stem for path in work.glob("*.steps")}, fine_tuning(cluster)
        return processes if (over := finished()) and len(begun - over) == 2 == len(processes) else []

    with head(cpus=2) as cluster:
        process = cluster.start(
            *("evaluate", model, "--data", data, *settings, "--grid", "learning_rate=1e-3,5e-3", "--no-baseline"),
            *("--address", cluster.ray, "--output", tmp_path / "there"),
        )
        victim, other = wait_for(two_under_way, process, seconds=PATIENCE)
        before = finished()
        written = {path: path.stat().st_mtime_ns for path in predictions.glob("*.jsonl")}
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: finished() - before, process, seconds=PATIENCE)
        assert is_running(other), "the other run goes on"
        _, problem = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, problem
    kept = [path for path in written if path.exists()]  # of the chosen point
    assert all(path.stat().st_mtime_ns == written[path] for path in kept), "a run that is finished is not run again"
    there = read_scores(str(tmp_path / "there" / "scores.jsonl"))
    assert there == evaluate(model, data, config, str(tmp_path / "here"), threads=1)
    assert {one.seed for one in there} == {0, 1, 2}
