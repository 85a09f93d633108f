"""Tell those whom `[notify]` names that a scheduled run failed for good."""

from pipeline.errors import UserError
from workflows import recipe
from workflows.notifications.config import NotifyConfig
from workflows.notifications.sending import Event, notify
from workflows.scheduling.schedules import Schedule


def tell(schedule: Schedule, message: str) -> None:
    """Notify of a failure, also of a recipe that cannot be loaded any more."""
    try:
        loaded = recipe.load(schedule.recipe, schedule.settings)
        config, name = loaded.notify, loaded.name
    except UserError:
        known = dict(schedule.notify)
        config, name = NotifyConfig(**{**known, "command": tuple(known.get("command", ()))}), schedule.name
    notify(config, Event("failed", name, schedule.output, f"schedule {schedule.name}: {message}"))
