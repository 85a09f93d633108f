"""`[replay]` of a recipe: old text in a training that starts from a network."""

from dataclasses import dataclass

from pipeline.validation import check_ranges

CHAMPION = "champion"
"""`[training] start_from`: the champion of the registry."""


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """`[replay]`: what a network that training starts from was trained on, mixed into the new text."""

    ratio: float = 0.2
    """Ratio of the sequences of each phase that are old text, where there is some. 0: the loss on old text is only measured."""
    data: str = ""
    """Where old text is: an output folder of `run`, or the folder of an export or a checkpoint in one. Empty: what the champion
    was trained on, with `start_from = "champion"`; otherwise none."""

    def __post_init__(self) -> None:
        check_ranges(self, ratio=(0, 1))
        if self.ratio == 1:
            raise ValueError("ratio 1 leaves no new text; give less than 1")
