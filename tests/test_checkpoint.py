"""Checkpoints: whole or absent, damaged ones passed by, one writer at a time."""

import contextlib
import errno
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, ClassVar

import fsspec
import pytest
import safetensors.torch
import torch
from fsspec.implementations.memory import MemoryFileSystem

from model.checkpoints import checkpoint, files
from model.checkpoints.checkpoint import Attempt, Checkpoint
from model.optimization.lamb import Lamb, parameter_groups
from pipeline import storage
from pipeline.errors import CheckpointError, StorageError
from tests.training_folders import newest_of
from workflows.report.figures import ReportInputs, figures


def example(step: int, best: dict[str, Any] | None = None) -> Checkpoint:
    weights = {"nezha.embeddings.word_embeddings.weight": torch.full((4, 3), float(step)), "cls.bias": torch.arange(4.0)}
    moments = {f"{kind}/{name}": tensor * 2 for kind in ("exp_avg", "exp_avg_sq") for name, tensor in weights.items()}
    state = {"phase": 0, "step": step, "consumed_samples": 8 * step, "skipped_ranges": [], "best": best}
    return Checkpoint(weights, moments, state, {"seed": 1, "词表": "北京"}, "[PAD]\n北\n".encode())


def row(step: int, **fields: Any) -> dict[str, Any]:
    return {"kind": "train", "step": step, **fields}


@pytest.fixture(params=["local", "memory"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "local" else f"memory://{tmp_path.name}/run"


def test_what_is_saved_comes_back(output: str) -> None:
    url = Attempt.begin(output, 0).commit(example(200), [row(200, loss=1.5)])
    assert url == f"{output}/attempt-0001/checkpoint-00000200"
    assert newest_of(output) == url
    loaded, saved = checkpoint.load(url), example(200)
    assert loaded.state == saved.state and (loaded.config, loaded.vocabulary) == (saved.config, saved.vocabulary)
    for mine, theirs in ((loaded.model, saved.model), (loaded.optimizer, saved.optimizer)):
        assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert checkpoint.read_metrics(output) == [row(200, loss=1.5)]


def test_equal_contents_are_equal_bytes() -> None:
    backwards = example(3)
    backwards = Checkpoint(
        dict(reversed(backwards.model.items())),
        dict(reversed(backwards.optimizer.items())),
        dict(reversed(backwards.state.items())),
        backwards.config,
        backwards.vocabulary,
    )
    assert contents(backwards) == contents(example(3))


def contents(saved: Checkpoint) -> dict[str, bytes]:
    return {name: b"".join(bytes(part) for part in parts) for name, parts in saved.files().items()}


def test_tensors_are_written_as_the_library_writes_them() -> None:
    tensors = {f"北{kind}{size}": torch.randn(3, size).mul(9).to(kind) for kind in files.DTYPES for size in (0, 1, 5)}
    tensors |= {'step/"0"': torch.tensor(7), "wide": torch.randn(1_500, 2_000)}
    for saved in (tensors, {}):
        written = contents(replace(example(1), model=saved))["model.safetensors"]
        assert written == safetensors.torch.save(saved, {"format": "pt"})


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", checkpoint.MARKER])
@pytest.mark.parametrize("how", ["missing", "truncated", "flipped"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, name: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    attempt = Attempt.begin(str(tmp_path), 0)
    good, newest = attempt.commit(example(100), []), attempt.commit(example(200), [])
    file = Path(newest) / name
    data = file.read_bytes()
    if how == "missing":
        file.unlink()
    else:
        file.write_bytes(data[: len(data) // 2] if how == "truncated" else data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
    with caplog.at_level(logging.WARNING):
        assert newest_of(str(tmp_path)) == good
    with pytest.raises(CheckpointError, match="take an older one"):
        checkpoint.load(newest)
    if (name, how) != (checkpoint.MARKER, "missing"):  # that one was never committed: nothing to warn of
        assert [record.message.count(newest) > 0 for record in caplog.records] == [True]
        assert "\n" not in caplog.text.strip()


def test_when_all_are_damaged_nothing_is_begun_again(tmp_path: Path) -> None:
    attempt = Attempt.begin(str(tmp_path), 0)
    for step in (100, 200):
        (Path(attempt.commit(example(step), [])) / "state.json").write_bytes(b"{")
    with pytest.raises(
        CheckpointError, match=r"every checkpoint is damaged \(attempt-0001/checkpoint-00000200: state.json has 1 b"
    ):
        newest_of(str(tmp_path))


class Unsteady(MemoryFileSystem):  # type: ignore[misc]
    """A store that fails to read some names for a while."""

    protocol = "unsteady"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    failing = ""

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if self.failing and path.endswith(self.failing) and "r" in mode:
            raise OSError(errno.EIO, "Input/output error")
        return super()._open(path, mode, **options)


fsspec.register_implementation("unsteady", Unsteady, clobber=True)


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", checkpoint.MARKER])
def test_what_cannot_be_read_now_is_not_damaged(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    output = f"unsteady://{name}/run"
    attempt = Attempt.begin(output, 0)
    newest = [attempt.commit(example(step), []) for step in (100, 200)][-1]
    monkeypatch.setattr(Unsteady, "failing", name)
    with pytest.raises(StorageError, match="Input/output error"):
        newest_of(output)
    monkeypatch.setattr(Unsteady, "failing", "")
    assert newest_of(output) == newest


def test_killed_at_any_write_there_is_a_whole_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third checkpoint is torn after each of its writes and removals in turn: the second one stays the newest."""
    real = {name: getattr(storage, name) for name in ("open_write", "remove")}

    class Killed(BaseException):
        pass

    writes = 0
    while True:
        writes += 1
        output = str(tmp_path / str(writes))
        attempt = Attempt.begin(output, 0)
        attempt.commit(example(1), [])
        second = attempt.commit(example(2), [])
        left = writes

        def torn(name: str) -> Any:
            def write(*arguments: Any) -> Any:
                nonlocal left
                if left == 0:
                    raise Killed
                left -= 1
                return real[name](*arguments)

            return write

        for name in real:
            monkeypatch.setattr(storage, name, torn(name))
        try:
            attempt.commit(example(3), [])
            attempt.retain(1, None)
            break
        except Killed:
            found = newest_of(output)
            assert found is not None and checkpoint.load(found).state["step"] in (2, 3)
            assert found != second or not storage.exists(f"{attempt.url}/checkpoint-00000003/{checkpoint.MARKER}")
        finally:
            monkeypatch.undo()
    assert writes > 8
    assert [storage.base_name(url) for url in checkpoint.committed(output)] == ["checkpoint-00000003"]


def test_a_half_written_checkpoint_is_passed_by_and_removed_by_the_next_attempt(output: str) -> None:
    old = Attempt.begin(output, 0)
    good = old.commit(example(100), [])
    half = old.commit(example(200), [])
    storage.remove(storage.join(half, checkpoint.MARKER))
    assert newest_of(output) == good
    new = Attempt.begin(output, 100)
    new.commit(example(200), [])
    new.retain(5, None)
    assert not storage.exists(storage.join(half, "model.safetensors"))
    assert storage.exists(storage.join(good, "model.safetensors"))


def test_an_older_attempt_cannot_write(output: str) -> None:
    old = Attempt.begin(output, 0)
    old.commit(example(1), [])
    new = Attempt.begin(output, 1)
    assert (old.number, new.number) == (1, 2)
    for write in (
        lambda: old.commit(example(2), [row(2)]),
        lambda: old.retain(1, None),
        lambda: old.point_at_best({"checkpoint": "attempt-0001/checkpoint-00000001"}),
    ):
        with pytest.raises(CheckpointError, match="attempt-0002 has taken over, attempt-0001 stops"):
            write()
    assert storage.list_names(old.url) == ["attempt.json", "checkpoint-00000001", "metrics-00000001.jsonl"]
    assert not storage.exists(storage.join(output, "best.json"))
    new.commit(example(2), [])


def test_overtaken_in_the_middle_of_a_commit_no_marker_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Attempt.begin(str(tmp_path), 0)
    write = storage.open_write

    @contextlib.contextmanager
    def overtaken(url: str) -> Iterator[IO[bytes]]:
        with write(url) as file:
            yield file
        if url.endswith("optimizer.safetensors"):
            Attempt.begin(str(tmp_path), 0)

    monkeypatch.setattr(storage, "open_write", overtaken)
    with pytest.raises(CheckpointError, match="attempt-0002"):
        old.commit(example(1), [])
    assert newest_of(str(tmp_path)) is None


def test_what_a_user_put_beside_the_checkpoints_is_left_alone(tmp_path: Path) -> None:
    attempt = Attempt.begin(str(tmp_path), 0)
    url = Path(attempt.commit(example(100), [row(100)]))
    copy, unfinished = url.with_name("checkpoint-00000100.bak"), url.with_name("checkpoint-mine")
    shutil.copytree(url, copy)
    unfinished.mkdir()
    shutil.copy(tmp_path / "attempt-0001/metrics-00000100.jsonl", tmp_path / "attempt-0001/metrics-00000100.jsonl.bak")
    assert list(checkpoint.committed(str(tmp_path))) == [str(url)] and newest_of(str(tmp_path)) == str(url)
    assert checkpoint.read_metrics(str(tmp_path)) == [row(100)]
    Attempt.begin(str(tmp_path), 100).retain(1, None)
    assert url.exists() and copy.exists() and unfinished.exists()


def test_two_attempts_that_took_one_number_do_not_both_write() -> None:
    """An object store knows no exclusive creation: who wrote last has the number, the other one notices."""
    output = "memory://race/run"
    first = Attempt.begin(output, 0)
    storage.write_json(f"{first.url}/attempt.json", {"token": "of another", "step": 0})
    with pytest.raises(CheckpointError, match="taken by another process"):
        first.commit(example(1), [])


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    output = str(tmp_path)
    best = {"checkpoint": "attempt-0001/checkpoint-00000002", "step": 2, "validation_loss": 3.25}
    first = Attempt.begin(output, 0)
    for step in range(1, 5):
        first.commit(example(step), [])
        first.retain(2, best if step >= 2 else None)
    first.point_at_best(best)
    assert json.loads((tmp_path / "best.json").read_text()) == best
    second = Attempt.begin(output, 4)
    second.commit(example(5), [])
    second.retain(2, best)
    kept = [url.removeprefix(output + "/") for url in checkpoint.committed(output)]
    assert kept == [f"attempt-000{a}/checkpoint-0000000{step}" for a, step in [(2, 5), (1, 4), (1, 2)]]


def test_every_nth_is_kept_for_ever(tmp_path: Path) -> None:
    attempt = Attempt.begin(str(tmp_path), 0)
    for step in range(10, 90, 10):
        attempt.commit(example(step), [])
        attempt.retain(2, None, every=30)
    kept = [storage.base_name(url) for url in checkpoint.committed(str(tmp_path))]
    assert kept == [checkpoint.checkpoint_name(step) for step in (80, 70, 60, 30)]


@pytest.mark.parametrize("how", ["missing", "truncated", "flipped"])
@pytest.mark.parametrize(("name", "steps"), [("0001/metrics-00000020", (11, 20)), ("0002/metrics-00000030", (21, 30))])
def test_lost_metrics_are_said(
    tmp_path: Path, name: str, steps: tuple[int, int], how: str, caplog: pytest.LogCaptureFixture
) -> None:
    output = str(tmp_path)
    first = Attempt.begin(output, 0)
    for step in (10, 20):
        first.commit(example(step), [row(step - 5), row(step)])
    second = Attempt.begin(output, 20)
    for step in (30, 40):
        second.commit(example(step), [row(step - 5), row(step)])
    whole = checkpoint.read_metrics(output)
    assert [one["step"] for one in whole] == list(range(5, 45, 5)) and not caplog.records
    file = tmp_path / f"attempt-{name}.jsonl"
    if how == "missing":
        file.unlink()
    elif how == "truncated":
        file.write_bytes(file.read_bytes()[:-20])
    else:
        file.write_bytes(file.read_bytes().replace(b"5", b"6", 1))
    found = checkpoint.read_metrics(output)
    assert [one for one in found if one["kind"] == "train"] == [one for one in whole if not steps[0] <= one["step"] <= steps[1]]
    (lost,) = [one for one in found if one["kind"] == "lost"]
    assert (lost["from"] + 1, lost["step"], lost["file"]) == (*steps, f"attempt-{name}.jsonl")
    assert f"attempt-{name}.jsonl" in caplog.text and f"steps {steps[0]} to {steps[1]} are lost" in caplog.text
    shown = figures(ReportInputs(recipe_name="", key="", recipe={}, metrics=found))["captions"]["loss"]
    assert f"Metrics are lost: those of steps {steps[0]} to {steps[1]} (attempt-{name}.jsonl" in shown
    assert newest_of(output) == f"{output}/attempt-0002/checkpoint-00000040"


@pytest.mark.parametrize("content", [None, "{"])
def test_an_attempt_that_does_not_say_where_it_began_hides_no_metrics(tmp_path: Path, content: str | None) -> None:
    output = str(tmp_path)
    Attempt.begin(output, 0).commit(example(10), [row(10)])
    Attempt.begin(output, 10).commit(example(20), [row(20)])
    facts = tmp_path / "attempt-0002/attempt.json"
    facts.unlink() if content is None else facts.write_text(content)
    found = checkpoint.read_metrics(output)
    assert [(one["kind"], one["step"]) for one in found] == [("train", 10), ("lost", 10), ("train", 20)]


def test_metrics_of_a_later_attempt_replace_those_after_its_start(output: str) -> None:
    first = Attempt.begin(output, 0)
    first.commit(example(10), [row(5, of=1), row(10, of=1)])
    first.commit(example(20), [row(15, of=1), row(20, of=1)])
    second = Attempt.begin(output, 10)
    assert [r["step"] for r in checkpoint.read_metrics(output)] == [5, 10]
    second.commit(example(15), [row(15, of=2)])
    assert [(r["step"], r["of"]) for r in checkpoint.read_metrics(output)] == [(5, 1), (10, 1), (15, 2)]
    (storage.local_path(second.output) / "attempt-0003").mkdir(parents=True) if storage.is_local(output) else None
    assert len(checkpoint.read_metrics(output)) == 3  # an attempt that died before it said a word
    assert checkpoint.read_metrics(output + "-nowhere") == []


def test_the_optimizer_goes_on_as_if_never_stopped() -> None:
    def step(network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        network(torch.ones(2, 3)).square().sum().backward()
        optimizer.step()

    def fresh() -> tuple[torch.nn.Module, Lamb]:
        network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
        return network, Lamb(parameter_groups(network, 0.01), lr=0.1)

    torch.manual_seed(0)
    network, optimizer = fresh()
    step(network, optimizer)
    other, other_optimizer = fresh()
    other.load_state_dict(network.state_dict())
    saved = checkpoint.optimizer_tensors(network, optimizer)
    assert {"exp_avg/1.weight", "exp_avg_sq/1.bias", "step/0"} <= saved.keys()
    checkpoint.restore_optimizer(other, other_optimizer, {name: tensor.clone() for name, tensor in saved.items()})
    for _ in range(3):
        step(network, optimizer)
        step(other, other_optimizer)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))
    with pytest.raises(CheckpointError, match=r"2\.weight"):
        checkpoint.restore_optimizer(other, other_optimizer, {"exp_avg/2.weight": torch.zeros(1)})


def test_a_checkpoint_that_arrives_after_another_attempt_took_over_does_not_count(output: str) -> None:
    first = Attempt.begin(output, 0)
    at_10 = first.commit(example(10), [])
    at_20 = first.commit(example(20), [])
    assert list(checkpoint.committed(output)) == [at_20, at_10]
    marker = storage.read_bytes(storage.join(at_20, checkpoint.MARKER))
    storage.remove(storage.join(at_20, checkpoint.MARKER))  # on its way to the store
    second = Attempt.begin(output, 10)
    storage.write_bytes(storage.join(at_20, checkpoint.MARKER), marker)
    assert list(checkpoint.committed(output)) == [at_10]
    at_15 = second.commit(example(15), [])
    assert list(checkpoint.committed(output)) == [at_15, at_10]
