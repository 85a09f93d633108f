"""The kept documents of a source, without their repeated paragraphs: what later stages read."""

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dedup import paragraphs
from pipeline.documents.table import read_part
from pipeline.engine import parquet
from pipeline.engine.stages import Finished


def decision_files(source: str) -> list[str]:
    """Return the files of `dedup` that say what is kept of a source. Stages that depend only on these survive new sources."""
    return [f"{kind}_{source}.parquet" for kind in ("dropped", "paragraphs")]


def kept_documents(documents: Finished, decisions: Finished, part: str) -> pa.Table:
    """Read the documents of a part that are not dropped, without their repeated paragraphs: id, title, text."""
    table = read_part(documents, part, ["id", "title", "text"])
    dropped, lines = (decisions.file(name) for name in decision_files(documents.source))
    table = table.filter(pc.invert(pc.is_in(table["id"], paragraphs.ids_between(dropped, table["id"]))))
    if not len(table):
        return table
    # Everything is sorted by id, so only row groups in the range of this part are read.
    removed = parquet.read_between(lines, "id", table["id"][0].as_py(), table["id"][-1].as_py(), ["id", "ordinal"])
    if not len(removed):
        return table
    return table.set_column(2, "text", paragraphs.without(table["text"], table["id"].to_numpy(), removed))
