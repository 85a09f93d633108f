"""TFRecord files and the tf.train.Example messages in them, without TensorFlow.

    bytes of a record      34 03 00 00 00 00 00 00 | 64 23 a8 f5 | 820 bytes | 4 bytes
                           length, little-endian     its checksum  message     its checksum

    a message              {"input_ids": [101, 2005, ...], "masked_lm_weights": [1.0, ...], "next_sentence_labels": [1]}

The format is described in TensorFlow's tensorflow/core/lib/io/record_writer.h, the messages in core/example/example.proto and
feature.proto. Messages are read and written by the protobuf runtime, which Beam depends on.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import IO, Any

from pipeline import storage
from pipeline.errors import CorpusError
from pipeline.tfrecords.checksum import masked_crc32c

_LONGEST_RECORD = 1 << 26
"""Bytes. A larger length means that the file is of another kind."""


def read_records(url: str) -> Iterator[bytes]:
    """Yield the records of a file. Compression (gz, bz2, xz, zst) is detected by the first bytes.

    Raises: CorpusError for a file that is cut short or has a wrong checksum.
    """
    with storage.open_read(url, "infer") as file:
        number = 0
        while head := file.read(12):
            yield _read_record(file, head, f"{url}: record {number}")
            number += 1


def _read_record(file: IO[bytes], head: bytes, where: str) -> bytes:
    """Read and check the data of a record, given its `head`: eight bytes of length and their checksum."""
    if len(head) < 12:
        raise CorpusError(f"{where} is cut short; fetch the file again")
    length = int.from_bytes(head[:8], "little")
    if masked_crc32c(head[:8]) != int.from_bytes(head[8:], "little"):
        raise CorpusError(f"{where} has no valid length; is this a TFRecord file, and whole?")
    body = file.read(length + 4) if length <= _LONGEST_RECORD else b""
    if len(body) < length + 4:
        raise CorpusError(f"{where} is cut short; fetch the file again")
    data = body[:length]
    if masked_crc32c(data) != int.from_bytes(body[length:], "little"):
        raise CorpusError(f"{where} is damaged (its checksum differs); fetch the file again")
    return data


def write_records(file: IO[bytes], records: Iterable[bytes]) -> int:
    """Write records to an open file and return their number."""
    number = 0
    for record in records:
        length = struct.pack("<Q", len(record))
        file.write(length + _checksum(length) + record + _checksum(record))
        number += 1
    return number


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(data))


@cache
def _message() -> Any:
    """Build the class of tf.train.Example from its description, as protoc would from the two .proto files."""
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
    """Return the features of a message by name: lists of int, float or bytes.

    Raises: ValueError for bytes that are not a message.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        features = _message().FromString(record).features.feature
    except DecodeError as error:
        raise ValueError(str(error)) from error
    return {name: list(getattr(one, one.WhichOneof("kind") or "int64_list").value) for name, one in features.items()}


def encode(features: Mapping[str, Sequence[int] | Sequence[float]]) -> bytes:
    """Return the message of some features. Names are sorted, so equal features give equal bytes."""
    message = _message()()
    for name, values in features.items():
        feature = message.features.feature[name]
        kind = feature.float_list if values and isinstance(values[0], float) else feature.int64_list
        kind.value.extend(values)
    data: bytes = message.SerializeToString(deterministic=True)
    return data
