"""errors.html: the errors of a model on the test examples of each task, beside what another model said.

    write(scores, "scores", data_url, config)                         beside the untrained network
    write(scores, "scores", data_url, config, beside="other/scores")  beside another model's predictions

The other model is the untrained network, or the first model of another folder of scores. Its predictions are joined by the
digests of the examples, so it may have been scored on more of them, or on fewer.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline import storage
from pipeline.errors import TaskError
from workflows.evaluation.config import EvaluationConfig
from workflows.evaluation.run import SCORES, load_task
from workflows.evaluation.scores import UNTRAINED, Score, read_scores
from workflows.report.errors.cases import Case, Row, cases
from workflows.report.errors.kinds import Kind, kinds, numbers_of

PAGE = "errors.html"
TEMPLATE = "errors.html.jinja"
MOST = 1_000
"""Errors of a task that are listed; all are counted."""


@dataclass(frozen=True)
class Predictions:
    """The predictions of a model on the test examples of a task, by seed: digest of an example -> its row."""

    model: str
    by_seed: dict[int, dict[str, Row]]

    @property
    def seed(self) -> int:
        """The seed whose guesses are shown."""
        return min(self.by_seed)


def write(
    scores: Sequence[Score],
    output: str,
    data_url: str,
    config: EvaluationConfig,
    *,
    beside: str | None = None,
    language: str = "en",
) -> str:
    """Write the page to the folder of `scores`, `output`; return its URL.

    Args:
        data_url: folder of the tasks, whose texts are shown.
        beside: folder of another model's scores.
        language: of the page.

    Raises: TaskError if that is not one, or if the texts are no longer those that were scored.
    """
    others = read_others(beside) if beside else [score for score in scores if score.model_id == UNTRAINED]
    ours = [score for score in scores if score.model_id != UNTRAINED]
    found: list[dict[str, Any]] = []
    first = 0
    for task in dict.fromkeys(score.task for score in ours):
        own, theirs = _predictions(ours, task, output), _predictions(others, task, beside or output)
        assert own is not None, "a task that was scored has predictions"
        one = task_errors(task, own, theirs, data_url, config, first)
        first += len(one["kinds"])
        found.append(one)
    url = storage.join(output, PAGE)
    storage.write_bytes(url, page(found, ours[0].model_id, language).encode())
    return url


def page(tasks: Sequence[dict[str, Any]], model: str, language: str = "en") -> str:
    """Render the page. All text is escaped."""
    from workflows.report.page import environment

    return str(environment(language).get_template(TEMPLATE).render(tasks=tasks, model=model))


def read_others(folder: str) -> list[Score]:
    """Return the scores in a folder, of its first model.

    Raises: TaskError if there are none.
    """
    url = storage.join(folder, SCORES)
    if not storage.exists(url):
        raise TaskError(f"--beside {folder}: no {SCORES} in it; give the --output of an earlier `nezha-pipe evaluate`")
    scores = read_scores(url)
    first = next((score.model_id for score in scores if score.model_id != UNTRAINED), UNTRAINED)
    return [score for score in scores if score.model_id == first]


def _predictions(scores: Sequence[Score], task: str, folder: str) -> Predictions | None:
    return predictions(scores, task, lambda uri: storage.read_bytes(storage.join(folder, uri)))


def predictions(scores: Sequence[Score], task: str, read: Callable[[str], bytes]) -> Predictions | None:
    """Return what a model said about the test examples of a task; None if it was not scored on it.

    Args:
        read: reads a file of predictions, by its name in the scores.
    """
    tested = [score for score in scores if score.task == task and score.split == "test"]
    if not tested:
        return None
    return Predictions(tested[0].model_id, {score.seed: _rows(read(score.predictions_uri)) for score in tested})


def _rows(lines: bytes) -> dict[str, Row]:
    """Return rows by example: by its digest, and which of equal ones it is."""
    found: dict[str, Row] = {}
    times: dict[str, int] = {}
    for line in lines.decode().split("\n"):
        if line:
            row = json.loads(line)
            key = f"{row.get('id') or ''} {row['example']}"
            times[key] = times.get(key, 0) + 1
            found[f"{key} {times[key]}"] = row
    return found


def task_errors(
    task: str, ours: Predictions, theirs: Predictions | None, data_url: str, config: EvaluationConfig, first: int = 0
) -> dict[str, Any]:
    """Return what the page shows of a task.

    Args:
        theirs: predictions of another model.
        first: number of the first kind of errors.

    Raises: TaskError if the examples are no longer those that were scored.
    """
    data = load_task(task, data_url, config)
    known = {example.digest: example.items for example in data.test}
    rows = ours.by_seed[ours.seed]
    if missing := [row for row in rows.values() if row["example"] not in known]:
        raise TaskError(f"task {task}: {len(missing):,} of its examples in {data_url} are no longer those that were scored")
    items = [known[row["example"]] for row in rows.values()]

    def made(by_seed: dict[int, dict[str, Row]], seed: int) -> list[Case]:
        of_other = theirs.by_seed.get(seed, theirs.by_seed[theirs.seed]) if theirs else {}
        return cases(items, [by_seed[seed][key] for key in rows], [of_other.get(key) for key in rows])

    by_seed = {seed: made(ours.by_seed, seed) for seed in ours.by_seed}
    shown = by_seed[ours.seed]
    found = kinds(shown, first)
    wrong_seeds = [sum(of_seed[number].wrong for of_seed in by_seed.values()) for number in range(len(shown))]
    listed = [number for number, case in enumerate(shown) if case.wrong]
    # First what the other model has right, then what all seeds have wrong: the least likely to be chance.
    listed.sort(key=lambda number: (shown[number].other_wrong is not False, -wrong_seeds[number]))
    return {
        "name": task,
        "examples": len(shown),
        "wrong": len(listed),
        "other": theirs.model if theirs else None,
        "other_wrong": sum(bool(case.other_wrong) for case in shown) if theirs else None,
        "both_wrong": sum(case.wrong and bool(case.other_wrong) for case in shown) if theirs else None,
        "not_asked": sum(case.other_wrong is None for case in shown) if theirs else 0,
        "seed": ours.seed,
        "seeds": len(by_seed),
        "kinds": [asdict(kind) for kind in found],
        "cuts": _by_cut(found),
        "cases": [_shown(shown[number], wrong_seeds[number], found) for number in listed[:MOST]],
    }


def _by_cut(found: Sequence[Kind]) -> list[tuple[str, list[Kind]]]:
    cuts: dict[str, list[Kind]] = {}
    for kind in found:
        cuts.setdefault(kind.cut, []).append(kind)
    return list(cuts.items())


def _shown(case: Case, seeds: int, found: Sequence[Kind]) -> dict[str, Any]:
    return {
        "texts": case.texts,
        "gold": case.gold,
        "guess": case.guess,
        "other": case.other,
        "other_right": case.other_wrong is False,
        "seeds": seeds,
        "kinds": numbers_of(case, found),
    }
