"""The shard format: rows are read as they were written, from any shard; damaged files are refused."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline import storage
from pipeline.engine import stages
from pipeline.engine.stages import FileEntry, Finished, Stage
from pipeline.errors import CorpusError, DamagedError
from pipeline.examples import shards
from pipeline.examples.shards import ShardSet
from pipeline.tokenization import encoded
from tests.tiny import list_array, pack_units


def table(first: int, number: int, vocabulary_size: int = 21_128, draws: int = 2) -> pa.Table:
    """Return rows whose content follows from their number."""
    numbers = range(first, first + number)
    token = encoded.id_type(vocabulary_size)
    ids = [np.arange(n % 60 + 3) + vocabulary_size - 100 for n in numbers]
    masks = [[np.arange(d + n % 2) for d in range(1, draws + 1)] for n in numbers]
    columns = {
        "example_id": pa.array([(1 << 64) - 1 - n for n in numbers], pa.uint64()),
        "document_id": pa.array([n // 3 for n in numbers], pa.uint64()),
        "input_ids": list_array(ids, token),
        "unit_starts": pa.array([pack_units(row % 3 != 1) for row in ids], pa.binary()),
        "second_start": pa.array([n % 5 for n in numbers], pa.uint16()),
        "pair_label": pa.array([None if n % 3 == 0 else n % 2 for n in numbers], pa.uint8()),
        "mask_positions": list_array([np.concatenate([*m, []]) for m in masks], pa.uint16()),
        "mask_replacements": list_array([np.concatenate([*m, []]) + 7 for m in masks], token),
        "mask_lengths": list_array([np.array([len(d) for d in m]) for m in masks], pa.uint16()),
    }
    return pa.table(columns, schema=shards.schema(vocabulary_size))


def stage(root: Path, sizes: list[int], metadata: dict[str, str] | None = None, **more: Any) -> Finished:
    """Return a finished stage with shards of these numbers of rows."""

    def body(folder: str) -> dict[str, Any]:
        entries, first = [], 0
        for number, size in enumerate(sizes):
            name = f"train-{number:05d}.arrow"
            with storage.open_write(storage.join(folder, name)) as file:
                shards.write_shard(file, table(first, size, **more), metadata or {})
            entries.append(FileEntry.of(folder, name, size))
            first += size
        return {"files": entries}

    return stages.run(str(root), Stage("shards_t_64", 1, {"sizes": sizes}, {}), body)


def check(shard_set: ShardSet, n: int, vocabulary_size: int = 21_128, draws: int = 2) -> None:
    row = shard_set.row(n)
    ids = np.arange(n % 60 + 3) + vocabulary_size - 100
    assert (row.example_id, row.document_id, row.second_start) == ((1 << 64) - 1 - n, n // 3, n % 5)
    assert row.pair_label == (None if n % 3 == 0 else n % 2)
    assert row.input_ids.tolist() == ids.tolist()
    assert row.unit_starts.tolist() == (ids % 3 != 1).tolist()
    expected = [list(range(d + n % 2)) for d in range(1, draws + 1)]
    assert [positions.tolist() for positions, _ in row.draws] == expected
    assert [replacements.tolist() for _, replacements in row.draws] == [[p + 7 for p in draw] for draw in expected]


def test_rows_of_unequal_shards_are_read_in_any_order(tmp_path: Path) -> None:
    sizes = [1, 2_500, 1_024, 7]
    shard_set = ShardSet(stage(tmp_path, sizes), "train", open_batches=2)
    assert len(shard_set) == sum(sizes)
    edges = [0, 1, 2, 1_024, 1_025, 2_500, 2_501, 3_524, 3_525, len(shard_set) - 1]
    for n in [*edges, *np.random.default_rng(1).integers(0, len(shard_set), 300).tolist()]:
        check(shard_set, n)
    assert shard_set.lengths(edges).tolist() == [n % 60 + 3 for n in edges]
    with pytest.raises(IndexError):
        shard_set.row(len(shard_set))


def test_few_files_are_open_however_many_shards_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MOST_OPEN", 2)
    shard_set = ShardSet(stage(tmp_path, [3] * 12), "train", open_batches=1)
    before = len(os.listdir("/proc/self/fd"))
    for n in [*range(36), *range(0, 36, 5)]:
        check(shard_set, n)
        assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_record_batches_have_1024_rows(tmp_path: Path) -> None:
    done = stage(tmp_path, [2_500])
    reader = pa.ipc.open_file(done.file("train-00000.arrow"))
    assert [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)] == [1_024, 1_024, 452]


def test_a_split_without_shards_is_empty(tmp_path: Path) -> None:
    assert len(ShardSet(stage(tmp_path, [3]), "validation")) == 0


@pytest.mark.parametrize(
    ("size", "type_"), [(21_128, pa.uint16()), (65_536, pa.uint16()), (65_537, pa.uint32()), (200_000, pa.uint32())]
)
def test_tokens_take_four_bytes_only_where_two_are_too_few(tmp_path: Path, size: int, type_: pa.DataType) -> None:
    done = stage(tmp_path, [70], vocabulary_size=size)
    for name in ("input_ids", "mask_replacements"):
        assert pa.ipc.open_file(done.file("train-00000.arrow")).schema.field(name).type == pa.list_(type_)
    shard_set = ShardSet(done, "train")
    for n in range(70):
        check(shard_set, n, vocabulary_size=size)
    assert int(shard_set.row(62).input_ids.max()) == size - 100 + 4


def test_rows_may_have_no_stored_draw(tmp_path: Path) -> None:
    shard_set = ShardSet(stage(tmp_path, [10], draws=0), "train")
    for n in range(10):
        check(shard_set, n, draws=0)
    assert shard_set.row(3).draws == ()


def test_equal_rows_are_equal_bytes() -> None:
    def written(rows: pa.Table) -> bytes:
        file = io.BytesIO()
        shards.write_shard(file, rows, {"vocabulary_sha256": "ab"})
        return file.getvalue()

    tokens = pa.concat_tables([table(n, 1) for n in range(50)])
    assert written(tokens) == written(table(0, 50))
    assert written(tokens) != written(table(1, 50))


def test_metadata_names_the_schema_and_the_vocabulary(tmp_path: Path) -> None:
    done = stage(tmp_path, [3], {"vocabulary_sha256": "ab12"})
    metadata = pa.ipc.open_file(done.file("train-00000.arrow")).schema.metadata
    assert metadata == {b"schema_version": b"1", b"vocabulary_sha256": b"ab12"}


@pytest.mark.parametrize("keep", [0, 100, -1, -50])
def test_a_torn_file_is_refused(tmp_path: Path, keep: int) -> None:
    done = stage(tmp_path, [2_000])
    path = Path(done.file("train-00000.arrow"))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DamagedError, match=r"train-00000\.arrow: [\d,]+ bytes, the manifest says [\d,]+; delete the folder"):
        ShardSet(done, "train").row(0)
    path.unlink()
    with pytest.raises(DamagedError, match="missing; delete the folder"):
        ShardSet(done, "train").row(0)


def test_what_is_no_shard_is_refused(tmp_path: Path) -> None:
    def body(folder: str) -> dict[str, Any]:
        storage.write_bytes(storage.join(folder, "train-00000.arrow"), b"no shard")
        return {"files": [FileEntry.of(folder, "train-00000.arrow", 3)]}

    done = stages.run(str(tmp_path), Stage("shards_t_64", 1, {}, {}), body)
    with pytest.raises(CorpusError, match=r"train-00000\.arrow: not a readable shard .*; `nezha-pipe verify` says more"):
        ShardSet(done, "train").row(0)


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    done = stage(tmp_path, [3], {"schema_version": "2"})
    with pytest.raises(CorpusError, match="shard schema version 2, this program reads 1"):
        ShardSet(done, "train").row(0)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 512])
def test_units_are_packed_as_little_endian_bits(length: int) -> None:
    starts = np.random.default_rng(length).random(length) < 0.5
    assert (shards.unpack_units(pack_units(starts), length) == starts).all()
    assert pack_units(np.array([True, False, False, True])) == b"\x09"
