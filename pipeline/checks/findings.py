"""Problems of one file: the rules that its rows break, one line per rule.

    findings = Findings("runs/shards_news_128-1b2d4e3f9a0c/train-00000.arrow")
    findings.demand("the last token is not [SEP]", ids[last] != sep)
    findings.lines()      ["runs/.../train-00000.arrow: rows 5, 9, 12 and 37 more: the last token is not [SEP]"]

A file with a million broken rows gives as many lines as there are broken rules.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline import storage
from pipeline.engine.stages import Finished

ROWS_NAMED = 3
"""Rows listed per rule; the others are counted."""
BATCH_ROWS = 4_096
"""Rows read from a Parquet file at a time."""


@dataclass
class Findings:
    """Problems of one file, collected while its rows are read."""

    url: str
    row: int = 0
    """Number of the first row of the current batch."""
    _last: int = -1
    _last_ordinal: int = -1
    _broken: dict[str, tuple[list[int], int]] = field(default_factory=dict)
    _problems: list[str] = field(default_factory=list)

    def demand(self, rule: str, broken: NDArray[np.bool_], rows: NDArray[Any] | None = None) -> None:
        """Record where a rule is broken.

        Args:
            rule: the problem, as in the line of text.
            broken: (n,) a flag per row of the batch, or per item.
            rows: (n,) the row of each item.
        """
        if not broken.any():
            return
        places = np.flatnonzero(broken) if rows is None else np.unique(rows[broken])
        named, number = self._broken.get(rule, ([], 0))
        named = named + (places[: ROWS_NAMED - len(named)] + self.row).tolist()
        self._broken[rule] = named, number + len(places)

    def increasing(self, ids: NDArray[np.uint64], *, once: bool = True, ordinals: NDArray[Any] | None = None) -> None:
        """Demand that ids increase over all batches; without `once` they may repeat, and then their `ordinals` increase."""
        if len(ids):
            broken = np.append(False, ids[1:] < ids[:-1])
            repeated = np.append(False, ids[1:] == ids[:-1])
            broken[0], repeated[0] = int(ids[0]) < self._last, int(ids[0]) == self._last
            self.demand("its id is smaller than the previous one", broken)
            self.demand("its id repeats that of the previous row", repeated & once)
            if ordinals is not None:
                before = np.append(self._last_ordinal, ordinals[:-1].astype(np.int64))
                self.demand("its ordinal is not greater than the previous one", repeated & (ordinals <= before))
                self._last_ordinal = int(ordinals[-1])
            self._last = int(ids[-1])

    def parquet(self, schema: pa.Schema, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Yield some columns of a Parquet file batch by batch; none if its columns are not those of `schema`."""
        with storage.open_read(self.url) as source:
            file = pq.ParquetFile(source)
            if not file.schema_arrow.equals(schema):
                return self.add(f"its columns are not {', '.join(schema.names)}, or have other types")
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
                missing = [name for name in columns if batch[name].null_count and not schema.field(name).nullable]
                if missing:
                    return self.add(f"{', '.join(missing)}: a value is missing")
                yield batch
                self.row += batch.num_rows

    def done(self, entry: Mapping[str, Any]) -> list[str]:
        """Return all lines, after the last row; also compare the number of rows with the manifest's entry."""
        if not self.lines() and self.row != entry["rows"]:
            self.add(different("rows", self.row, entry["rows"]))
        return self.lines()

    def add(self, problem: str) -> None:
        """Record a problem of the file as a whole."""
        self._problems.append(problem)

    def lines(self) -> list[str]:
        """Return one line per problem so far."""
        found = [f"{self.url}: {problem}" for problem in self._problems]
        for rule, (rows, number) in self._broken.items():
            more = f" and {number - len(rows):,} more" if number > len(rows) else ""
            found.append(f"{self.url}: row{'s' * (number > 1)} {', '.join(map(str, rows))}{more}: {rule}")
        return found


def differences(stage: Finished, counted: Mapping[str, Any], recorded: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return one line per number that differs from the manifest's; numbers that are not in the manifest are skipped."""
    wrong = {name: number for name, number in counted.items() if name in recorded and recorded[name] != number}
    return [f"{stage.url}: {different(prefix + name, number, recorded[name])}" for name, number in wrong.items()]


def different(what: str, counted: Any, recorded: Any) -> str:
    """`tokens: the files hold 812, the manifest says 813`."""
    shown = [f"{value:,}" if isinstance(value, int) else str(value) for value in (counted, recorded)]
    return f"{what}: the files hold {shown[0]}, the manifest says {shown[1]}"
