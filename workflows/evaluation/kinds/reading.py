"""Reading comprehension: questions about passages, whose answers are parts of the passage.

An example's items are passage and question, its labels the gold answers. The first of them is what is learned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workflows.evaluation import metrics
from workflows.evaluation.examples import Example
from workflows.evaluation.kinds.unlabelled import Unlabelled
from workflows.evaluation.metrics import Metric

if TYPE_CHECKING:
    from model.finetuning.finetune import Splits
    from model.finetuning.objectives import Objective
    from model.finetuning.reading import Question, Span, Window
    from pipeline.tokenization.wordpiece import EncodedText
    from workflows.inference.embedding import Tokenizer


@dataclass(frozen=True)
class Guess:
    """A part of a passage that may be the answer."""

    text: str
    score: float
    """A log-probability."""


class Reading(Unlabelled):
    """A question about a passage. An answer is the guesses of a question, best first."""

    metrics: tuple[Metric, ...] = ("exact_match", "f1")
    max_length = 384

    def objective(self, labels: Sequence[str]) -> "Objective[Question, Window, tuple[Span, ...]]":
        from model.finetuning.reading import Read

        return Read()

    def encode(self, splits: Sequence[Sequence[Example]], labels: Sequence[str], tokenizer: "Tokenizer") -> "Splits[Question]":
        from model.finetuning.finetune import Splits

        return Splits(*(_questions(split, tokenizer) for split in splits))

    def answers(
        self,
        examples: Sequence[Example],
        texts: "Sequence[Question]",
        predicted: "Sequence[Sequence[Span]]",
        labels: Sequence[str],
    ) -> list[tuple[Guess, ...]]:
        """Return the texts of spans, each once, with its best score."""
        found = []
        for example, question, spans in zip(examples, texts, predicted, strict=True):
            guesses: dict[str, float] = {}
            for span in spans:
                text = example.items[0][question.offsets[span.first, 0] : question.offsets[span.last, 1]].strip()
                guesses.setdefault(text, span.score)
            guesses.pop("", None)
            found.append(tuple(Guess(text, score) for text, score in guesses.items()))
        return found

    def scores(self, examples: Sequence[Example], answers: Sequence[tuple[Guess, ...]]) -> Mapping[Metric, float]:
        gold, best = [example.labels for example in examples], [_best(answer) for answer in answers]
        return {"exact_match": metrics.exact_match(gold, best), "f1": metrics.answer_f1(gold, best)}

    def row(self, example: Example, answer: tuple[Guess, ...]) -> dict[str, Any]:
        best = [{"text": guess.text, "score": round(guess.score, 4)} for guess in answer]
        return {"id": example.name, "gold": example.labels, "predicted": _best(answer), "best": best}


def _best(answer: Sequence[Guess]) -> str:
    return answer[0].text if answer else ""


def _questions(split: Sequence[Example], tokenizer: "Tokenizer") -> "list[Question]":
    import numpy as np

    from model.finetuning.reading import Question

    texts = list(dict.fromkeys(item for example in split for item in example.items))
    encoded = dict(zip(texts, tokenizer.encode_batch(texts), strict=True))
    questions = []
    for example in split:
        passage, question = (encoded[item] for item in example.items)
        answer = None if example.start is None else _tokens(passage, example.start, len(example.labels[0]))
        tokens, ids = question.ids.astype(np.int64), passage.ids.astype(np.int64)
        questions.append(Question(tokens, ids, passage.offsets, answer))
    return questions


def _tokens(passage: "EncodedText", start: int, length: int) -> tuple[int, int] | None:
    """Return the first and the last token that have a character of an answer; None if none has one."""
    import numpy as np

    inside = np.flatnonzero((passage.offsets[:, 1] > start) & (passage.offsets[:, 0] < start + length))
    return (int(inside[0]), int(inside[-1])) if len(inside) else None
