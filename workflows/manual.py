"""The manuals that are written from the program itself: `python -m workflows.manual cli > docs/cli.md`, likewise `recipe`."""

import ast
import dataclasses
import inspect
import itertools
import re
import sys
import textwrap
import typing
from collections.abc import Iterator

import click

from workflows.cli import main
from workflows.planning import GPUS, costs
from workflows.recipe import Recipe, load, shipped, text_of


def cli() -> str:
    """docs/cli.md: the help of every command."""
    parts = ["# The command\n", "Written by `make docs` from the commands' own help.\n", _help("nezha-pipe", main)]
    parts += [_help(f"nezha-pipe {name}", command, f"## {name}\n") for name, command in sorted(main.commands.items())]
    return "\n".join(parts)


def _help(name: str, command: click.Command, title: str = "") -> str:
    # The settings of the outermost command hold for all, as when they are run.
    context = click.Context(command, info_name=name, terminal_width=100, **main.context_settings)
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    return f"{title}\n```\n{text}\n```\n"


def recipe() -> str:
    """docs/recipe.md: every table and setting of a recipe, with the text that its class has for it."""
    parts = [
        "# The recipe\n",
        "One TOML file; what is not given has its default. Written by `make docs` from the classes themselves.\n",
        "## At the top\n",
        *_settings(Recipe, only_plain=True),
    ]
    for name, kind in typing.get_type_hints(Recipe).items():
        many = typing.get_origin(kind) is tuple
        table = typing.get_args(kind)[0] if many else kind
        if dataclasses.is_dataclass(table) and isinstance(table, type):
            title = (inspect.getdoc(table) or "").split("\n")[0].partition(": ")[2]
            parts += [f"\n## [{'[' if many else ''}{name}]{']' if many else ''}\n", title[:1].upper() + title[1:] + "\n"]
            parts += _settings(table)
    return "\n".join([*parts, *_shipped()]) + "\n"


INTRODUCTION = """
A recipe is named without `.toml`; the numbers in its file have their sources beside them. Those of papers leave the text to
you: `nezha-pipe run nezha-base-2019` says what to give, `nezha-pipe plan nezha-base-2019` what it takes. Tokens are those of
full sequences. Hours are computed, not measured: on 8 H100 at {mfu:.0%} of their peak.
"""


def _shipped() -> Iterator[str]:
    """The recipes that come with the program: their sizes, and what the heads of their files say of their sources."""
    loaded = [load(name) for name in shipped()]
    yield "\n## Recipes that come with the program"
    yield INTRODUCTION.format(mfu=GPUS["h100"].mfu)
    yield "| recipe | parameters | length: steps x batch, rate | positions | masks, pairs | optimizer | tokens | hours |"
    yield "|---|---|---|---|---|---|---|---|"
    for one in loaded:
        cost = costs(one)
        cells = (
            f"`{one.name}`",
            f"{cost['parameters'] / 1e6:,.1f} M",
            "; ".join(f"{p.sequence_length}: {p.steps:,} x {p.batch_size:,}, {p.learning_rate:g}" for p in one.phase),
            one.encoder.positions,
            f"{one.masking.policy}, {one.pairs.task}",
            one.optimizer.variant,
            f"{cost['training tokens'] / 1e9:,.2f} G",
            f"{cost['hours']:,.1f}",
        )
        yield "| " + " | ".join(cells) + " |"
    for one in loaded:
        yield f"\n### {one.name}\n"
        yield head(text_of(one.name))


def head(recipe: str) -> str:
    """The comment at the top of a recipe as Markdown; "Sources:" and its like begin the lines of a list."""
    comments = itertools.takewhile(lambda line: line.startswith("#"), recipe.splitlines())
    text = " ".join(line.removeprefix("#").strip() or "\n" for line in comments)
    paragraphs = [paragraph.strip() for paragraph in text.split("\n")]
    return "\n\n".join(
        re.sub(r" *\b(Sources?|Not published(?: there)?|Different here): ", r"\n- *\1*: ", p).strip() for p in paragraphs
    )


def _settings(table: type, only_plain: bool = False) -> Iterator[str]:
    """Rows of a Markdown table: name, type, default, meaning (the string under the field)."""
    yield "| setting | type | default | meaning |"
    yield "|---|---|---|---|"
    body = ast.parse(textwrap.dedent(inspect.getsource(table))).body[0]
    assert isinstance(body, ast.ClassDef)
    kinds = typing.get_type_hints(table)
    for statement, following in zip(body.body, [*body.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign):
            continue
        name = ast.unparse(statement.target)
        kind, default = ast.unparse(statement.annotation), ast.unparse(statement.value) if statement.value else "required"
        if only_plain and ("Config" in kind):
            continue
        if typing.get_origin(kinds[name]) is typing.Literal:
            kind = " | ".join(map(repr, typing.get_args(kinds[name])))
        meaning = ""
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            meaning = " ".join(str(following.value.value).split())
        default = "{}" if default == "field(default_factory=dict)" else default
        cells = (f"`{name}`", f"`{kind}`", f"`{default}`", meaning)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


MANUALS = {"cli": cli, "recipe": recipe}

if __name__ == "__main__":
    print(MANUALS[sys.argv[1]](), end="")
