"""The list of steps and the table of kinds: what they name exists, and a stage's kind follows from its manifest."""

from pathlib import Path

import pytest

from pipeline.engine import stages
from pipeline.engine.stages import FileEntry, Finished, Stage
from workflows import recipe
from workflows.chain import Chain
from workflows.kinds import KINDS, kind_of, summary


@pytest.mark.parametrize("field", ["preview", "verify", "trace"])
def test_the_functions_of_the_table_exist(field: str) -> None:
    functions = [kind.function(field) for kind in KINDS.values()]  # type: ignore[arg-type]
    named = [kind for kind in KINDS.values() if getattr(kind, field)]
    assert len([function for function in functions if callable(function)]) == len(named) > 0


@pytest.mark.parametrize("name", recipe.shipped())
def test_every_step_has_a_row_and_needs_only_earlier_steps(name: str, tmp_path: Path) -> None:
    chain = Chain(recipe.load(name), str(tmp_path))
    earlier: set[str] = set()
    for step in chain.steps.values():
        assert step.kind in KINDS, f"add a Kind({step.kind!r}) to workflows/kinds.py"
        assert set(step.needs) <= earlier
        earlier.add(step.name)
    assert chain.names()[-1] == "report" and "data_report" not in chain.names()
    assert set(chain.data_names()) < set(chain.names())


@pytest.mark.parametrize("source", ["", "news", "input", "side", "64", "a_64"])
def test_the_kind_of_a_stage_is_its_name_without_source_and_length(source: str, tmp_path: Path) -> None:
    def body(folder: str) -> dict[str, list[FileEntry]]:
        return {"files": []}

    for kind, length in (("wiki_side_input", 0), ("shards", 64)):
        done = stages.run(str(tmp_path), Stage(kind, 1, {}, {}, source=source, length=length), body)
        assert (done.kind, done.source) == (kind, source)
        assert kind_of(stages.load(done.url)) is KINDS[kind]


def test_a_kind_without_a_row_is_summed_up_by_its_files() -> None:
    files = [{"name": "a", "bytes": 1_500_000, "sha256": ""}]
    assert summary(Finished("runs/x-1", {"stage": "x", "files": files})) == "1 file, 1.5 MB"
