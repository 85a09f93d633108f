"""Sentence vectors: what they are the mean of, their order, their input files; bad input is reported in one line."""

import gc
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner

from model.config import EncoderConfig
from model.heads import PretrainingModel
from pipeline import locks, storage
from pipeline.errors import CorpusError, StorageError
from pipeline.tokenization.vocab import SPECIALS, Vocab
from tests import tiny
from workflows.cli import main
from workflows.inference.embedding import EmbedConfig, Embedder, batches, embed
from workflows.stopping import STARTS_ANEW

VOCAB = Vocab((*SPECIALS, *"今天气北京大学很好房间物流快"))
ENCODER = EncoderConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
TEXTS = ["今天天气很好", "北京大学", "好", "房间很大物流很快今天很好北京", "", "快快快"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, PretrainingModel]:
    return tiny.exported(tmp_path_factory.mktemp("export"), ENCODER, VOCAB, seed=6)


def parquet(path: Path, **columns: Any) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def vectors(url: str) -> np.ndarray[Any, Any]:
    table = pq.read_table(url)
    return np.stack(table["vector"].to_numpy())


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("normalise", [True, False])
def test_a_vector_is_what_its_text_gives_alone(
    model: tuple[str, PretrainingModel], tmp_path: Path, pooling: Any, normalise: bool
) -> None:
    folder, network = model
    source = parquet(tmp_path / "in.parquet", text=TEXTS, key=pa.array([5, 3, 9, 1, 0, 7], pa.uint16()))
    output = str(tmp_path / "out" / "vectors.parquet")
    config = EmbedConfig(id="key", pooling=pooling, normalise=normalise, batch_tokens=20, max_length=10)
    assert embed(folder, [source], output, config) == {"texts": 6, "cut": 1, "width": 16}
    table = pq.read_table(output)
    assert table.schema.field("key").type == pa.uint16() and table["key"].to_pylist() == [5, 3, 9, 1, 0, 7]
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 16)
    for text, found in zip(TEXTS, vectors(output), strict=True):
        ids = [VOCAB.cls_id, *(VOCAB.ids[character] for character in text[:8]), VOCAB.sep_id]
        with torch.no_grad():
            hidden = network.nezha(torch.tensor([ids]))[0]
        expected = hidden.mean(0) if pooling == "mean" else hidden[0]
        expected = expected / expected.norm() if normalise else expected
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_files_of_any_kind_hold_the_same_texts(model: tuple[str, PretrainingModel], tmp_path: Path) -> None:
    texts = [text for text in TEXTS if text]
    lines = "".join(json.dumps({"content": text, "name": f"a{n}"}, ensure_ascii=False) + "\n" for n, text in enumerate(texts))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "b.txt").write_text("\n\n".join(texts), "utf-8")
    parquet(tmp_path / "c.parquet", content=texts)
    config = EmbedConfig(text="content")
    found = {}
    for name in ("a.jsonl.gz", "b.txt", "c.parquet"):
        embed(model[0], [str(tmp_path / name)], str(tmp_path / "out.parquet"), config)
        found[name] = (tmp_path / "out.parquet").read_bytes()
    assert len(set(found.values())) == 1, "equal texts give equal bytes"
    assert pq.read_table(tmp_path / "out.parquet")["id"].to_pylist() == [0, 1, 2, 3, 4]
    embed(model[0], [str(tmp_path / "a.jsonl.gz")], str(tmp_path / "named.parquet"), EmbedConfig(text="content", id="name"))
    assert pq.read_table(tmp_path / "named.parquet")["name"].to_pylist() == [f"a{n}" for n in range(5)]
    embed(model[0], [str(tmp_path / "b.txt"), str(tmp_path / "c.parquet")], str(tmp_path / "both.parquet"), config)
    assert pq.read_table(tmp_path / "both.parquet")["id"].to_pylist() == list(range(10)), "numbering continues across files"


def test_half_precision_is_near(model: tuple[str, PretrainingModel], tmp_path: Path) -> None:
    source = parquet(tmp_path / "in.parquet", text=TEXTS)
    for precision in ("fp32", "bf16"):
        embed(model[0], [source], str(tmp_path / f"{precision}.parquet"), EmbedConfig(precision=precision))
    exact, near = vectors(str(tmp_path / "fp32.parquet")), vectors(str(tmp_path / "bf16.parquet"))
    assert 0 < np.abs(exact - near).max() < 0.05
    assert ((exact * near).sum(1) > 0.999).all()


def test_any_store_can_be_read_and_written(model: tuple[str, PretrainingModel]) -> None:
    storage.write_bytes("memory://embedding/in.txt", "今天\n北京\n".encode())
    embed(model[0], ["memory://embedding/in.txt"], "memory://embedding/out.parquet", EmbedConfig())
    table = pq.read_table(pa.BufferReader(storage.read_bytes("memory://embedding/out.parquet")))
    assert len(table) == 2


def test_batches_hold_texts_of_a_length_and_all_of_them() -> None:
    lengths = [3, 50, 4, 9, 3, 40, 7]
    found = list(batches(lengths, 50))
    assert sorted(index for batch in found for index in batch) == list(range(7))
    assert found == [[1], [5], [3, 6, 2, 0, 4]]
    assert all(len(batch) * max(lengths[index] for index in batch) <= 50 for batch in found)


def bad(name: str, content: bytes) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        (folder / name).write_bytes(content)
        return str(folder / name)

    return write


BAD: dict[str, tuple[Callable[[Path], str], EmbedConfig, str]] = {
    "nothing": (lambda folder: str(folder / "none.txt"), EmbedConfig(), "none.txt: no such file"),
    "blank": (bad("a.txt", b"\n \n"), EmbedConfig(), "no text found in these files"),
    "not UTF-8": (bad("a.txt", "好\n".encode() + "今天".encode("gb18030")), EmbedConfig(), "a.txt: line 2 is not UTF-8"),
    "ids of plain text": (bad("a.txt", b"a"), EmbedConfig(id="key"), "plain text has no field 'key'"),
    "not JSON": (bad("a.jsonl", b'{"text": "a"}\n\n{"text": '), EmbedConfig(), "a.jsonl: line 3 is not valid JSON"),
    "an array": (bad("a.jsonl", b"[1]"), EmbedConfig(), "line 1 is not a JSON object"),
    "no field": (bad("a.jsonl", b'{"body": "a"}'), EmbedConfig(), "line 1 has no field text; there are body"),
    "a number": (bad("a.jsonl", b'{"text": 5}'), EmbedConfig(), "line 1: 'text' is int, not text"),
    "mixed ids": (
        bad("a.jsonl", b'{"text": "a", "key": 1}\n{"text": "a", "key": "b"}'),
        EmbedConfig(id="key"),
        "field 'key' has values of several types",
    ),
    "a long id": (
        bad("a.jsonl", b'{"text": "a", "key": 99999999999999999999}'),
        EmbedConfig(id="key"),
        "field 'key' has a number of more than 64 bits",
    ),
    "an object as id": (bad("a.jsonl", b'{"text": "a", "key": {}}'), EmbedConfig(id="key"), "which Parquet has not; use text"),
    "half a pair": (bad("a.jsonl", b'{"text": "a", "key": "\\ud800"}'), EmbedConfig(id="key"), "half a surrogate pair"),
    "vector as id": (bad("a.jsonl", b'{"text": "a", "vector": 1}'), EmbedConfig(id="vector"), "--id vector: the vectors"),
    "no Parquet": (bad("a.parquet", b"PAR1 or not"), EmbedConfig(), "a.parquet: not a Parquet file"),
    "no column": (lambda folder: parquet(folder / "a.parquet", body=["a"]), EmbedConfig(), "no column text; there are body"),
    "a null": (lambda folder: parquet(folder / "a.parquet", text=["a", None]), EmbedConfig(), "row 1: 'text' is NoneType"),
    "cut short": (bad("a.txt.gz", gzip.compress("今天\n".encode() * 99)[:-9]), EmbedConfig(), "cut short or damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_leaves_no_file(model: tuple[str, PretrainingModel], tmp_path: Path, name: str) -> None:
    make, config, message = BAD[name]
    with pytest.raises(CorpusError, match=message) as caught:
        embed(model[0], [make(tmp_path)], str(tmp_path / "out" / "out.parquet"), config)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").glob("*")), "nothing half-written is left"


def test_an_input_is_never_replaced(model: tuple[str, PretrainingModel], tmp_path: Path) -> None:
    place = bad("a.txt", "今天".encode())(tmp_path)
    with pytest.raises(CorpusError, match="an input, which the vectors would replace"):
        embed(model[0], [str(tmp_path)], f"{tmp_path}/./a.txt", EmbedConfig())
    assert Path(place).read_text() == "今天"


def test_an_error_after_the_first_chunk_is_all_that_is_said(
    model: tuple[str, PretrainingModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("workflows.inference.text_inputs.CHUNK_SIZE", 1)
    monkeypatch.setattr("sys.unraisablehook", lambda found: print(found.exc_value))  # what a destructor raises
    place = bad("a.jsonl", b'{"text": "a"}\n{"text": 5}\n')(tmp_path)
    with pytest.raises(CorpusError, match="line 2: 'text' is int"):
        embed(model[0], [place], str(tmp_path / "out"), EmbedConfig())
    gc.collect()
    assert capsys.readouterr().out == "" and not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("option", ["--input", "--output"])
def test_an_empty_place_is_not_the_current_folder(option: str) -> None:
    done = CliRunner().invoke(main, ["embed", "m", "--input", "a", "--output", "b", option, ""])
    assert done.exit_code == 2 and "is empty; name a place" in done.stderr


def test_the_command_reports_how_many(model: tuple[str, PretrainingModel], tmp_path: Path) -> None:
    source = parquet(tmp_path / "in.parquet", text=TEXTS)
    output = str(tmp_path / "out.parquet")
    arguments = ["embed", model[0], "--input", source, "--output", output, "--max-length", "10", "--json"]
    done = CliRunner().invoke(main, arguments)
    assert json.loads(done.stdout) == {"texts": 6, "cut": 1, "width": 16, "output": output}
    assert "6 vectors of 16 numbers; texts cut at 10 tokens: 1" in done.stderr


def test_what_a_killed_call_left_is_removed_and_no_other_file(model: tuple[str, PretrainingModel], tmp_path: Path) -> None:
    source = parquet(tmp_path / "in.parquet", text=TEXTS)
    left, others = ".v.parquet.0a1b2c3d.tmp", [".v.0a1b2c3d.tmp", ".w.parquet.0a1b2c3d.tmp"]
    for name in (left, *others):
        (tmp_path / name).touch()
    embed(model[0], [source], str(tmp_path / "v.parquet"), EmbedConfig())
    assert sorted(path.name for path in tmp_path.iterdir()) == [*others, "in.parquet", "v.parquet"]
    with locks.locked(str(tmp_path / ".v.parquet.lock")), pytest.raises(StorageError, match="another run is working here"):
        embed(model[0], [source], str(tmp_path / "v.parquet"), EmbedConfig())


def test_ctrl_c_promises_nothing_and_leaves_nothing(
    model: tuple[str, PretrainingModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Embedder, "vectors", stop)
    source = parquet(tmp_path / "in.parquet", text=TEXTS)
    result = CliRunner().invoke(main, ["embed", model[0], "--input", source, "--output", str(tmp_path / "out/v.parquet")])
    assert (result.exit_code, result.output.splitlines()[-1]) == (130, STARTS_ANEW)
    assert not [*(tmp_path / "out").iterdir()]
