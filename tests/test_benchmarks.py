"""Benchmarks: their output, peers that are pinned and may be missing, batches that both sides share."""

import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import command, corpus, deduplicated, measurement, overlap, peers, prepare, segment, startup, step
from benchmarks.__main__ import main
from benchmarks.measurement import Measurement
from model.samples.batches import Batch, MaskedRows
from model.samples.order import Order
from pipeline.engine import stages
from tests import tiny

FIELDS = ["name", "value", "unit", "baseline", "ratio", "workers", "machine"]
NAMES = ["prepare/all-stages/1-worker", "prepare/all-stages/2-workers", "prepare/all-stages/2-runs"]


def pins(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("==") for line in lines)


@pytest.fixture
def silent_peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use scripts of peers from a folder of the test."""
    monkeypatch.setattr(peers, "HERE", tmp_path)


def test_a_row_is_one_line_of_json_with_the_fields_of_the_contract() -> None:
    row = Measurement(name="prepare/all-stages/1-worker", value=1.23456, unit="MB/s", baseline=0.5, note="not written")
    content = json.loads(row.to_json())
    assert list(content) == FIELDS
    assert content["value"] == 1.235
    assert content["ratio"] == 2.469
    assert content["workers"] == 1
    assert "\n" not in row.to_json() and "not written" not in row.to_json()


def test_a_row_without_a_peer_has_no_baseline_and_no_ratio() -> None:
    content = json.loads(Measurement(name="startup/help", value=0.1, unit="s").to_json())
    assert content["baseline"] is None and content["ratio"] is None


@pytest.mark.parametrize(
    ("unit", "ours", "theirs"), [("MB/s", 3.0, 2.0), ("tokens/s", 3.0, 2.0), ("s", 2.0, 3.0), ("GB", 2.0, 3.0)]
)
def test_a_ratio_above_one_means_that_ours_is_better(unit: str, ours: float, theirs: float) -> None:
    assert Measurement(name="x", value=ours, unit=unit, baseline=theirs).ratio == 1.5


def test_a_unit_must_say_whether_more_is_better() -> None:
    with pytest.raises(AssertionError, match="parsecs"):
        Measurement(name="x", value=1.0, unit="parsecs")


def test_the_table_shows_every_row_and_its_note(capsys: pytest.CaptureFixture[str]) -> None:
    measurement.show(
        [
            Measurement(name="run/second", value=2.0, unit="s", baseline=3.0),
            Measurement(name="startup/help", value=0.1, unit="s", note="imports click"),
        ]
    )
    shown = capsys.readouterr().out
    assert "run/second" in shown and "1.5" in shown
    assert "startup/help: imports click" in shown


def test_peers_are_pinned_with_torch_first_and_what_both_sides_use_alike() -> None:
    wanted, ours = pins(peers.PINS), pins(command.ROOT / "constraints.txt")
    assert next(iter(wanted)) == "torch"
    for shared in ("torch", "numpy", "pyarrow", "jieba"):
        assert wanted[shared] == ours[shared], shared
    assert wanted["transformers"].startswith("4."), "release 5 has no NEZHA"


def test_an_environment_that_cannot_be_created_is_reported_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "peers.txt").write_text("torch==0.0.0.dev0\n")
    monkeypatch.setattr(peers, "PINS", tmp_path / "peers.txt")
    monkeypatch.setattr(peers, "FOLDER", tmp_path / "environment")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(peers.PeerMissing) as caught:
        peers.environment()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "environment" / "peers.txt").exists(), "half an environment would pass for a complete one"


@pytest.mark.usefixtures("silent_peer")
def test_a_peer_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "peer.py").write_text("import nezha_of_tomorrow")
    with pytest.raises(peers.PeerMissing, match="No module named 'nezha_of_tomorrow'"):
        peers.ask(sys.executable, "peer.py")
    with peers.dialogue(sys.executable, "peer.py") as ask, pytest.raises(peers.PeerMissing, match="nezha_of_tomorrow"):
        ask("0")


@pytest.mark.usefixtures("silent_peer")
def test_a_dialogue_answers_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "peer.py").write_text(
        "import sys\nfor line in sys.stdin: print('{\"twice\": %d}' % (2 * int(line)), flush=True)"
    )
    with peers.dialogue(sys.executable, "peer.py") as ask:
        assert [ask(str(number))["twice"] for number in (3, 4)] == [6, 8]


def test_a_corpus_has_each_text_once_and_rounds_that_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["".join(f"第{10 * article + clause}句话，" for clause in range(10)) for article in range(20)]
    monkeypatch.setattr(corpus, "texts", lambda: texts)
    made = corpus.write(tmp_path, 2.2 * sum(len(text.encode()) for text in texts) / 1e6)
    contents = [json.loads(line)["content"] for line in made.file.read_text().splitlines()]
    assert len(contents) == len(set(contents)) == made.documents
    assert contents[:20] == texts and made.rounds == 3
    for copy in (contents[:20], contents[20:40]):
        assert sorted("".join(copy).split("，")) == sorted("".join(texts).split("，"))
    assert made.megabytes == sum(len(content.encode()) for content in contents) / 1e6
    assert "话" in made.vocabulary.read_text().split("\n")


@pytest.fixture
def no_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a machine without a package index, with a small corpus."""

    def missing(python: str | None) -> str:
        raise peers.PeerMissing("no peer: the index is out of reach")

    monkeypatch.setattr(peers, "environment", missing)
    monkeypatch.setattr(
        corpus, "texts", lambda: [f"第{number}个房间很干净，服务也很好。我们还会再来。" for number in range(300)]
    )


@contextlib.contextmanager
def no_runner(workers: int) -> Iterator[list[str]]:
    raise peers.PeerMissing("it is not here")
    yield []


@pytest.mark.usefixtures("no_peer")
def test_a_missing_peer_leaves_rows_without_baseline(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # In turns: one worker, two workers, two simultaneous runs, of which the longer counts, and another runner.
    seconds = iter([4.0, 2.5, 4.0, 5.0, 8.0, 2.0, 1.0, 1.0, 2.0, 4.0, 3.0, 2.0, 3.0, 4.0, 1.0])
    monkeypatch.setattr(prepare, "timed", lambda *arguments: (next(seconds), ""))
    monkeypatch.setattr(prepare, "RUNNERS", {"ray": prepare.RUNNERS["ray"], "none": no_runner})
    one, two, runs, ray = prepare.measurements(0.03)
    assert [one.name, two.name, runs.name, ray.name] == [*NAMES, "prepare/runner-ray/2-workers"]
    assert ray.baseline == two.value and ray.workers == 2 and ray.ratio == pytest.approx(2.0 / 4.0)
    assert "prepare/runner-none: not measured: it is not here" in capsys.readouterr().err
    assert one.baseline is None and "the index is out of reach" in one.note
    assert one.value == pytest.approx(0.03 / 3.0, rel=0.01), "the median of the turns"
    assert two.baseline == one.value and two.workers == 2 and two.ratio == pytest.approx(3.0 / 2.0)
    assert runs.baseline == one.value and runs.ratio == pytest.approx(2 * 3.0 / 4.0)


def test_every_tenth_document_comes_again_without_its_last_clause(tmp_path: Path) -> None:
    contents = [f"第{number}天，他来了，我们都很高兴。" for number in range(21)]
    lines = [json.dumps({"title": "", "content": content}, ensure_ascii=False) for content in contents]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
    text = corpus.Corpus(tmp_path / "corpus.jsonl", tmp_path / "vocab.txt", 0.0, 21, 1)
    made, duplicates = deduplicated.with_near_duplicates(text, tmp_path / "in")
    written = [json.loads(line)["content"] for line in made.file.read_text().splitlines()]
    assert written == [*contents, "第0天，他来了", "第10天，他来了", "第20天，他来了"]
    assert (made.documents, duplicates, made.megabytes) == (24, 3, sum(len(content.encode()) for content in written) / 1e6)


@pytest.mark.slow
@pytest.mark.usefixtures("silent_peer")
def test_documents_each_once_are_measured_beside_both_peers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "peer_deduplicated.py").write_text(
        "import json, pathlib, sys\n"
        "words, inputs, work = sys.argv[1:]\n"
        "(found,) = pathlib.Path(inputs).iterdir()\n"
        "documents = len(found.read_text().splitlines())\n"
        "print(json.dumps({'documents': documents, 'duplicates': len(words), 'kept': documents - len(words)}))\n"
    )
    monkeypatch.setattr(deduplicated, "TURNS", 1)
    monkeypatch.setattr(corpus, "vocabulary_of", lambda found: b"")
    jieba, characters = deduplicated.measurements(0.3, sys.executable)
    assert [jieba.name, characters.name] == [deduplicated.NAME, f"{deduplicated.NAME}/vs-characters"]
    assert jieba.value == characters.value > 0
    assert jieba.baseline and characters.baseline and jieba.ratio
    found = re.fullmatch(
        r".*, (\d+) of them near duplicates; ours: (\d+) dropped as duplicates, (\d+) kept; theirs: 5 dropped .*", jieba.note
    )
    assert found is not None, jieba.note
    duplicates, dropped, kept = map(int, found.groups())
    assert 0.8 * duplicates <= dropped <= duplicates < kept, "near duplicates are found, and nothing else"


@pytest.mark.usefixtures("no_peer")
def test_documents_each_once_without_a_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deduplicated, "_ours", lambda text, output: (0.5, "2 dropped as duplicates, 9 kept"))
    for row in deduplicated.measurements(0.01):
        assert row.value > 0 and row.baseline is None and "the index is out of reach" in row.note


@pytest.mark.slow
@pytest.mark.usefixtures("no_peer")
def test_prepare_is_measured_and_so_is_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "TURNS", 1)
    monkeypatch.setattr(prepare, "RUNNERS", {"ray": prepare.RUNNERS["ray"]})
    one, two, runs, ray, memory = prepare.measurements(0.01, big=0.02)
    assert one.value > 0 and two.value > 0 and runs.value > 0 and ray.value > 0
    assert two.baseline == runs.baseline == one.value and ray.baseline == two.value
    assert "documents" in one.note and "shards" in one.note, "seconds of each stage"
    assert memory.name == "prepare/peak-memory/0.02MB" and memory.unit == "GB"
    assert 0.05 < memory.value < 5, "several Python processes with pyarrow and Beam"


def test_both_sides_get_the_same_rows(tmp_path: Path) -> None:
    parts = micro_batches(tmp_path)
    together = step.padded_together(parts)
    assert len(parts) > 1
    assert together["input_ids"].shape[1] == max(int(part.attention_mask.sum(1).max()) for part in parts)
    assert together["attention_mask"].sum() == sum(part.tokens for part in parts)
    assert (together["labels"] != -100).sum() == sum(part.masked for part in parts)
    masked = np.concatenate([part.mask_labels.numpy() for part in parts])
    assert sorted(together["labels"][together["labels"] != -100]) == sorted(masked)


def test_arithmetic_of_a_full_row_is_that_of_the_cost_model(tmp_path: Path) -> None:
    # base, 128 tokens, 15 % of them predicted: 70.8 GFLOP with the relative terms, which are 2.6 % of the rest.
    row = micro_batches(tmp_path)[0]
    full = Batch(**{**vars(row), "lengths": (128,) * 100, "mask_labels": torch.zeros(1920)})
    with_relative, without = step.flop([full])
    assert with_relative / 100 / 1e9 == pytest.approx(70.8, abs=0.05)
    assert with_relative / without == pytest.approx(1.026, abs=0.001)


def micro_batches(folder: Path) -> list[Batch]:
    made = tiny.prepare(folder)
    shards = stages.load(made.shards["news/24"])
    rows = MaskedRows([shards], "train", tiny.VOCAB, 1)
    places = Order({"news": shards.manifest["counts"]["train"]["rows"]}, {}, 1).locate(np.arange(16))
    return list(rows.worker_batches(places, 160, 0, 1))


def test_help_loads_click_and_nothing_else() -> None:
    assert startup.imported() == ["click", "pipeline", "workflows"]


@pytest.mark.slow
def test_startup_is_measured_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["startup", "--json", str(tmp_path / "rows.jsonl")])
    content = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["name"] for row in content] == ["startup/help", "run/second"]
    assert all(list(row) == FIELDS and row["value"] > 0 and row["unit"] == "s" for row in content)
    assert "run/second" in capsys.readouterr().out


def test_segment_compares_boundaries_with_those_of_jieba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "texts", lambda: ["他来到了网易杭研大厦，A-1座。", "很好"])
    monkeypatch.setattr(segment, "TURNS", 1)
    (row,) = segment.measurements(megabytes=1)
    assert (row.name, row.unit) == ("segment/jieba-identical", "MB/s")
    assert row.baseline and row.value > 0
    assert "100.000000% of the boundaries are the same, 15 words" in row.note
    monkeypatch.setattr(segment, "_ours", lambda: lambda text: np.ones(len(text), np.bool_))
    (row,) = segment.measurements(megabytes=1)
    assert "78.947368% of the boundaries" in row.note


def test_what_is_hidden_is_measured_against_the_longer_of_computing_and_communicating() -> None:
    seconds = {**dict.fromkeys(overlap.KINDS, 3.0), "computing": 2.0, "communicating": 1.5, "overlapped": 2.5}
    rows = {row.name: row for row in overlap._rows(seconds, "")}
    assert rows["overlap/hidden"].value == 80.0 and rows["overlap/hidden"].baseline == pytest.approx(100 * 2 / 3)
    assert "1.25 times" in rows["overlap/hidden"].note
    assert rows["overlap/step"].ratio == 1.2


def test_two_hosts_need_root_and_say_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert list(overlap.measurements()) == []
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_all_kinds_of_step_run_between_two_hosts_and_nothing_is_left() -> None:
    if os.geteuid() or not all(map(shutil.which, overlap.TOOLS)):
        pytest.skip("needs root, util-linux and iproute2")
    with contextlib.ExitStack() as stack:
        pair = overlap.Pair(stack)
        pair.limit(100e6)
        for kind in ("overlapped", "bf16", "1 MB"):
            pair.ask(kind)
        assert pair.ask("agree")["equal"]
        answers = [pair.ask(kind) for kind in ("computing twice", "communicating", "ddp")]
        assert all(answer["seconds"] > 0 and answer["cpu"] > 0 for answer in answers)
        processes = [worker.pid for worker in pair.workers]
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes)
