"""Errors of the command. What a user can fix becomes one line and exit code 2; a bug keeps its traceback."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import click

from pipeline.credentials import hide_in_this_process
from pipeline.engine import startup
from pipeline.errors import NO_MEMORY, StoppedEarly, UserError, is_memory_full
from pipeline.storage_errors import FULL
from workflows.stopping import STOPPED_CODE, stopped


class UserMistake(click.ClickException):
    """One line on standard error, exit code 2."""

    exit_code = 2


class Stopped(click.ClickException):
    """Ctrl-C."""

    exit_code = STOPPED_CODE

    def __init__(self, command: str) -> None:
        super().__init__(stopped(command))

    def show(self, file: Any = None) -> None:
        click.echo(self.message, err=True)


class Commands(click.Group):
    """A group of commands that reports Ctrl-C, and errors a user can fix, in one line."""

    def main(self, *arguments: Any, **more: Any) -> Any:
        _open_streams()
        hide_in_this_process()
        startup.sleep_while_waiting()
        return super().main(*arguments, **more)

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        if sys.stdout is None:
            raise UserMistake("standard output is closed, and the result goes there; leave it open, or send it to /dev/null")
        with _in_one_line():  # --help is printed here
            return super().make_context(*arguments, **more)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for word in args:
            if not word.isascii() and word != word.encode(errors="ignore").decode():  # bytes that Python keeps as surrogates
                raise UserMistake(f"{word!a:.100}: not UTF-8; set the terminal to UTF-8, or rename the file")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with _in_one_line(ctx):
            return super().invoke(ctx)


@contextlib.contextmanager
def _in_one_line(ctx: click.Context | None = None) -> Iterator[None]:
    """Turn Ctrl-C, and errors that a user can fix, into what click shows in one line."""
    try:
        yield
    except UserError as error:
        *others, last = error.lines
        for line in others:
            UserMistake(line).show()
        raise UserMistake(last) from error
    except StoppedEarly as early:
        click.echo(str(early), err=True)
        raise click.exceptions.Exit(early.exit_code) from early
    except KeyboardInterrupt as error:
        raise Stopped(ctx.invoked_subcommand or "" if ctx else "") from error
    except (MemoryError, ImportError, OSError) as error:
        if is_memory_full(error):
            raise UserMistake(NO_MEMORY) from error
        if not isinstance(error, OSError) or error.errno not in FULL or error.filename is not None:
            raise
        raise _output_is_full() from error  # files are written by pipeline/storage.py, which raises UserErrors
    except EOFError as error:  # click would print "Aborted!" and hide a bug
        raise RuntimeError("unexpected end of file") from error


def _open_streams() -> None:
    """Open what is closed of standard input, output and error: else a file would be given its number, and what is printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free


def _output_is_full() -> UserMistake:
    """Return the error for a result that standard output has no room for. Python must not try to write it again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return UserMistake("standard output: no space left; the work is done: run again, with room for the result")
