"""The result of a benchmark: a measurement with its baseline.

    Measurement(name="prepare/all-stages/1-worker", value=1.42, unit="MB/s", baseline=0.61)     ratio 2.33: more is better
    Measurement(name="run/second", value=2.0, unit="s", baseline=3.0)                           ratio 1.5: less is better

The ratio is ours / baseline, or baseline / ours for seconds and memory, so above 1 always means that ours is better. Names are
stable, so that results of different days can be compared.
"""

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.engine.execution import cpus

LESS_IS_BETTER = frozenset({"s", "GB"})
MORE_IS_BETTER = frozenset({"MB/s", "tokens/s", "%"})


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A measured value."""

    name: str
    value: float
    unit: str
    baseline: float | None = None
    """The peer's value, measured in the same call. None: there is no peer, or it is missing, in which case `note` says why."""
    workers: int = 1
    """Worker processes of ours."""
    note: str = ""
    """What a reader of the table must know; not in the JSON."""

    def __post_init__(self) -> None:
        assert self.unit in LESS_IS_BETTER | MORE_IS_BETTER, f"is more or less of {self.unit} better?"

    @property
    def ratio(self) -> float | None:
        """How many times better than the baseline; None without one."""
        if self.baseline is None:
            return None
        return self.baseline / self.value if self.unit in LESS_IS_BETTER else self.value / self.baseline

    def to_json(self) -> str:
        """Return one line of JSON, numbers rounded to four digits."""
        content = {
            "name": self.name,
            "value": _digits(self.value),
            "unit": self.unit,
            "baseline": _digits(self.baseline),
            "ratio": _digits(self.ratio),
            "workers": self.workers,
            "machine": machine(),
        }
        return json.dumps(content, ensure_ascii=False)


def _digits(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


@cache
def machine() -> str:
    """Return `AMD EPYC, 2 cores, Python 3.11.7`, and the GPUs if there are any."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = " ".join((named[0] if named else platform.processor() or platform.machine()).split())
    return ", ".join([processor, f"{cpus()} cores", f"Python {platform.python_version()}", *_gpus()])


def _gpus() -> list[str]:
    """Return the names of the GPUs as listed by the driver; importing torch would take a second."""
    folder = Path("/proc/driver/nvidia/gpus")
    entries = sorted(folder.glob("*/information")) if folder.is_dir() else []
    lines = [line for entry in entries for line in entry.read_text().splitlines()]
    return [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]


def show(measurements: Sequence[Measurement]) -> None:
    """Print the measurements as a table, followed by their notes."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    view = Table("name", title=machine(), box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    for column in ("value", "unit", "baseline", "ratio", "workers"):
        view.add_column(column, justify="left" if column == "unit" else "right")
    for row in measurements:
        numbers = ("-" if number is None else f"{number:,.4g}" for number in (row.baseline, row.ratio))
        view.add_row(row.name, f"{row.value:,.4g}", row.unit, *numbers, str(row.workers))
    console = Console(markup=False, highlight=False)
    console.print(view)
    for row in measurements:
        if row.note:
            console.print(f"{row.name}: {row.note}", soft_wrap=True)
