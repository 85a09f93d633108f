"""The first screen of a report in words: the decision, and a sentence on each thing that a meeting asks.

sentences(content, t)
->  {"headline": "tiny is better than the champion tiny-5d0c.", "decision": "Promote it.",
     "why": ["sentiment, accuracy: 0.871, champion 0.858; difference +0.013 (95% interval +0.004 to +0.022): better."],
     "data": "17,622 documents ...", "cost": "1.83 machine-hours.", "command": "nezha-pipe promote runs/tiny/export-5d0c", ...}
"""

from collections.abc import Iterator, Mapping
from typing import Any

from workflows.evaluation.scores import UNTRAINED
from workflows.report.languages.texts import Texts

Row = Mapping[str, Any]


def sentences(content: Row, t: Texts) -> dict[str, Any]:
    """Return the sentences of the first screen; `headline` is "" if there is nothing to decide."""
    meeting = content["meeting"]
    return {
        "headline": headline(content["recipe_name"], meeting["advice"], t) if meeting["advice"] else "",
        "decision": decision(meeting["advice"], t) if meeting["advice"] else "",
        "why": list(_why(content, t)),
        "command": _command(meeting),
        "data": _data(meeting["changes"], content, t),
        "cost": _cost(meeting, t),
        "failures": failures(meeting["recoveries"], t),
        "licences": _licences(meeting, t),
        "contamination": list(_contamination(content, t)),
        "period": _period(meeting["recoveries"], t),
    }


def headline(name: str, advice: Row, t: Texts) -> str:
    """Return whether the model is better than the champion, in one sentence."""
    values = {"name": name, "champion": advice["champion"]}
    found = {
        "better": t("{name} is better than the champion {champion}.", **values),
        "no worse": t("{name} is no worse than the champion {champion} by more than the margin.", **values),
        "first": t("{name} has no champion to be compared with; pretraining helps it.", **values),
        "worse": t("{name} is worse than the champion {champion}.", **values),
        "no better": t("{name} is no better than the champion {champion}.", **values),
        "licence": t("The licence of a source forbids the use that {name} is for.", **values),
        "useless": t("{name} has no champion to be compared with, and pretraining does not help it on every task.", **values),
        "unscored": t("{name} is not scored yet.", **values),
    }
    unclear = t("It cannot be told yet whether {name} is better than the champion {champion}.", **values)
    return found.get(advice["because"], unclear)


def decision(advice: Row, t: Texts) -> str:
    """Return what to decide, in one sentence."""
    found = {
        "better": t("Promote it."),
        "no worse": t("Promote it: the recipe asks for no more (gate.require)."),
        "first": t("Promote it as the first champion, if its scores are what you need."),
        "worse": t("Keep the champion."),
        "no better": t("Keep the champion."),
        "licence": t("Do not promote it: leave the source out, or change what the model is for (gate.use)."),
        "useless": t("Do not promote it: train longer or on more text."),
        "unscored": t("Score it first: name tasks in [evaluation]."),
        "seeds": t("Score both models again with {seeds} seeds each; then decide.", seeds=advice["seeds"]),
        "many seeds": t(
            "Keep the champion: only about {seeds} seeds of each model would tell them apart at this margin.",
            seeds=advice["seeds"],
        ),
        "examples": t("Keep the champion, or score both on a larger test set: no number of seeds can tell at this margin."),
        "settings": t("Score both models again on the same examples with the same settings; then decide."),
        "one seed": t("Score both models again with at least 3 seeds each: one seed says nothing of the spread."),
    }
    return found[advice["because"]]


def _command(meeting: Row) -> str:
    advice = meeting["advice"]
    if not advice or advice["advice"] != "promote" or not meeting["export"]:
        return ""
    return f"nezha-pipe promote {meeting['export']}"


def _why(content: Row, t: Texts) -> Iterator[str]:
    """Yield a sentence for each task: beside the champion, else beside the network without pretraining."""
    meeting = content["meeting"]
    tasks = (meeting["verdict"] or {}).get("tasks", [])
    for task in tasks:
        yield _beside_champion(task, meeting["verdict"]["gate"]["confidence"], t)
    if tasks:
        return
    rows = [row for row in content["scores"] if row["split"] == "test"]
    for row in rows:
        if row["model_id"] == UNTRAINED:
            continue
        other = next((r for r in rows if r["model_id"] == UNTRAINED and _name(r) == _name(row)), None)
        values = {"task": t.name(row["task"]), "metric": t.name(row["metric"]), "score": row["mean"]}
        if other is None:
            yield t("{task}, {metric}: {score:.3f}.", **values)
        else:
            yield t(
                "{task}, {metric}: {score:.3f}; the same network without pretraining {other:.3f}.",
                **values,
                other=other["mean"],
            )


def _name(row: Row) -> tuple[str, str]:
    return row["task"], row["metric"]


def _beside_champion(task: Row, confidence: float, t: Texts) -> str:
    mine, theirs = task["scores"]
    values = {"task": t.name(task["task"]), "metric": t.name(task["metric"])}
    if mine is None or theirs is None:
        who = t("the champion") if theirs is None else t("this model")
        return t("{task}, {metric}: {who} was not scored on it.", **values, who=who)
    values |= {"score": mine, "champion": theirs, "verdict": t.name(task["verdict"])}
    if not task["interval"]:
        return t("{task}, {metric}: {score:.3f}, champion {champion:.3f}: {verdict}.", **values)
    low, high = task["interval"]
    return t(
        "{task}, {metric}: {score:.3f}, champion {champion:.3f}; difference {difference:+.3f}"
        " ({confidence:.0%} interval {low:+.3f} to {high:+.3f}): {verdict}.",
        **values,
        difference=task["difference"],
        confidence=confidence,
        low=low,
        high=high,
    )


def _data(changes: Row | None, content: Row, t: Texts) -> str:
    """Return how much text there is, and what is new since the champion or the run before."""
    if not content["funnel"]:
        return ""
    total = content["total"]
    kept = t("{documents} documents, {characters} characters.", **_sizes(total, t))
    if changes is None:
        return kept
    values = {"other": other_run(changes, t)}
    known = [row for row in changes["sources"] if row["new"] is not None]
    if len(known) == len(changes["sources"]):
        new, gone = sum(row["new"] for row in known), sum(row["gone"] for row in known)
        if not new and not gone:
            return f"{kept} " + t("They are those of {other}.", **values)
        return f"{kept} " + t("Since {other}: {new:,} documents are new, {gone:,} are gone.", **values, new=new, gone=gone)
    before = sum(row["before"] for row in changes["sources"])
    return f"{kept} " + t("There were {before:,} in {other}.", **values, before=before)


def _sizes(total: Row, t: Texts) -> dict[str, str]:
    return {"documents": f"{total['kept']:,}", "characters": t.large(total["characters"]["kept"])}


def other_run(changes: Row, t: Texts) -> str:
    """Return the words for the run that the data is compared with."""
    if changes["kind"] == "champion":
        return t("the champion {name}", name=changes["name"])
    return t("the run before ({name})", name=changes["name"])


def _cost(meeting: Row, t: Texts) -> str:
    costs = meeting["costs"]
    if not costs["rows"]:
        return ""
    hours = t("{hours} machine-hours", hours=t.hours(costs["hours"]))
    if costs["money"] is None:
        return hours + t(".")
    return t("{hours}, {money}.", hours=hours, money=t.money(costs["money"], costs["currency"]))


def failures(recoveries: Row, t: Texts) -> str:
    """Return how many failures were recovered, and what they cost, in one sentence; "" if nothing was trained."""
    found = recoveries["failures"]
    parts = []
    if found:
        seconds, steps = (sum(failure[name] for failure in found) for name in ("seconds", "steps"))
        failed = t.count("{n} failure was recovered", "{n} failures were recovered", len(found))
        parts.append(
            t(
                "{failed}, at a cost of {time} and {steps:,} repeated steps.",
                failed=failed,
                time=t.duration(seconds),
                steps=steps,
            )
        )
    skipped = sum(row["times"] for row in recoveries["skipped"])
    if skipped:
        parts.append(t.count("{n} bad step was skipped.", "{n} bad steps were skipped.", skipped))
    if recoveries["rollbacks"]:
        parts.append(
            t.count("Training was rolled back {n} time.", "Training was rolled back {n} times.", len(recoveries["rollbacks"]))
        )
    if parts:
        return " ".join(parts)
    return t("Nothing failed in training.") if recoveries["attempts"] else ""


def _licences(meeting: Row, t: Texts) -> str:
    rows, use = meeting["licences"], meeting["use"]
    forbidden = [row["source"] for row in rows if row["forbids"]]
    if forbidden:
        return t("{sources}: the licence forbids {use} use.", sources=t.listed(forbidden), use=t.name(use))
    if not use:
        return t("What the model is for is not stated (gate.use), so licences are listed and not judged.")
    return t("No licence was found to forbid {use} use. A program reads only words: a person has to judge.", use=t.name(use))


def _contamination(content: Row, t: Texts) -> Iterator[str]:
    """Yield what is known of texts that the model was scored on and trained on."""
    dropped = content["total"]["dropped"].get("contaminated", 0)
    if dropped:
        yield t("{n:,} documents that contain texts of tasks were left out of training.", n=dropped)
    for task in (content["meeting"]["verdict"] or {}).get("tasks", []):
        values = {"task": t.name(task["task"]), "metric": t.name(task["metric"])}
        if task["contaminated"] is None:
            yield t("{task}, {metric}: not compared with the texts of training, so contamination is unknown.", **values)
        elif (clean := task["without_contaminated"]) and clean["difference"] is not None:
            yield t(
                "{task}, {metric}: {n:,} of {all:,} test examples are in texts of training; without them the difference is"
                " {difference:+.3f}.",
                **values,
                n=task["contaminated"],
                all=task["examples"][0],
                difference=clean["difference"],
            )
        else:
            yield t(
                "{task}, {metric}: {n:,} of {all:,} test examples are in texts of training.",
                **values,
                n=task["contaminated"],
                all=task["examples"][0],
            )


def _period(recoveries: Row, t: Texts) -> str:
    if not recoveries["started"]:
        return ""
    first, last = t.date(recoveries["started"]), t.date(recoveries["updated"])
    return t("Trained on {day}.", day=first) if first == last else t("Trained from {first} to {last}.", first=first, last=last)
