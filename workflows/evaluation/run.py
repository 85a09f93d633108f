"""Evaluation: is the pretrained encoder worth its training? Fine-tune it and a fresh one of the same shape, and score both.

    scores.jsonl                                       a Score a line
    predictions/export-5d0c-sentiment-0-test.jsonl     {"gold": "1", "predicted": "0"} a line

A run is one model, one task, one seed. Finished runs are kept under `work/` until all are done, so that an evaluation that
was interrupted goes on where it was.
"""

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipeline import storage
from pipeline.engine import processes
from pipeline.engine.stages import FileEntry, Report, silent
from pipeline.errors import TaskError
from workflows.evaluation import tasks
from workflows.evaluation.scores import (
    UNTRAINED,
    Score,
    measure,
    read_scores,
)
from workflows.evaluation.tasks import TaskData

if TYPE_CHECKING:
    from model.finetuning.finetune import Finetuned, Splits
    from pipeline.tokenization.wordpiece import WordPieceEncoder

SCORES = "scores.jsonl"


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """`[evaluation]`: what the encoder is fine-tuned on, and how."""

    tasks: tuple[str, ...] = ("sentiment", "entities")
    """Names of tasks; their files lie in one data folder."""
    data: str = ""
    """Folder of the tasks' files, any fsspec URL. Empty: the tasks of the demo corpus, where that is read."""
    seeds: int = 3
    """Runs per task and model: seeds 0, 1, ... Scores differ between seeds, so one run says little."""
    train_examples: int = 0
    """Most examples to fine-tune on; 0 = all."""
    test_examples: int = 0
    """Most examples of dev and of test each; 0 = all."""
    epochs: int = 3
    """Passes over the examples; the epoch with the best score on dev counts."""
    batch_size: int = 32
    """Examples a step."""
    learning_rate: float = 3e-5
    """Highest learning rate. Small networks want more: about 3e-4 at 2 layers."""
    max_length: int = 128
    """Most tokens read at once. Longer reviews are cut off, longer sentences are tagged in windows."""
    baseline: bool = True
    """Whether a network with fresh weights is fine-tuned and scored beside."""

    def __post_init__(self) -> None:
        for name in ("seeds", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 1")
        if self.max_length < 4:
            raise ValueError(f"max_length {self.max_length} is below 4: [CLS], two tokens and [SEP] must fit")
        if not self.tasks:
            raise ValueError(f"tasks are none; name some of {', '.join(tasks.TASKS)}")
        if self.train_examples < 0 or self.test_examples < 0:
            raise ValueError(
                f"train_examples {self.train_examples} and test_examples {self.test_examples} must not be negative"
            )
        for name in self.tasks:
            try:
                tasks.find(name)
            except TaskError as error:
                raise ValueError(str(error)) from error

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """What every run of this evaluation has in common."""
        return {name: value for name, value in asdict(self).items() if name not in ("tasks", "data", "seeds", "baseline")}

    def files(self) -> dict[str, str]:
        """URLs of the tasks' files in `data`, by task and split: {"ocnli/train": "data/ocnli/train.50k.json", ...}.

        Raises: TaskError for one that is missing.
        """
        found = {name: tasks.located(tasks.find(name), storage.absolute(self.data)) for name in self.tasks}
        return {f"{name}/{split}": url for name, splits in found.items() for split, url in splits.items()}

    def scored_files(self) -> tuple[str, ...]:
        """Those that hold texts to choose or to score by: what no encoder should have been trained on."""
        files = self.files()
        folded = {name for name in self.tasks if f"{name}/dev" not in files}
        wanted = (url for of, url in files.items() if not of.endswith("/train") or of.split("/")[0] in folded)
        return tuple(dict.fromkeys(wanted))


@dataclass(frozen=True)
class Run:
    """One model, one task, one seed: all that a process of its own needs to know."""

    model_url: str
    model_id: str
    task: str
    seed: int
    data_url: str
    output: str
    config: EvaluationConfig
    threads: int | None
    inputs: str
    """Digest of everything that decides the scores but the names above."""

    @property
    def name(self) -> str:
        return f"{self.model_id}-{self.task}-{self.seed}"

    @property
    def part(self) -> str:
        """Where the scores of this run wait until all runs are done."""
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
    """Fine-tune and score the export folder `model_url` on tasks in `data_url`; scores.jsonl and predictions go to `output`.

    Runs share `workers` processes, each computing with `threads` threads (None: the cores, shared out). Neither changes
    what is computed, but another number of threads may round differently. Progress is told in epochs. Raises `TaskError`
    before anything is trained, when a task's files are missing or malformed.
    """
    model_id = model_id or storage.base_name(model_url)
    if model_id == UNTRAINED:
        raise TaskError(f"the model is called {UNTRAINED!r}, as the baseline is; give it another name")
    if workers > 1 and threads is None:
        threads = max(1, (os.cpu_count() or 1) // workers)  # more threads than cores wait for each other, many times as long
    runs = _runs(model_url, data_url, config, output, model_id, threads)
    total = len(runs) * config.epochs
    finished = {run: read_scores(run.part) for run in runs if storage.exists(run.part)}
    left = [run for run in runs if run not in finished]
    if workers > 1 and len(left) > 1:
        # Spawned, not forked: torch's threads do not survive a fork.
        import multiprocessing

        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(left)), spawn, processes.end_with, (os.getpid(),)) as pool:
            futures = {pool.submit(run_one, run): run for run in left}
            for future in as_completed(futures):
                finished[futures[future]] = future.result()
                report(len(finished) * config.epochs, total, futures[future].name)
    else:
        for run in left:
            done = len(finished) * config.epochs
            finished[run] = run_one(run, functools.partial(_epoch_done, report, done, total, run.name))
    scores = [score for run in runs for score in finished[run]]
    _write_lines(storage.join(output, SCORES), (score.to_json() for score in scores))
    storage.remove(storage.join(output, "work"))
    return scores


def _epoch_done(report: Report, done: int, total: int, name: str, epoch: int, score: float) -> None:
    report(done + epoch, total, f"{name}, dev {score:.3f}")


def file_entries(output: str, scores: Sequence[Score]) -> list[FileEntry]:
    """What `evaluate` wrote, for a stage's manifest."""
    return [FileEntry.of(output, name) for name in (SCORES, *(score.predictions_uri for score in scores))]


def _runs(
    model_url: str, data_url: str, config: EvaluationConfig, output: str, model_id: str, threads: int | None
) -> list[Run]:
    """All runs, in the order of their scores. Every task is read, so that what is missing is told before hours of training."""
    weights = storage.sha256(storage.join(model_url, "model.safetensors"))
    digests = {}
    for name in config.tasks:
        content = [weights, config.hyperparameters, plain_data(_load(name, data_url, config))]
        digests[name] = hashlib.blake2b(storage.json_bytes(content), digest_size=6).hexdigest()
    return [
        Run(model_url, model, name, seed, data_url, output, config, threads, digests[name])
        for model in ([model_id, UNTRAINED] if config.baseline else [model_id])
        for name in config.tasks
        for seed in range(config.seeds)
    ]


def data_digest(config: EvaluationConfig) -> str:
    """Digest of all files of the tasks in `data`: told by name of the task and content, wherever they lie."""
    content = {name: [storage.base_name(url), storage.sha256(url)] for name, url in config.files().items()}
    return hashlib.blake2b(storage.json_bytes(content), digest_size=16).hexdigest()


def plain_data(data: TaskData) -> list[Any]:
    """A task's content as JSON knows it."""
    return [data.labels, *([[e.items, e.labels] for e in split] for split in (data.train, data.dev, data.test))]


def _load(task: str, data_url: str, config: EvaluationConfig) -> TaskData:
    return tasks.load(tasks.find(task), data_url, limit_train=config.train_examples, limit_test=config.test_examples)


def run_one(run: Run, progress: Callable[[int, float], None] | None = None) -> list[Score]:
    """Fine-tune once; predictions and the run's part are written, scores for dev and test come back."""
    import torch

    from model.exporting.export import load_export
    from model.finetuning.finetune import (
        FinetuneConfig,
        Start,
        finetune_classifier,
        finetune_tagger,
    )
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
            return measure(data.task.metric, data.dev, named(data.labels, predicted))

        result = finetune(start, len(data.labels), splits, config, score=dev_score, progress=progress)
    finally:
        torch.set_num_threads(threads_before)
    return _scored(run, data, result)


def _scored(run: Run, data: TaskData, result: "Finetuned") -> list[Score]:
    scores = []
    for split, examples, predicted in (("dev", data.dev, result.dev), ("test", data.test, result.test)):
        labels = named(data.labels, predicted)
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


def encode(data: TaskData, encoder: "WordPieceEncoder") -> "Splits":
    """Train, dev and test as tokens. Items of a sentence to tag are encoded one by one, so that each has a token of its own:
    of 1 9 9 8 the joined text would make one token, and one label.
    """
    import numpy as np

    from model.finetuning.finetune import Splits
    from model.finetuning.windows import Text

    numbers = {label: number for number, label in enumerate(data.labels)}
    tagging = data.task.kind == "tagging"
    splits = []
    for split in (data.train, data.dev, data.test):
        items = dict.fromkeys(item for example in split for item in example.items)
        tokens = {
            item: encoded.ids.astype(np.int64) for item, encoded in zip(items, encoder.encode_batch(list(items)), strict=True)
        }
        texts = []
        for example in split:
            of_items = [tokens[item] for item in example.items]
            lengths = np.array([len(ids) for ids in of_items])
            firsts = np.where(lengths > 0, lengths.cumsum() - lengths, -1) if tagging else None
            second = of_items.pop() if data.task.kind == "pair" else None
            labels = np.array([numbers[label] for label in example.labels])
            texts.append(Text(np.concatenate(of_items), labels, firsts, second))
        splits.append(texts)
    return Splits(*splits)


def named(labels: Sequence[str], predicted: Sequence[Any]) -> list[list[str]]:
    """Predicted numbers as labels. A item without a token (a control character) belongs to no entity."""
    return [["O" if number < 0 else labels[number] for number in numbers.tolist()] for numbers in predicted]


def _write_lines(url: str, lines: Iterator[str]) -> None:
    storage.write_bytes(url, "".join(f"{line}\n" for line in lines).encode())
