"""Keys, tokens and signatures in what libraries say: hidden in errors, stack traces, logs and `failure.txt`.

    hide("... AKIAIOSFODNN7EXAMPLE does not exist")                    ... *** does not exist
    hide("Invalid header value b'Bearer hf_0123456789abcdef\\n'")        Invalid header value b'Bearer ***'
    hide("403, url='https://b.cn/n?X-Amz-Signature=9f'")               403, url='https://b.cn/n'

redaction.py knows the secrets of URLs, by which things are named as well. Here the rest: values of environment variables that
hold a secret by their name, and what has the form of one. Only texts for people pass through; nothing is compared or opened by
them. Programs of ours call `hide_in_this_process` first. What leaves a worker of Ray is `hidden` there: its own logs, and
Ray's dashboard, show the error as it was raised.
"""

import contextlib
import json
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from pipeline.redaction import HIDDEN, redact, secrets_in

_SECRET_NAME = re.compile(
    r"SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|SIGNATURE|CONNECTION_STRING|(?:^|_)(?:API|ACCESS|ACCOUNT|STORAGE|PRIVATE)_?KEY|_KEY(?:_ID)?$"
)
_PLACE_NAME = re.compile(r"_(?:PATH|FILE|DIR|URL|URI|HOST|MODE|TYPE|NAME|TTL|CREDENTIALS)$|PARALLELISM$")
"""Names of variables with such a word that say where a secret is, or how it is used."""
_URL_NAME = re.compile(r"(?:^|_)PROXY$|_UR[LI]$", re.IGNORECASE)
SHORTEST = 8
"""Characters of a value that is hidden wherever it occurs; a shorter one is in any text by chance."""

_VALUE = r"[^\s\"'&,;<>()\[\]{}\\]{6,}"
_FORMS = (
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), HIDDEN),  # key ids of AWS
    (re.compile(r"\b(?:hf_|gh[pousr]_|github_pat_|sk-|xox[abpr]-)[A-Za-z0-9_-]{12,}"), HIDDEN),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"), HIDDEN),  # JSON web tokens
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), HIDDEN),
    (re.compile(rf"\b((?:Bearer|Basic) +){_VALUE}", re.IGNORECASE), rf"\g<1>{HIDDEN}"),
    (re.compile(rf"\b(x-amz-[a-z-]+: ?){_VALUE}", re.IGNORECASE), rf"\g<1>{HIDDEN}"),
    (
        re.compile(
            r"((?<![A-Za-z])(?:(?:security|session|access|auth|refresh|id)?[_-]?token|signature|credential|sig)"
            rf"(?:=[\"']?|[\"'] ?: ?[\"']|>)){_VALUE}",
            re.IGNORECASE,
        ),
        rf"\g<1>{HIDDEN}",
    ),
    (
        re.compile(
            r"((?<![A-Za-z])(?:passw(?:or)?d|(?:(?:aws|client)_?)?secret(?:_?access)?(?:_?key)?|(?:aws_?)?access_?key(?:_?id)?"
            rf"|(?:api|account|private)_?key(?:_?id)?)(?: ?= ?[\"']?|[\"'] ?: ?[\"']|>)){_VALUE}",
            re.IGNORECASE,
        ),
        rf"\g<1>{HIDDEN}",
    ),
)
"""What is a secret by its form, or by the name before it: `Credential=AKIA...`, `"password": "..."`, but not `token: 3`."""


def hide(text: str) -> str:
    """Return what a library said, without secrets."""
    text = redact(text)
    for secret in _known():
        text = text.replace(secret, HIDDEN)
    for form, shown in _FORMS:
        text = form.sub(shown, text)
    return text


def _known() -> list[str]:
    """Return the secrets in the environment, the longest first."""
    found: set[str] = set()
    for name, value in os.environ.items():
        if _URL_NAME.search(name) and "://" in value:
            found.update(secrets_in(value))
        elif name.startswith("FSSPEC_") and value.startswith("{"):
            found.update(_leaves(value))
        elif _SECRET_NAME.search(name.upper()) and not _PLACE_NAME.search(name.upper()):
            found.update((value, value.strip()))
    return sorted((secret for secret in found if len(secret) >= SHORTEST), key=lambda secret: (-len(secret), secret))


def _leaves(value: str) -> set[str]:
    """Return the secrets in fsspec's settings of a protocol, which are JSON: {"key": "...", "secret": "..."}."""
    try:
        settings = json.loads(value)
    except ValueError:
        return set()
    entries = settings.items() if isinstance(settings, dict) else ()
    return {entry for name, entry in entries if isinstance(entry, str) and _is_secret(name)}


def _is_secret(name: str) -> bool:
    return name in ("key", "secret", "token", "sas_token", "password") or bool(_SECRET_NAME.search(name.upper()))


def hidden(error: BaseException) -> BaseException:
    """Return an error that says the same without secrets, as do its causes and notes: itself where that can be done.

    A class that makes its message of other things than its arguments is replaced.
    """
    return _hidden(error, set())


def _hidden(error: BaseException, seen: set[int]) -> BaseException:
    seen.add(id(error))
    for name in ("__cause__", "__context__"):
        before = getattr(error, name)
        if before is not None and id(before) not in seen:
            suppress = error.__suppress_context__
            setattr(error, name, _hidden(before, seen))
            error.__suppress_context__ = suppress  # setting the cause sets it
    if notes := getattr(error, "__notes__", None):
        notes[:] = [hide(note) for note in notes]
    shown = hide(str(error))
    if shown == str(error):
        return error
    error.args = tuple(hide(one) if isinstance(one, str) else one for one in error.args)
    if hide(str(error)) == str(error):
        return error
    other = RuntimeError(f"{type(error).__name__}: {shown}").with_traceback(error.__traceback__)
    other.__cause__, other.__context__ = error.__cause__, error.__context__
    other.__suppress_context__ = error.__suppress_context__
    return other


@contextlib.contextmanager
def hidden_errors() -> Iterator[None]:
    """Let errors leave a block `hidden`: where another program would write them down."""
    try:
        yield
    except Exception as error:
        shown = hidden(error)
        if shown is error:
            raise
        raise shown from shown.__cause__


def format_error(error: BaseException) -> str:
    """Return the stack trace of an error, without secrets."""
    return hide("".join(traceback.format_exception(error)))


class _Formatter(logging.Formatter):
    """Messages as they are shown where nothing else is set up, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return hide(super().format(record))


def hide_in_this_process() -> None:
    """Hide secrets in the stack traces and the warnings of logs that this process prints.

    Programs that it starts do not import modules from the current folder: it may be one from a stranger, to be looked at.
    """
    os.environ["PYTHONSAFEPATH"] = os.environ.get("PYTHONSAFEPATH") or "1"
    sys.excepthook = _print
    threading.excepthook = _print_of_thread
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_Formatter())


def formatter(form: str) -> logging.Formatter:
    """Return a formatter of log records that hides secrets."""
    return _Formatter(form)


def _print(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    with contextlib.suppress(OSError, ValueError):  # no standard error any more
        sys.stderr.write(hide("".join(traceback.format_exception(kind, error, trace))))


def _print_of_thread(arguments: Any) -> None:
    if arguments.exc_type is not SystemExit:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"Exception in thread {arguments.thread.name if arguments.thread else '?'}:\n")
        _print(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
