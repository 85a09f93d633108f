"""Short documents: a few places of each, at which a similar or a longer document can be recognised.

    "房间很干净，服务态度也非常好，下次还会来"    anchors: the 12 characters in the middle (more in longer texts)
    a document with one of these anchors        becomes a row: hash of the anchor, and the characters around it
    rows with the same hash                     are compared character by character (short_pairs.py)

A short text has so few n-grams that bands of MinHash miss one pair in twelve above the threshold. Anchors miss none that comes
from edits. A text of less than 32 characters that is similar to another, or contained in it, has lost n-grams at its ends only.
Each edit further inside costs 5 n-grams of both, and hits one anchor at most; exchanging two parts costs 4. There is one more
anchor for every 32 characters.

`short-00000.parquet` of the stage `signatures_<source>`: id, codes (the normalised characters, 16 bits each), anchors (their
32-bit hashes; none for a document that is not short). Documents of up to CONTAINER_CHARACTERS are there, so that dedup needs
no text. All anchors together fill a bitmap, which rules out nearly all places that are nobody's anchor: scanning a document
takes 2 ms per MB.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.arrays import Array, Bytes, CodePoints, Flags, Hashes, Ints, mix, ranges, slices
from pipeline.dedup.ngrams import NormalizedTexts
from pipeline.engine import parquet

Codes = NDArray[np.uint16]
"""Normalised characters, 16 bits each. Rare ones beyond that are folded: two of them are the same by chance (1 / 65,536)."""
Words = NDArray[np.uint32]

CONTAINER_CHARACTERS = 500
"""Longest document in which a short one is looked for, in normalised characters."""
ANCHOR, SMALL_ANCHOR = 12, 6
"""Characters of an anchor, and of one in a text of less than 16."""
_SMALL_BELOW = 16
_CHARACTERS_PER_ANCHOR = 32
_MARGIN = 8
"""The part of a text at each end, as a divisor, that has no anchor: there, few n-grams are lost by an edit."""
_BASE = np.uint32(0x9E3779B1)
_POWERS = [np.uint32(pow(int(_BASE), power, 1 << 32)) for power in range(SMALL_ANCHOR + 1)]
_SCRAMBLE = {ANCHOR: np.uint32(0x85EBCA6B), SMALL_ANCHOR: np.uint32(0xC2B2AE35)}
_BITS_PER_ANCHOR = 256
_MIN_BYTES, _MAX_BYTES = 1 << 20, 1 << 26
"""Size of the bitmap: it fits into a processor's cache, or else one place in a few hundred is taken for an anchor."""
_BATCH_CHARACTERS = 1 << 16
_CHUNK_BYTES = 8 << 20
"""Bytes of the rows that a task passes on at a time."""

STORED = pa.schema(
    [
        pa.field("id", pa.uint64(), nullable=False),
        pa.field("codes", pa.binary(), nullable=False),
        pa.field("anchors", pa.binary(), nullable=False),
    ]
)
ROWS = pa.schema(
    [
        pa.field("hash", pa.uint64(), nullable=False),
        pa.field("rank", pa.uint64(), nullable=False),
        pa.field("id", pa.uint64(), nullable=False),
        pa.field("content", pa.uint64(), nullable=False),
        pa.field("characters", pa.uint32(), nullable=False),
        pa.field("own", pa.uint8(), nullable=False),
        pa.field("codes", pa.binary(), nullable=False),
    ]
)


def short_file(part: str) -> str:
    """Return the file of a part's short documents: `part-00003.parquet` -> `short-00003.parquet`."""
    return part.replace("part-", "short-")


def stored(ids: Hashes, texts: NormalizedTexts, longest: int) -> pa.Table:
    """Return the rows of STORED for some texts. Those of up to `longest` characters have anchors."""
    chosen = np.flatnonzero(texts.lengths <= CONTAINER_CHARACTERS)
    lengths = texts.lengths[chosen]
    points = texts.codes.take(ranges(texts.starts[chosen], lengths))
    codes = (points ^ (points >> np.uint32(16))).astype(np.uint16)
    owners, places, sizes = anchors(np.where(lengths <= longest, lengths, 0))
    found = _hashes_at(codes, (np.cumsum(lengths) - lengths)[owners] + places, sizes)
    numbers = np.bincount(owners, minlength=len(chosen))
    columns = [pa.array(ids[chosen]), _binary(codes, lengths), _binary(found, numbers)]
    return pa.table(columns, schema=STORED)


def anchors(lengths: Ints) -> tuple[Ints, Ints, Ints]:
    """Return the anchors of texts of some lengths (texts,): text, place in it, and size of each, all (anchors,)."""
    size = np.where(lengths < _SMALL_BELOW, SMALL_ANCHOR, ANCHOR)
    numbers = np.where(lengths < SMALL_ANCHOR, 0, lengths // _CHARACTERS_PER_ANCHOR + 1)
    owners, ordinals = np.repeat(np.arange(len(lengths)), numbers), ranges(np.zeros_like(numbers), numbers)
    # A single anchor is in the middle, several are spread evenly between the margins.
    space = (lengths - size)[owners]
    margin = np.where(numbers[owners] == 1, space // 2, lengths[owners] // _MARGIN)
    places = margin + ordinals * (space - 2 * margin) // np.maximum(numbers[owners] - 1, 1)
    return owners, places, size[owners]


def _hashes_at(codes: Codes, places: Ints, sizes: Ints) -> Words:
    """Return the 32-bit hashes (n,) of the n-grams of some sizes (n,) at some places (n,): those of `_hashes`."""
    result = np.zeros(len(places), np.uint32)
    for size in (ANCHOR, SMALL_ANCHOR):
        chosen = np.flatnonzero(sizes == size)
        for offset in range(size):
            result[chosen] = result[chosen] * _BASE + codes[places[chosen] + offset]
        result[chosen] = _marked(result[chosen] * _SCRAMBLE[size], size)
    return result


def _marked(hashes: Words, size: int) -> Words:
    """Return hashes (n,) whose lowest bit tells the size: 1 for a small anchor. The bitmap has only high bits."""
    return hashes | np.uint32(1) if size == SMALL_ANCHOR else hashes & ~np.uint32(1)


def _hashes(codes: Codes) -> dict[int, Words]:
    """Return for both sizes of anchors a 32-bit hash for each place (codes,), its lowest bit not marked."""
    one = np.zeros(len(codes) + ANCHOR, np.uint32)
    one[: len(codes)] = codes
    three = one[:-2] * _POWERS[2]
    three += one[1:-1] * _BASE
    three += one[2:]
    six = three[:-3] * _POWERS[3]
    six += three[3:]
    twelve = six[:-6] * _POWERS[6]
    twelve += six[6:]
    return {size: hashes[: len(codes)] * _SCRAMBLE[size] for size, hashes in ((ANCHOR, twelve), (SMALL_ANCHOR, six))}


@dataclass(frozen=True)
class Anchors:
    """The anchors of all short documents, as a bitmap over the high bits of their hashes."""

    url: str
    number: int
    sizes: tuple[int, ...]
    """The sizes of anchors that occur."""

    @property
    def buckets(self) -> int:
        """Return the number of buckets for the rows of documents with such anchors, some hundred bytes each."""
        return self.number // 100_000 + 1

    def bits(self) -> Bytes:
        """Return the bitmap, at most 64 MB."""
        return _load(self.url)


@functools.lru_cache(maxsize=1)
def _load(url: str) -> Bytes:
    return np.frombuffer(storage.read_bytes(url), np.uint8)


def gather(files: Sequence[str], url: str) -> Anchors | None:
    """Write the bitmap of the anchors in some `short-` files; None if they have no anchors."""

    def each() -> Iterator[Words]:
        for file in files:
            for chunk in parquet.read(file, ["anchors"])["anchors"].chunks:
                yield _flat(chunk, np.uint32)[0]

    number = small = 0
    for hashes in each():
        number, small = number + len(hashes), small + int(np.count_nonzero(hashes & 1))
    if not number:
        return None
    sizes = tuple(size for size, some in ((ANCHOR, number - small), (SMALL_ANCHOR, small)) if some)
    bits = np.zeros(min(_MAX_BYTES, max(_MIN_BYTES, 1 << (number * _BITS_PER_ANCHOR // 8).bit_length())), np.uint8)
    for hashes in each():
        places = hashes >> np.uint32(32 - _width(bits))
        np.bitwise_or.at(bits, places >> 3, np.uint8(1) << (places & 7).astype(np.uint8))
    storage.write_bytes(url, bits.tobytes())
    _load.cache_clear()
    return Anchors(url, number, sizes)


def _width(bits: Bytes) -> int:
    """Return the number of high bits of a hash that choose a bit of the bitmap."""
    return len(bits).bit_length() + 2


def rows(table: pa.Table, ranks: Hashes, contents: Hashes, longest: int, wanted: Anchors) -> Iterator[pa.Table]:
    """Yield the rows of documents at anchors, their own and others', a few MB at a time.

    Args:
        table: documents, columns as in STORED.
        ranks, contents: (documents,) their ranks, and a hash of their text.
        longest: characters of the longest short document.
        wanted: the anchors of all short documents.
    """
    bits = wanted.bits()
    codes, lengths = _flat(table["codes"].combine_chunks(), np.uint16)
    ids = table["id"].to_numpy()
    ends = np.cumsum(lengths)
    waiting: list[pa.Table] = []
    size = 0
    for first, last in slices(lengths, _BATCH_CHARACTERS):
        own = codes[ends[first] - lengths[first] : ends[last - 1]]
        batch = _Batch(own, lengths[first:last], longest)
        documents, hashes, is_own, windows = batch.rows(bits, wanted.sizes)
        chosen = first + documents
        columns = [hashes, ranks[chosen], ids[chosen], contents[chosen], lengths[chosen].astype(np.uint32), is_own]
        waiting.append(pa.table([*map(pa.array, columns), windows], schema=ROWS))
        size += waiting[-1].nbytes
        if size > _CHUNK_BYTES:
            yield pa.concat_tables(waiting)
            waiting, size = [], 0
    if waiting:
        yield pa.concat_tables(waiting)


@dataclass(frozen=True)
class _Batch:
    """Some documents."""

    codes: Codes
    lengths: Ints
    """(documents,)"""
    longest: int

    def rows(self, bits: Bytes, sizes: Sequence[int]) -> tuple[Ints, Hashes, Bytes, pa.Array]:
        """Return the rows at anchors, all (rows,): document, hash, whether the anchor is its own, and the characters around."""
        ends = np.cumsum(self.lengths)
        starts = ends - self.lengths
        owners, places, of_size = anchors(np.where(self.lengths <= self.longest, self.lengths, 0))
        found: list[tuple[Ints, Ints, Hashes, Flags]] = []
        all_hashes = _hashes(self.codes)
        for size in sizes:
            own = (starts[owners] + places)[of_size == size]
            place = all_hashes[size] >> np.uint32(32 - _width(bits))
            hits = np.flatnonzero((bits.take(place >> 3) >> (place & 7).astype(np.uint8) & 1).view(np.bool_))
            documents = np.searchsorted(ends, hits, side="right")
            inside = hits + size <= ends[documents]
            hits, documents = hits[inside], documents[inside]
            found.append((documents, hits, _long_hashes(self.codes, hits, size), np.isin(hits, own)))
        documents, hits, keys, is_own = (np.concatenate(column) for column in zip(*found, strict=True))
        # Where an n-gram occurs several times in a document, its own anchor counts, or else the first.
        order = np.lexsort((hits, ~is_own, keys, documents))
        repeated = np.zeros(len(order), np.bool_)
        repeated[1:] = (documents[order][1:] == documents[order][:-1]) & (keys[order][1:] == keys[order][:-1])
        order = order[~repeated]
        documents, hits = documents[order], hits[order]
        # A document that could be similar to a short one is compared as a whole, a longer one around the anchor.
        around = self.lengths[documents] > whole(self.longest)
        first = np.where(around, np.maximum(starts[documents], hits - self.longest), starts[documents])
        last = np.where(around, np.minimum(ends[documents], hits + ANCHOR + self.longest), ends[documents])
        windows = _binary(self.codes.take(ranges(first, last - first)), last - first)
        return documents, keys[order], is_own[order].astype(np.uint8), windows


def whole(longest: int) -> int:
    """Return the length up to which a document is in its rows as a whole, if `longest` is that of the longest short one."""
    return 2 * longest


def _long_hashes(codes: Codes, places: Ints, size: int) -> Hashes:
    """Return 64-bit hashes (n,) of the n-grams of one size at some places (n,)."""
    result = np.full(len(places), size, np.uint64)
    with np.errstate(over="ignore"):
        for offset in range(size):
            result = result * np.uint64(0x9E3779B97F4A7C15) + codes[places + offset]
    return mix(result)


def _binary(values: Array, counts: Ints) -> pa.Array:
    """Return a binary column (rows,) with `counts` (rows,) consecutive values each."""
    offsets = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts * values.itemsize, out=offsets[1:])
    return pa.Array.from_buffers(pa.binary(), len(counts), [None, pa.py_buffer(offsets), pa.py_buffer(values.tobytes())])


def _flat(column: pa.Array | pa.ChunkedArray, kind: type[np.integer[Any]]) -> tuple[Array, Ints]:
    """Return all values of a binary column in one array, and their number in each row: the reverse of `_binary`."""
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if not len(column):
        return np.zeros(0, kind), np.zeros(0, np.int64)
    offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    data = column.buffers()[2]
    values = np.frombuffer(data, kind) if data is not None and data.size else np.zeros(0, kind)
    offsets //= values.itemsize
    return values[offsets[0] : offsets[-1]], np.diff(offsets)


def flat_codes(column: pa.Array | pa.ChunkedArray) -> tuple[CodePoints, Ints]:
    """Return the codes of a column `codes` in one array, and their number in each row."""
    codes, lengths = _flat(column, np.uint16)
    return codes.astype(np.uint32), lengths
