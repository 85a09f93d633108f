"""What a check found."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.redaction import redact

Level = Literal["ok", "warning", "error"]
"""`error`: it would break a run."""
Topic = Literal["machines", "token", "versions", "clocks", "output", "disk", "gpus", "priority", "network"]
"""What was looked at."""


@dataclass(frozen=True)
class Finding:
    """One line of the result."""

    level: Level
    topic: Topic
    text: str
    hosts: tuple[str, ...] = ()
    """The machines that it is about; empty: all."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", redact(self.text))

    def __str__(self) -> str:
        where = f"{', '.join(self.hosts)}: " if self.hosts else ""
        return f"{self.level:<7}  {where}{self.text}"


def together(problems: Mapping[str, str]) -> Iterable[tuple[tuple[str, ...], str]]:
    """Bring hosts with the same problem together. `problems`: by host."""
    hosts: dict[str, list[str]] = defaultdict(list)
    for host, problem in problems.items():
        hosts[problem].append(host)
    return [(tuple(names), problem) for problem, names in hosts.items()]
