"""When a cron expression ticks: by Dagster's own reading of it, which knows months, leap years and changes of the clock.

last_tick("0 3 1 * *", "Asia/Shanghai", after, now)      the newest tick in (after, now], or None
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from pipeline.errors import RecipeError

LOCAL_ZONE = Path("/etc/localtime")


def check_cron(cron: str, zone: str) -> None:
    """Check that a cron expression ticks some day.

    Raises: RecipeError.
    """
    from dagster._utils.schedules import is_valid_cron_string

    check_zone(zone)
    parts = len(cron.split())
    if not cron.startswith("@") and parts != 5:
        raise RecipeError(f"--cron {cron!r} has {parts} parts, not 5: minute, hour, day of month, month, day of week")
    try:
        valid = bool(is_valid_cron_string(cron))
    except Exception:  # of the parser, for some that are far off
        valid = False
    if not valid:
        raise RecipeError(f"--cron {cron!r} never ticks: not cron's form, or no such day; '0 3 1 * *' is 03:00 on each first")
    next_tick(cron, zone, datetime.now(UTC))


def check_zone(zone: str) -> None:
    """Raises: RecipeError for an unknown time zone."""
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise RecipeError(f"--timezone {zone}: no such time zone; write it as Asia/Shanghai or UTC") from None


def next_tick(cron: str, zone: str, now: datetime) -> datetime:
    """Return the first tick after `now`.

    Raises: RecipeError if there is none, as of 31 April.
    """
    from dagster._utils.schedules import cron_string_iterator

    try:
        return next(tick for tick in cron_string_iterator(now.timestamp(), cron, zone) if tick > now)
    except Exception as error:
        raise RecipeError(f"--cron {cron!r} never ticks: no such day") from error


def last_tick(cron: str, zone: str, after: datetime, now: datetime) -> datetime | None:
    """Return the newest tick after `after` and not after `now`: of many that were missed, one is made up for."""
    from dagster._utils.schedules import cron_string_iterator

    if after >= now:
        return None
    for tick in cron_string_iterator(now.timestamp(), cron, zone, ascending=False):
        if tick <= now:
            return tick.astimezone(UTC) if tick > after else None
    return None


def local_zone() -> str:
    """Return the name of this machine's time zone; UTC if it has none."""
    named = os.environ.get("TZ", "").removeprefix(":")
    if not named and LOCAL_ZONE.is_symlink():
        named = str(LOCAL_ZONE.resolve()).partition("zoneinfo/")[2]
    try:
        ZoneInfo(named)
    except (KeyError, ValueError, OSError):
        return "UTC"
    return named
