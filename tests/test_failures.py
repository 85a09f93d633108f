"""Which failures end a run: those in a row without a checkpoint between them."""

from pathlib import Path
from typing import Any

import pytest

from cluster.config import ClusterConfig
from cluster.counting import Failures
from model.checkpoints.listing import MARKER
from pipeline import storage
from pipeline.errors import CorpusError, StorageError


def commit(output: Path, attempt: int, step: int) -> None:
    """A checkpoint, as far as one who lists it can tell."""
    storage.write_json(storage.join(str(output), f"attempt-{attempt:04d}", f"checkpoint-{step:08d}", MARKER), {})


def test_failures_count_until_the_next_checkpoint(tmp_path: Path) -> None:
    failures = Failures(str(tmp_path), limit=2)
    for step in range(100, 2_000, 100):  # more failures than the limit, each after a checkpoint of its own
        commit(tmp_path, 1, step)
        assert failures.allows_another() and failures.count == 1
    assert [failures.allows_another() for _ in range(3)] == [True, False, False]
    commit(tmp_path, 2, 1_900)  # the same step, but written again after the last failure
    assert failures.allows_another()


def test_checkpoints_of_an_earlier_run_are_no_progress(tmp_path: Path) -> None:
    commit(tmp_path, 1, 100)
    assert [Failures(str(tmp_path), limit).allows_another() for limit in (0, 1)] == [False, True]


def test_a_store_that_does_not_answer_is_no_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(tmp_path, 1, 100)
    failures = Failures(str(tmp_path), limit=1)
    assert failures.allows_another()

    def unreachable(url: str) -> list[str]:
        raise StorageError(f"{url}: timed out")

    monkeypatch.setattr(storage, "list_names", unreachable)
    assert not failures.allows_another()


def decide(output: Path, error: Any, limit: int = 3, times: int = 1) -> list[str]:
    """What the policy answers to an error that comes `times` in a row."""
    from cluster.policies.failures import FailurePolicy

    policy = FailurePolicy(str(output), ClusterConfig(max_failures=limit))
    return [policy.make_decision(error).value for _ in range(times)]


def test_the_policy_tells_errors_that_pass_from_those_that_recur(tmp_path: Path) -> None:
    from ray.exceptions import ActorDiedError
    from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError
    from ray.train.v2.api.exceptions import ControllerError, PreemptionError, WorkerGroupError
    from ray.train.v2.api.preemption import PreemptionInfo

    died = WorkerGroupError("", {0: RuntimeError("connection closed by peer"), 1: StorageError("s3://b/a: timed out")})
    assert decide(tmp_path, died, limit=3, times=4) == ["RETRY"] * 3 + ["RAISE"]
    assert decide(tmp_path, died, limit=0) == ["RAISE"]
    damaged = WorkerGroupError("", {0: RuntimeError("connection closed by peer"), 1: CorpusError("damaged")})
    assert decide(tmp_path, damaged) == ["RAISE"]
    announced = PreemptionError(preemption_info=PreemptionInfo(None, {"node": [0]}), drain_timed_out=True)
    assert decide(tmp_path, announced, times=50) == ["RETRY"] * 50
    assert decide(tmp_path, ControllerError(WorkerGroupStartupTimeoutError(2)), times=10) == ["RETRY"] * 9 + ["RAISE"]
    assert decide(tmp_path, ControllerError(ValueError("a bug"))) == ["RAISE"]
    assert decide(tmp_path, ControllerError(ActorDiedError()), limit=3, times=4) == ["RETRY"] * 3 + ["RAISE"]
