"""What a step reports, in the log of its run on Dagster's page: news at once, progress now and then."""

import time
from typing import Any

from pipeline.engine.execution import News, Report
from pipeline.redaction import printable, redact

SECONDS_BETWEEN_LINES = 30.0


def log_of(context: Any) -> Report:
    """Return a report that writes into the log of a step.

    Args:
        context: Dagster's, of the step.
    """
    last = float("-inf")

    def report(done: int, total: int, what: str) -> None:
        nonlocal last
        now, text = time.monotonic(), printable(redact(what))
        if isinstance(what, News):
            context.log.info(text)
        elif now - last > SECONDS_BETWEEN_LINES:
            last = now
            context.log.info(f"{text} ({100 * done // total} %)" if total else text)

    return report
