"""What the decisions leave of a source: its kept documents, without the paragraphs that go."""

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dedup import paragraphs
from pipeline.documents.table import read_part
from pipeline.engine import parquet
from pipeline.engine.stages import (
    Finished,
)


def decision_files(source: str) -> list[str]:
    """The files that say what is kept of a source: what stands on these alone is not redone for another source."""
    return [f"{kind}_{source}.parquet" for kind in ("dropped", "paragraphs")]


def kept_documents(documents: Finished, decisions: Finished, part: str) -> pa.Table:
    """The documents of one part that are not dropped, without the paragraphs that go: id, title, text."""
    table = read_part(documents, part, ["id", "title", "text"])
    dropped, lines = (decisions.file(name) for name in decision_files(documents.manifest["source"]))
    table = table.filter(pc.invert(pc.is_in(table["id"], paragraphs.ids_between(dropped, table["id"]))))
    if not len(table):
        return table
    # All are sorted by id: only the row groups of this range are read.
    gone = parquet.read_between(lines, "id", table["id"][0].as_py(), table["id"][-1].as_py(), ["id", "ordinal"])
    return table.set_column(2, "text", paragraphs.without(table["text"], table["id"].to_numpy(), gone)) if len(gone) else table
