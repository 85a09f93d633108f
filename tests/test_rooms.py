"""Packages import in one direction and without circles, tours name what is there, and nothing heavy is imported too early."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ["pipeline", "model", "cluster", "workflows"]
"""Top-level packages; each imports only from those before it."""

ORDER = {
    "pipeline": (
        "validation config redaction credentials errors storage_errors storage_retries compression storage conditional leases "
        "locks folders arrays engine facts cleaning sources wiki documents dedup tokenization examples tfrecords checks"
    ),
    "pipeline.wiki": "conversion markup templates dumps rendering pages",
    "model": (
        "config flops sizes threads precision remote_code optimization attention encoder heads compiling exporting samples "
        "checkpoints conversion training finetuning"
    ),
    "cluster": (
        "config counting nodes local tasks worker group stops session spark checking progress policies trainer launch driver "
        "supervisor manifests jobs"
    ),
    "workflows": (
        "toml_settings kinds notifications inference evaluation registry continued checks exporting converting progress "
        "finetuning inspection report recipe pretraining steps chain planning stopping preparing orchestration scheduling "
        "assets ablation definitions cli manual"
    ),
}
"""Modules and folders of a package; each imports only from those before it."""

WIDEST = 15
"""Modules at the top of a folder, `__init__.py` and `__main__.py` aside."""

HEAVY = [
    "apache_beam",
    "dagster",
    "jieba",
    "matplotlib",
    "nervaluate",
    "pandas",
    "pydantic",
    "pyspark",
    "ray",
    "tokenizers",
    "torch",
    "transformers",
]
HOMES = {
    "apache_beam": ["pipeline"],
    "ray": ["cluster"],
    "pyspark": ["cluster"],
    "dagster": ["workflows"],
    "click": ["workflows"],
    "jieba": ["pipeline"],
    "yaml": ["cluster"],
}


@cache
def modules() -> dict[str, Path]:
    """Every module of the rooms by its dotted name; a package is named without `__init__`."""
    sources = [source for room in ROOMS for source in sorted((ROOT / room).rglob("*.py"))]
    return {".".join(source.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): source for source in sources}


PACKAGES = [name for name, source in modules().items() if source.name == "__init__.py"]


@cache
def imports(source: Path) -> frozenset[str]:
    """Dotted names that a file imports at run time, also inside functions: `a.b` and `a.b.c` for `from a.b import c`."""
    names: set[str] = set()
    for node in _at_run_time(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(source.relative_to(ROOT).parts[: -node.level]) if node.level else ""
            base = ".".join(filter(None, (package, node.module)))
            names.update((base, *(f"{base}.{alias.name}" for alias in node.names)))
    return frozenset(names)


def _at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """A syntax tree without the bodies of `if TYPE_CHECKING:`."""
    yield node
    children = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        children = iter(node.orelse)
    for child in children:
        yield from _at_run_time(child)


@cache
def graph() -> Mapping[str, frozenset[str]]:
    """The modules of ours that each module imports. `from a import b` is the module `a.b` where there is one, else `a`."""
    arrows = {}
    for name, source in modules().items():
        ours = {target for target in imports(source) if target in modules() and target != name}
        packages = {target for target in ours if target in PACKAGES and any(other.startswith(f"{target}.") for other in ours)}
        arrows[name] = frozenset(ours - packages)
    return arrows


def path(module: str) -> str:
    """`pipeline.wiki.pages` -> `pipeline/wiki/pages.py`."""
    return str(modules()[module].relative_to(ROOT))


def outside(source: Path) -> set[str]:
    """Top-level packages that a file imports."""
    return {name.split(".")[0] for name in imports(source)}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_rooms_before_it(room: str) -> None:
    for source in (ROOT / room).rglob("*.py"):
        ahead = outside(source) & set(ROOMS[ROOMS.index(room) + 1 :])
        assert not ahead, (
            f"{source.relative_to(ROOT)} imports {', '.join(sorted(ahead))}: move what it needs to {room}/ or below"
        )


@pytest.mark.parametrize("package", ORDER)
def test_a_folder_imports_only_from_folders_before_it(package: str) -> None:
    order = ORDER[package].split()
    there = {name.removeprefix(f"{package}.").split(".")[0] for name in modules() if name.startswith(f"{package}.")}
    for name in sorted(there ^ set(order)):
        todo = f"add {name}, behind what it imports" if name in there else f"remove {name}, which is gone"
        pytest.fail(f"ORDER[{package!r}] in tests/test_rooms.py: {todo}")
    for name, targets in graph().items():
        for target in sorted(targets):
            if not (name.startswith(f"{package}.") and target.startswith(f"{package}.")):
                continue
            above, below = (dotted.removeprefix(f"{package}.").split(".")[0] for dotted in (name, target))
            assert order.index(below) <= order.index(above), (
                f"{path(name)} imports {path(target)}: {below} comes after {above}; move what both need to {above} or before it"
            )


def test_no_modules_import_one_another_in_a_circle() -> None:
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        circle = " <- ".join(path(name) for name in error.args[1])
        pytest.fail(f"circle of imports: {circle}; move what they share to a module that imports none of them")


def test_no_folder_has_too_many_modules() -> None:
    for folder in sorted({source.parent for source in modules().values()}):
        count = len([source for source in folder.glob("*.py") if not source.stem.startswith("__")])
        name = str(folder.relative_to(ROOT))
        assert count <= WIDEST, f"{name} has {count} modules: move some to a folder named for what they share"


NAME = r"(?:\w+/)*(?:\w+/|\w+\.py)(?!\w)"
"""A module or a folder in a tour: `words.py`, `formats/`, `formats/plain.py`."""


def entries(tour: str) -> set[str]:
    """Names that begin a line of a tour, alone or several with commas between."""
    starts = re.findall(rf"^ *({NAME}(?:, {NAME})*)", tour, re.MULTILINE)
    return {top(name) for start in starts for name in start.split(", ")}


def top(name: str) -> str:
    """`formats/plain.py` -> `formats/`."""
    return name.split("/")[0] + "/" if "/" in name else name


@pytest.mark.parametrize("package", PACKAGES)
def test_the_tour_of_a_package_names_what_is_in_it(package: str) -> None:
    init = modules()[package]
    tour = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) or ""
    inside = [file.relative_to(init.parent) for file in init.parent.rglob("*.*") if "__pycache__" not in file.parts]
    files = {str(file) for file in inside if file.suffix == ".py" and len(file.parts) == 1} - {"__init__.py"}
    there = files | {f"{file.parts[0]}/" for file in inside if len(file.parts) > 1}
    missing = sorted(there - {top(name) for name in re.findall(rf"(?<![\w/.]){NAME}", tour)})
    gone = sorted(entries(tour) - there)
    advice = [f"add {', '.join(missing)}"] * bool(missing) + [f"remove {', '.join(gone)} (not in the folder)"] * bool(gone)
    if advice:
        pytest.fail(f"docstring of {path(package)}: {'; '.join(advice)}", pytrace=False)


@pytest.mark.parametrize("room", ROOMS)
def test_the_room_imported_is_ours(room: str) -> None:
    found = Path(__import__(room).__file__ or "")
    assert ROOT in found.parents, f"another installed package is named {room!r}: {found}; uninstall it from this environment"


@pytest.mark.parametrize("package", HOMES)
def test_a_heavy_package_has_one_home(package: str) -> None:
    for source in modules().values():
        room = source.relative_to(ROOT).parts[0]
        if package in outside(source):
            homes = ", ".join(HOMES[package])
            assert room in HOMES[package], (
                f"{source.relative_to(ROOT)} imports {package}: only {homes}/ may; move the code there"
            )


def loaded_by(statement: str) -> set[str]:
    """Heavy packages that a fresh Python has loaded after a statement."""
    program = f"import sys\n{statement}\nprint(' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(done.stdout.split())


def too_much(loaded: set[str]) -> str:
    return f"loads {', '.join(sorted(loaded))}: import it inside the function that needs it"


def test_help_loads_nothing_heavy() -> None:
    statement = "from workflows.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\nprint()"
    loaded = loaded_by(statement) & set(HEAVY)
    assert not loaded, f"nezha-pipe --help {too_much(loaded)}"


def test_the_trainer_loads_torch_alone() -> None:
    loaded = loaded_by("import model.training.loop") - {"torch"}
    assert not loaded, f"model/training/loop.py {too_much(loaded)}"


def test_light_modules_are_light() -> None:
    light = ["pipeline.config", "model.config", "cluster.config", "pipeline.examples.shards", "pipeline.tokenization.vocab"]
    if not loaded_by(f"import {', '.join(light)}"):
        return
    for module in light:
        loaded = loaded_by(f"import {module}")
        assert not loaded, f"{path(module)} {too_much(loaded)}"
