"""Errors of the command. What a user can fix becomes one line and exit code 2; a bug keeps its traceback."""

from typing import Any

import click

from pipeline.errors import UserError
from workflows.preparing import STOPPED, STOPPED_CODE


class UserMistake(click.ClickException):
    """One line on standard error, exit code 2."""

    exit_code = 2


class Stopped(click.ClickException):
    """Ctrl-C."""

    exit_code = STOPPED_CODE

    def __init__(self) -> None:
        super().__init__(STOPPED)

    def show(self, file: Any = None) -> None:
        click.echo(self.message, err=True)


class Commands(click.Group):
    """A group of commands that reports Ctrl-C, and errors a user can fix, in one line."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            raise UserMistake(" ".join(str(error).split())) from error
        except KeyboardInterrupt as error:
            raise Stopped() from error
        except EOFError as error:  # click would print "Aborted!" and hide a bug
            raise RuntimeError("unexpected end of file") from error
