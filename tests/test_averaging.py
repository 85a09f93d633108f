"""Averages of checkpoints: the mean of the weights, of the right checkpoints, of one network and one vocabulary."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest
import torch

from model.checkpoints import checkpoint
from model.checkpoints.averaging import (
    average,
    best,
    choose,
    mean_of,
    newest,
    write,
)
from model.checkpoints.checkpoint import Attempt, Checkpoint
from pipeline import storage
from pipeline.errors import CheckpointError

NAME = "nezha.pooler.dense.weight"


def example(step: int, weight: torch.Tensor | float | None = None) -> Checkpoint:
    value = torch.as_tensor(float(step) if weight is None else weight).expand(2, 3).clone()
    state = {"phase": 0, "step": step, "consumed_samples": 8 * step, "skipped_ranges": [], "best": None}
    return Checkpoint({NAME: value}, {f"exp_avg/{NAME}": value}, state, {"encoder": {"hidden_size": 3}}, "[PAD]\n北".encode())


def validation(step: int, loss: float | None) -> dict[str, Any]:
    return {"kind": "validation", "step": step, "source": "all", "loss": loss}


def steps(urls: list[str]) -> list[int]:
    return [int(url[-8:]) for url in urls]


@pytest.fixture
def output(tmp_path: Path) -> str:
    """Attempt 1 wrote steps 10 to 40, attempt 2 went on from step 20; the best validation loss is at step 20."""
    first = Attempt.begin(str(tmp_path), 0)
    for step, loss in ((10, 5.0), (20, 2.0), (30, 1.0), (40, 1.0)):
        first.commit(example(step, 1_000 + step), [validation(step, loss)])
    second = Attempt.begin(str(tmp_path), 20)
    for step, loss in ((30, 4.0), (40, 3.0)):
        second.commit(example(step), [validation(step, loss), {**validation(step, 0.0), "source": "news"}])
    second.commit(example(50), [])
    return str(tmp_path)


def test_the_newest_are_those_that_training_went_through(output: str) -> None:
    urls = newest(output, 10)
    assert steps(urls) == [50, 40, 30, 20, 10]
    assert [url.split("/")[-2] for url in urls] == ["attempt-0002"] * 3 + ["attempt-0001"] * 2
    assert steps(choose(output, 2)) == [50, 40]


def test_checkpoints_of_a_stop_in_between_do_not_count(output: str) -> None:
    Attempt.begin(output, 50).commit(example(57), [])
    assert steps(newest(output, 3)) == [57, 50, 40]
    Attempt.begin(output, 57).commit(example(65), [])
    assert steps(newest(output, 3, every=20)) == [65, 40, 20]


def test_the_best_are_those_of_the_least_validation_loss_over_all_sources(output: str) -> None:
    assert steps(best(output, 3)) == [20, 40, 30]  # 50 was not measured; attempt 1's 30 and 40 were gone over again
    assert steps(choose(output, 2, "best")) == [20, 40]


def test_damaged_checkpoints_are_passed_by(output: str) -> None:
    Path(newest(output, 1)[0], "model.safetensors").write_bytes(b"cut short")
    assert steps(newest(output, 2)) == [40, 30]


def test_fewer_than_asked_for_is_told(output: str) -> None:
    with pytest.raises(CheckpointError, match=r"5 whole checkpoints, 6 are to be averaged.*keep_checkpoints"):
        choose(output, 6)
    with pytest.raises(CheckpointError, match="4 whole and validated checkpoints, 5"):
        choose(output, 5, "best")


def test_weights_are_the_mean_and_all_else_the_first_ones(output: str) -> None:
    averaged = average(newest(output, 3))
    assert torch.equal(averaged.model[NAME], torch.full((2, 3), 40.0)) and averaged.optimizer == {}
    assert averaged.state["step"] == 50
    assert averaged.state["averaged"] == [f"attempt-0002/checkpoint-000000{step}" for step in (50, 40, 30)]
    assert (averaged.config, averaged.vocabulary) == (example(50).config, example(50).vocabulary)


def test_one_checkpoint_is_its_own_average(output: str) -> None:
    url = newest(output, 1)
    assert torch.equal(average(url).model[NAME], checkpoint.load(url[0]).model[NAME])


def test_half_precision_is_summed_in_float32(tmp_path: Path) -> None:
    attempt = Attempt.begin(str(tmp_path), 0)
    # In bfloat16, 256 + 1 + 1 + ... stays 256.
    urls = [attempt.commit(example(n, torch.tensor(256.0 if n == 1 else 1.0, dtype=torch.bfloat16)), []) for n in range(1, 9)]
    mean = average(urls).model[NAME]
    assert mean.dtype == torch.bfloat16
    assert torch.equal(mean, torch.full((2, 3), (256 + 7) / 8).to(torch.bfloat16))


def test_what_is_written_is_a_checkpoint(output: str, tmp_path: Path) -> None:
    url = write(average(newest(output, 2)), str(tmp_path / "mean"))
    assert checkpoint.damage(url) is None
    assert torch.equal(checkpoint.load(url).model[NAME], torch.full((2, 3), 45.0))
    Path(url, "vocab.txt").write_bytes(b"?")
    assert checkpoint.damage(url)


def test_a_mean_for_a_moment_is_gone_afterwards(output: str) -> None:
    with mean_of(output, 2, "best") as url:
        assert torch.equal(checkpoint.load(url).model[NAME], torch.full((2, 3), (1_020 + 40) / 2))
    assert not Path(url).exists()


def test_a_half_written_average_is_no_checkpoint(output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = storage.open_write
    written: list[str] = []

    def twice(url: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(url)
        return real(url)

    monkeypatch.setattr(storage, "open_write", twice)
    with pytest.raises(KeyboardInterrupt):
        write(average(newest(output, 2)), str(tmp_path / "mean"))
    assert written and checkpoint.damage(str(tmp_path / "mean")) is not None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"vocabulary": b"[PAD]"}, "another vocabulary"),
        ({"config": {"encoder": {"hidden_size": 4}}}, "another network"),
        ({"model": {NAME: torch.zeros(3, 3)}}, "another network"),
        ({"model": {NAME: torch.zeros(2, 3), "cls.bias": torch.zeros(1)}}, "another network"),
        ({"model": {"cls.bias": torch.zeros(2, 3)}}, "another network"),
    ],
)
def test_weights_of_another_network_or_vocabulary_are_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    one = write(example(10), str(tmp_path / "one"))
    other = write(replace(example(20), **changed), str(tmp_path / "other"))
    with pytest.raises(CheckpointError, match=message) as caught:
        average([one, other])
    assert one in str(caught.value) and other in str(caught.value)
