"""Ctrl-C in one line, from the first module that is loaded on. Nothing heavy is imported here."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn

STOPPED_CODE = 130
"""Exit code after Ctrl-C, as shells report it."""
RESUMING = ("run", "prepare", "ablate", "pretrain", "evaluate")
"""Commands that keep what is finished."""
RESUMES = "Stopped. Run the same command again to resume: finished parts are kept."
STARTS_ANEW = "Stopped. Run again, the same command starts from the beginning."


def stopped(command: str) -> str:
    """Return what to say when a command is stopped."""
    return RESUMES if command in RESUMING else STARTS_ANEW


@contextlib.contextmanager
def ended_by_ctrl_c(command: str) -> Iterator[None]:
    """End the program, and with it its workers, at once on Ctrl-C. Stages survive being killed.

    As an exception, Ctrl-C would be raised in the middle of Beam, which prints pages about it or swallows it, or of a module
    that is being loaded. Processes that this program starts load the same modules: they end without a word.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> NoReturn:
        if "--multiprocessing-fork" not in sys.orig_argv:
            show_cursor = "\x1b[?25h" if os.isatty(2) else ""
            os.write(2, f"{show_cursor}\n{stopped(command)}\n".encode())
        os._exit(STOPPED_CODE)

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
