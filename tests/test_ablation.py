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
from tests.test_evaluation import Killer
from workflows import exporting
from workflows.ablation import running
from workflows.ablation import variants as ablation
from workflows.ablation.variants import Cell, cells
from workflows.cli import main
from workflows.evaluation.scores import Score
from workflows.report import comparison
from workflows.report.intervals import Scored, compared

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


def score(variant: str, task: str, seed: int, value: float, split: str = "test", pretraining: int = 0) -> Scored:
    return Scored(Score(variant, task, "accuracy", split, seed, {}, 100, value, ""), pretraining)


def test_differences_are_taken_seed_by_seed() -> None:
    # Seeds move both rows alike: each varies by 0.1, their difference by 0.01.
    scores = [score("base", "ocnli", seed, value) for seed, value in enumerate((0.3, 0.4, 0.5))]
    scores += [score("other", "ocnli", seed, value) for seed, value in enumerate((0.31, 0.42, 0.53))]
    scores += [score("other", "ocnli", 0, 0.99, "dev"), score("other", "lcqmc", 0, 0.6), score("base", "lcqmc", 0, 0.7)]
    base, other, one, single = compared(scores, "base")
    assert (base["mean"], base["deviation"], base["difference"]) == (pytest.approx(0.4), pytest.approx(0.1), None)
    assert (other["mean"], other["deviation"]) == (pytest.approx(0.42), pytest.approx(0.11))
    assert (other["difference"], other["difference_deviation"]) == (pytest.approx(0.02), pytest.approx(0.01))
    lcqmc = {row["variant"]: row for row in (one, single)}
    assert lcqmc["other"]["difference"] == pytest.approx(-0.1)
    assert lcqmc["other"]["deviation"] is None and lcqmc["other"]["difference_deviation"] is None


def test_with_several_pretrainings_intervals_are_over_them() -> None:
    # Fine-tuning varies by 0.02 within each pretraining; pretrainings vary by 0.1, and both variants alike.
    def of(variant: str, means: tuple[float, ...]) -> list[Scored]:
        return [
            score(variant, "ocnli", seed, mean + offset, pretraining=number)
            for number, mean in enumerate(means)
            for seed, offset in enumerate((-0.02, 0.0, 0.02))
        ]

    none = [score("none", "ocnli", seed, value) for seed, value in enumerate((0.30, 0.31, 0.32))]
    scores = [*of("base", (0.5, 0.6, 0.7)), *of("more", (0.52, 0.63, 0.74)), *of("same", (0.6, 0.6, 0.6)), *none]
    base, more, same, untrained = compared(scores, "base")
    assert (base["pretrainings"], base["seeds"], base["interval"], base["holds"]) == (3, 3, None, None)
    assert base["deviation"] == pytest.approx(0.02) and base["pretraining_deviation"] == pytest.approx(0.1)
    # Differences 0.02, 0.03, 0.04: mean 0.03, deviation 0.01, Student's t of 2 degrees 4.303: 0.03 +- 4.303 * 0.01 / sqrt(3).
    assert more["difference"] == pytest.approx(0.03)
    assert (
        more["interval"] == [pytest.approx(0.03 - 0.02484, abs=1e-4), pytest.approx(0.03 + 0.02484, abs=1e-4)] and more["holds"]
    )
    assert same["difference"] == pytest.approx(0) and same["holds"] is False
    assert untrained["difference"] == pytest.approx(0.31 - 0.6) and untrained["holds"] is True
    assert untrained["interval"][0] < untrained["difference"] < untrained["interval"][1] < 0


def test_metrics_of_a_task_are_apart() -> None:
    def two(variant: str, exact: float, f1: float) -> list[Scored]:
        values: tuple[tuple[Any, float], ...] = (("exact_match", exact), ("f1", f1))
        return [Scored(Score(variant, "cmrc2018", metric, "test", 0, {}, 9, value, ""), 0) for metric, value in values]

    rows = compared([*two("base", 0.2, 0.4), *two("other", 0.3, 0.6)], "base")
    assert [row["difference"] for row in rows if row["variant"] == "other"] == [pytest.approx(0.1), pytest.approx(0.2)]


def test_cells_are_each_value_with_each() -> None:
    found = cells(["encoder.positions=functional,absolute", "masking.policy=word,token"])
    assert [name for name, _ in found] == ["functional-word", "functional-token", "absolute-word", "absolute-token"]
    assert found[1][1] == ("encoder.positions=functional", "masking.policy=token")
    assert cells(["source.0.input=[a, b],[c]"])[1] == ("c", ("source.0.input=[c]",))
    assert [name for name, _ in cells(["a=1,-1"])] == ["cell1", "cell2"], "names that would be the same are numbered"


@pytest.mark.parametrize(
    ("over", "message"),
    [
        (["masking.policy"], "write it as SETTING=VALUE,VALUE"),
        (["masking.policy=word,"], "write it as SETTING=VALUE,VALUE"),
        (["masking.policy=word,word"], "--over masking.policy=word,word: word is there twice"),
        (["masking.policy=word", "masking.policy=token"], "masking.policy is given twice"),
        (["masking.polcy=word,token"], "--over masking.polcy=word: .*unknown key 'polcy'; did you mean 'policy'"),
        (["masking.policy=word,wrod"], "--over masking.policy=wrod: .*masking.policy"),
        (["encoder.hidden_size=16,'16'"], "--over encoder.hidden_size='16': "),
        (["validation_ratio=0.05,5e-2"], "the cells 0_05 and 5e-2 are the same recipe; leave a value out"),
    ],
)
def test_an_impossible_grid_is_reported_in_one_line(recipe: str, tmp_path: Path, over: list[str], message: str) -> None:
    options = [word for text in over for word in ("--over", text)]
    result = CliRunner().invoke(main, ["ablate", recipe, "--output", str(tmp_path / "out"), *options])
    assert result.exit_code == 2 and re.search(message, result.stderr), result.output
    assert result.stderr.strip().count("\n") == 0 and not (tmp_path / "out").exists()


def test_the_cell_that_is_the_recipe_is_what_others_are_compared_with(recipe: str) -> None:
    over = ["masking.policy=token,word"]
    assert [one.name for one in ablation.variants(recipe, [], [], None, over)] == ["word", "token"]
    other = ["encoder.positions=relative,absolute"]
    assert [one.name for one in ablation.variants(recipe, [], [], None, other)] == ["relative", "absolute"]
    wide = ["wide:encoder.hidden_size=32"]
    assert [one.name for one in ablation.variants(recipe, [], wide, None, other)] == ["mini", "relative", "absolute", "wide"]
    with pytest.raises(RecipeError, match="is the same recipe as absolute; leave it out"):
        ablation.variants(recipe, [], ["again:encoder.positions=absolute"], None, other)


def test_another_pretraining_has_another_seed_and_the_same_data(recipe: str, tmp_path: Path) -> None:
    (base,) = ablation.variants(recipe, [], [], None, ["masking.policy=word"])
    first, second = (Cell(base, number, str(tmp_path)).chain() for number in (0, 1))
    assert (first.settings.pretraining_seed, second.settings.pretraining_seed) == (None, base.recipe.seed + 1)
    assert first.recipe.seed == second.recipe.seed and first.settings.corpus == second.settings.corpus
    assert (first.recipe.evaluation.baseline, second.recipe.evaluation.baseline) == (True, False)


def test_pretrainings_at_a_time_are_bounded_by_cores_and_memory(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (base,) = ablation.variants(recipe, ["cluster.workers=2"], [], None, ["masking.policy=word"])
    chain = Cell(base, 0, str(tmp_path)).chain()
    monkeypatch.setattr(running, "cpus", lambda: 9)
    monkeypatch.setattr(running, "memory_needed", lambda chain: 1.0)
    assert running.most_at_once([chain]) == 4
    monkeypatch.setattr(running, "memory_needed", lambda chain: 1e18)
    assert running.most_at_once([chain]) == 1
    monkeypatch.undo()
    assert 2e9 < running.memory_needed(chain) < 4e9


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_cells_run_at_a_time_and_one_that_is_killed_is_repeated_alone(recipe: str, tmp_path: Path) -> None:
    output = tmp_path / "out"
    options = ["--over", "masking.policy=word,token", "--pretrain-seeds", "2", "--at-once", "2", "--seeds", "1", "--json"]
    command = ["ablate", recipe, "--set", "cluster.workers=1", "--output", str(output), *options]
    killer = Killer(1)
    killer.start()
    try:
        result = CliRunner().invoke(main, command)
    finally:
        killer.over.set()
        killer.join()
    assert result.exit_code == 0 and killer.killed == 1, result.output
    stages = [re.sub(r"-[0-9a-f]{12}$", "", path.parent.name) for path in output.glob("*/manifest.json")]
    wanted = {
        "documents_own": 1,
        "vocabulary": 1,
        "shards_own_32": 2,
        "checkpoint": 4,
        "scores": 4,
        "report": 4,
    }
    assert {name: stages.count(name) for name in wanted} == wanted, result.stderr
    assert result.stderr.count("its process was killed; it is resumed") == 1
    found = json.loads(result.stdout)
    assert [(row["variant"], row["pretrainings"], row["seeds"]) for row in found["scores"]] == [
        ("word", 2, 1), ("none", 1, 1), ("token", 2, 1),
    ]  # fmt: skip
    page = (output / "results.md").read_text(encoding="utf-8")
    html = (output / "results.html").read_text(encoding="utf-8")
    for row in found["variants"]:
        first, second = row["reports"]
        name = row["variant"]
        assert f'<a href="{first}">{name}</a>, <a href="{second}">{name} (2)</a>' in html and (output / second).exists()
    assert "| ocnli | token | accuracy | 2 × 1 |" in page and "Intervals are over pretrainings" in page
    before = {path: path.stat().st_mtime_ns for path in output.glob("*/manifest.json")}
    assert CliRunner().invoke(main, command).stdout == result.stdout
    assert before == {path: path.stat().st_mtime_ns for path in output.glob("*/manifest.json")}


def test_tables_show_what_was_found() -> None:
    scores = [score(name, "ocnli", seed, value + seed / 100) for name, value in (("b", 0.4), ("c", 0.35)) for seed in (0, 1)]
    content = {
        "evaluation": {"train_examples": 50, "epochs": 2},
        "scores": compared(scores, "b"),
        "values": [
            {"variant": "b", "task": "ocnli", "pretraining": 0, "seed": 0},
            {"variant": "c", "task": "ocnli", "pretraining": 0, "seed": 1, "diverged": 2},
        ],
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
    diverged = "c on ocnli: fine-tuning diverged (the loss or a weight was no longer a number) in 1 of its runs"
    assert diverged in document and comparison.table(content).split("\n")[-1].startswith(diverged)
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
