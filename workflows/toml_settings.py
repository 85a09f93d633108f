"""Settings in TOML become frozen dataclasses; what is wrong is one line that names the file, the table and the key.

    build(Recipe, parse(text, "my.toml"), "my.toml")

Used for recipes and for the settings of clusters.
"""

import dataclasses
import difflib
import json
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pipeline.errors import RecipeError

Settings = TypeVar("Settings")
LONGEST_SHOWN = 100
"""Characters of a wrong value that an error message shows."""


def read_text(path: Path, what: str = "recipe") -> str:
    """Read a TOML file: UTF-8, with or without a byte order mark. `what` it is, for error messages.

    Raises: RecipeError naming the first line that is not UTF-8, or why the file cannot be read.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # would wait for ever, or never end
            raise RecipeError(f"{path}: a pipe or a device; copy it into a file first")
        data = path.read_bytes()
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RecipeError(f"{path}: line {line} is not UTF-8; save the {what} as UTF-8") from None


def parse(text: str, name: str) -> dict[str, Any]:
    """Parse TOML; `name` is the file's name in error messages.

    Raises: RecipeError.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{name}: not valid TOML: {error}") from error
    except RecursionError:
        raise RecipeError(f"{name}: tables or lists are nested too deeply") from None
    except ValueError:  # Python reads no decimal number of more than 4,300 digits
        raise RecipeError(f"{name}: a number has too many digits") from None


def build(
    kind: type[Settings],
    content: dict[str, Any],
    name: str,
    renamed: Mapping[tuple[str, str], str] = {},
    renamed_values: Mapping[tuple[str, ...], str] = {},
) -> Settings:
    """Build a dataclass from parsed TOML; `name` is the file's name in error messages.

    Args:
        renamed: (table, old key) -> new key.
        renamed_values: (table, key, old value) -> new value.

    Raises: RecipeError naming the table and the key that are wrong.
    """
    import pydantic

    try:
        text = _as_json(content, name)
        return pydantic.TypeAdapter(kind).validate_json(text, strict=True, extra="forbid")
    except pydantic.ValidationError as error:
        errors = error.errors()
        # An unknown key first: it may be why a required one is missing.
        first = next((one for one in errors if one["type"] == "unexpected_keyword_argument"), errors[0])
        if first["type"] == "unexpected_keyword_argument":
            raise RecipeError(f"{name}{_unknown_key(kind, first['loc'], renamed)}") from None
        # Without the type of a union that was tried last.
        place = _place(first["loc"][:-1] if first["loc"][-1:] in (("int",), ("str",)) else first["loc"])
        if new := renamed_values.get((*map(str, first["loc"]), str(first["input"]))):
            raise RecipeError(f"{name}{place}: {first['input']!r} is now {new!r}") from None
        message = first["msg"].removeprefix("Value error, ")
        given = "" if first["type"] in ("value_error", "missing") else f", not {_shortened(repr(first['input']))}"
        raise RecipeError(f"{name}{place}: {message}{given}") from None


def _as_json(content: dict[str, Any], name: str) -> str:
    """Return settings as JSON, so that types are checked strictly but arrays may become tuples and 1 may mean 1.0.

    Raises: RecipeError for what cannot be JSON.
    """
    try:
        return json.dumps(content, default=str)
    except RecursionError:
        raise RecipeError(f"{name}: tables or lists are nested too deeply") from None
    except ValueError:
        raise RecipeError(f"{name}: a number has too many digits") from None


def _shortened(text: str) -> str:
    """Return what was given, as far as a line has room for it."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def change(content: dict[str, Any], setting: str, option: str = "--set", what: str = "recipe") -> None:
    """Apply `encoder.hidden_size=128` or `phase.0.steps=10`. The value is TOML or a bare word, also for a list of one.

    Args:
        option: the option that it was given by; `what` it changes. Both for error messages.

    Raises: RecipeError.
    """
    path, equals, value = setting.partition("=")
    if not equals:
        example = "encoder.hidden_size=128" if what == "recipe" else "machines.gpus=8"
        raise RecipeError(f"{option} {setting}: write it as table.key=value, for instance {example}")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):  # not TOML, or a number that is too long
        parsed = value
    *tables, key = path.strip().split(".")
    place: Any = content
    try:
        for table in tables:
            place = place[int(table)] if isinstance(place, list) else place.setdefault(table, {})
        if isinstance(place, list):
            place[int(key)] = parsed
        else:
            place[key] = [parsed] if isinstance(place.get(key), list) and isinstance(parsed, str) else parsed
    except (ValueError, IndexError, TypeError, AttributeError):
        advice = "; number repeated tables: phase.0.steps=10" if what == "recipe" else ""
        raise RecipeError(f"{option} {_shortened(setting)}: the {what} has no {_shortened(path)}{advice}") from None


def _unknown_key(root: type, location: tuple[Any, ...], renamed: Mapping[tuple[str, str], str]) -> str:
    """("encoder", "hiden_size") -> ` [encoder]: unknown key 'hiden_size'; did you mean 'hidden_size'?`."""
    *path, key = location
    kind: Any = root
    is_repeated = False
    for part in path:
        if typing.get_origin(kind) in (tuple, dict, Mapping):  # part is a number, or a name that the user chose
            kind = typing.get_args(kind)[-1 if typing.get_origin(kind) is not tuple else 0]
        else:
            kind = typing.get_type_hints(kind)[str(part)]
            is_repeated = typing.get_origin(kind) is tuple
    known = [field.name for field in dataclasses.fields(kind)]
    table = ".".join(part for part in path if isinstance(part, str))
    place = f" [[{table}]]" if is_repeated else f" [{table}]" if table else ""
    if (table, key) in renamed:
        return f"{place}: {key!r} is now {renamed[table, key]!r}"
    near = difflib.get_close_matches(key, known, n=1)
    return f"{place}: unknown key {_shortened(repr(key))}; " + (
        f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    )


def _place(location: tuple[Any, ...]) -> str:
    """("phase", 0, "steps") -> ` phase.0.steps`."""
    return f" {'.'.join(str(part) for part in location)}" if location else ""
