"""Golden files: fixed input gives the same output as ever. After an intended change, `make golden` rewrites them."""

import json
from typing import Any

import pytest

from tests import golden, golden_corpus, golden_training


def kept(name: str) -> Any:
    return json.loads((golden.FOLDER / name).read_text(encoding="utf-8"))


def test_text_becomes_the_golden_examples() -> None:
    """After an intended change: `make golden`, and a new STAGE_VERSION of the stage that writes shards."""
    made, before = json.loads(golden.written("examples.json")), kept("examples.json")
    for number, (one, other) in enumerate(zip(made, before, strict=False)):
        assert one == other, f"example {number}"
    assert len(made) == len(before)


def test_prepare_writes_the_golden_data_files() -> None:
    """After an intended change: `make golden`, and a new STAGE_VERSION of the first stage that differs."""
    made, before = golden_corpus.data_files(), kept("data_files.json")
    new, gone = sorted(made.keys() - before.keys()), sorted(before.keys() - made.keys())
    assert not new and not gone, f"stages: new {new}, gone {gone}; run `make golden`: only their entries and `all` may change"
    for stage in (*(before.keys() - {"all"}), "all"):
        assert made.get(stage) == before[stage], f"{stage} writes other bytes: bump its STAGE_VERSION, then run `make golden`"


@pytest.fixture(scope="module")
def trained() -> dict[str, Any]:
    return golden_training.training()


def test_tiny_has_the_golden_losses(trained: dict[str, Any]) -> None:
    before = kept("training.json")
    for name in ("losses", "validation_losses"):
        assert trained[name] == pytest.approx(before[name], rel=1e-3)
    assert len(trained["losses"]) == golden_training.STEPS


def test_on_one_processor_training_is_golden_to_the_last_bit(trained: dict[str, Any]) -> None:
    before = kept("training.json")
    if before["machine"] != trained["machine"]:
        pytest.skip(f"the golden series is of {before['machine']}; this is {trained['machine']}")
    assert trained == before
