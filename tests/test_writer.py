"""Checkpoints that are written while training goes on: what is replaced, what is not, and how an error arrives."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from model.checkpoints import checkpoint
from model.checkpoints.checkpoint import Attempt
from model.checkpoints.writer import Retention, Writer
from model.training import __main__ as entry
from model.training.loop import train
from pipeline import storage
from pipeline.errors import StorageError
from tests import tiny
from tests.slow_processes import PATIENCE
from tests.test_checkpoint import example, row


class GatedStore(MemoryFileSystem):  # type: ignore[misc]
    """A store whose uploads of weights wait until they are let through, or fail."""

    protocol = "gated"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    gate: ClassVar[threading.Event] = threading.Event()
    uploading: ClassVar[threading.Event] = threading.Event()
    errors: ClassVar[list[Exception]] = []

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        if rpath.endswith("model.safetensors"):
            GatedStore.uploading.set()
            assert GatedStore.gate.wait(PATIENCE)
        if GatedStore.errors:
            raise GatedStore.errors.pop(0)
        super().put_file(lpath, rpath, **options)


fsspec.register_implementation("gated", GatedStore, clobber=True)


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty folder in the store; uploads wait."""
    GatedStore.gate.clear()
    GatedStore.uploading.clear()
    GatedStore.errors.clear()
    yield f"gated://{request.node.name}/run"
    GatedStore.gate.set()


def steps(output: str) -> list[int]:
    return sorted(int(storage.base_name(url).removeprefix("checkpoint-")) for url in checkpoint.committed(output))


def submitted(writer: Writer, attempt: Attempt, last: int, best: int | None = None) -> None:
    """Submit the checkpoints 1 to `last`, the second while the first is uploaded; from `best` on, that is the best."""
    for step in range(1, last + 1):
        name = f"attempt-0001/checkpoint-{best:08d}" if best and step >= best else None
        now = example(step)
        assert writer.submit(attempt, now, [row(step)], {"checkpoint": name} if name else None) is None
        for tensor in (*now.model.values(), *now.optimizer.values()):
            tensor.zero_()  # training goes on
        if step == 1:
            assert GatedStore.uploading.wait(PATIENCE)


def test_the_newest_waiting_one_wins_and_no_row_is_lost(store: str) -> None:
    writer, attempt = Writer(Retention(keep=9)), Attempt.begin(store, 0)
    submitted(writer, attempt, 5)
    assert steps(store) == [] and not writer.failed
    GatedStore.gate.set()
    assert writer.finish() == f"{store}/attempt-0001/checkpoint-00000005" == writer.committed
    assert steps(store) == [1, 5]
    for step in (1, 5):
        found = checkpoint.load(f"{store}/attempt-0001/checkpoint-0000000{step}")
        assert all(torch.equal(found.model[name], tensor) for name, tensor in example(step).model.items())
        assert all(torch.equal(found.optimizer[name], tensor) for name, tensor in example(step).optimizer.items())
    assert checkpoint.read_metrics(store) == [row(step) for step in range(1, 6)]


@pytest.mark.parametrize(
    ("retention", "best", "kept"), [(Retention(keep=9), 2, [1, 2, 4]), (Retention(keep=9, every=2), None, [1, 2, 4])]
)
def test_what_is_wanted_for_itself_is_not_replaced(store: str, retention: Retention, best: int | None, kept: list[int]) -> None:
    writer, attempt = Writer(retention), Attempt.begin(store, 0)
    submitted(writer, attempt, 4, best)
    GatedStore.gate.set()
    writer.finish()
    assert steps(store) == kept
    assert checkpoint.read_metrics(store) == [row(step) for step in range(1, 5)]
    if best:
        assert storage.read_json(f"{store}/best.json")["checkpoint"].endswith("2")


def test_an_error_of_the_store_arrives_where_the_next_one_is_submitted(store: str) -> None:
    writer, attempt = Writer(), Attempt.begin(store, 0)
    GatedStore.errors.append(PermissionError("no"))
    submitted(writer, attempt, 2)
    GatedStore.gate.set()
    for call in (writer.finish, lambda: writer.submit(attempt, example(3), [])):
        with pytest.raises(StorageError, match="permission denied"):
            call()
    assert writer.failed and steps(store) == []
    writer.close(0)


def test_no_thread_is_left_that_could_free_tensors_while_python_ends(store: str) -> None:
    writer, attempt = Writer(), Attempt.begin(store, 0)
    GatedStore.gate.set()
    submitted(writer, attempt, 1)
    writer.close(PATIENCE)
    assert steps(store) == [1] and not writer._thread.is_alive()


def test_a_store_that_is_away_for_a_while_gets_the_checkpoint_later(store: str) -> None:
    writer, attempt = Writer(), Attempt.begin(store, 0)
    GatedStore.errors += [ConnectionResetError()] * 5
    GatedStore.gate.set()
    with storage.patience(PATIENCE):
        writer.submit(attempt, example(1), [])
        writer.finish()
    assert steps(store) == [1] and not GatedStore.errors


def test_what_cannot_be_removed_ends_nothing(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, attempt = Writer(Retention(keep=1)), Attempt.begin(store, 0)
    GatedStore.gate.set()
    writer.submit(attempt, example(1), [])
    writer.finish()

    def refuse(*arguments: Any, **options: Any) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(GatedStore, "rm", refuse)
    monkeypatch.setattr(storage, "remove", lambda url, remove=storage.remove: storage.exists(url) and remove(url))
    writer.submit(attempt, example(2), [])
    writer.finish()
    assert steps(store) == [1, 2]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tiny.Corpus:
    return tiny.prepare(tmp_path_factory.mktemp("corpus"))


def test_training_goes_on_while_a_checkpoint_is_uploaded(store: str, corpus: tiny.Corpus, tmp_path: Path) -> None:
    """The first upload, that of step 4, is let through in step 16: a training that waited for it would never get there."""
    run = tiny.pretrain_run(corpus, store, checkpoint_every=4, validate_every=100, keep_checkpoints=9)
    calls = iter(range(1, 100))

    def in_step_16() -> bool:
        if next(calls) == 16:
            assert GatedStore.uploading.wait(PATIENCE) and steps(store) == []
            GatedStore.gate.set()
        return False

    result = train(run, should_stop=in_step_16)
    assert result.last_checkpoint == f"{store}/attempt-0001/checkpoint-00000020"
    assert {4, 20} <= set(steps(store)) < {4, 8, 12, 16, 20}
    local = train(replace(run, output=str(tmp_path)))
    for name in ("model.safetensors", "optimizer.safetensors", "vocab.txt"):
        there, here = (storage.read_bytes(f"{one.last_checkpoint}/{name}") for one in (result, local))
        assert there == here
    rows = [
        [one["step"] for one in checkpoint.read_metrics(output) if one["kind"] == "train"] for output in (store, str(tmp_path))
    ]
    assert rows[0] == rows[1] == list(range(1, 21))


def test_a_checkpoint_that_cannot_be_written_ends_training_soon_in_one_line(
    store: str, corpus: tiny.Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After that step, not where the next one is due. The next call resumes."""
    GatedStore.gate.set()
    endless = replace(tiny.pretrain_run(corpus, "").config.phases[0], steps=1_000_000)
    run = tiny.pretrain_run(
        corpus, store, (endless,), checkpoint_every=500_000, validate_every=500_000, store_timeout_seconds=0.1
    )
    calls = iter(range(1, 1_000_000))
    stopped = train(run, should_stop=lambda: next(calls) == 2)
    assert steps(store) == [2] == [stopped.step]
    run = replace(run, config=replace(run.config, training=replace(run.config.training, checkpoint_every=5)))
    storage.write_json(str(tmp_path / "run.json"), run.to_json())
    GatedStore.errors += [ConnectionRefusedError("gone")] * 1000
    assert entry.main([str(tmp_path / "run.json")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no answer from the store for 0.1 s" in line and "run again" in line
    GatedStore.errors.clear()
    assert train(run, should_stop=lambda: True).step == 3


def full_disk(folder: Path, size: str) -> None:
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small disk needs root: {done.stderr.strip()}")


def test_a_full_disk_is_one_line_and_the_newest_whole_checkpoint_is_there(
    corpus: tiny.Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = tmp_path / "disk"
    full_disk(disk, "1300k")
    try:
        run = tiny.pretrain_run(corpus, disk / "run", checkpoint_every=2, validate_every=100, keep_checkpoints=20)
        storage.write_json(str(tmp_path / "run.json"), run.to_json())
        assert entry.main([str(tmp_path / "run.json")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "no space left" in line
        whole = steps(run.output)
        assert whole and checkpoint.damage(f"{run.output}/attempt-0001/checkpoint-{whole[-1]:08d}") is None
        folders = [path.name for path in (disk / "run/attempt-0001").glob("checkpoint-*")]
        assert len(folders) == len(whole) and not list(disk.rglob("*.tmp"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_what_is_kept_for_ever_must_be_written_at_all() -> None:
    with pytest.raises(ValueError, match="keep_every 15 is not a multiple of checkpoint_every 10"):
        tiny.pretrain_run(tiny.Corpus("", {}), "", keep_every=15)


MEMORY = """
import re, sys, torch
from pathlib import Path
from model.checkpoints.checkpoint import Attempt, Checkpoint
from model.checkpoints.writer import Writer
from pipeline import storage
size = 100_000_000
weights, moments = {"a": torch.ones(size // 12)}, {"exp_avg/a": torch.ones(size // 12), "exp_avg_sq/a": torch.ones(size // 12)}
attempt, writer = Attempt.begin(sys.argv[1], 0), Writer()
def peak():  # of this program: ru_maxrss is that of the process before it, too
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
before = peak()
for step in (1, 2, 3):
    writer.submit(attempt, Checkpoint(weights, moments, {"step": step}, {}, b""), [])
writer.finish()
print((peak() - before) / size)
"""


@pytest.mark.timeout(300)
def test_writing_needs_little_more_memory_than_one_copy(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True
    )
    assert 0.9 < float(done.stdout) <= 1.3
