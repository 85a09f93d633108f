"""The kinds of tasks: what is learned, what an answer is, and how answers are scored.

    kind             example                         answer                       metrics
    classification   a text                          a label                      accuracy
    labels           a text                          any number of labels         micro_f1, macro_f1
    pair             two texts                       a label                      accuracy
    regression       a text, or two                  a number                     pearson, spearman
    similarity       two texts                       a cosine                     spearman, pearson; nothing is learned
    ranking          a question, a candidate         how well it answers          map, mrr
    choice           a passage, a question, choices  one of the choices           accuracy
    tagging          characters                      a tag for each               entity_f1, token_f1
    reading          a passage, a question           a part of the passage        exact_match, f1

labelling.py    classification, pair, tagging
numbers.py      labels, regression, ranking
similarity.py   similarity
choices.py      choice
reading.py      reading
unlabelled.py   what regression, ranking, choice and reading have in common

How files become examples is in formats/. torch is imported when something is learned, not when a recipe is read.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from workflows.evaluation.examples import Example
from workflows.evaluation.kinds.choices import Choice
from workflows.evaluation.kinds.labelling import Classification, Pair, Tagging
from workflows.evaluation.kinds.numbers import Labels, Ranking, Regression
from workflows.evaluation.kinds.reading import Reading
from workflows.evaluation.kinds.similarity import Similarity
from workflows.evaluation.metrics import Metric

if TYPE_CHECKING:
    from model.finetuning.finetune import Splits
    from model.finetuning.objectives import Objective
    from workflows.inference.embedding import Tokenizer


class Kind(Protocol):
    """What tasks of a kind have in common. `Any` is a text, a window, a prediction or an answer of this kind."""

    metrics: tuple[Metric, ...]
    """What is reported unless a task says otherwise; their mean on dev chooses the best epoch."""
    other_metrics: tuple[Metric, ...]
    """What a task may ask for, too."""
    max_length: int
    """Longest input in tokens, unless the settings say otherwise."""
    labelled: bool
    """Whether the network has an output for each label of the task."""
    whole_groups: bool
    """Whether examples of a group are scored together, so that a part of them would be another task."""

    def labels(self, examples: Sequence[Example]) -> tuple[str, ...]:
        """Return the labels of training examples, sorted; their order is that of the network's outputs."""

    def group(self, example: Example) -> str:
        """Return what examples have in common that belong together when a part of them is taken."""

    def encode(self, splits: Sequence[Sequence[Example]], labels: Sequence[str], tokenizer: "Tokenizer") -> "Splits[Any]":
        """Return train, dev and test as token ids."""

    def objective(self, labels: Sequence[str]) -> "Objective[Any, Any, Any]":
        """Return what is learned."""

    def answers(
        self, examples: Sequence[Example], texts: Sequence[Any], predicted: Sequence[Any], labels: Sequence[str]
    ) -> list[Any]:
        """Return predictions as answers."""

    def scores(self, examples: Sequence[Example], answers: Sequence[Any]) -> Mapping[Metric, float]:
        """Return each metric, those that a task may ask for, too."""

    def row(self, example: Example, answer: Any) -> dict[str, Any]:
        """Return a line of the file of predictions."""


KindName = Literal["classification", "labels", "pair", "regression", "similarity", "ranking", "choice", "tagging", "reading"]
KINDS: Mapping[KindName, Kind] = {
    "classification": Classification(),
    "labels": Labels(),
    "pair": Pair(),
    "regression": Regression(),
    "similarity": Similarity(),
    "ranking": Ranking(),
    "choice": Choice(),
    "tagging": Tagging(),
    "reading": Reading(),
}
