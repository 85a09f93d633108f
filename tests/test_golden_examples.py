"""Golden examples: from text to masks, one fixed corpus gives what it always gave."""

import json

from tests import golden


def test_text_becomes_the_golden_examples() -> None:
    """If a change is meant: `python -m tests.golden`, and a new STAGE_VERSION of the stage that writes shards."""
    kept = json.loads((golden.FOLDER / "examples.json").read_text(encoding="utf-8"))
    made = json.loads(golden.written("examples.json"))
    for number, (one, other) in enumerate(zip(made, kept, strict=False)):
        assert one == other, f"example {number}"
    assert len(made) == len(kept)
