"""The process of a trigger's run: `nezha-pipe run`, and a note of how it ended. Started by workflows/scheduling/starting.py.

    python -m workflows.cli.scheduled FOLDER NAME/NUMBER LOCK

Without such a note, a later look takes the run for dead and starts it again. That is what happens to a run that is killed, that
training leaves in order because of SIGTERM, and to one whose store or cluster is away. Ctrl-C (SIGINT) ends it for good. One
whose training has used up its `cluster.max_hours` resumes at the schedule's next time.
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import click

from model.training.stopping import StopReason, TrainingStopped
from pipeline.credentials import format_error, hide, hide_in_this_process
from pipeline.errors import MemoryFullError, RayLostError, StoreAwayError, UnavailableError
from workflows.cli import main as command
from workflows.scheduling import schedules, triggers
from workflows.scheduling.schedules import Schedule
from workflows.scheduling.telling import tell
from workflows.scheduling.triggers import Outcome

PASSING = (StoreAwayError, UnavailableError, RayLostError, MemoryFullError, MemoryError, ConnectionError, TimeoutError)
"""Errors that may be gone at the next start."""
LONGEST_MESSAGE = 2_000


def main(folder: Path, name: str, number: int) -> None:
    """Run the recipe of a schedule once, and note in the trigger how it ended."""
    schedule = schedules.read(folder, name)
    outcome, message = run(schedule)
    print(f"{name}/{number}: {outcome or 'to be started again'}: {message}", flush=True)
    if outcome == "failed":
        tell(schedule, message)  # first: a machine that stops meanwhile starts it again, and it is told twice
    if (folder / name / schedules.FILE).exists():  # otherwise it was removed meanwhile
        done = triggers.read(folder / name, number)
        triggers.write(folder / name, replace(done, outcome=outcome, message=message[:LONGEST_MESSAGE]))


def run(schedule: Schedule) -> tuple[Outcome, str]:
    """Return how `nezha-pipe run` ended; no outcome if it is to be started again."""
    try:
        with command.make_context("nezha-pipe", list(schedule.command)) as context:
            command.invoke(context)
    except click.exceptions.Exit as end:
        return _stopped(schedule, end)
    except click.ClickException as error:
        cause = error.__cause__
        if isinstance(cause, PASSING):
            return "", error.format_message()
        return ("stopped" if isinstance(cause, KeyboardInterrupt) else "failed"), error.format_message()
    except (KeyboardInterrupt, click.Abort):
        return "stopped", "by Ctrl-C"
    except PASSING as error:
        return "", hide(f"{type(error).__name__}: {error}")
    except BaseException as error:
        print(format_error(error), flush=True)
        return "failed", hide(f"{type(error).__name__}: {error}")
    return "succeeded", "every step is finished"


def _stopped(schedule: Schedule, end: click.exceptions.Exit) -> tuple[Outcome, str]:
    """Return how a run ended that stopped in order."""
    stopped = end.__cause__
    if not isinstance(stopped, TrainingStopped) or stopped.reason is not StopReason.BUDGET:
        return ("" if end.exit_code else "stopped"), f"stopped in order with code {end.exit_code}"
    on = "at its next time" if schedule.cron else "when there is a new file, or by `nezha-pipe run`"
    return "out of time", f"pretraining stopped at step {stopped.step:,} of {stopped.steps:,}: its hours are over; resumes {on}"


if __name__ == "__main__":
    hide_in_this_process()
    os.set_inheritable(int(sys.argv[3]), False)  # held by this process alone
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main(Path(sys.argv[1]), sys.argv[2].rpartition("/")[0], int(sys.argv[2].rpartition("/")[2]))
