"""Code that could change what a stage writes needs another STAGE_VERSION, or finished folders would pass for new ones."""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests import stage_sources
from tests.stage_sources import DECIDES_NO_BYTES, GOLDEN, ROOT, code_hash, current, stages


def test_changed_code_calls_for_a_decision_about_the_version() -> None:
    golden, now = json.loads(GOLDEN.read_text()), current()
    if new := sorted(now.keys() - golden.keys()):
        pytest.fail(f"{', '.join(new)}: new; run `python -m tests.stage_sources`, and commit its file", pytrace=False)
    affected = changes(golden, now)
    if affected:
        lines = [f"{module}: changed, decides the bytes of {', '.join(places)}" for module, places in affected.items()]
        todo = "if the same inputs now give other bytes, add 1 to the STAGE_VERSION named above; "
        pytest.fail("\n".join([*lines, f"{todo}then run `python -m tests.stage_sources`, and commit its file"]), pytrace=False)


Hashes = dict[str, dict[str, Any]]


def changes(before: Hashes, after: Hashes) -> dict[str, list[str]]:
    """Return changed modules, each with the versions that may need a bump. A bumped version is a change of its own module."""
    found: dict[str, list[str]] = defaultdict(list)
    nothing: dict[str, Any] = {"version": None, "sources": {}}
    for place in sorted(before.keys() | after.keys()):
        old, new = before.get(place, nothing), after.get(place, nothing)
        changed = {name for name, _ in old["sources"].items() ^ new["sources"].items()}
        if old["version"] != new["version"]:
            changed.add(place.rpartition(".")[0])
        for module in changed:
            found[module].append(place)
    return dict(sorted(found.items()))


def test_changes_name_the_module_and_its_stages() -> None:
    before = {place: {"version": 1, "sources": {"a": "0", "b": "1"}} for place in ("a.STAGE_VERSION", "b.STAGE_VERSION")}
    other_code = before | {"b.STAGE_VERSION": {"version": 1, "sources": {"a": "0", "b": "2"}}}
    assert changes(before, before) == {}
    assert changes(before, other_code) == {"b": ["b.STAGE_VERSION"]}
    bumped = before | {"a.STAGE_VERSION": {"version": 2, "sources": {"a": "0", "b": "1"}}}
    assert changes(before, bumped) == {"a": ["a.STAGE_VERSION"]}
    new = before | {"c.STAGE_VERSION": {"version": 1, "sources": {"c": "3"}}}
    assert changes(before, new) == {"c": ["c.STAGE_VERSION"]} == changes(new, before)


def test_every_module_that_stages_load_is_guarded() -> None:
    """Reading the imports finds at least what Python loads when the stages are imported."""
    program = f"import sys, {', '.join(stages())}\nprint(*(name for name in sys.modules if name.startswith('pipeline.')))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    guarded = {source for stage in stages() for source in stage_sources.sources(stage)}
    files = {name for name in loaded.stdout.split() if stage_sources.path(name).exists()}
    assert set(stages()) <= files <= guarded | DECIDES_NO_BYTES.keys()


def test_stages_are_found_by_their_version() -> None:
    assert {"pipeline.documents.stage", "pipeline.dedup.stage", "pipeline.examples.stage"} <= set(stages())
    assert all(stage_sources.path(name).exists() for name in DECIDES_NO_BYTES)


@pytest.mark.parametrize(
    ("stage", "source"),
    [
        ("pipeline.tokenization.stage", "pipeline.tokenization.trie"),
        ("pipeline.examples.stage", "pipeline.engine.row_order"),
        ("pipeline.documents.stage", "pipeline.wiki.templates.text_templates"),
    ],
)
def test_indirect_imports_are_guarded(stage: str, source: str) -> None:
    assert source in stage_sources.sources(stage)


def test_the_hash_is_of_the_code_not_of_its_words(tmp_path: Path) -> None:
    count = 0

    def hash_of(source: str) -> str:
        nonlocal count
        count += 1
        file = tmp_path / f"m{count}.py"
        file.write_text(source)
        return code_hash(file)

    first = hash_of('"""Doc."""\n\nA = 1\n"""A number."""\n\ndef f(x: int) -> int:\n    """Doc."""\n    return x + A  # why\n')
    assert hash_of("A = 1\ndef f(x: int) -> int:\n    return (x +\n            A)\n") == first
    assert hash_of("A = 2\ndef f(x: int) -> int:\n    return x + A\n") != first
    assert hash_of('A = 1\ndef f(x: int) -> int:\n    return x + A + len("Doc.")\n') != first
