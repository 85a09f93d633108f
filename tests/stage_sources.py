"""Hashes of the code that decides what each stage writes, kept in tests/golden/stage_sources.json.

    python -m tests.stage_sources        write the hashes again, after checking whether a version must be bumped

A stage is a module of pipeline/ with a STAGE_VERSION. The code that decides its bytes is that module and everything of ours
that it imports. Comments, docstrings and formatting do not count.
"""

import ast
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden" / "stage_sources.json"
VERSION = "STAGE_VERSION"

DECIDES_NO_BYTES = {
    "pipeline.config": "every setting is part of the key",
    "pipeline.validation": "what a setting may be, not what it does",
    "pipeline.locks": "who may write, not what",
    "pipeline.leases": "who may write, not what",
    "pipeline.conditional": "which of two writers is first",
    "pipeline.credentials": "what messages may show",
    "pipeline.errors": "a stage that fails writes nothing",
    "pipeline.storage_errors": "a stage that fails writes nothing",
    "pipeline.storage_retries": "what is tried again reads and writes the same",
    "pipeline.facts": "views of manifests",
    "pipeline.folders": "what errors say of a folder",
    "pipeline.engine.execution": "no part of the key",
    "pipeline.engine.processes": "where a task runs",
    "pipeline.engine.startup": "how fast a program starts",
    "pipeline.engine.beam": "where a task runs",
    "pipeline.engine.stages": "keys, manifests, resuming",
    "pipeline.storage": "how bytes reach a file system",
}
"""Modules that stages import but that change nothing in what they write, with the reason."""


@cache
def stages() -> tuple[str, ...]:
    """Return the modules of all stages."""
    files = (ROOT / "pipeline").rglob("*.py")
    return tuple(sorted(name for name in map(_module, files) if _version(name) is not None))


def _module(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


@cache
def _version(module: str) -> int | None:
    """Return the version that a module assigns at its top level; None if it is not a stage."""
    for node in tree(path(module)).body:
        if isinstance(node, ast.Assign) and VERSION in (target.id for target in node.targets if isinstance(target, ast.Name)):
            return int(ast.literal_eval(node.value))
    return None


@cache
def sources(stage: str) -> tuple[str, ...]:
    """Return every module of ours that the code of a stage imports, directly or through others.

    The module of another stage counts, but not what it imports in turn: its own version guards that.
    """
    others = set(stages()) - {stage}
    seen: set[str] = set()
    ahead = [stage]
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            ahead += [] if name in others or name in DECIDES_NO_BYTES else imported(name)
    return tuple(sorted(seen - DECIDES_NO_BYTES.keys()))


@cache
def imported(module: str) -> frozenset[str]:
    """Return the modules of ours that a module imports at run time, anywhere in it."""
    names: set[str] = set()
    for node in _at_run_time(tree(path(module))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from package import module` and `from module import name`
            names.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    return frozenset(name for name in names if path(name).exists())


def _at_run_time(node: ast.AST) -> list[ast.AST]:
    """Return all nodes of a tree, except those under `if TYPE_CHECKING:`."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return []
    return [node, *(below for child in ast.iter_child_nodes(node) for below in _at_run_time(child))]


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes())


def path(module: str) -> Path:
    """Return the file of a module; for a package, or a module that is not ours, a path that does not exist."""
    return (ROOT / module.replace(".", "/")).with_suffix(".py")


@cache
def code_hash(file: Path) -> str:
    """Return a hash of what a module does: its syntax tree without docstrings."""
    return hashlib.blake2b(repr(_plain(tree(file))).encode(), digest_size=8).hexdigest()


def _plain(node: Any) -> Any:
    """Convert a tree to tuples. `ast.dump` differs between versions of Python, which add fields that are empty here."""
    if isinstance(node, list):
        return tuple(_plain(item) for item in node if not _is_docstring(item))
    if not isinstance(node, ast.AST):
        return node
    fields = ((name, _plain(value)) for name, value in ast.iter_fields(node) if value not in (None, []))
    return (type(node).__name__, *fields)


def _is_docstring(node: Any) -> bool:
    """Return whether a node is a string used as a statement: the docstring of a module, class, function or field."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def current() -> dict[str, dict[str, Any]]:
    """Return version and hashes of every stage, as the code is now."""
    return {
        f"{stage}.{VERSION}": {
            "version": _version(stage),
            "sources": {source: code_hash(path(source)) for source in sources(stage)},
        }
        for stage in stages()
    }


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(current(), indent=2) + "\n")
    print(f"written: {GOLDEN}")
