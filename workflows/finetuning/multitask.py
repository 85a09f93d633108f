"""Multi-task fine-tuning of an export: `finetune --tasks`.

    tune_together("my-nezha", "data/tasks", "my-shared", EvaluationConfig(tasks=("ocnli", "lcqmc")))

One encoder learns all tasks, with a head for each (model/finetuning/multitask.py). The encoder is exported, with what
the old export had beside it, and can be fine-tuned further on each task by `evaluate`. Heads are not kept; their scores are.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from model.exporting.card import cell
from pipeline.engine.execution import Report, silent
from pipeline.errors import CheckpointError, TaskError
from workflows.evaluation import encoders, tasks
from workflows.evaluation.config import EvaluationConfig
from workflows.evaluation.scores import Summary
from workflows.finetuning.exporting import export_files

if TYPE_CHECKING:
    from model.finetuning.multitask import Mixing, SharedTask
    from workflows.evaluation.tasks import TaskData

TITLE = "Multi-task fine-tuning"
MT_DNN = "https://arxiv.org/abs/1901.11504"


def tune_together(
    model_url: str,
    data_url: str,
    folder: str,
    config: EvaluationConfig,
    *,
    mixing: "Mixing" = "proportional",
    seed: int = 0,
    report: Report = silent,
) -> dict[str, Any]:
    """Fine-tune the export `model_url` on all tasks of `config` at once, write another export, and return what happened.

    Raises: CheckpointError if `model_url` is not an export or is `folder`; TaskError for tasks.
    """
    from model.exporting.export import LAST, STALE, load_export
    from model.exporting.replacement import replacing
    from model.finetuning.learner import FinetuneConfig
    from model.finetuning.multitask import finetune_together

    if encoders.is_foreign(model_url):
        raise TaskError(f"{model_url}: only exports of ours can be exported again; convert it first: nezha-pipe convert")
    if folder == model_url:
        raise CheckpointError(f"{folder}: contains the model to tune; give another output folder")
    if len(config.tasks) < 2:
        raise TaskError("several tasks are learned together; give two or more, e.g. --tasks ocnli,lcqmc")
    for name in config.tasks:
        if config.find(name).kind == "similarity":
            raise TaskError(f"task {name}: vectors are compared as they are, nothing is learned; leave it out")
    encoder, network = encoders.load(model_url), load_export(model_url)[0]
    found = [
        tasks.load(config.find(name), data_url, limit_train=config.train_examples, limit_test=config.test_examples)
        for name in config.tasks
    ]
    shared = [_shared(name, data, encoder, config) for name, data in zip(config.tasks, found, strict=True)]
    settings = FinetuneConfig(epochs=config.epochs, batch_size=config.batch_size, learning_rate=config.learning_rate, seed=seed)
    with replacing(folder, LAST, STALE) as write:
        result = finetune_together(encoder.start, shared, settings, mixing, report)
        network.nezha.load_state_dict(dict(result.weights))
        facts = {
            "best_epoch": result.best_epoch,
            "mixing": mixing,
            "tasks": {
                shared[number].name: {
                    "examples": len(data.train),
                    "note": data.note,
                    "losses": [round(losses[number], 4) for losses in result.losses],
                    "dev": _scores(data, data.dev, shared[number].splits.dev, result.dev[number]),
                    "test": _scores(data, data.test, shared[number].splits.test, result.test[number]),
                }
                for number, data in enumerate(found)
            },
        }
        for name, content in export_files(model_url, network, TITLE, card_lines(facts, asdict(settings))).items():
            write(name, content)
    return facts


def summaries(facts: Mapping[str, Any], model_id: str) -> list[Summary]:
    """Return the scores of the shared encoder with its heads, as rows of the usual table."""
    return [
        Summary(model_id, name, metric, split, seeds=1, best=value, mean=value, deviation=None)
        for name, task in facts["tasks"].items()
        for split in ("dev", "test")
        for metric, value in task[split].items()
    ]


def card_lines(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> Sequence[str]:
    """Return what the card says of the tuning."""
    rows = []
    for name, task in facts["tasks"].items():
        scores = ", ".join(f"{metric} {value:.3f}" for metric, value in task["test"].items())
        note = f" ({cell(task['note'])})" if task["note"] else ""
        rows.append(f"- {cell(name)}: {task['examples']:,} examples, test {scores}{note}")
    return [
        f"The encoder was fine-tuned on several tasks together, with a head for each (MT-DNN, [arXiv 1901.11504]({MT_DNN})).",
        "The terms of their data also apply here. The heads were dropped.",
        "",
        *rows,
        "",
        f"- epoch {facts['best_epoch']} of {settings['epochs']}, batches of {settings['batch_size']} mixed {facts['mixing']},"
        f" learning rate {settings['learning_rate']:g}, seed {settings['seed']}",
        "",
        "The heads for masks and pairs of sentences were not tuned along, so masks are filled less well than before.",
    ]


def _shared(name: str, data: "TaskData", encoder: encoders.Encoder, config: EvaluationConfig) -> "SharedTask":
    from model.finetuning.multitask import SharedTask

    kind = data.kind
    splits = kind.encode((data.train, data.dev, data.test), data.labels, encoder.tokenizer)

    def score(predicted: list[Any]) -> float:
        return statistics.fmean(_scores(data, data.dev, splits.dev, predicted).values())

    length = encoder.limit(config.max_length, kind.max_length)
    return SharedTask(name, kind.objective(data.labels), splits, length, score)


def _scores(data: "TaskData", examples: Sequence[Any], texts: Sequence[Any], predicted: list[Any]) -> dict[str, float]:
    kind = data.kind
    found = data.scores(examples, kind.answers(examples, texts, predicted, data.labels))
    return {metric: round(value, 6) for metric, value in found.items()}
