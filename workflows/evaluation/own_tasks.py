"""Tasks of your own from a TOML file: `evaluate --tasks complaints.toml,ocnli`.

[complaints]
kind = "classification"
files = "complaints/{split}.jsonl"
text = "content"
label = "department"
"""

from collections import Counter
from pathlib import Path

from pipeline.errors import RecipeError
from workflows import toml_settings
from workflows.evaluation.task import Task


def named_tasks(names: str) -> tuple[tuple[str, ...], dict[str, Task], str]:
    """Return what `A,B,my.toml` names: tasks, those of your own, and the folder of the file; "" without one.

    Raises: RecipeError for a file that is wrong, and for a task that is named twice.
    """
    found: list[str] = []
    own: dict[str, Task] = {}
    folder = ""
    for name in filter(None, map(str.strip, names.split(","))):
        tasks = read_own_tasks(name) if name.endswith(".toml") else {}
        own |= tasks
        found += tasks or [name]
        folder = folder or (str(Path(name).parent) if tasks else "")
    if twice := [name for name, count in Counter(found).items() if count > 1]:
        raise RecipeError(f"task {twice[0]!r} is named twice")
    return tuple(found), own, folder


def read_own_tasks(path: str) -> dict[str, Task]:
    """Return the tasks of a TOML file, by name.

    Raises: RecipeError naming the file, the table and the key that are wrong.
    """
    content = toml_settings.parse(toml_settings.read_text(Path(path), "file"), path)
    if plain := [name for name, table in content.items() if not isinstance(table, dict)]:
        raise RecipeError(f"{path}: {plain[0]!r} is in no table; write [name] above it, the name of the task")
    if not content:
        raise RecipeError(f"{path}: no task in it; write [name], and below it kind, files, text, label")
    return {name: toml_settings.build(Task, table, f"{path} [{name}]") for name, table in content.items()}
