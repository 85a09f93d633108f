"""Checks of data: documents kept, unknown tokens, leaks of what is scored."""

from typing import TYPE_CHECKING

from pipeline.engine.stages import Finished
from pipeline.facts import DedupFacts, TokensFacts
from workflows.checks.outcome import Outcome

if TYPE_CHECKING:
    from workflows.steps import Inputs, Settings


def enough_kept(settings: "Settings", stage: Finished, inputs: "Inputs") -> Outcome:
    """Hold the ratio of kept documents of each source to the limit."""
    facts, limit = DedupFacts.of(stage), settings.recipe.checks.min_kept_ratio
    ratios = {source: facts.kept[source] / number if number else 0.0 for source, number in facts.documents.items()}
    few = [
        f"{facts.kept[source]:,} of {facts.documents[source]:,} documents of {source} are kept"
        for source, ratio in ratios.items()
        if ratio < limit
    ]
    wanted = f"checks.min_kept_ratio is {limit:g}; `nezha-pipe inspect {stage.url}` shows why documents are dropped"
    return Outcome(not few, f"{', '.join(few)}: {wanted}" if few else "enough documents are kept", ratios)


def known_tokens(settings: "Settings", stage: Finished, inputs: "Inputs") -> Outcome:
    """Hold the ratio of `[UNK]` in a source to the limit."""
    counts, limit = stage.manifest["counts"], settings.recipe.checks.max_unknown_ratio
    ratio = counts["unknown"] / max(counts["tokens"], 1)
    found = f"{counts['unknown']:,} of {counts['tokens']:,} tokens of {stage.source} are [UNK]"
    if ratio <= limit:
        return Outcome(True, found, {"ratio": ratio})
    most = ", ".join(map(repr, list(TokensFacts.of(stage).unknown_characters)[:5]))
    return Outcome(
        False, f"{found} ({most}, ...): checks.max_unknown_ratio is {limit:g}; use another vocabulary", {"ratio": ratio}
    )


def no_leak(settings: "Settings", stage: Finished, inputs: "Inputs") -> Outcome | None:
    """Ask whether documents were compared with the texts of the tasks. None: no task's files are named."""
    recipe = settings.recipe
    if not (settings.is_scored and recipe.evaluation.data):
        return None
    compared = {done.source for done in inputs.all("contamination")}
    missing = [source.name for source in settings.corpora if source.name not in compared]
    dropped = sum(counts["dropped"].get("contaminated", 0) for counts in stage.manifest["counts"].values())
    if not missing or recipe.checks.allow_leak:
        return Outcome(True, f"{dropped:,} documents with texts of tasks are left out", {"dropped": dropped})
    return Outcome(
        False,
        f"documents of {', '.join(missing)} were not compared with the texts that the network is scored on: set "
        "decontamination.enabled = true, or checks.allow_leak = true",
    )
