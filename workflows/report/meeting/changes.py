"""Documents now and then: kept by source, dropped by reason, new and gone.

changes(funnel, before, now_stages, before_stages)
->  {"sources": [{"source": "news", "before": 15_637, "now": 17_122, "same": 15_601, "new": 1_521, "gone": 36}],
     "dropped": [{"name": "duplicate", "before": 96, "now": 131}], "settings": [["filters.min_characters", "8", "10"]]}

Documents are the same if their texts are equal, up to what the fingerprint of deduplication ignores. `same`, `new` and `gone`
are None where the stages of the other run are no longer there.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.engine import parquet
from pipeline.engine.stages import Finished

Row = Mapping[str, Any]
_SILENT = ("report.", "checks.", "cluster.", "gate.")
"""Settings that change neither data nor model."""


def changes(
    funnel: Sequence[Row], before: Mapping[str, Any], now_stages: Sequence[Finished], before_stages: Sequence[Finished]
) -> dict[str, Any]:
    """Return what changed since another run.

    Args:
        funnel: of this run, by source.
        before: the figures of the other run's report; its `funnel` is used.
        now_stages: documents and dedup of this run.
        before_stages: those of the other run that are still there.
    """
    now, then = ({str(row["source"]): row for row in rows} for rows in (funnel, before.get("funnel", [])))
    rows = []
    for source in dict.fromkeys([*now, *then]):
        kept = {"before": then.get(source, {}).get("kept", 0), "now": now.get(source, {}).get("kept", 0)}
        rows.append({"source": source, **kept, **_compared(source, kept, now_stages, before_stages)})
    return {
        "sources": rows,
        "characters": {"before": _characters(then.values()), "now": _characters(now.values())},
        "dropped": _dropped(then.values(), now.values()),
    }


def settings(now: Sequence[Sequence[str]], before: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the settings of a recipe that are others now: name, value then, value now."""
    one, other = ({name: value for name, value in pairs if not name.startswith(_SILENT)} for pairs in (now, before))
    names = dict.fromkeys([*one, *other])
    return [[name, other.get(name, ""), one.get(name, "")] for name in names if one.get(name, "") != other.get(name, "")]


def _characters(rows: Any) -> int:
    return sum(row.get("characters", {}).get("kept", 0) for row in rows)


def _dropped(then: Any, now: Any) -> list[dict[str, Any]]:
    """Return how many records each reason dropped, the largest differences first."""
    sums = []
    for rows in (then, now):
        found: Counter[str] = Counter()
        for row in rows:
            for table in ("skipped", "bad", "dropped"):
                found.update(row.get(table, {}))
            found["empty"] += row.get("empty", 0)
        sums.append(found)
    rows = [{"name": name, "before": sums[0][name], "now": sums[1][name]} for name in dict.fromkeys([*sums[0], *sums[1]])]
    rows = [row for row in rows if row["before"] or row["now"]]
    return sorted(rows, key=lambda row: (-abs(row["now"] - row["before"]), -row["now"], row["name"]))


def _compared(source: str, kept: Row, now: Sequence[Finished], before: Sequence[Finished]) -> dict[str, Any]:
    """Count the kept documents of a source that both runs have, and those of one alone."""
    unknown = {"same": None, "new": None, "gone": None}
    sides = []
    for number, stages in ((kept["now"], now), (kept["before"], before)):
        documents = next((stage for stage in stages if stage.kind == "documents" and stage.source == source), None)
        if documents is None and number:
            return unknown
        dedup = next((stage for stage in stages if stage.kind == "dedup"), None)
        sides.append(_fingerprints(documents, dedup))
    same = int(np.intersect1d(sides[0], sides[1], assume_unique=True).size)
    return {"same": same, "new": int(sides[0].size) - same, "gone": int(sides[1].size) - same}


def _fingerprints(documents: Finished | None, dedup: Finished | None) -> npt.NDArray[np.uint64]:
    """Return (documents,) the fingerprints of the kept documents of a source, sorted, each once.

    Half of each is read: of a hundred million documents, one in a billion pairs would meet by chance.
    """
    if documents is None:
        return np.zeros(0, np.uint64)
    dropped = np.zeros(0, np.uint64)
    if dedup is not None and dedup.files(name := f"dropped_{documents.source}.parquet"):
        dropped = parquet.read(dedup.file(name), ["id"])["id"].to_numpy()
    found = []
    for entry in documents.files("part-", ".parquet"):
        table = parquet.read(documents.file(entry["name"]), ["id", "fingerprint"]).combine_chunks()
        for batch in table.to_batches():
            column = batch.column("fingerprint")
            words = np.frombuffer(column.buffers()[1], np.uint64)[2 * column.offset : 2 * (column.offset + len(column))]
            found.append(words[::2][~np.isin(batch.column("id").to_numpy(), dropped)])
    return np.unique(np.concatenate(found)) if found else np.zeros(0, np.uint64)
