"""The sources that decide what a stage writes, as hashes kept in tests/golden/stage_sources.json.

    python -m tests.stage_sources        writes the hashes anew, after the version was bumped or found not to need it

Comments, docstrings and layout do not count.
"""

import ast
import hashlib
import importlib
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden" / "stage_sources.json"

_EVERY_STAGE = ("pipeline.spill", "pipeline.tally")
_KEPT_DOCUMENTS = ("pipeline.documents", "pipeline.duplicates")

STAGES: dict[str, tuple[str, ...]] = {
    "pipeline.documents.STAGE_VERSION": (
        "pipeline.documents",
        "pipeline.inputs",
        "pipeline.sources",
        "pipeline.cleaning",
        "pipeline.demo",
        *_EVERY_STAGE,
    ),
    "pipeline.demo.TASKS_VERSION": ("pipeline.demo", "pipeline.cleaning"),
    "pipeline.duplicates.STAGE_VERSION": (*_KEPT_DOCUMENTS, *_EVERY_STAGE),
    "pipeline.vocabulary.STAGE_VERSION": ("pipeline.vocabulary", "pipeline.vocab", *_KEPT_DOCUMENTS, *_EVERY_STAGE),
    "pipeline.examples.STAGE_VERSION": (
        "pipeline.examples",
        "pipeline.sentences",
        "pipeline.words",
        "pipeline.pieces",
        "pipeline.pairs",
        "pipeline.next_sentence",
        "pipeline.masking",
        "pipeline.shards",
        "pipeline.vocab",
        *_KEPT_DOCUMENTS,
        *_EVERY_STAGE,
    ),
}
"""Where a stage's version stands: the modules that decide its bytes."""


def code_hash(module: str) -> str:
    """A hash of what a module does: its syntax tree without docstrings."""
    tree = ast.parse((ROOT / module.replace(".", "/")).with_suffix(".py").read_bytes())
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
    for place, modules in STAGES.items():
        module, _, name = place.rpartition(".")
        version = getattr(importlib.import_module(module), name)
        result[place] = {"version": version, "sources": {source: code_hash(source) for source in modules}}
    return result


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(current(), indent=2) + "\n")
    print(f"written: {GOLDEN}")
