"""Multiple choice: which of some texts answers a question about a passage, or fits into it.

An example's items are the passage, the question ("" if the passage asks itself), and the choices; its label is the number of
the right one, from 0.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workflows.evaluation import metrics
from workflows.evaluation.examples import Example
from workflows.evaluation.kinds.unlabelled import Unlabelled
from workflows.evaluation.metrics import Metric

if TYPE_CHECKING:
    from model.finetuning.choices import Question, Window
    from model.finetuning.finetune import Splits
    from model.finetuning.objectives import Objective
    from model.finetuning.values import Logits
    from workflows.inference.embedding import Tokenizer


class Choice(Unlabelled):
    """A passage, a question and choices. An answer is the score of each choice."""

    metrics: tuple[Metric, ...] = ("accuracy",)
    max_length = 512

    def objective(self, labels: Sequence[str]) -> "Objective[Question, Window, Logits]":
        from model.finetuning.choices import Choose

        return Choose()

    def encode(self, splits: Sequence[Sequence[Example]], labels: Sequence[str], tokenizer: "Tokenizer") -> "Splits[Question]":
        from model.finetuning.finetune import Splits

        return Splits(*(_questions(split, tokenizer) for split in splits))

    def answers(
        self, examples: Sequence[Example], texts: "Sequence[Question]", predicted: "Sequence[Logits]", labels: Sequence[str]
    ) -> list[tuple[float, ...]]:
        return [tuple(scores.tolist()) for scores in predicted]

    def scores(self, examples: Sequence[Example], answers: Sequence[tuple[float, ...]]) -> Mapping[Metric, float]:
        gold, best = [example.labels[0] for example in examples], [str(_best(answer)) for answer in answers]
        return {"accuracy": metrics.accuracy(gold, best)}

    def row(self, example: Example, answer: tuple[float, ...]) -> dict[str, Any]:
        choices, scores = example.items[2:], [round(score, 4) for score in answer]
        return {
            "id": example.name,
            "gold": choices[int(example.labels[0])],
            "predicted": choices[_best(answer)],
            "choices": [{"text": text, "score": score} for text, score in zip(choices, scores, strict=True)],
        }


def _best(answer: Sequence[float]) -> int:
    return max(range(len(answer)), key=answer.__getitem__)


def _questions(split: Sequence[Example], tokenizer: "Tokenizer") -> "list[Question]":
    import numpy as np

    from model.finetuning.choices import Question

    items = list(dict.fromkeys(item for example in split for item in example.items))
    tokens = {item: one.ids.astype(np.int64) for item, one in zip(items, tokenizer.encode_batch(items), strict=True)}
    questions = []
    for example in split:
        passage, question, *choices = (tokens[item] for item in example.items)
        questions.append(Question(passage, question, tuple(choices), int(example.labels[0])))
    return questions
