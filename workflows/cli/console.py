"""What commands print: on a terminal, text from anywhere must not move the cursor, and URLs must not show their secrets."""

import json
from typing import Any

import click

from pipeline.redaction import printable, public, redact


def echo(text: str, *, err: bool = False) -> None:
    """Print text; control characters in it, as a file's name may have, are escaped."""
    click.echo(printable(text), err=err)


def echo_url(url: str) -> None:
    """Print the URL of a result."""
    echo(redact(url))


def echo_json(value: Any) -> None:
    """Print facts as JSON in one line."""
    click.echo(printable(json.dumps(public(value), ensure_ascii=False)))
