"""Labels for texts, for pairs of texts and for characters: three kinds of tasks.

海 钓 厦 门   ->   tokens [1207, 895, 412, 633], firsts [0, 1, 2, 3], labels [6, 6, 0, 2]
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from workflows.evaluation import metrics
from workflows.evaluation.examples import Example
from workflows.evaluation.metrics import Metric

if TYPE_CHECKING:
    from model.finetuning.finetune import Splits
    from model.finetuning.objectives import Objective
    from model.finetuning.windows import Text, Window
    from pipeline.arrays import Ints
    from workflows.inference.embedding import Tokenizer

Answer = tuple[str, ...]
"""One label, or one for each item."""


class Classification:
    """A text has one label."""

    metrics: tuple[Metric, ...] = ("accuracy",)
    other_metrics: tuple[Metric, ...] = ("macro_f1",)
    max_length = 128
    labelled = True
    whole_groups = False
    tagging: ClassVar[bool] = False
    paired: ClassVar[bool] = False

    def labels(self, examples: Sequence[Example]) -> tuple[str, ...]:
        return tuple(sorted({label for example in examples for label in example.labels}))

    def group(self, example: Example) -> str:
        return example.text

    def objective(self, labels: Sequence[str]) -> "Objective[Text, Window, Ints]":
        from model.finetuning.objectives import Classify

        return Classify(len(labels))

    def encode(self, splits: Sequence[Sequence[Example]], labels: Sequence[str], tokenizer: "Tokenizer") -> "Splits[Text]":
        from model.finetuning.finetune import Splits

        return Splits(*(texts(split, labels, tokenizer, self.tagging, self.paired) for split in splits))

    def answers(
        self, examples: Sequence[Example], texts: "Sequence[Text]", predicted: "Sequence[Ints]", labels: Sequence[str]
    ) -> list[Answer]:
        """Return the labels. An item without a token (a control character) has number -1 and label O."""
        return [tuple("O" if number < 0 else labels[number] for number in numbers.tolist()) for numbers in predicted]

    def scores(self, examples: Sequence[Example], answers: Sequence[Answer]) -> Mapping[Metric, float]:
        gold = [one.labels for one in examples]
        accuracy = metrics.accuracy([labels[0] for labels in gold], [answer[0] for answer in answers])
        return {"accuracy": accuracy, "macro_f1": metrics.macro_f1(gold, answers)}

    def row(self, example: Example, answer: Answer) -> dict[str, Any]:
        return {"gold": example.labels[0], "predicted": answer[0]}


class Pair(Classification):
    """A pair of texts has one label."""

    paired = True


class Tagging(Classification):
    """Each item of a sentence has a BIO tag."""

    metrics: tuple[Metric, ...] = ("entity_f1", "token_f1")
    other_metrics: tuple[Metric, ...] = ()
    tagging = True

    def labels(self, examples: Sequence[Example]) -> tuple[str, ...]:
        """Return O, and B- and I- of every type that begins somewhere."""
        types = {label[2:] for example in examples for label in example.labels if label != "O"}
        return tuple(sorted({"O", *(f"{mark}-{name}" for name in types for mark in "BI")}))

    def objective(self, labels: Sequence[str]) -> "Objective[Text, Window, Ints]":
        from model.finetuning.objectives import Tag

        return Tag(len(labels))

    def scores(self, examples: Sequence[Example], answers: Sequence[Answer]) -> Mapping[Metric, float]:
        gold = [example.labels for example in examples]
        return {"entity_f1": metrics.entity_f1(gold, answers), "token_f1": metrics.token_f1(gold, answers)}

    def row(self, example: Example, answer: Answer) -> dict[str, Any]:
        return {"gold": example.labels, "predicted": answer}


def texts(
    split: Sequence[Example],
    labels: Sequence[str],
    tokenizer: "Tokenizer",
    tagging: bool = False,
    paired: bool = False,
) -> "list[Text]":
    """Encode examples.

    Items are encoded one by one, so that each character of a tagged sentence has a token of its own: encoded together,
    1 9 9 8 would become one token, with one label.
    """
    import numpy as np

    from model.finetuning.windows import Text

    numbers = {label: number for number, label in enumerate(labels)}
    # Encode each distinct item once.
    items = list(dict.fromkeys(item for example in split for item in example.items))
    tokens = {item: one.ids.astype(np.int64) for item, one in zip(items, tokenizer.encode_batch(items), strict=True)}
    found = []
    for example in split:
        parts = [tokens[item] for item in example.items]
        lengths = np.array([len(ids) for ids in parts])
        # Where each item's first token is; -1 for an item without tokens.
        firsts = np.where(lengths > 0, lengths.cumsum() - lengths, -1) if tagging else None
        second = parts.pop() if paired and len(parts) > 1 else None
        chosen = np.array([numbers[label] for label in example.labels], np.int64)
        found.append(Text(np.concatenate(parts), chosen, firsts, second))
    return found
