"""The manual of the command, written from its own help: `python -m workflows.manual > docs/cli.md`."""

import click

from workflows.cli import main


def manual() -> str:
    """docs/cli.md: the help of every command."""
    parts = ["# The command\n", "Written by `make docs` from the commands' own help.\n", _help("nezha-pipe", main)]
    parts += [_help(f"nezha-pipe {name}", command, f"## {name}\n") for name, command in sorted(main.commands.items())]
    return "\n".join(parts)


def _help(name: str, command: click.Command, title: str = "") -> str:
    context = click.Context(command, info_name=name, terminal_width=100, max_content_width=100)
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    return f"{title}\n```\n{text}\n```\n"


if __name__ == "__main__":
    print(manual(), end="")
