"""Compressed files: what follows a stream is another stream, padding that the format allows, or an error; never the end."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from pipeline import storage
from pipeline.errors import CorpusError
from pipeline.sources.formats.evaluation import strings
from pipeline.sources.inputs import expand
from pipeline.tfrecords import tfrecord
from tests.corpus import text_documents
from tests.reading import read_data, texts
from workflows.evaluation.examples import read_text
from workflows.inference.text_inputs import read_chunks

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.compress,
}
FIRST, SECOND = ("\n\n".join(text_documents(seed, 40)).encode() for seed in (1, 2))
BOTH = FIRST + b"\n\n" + SECOND
GARBAGE = (b"\0", b"\0" * 511, b"\n", b"garbage", bytes(range(1, 255)) * 2_000)


def streams(kind: str, between: bytes, end: bytes = b"") -> bytes:
    return COMPRESS[kind](FIRST) + between + COMPRESS[kind](b"\n\n" + SECOND) + end


PADDING = [("gz", b"\0"), ("gz", b"\0" * 513), ("xz", b"\0" * 4), ("xz", b"\0" * (1 << 19)), ("bz2", b""), ("zst", b"")]


@pytest.mark.parametrize(("kind", "padding"), PADDING)
def test_reading_goes_on_after_padding(tmp_path: Path, kind: str, padding: bytes) -> None:
    expected = texts(read_data(tmp_path / "f", BOTH))
    assert len(expected) == 80
    assert texts(read_data(tmp_path / "f", streams(kind, padding, padding))) == expected


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: f"{garbage[:4]!r}*{len(garbage)}")
def test_anything_else_after_a_stream_is_damage(tmp_path: Path, kind: str, garbage: bytes) -> None:
    zeros = not garbage.strip(b"\0")
    for data in (streams(kind, garbage), streams(kind, b"", garbage)):
        if kind == "gz" and zeros:
            continue
        with pytest.raises(CorpusError, match=r"f: the compressed file is cut short or damaged \(.+\); fetch it again"):
            read_data(tmp_path / "f", data)


OPENERS: dict[str, Callable[[Path], object]] = {
    "evaluation texts": lambda path: [*strings(str(path))],
    "task examples": lambda path: read_text(str(path)),
    "texts to embed": lambda path: [*read_chunks(expand([str(path)]), "text", None)],
    "TFRecord": lambda path: [*tfrecord.read_records(str(path))],
    "storage": lambda path: [*storage_lines(path)],
}


def storage_lines(path: Path) -> list[bytes]:
    with storage.open_read(str(path), "infer") as file:
        return [*file]


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("kind", ["bz2", "xz"])
def test_every_opener_reads_on_and_finds_damage(tmp_path: Path, opener: str, kind: str) -> None:
    if opener == "TFRecord":
        buffer = io.BytesIO()
        tfrecord.write_records(buffer, [b"a", b"b"])
        first = second = buffer.getvalue()
    else:
        first, second = "label\ttext_a\n1\t好书。\n".encode(), "0\t坏书。\n".encode()
    for name in (f"a.{kind}", "a"):
        path = tmp_path / name
        path.write_bytes(first + second)
        whole = OPENERS[opener](path)
        path.write_bytes(COMPRESS[kind](first) + COMPRESS[kind](second))
        assert OPENERS[opener](path) == whole
        path.write_bytes(COMPRESS[kind](first) + b"damage" + COMPRESS[kind](second))
        with pytest.raises(CorpusError, match="cut short or damaged"):
            OPENERS[opener](path)


def test_a_window_too_large_is_told_with_the_command(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=28)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()  # of unknown size, as from a pipe
    data = compressor.compress(BOTH) + compressor.flush()
    with pytest.raises(CorpusError, match=r"window of more than 128 MiB \(--long\); unpack it first: zstd -d --long=31 .*f$"):
        read_data(tmp_path / "f", data)
