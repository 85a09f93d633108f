"""What is wrong in a file: the rules that its rows break, each as one line.

    findings = Findings("runs/shards_news_128-1b2d4e3f9a0c/train-00000.arrow")
    findings.demand("the last token is not [SEP]", ids[last] != sep)
    findings.lines()      ["runs/.../train-00000.arrow: rows 5, 9, 12 and 37 more: the last token is not [SEP]"]

A file of a million broken rows is told in as few lines as there are rules.
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
"""Rows that are named for each rule; others are counted."""
BATCH_ROWS = 4_096
"""Rows of a Parquet file that are held."""


@dataclass
class Findings:
    """What is wrong in one file, met while its rows go by."""

    url: str
    row: int = 0
    """Rows that have gone by: the first row of the batch at hand."""
    _last: int = -1
    _last_ordinal: int = -1
    _broken: dict[str, tuple[list[int], int]] = field(default_factory=dict)
    _said: list[str] = field(default_factory=list)

    def demand(self, rule: str, broken: NDArray[np.bool_], rows: NDArray[Any] | None = None) -> None:
        """Note where a rule is broken.

        Args:
            rule: what is wrong there.
            broken: a flag for each row of the batch, or for each item of which `rows` has the row.
        """
        if not broken.any():
            return
        places = np.flatnonzero(broken) if rows is None else np.unique(rows[broken])
        named, number = self._broken.get(rule, ([], 0))
        named = named + (places[: ROWS_NAMED - len(named)] + self.row).tolist()
        self._broken[rule] = named, number + len(places)

    def rising(self, ids: NDArray[np.uint64], *, once: bool = True, ordinals: NDArray[Any] | None = None) -> None:
        """Demand that ids rise, over all batches; each may stand several times unless `once`, and then its `ordinals` rise."""
        if len(ids):
            broken = np.append(False, ids[1:] < ids[:-1])
            again = np.append(False, ids[1:] == ids[:-1])
            broken[0], again[0] = int(ids[0]) < self._last, int(ids[0]) == self._last
            self.demand("its id is smaller than the one before", broken)
            self.demand("its id is that of the row before", again & once)
            if ordinals is not None:
                before = np.append(self._last_ordinal, ordinals[:-1].astype(np.int64))
                self.demand("its ordinal is not greater than that of the row before", again & (ordinals <= before))
                self._last_ordinal = int(ordinals[-1])
            self._last = int(ids[-1])

    def parquet(self, schema: pa.Schema, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Some columns of a Parquet file, batch by batch; none where its columns are not those of `schema`."""
        with storage.open_read(self.url) as source:
            file = pq.ParquetFile(source)
            if not file.schema_arrow.equals(schema):
                return self.say(f"its columns are not {', '.join(schema.names)}, or not of their types")
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
                missing = [name for name in columns if batch[name].null_count and not schema.field(name).nullable]
                if missing:
                    return self.say(f"{', '.join(missing)}: a value is missing")
                yield batch
                self.row += batch.num_rows

    def done(self, entry: Mapping[str, Any]) -> list[str]:
        """All lines, after the last row of the file of a manifest's entry."""
        if not self.lines() and self.row != entry["rows"]:
            self.say(different("rows", self.row, entry["rows"]))
        return self.lines()

    def say(self, what: str) -> None:
        """Note what is wrong with the file as a whole."""
        self._said.append(what)

    def lines(self) -> list[str]:
        """One line for each thing that is wrong; empty = all is well."""
        found = [f"{self.url}: {what}" for what in self._said]
        for rule, (rows, number) in self._broken.items():
            more = f" and {number - len(rows):,} more" if number > len(rows) else ""
            found.append(f"{self.url}: row{'s' * (number > 1)} {', '.join(map(str, rows))}{more}: {rule}")
        return found


def differences(stage: Finished, counted: Mapping[str, Any], told: Mapping[str, Any], of: str = "") -> list[str]:
    """Numbers that the manifest tells otherwise; those that it does not tell are passed over."""
    wrong = {name: number for name, number in counted.items() if name in told and told[name] != number}
    return [f"{stage.url}: {different(of + name, number, told[name])}" for name, number in wrong.items()]


def different(what: str, counted: Any, told: Any) -> str:
    """`tokens: the files hold 812, the manifest says 813`."""
    shown = [f"{value:,}" if isinstance(value, int) else str(value) for value in (counted, told)]
    return f"{what}: the files hold {shown[0]}, the manifest says {shown[1]}"
