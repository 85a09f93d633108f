"""Ablation: variants are parsed or refused, shared stages run once, an interrupted ablation resumes, tables add up."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from pipeline.engine.execution import Execution
from pipeline.engine.stages import Finished
from pipeline.errors import RecipeError
from workflows import ablation, exporting
from workflows.cli import main
from workflows.evaluation.scores import Score
from workflows.report import comparison

RECIPE = """
name = "mini"
validation_ratio = 0.05

[[source]]
name = "own"
kind = "text"
input = ["REVIEWS"]

[dedup]
near = false

[filters]
max_top_7gram_ratio = 1
max_dup_8gram_ratio = 1

[vocabulary]
size = 400

[encoder]
hidden_size = 16
num_hidden_layers = 1
num_attention_heads = 2
intermediate_size = 32

[training]
validate_every = 2
checkpoint_every = 2
log_every = 1

[[phase]]
sequence_length = 32
batch_size = 4
steps = 4

[evaluation]
data = "TASKS"
tasks = ["ocnli"]
epochs = 1
max_length = 32
"""
ROWS = [{"sentence1": f"第{n}个人在{n}点睡觉", "sentence2": "他睡了", "label": ("yes", "no")[n % 2]} for n in range(120)]


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    """Write the miniature recipe and its files."""
    reviews = [f"第{n}条评论，讲的是一家开在山里的旅馆，房间很干净，早饭也好吃。" for n in range(300)]
    (tmp_path / "reviews.txt").write_text("\n\n".join(reviews), encoding="utf-8")
    (tmp_path / "tasks" / "ocnli").mkdir(parents=True)
    for split, rows in (("train.10k", ROWS), ("dev", ROWS[:20])):
        lines = "".join(
            json.dumps({**row, "id": "没有人读过的一句很长很长的话在这里"}, ensure_ascii=False) + "\n" for row in rows
        )
        (tmp_path / "tasks" / "ocnli" / f"{split}.json").write_text(lines, encoding="utf-8")
    text = RECIPE.replace("REVIEWS", str(tmp_path / "reviews.txt")).replace("TASKS", str(tmp_path / "tasks"))
    (tmp_path / "mini.toml").write_text(text, encoding="utf-8")
    return str(tmp_path / "mini.toml")


def ablate(recipe: str, output: Path, *variants: str) -> Result:
    options = [word for variant in variants for word in ("--variant", variant)]
    arguments = ["ablate", recipe, "--output", str(output), "--seeds", "2", "--workers", "1", "--json", *options]
    return CliRunner().invoke(main, arguments)


def test_an_ablation_shares_stages_resumes_and_reports_everything(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    wanted = ("wide:encoder.hidden_size=32,encoder.intermediate_size=64", "token:masking.policy=token")
    whole = exporting.export

    def stopped(checkpoint: Finished, facts: Mapping[str, Any], root: str, *, execution: Execution) -> Finished:
        if facts["name"] == "mini-wide":
            raise KeyboardInterrupt
        return whole(checkpoint, facts, root, execution=execution)

    monkeypatch.setattr(exporting, "export", stopped)
    assert ablate(recipe, output, *wanted).exit_code == 130
    monkeypatch.undo()
    finished = {path: path.stat().st_mtime_ns for path in output.glob("*/manifest.json")}
    assert len([*output.glob("checkpoint-*/manifest.json")]) == 2 and not (output / "results.json").exists()

    result = ablate(recipe, output, *wanted)
    assert result.exit_code == 0, result.output
    assert all(path.stat().st_mtime_ns == then for path, then in finished.items())
    stages = [re.sub(r"-[0-9a-f]{12}$", "", path.parent.name) for path in output.glob("*/manifest.json")]
    assert {name: stages.count(name) for name in ("documents_own", "vocabulary", "checkpoint", "export", "scores")} == {
        **{"documents_own": 1, "vocabulary": 1},
        **{"checkpoint": 3, "export": 3, "scores": 3},
    }
    assert stages.count("shards_own_32") == 2  # policy "token" masks differently; a wider network reads the same shards

    found = json.loads(result.stdout)
    assert json.loads((output / "results.json").read_text()) == found
    assert [(row["variant"], row["seeds"]) for row in found["scores"]] == [
        (name, 2) for name in ("mini", "none", "wide", "token")
    ]
    mini, wide, token = found["variants"]
    assert wide["settings"] == ["encoder.hidden_size=32", "encoder.intermediate_size=64"]
    assert wide["parameters"] > mini["parameters"] == token["parameters"]
    assert [step for step, _ in found["curves"]["wide"]["validation_loss"]] == [2, 4]
    page = (output / "results.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 4 and all((output / row["report"]).exists() for row in found["variants"])
    document = (output / "results.md").read_text(encoding="utf-8")
    assert "| ocnli | none | accuracy | 2 |" in document and "Masks of token differ" in document
    for name in re.findall(r"!\[.*?\]\((.*?)\)", document):
        assert ElementTree.parse(output / name).getroot().tag.endswith("svg")
    assert str(tmp_path) not in document


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        (["wide"], "write it as NAME:SETTING=VALUE"),
        (["a b:seed=1"], "write it as NAME:SETTING=VALUE"),
        (["wide:encoder.hiden_size=32"], "--variant wide:encoder.hiden_size=32: .*unknown key 'hiden_size'; did you mean"),
        (["wide:phase.7.steps=3"], "--variant wide:phase.7.steps=3: .*the recipe has no phase.7.steps"),
        (["wide:encoder.hidden_size=32", "wide:seed=2"], "the name wide is taken"),
        (["none:seed=2"], "the name none is taken"),
        (["mini:seed=2"], "the name mini is taken"),
        (["same:encoder.hidden_size=16"], "changes nothing"),
        (["bare:evaluation.data=''"], "bare: .*has no data for ocnli"),
    ],
)
def test_an_impossible_variant_is_reported_in_one_line(recipe: str, tmp_path: Path, variants: list[str], message: str) -> None:
    result = ablate(recipe, tmp_path / "out", *variants)
    assert result.exit_code == 2 and re.search(message, result.stderr), result.output
    assert result.stderr.strip().count("\n") == 0
    assert not [*(tmp_path / "out").glob("*/manifest.json")]


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("a:encoder.positions=absolute", ("encoder.positions=absolute",)),
        ('a:encoder.positions="absolute", seed=3', ('encoder.positions="absolute"', "seed=3")),
        ("a:source.0.input=['x', 'y'],seed=3", ("source.0.input=['x', 'y']", "seed=3")),
        ("a:vocabulary.url=s3://b/v:1.txt", ("vocabulary.url=s3://b/v:1.txt",)),
    ],
)
def test_settings_of_a_variant_are_separated_by_commas_but_not_within_lists(text: str, settings: tuple[str, ...]) -> None:
    assert ablation.read(text) == ("a", settings)


def test_settings_and_seeds_hold_for_all_rows_and_only_the_base_has_a_baseline(recipe: str) -> None:
    with pytest.raises(RecipeError, match="unknown key 'sed'"):
        ablation.variants(recipe, ["sed=3"], ["a:seed=2"], None)
    base, other = ablation.variants(recipe, ["phase.0.steps=7"], ["a:seed=2"], 5)
    assert [one.recipe.evaluation.seeds for one in (base, other)] == [5, 5]
    assert [one.recipe.phase[0].steps for one in (base, other)] == [7, 7]
    assert [one.recipe.evaluation.baseline for one in (base, other)] == [True, False]
    assert [one.recipe.name for one in (base, other)] == ["mini", "mini-a"]


def score(variant: str, task: str, seed: int, value: float, split: str = "test") -> Score:
    return Score(variant, task, "accuracy", split, seed, {}, 100, value, "")


def test_differences_are_taken_seed_by_seed() -> None:
    # Seeds move both rows alike: each varies by 0.1, their difference by 0.01.
    scores = [score("base", "ocnli", seed, value) for seed, value in enumerate((0.3, 0.4, 0.5))]
    scores += [score("other", "ocnli", seed, value) for seed, value in enumerate((0.31, 0.42, 0.53))]
    scores += [score("other", "ocnli", 0, 0.99, "dev"), score("other", "lcqmc", 0, 0.6), score("base", "lcqmc", 0, 0.7)]
    base, other, one, single = comparison.compared(scores, "base")
    assert (base["mean"], base["deviation"], base["difference"]) == (pytest.approx(0.4), pytest.approx(0.1), None)
    assert (other["mean"], other["deviation"]) == (pytest.approx(0.42), pytest.approx(0.11))
    assert (other["difference"], other["difference_deviation"]) == (pytest.approx(0.02), pytest.approx(0.01))
    lcqmc = {row["variant"]: row for row in (one, single)}
    assert lcqmc["other"]["difference"] == pytest.approx(-0.1)
    assert lcqmc["other"]["deviation"] is None and lcqmc["other"]["difference_deviation"] is None


def test_tables_show_what_was_found() -> None:
    scores = [score(name, "ocnli", seed, value + seed / 100) for name, value in (("b", 0.4), ("c", 0.35)) for seed in (0, 1)]
    content = {
        "evaluation": {"train_examples": 50, "epochs": 2},
        "scores": comparison.compared(scores, "b"),
        "variants": [
            {"variant": "b", "settings": [], "parameters": 1234, "steps": 40, "best": None},
            {"variant": "c", "settings": ["seed=3"], "parameters": 1234, "steps": 40, "best": None},
        ],
        "curves": {name: {"validation_loss": [(n, 9 - n / 10) for n in range(1, 41)]} for name in ("b", "c")}
        | {"d": {"validation_loss": [(40, 1.0)]}},
    }
    content["curves"] = {name: {"validation_accuracy": [], **one} for name, one in content["curves"].items()}  # type: ignore[attr-defined]
    document = comparison.markdown(content)
    assert "| ocnli | c | accuracy | 2 | 0.355 | 0.007 | -0.050 | 0.000 |" in document
    assert "| 5 | 8.500 | 8.500 | - |" in document and "| 40 | 5.000 | 5.000 | 1.000 |" in document
    assert len(re.findall(r"^\| [\d,]+ \|", document, re.M)) == comparison.CURVE_ROWS
    assert "standard error of up to 0.050" in document and "at most 50 training examples per task" in document
    assert comparison.table(content).split("\n")[3].split() == [
        "ocnli",
        "c",
        "accuracy",
        "2",
        "0.355",
        "0.007",
        "-0.050",
        "0.000",
    ]
