"""Checks of settings, for the classes that hold them: types and ranges."""

import math
from typing import Literal, get_args, get_origin, get_type_hints

LARGEST_SEED = 2**63 - 1
"""What the random generators of numpy and torch take alike."""


def check_types(settings: object) -> None:
    """Check fields that are numbers, text, truth values or one of some words; settings may come from a foreign JSON file.

    Raises: ValueError for the first field of another type.
    """
    for name, kind in get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        if get_origin(kind) is Literal:
            fits, wanted = value in get_args(kind), f"one of {', '.join(map(str, get_args(kind)))}"
        elif kind is float:
            fits, wanted = type(value) in (int, float), "a number"
        elif kind in _TYPES:
            fits, wanted = type(value) is kind, _TYPES[kind]
        else:
            continue
        if not fits:
            raise ValueError(f"{name} {value!r:.60} is not {wanted}")


_TYPES = {int: "a whole number", str: "text", bool: "true or false"}


def check_ranges(settings: object, **ranges: tuple[float, float]) -> None:
    """Check that fields are within their ranges, bounds included.

    Raises: ValueError for the first field that is not. NaN is in no range.
    """
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        if not low <= value <= high:
            outside = f"below {low:g}" if value < low and high == math.inf else f"not between {low:g} and {high:g}"
            raise ValueError(f"{name} {value} is {outside}")
