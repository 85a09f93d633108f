"""Fine-tune and score an encoder and its untrained twin on some tasks, with several seeds.

    scores.jsonl                                       a Score per line
    predictions/export-5d0c-sentiment-0-test.jsonl     {"gold": "1", "predicted": "0"} per line

A run is one model, one task, one seed. The scores of finished runs are kept under `work/` until all runs are finished, so that
an interrupted evaluation resumes.
"""

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline import storage
from pipeline.engine import processes
from pipeline.engine.execution import Report, silent
from pipeline.engine.stages import FileEntry
from pipeline.errors import TaskError
from workflows.evaluation import tasks
from workflows.evaluation.config import EvaluationConfig
from workflows.evaluation.encoding import encode, label_names
from workflows.evaluation.scores import UNTRAINED, Score, measure, read_scores
from workflows.evaluation.tasks import TaskData

if TYPE_CHECKING:
    from model.finetuning.finetune import Finetuned

SCORES = "scores.jsonl"


@dataclass(frozen=True)
class Run:
    """One model, one task, one seed: everything that a worker process needs."""

    model_url: str
    model_id: str
    task: str
    seed: int
    data_url: str
    output: str
    config: EvaluationConfig
    threads: int | None
    inputs: str
    """Digest of everything else that decides the scores: weights, hyperparameters, examples."""

    @property
    def name(self) -> str:
        return f"{self.model_id}-{self.task}-{self.seed}"

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
    report: Report = silent,
) -> list[Score]:
    """Fine-tune and score the export folder `model_url` on tasks in `data_url`; write scores.jsonl and predictions to `output`.

    Args:
        model_id: name of the model in the scores; None = the name of its folder.
        workers: processes that share the runs.
        threads: threads per process; None = the cores divided by `workers`. Another number may round differently.
        report: called with the progress in epochs.

    Raises: TaskError before any training if files of a task are missing or malformed.
    """
    model_id = model_id or storage.base_name(model_url)
    if model_id == UNTRAINED:
        raise TaskError(f"the model is called {UNTRAINED!r}, which is the name of the baseline; rename it")
    if workers > 1 and threads is None:
        threads = max(1, (os.cpu_count() or 1) // workers)  # with more threads than cores, runs are many times slower
    runs = _runs(model_url, data_url, config, output, model_id, threads)
    finished = {run: read_scores(run.part) for run in runs if storage.exists(run.part)}
    if workers > 1 and len(runs) - len(finished) > 1:
        _run_in_processes(runs, finished, workers, report)
    else:
        _run_here(runs, finished, report)
    scores = [score for run in runs for score in finished[run]]
    _write_lines(storage.join(output, SCORES), (score.to_json() for score in scores))
    storage.remove(storage.join(output, "work"))
    return scores


def file_entries(output: str, scores: Sequence[Score]) -> list[FileEntry]:
    """Return the files that `evaluate` wrote, for a stage's manifest."""
    return [FileEntry.of(output, name) for name in (SCORES, *(score.predictions_uri for score in scores))]


def _runs(
    model_url: str, data_url: str, config: EvaluationConfig, output: str, model_id: str, threads: int | None
) -> list[Run]:
    """Return all runs in the order of their scores. Reads every task, so that errors come before hours of training."""
    weights = storage.sha256(storage.join(model_url, "model.safetensors"))
    digests = {}
    for name in config.tasks:
        content = [weights, config.hyperparameters, _plain(_load(name, data_url, config))]
        digests[name] = hashlib.blake2b(storage.json_bytes(content), digest_size=6).hexdigest()
    return [
        Run(model_url, model, name, seed, data_url, output, config, threads, digests[name])
        for model in ([model_id, UNTRAINED] if config.baseline else [model_id])
        for name in config.tasks
        for seed in range(config.seeds)
    ]


def _plain(data: TaskData) -> list[Any]:
    """Return the content of a task as JSON types."""
    return [data.labels, *([[e.items, e.labels] for e in split] for split in (data.train, data.dev, data.test))]


def _load(task: str, data_url: str, config: EvaluationConfig) -> TaskData:
    return tasks.load(tasks.find(task), data_url, limit_train=config.train_examples, limit_test=config.test_examples)


def _run_here(runs: Sequence[Run], finished: dict[Run, list[Score]], report: Report) -> None:
    """Run what is not in `finished` in this process, and add it there."""
    total = sum(run.config.epochs for run in runs)
    for run in runs:
        if run not in finished:
            done = len(finished) * run.config.epochs
            finished[run] = run_one(run, functools.partial(_report_epoch, report, done, total, run.name))


def _report_epoch(report: Report, done: int, total: int, name: str, epoch: int, score: float) -> None:
    report(done + epoch, total, f"{name}, dev {score:.3f}")


def _run_in_processes(runs: Sequence[Run], finished: dict[Run, list[Score]], workers: int, report: Report) -> None:
    """Run what is not in `finished` in worker processes, and add it there."""
    import multiprocessing

    total = sum(run.config.epochs for run in runs)
    remaining = [run for run in runs if run not in finished]
    # Spawned, not forked: torch's threads do not survive a fork.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(remaining)), spawn, processes.exit_with, (os.getpid(),)) as pool:
        futures = {pool.submit(run_one, run): run for run in remaining}
        for future in as_completed(futures):
            run = futures[future]
            finished[run] = future.result()
            report(len(finished) * run.config.epochs, total, run.name)


def run_one(run: Run, progress: Callable[[int, float], None] | None = None) -> list[Score]:
    """Fine-tune once, write predictions and the run's scores, and return the scores of dev and test."""
    import torch

    from model.exporting.export import load_export
    from model.finetuning.finetune import FinetuneConfig, Start, finetune_classifier, finetune_tagger
    from pipeline.tokenization.vocab import Vocab
    from pipeline.tokenization.wordpiece import WordPieceEncoder

    threads_before = torch.get_num_threads()
    torch.set_num_threads(run.threads or threads_before)
    try:
        data = _load(run.task, run.data_url, run.config)
        network, encoder_config, tokens, rules = load_export(run.model_url)
        vocab = Vocab(tuple(tokens))
        weights = None if run.model_id == UNTRAINED else network.nezha.state_dict()
        start = Start(encoder_config, len(vocab), vocab.cls_id, vocab.sep_id, weights)
        splits = encode(data, WordPieceEncoder(vocab, **rules))
        finetune = finetune_tagger if data.task.kind == "tagging" else finetune_classifier
        config = FinetuneConfig(
            epochs=run.config.epochs,
            batch_size=run.config.batch_size,
            learning_rate=run.config.learning_rate,
            max_length=run.config.max_length,
            seed=run.seed,
        )

        def dev_score(predicted: list[Any]) -> float:
            return measure(data.task.metric, data.dev, label_names(data.labels, predicted))

        result = finetune(start, len(data.labels), splits, config, score=dev_score, progress=progress)
    finally:
        torch.set_num_threads(threads_before)
    return _write_scores(run, data, result)


def _write_scores(run: Run, data: TaskData, result: "Finetuned") -> list[Score]:
    """Score the predictions of dev and test, and write both."""
    scores = []
    for split, examples, predicted in (("dev", data.dev, result.dev), ("test", data.test, result.test)):
        labels = label_names(data.labels, predicted)
        uri = f"predictions/{run.name}-{split}.jsonl"
        rows = (
            {"gold": example.labels, "predicted": guess}
            if data.task.kind == "tagging"
            else {"gold": example.labels[0], "predicted": guess[0]}
            for example, guess in zip(examples, labels, strict=True)
        )
        _write_lines(storage.join(run.output, uri), (json.dumps(row, ensure_ascii=False) for row in rows))
        value = measure(data.task.metric, examples, labels)
        hyperparameters = run.config.hyperparameters | ({"splits": data.note} if data.note else {})
        scores.append(
            Score(run.model_id, run.task, data.task.metric, split, run.seed, hyperparameters, len(examples), value, uri)
        )
    _write_lines(run.part, (score.to_json() for score in scores))
    return scores


def _write_lines(url: str, lines: Iterator[str]) -> None:
    storage.write_bytes(url, "".join(f"{line}\n" for line in lines).encode())
