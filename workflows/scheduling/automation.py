"""Schedules and sensors of Dagster's page. All of them do the same: one look at all schedules (looking.py).

So a schedule that is made while the page is up is served at once, one look a few seconds later makes up for what a tick of
Dagster's own had to leave undone, and the page shows when each is due, and in its ticks what was found.
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from pipeline import storage
from pipeline.credentials import hide
from pipeline.errors import UserError
from pipeline.redaction import redact
from workflows.notifications.sending import Event, notify
from workflows.orchestration.history import OUTPUT_TAG, History
from workflows.recipe import Recipe
from workflows.scheduling import schedules
from workflows.scheduling.looking import look
from workflows.scheduling.schedules import Schedule

SECONDS = 15
"""Between two looks: a tick starts within a minute, also on a busy machine."""
SENSOR, TELLER = "looks_at_schedules", "tells_of_failed_runs"


@dataclass(frozen=True)
class Job:
    """A recipe on the page."""

    name: str
    recipe: Recipe


def automation(history: History, jobs: Mapping[str, Job]) -> dg.Definitions:
    """Return the sensor that looks, one that tells of failures, and a schedule for each cron expression.

    Args:
        jobs: the jobs on the page, by the name or absolute path of their recipe.
    """

    @dg.sensor(
        name=SENSOR,
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts what is due by `nezha-pipe schedule`, and what died. Ticks say what was found",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        history.close_dead(context.instance)
        return dg.SkipReason(_shown(look(history)))

    return dg.Definitions(sensors=[sensor, _failures(jobs)], schedules=[*_schedules(history, jobs)])


def _failures(jobs: Mapping[str, Job]) -> dg.SensorDefinition:
    """Return the sensor that tells of failed runs of the page. Those of the command and of schedules tell themselves."""

    @dg.run_failure_sensor(
        name=TELLER,
        minimum_interval_seconds=4 * SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells those whom [notify] names of runs that were started on this page",
    )
    def sensor(context: dg.RunFailureSensorContext) -> None:
        run = context.dagster_run
        if run.remote_job_origin is None or run.tags.get("dagster/will_retry") == "true":
            return
        for job in jobs.values():
            chosen = {key.path[0] for key in run.asset_selection or ()}  # of a run without a job
            if run.job_name == job.name or run.job_name.startswith(f"{job.name}__") or job.name in chosen:
                why = Event("failed", job.recipe.name, run.tags.get(OUTPUT_TAG, ""), context.failure_event.message or "")
                notify(job.recipe.notify, why)

    return sensor


def _schedules(history: History, jobs: Mapping[str, Job]) -> Sequence[dg.ScheduleDefinition]:
    """Return what the page shows. One that is damaged, or whose name another has here, is left out: the page would have nothing
    at all, and the sensor looks at it in any case."""
    folder = schedules.folder_of(history.folder)
    found: dict[str, dg.ScheduleDefinition] = {}
    for name in storage.list_names(str(folder)) if folder.is_dir() else ():
        with contextlib.suppress(UserError):
            each = schedules.read(folder, name)
            if each.cron and each.recipe in jobs:
                shown = _schedule(history, each, jobs[each.recipe].name)
                found.setdefault(shown.name, shown)
    return [one for name, one in found.items() if name not in (SENSOR, TELLER)]


def _schedule(history: History, schedule: Schedule, job: str) -> dg.ScheduleDefinition:
    def tick(context: dg.ScheduleEvaluationContext) -> dg.SkipReason:
        said = look(history)
        return dg.SkipReason(_shown({name: line for name, line in said.items() if name == schedule.name} or said))

    paused = schedule.paused
    settings: dict[str, Any] = {"execution_timezone": schedule.timezone, "execution_fn": tick}
    return dg.ScheduleDefinition(
        name=re.sub("[^A-Za-z0-9_]", "_", schedule.name),
        job_name=job,
        cron_schedule=schedule.cron,
        default_status=dg.DefaultScheduleStatus.STOPPED if paused else dg.DefaultScheduleStatus.RUNNING,
        description=redact(f"nezha-pipe {' '.join(schedule.command)}"),
        **settings,
    )


def _shown(said: Mapping[str, str]) -> str:
    if not said:
        return "no schedules, or another look is going on"
    return hide("; ".join(redact(f"{name}: {' '.join(line.split())}") for name, line in said.items()))
