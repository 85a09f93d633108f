"""TensorFlow checkpoints without TensorFlow: reading its files, refusing damaged ones, writing files that it reads."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from model.conversion import tensor_bundle
from model.conversion.tensor_bundle import TensorBundle, write_bundle
from pipeline.engine.integrity import crc32c
from pipeline.errors import CheckpointError
from pipeline.tfrecords.checksum import masked_crc32c

GOLDEN = Path(__file__).parent / "golden" / "tensor_bundle"
PREFIX = str(GOLDEN / "model.ckpt-900000")
PEER = str(Path(__file__).parent / "tensorflow_peer.py")
TENSORS = {f"layer_{i}/kernel": torch.arange(float(i * 3)).reshape(i, 3) for i in range(1, 40)} | {"step": torch.tensor(7)}


def bitwise_crc32c(data: bytes) -> int:
    """CRC-32C as RFC 3720 defines it, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_checksums_are_those_of_the_standard_and_of_another_implementation() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA and crc32c(b"") == 0  # RFC 3720, appendix B.4
    assert masked_crc32c(b"123456789") == 0xC78AB0E5
    data = np.random.default_rng(0).bytes(70_000)
    for size in (*range(1, 20), 31, 32, 33, 63, 64, 65, 255, 4_095, 4_096, 4_097, 70_000):
        assert crc32c(memoryview(data)[:size]) == bitwise_crc32c(data[:size]), size


def test_what_tensorflow_wrote_is_read() -> None:
    bundle, values = TensorBundle.open(PREFIX), np.load(GOLDEN / "values.npz")
    assert bundle.shards == 2 and bundle.entries.keys() == set(values.files) and len(values.files) == 13
    for name in values.files:
        tensor = bundle.tensor(name)
        assert np.array_equal(tensor.double().numpy(), values[name]) and tensor.shape == values[name].shape, name
    assert bundle.tensor("bfloat16").dtype == torch.bfloat16 and bundle.tensor("global_step").dtype == torch.int64


def test_a_tensor_in_slices_is_refused() -> None:
    bundle = TensorBundle.open(str(GOLDEN / "sliced.ckpt"))
    assert bundle.entries["w"].shape == (4, 2)
    with pytest.raises(CheckpointError, match="w is saved in slices"):
        bundle.tensor("w")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_bundle(str(tmp_path / "a"), TENSORS)
    bundle = TensorBundle.open(str(tmp_path / "a"))
    assert bundle.entries.keys() == TENSORS.keys()
    assert all(torch.equal(bundle.tensor(name), tensor) for name, tensor in TENSORS.items())


def test_keys_that_share_a_beginning_and_packed_blocks_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(str(tmp_path / "a"), TENSORS)
    rows = list(tensor_bundle._table((tmp_path / "a.index").read_bytes()))
    blocks, content, last = [], b"", b""
    for number, (key, value) in enumerate(rows):  # as LevelDB's own writer has them: shared prefixes, several blocks
        same = next((i for i, pair in enumerate(zip(key, last, strict=False)) if pair[0] != pair[1]), min(len(key), len(last)))
        same = same if content else 0
        content += bytes([same, len(key) - same, len(value)]) + key[same:] + value
        last = key
        if number % 7 == 6 or number == len(rows) - 1:
            blocks.append((key, content + bytes([0, 0, 0, 0, 1, 0, 0, 0])))
            content = b""
    file, index = b"", b""

    def add(block: bytes, packed: bool) -> bytes:
        nonlocal file
        body = pa.compress(block, codec="snappy", asbytes=True) if packed else block
        place = tensor_bundle._handle((len(file), len(body)))
        kind = bytes([packed])
        file += body + kind + masked_crc32c(body + kind).to_bytes(4, "little")
        return place

    for number, (key, block) in enumerate(blocks):
        place = add(block, number % 2 == 0)
        index += bytes([0, len(key), len(place)]) + key + place
    nothing = bytes([0, 0, 0, 0, 1, 0, 0, 0])
    footer = add(nothing, False) + add(index + nothing, True)
    file += footer.ljust(40, b"\0") + tensor_bundle.MAGIC.to_bytes(8, "little")
    (tmp_path / "a.index").write_bytes(file)
    bundle = TensorBundle.open(str(tmp_path / "a"))
    assert len(blocks) == 6 and all(torch.equal(bundle.tensor(name), tensor) for name, tensor in TENSORS.items())


def change(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


INDEX, DATA = "a.index", "a.data-00000-of-00001"
DAMAGED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "an index cut short": (
        lambda f: (f / INDEX).write_bytes((f / INDEX).read_bytes()[:-9]),
        "a.index: not the index of",
    ),
    "a changed index": (lambda f: change(f / INDEX, 40), "the checksum of a block differs"),
    "something else": (lambda f: (f / INDEX).write_bytes(b"{}" * 100), "its footer is missing"),
    "no data": (lambda f: (f / DATA).unlink(), "data-00000-of-00001: not found; a TensorFlow checkpoint needs both"),
    "data cut short": (
        lambda f: (f / DATA).write_bytes((f / DATA).read_bytes()[:-8]),
        "00000-of-00001: truncated inside",
    ),
    "a changed number": (lambda f: change(f / DATA, 100), "layer_10/kernel is damaged"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path, name: str) -> None:
    write_bundle(str(tmp_path / "a"), TENSORS)
    damage, message = DAMAGED[name]
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=message) as refused:
        bundle = TensorBundle.open(str(tmp_path / "a"))
        for tensor in bundle.entries:
            bundle.tensor(tensor)
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_tensorflow_reads_what_we_write_and_we_read_what_it_writes(tmp_path: Path) -> None:
    python = str(tmp_path / "venv" / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "tensorflow-cpu==2.21.0"]
    if subprocess.run(install, capture_output=True).returncode:
        pytest.skip("no package index in reach has tensorflow-cpu 2.21.0")
    wide = {"bert/embeddings/word_embeddings": torch.randn(30_000, 16), "bf": torch.ones(3, dtype=torch.bfloat16)}
    write_bundle(str(tmp_path / "ours"), TENSORS | wide)
    subprocess.run([python, PEER, "read", str(tmp_path / "ours"), str(tmp_path / "read.npz")], check=True, capture_output=True)
    found = np.load(tmp_path / "read.npz")
    assert set(found.files) == {*TENSORS, *wide}
    assert all(np.array_equal(found[name], tensor.double().numpy()) for name, tensor in (TENSORS | wide).items())
    subprocess.run([python, PEER, "write", str(tmp_path)], check=True, capture_output=True)
    bundle, values = TensorBundle.open(str(tmp_path / "model.ckpt-900000")), np.load(tmp_path / "values.npz")
    assert all(np.array_equal(bundle.tensor(name).double().numpy(), values[name]) for name in values.files)
