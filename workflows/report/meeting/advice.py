"""What to decide: promote, keep the champion, or score again. From the verdict, as data; sentences.py has the words.

advice(...)  ->  {"advice": "promote", "because": "better", "seeds": None, "champion": "tiny-5d0c"}

advice       because
promote      better       better than the champion, and nowhere worse than the margin
             no worse     that was enough (`gate.require`)
             first        there is no champion, and pretraining helps
keep         worse        on some task worse than the margin
             no better    nowhere better, nowhere worse
             licence      a licence forbids the use
             useless      there is no champion, and pretraining does not help
repeat       seeds        more seeds would tell
             examples     no number of seeds would: the test set is too small
             settings     scored on other examples, or with other settings
             one seed     nothing is known of the spread
measure      unscored     no scores
"""

from collections.abc import Mapping, Sequence
from typing import Any

from workflows.evaluation.scores import UNTRAINED

MOST_SEEDS = 20
"""Most seeds of a model that are worth their time; a difference that needs more is small beside the margin."""
Row = Mapping[str, Any]


def advice(verdict: Row | None, scores: Sequence[Row]) -> dict[str, Any]:
    """Return what the verdict, or without a champion the scores, suggest.

    Args:
        verdict: `Verdict.to_json`; None without scores.
        scores: means of the model's and the untrained network's scores.
    """
    if verdict is None:
        return _advice("measure", "unscored")
    if any(one["forbids"] for one in verdict["licences"]):
        return _advice("keep", "licence", verdict)
    if not verdict["champion"]:
        return _without_champion(verdict, scores)
    if verdict["passes"]:
        return _advice("promote", "better" if verdict["verdict"] == "better" else "no worse", verdict)
    if verdict["verdict"] == "worse":
        return _advice("keep", "worse", verdict)
    if verdict["verdict"] == "no worse":
        return _advice("keep", "no better", verdict)
    return _unclear(verdict)


def _unclear(verdict: Row) -> dict[str, Any]:
    unclear = [task for task in verdict["tasks"] if task["verdict"] == "cannot tell"]
    if any(task["difference"] is None and min(task["seeds"]) < 2 for task in unclear):
        return _advice("repeat", "one seed", verdict)
    if any(task["differs"] for task in unclear):
        return _advice("repeat", "settings", verdict)
    needed = [task["seeds_to_tell"] for task in unclear]
    if None in needed:
        return _advice("repeat", "examples", verdict)
    seeds = max(needed)
    return _advice("repeat", "seeds", verdict, seeds) if seeds <= MOST_SEEDS else _advice("keep", "many seeds", verdict, seeds)


def _without_champion(verdict: Row, scores: Sequence[Row]) -> dict[str, Any]:
    tested = {(row["task"], row["metric"], row["model_id"]): row["mean"] for row in scores if row["split"] == "test"}
    pairs = [
        (mean, tested.get((task, metric, UNTRAINED))) for (task, metric, model), mean in tested.items() if model != UNTRAINED
    ]
    helps = all(untrained is None or mean > untrained for mean, untrained in pairs)
    return _advice("promote", "first", verdict) if helps else _advice("keep", "useless", verdict)


def _advice(word: str, because: str, verdict: Row | None = None, seeds: int | None = None) -> dict[str, Any]:
    return {"advice": word, "because": because, "seeds": seeds, "champion": verdict["champion"] if verdict else ""}
