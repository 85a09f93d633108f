"""Blocks of code in the documents: found, and commands in them checked against the program without running them."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from pipeline.errors import UserError
from workflows.cli import commands, main
from workflows.cli.jobs.submitting import COMMANDS
from workflows.recipe import load

ROOT = Path(__file__).parent.parent
GENERATED = ("cli.md", "recipe.md", "errors.md")
PAGES = [
    *(ROOT / name for name in ("README.md", "README.zh.md", "CONTRIBUTING.md")),
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name not in GENERATED),
]

SESSIONS = (
    "tutorial.md",
    *(f"howto/{name}.md" for name in ("corpus", "vocabulary", "task", "cluster", "s3", "offline", "upgrade", "hub")),
)
"""Pages of docs/ that tests/test_tutorial.py does as they are written."""
NOT_RUN = re.compile(r"<!-- not run: ([^>]+?) -->\s*$")
FILE = re.compile(r"`([\w./-]+\.[a-z]+)`[^`\n]*:\s*$")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    name: str
    """The language: `sh`, `toml`, ...; empty for output."""
    text: str
    reason: str = ""
    """Why it is not run, from the comment above it."""
    file: str = ""
    """The file that it is the content of: the line above it ends with its name and a colon."""

    @property
    def is_run(self) -> bool:
        """Whether tests/test_tutorial.py runs it."""
        return (
            not self.reason
            and self.page.is_relative_to(ROOT / "docs")
            and str(self.page.relative_to(ROOT / "docs")) in SESSIONS
        )

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f"{self.page.relative_to(ROOT)}, line {self.line}"

    @property
    def commands(self) -> list[str]:
        """The lines that a shell would run: all of a block `sh`, those after `$` of a transcript."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.name == "sh":
            return [line for line in _without_here_documents(lines) if line.strip() and not line.lstrip().startswith("#")]
        return [line[2:] for line in lines if line.startswith("$ ")]


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    found, start, lines = [], -1, page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if not line.lstrip().startswith("```"):
            continue
        if start < 0:
            start = number
            continue
        before = "\n".join(lines[max(0, start - 3) : start]).rstrip()
        name, text = lines[start].strip("` "), "".join(f"{one}\n" for one in lines[start + 1 : number])
        reason, file = NOT_RUN.search(before), FILE.search(before)
        found.append(Block(page, start + 1, name, text, reason[1] if reason else "", file[1] if file and name != "sh" else ""))
        start = -1
    return found


def _without_here_documents(lines: list[str]) -> Iterator[str]:
    end = ""
    for line in lines:
        if end:
            end = "" if line == end else end
            continue
        yield line
        opened = re.search(r"<<'?(\w+)'?", line)
        end = opened[1] if opened else ""


def fault(line: str) -> str | None:
    """Return what is wrong with a line of a shell: "" for nothing, None if it calls what is not ours to check."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        return str(error)
    faults = [_one(part) for part in _parts(words)]
    return None if None in faults else "; ".join(one for one in faults if one)


def _parts(words: list[str]) -> Iterator[list[str]]:
    """Yield the commands of a line, without redirections and variables in front."""
    part: list[str] = []
    for word in [*words, ";"]:
        if word in (";", "&&", "||", "|", "&") or word.endswith(";"):
            part += [word[:-1]] if word not in (";", "&&", "||", "|", "&") else []
            while part and re.match(r"^[A-Z_]+=", part[0]):
                part.pop(0)
            if part:
                yield part
            part = []
        else:
            part.append(word)


def _one(words: list[str]) -> str | None:
    for number, word in enumerate(words):
        if re.match(r"^\d?>", word):
            words = words[:number]
            break
    if re.match(r"^\w+=\$\(nezha-pipe$", words[0]):
        words = ["nezha-pipe", *words[1:-1], words[-1].rstrip(")")]
    program, *rest = words
    if program.endswith("nezha-pipe"):
        return _of_program(rest)
    if program == "make":
        targets = (ROOT / "Makefile").read_text(encoding="utf-8")
        missing = [one for one in rest if not re.search(rf"^{one}:", targets, re.MULTILINE)]
        return f"no make {missing[0]}" if missing else ""
    if program == "pip" and rest[:1] == ["install"]:
        return _of_pip(rest[1:])
    if words[:3] == ["python", "-m", "benchmarks"]:
        known = (ROOT / "benchmarks" / "__main__.py").read_text(encoding="utf-8")
        return "" if re.search(rf"\b{words[3]}\b", known) else f"no benchmark {words[3]}"
    if program == "pytest":
        missing = [one for one in rest if one.startswith("tests/") and not (ROOT / one).exists()]
        return f"no {missing[0]}" if missing else ""
    if words[:2] == ["python", "-m"] and words[2].startswith("tests."):
        return "" if (ROOT / f"{words[2].replace('.', '/')}.py").exists() else f"no {words[2]}"
    harmless = ("git", "source", "export", "cd", "echo", "cat", "mkdir", "cp", "ls", "tail", "head")
    return "" if program in harmless else None


def _of_pip(words: list[str]) -> str:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for word in words:
        for name in re.findall(r"\[([\w,]+)\]", word) if word.startswith((".", "nezha-pipe")) else []:
            if unknown := set(name.split(",")) - set(extras):
                return f"no extra {', '.join(unknown)} in pyproject.toml"
    return ""


def _of_program(words: list[str]) -> str:
    """What click says of a call, and the recipe of its settings; values that do not exist here are no fault."""
    if not words or words[0] in ("-h", "--help", "--version"):
        return ""
    name, rest = words[0], words[1:]
    command = commands().get(name)
    if isinstance(command, click.Group) and rest:
        name, rest = f"{name} {rest[0]}", rest[1:]
        command = commands().get(name)
    if command is None:
        return f"no command {name}"
    try:
        with click.Context(command, info_name=name, **{**main.context_settings, **command.context_settings}) as context:
            given, _, _ = command.make_parser(context).parse_args(list(rest))
            given = {name: value for name, value in given.items() if isinstance(value, str | tuple | list)}
            for parameter in command.params:
                if parameter.name in given and isinstance(parameter.type, click.Choice):
                    parameter.type_cast_value(context, given[parameter.name])
        if name == "submit":
            return _of_submitted([*given.get("command", ())])
        settings = given.get("settings") or given.get("set") or ()
        recipe = given.get("recipe")
        if settings and (recipe is None or not str(recipe).endswith(".toml")):
            load(str(recipe or "tiny"), [*settings])
    except click.ClickException as error:
        return error.format_message()
    except UserError as error:
        return str(error)
    return ""


def _of_submitted(words: list[str]) -> str:
    """The command after `submit RECIPE`, with options of its own; what it works on stands before it."""
    if not words:
        return ""
    if words[0] not in COMMANDS:
        return f"submit: no command {words[0]}"
    known = {option for one in COMMANDS[words[0]].params for option in (*one.opts, *one.secondary_opts)}
    unknown = [word for word in words[1:] if word.startswith("--") and word.partition("=")[0] not in known]
    return f"submit {words[0]}: no option {unknown[0]}" if unknown else ""
