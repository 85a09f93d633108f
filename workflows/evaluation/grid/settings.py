"""How each task is fine-tuned: the settings of `[evaluation]`, changed by a preset, by the task, and by the point of a grid.

points(GridConfig(learning_rate=(2e-5, 3e-5), batch_size=(16, 32)))
->  {"learning_rate": 2e-5, "batch_size": 16}, {"learning_rate": 2e-5, "batch_size": 32}, ...
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from types import SimpleNamespace
from typing import Any

from pipeline.validation import check_ranges


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """`[evaluation.settings.TASK]`: how one task is fine-tuned, where that differs from `[evaluation]` and from its preset."""

    epochs: int | None = None
    """Passes over the training examples."""
    batch_size: int | None = None
    """Examples per step."""
    learning_rate: float | None = None
    """Peak learning rate."""
    max_length: int | None = None
    """Longest input, in tokens."""

    def __post_init__(self) -> None:
        check_values(self.given)

    @property
    def given(self) -> dict[str, Any]:
        """The settings that are given."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class GridConfig:
    """`[evaluation.grid]`: values to try, each with each. The best of them on dev counts, for each model and task."""

    epochs: tuple[int, ...] = ()
    """Passes over the training examples. Note that the best epoch of a run counts anyway."""
    batch_size: tuple[int, ...] = ()
    """Examples per step."""
    learning_rate: tuple[float, ...] = ()
    """Peak learning rates: `[2e-5, 3e-5, 5e-5]`."""
    max_length: tuple[int, ...] = ()
    """Longest inputs, in tokens."""

    def __post_init__(self) -> None:
        for name, values in asdict(self).items():
            if len(set(values)) < len(values):
                raise ValueError(f"{name} has a value twice: {', '.join(map(str, values))}")
            for value in values:
                check_values({name: value})


NAMES = tuple(field.name for field in fields(GridConfig))
"""Settings that tasks and grids may have."""


def check_values(settings: Mapping[str, Any]) -> None:
    """Raise ValueError for settings that cannot be."""
    ranges = {"epochs": (1, math.inf), "batch_size": (1, math.inf), "learning_rate": (0, math.inf), "max_length": (4, math.inf)}
    check_ranges(SimpleNamespace(**settings), **{name: ranges[name] for name in settings})


def points(grid: GridConfig) -> list[dict[str, Any]]:
    """Return the points of a grid, one after another; without values, one point that changes nothing."""
    values = {name: among for name, among in asdict(grid).items() if among}
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


def point_name(point: Mapping[str, Any]) -> str:
    """Return a point as part of a file's name: `-learning_rate=3e-05-batch_size=16`."""
    return "".join(f"-{name}={value:g}" for name, value in point.items())


def read_grid(given: Sequence[str]) -> GridConfig:
    """Parse `learning_rate=2e-5,3e-5` and the like, each of which names another setting.

    Raises: ValueError in one line.
    """
    values: dict[str, tuple[Any, ...]] = {}
    for text in given:
        name, equals, listed = text.partition("=")
        if not equals or name not in NAMES:
            raise ValueError(f"--grid {text}: write it as SETTING=VALUE,VALUE; settings: {', '.join(NAMES)}")
        if name in values:
            raise ValueError(f"--grid {text}: {name} is given twice; list all its values in one --grid")
        kind = float if name == "learning_rate" else int
        try:
            values[name] = tuple(kind(value) for value in listed.split(","))
        except ValueError:
            what = "numbers" if kind is float else "whole numbers"
            raise ValueError(f"--grid {text}: the values of {name} are {what}, with commas between them") from None
    try:
        return GridConfig(**values)
    except ValueError as error:
        raise ValueError(f"--grid: {error}") from None


def _table_3(**batch_sizes: int) -> dict[str, TaskSettings]:
    rest = {"cmrc2018": (384, 2), "xnli": (128, 3), "lcqmc": (128, 5), "peoples_daily_ner": (256, 5), "chnsenticorp": (128, 10)}
    return {
        task: TaskSettings(epochs=epochs, batch_size=batch_sizes[task], learning_rate=3e-5, max_length=length)
        for task, (length, epochs) in rest.items()
    }


PRESETS: Mapping[str, Mapping[str, TaskSettings]] = {
    "nezha-2019": _table_3(cmrc2018=16, xnli=64, lcqmc=64, peoples_daily_ner=64, chnsenticorp=64),
    "nezha-2019-large": _table_3(cmrc2018=72, xnli=32, lcqmc=32, peoples_daily_ner=16, chnsenticorp=16),
}
"""Settings by task. Source of both: NEZHA, arXiv:1909.00204v3, table 3 (base and large)."""


def preset(name: str) -> Mapping[str, TaskSettings]:
    """Return the settings of a preset by task; none for "".

    Raises: ValueError for an unknown name.
    """
    if not name:
        return {}
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]
