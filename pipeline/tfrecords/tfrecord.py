"""TFRecord files and the tf.train.Example messages in them, without TensorFlow.

    bytes of a record      34 03 00 00 00 00 00 00 | 64 23 a8 f5 | 820 bytes | 4 bytes
                           length, little-endian     its checksum  message     its checksum

    a message              {"input_ids": [101, 2005, ...], "masked_lm_weights": [1.0, ...], "next_sentence_labels": [1]}

The format is described in TensorFlow's tensorflow/core/lib/io/record_writer.h, the messages in core/example/example.proto and
feature.proto. Messages are read and written by the protobuf runtime, which Beam brings.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.errors import CorpusError
from pipeline.sources.formats import compression

RECORDS_AT_A_TIME = 512
"""Checksums are computed over so many records at once."""
_LONGEST = 1 << 26  # bytes; a length beyond it is no record of examples, but a file of another kind


def read_records(url: str) -> Iterator[bytes]:
    """The records of a file, gz, bz2, xz or zst packed or not, which its first bytes tell.

    Raises: CorpusError for a file that is cut short, or whose checksums do not fit.
    """
    with storage.open_read(url) as packed:
        kind = compression.of(packed.read(16))
        packed.seek(0)
        file = compression.unpacked(packed, kind, url)
        number, whole = 0, True
        while whole:
            records: list[_Record] = []
            while whole and len(records) < RECORDS_AT_A_TIME and (head := file.read(12)):
                length = int.from_bytes(head[:8], "little")
                body = file.read(length + 4) if length <= _LONGEST else b""
                whole = len(head) == 12 and len(body) == length + 4
                records.append((head[:8], head[8:], body[:length], body[length:]))
            _check(records, whole, url, number)
            yield from (data for _, _, data, _ in records)
            number += len(records)
            whole = len(records) == RECORDS_AT_A_TIME


_Record = tuple[bytes, bytes, bytes, bytes]
"""Length, its checksum, data, their checksum."""


def _check(records: Sequence[_Record], whole: bool, url: str, number: int) -> None:
    """`whole`: whether the last record is all there; `number`: of the first."""
    if not records:
        return
    lengths, length_crcs, data, crcs = zip(*records, strict=True)
    no_length = masked_crc32c(lengths) != _numbers(length_crcs)
    damaged = masked_crc32c(data) != _numbers(crcs)
    wrong = np.flatnonzero(no_length | damaged)
    if not len(wrong) and whole:
        return
    first = int(wrong[0]) if len(wrong) else len(records) - 1
    if no_length[first] and len(length_crcs[first]) == 4:
        reason = "has no valid length; is this a TFRecord file, and whole?"
    elif first == len(records) - 1 and not whole:
        reason = "is cut short; fetch the file again"
    else:
        reason = "is damaged (its checksum differs); fetch the file again"
    raise CorpusError(f"{url}: record {number + first} {reason}")


def _numbers(crcs: Sequence[bytes]) -> NDArray[np.uint32]:
    return np.array([int.from_bytes(crc, "little") for crc in crcs], np.uint32)


def write_records(file: IO[bytes], records: Iterable[bytes]) -> int:
    """Write records to an open file; how many there were."""
    number, coming = 0, iter(records)
    while some := list(islice(coming, RECORDS_AT_A_TIME)):
        lengths = [struct.pack("<Q", len(record)) for record in some]
        crcs = zip(masked_crc32c(lengths).tolist(), masked_crc32c(some).tolist(), strict=True)
        for record, length, (length_crc, crc) in zip(some, lengths, crcs, strict=True):
            file.write(length + struct.pack("<I", length_crc) + record + struct.pack("<I", crc))
        number += len(some)
    return number


def masked_crc32c(records: Sequence[bytes]) -> NDArray[np.uint32]:
    """(n,) the masked CRC-32C of each record (record_writer.h: rotated right by 15 bits, plus a constant)."""
    crc = _crc32c(records)
    return ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(0xA282EAD8)


def _crc32c(records: Sequence[bytes]) -> NDArray[np.uint32]:
    """(n,) CRC-32C (RFC 3720, appendix B.4) of each record: byte after byte, over all records at once."""
    table = _table()
    lengths = np.array([len(record) for record in records])
    order = np.argsort(-lengths, kind="stable")
    columns = np.zeros((int(lengths.max(initial=0)), len(records)), np.uint8)
    for place, number in enumerate(order.tolist()):
        columns[: lengths[number], place] = np.frombuffer(records[number], np.uint8)
    alive = np.searchsorted(-lengths[order], -np.arange(len(columns)))  # records that are longer than each place
    crc = np.full(len(records), 0xFFFFFFFF, np.uint32)
    for column, number in zip(columns, alive.tolist(), strict=True):
        now = crc[:number]
        crc[:number] = table[(now ^ column[:number]) & np.uint32(255)] ^ (now >> np.uint32(8))
    result = np.empty(len(records), np.uint32)
    result[order] = ~crc
    return result


@cache
def _table() -> NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ np.where(table & np.uint32(1), np.uint32(0x82F63B78), np.uint32(0))
    return table


@cache
def _message() -> Any:
    """The class of tf.train.Example."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]

    field = descriptor_pb2.FieldDescriptorProto
    one, many, message = field.LABEL_OPTIONAL, field.LABEL_REPEATED, field.TYPE_MESSAGE
    file = descriptor_pb2.FileDescriptorProto(name="nezha_pipe/example.proto", package="tensorflow", syntax="proto3")
    lists = {"BytesList": field.TYPE_BYTES, "FloatList": field.TYPE_FLOAT, "Int64List": field.TYPE_INT64}
    feature = descriptor_pb2.DescriptorProto(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, kind) in enumerate(lists.items(), start=1):
        file.message_type.add(name=name).field.add(name="value", number=1, label=many, type=kind)
        place = {"name": name.replace("List", "_list").lower(), "number": number, "oneof_index": 0}
        feature.field.add(label=one, type=message, type_name=f".tensorflow.{name}", **place)
    file.message_type.append(feature)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=one, type=field.TYPE_STRING)
    entry.field.add(name="value", number=2, label=one, type=message, type_name=".tensorflow.Feature")
    of_features = ".tensorflow.Features.FeatureEntry"
    features.field.add(name="feature", number=1, label=many, type=message, type_name=of_features)
    example = file.message_type.add(name="Example")
    example.field.add(name="features", number=1, label=one, type=message, type_name=".tensorflow.Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


def decode(record: bytes) -> dict[str, list[Any]]:
    """The features of a message by name: lists of int, float or bytes. Raises ValueError for bytes that are no message."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        features = _message().FromString(record).features.feature
    except DecodeError as error:
        raise ValueError(str(error)) from error
    return {name: list(getattr(one, one.WhichOneof("kind") or "int64_list").value) for name, one in features.items()}


def encode(features: Mapping[str, Sequence[int] | Sequence[float]]) -> bytes:
    """The message of some features, their names in order: equal features are equal bytes. Lists of float become floats."""
    message = _message()()
    for name, values in features.items():
        feature = message.features.feature[name]
        kind = feature.float_list if values and isinstance(values[0], float) else feature.int64_list
        kind.value.extend(values)
    data: bytes = message.SerializeToString(deterministic=True)
    return data
