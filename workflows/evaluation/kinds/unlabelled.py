"""What kinds of tasks without labels have in common."""

from collections.abc import Sequence

from workflows.evaluation.examples import Example
from workflows.evaluation.metrics import Metric


class Unlabelled:
    """The network has no output for each label of the task, and examples of one text belong together."""

    other_metrics: tuple[Metric, ...] = ()
    labelled = False
    whole_groups = False

    def labels(self, examples: Sequence[Example]) -> tuple[str, ...]:
        return ()

    def group(self, example: Example) -> str:
        return example.text
