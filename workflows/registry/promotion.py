"""Promote a model, or roll back to an earlier champion: judge, and add a record to the history."""

import getpass
import platform
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.errors import RegistryError
from workflows.registry import entries, gate, history
from workflows.registry.config import GateConfig
from workflows.registry.entries import Entry
from workflows.registry.gate import Verdict
from workflows.registry.history import Event, Record

Judge = Callable[[Verdict], None]
"""Called with the verdict before it is recorded."""


def promote(registry: str, model: Entry, config: GateConfig, override: str = "", say: Judge = lambda verdict: None) -> Record:
    """Hold a registered model against the champion, and make it the champion if it passes; record the verdict either way.

    Args:
        override: a reason to make it the champion although it does not pass.

    Raises: RegistryError when its files have changed since it was registered, when it is the champion already, or when another
        process has changed the champion meanwhile.
    """
    if not model.url or not model.content["model"]["files"]:
        raise RegistryError(f"{model.name}: scores without a model; register the exported model with `models --add`")
    model.check_files()
    before = history.last(registry)
    name = before.champion if before else ""
    if name == model.name:
        raise RegistryError(f"{model.name} is the champion already")
    verdict = gate.judge(model, entries.read(registry, name) if name else None, config)
    say(verdict)
    event: Event = "promoted" if verdict.passes else "overridden" if override else "refused"
    content = {"model": model.name, "reason": override, "verdict": verdict.to_json()}
    return _recorded(registry, event, model if event != "refused" else None, content, before)


def rollback(registry: str, to: str = "", reason: str = "") -> Record:
    """Make an earlier champion the champion again: by default the one before. A second rollback undoes the first.

    Files of the model are not read, only looked at, so this takes no longer for large models.

    Raises: RegistryError when there is none, when it never was the champion, or when its files are gone.
    """
    past = history.backwards(registry)
    last = next(past, None)
    if last is None or not last.champion:
        raise RegistryError(f"{registry}: no model was promoted here, so there is none to go back to")
    wanted = entries.find(registry, to).name if to else ""
    if wanted == last.champion:
        raise RegistryError(f"{wanted} is the champion already")
    earlier = (record.champion for record in past if record.champion not in ("", last.champion))
    name = next((one for one in earlier if wanted in ("", one)), "")
    if not name and wanted:
        raise RegistryError(f"{wanted} never was the champion; promote it")
    if not name:
        raise RegistryError(f"{last.champion} is the only champion there was, so there is none to go back to")
    model = entries.read(registry, name)
    model.check_files(sizes_only=True)
    return _recorded(registry, "rolled back", model, {"model": model.name, "reason": reason, "verdict": None}, last)


def _recorded(registry: str, event: Event, champion: Entry | None, content: Mapping[str, Any], before: Record | None) -> Record:
    """Add a record after `before`. Records of refusals that came between change nothing. None: the champion stays.

    Raises: RegistryError when the champion is another by now.
    """
    known = before.champion if before else ""
    while True:
        pointer = {"name": champion.name, "url": champion.url} if champion else before.content["champion"] if before else None
        number = before.number + 1 if before else 1
        record = {**content, "event": event, "champion": pointer, "previous": known, "at": entries.now(), "by": _who()}
        if history.add(registry, number, record):
            return Record(number, {**record, "number": number})
        before = history.last(registry)
        now = before.champion if before else ""
        if now != known:
            raise RegistryError(
                f"{registry}: another process was faster: the champion is {now or 'nobody'} now, not {known or 'nobody'}; "
                "run again to be held against it"
            )


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        user = "unknown"
    return f"{user}@{platform.node()}"
