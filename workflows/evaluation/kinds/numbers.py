"""Several labels for a text, numbers for texts and pairs, candidates that answer a question: three kinds of tasks.

房间小，但是干净。                  ->   labels [0, 1, 0, 1]       logits [-2.1, 1.3, -0.4, 0.8]
三个人在下棋。 两个人在下棋。         ->   2.0                       1.7
谁写的？ 作者是鲁迅。                ->   1                         3.1: more than for the other candidates
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workflows.evaluation import metrics
from workflows.evaluation.examples import Example
from workflows.evaluation.kinds.labelling import Answer, texts
from workflows.evaluation.kinds.unlabelled import Unlabelled
from workflows.evaluation.metrics import Metric

if TYPE_CHECKING:
    from model.finetuning.finetune import Splits
    from model.finetuning.objectives import Objective
    from model.finetuning.values import Logits, Measured, MeasuredWindow
    from model.finetuning.windows import Text, Window
    from workflows.inference.embedding import Tokenizer


class Labels:
    """A text has any number of labels, or none. An answer is the labels whose probability is above one half."""

    metrics: tuple[Metric, ...] = ("micro_f1", "macro_f1")
    other_metrics: tuple[Metric, ...] = ()
    max_length = 128
    labelled = True
    whole_groups = False

    def labels(self, examples: Sequence[Example]) -> tuple[str, ...]:
        return tuple(sorted({label for example in examples for label in example.labels}))

    def group(self, example: Example) -> str:
        return example.text

    def objective(self, labels: Sequence[str]) -> "Objective[Text, Window, Logits]":
        from model.finetuning.values import Mark

        return Mark(len(labels))

    def encode(self, splits: Sequence[Sequence[Example]], labels: Sequence[str], tokenizer: "Tokenizer") -> "Splits[Text]":
        import numpy as np

        from model.finetuning.finetune import Splits

        every = np.arange(len(labels))
        return Splits(
            *(
                [replace(text, labels=np.isin(every, text.labels).astype(np.int64)) for text in texts(split, labels, tokenizer)]
                for split in splits
            )
        )

    def answers(
        self, examples: Sequence[Example], texts: "Sequence[Text]", predicted: "Sequence[Logits]", labels: Sequence[str]
    ) -> list[Answer]:
        return [tuple(label for label, logit in zip(labels, logits, strict=True) if logit > 0) for logits in predicted]

    def scores(self, examples: Sequence[Example], answers: Sequence[Answer]) -> Mapping[Metric, float]:
        gold = [example.labels for example in examples]
        return {"micro_f1": metrics.micro_f1(gold, answers), "macro_f1": metrics.macro_f1(gold, answers)}

    def row(self, example: Example, answer: Answer) -> dict[str, Any]:
        return {"gold": example.labels, "predicted": answer}


class Regression(Unlabelled):
    """A text or a pair has a number. An answer is a number."""

    metrics: tuple[Metric, ...] = ("pearson", "spearman")
    max_length = 128

    def objective(self, labels: Sequence[str]) -> "Objective[Measured, MeasuredWindow, float]":
        from model.finetuning.values import Measure

        return Measure()

    def encode(self, splits: Sequence[Sequence[Example]], labels: Sequence[str], tokenizer: "Tokenizer") -> "Splits[Measured]":
        from model.finetuning.finetune import Splits
        from model.finetuning.values import Measured

        known = [_number(example) for example in splits[0]] or [0.0]
        mean, deviation = statistics.fmean(known), statistics.pstdev(known) or 1.0

        def measured(split: Sequence[Example]) -> list[Measured]:
            bare = texts([replace(example, labels=()) for example in split], (), tokenizer, paired=True)
            return [
                Measured(text.tokens, text.labels, None, text.second, _number(example), mean, deviation)
                for text, example in zip(bare, split, strict=True)
            ]

        return Splits(*map(measured, splits))

    def answers(
        self, examples: Sequence[Example], texts: "Sequence[Measured]", predicted: Sequence[float], labels: Sequence[str]
    ) -> list[float]:
        return list(predicted)

    def scores(self, examples: Sequence[Example], answers: Sequence[float]) -> Mapping[Metric, float]:
        gold = [_number(example) for example in examples]
        spearman = metrics.correlation(gold, answers, ranks=True)
        return {"pearson": metrics.correlation(gold, answers), "spearman": spearman}

    def row(self, example: Example, answer: float) -> dict[str, Any]:
        return {"gold": _number(example), "predicted": _exact(answer)}


def _exact(answer: float) -> float:
    """Return a number with all digits of float32. With fewer, close ones would tie, and the score not follow from them."""
    return float(f"{answer:.9g}")


def _number(example: Example) -> float:
    return float(example.labels[0])


class Ranking(Unlabelled):
    """A question and a candidate, right or wrong; all candidates of a question are ranked. An answer is a candidate's score."""

    metrics: tuple[Metric, ...] = ("map", "mrr")
    max_length = 128
    whole_groups = True

    def group(self, example: Example) -> str:
        return example.name

    def objective(self, labels: Sequence[str]) -> "Objective[Text, Window, Logits]":
        from model.finetuning.values import Mark

        return Mark(1)

    def encode(self, splits: Sequence[Sequence[Example]], labels: Sequence[str], tokenizer: "Tokenizer") -> "Splits[Text]":
        from model.finetuning.finetune import Splits

        return Splits(*(texts(split, ("0", "1"), tokenizer, paired=True) for split in splits))

    def answers(
        self, examples: Sequence[Example], texts: "Sequence[Text]", predicted: "Sequence[Logits]", labels: Sequence[str]
    ) -> list[float]:
        return [float(logits[0]) for logits in predicted]

    def scores(self, examples: Sequence[Example], answers: Sequence[float]) -> Mapping[Metric, float]:
        right = [example.labels == ("1",) for example in examples]
        ranked = metrics.rankings([example.name for example in examples], right, answers)
        return {"map": metrics.mean_average_precision(ranked), "mrr": metrics.mean_reciprocal_rank(ranked)}

    def row(self, example: Example, answer: float) -> dict[str, Any]:
        return {"id": example.name, "gold": example.labels[0], "predicted": _exact(answer)}
