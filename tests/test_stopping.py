"""A training is asked to stop, from wherever: it finishes its step, writes a checkpoint of it, and says why it stopped."""

import subprocess
import sys
from pathlib import Path

import pytest

from model.checkpoints import checkpoint
from model.config import PhaseConfig
from model.training.loop import train
from model.training.run import PretrainRun
from model.training.stopping import STOP, StopReason, StopRequests, request_stop
from pipeline import storage
from tests import tiny
from tests.training_folders import newest_of


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tiny.Corpus:
    return tiny.prepare(tmp_path_factory.mktemp("corpus"))


def long_run(corpus: tiny.Corpus, output: Path) -> PretrainRun:
    """A run that ends only when it is asked to, and writes no checkpoint before."""
    phase = PhaseConfig(sequence_length=24, batch_size=16, steps=100_000, learning_rate=2e-3, warmup_steps=4)
    return tiny.pretrain_run(corpus, output, (phase,), checkpoint_every=100_000, validate_every=100_000)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [(b'{"attempt": 1, "reason": "drain"}', StopReason.DRAIN), (b"{}", StopReason.REQUEST)],
)
def test_a_file_in_the_folder_stops_a_training_with_a_checkpoint_of_that_step(
    corpus: tiny.Corpus, tmp_path: Path, request_: bytes, reason: StopReason
) -> None:
    run, steps = long_run(corpus, tmp_path), 0

    def count() -> bool:
        nonlocal steps
        steps += 1
        if steps == 3:
            storage.write_bytes(storage.join(run.output, STOP), request_)
        return False

    result = train(run, should_stop=count)
    assert (result.stopped_by, result.finished) == (reason, False)
    assert result.step == steps + 1, "the step that was not asked any more is the last"
    assert newest_of(run.output) == result.last_checkpoint
    assert checkpoint.read_metrics(run.output)[-1]["step"] == result.step
    assert not storage.exists(storage.join(run.output, STOP)), "it would stop the next run"


def test_the_next_run_is_not_stopped_by_what_the_last_one_was_asked(corpus: tiny.Corpus, tmp_path: Path) -> None:
    run, steps = tiny.pretrain_run(corpus, tmp_path), 0
    storage.write_bytes(storage.join(run.output, STOP), b"{}")

    def look_at_each_step() -> bool:
        nonlocal steps
        steps += 1
        if steps == 5:
            requests = StopRequests(run.output)
            request_stop(run.output, StopReason.SIGTERM, attempt=0)
            requests.look()
            assert requests.reason(attempt=1) is None and requests.reason(attempt=0) is StopReason.SIGTERM
        return False

    result = train(run, should_stop=look_at_each_step)
    assert (result.stopped_by, result.finished) == (None, True)


@pytest.mark.parametrize("content", [b"", b"stop", b"[]", b'{"attempt": "2"}', b'{"reason": "rain"}'])
def test_a_file_that_is_no_request_stops_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / STOP).write_bytes(content)
    requests = StopRequests(str(tmp_path))
    requests.look()
    assert requests.reason(attempt=1) is None


def test_who_asks_needs_no_torch() -> None:
    program = "import sys, model.training.stopping; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent.parent, check=True)
