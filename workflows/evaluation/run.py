"""Fine-tune and score an encoder and its untrained twin on some tasks, with several seeds.

    scores.jsonl                                       a Score per line
    summary.json                                       best, mean and deviation over seeds, beside published figures
    grid.jsonl                                         the points of a grid, by their scores on dev (grid/choice.py)
    predictions/export-5d0c-sentiment-0-test.jsonl     {"example": "5f1c...", "starts": [...], "gold": "1", "predicted": "0"}
                                                       per line: Example.digest and .starts, and Kind.row

A run is one model, one task, one point of the grid, one seed. The scores of finished runs are kept under `work/` until all runs
are finished, so that an interrupted evaluation resumes. Of a grid, the point that is best on dev is scored.
"""

import functools
import hashlib
import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline import locks, storage
from pipeline.engine import slots
from pipeline.engine.execution import News, Report, check_workers, cpus, silent
from pipeline.engine.stages import FileEntry
from pipeline.errors import DamagedError, TaskError
from workflows.evaluation import encoders, tasks
from workflows.evaluation.beside import beside
from workflows.evaluation.config import EvaluationConfig
from workflows.evaluation.examples import Example
from workflows.evaluation.grid import choice
from workflows.evaluation.grid.executors import Executor, Processes
from workflows.evaluation.grid.settings import point_name, points
from workflows.evaluation.grid.together import Together, steps_written
from workflows.evaluation.kinds.similarity import Similarity, cosines
from workflows.evaluation.scores import UNTRAINED, Score, diverged, read_scores, summary
from workflows.evaluation.tasks import Split, TaskData
from workflows.inference.embedding import pooling_of

SCORES, SUMMARY, GRID = "scores.jsonl", "summary.json", choice.GRID
LONG = 500
"""Characters of a text that count for the time left; more are cut off, or rare."""


@dataclass(frozen=True)
class Run:
    """One model, one task, one point of the grid, one seed: everything that a worker process needs."""

    model_url: str
    model_id: str
    task: str
    seed: int
    data_url: str
    output: str
    config: EvaluationConfig
    """The settings of this task at this point."""
    threads: int | None
    inputs: str
    """Digest of everything else that decides the scores: weights, hyperparameters, examples."""
    weights: str
    """Digest of the model's weights."""
    point: tuple[tuple[str, Any], ...] = ()
    """The settings that the grid changes."""
    cost: int = 1
    """About how long it takes, beside other runs: characters to read, and those to learn from in each epoch three times."""

    @property
    def name(self) -> str:
        return f"{self.model_id.replace(':', '-')}-{self.task}{point_name(dict(self.point))}-{self.seed}"

    @property
    def part(self) -> str:
        """URL of this run's scores until all runs are finished."""
        return storage.join(self.output, "work", f"{self.name}-{self.inputs}.jsonl")


def evaluate(
    model_url: str,
    data_url: str,
    config: EvaluationConfig,
    output: str,
    *,
    model_id: str | None = None,
    workers: int = 1,
    threads: int | None = None,
    executor: Executor | None = None,
    report: Report = silent,
) -> list[Score]:
    """Fine-tune and score a model on tasks in `data_url`; write scores.jsonl and predictions to `output`.

    Args:
        model_url: an export folder, or `hf:` and the folder of an encoder that transformers loads (encoders.py).
        model_id: name of the model in the scores; None = the name of its folder.
        workers: processes that share the runs, unless there is an `executor`.
        threads: threads per process; None = the cores divided by `workers`. Another number may round differently.
        executor: who runs the runs, such as a cluster.
        report: called with the progress after each batch; every few seconds if several run at a time.

    Returns the scores of the point of the grid that is best on dev, for each model and task.

    Raises: TaskError before any training if files of a task are missing or malformed; or when worker processes are killed again
        and again.
    """
    model_id = model_id or encoders.model_id(model_url)
    if model_id == UNTRAINED:
        raise TaskError(f"the model is called {UNTRAINED!r}, which is the name of the baseline; rename it")
    check_workers(workers)
    if workers > 1 and threads is None:
        threads = max(1, cpus() // workers)  # with more threads than cores, runs are many times slower
    runs = _runs(model_url, data_url, config, output, model_id, threads)
    with locks.locked(storage.join(output, locks.LOCK)):
        for folder in (output, *(storage.join(output, name) for name in ("predictions", "work"))):
            storage.remove_unfinished(folder)
        finished = _scored_before(output, runs)
        finished |= {run: read_scores(run.part) for run in runs if storage.exists(run.part)}
        remaining = [run for run in runs if run not in finished]
        if executor is None and workers > 1 and len(remaining) > 1:
            executor = Processes(workers)
        if executor is None:
            _run_here(runs, finished, report)
        else:
            _run_elsewhere(runs, remaining, finished, executor, report)
        return _write_all(output, runs, finished, several=len(points(config.grid)) > 1)


def _scored_before(output: str, runs: Sequence[Run]) -> dict[Run, list[Score]]:
    """Return the scores of runs that an earlier evaluation finished here: with more seeds or tasks, only these are new."""
    url = storage.join(output, SUMMARY)
    if not storage.exists(url):
        return {}
    try:
        before = json.loads(storage.read_bytes(url))
    except ValueError:
        before = None
    if not isinstance(before, dict):
        raise DamagedError(f"{url}: damaged; delete it and score the model again")
    known = before.get("runs", {})
    by_run: dict[tuple[str, str, int], list[Score]] = {}
    for score in read_scores(storage.join(output, SCORES)):
        by_run.setdefault((score.model_id, score.task, score.seed), []).append(score)
    found: dict[Run, list[Score]] = {}
    for run in runs:
        scores = by_run.get((run.model_id, run.task, run.seed), [])
        if known.get(run.name) == run.inputs and all(storage.exists(storage.join(output, s.predictions_uri)) for s in scores):
            found[run] = scores
    return {run: scores for run, scores in found.items() if scores}


def _write_all(output: str, runs: Sequence[Run], finished: Mapping[Run, list[Score]], *, several: bool) -> list[Score]:
    """Write the scores of the chosen points, and remove what is left of the others; return the scores.

    Args:
        several: whether there is a grid with several points.
    """
    by_point: dict[tuple[str, str, str], tuple[Mapping[str, Any], list[Score]]] = {}
    for run in runs:
        key = (run.model_id, run.task, point_name(dict(run.point)))
        by_point.setdefault(key, (dict(run.point), []))[1].extend(finished[run])
    tried = choice.choose(by_point)
    chosen = {(one.model_id, one.task, point_name(one.point)) for one in tried if one.chosen}
    scores = [score for key, (_, found) in by_point.items() if key in chosen for score in found]
    _write_lines(storage.join(output, SCORES), (score.to_json() for score in scores))
    of_runs = {run.name: run.inputs for run in runs if (run.model_id, run.task, point_name(dict(run.point))) in chosen}
    content = {"scores": [row.to_dict() for row in summary(scores)], "published": beside(scores), "runs": of_runs}
    storage.write_json(storage.join(output, SUMMARY), content)
    if several:
        _write_lines(storage.join(output, GRID), (one.to_json() for one in tried))
    elif storage.exists(storage.join(output, GRID)):
        storage.remove(storage.join(output, GRID))
    kept = {score.predictions_uri for score in scores}
    for uri in {score.predictions_uri for found in finished.values() for score in found} - kept:
        if storage.exists(url := storage.join(output, uri)):
            storage.remove(url)
    storage.remove(storage.join(output, "work"))
    return scores


def file_entries(output: str, scores: Sequence[Score]) -> list[FileEntry]:
    """Return the files that `evaluate` wrote, for a stage's manifest."""
    grid = [GRID] if storage.exists(storage.join(output, GRID)) else []
    names = dict.fromkeys((SCORES, SUMMARY, *grid, *(score.predictions_uri for score in scores)))
    return [FileEntry.of(output, name) for name in names]


def files_read(model_url: str, data_url: str, config: EvaluationConfig) -> dict[str, int]:
    """Return the sizes of the local files that an evaluation reads, by path: other machines must see the same."""
    model = model_url.removeprefix(encoders.FOREIGN)
    found = [storage.join(model, name) for name in storage.list_names(model) if name.endswith(encoders.READ)]
    found += replace(config, data=data_url).files().values()
    return {url: storage.file_size(url) for url in found if storage.is_local(url)}


def _runs(
    model_url: str, data_url: str, config: EvaluationConfig, output: str, model_id: str, threads: int | None
) -> list[Run]:
    """Return all runs in the order of their scores. Reads every task, so that errors come before hours of training."""
    weights = encoders.digest(model_url)
    grid = [tuple(point.items()) for point in points(config.grid)]
    # Nothing is learned of a task of similarity: there is one run, whatever the grid and the seeds.
    learned = {name: config.find(name).kind != "similarity" for name in config.tasks}
    chosen = {name: grid if learned[name] else [()] for name in config.tasks}
    configs = {(name, point): config.at(name, dict(point)) for name in config.tasks for point in chosen[name]}
    lengths = {one.max_length for one in configs.values()}
    if any(lengths) or encoders.is_foreign(model_url):
        encoders.load(model_url).limit(max(lengths), 0)  # what cannot be loaded, or read, is told before any training
    digests, costs = {}, {}
    for name in config.tasks:
        data = load_task(name, data_url, config)
        content = _plain(data)
        for point in chosen[name]:
            one = configs[name, point]
            settings = one.hyperparameters if learned[name] else [one.pooling, one.max_length]
            decides = storage.json_bytes([weights, settings, content])
            digests[name, point] = hashlib.blake2b(decides, digest_size=6).hexdigest()
            costs[name, point] = _cost(data, one)
    return [
        Run(
            model_url, model, name, seed, data_url, output, configs[name, point], threads,
            digests[name, point], weights, point, costs[name, point],
        )
        for model in ([model_id, UNTRAINED] if config.baseline else [model_id])
        for name in config.tasks
        for point in chosen[name]
        for seed in range(config.seeds if learned[name] else 1)
    ]  # fmt: skip


def _cost(data: TaskData, config: EvaluationConfig) -> int:
    train, dev, test = (
        sum(min(len(item), LONG) for one in split for item in one.items) for split in (data.train, data.dev, data.test)
    )
    return max(1, config.epochs * (3 * train + dev) + test)


def _plain(data: TaskData) -> list[Any]:
    """Return the content of a task as JSON types."""
    splits = (data.train, data.dev, data.test)
    return [data.labels, *([[e.items, e.labels, e.start, e.name] for e in split] for split in splits)]


def load_task(task: str, data_url: str, config: EvaluationConfig) -> TaskData:
    """Return the examples of a task, as many as the settings allow."""
    return tasks.load(config.find(task), data_url, limit_train=config.train_examples, limit_test=config.test_examples)


def _run_here(runs: Sequence[Run], finished: dict[Run, list[Score]], report: Report) -> None:
    """Run what is not in `finished` in this process, and add it there."""
    total = sum(run.cost for run in runs)
    for run in runs:
        if run not in finished:
            done = sum(one.cost for one in finished)
            finished[run] = run_one(run, functools.partial(_report_batch, report, done, total, run))
            for line in diverged(finished[run]):
                report(done + run.cost, total, News(line))


def _report_batch(report: Report, before: int, all_runs: int, run: Run, done: int, total: int, what: str) -> None:
    report(before + run.cost * done // max(1, total), all_runs, f"{run.name}, {what}")


def _run_elsewhere(
    runs: Sequence[Run], remaining: Sequence[Run], finished: dict[Run, list[Score]], executor: Executor, report: Report
) -> None:
    """Run what remains where `executor` does, and add it to `finished`. A run whose process was killed is repeated.

    Raises: TaskError when processes are killed again and again.
    """
    shown = Together(runs, finished, report)

    def done(run: Run, scores: list[Score]) -> None:
        finished[run] = scores
        for line in diverged(scores):
            shown.report(News(line))
        shown.report(run.name)

    def killed(run: Run) -> None:
        shown.report(News(f"the worker process of {run.name} was killed; its run is repeated"))

    try:
        with shown.watched():
            executor(remaining, run_saved, done, killed)
    except slots.WorkersKilled:
        raise TaskError(
            f"a worker process was killed {slots.ATTEMPTS} times (out of memory?); run again with fewer workers,"
            f" {len(finished)} of {len(runs)} runs are kept"
        ) from None


def run_saved(run: Run) -> list[Score]:
    """Return the scores of a run, after running it unless it is finished: its process may have been killed just then."""
    return read_scores(run.part) if storage.exists(run.part) else run_one(run, steps_written(run))


def run_one(run: Run, progress: Report | None = None) -> list[Score]:
    """Fine-tune once, write predictions and the run's scores, and return the scores of dev and test."""
    import torch

    from model.finetuning.finetune import finetune
    from model.finetuning.learner import FinetuneConfig

    threads_before = torch.get_num_threads()
    torch.set_num_threads(run.threads or threads_before)
    try:
        data = load_task(run.task, run.data_url, run.config)
        kind = data.kind
        if isinstance(kind, Similarity):
            return _compare(run, data, progress or silent)
        encoder = encoders.load(run.model_url, untrained=run.model_id == UNTRAINED)
        splits = kind.encode((data.train, data.dev, data.test), data.labels, encoder.tokenizer)
        max_length = encoder.limit(run.config.max_length, kind.max_length)
        config = FinetuneConfig(
            epochs=run.config.epochs,
            batch_size=run.config.batch_size,
            learning_rate=run.config.learning_rate,
            max_length=max_length,
            seed=run.seed,
        )

        def score(predicted: list[Any]) -> float:
            return statistics.fmean(data.scores(data.dev, kind.answers(data.dev, splits.dev, predicted, data.labels)).values())

        result = finetune(encoder.start, kind.objective(data.labels), splits, config, score=score, progress=progress)
    finally:
        torch.set_num_threads(threads_before)
    settings = {**run.config.hyperparameters, "max_length": max_length}
    scored = [
        *_scored(run, data, "dev", data.dev, kind.answers(data.dev, splits.dev, result.dev, data.labels), settings),
        *_scored(run, data, "test", data.test, kind.answers(data.test, splits.test, result.test, data.labels), settings),
    ]
    scores = [replace(score, diverged=result.diverged) for score in scored]
    _write_lines(run.part, (score.to_json() for score in scores))
    return scores


def _compare(run: Run, data: TaskData, report: Report) -> list[Score]:
    """Score vectors of texts as they are: nothing is learned."""
    encoder = encoders.load(run.model_url, untrained=run.model_id == UNTRAINED)
    max_length = encoder.limit(run.config.max_length, data.kind.max_length)
    pooling = pooling_of(run.model_url.removeprefix(encoders.FOREIGN), run.config.pooling)
    answers = cosines(encoder, data.test, pooling, max_length, run.seed, report)
    settings = {"pooling": pooling, "max_length": max_length, "test_examples": run.config.test_examples}
    scores = list(_scored(run, data, "test", data.test, answers, settings))
    _write_lines(run.part, (score.to_json() for score in scores))
    return scores


def _scored(
    run: Run, data: TaskData, split: Split, examples: Sequence[Example], answers: Sequence[Any], settings: Mapping[str, Any]
) -> Iterator[Score]:
    """Write the predictions of a split, and yield a score for each metric. `settings`: what decides them besides the seed."""
    kind = data.kind
    uri = f"predictions/{run.name}-{split}.jsonl"
    rows = (
        {"example": example.digest, "starts": example.starts, **kind.row(example, answer)}
        for example, answer in zip(examples, answers, strict=True)
    )
    _write_lines(storage.join(run.output, uri), (json.dumps(row, ensure_ascii=False) for row in rows))
    hyperparameters = dict(settings)
    if data.note:
        hyperparameters["splits"] = data.note
    digests: dict[str, str] = {
        name: _examples_digest(part) for name, part in zip(tasks.SPLITS, (data.train, data.dev, data.test), strict=True)
    }
    for metric, value in data.scores(examples, answers).items():
        yield Score(
            run.model_id, run.task, metric, split, run.seed, hyperparameters, len(examples), value, uri, digests, run.weights
        )


def _examples_digest(examples: Sequence[Example]) -> str:
    content = [[example.items, example.labels] for example in examples]
    return hashlib.blake2b(storage.json_bytes(content), digest_size=8).hexdigest()


def _write_lines(url: str, lines: Iterable[str]) -> None:
    storage.write_bytes(url, "".join(f"{line}\n" for line in lines).encode())
