"""Weights and configurations that were damaged, or made to do harm: one line, soon; nothing outside their folder is read."""

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model.conversion.reading import read
from pipeline.errors import UserError
from tests.converting import NEZHA, random_weights, save, shape

VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    10**30,
    2**31,
    1.5,
    float("nan"),
    float("inf"),
    "abc",
    "9" * 5_000,
    "\x1b[31m",
    [],
    {"a": 1},
]
KEYS = (*shape(), "layer_norm_eps", "initializer_range", "hidden_dropout_prob", "positions", "relative_positions", "model_type")
DEEP = {
    "lists": "[" * 100_000,
    "objects": '{"a":' * 100_000,
    "a number": "5",
    "nothing": "",
    "digits": '{"a": ' + "9" * 5_000 + "}",
}
INDEXES: list[Any] = [
    *("x", [], 5, {}, {"a": 5}, {"a": None}, {"a": ["x"]}, {"": ""}),
    *({"a": "/etc/passwd"}, {"a": "../other/model.safetensors"}, {"a": "..\\model.safetensors"}, {"a": "missing.safetensors"}),
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("weights") / "in", shape() | NEZHA, random_weights().tensors)


def outcome(folder: Path) -> str:
    """Read weights; return the error, which must be one short line, or nothing."""
    try:
        read(str(folder))
    except UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 400 and str(error).isprintable(), repr(error)
        return str(error)
    return ""


def altered(weights: Path, folder: Path, name: str, content: bytes) -> Path:
    """A copy of the weights with one other file."""
    folder.mkdir(exist_ok=True)
    for path in weights.iterdir():
        if not (folder / path.name).exists():
            (folder / path.name).hardlink_to(path)
    (folder / name).unlink(missing_ok=True)
    (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("key", KEYS)
def test_no_value_in_a_configuration_does_more_than_be_refused(weights: Path, tmp_path: Path, key: str) -> None:
    content = json.loads((weights / "config.json").read_text())
    for value in VALUES:
        outcome(altered(weights, tmp_path / "in", "config.json", json.dumps(content | {key: value}).encode()))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
@pytest.mark.parametrize("content", DEEP.values(), ids=DEEP)
def test_json_that_is_no_object_or_is_too_deep_is_one_line(weights: Path, tmp_path: Path, name: str, content: str) -> None:
    assert outcome(altered(weights, tmp_path / "in", name, content.encode()))


@pytest.mark.parametrize("index", INDEXES, ids=repr)
def test_an_index_names_files_next_to_it_or_is_refused(weights: Path, tmp_path: Path, index: Any) -> None:
    message = outcome(
        altered(weights, tmp_path / "in", "model.safetensors.index.json", json.dumps({"weight_map": index}).encode())
    )
    assert "weight_map" in message or "does not exist" in message or "not found" in message


def _flipped(seed: int) -> Callable[[bytes], bytes]:
    generator = random.Random(seed)
    return lambda data: bytes(byte ^ (index < 2_000 and generator.random() < 0.01) for index, byte in enumerate(data))


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "no header": lambda data: data[:7],
    "half": lambda data: data[: len(data) // 2],
    "a header beyond the file": lambda data: struct.pack("<Q", 2**40) + data[8:],
    "the largest header": lambda data: struct.pack("<Q", 2**63 - 1) + data[8:],
    "a deep header": lambda data: struct.pack("<Q", 200_000) + b'{"a":' * 40_000,
    "more than its tensors": lambda data: data + bytes(100),
    **{f"flipped bits {seed}": _flipped(seed) for seed in range(10)},
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_weights_are_one_line(weights: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    data = (weights / "model.safetensors").read_bytes()
    assert outcome(altered(weights, tmp_path / "in", "model.safetensors", damage(data)))
