"""Which texts that models are scored on are in documents that a model was trained on.

The stage `contamination` noted, for each document and each evaluation file, the text of the file that has most n-grams in
common with it. Documents that contain such a text nearly whole were dropped; of those that were kept, some have a part of one.
A text counts as contaminated here if a fifth of its n-grams are in one document that was kept. Source of the fifth: Llama 2
(2023), A.6, where an example is not clean from there on.

Texts are known by a digest of their start, as in predictions. Only the nearest text of each document and file was noted, so
these are the contaminated texts at least, not at most.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipeline.engine import parquet
from pipeline.engine.stages import Finished
from workflows.evaluation.examples import start_digest
from workflows.registry import lineage

MIN_RATIO = 0.2
"""N-grams of a text that a document has, as a ratio to all of the text."""


def contaminated(stages: Sequence[Finished]) -> list[str] | None:
    """Return the digests of the starts of contaminated texts; None if nothing was compared with evaluation texts.

    Those of the models that training started from, one after another, are among them; None if it is unknown for one of these.

    Args:
        stages: what the model was made from.
    """
    own = _of_documents(stages)
    if own is None or (before := lineage.before(stages)) is None:
        return own
    older = contaminated(before) if before else None
    return None if older is None else sorted({*own, *older})


def _of_documents(stages: Sequence[Finished]) -> list[str] | None:
    compared = [stage for stage in stages if stage.kind == "contamination"]
    if not compared:
        return None
    decisions = next((stage for stage in stages if stage.kind == "dedup"), None)
    found: set[str] = set()
    for stage in compared:
        dropped = np.zeros(0, np.uint64)
        if decisions is not None:
            dropped = parquet.read(decisions.file(f"dropped_{stage.source}.parquet"), ["id"])["id"].to_numpy()
        for entry in stage.files("part-", ".parquet"):
            matches = parquet.read(stage.file(entry["name"]))
            matches = matches.filter(pa.array(matches["share"].to_numpy() >= np.float32(MIN_RATIO)))
            kept = matches.filter(pa.array(~np.isin(matches["id"].to_numpy(), dropped)))
            found.update(start_digest(text) for text in kept["text"].to_pylist())
    return sorted(found)
