"""TensorFlow checkpoints (format V2, "tensor bundles"), read and written without TensorFlow. A first reader can skip this file.

    model.ckpt-900000.index                   a sorted table: tensor name -> type, shape, location and checksum
    model.ckpt-900000.data-00000-of-00001     the raw tensors, concatenated

    bundle = TensorBundle.open("nezha-base/model.ckpt-900000")
    bundle.entries["bert/embeddings/word_embeddings"].shape     (21128, 768)
    bundle.tensor("bert/embeddings/word_embeddings")            tensor([[-0.0167, ...

The index is a LevelDB table: blocks of entries with prefix-compressed keys, a checksum per block, and a footer that locates
the index of blocks.
Sources: LevelDB's doc/table_format.md; TensorFlow's tensor_bundle.proto, tensor_shape.proto, types.proto.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

import torch
from torch import Tensor

from pipeline import storage
from pipeline.errors import CheckpointError, StorageError
from pipeline.tfrecords.checksum import masked_crc32c

FOOTER, MAGIC = 48, 0xDB4775248B80FB57
TYPES = {1: torch.float32, 2: torch.float64, 3: torch.int32, 9: torch.int64, 14: torch.bfloat16, 19: torch.float16}
"""DataType in types.proto -> torch dtype; the other types (strings, quantised) hold no weights."""
_PLAIN, _SNAPPY = 0, 1
Fields = dict[int, list[int | bytes]]


@dataclass(frozen=True)
class Entry:
    """Type, shape and location of a tensor (BundleEntryProto)."""

    type: int
    """A key of `TYPES`."""
    shape: tuple[int, ...]
    shard: int
    """Number of the data file."""
    offset: int
    """First byte in it."""
    size: int
    """Bytes."""
    crc: int
    """Masked CRC-32C of the bytes."""
    sliced: bool
    """Saved in slices by a partitioner."""


@dataclass(frozen=True)
class TensorBundle:
    """An open checkpoint: its index. Tensors are read one at a time."""

    prefix: str
    shards: int
    entries: dict[str, Entry]

    @staticmethod
    def open(prefix: str) -> "TensorBundle":
        """Read `<prefix>.index`. Raises: CheckpointError if it is damaged or something else."""
        url = f"{prefix}.index"
        data = storage.read_bytes(url)
        try:
            table = dict(_table(data))
            header = _fields(table.pop(b"", b""))
            if header.get(2, [0])[0]:
                raise ValueError("its numbers are big-endian, from another kind of machine")
            named = {key.decode(): _entry(value) for key, value in table.items() if not key.startswith(b"\0")}  # \0: slices
            return TensorBundle(prefix, _int(header, 1), named)
        except (ValueError, IndexError, KeyError, TypeError, struct.error) as error:
            raise CheckpointError(f"{url}: not the index of a TensorFlow checkpoint, or damaged ({error})") from error

    def tensor(self, name: str) -> Tensor:
        """Read one tensor. Raises: CheckpointError if its file is missing or truncated, or its checksum differs."""
        entry = self.entries[name]
        if entry.sliced:
            raise CheckpointError(f"{self.prefix}: {name} is saved in slices; save the checkpoint without a partitioner")
        if entry.type not in TYPES:
            raise CheckpointError(f"{self.prefix}: {name} has data type {entry.type} (types.proto), which holds no weights")
        url = f"{self.prefix}.data-{entry.shard:05d}-of-{self.shards:05d}"
        try:
            data = storage.read_range(url, entry.offset, entry.offset + entry.size)
        except StorageError as error:
            raise CheckpointError(f"{error}; a TensorFlow checkpoint needs both its .index and .data files") from error
        if len(data) != entry.size:
            raise CheckpointError(f"{url}: truncated inside {name}; download the file again")
        if masked_crc32c(data) != entry.crc:
            raise CheckpointError(f"{url}: {name} is damaged (its checksum differs); download the file again")
        if not data:
            return torch.empty(entry.shape, dtype=TYPES[entry.type])
        return torch.frombuffer(bytearray(data), dtype=TYPES[entry.type]).reshape(entry.shape)


def write_bundle(prefix: str, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as a checkpoint with one data file. Equal tensors give equal bytes."""
    types = {kind: number for number, kind in TYPES.items()}
    rows, offset = [(b"", _field(1, 1) + _field(3, _field(1, 1)))], 0  # the header: one shard, producer 1
    with storage.open_write(f"{prefix}.data-00000-of-00001") as file:
        for name, tensor in sorted(tensors.items(), key=lambda item: item[0].encode()):
            data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
            shape = b"".join(_field(2, _field(1, size)) for size in tensor.shape)
            place = _field(4, offset) + _field(5, len(data)) + b"\x35" + struct.pack("<I", masked_crc32c(data))
            rows.append((name.encode(), _field(1, types[tensor.dtype]) + _field(2, shape) + place))
            file.write(data)
            offset += len(data)
    with storage.open_write(f"{prefix}.index") as file:
        block = _write_block(file, 0, rows)
        nothing = _write_block(file, sum(block) + 5, [])
        index = _write_block(file, sum(nothing) + 5, [(rows[-1][0], _handle(block))])
        file.write((_handle(nothing) + _handle(index)).ljust(FOOTER - 8, b"\0") + struct.pack("<Q", MAGIC))


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a sorted table, in order."""
    if len(data) < FOOTER or struct.unpack("<Q", data[-8:])[0] != MAGIC:
        raise ValueError("its footer is missing: another kind of file, or truncated")
    footer = data[-FOOTER:]
    _, at = _varints(footer, 0, 2)  # location of the metadata block, which is empty
    for _, handle in _rows(_block(data, _varints(footer, at, 2)[0])):
        yield from _rows(_block(data, _varints(handle, 0, 2)[0]))


def _block(data: bytes, place: list[int]) -> bytes:
    """Return the content of a block. The 5 bytes after it are its compression type and a checksum."""
    offset, size = place
    packed, end = data[offset : offset + size], data[offset + size : offset + size + 5]
    if masked_crc32c(packed + end[:1]) != struct.unpack("<I", end[1:])[0]:
        raise ValueError("the checksum of a block differs")
    if end[0] == _SNAPPY:
        import pyarrow as pa

        return bytes(pa.decompress(packed, decompressed_size=_varints(packed, 0, 1)[0][0], codec="snappy", asbytes=True))
    if end[0] != _PLAIN:
        raise ValueError(f"a block has unknown compression type {end[0]}")
    return packed


def _rows(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of a block. Each key gives the length of the prefix it shares with the key before it, and the rest.

    A block ends with the offsets of its restart points and their number, four bytes each.
    """
    end = len(block) - 4 - 4 * struct.unpack("<I", block[-4:])[0]
    at, key = 0, b""
    while at < end:
        (shared, own, size), at = _varints(block, at, 3)
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + size]
        at += own + size


def _write_block(file: IO[bytes], offset: int, rows: Sequence[tuple[bytes, bytes]]) -> tuple[int, int]:
    """Write a block with all keys in full, at `offset`. Return its offset and size."""
    content, restarts = b"", []
    for key, value in rows:
        restarts.append(len(content))
        content += b"\0" + _varint(len(key)) + _varint(len(value)) + key + value
    content += struct.pack(f"<{max(1, len(restarts))}I", *(restarts or [0])) + struct.pack("<I", max(1, len(restarts)))
    file.write(content + b"\0" + struct.pack("<I", masked_crc32c(content + b"\0")))
    return offset, len(content)


def _handle(place: tuple[int, int]) -> bytes:
    return _varint(place[0]) + _varint(place[1])


def _entry(value: bytes) -> Entry:
    """Parse a BundleEntryProto."""
    fields = _fields(value)
    sizes = [_int(_fields(_bytes(dim)), 1) for dim in _fields(_bytes(fields.get(2, [b""])[0])).get(2, [])]
    shard, offset, size, crc = (_int(fields, number) for number in (3, 4, 5, 6))
    return Entry(_int(fields, 1), tuple(sizes), shard, offset, size, crc, sliced=7 in fields)


def _fields(message: bytes) -> Fields:
    """Return the fields of a protocol buffer message by number (protobuf.dev, "Encoding")."""
    fields: Fields = {}
    at = 0
    while at < len(message):
        (key,), at = _varints(message, at, 1)
        value: int | bytes
        if key & 7 == 0:
            (value,), at = _varints(message, at, 1)
        elif key & 7 == 2:
            (size,), at = _varints(message, at, 1)
            value, at = message[at : at + size], at + size
        else:
            size = {1: 8, 5: 4}[key & 7]
            value, at = int.from_bytes(message[at : at + size], "little"), at + size
        fields.setdefault(key >> 3, []).append(value)
    return fields


def _int(fields: Fields, number: int) -> int:
    value = fields.get(number, [0])[0]  # proto3 omits zeros
    if not isinstance(value, int):
        raise ValueError(f"field {number} of a message is not a number")
    return value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number in place of a message")
    return value


def _field(number: int, value: int | bytes) -> bytes:
    """Encode a field of a message: a number, or a nested message or text."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varints(data: bytes, at: int, count: int) -> tuple[list[int], int]:
    """Decode `count` varints (7 bits per byte, lowest first) from `at` on. Return them and the index after them."""
    numbers = []
    for _ in range(count):
        number = shift = 0
        while data[at] & 0x80:
            number, shift, at = number | (data[at] & 0x7F) << shift, shift + 7, at + 1
        numbers.append(number | data[at] << shift)
        at += 1
    return numbers, at


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*data, number])
