"""The table of checks. `nezha-pipe run` and Dagster's asset checks both come from it.

found = outcomes(settings, stage, inputs)      {"enough_kept": Outcome(True, ...), "no_leak": Outcome(False, ...)}
refuse(stage, found)                           raises ChecksFailed for the second
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pipeline import storage
from pipeline.engine.stages import Finished
from pipeline.errors import UserError
from workflows.checks import data, model
from workflows.checks.outcome import Outcome

if TYPE_CHECKING:
    from workflows.steps import Inputs, Settings

FOLDER = ".checks"
"""In the output folder: outcomes of checks that take seconds."""


@dataclass(frozen=True)
class Check:
    """A row of the table."""

    name: str
    kind: str
    """Kind of the stages that it checks."""
    find: Callable[["Settings", Finished, "Inputs"], Outcome | None]
    """None: it does not apply."""
    depends_on: Callable[["Settings"], str] | None = None
    """For a check that takes seconds: what decides it beside the stage. Its outcome is kept, and read in later runs."""


CHECKS = (
    Check("enough_kept", "dedup", data.enough_kept),
    Check("no_leak", "dedup", data.no_leak),
    Check("known_tokens", "tokens", data.known_tokens),
    Check("loss_fell", "checkpoint", model.loss_fell),
    Check("no_forgetting", "checkpoint", model.no_forgetting, model.remembered),
    Check(
        "export_is_equal", "export", model.export_is_equal, lambda settings: f"{settings.recipe.checks.max_export_difference:g}"
    ),
    Check(
        "not_below_champion",
        "scores",
        model.not_below_champion,
        lambda settings: f"{settings.recipe.checks.registry} {model.champion_of(settings)} {settings.recipe.gate}",
    ),
)
"""In the order of the steps."""


class ChecksFailed(UserError):
    """A finished stage that did not pass; the steps after it are not done."""

    def __init__(self, stage: Finished, found: Mapping[str, Outcome]) -> None:
        failed = "; ".join(f"{outcome.message} ({name})" for name, outcome in found.items() if not outcome.passed)
        super().__init__(f"{stage.name}: {failed}")
        self.stage, self.found = stage, found

    def __reduce__(self) -> tuple[type["ChecksFailed"], tuple[Finished, dict[str, Outcome]]]:
        return ChecksFailed, (self.stage, dict(self.found))


def checks_of(kind: str) -> list[Check]:
    """Return the checks of a kind of stages."""
    return [check for check in CHECKS if check.kind == kind]


def outcomes(settings: "Settings", stage: Finished, inputs: "Inputs") -> dict[str, Outcome]:
    """Return what the checks of a finished stage find, by their names, without those that do not apply."""
    found = {check.name: _outcome(check, settings, stage, inputs) for check in checks_of(stage.kind)}
    return {name: outcome for name, outcome in found.items() if outcome is not None}


def refuse(stage: Finished, found: Mapping[str, Outcome]) -> None:
    """Raises: ChecksFailed if one did not pass."""
    if not all(outcome.passed for outcome in found.values()):
        raise ChecksFailed(stage, found)


def _outcome(check: Check, settings: "Settings", stage: Finished, inputs: "Inputs") -> Outcome | None:
    """Return what a check finds, or found before of the same stage."""
    if check.depends_on is None:
        return check.find(settings, stage, inputs)
    key = storage.bytes_digest(f"{stage.digest} {check.depends_on(settings)}".encode())[:12]
    place = storage.join(settings.root, FOLDER, f"{check.name}-{key}.json")
    if storage.exists(place) and (kept := storage.read_json(place)):
        return Outcome(**kept)
    found = check.find(settings, stage, inputs)
    if found is not None:
        storage.write_json(place, asdict(found))
    return found
