"""A stage that could write other bytes must have another version, or finished folders would pass for what they are not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import stage_sources
from tests.stage_sources import GOLDEN, STAGES, code_hash, current


@pytest.mark.parametrize("place", STAGES)
def test_a_changed_source_calls_for_a_look_at_the_version(place: str) -> None:
    golden = json.loads(GOLDEN.read_text())
    assert place in golden, "run `python -m tests.stage_sources`"
    now, before = current()[place], golden[place]
    both = now["sources"].keys() | before["sources"].keys()
    changed = sorted(source for source in both if now["sources"].get(source) != before["sources"].get(source))
    if changed or now["version"] != before["version"]:
        module, _, name = place.rpartition(".")
        pytest.fail(
            f"{', '.join(changed) or 'the version'} changed: bump {name} in {module.replace('.', '/')}.py "
            "if the bytes can change, then run `python -m tests.stage_sources`"
        )


def test_the_golden_file_has_the_stages_that_there_are() -> None:
    assert json.loads(GOLDEN.read_text()).keys() == set(STAGES), "run `python -m tests.stage_sources`"
    assert len(STAGES) >= 12


def test_every_module_that_stages_load_is_guarded() -> None:
    """What Python loads when the stages are imported is found by reading their imports too."""
    stages = [place.rpartition(".")[0] for place in STAGES]
    program = f"import sys, {', '.join(stages)}\nprint(*(name for name in sys.modules if name.startswith('pipeline.')))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=stage_sources.ROOT)
    guarded = {source for stage in stages for source in stage_sources.sources(stage)}
    files = {name for name in loaded.stdout.split() if stage_sources.path(name).exists()}
    assert set(stages) <= files <= guarded | stage_sources.DECIDES_NO_BYTES.keys()


@pytest.mark.parametrize(
    ("stage", "source"),
    [
        ("pipeline.tokenization.stage", "pipeline.tokenization.trie"),
        ("pipeline.examples.stage", "pipeline.engine.row_order"),
        ("pipeline.documents.stage", "pipeline.wiki.templates.text_templates"),
    ],
)
def test_what_is_imported_by_what_is_imported_is_guarded(stage: str, source: str) -> None:
    assert source in stage_sources.sources(stage)


def test_the_hash_is_of_the_code_not_of_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_sources, "ROOT", tmp_path)

    def hash_of(source: str) -> str:
        (tmp_path / "m.py").write_text(source)
        return code_hash("m")

    first = hash_of('"""Doc."""\n\nA = 1\n"""Of A."""\n\ndef f(x: int) -> int:\n    """Doc."""\n    return x + A  # why\n')
    assert hash_of("A = 1\ndef f(x: int) -> int:\n    return (x +\n            A)\n") == first
    assert hash_of("A = 2\ndef f(x: int) -> int:\n    return x + A\n") != first
    assert hash_of('A = 1\ndef f(x: int) -> int:\n    return x + A + len("Doc.")\n') != first
