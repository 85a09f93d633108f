"""Checkpoints: whole or absent, damaged ones passed by, one writer at a time."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from model.checkpoints import checkpoint
from model.checkpoints.checkpoint import Attempt, Checkpoint
from model.optimization.lamb import Lamb, parameter_groups
from pipeline import storage
from pipeline.errors import CheckpointError


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
    assert checkpoint.newest_valid(output) == url
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
    assert backwards.files() == example(3).files()


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
        assert checkpoint.newest_valid(str(tmp_path)) == good
    with pytest.raises(CheckpointError, match="take an older one"):
        checkpoint.load(newest)
    if (name, how) != (checkpoint.MARKER, "missing"):  # that one was never committed: nothing to warn of
        assert [record.message.count(newest) > 0 for record in caplog.records] == [True]
        assert "\n" not in caplog.text.strip()


def test_killed_at_any_write_there_is_a_whole_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third checkpoint is torn after each of its writes and removals in turn: the second one stays the newest."""
    real = {name: getattr(storage, name) for name in ("write_bytes", "write_json", "remove")}

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
            def write(*arguments: Any) -> None:
                nonlocal left
                if left == 0:
                    raise Killed
                left -= 1
                real[name](*arguments)

            return write

        for name in ("write_bytes", "remove"):
            monkeypatch.setattr(storage, name, torn(name))
        try:
            attempt.commit(example(3), [])
            attempt.retain(1, None)
            break
        except Killed:
            found = checkpoint.newest_valid(output)
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
    assert checkpoint.newest_valid(output) == good
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
    write = storage.write_bytes

    def overtaken(url: str, data: bytes) -> None:
        write(url, data)
        if url.endswith("optimizer.safetensors"):
            Attempt.begin(str(tmp_path), 0)

    monkeypatch.setattr(storage, "write_bytes", overtaken)
    with pytest.raises(CheckpointError, match="attempt-0002"):
        old.commit(example(1), [])
    assert checkpoint.newest_valid(str(tmp_path)) is None


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
