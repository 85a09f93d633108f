"""The rooms stand in a row, a room imports only from rooms before it, and nothing heavy is loaded before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROW = ["pipeline", "model", "cluster", "workflows"]
ROOT = Path(__file__).parent.parent
HEAVY = [
    "apache_beam",
    "dagster",
    "jieba",
    "matplotlib",
    "nervaluate",
    "pandas",
    "pydantic",
    "ray",
    "tokenizers",
    "torch",
    "transformers",
]
HOMES = {
    "apache_beam": ["pipeline"],
    "ray": ["cluster"],
    "dagster": ["workflows"],
    "click": ["workflows"],
    "jieba": ["pipeline"],
}


def imports(source: Path) -> set[str]:
    """Top-level names that a file imports, anywhere in it."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("room", ROW)
def test_a_room_imports_only_from_rooms_before_it(room: str) -> None:
    for source in (ROOT / room).rglob("*.py"):
        ahead = imports(source) & set(ROW) - set(ROW[: ROW.index(room) + 1])
        assert not ahead, f"{source.relative_to(ROOT)} imports {', '.join(sorted(ahead))}"


@pytest.mark.parametrize("room", ROW)
def test_the_room_imported_is_ours(room: str) -> None:
    found = Path(__import__(room).__file__ or "")
    assert ROOT in found.parents, f"another installed package is named {room!r}: {found}; uninstall it from this environment"


@pytest.mark.parametrize("package", HOMES)
def test_a_heavy_package_has_one_home(package: str) -> None:
    for room in ROW:
        for source in (ROOT / room).rglob("*.py"):
            if package in imports(source):
                assert room in HOMES[package], f"{source.relative_to(ROOT)} imports {package}, whose home is {HOMES[package]}"


def loaded_by(statement: str) -> set[str]:
    """Heavy packages that a fresh Python has loaded after a statement."""
    program = f"import sys\n{statement}\nprint(' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(done.stdout.split())


def test_help_loads_nothing_heavy() -> None:
    statement = "from workflows.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\nprint()"
    assert loaded_by(statement).isdisjoint(HEAVY)


def test_the_trainer_loads_torch_alone() -> None:
    assert loaded_by("import model.training.loop") == {"torch"}


@pytest.mark.parametrize(
    "module", ["pipeline.config", "model.config", "cluster.config", "pipeline.examples.shards", "pipeline.tokenization.vocab"]
)
def test_light_modules_are_light(module: str) -> None:
    assert not loaded_by(f"import {module}")
