"""The sources that decide what a stage writes, as hashes kept in tests/golden/stage_sources.json.

    python -m tests.stage_sources        writes the hashes anew, after the version was bumped or found not to need it

Comments, docstrings and layout do not count.
"""

import ast
import hashlib
import importlib
import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden" / "stage_sources.json"

STAGES = tuple(
    f"{'.'.join(source.relative_to(ROOT).with_suffix('').parts)}.STAGE_VERSION"
    for source in sorted((ROOT / "pipeline").rglob("*.py"))
    if re.search(r"^STAGE_VERSION\b", source.read_text(encoding="utf-8"), re.MULTILINE)
)
"""Every stage version in pipeline/."""

DECIDES_NO_BYTES = {
    "pipeline.config": "every setting is part of the key",
    "pipeline.errors": "a stage that fails writes nothing",
    "pipeline.engine.processes": "where a task runs",
    "pipeline.engine.startup": "how processes start and exit",
    "pipeline.engine.beam": "where a task runs",
    "pipeline.engine.stages": "keys, manifests, resuming",
    "pipeline.storage": "how bytes reach a file system",
}
"""Modules that stages import and that change nothing in what they write, with the reason."""


def sources(module: str) -> list[str]:
    """Every module of ours that the code of a stage imports, directly or through others.

    Another stage's module counts, but not what that module imports: its own version guards that.
    """
    ends = {place.rpartition(".")[0] for place in STAGES} - {module}
    seen: set[str] = set()
    ahead = [module]
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            ahead += [] if name in ends or name in DECIDES_NO_BYTES else imported(name)
    return sorted(seen - DECIDES_NO_BYTES.keys())


def imported(module: str) -> set[str]:
    """Modules of ours that a module imports when it runs, anywhere in it."""
    tree = ast.parse(path(module).read_bytes())
    annotations = {id(node) for branch in ast.walk(tree) if _is_for_types(branch) for node in ast.walk(branch)}
    found = set()
    for node in ast.walk(tree):
        if id(node) in annotations:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from package import module` and `from module import name`
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
        else:
            continue
        found |= {name for name in names if path(name).exists()}
    return found


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def path(module: str) -> Path:
    """The file of a module; for a package or a stranger, one that does not exist."""
    return (ROOT / module.replace(".", "/")).with_suffix(".py")


def code_hash(module: str) -> str:
    """A hash of what a module does: its syntax tree without docstrings."""
    tree = ast.parse(path(module).read_bytes())
    return hashlib.blake2b(repr(_plain(tree)).encode(), digest_size=8).hexdigest()


def _plain(node: Any) -> Any:
    """A tree as tuples. `ast.dump` would differ between versions of Python, which add fields that are empty here."""
    if isinstance(node, list):
        return tuple(_plain(item) for item in node if not _is_docstring(item))
    if not isinstance(node, ast.AST):
        return node
    fields = ((name, _plain(value)) for name, value in ast.iter_fields(node) if value not in (None, []))
    return (type(node).__name__, *fields)


def _is_docstring(node: Any) -> bool:
    """A string that stands as a statement: of a module, a class, a function or a field."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def current() -> dict[str, dict[str, Any]]:
    """Version and hashes of every stage, as the code is now."""
    result = {}
    for place in STAGES:
        module, _, name = place.rpartition(".")
        version = getattr(importlib.import_module(module), name)
        result[place] = {"version": version, "sources": {source: code_hash(source) for source in sources(module)}}
    return result


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(current(), indent=2) + "\n")
    print(f"written: {GOLDEN}")
