"""The whole chain on a miniature recipe: run, run again, run with one setting changed. Real Beam, real Ray, real Dagster."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from workflows import recipe
from workflows.chain import Chain
from workflows.cli import main

RECIPE = """
name = "mini"
validation_ratio = 0.05

[[source]]
name = "reviews"
kind = "demo"
input = ["reviews"]

[vocabulary]
size = 5000

[encoder]
hidden_size = 32
num_hidden_layers = 1
num_attention_heads = 2
intermediate_size = 64

[training]
validate_every = 4
checkpoint_every = 4
validation_sequences = 16
log_every = 2

[[phase]]
sequence_length = 32
batch_size = 8
steps = 8
learning_rate = 1e-3

[cluster]
workers = 2
cpus_per_worker = 0.5

[evaluation]
tasks = ["sentiment"]
seeds = 1
epochs = 1
train_examples = 64
test_examples = 32
max_length = 32
"""


def command(*arguments: str) -> Result:
    result = CliRunner(catch_exceptions=False).invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, dict[str, object]]:
    """Run the miniature recipe. Return its path, the output folder, and the answer of `run --json`."""
    folder = tmp_path_factory.mktemp("chain")
    (folder / "mini.toml").write_text(RECIPE, encoding="utf-8")
    recipe, output = str(folder / "mini.toml"), str(folder / "out")
    return recipe, output, json.loads(command("run", recipe, "--output", output, "--workers", "1", "--json").stdout)


def again(finished: tuple[str, str, dict[str, object]], *more: str) -> list[str]:
    """Run the recipe again and return the steps that ran."""
    recipe, output, _ = finished
    answer: dict[str, list[str]] = json.loads(
        command("run", recipe, "--output", output, "--workers", "1", "--json", *more).stdout
    )
    return answer["ran"]


def test_every_step_ran_and_the_page_is_there(finished: tuple[str, str, dict[str, object]]) -> None:
    path, output, answer = finished
    ran = answer["ran"]
    assert isinstance(ran, list) and ran[-1] == "report"
    # `data_report` is what `prepare` alone leaves.
    assert {*ran} == {*Chain(recipe.load(path), output).names()} - {"data_report"}
    assert {"tasks", "documents_reviews", "dedup", "tokens_reviews", "shards_reviews_32", "checkpoint", "scores"} <= {*ran}
    page = Path(str(answer["report"])).read_text(encoding="utf-8")
    assert "<svg" in page and "mini" in page


def test_run_again_it_does_nothing(finished: tuple[str, str, dict[str, object]]) -> None:
    assert again(finished) == []


def test_a_changed_setting_redoes_only_what_depends_on_it(finished: tuple[str, str, dict[str, object]]) -> None:
    assert again(finished, "--set", "evaluation.epochs=2") == ["scores", "report"]


def test_a_threshold_that_changes_no_decision_redoes_no_training(finished: tuple[str, str, dict[str, object]]) -> None:
    assert again(finished, "--set", "filters.max_characters=199999") == ["dedup", "report"]


def test_other_masks_encode_nothing_again(finished: tuple[str, str, dict[str, object]], tmp_path: Path) -> None:
    recipe, output, _ = finished
    plan = json.loads(command("plan", recipe, "--output", output, "--set", "masking.masked_lm_prob=0.2", "--json").stdout)
    to_do = [name for name, state in plan["steps"].items() if state == "to do"]
    assert to_do == ["shards_reviews_32", "checkpoint", "export", "scores", "report"]


def test_operational_settings_redo_nothing_but_the_page(finished: tuple[str, str, dict[str, object]]) -> None:
    assert again(finished, "--set", "cluster.workers=1", "--set", "training.log_every=1") == ["report"]


def test_plan_tells_what_is_done_and_what_a_change_would_redo(finished: tuple[str, str, dict[str, object]]) -> None:
    recipe, output, _ = finished
    plan = json.loads(command("plan", recipe, "--output", output, "--set", "encoder.hidden_size=64", "--json").stdout)
    to_do = [name for name, state in plan["steps"].items() if state == "to do"]
    assert to_do == ["checkpoint", "export", "scores", "report"]
    assert plan["costs"]["training sequences"] == 64


def test_verify_finds_a_damaged_file(finished: tuple[str, str, dict[str, object]]) -> None:
    _, output, _ = finished
    assert "complete and consistent" in command("verify", output).stdout
    shard = next(Path(output).glob("shards_*/train-00000.arrow"))
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        result = CliRunner().invoke(main, ["verify", output])
        assert result.exit_code == 1
        assert f"{shard}: content differs" in result.stderr
    finally:
        shard.write_bytes(content)


def test_inspect_shows_masked_words(finished: tuple[str, str, dict[str, object]]) -> None:
    _, output, _ = finished
    shards = str(next(Path(output).glob("shards_*")))
    text = command("inspect", shards, "--rows", "5").stdout
    assert "[CLS]|" in text and "【" in text and "→[MASK]" in text


def test_fill_mask_guesses_tokens_of_the_vocabulary(finished: tuple[str, str, dict[str, object]]) -> None:
    _, output, _ = finished
    export = str(next(Path(output).glob("export-*")))
    answer = json.loads(command("fill-mask", export, "这本书很[MASK]，我[MASK]喜欢。", "--top", "3", "--json").stdout)
    guesses = answer["words"]
    assert [len(candidates) for candidates in guesses] == [3, 3]
    vocabulary = next(Path(output).glob("vocabulary-*/vocab.txt")).read_text(encoding="utf-8").split("\n")
    assert all(token in vocabulary for candidates in guesses for guess in candidates for token in guess["tokens"])


def test_no_scored_document_was_read(finished: tuple[str, str, dict[str, object]]) -> None:
    import pyarrow.parquet as pq

    from pipeline.cleaning.cleaning import fingerprint

    _, output, _ = finished
    read = {
        f for part in Path(output).glob("documents_*/part-*.parquet") for f in pq.read_table(part)["fingerprint"].to_pylist()
    }
    rows = [
        line
        for name in ("dev", "test")
        for line in next(Path(output).glob(f"tasks-*/sentiment/{name}.tsv")).open(encoding="utf-8")
    ]
    scored = {fingerprint(line.split("\t", 1)[1]) for line in rows if line != "label\ttext_a\n"}
    assert len(scored) > 1000
    assert len(scored & read) == 0


def test_tasks_of_a_folder_are_scored_and_kept_out_of_training(tmp_path: Path) -> None:
    """The recipe with its own files to score on; their texts are also in the training text."""
    (tmp_path / "mini.toml").write_text(RECIPE, encoding="utf-8")
    kept = [f"第{n}条评论，讲的是一家开在山里的旅馆，房间很干净，早饭也好吃。" for n in range(300)]
    leaked = [f"老师说编号{n}这一本书写得很差，从头到尾没有一句真话，不值得买来看。" for n in range(8)]
    (tmp_path / "reviews.txt").write_text("\n\n".join([*kept, *leaked]), encoding="utf-8")
    for split in ("train", "dev", "test"):
        rows = leaked if split != "train" else [f"第{n}本书好不好看要问读过的人" for n in range(8)]
        table = "\n".join(["label\ttext_a", *(f"{n % 2}\t{text}" for n, text in enumerate(rows))])
        (tmp_path / "tasks" / "chnsenticorp").mkdir(parents=True, exist_ok=True)
        (tmp_path / "tasks" / "chnsenticorp" / f"{split}.tsv").write_text(table, encoding="utf-8")
    text = f"source=[{{name='own', kind='text', input=['{tmp_path}/reviews.txt']}}]"
    off = (
        "dedup.near=false",
        "filters.max_top_7gram_ratio=1",
        "filters.max_dup_8gram_ratio=1",
        "vocabulary.size=400",
        "cluster.workers=1",
    )
    settings = [f"evaluation.data={tmp_path}/tasks", "evaluation.tasks=chnsenticorp", text, *off]
    arguments = [argument for setting in settings for argument in ("--set", setting)]
    run = ["run", str(tmp_path / "mini.toml"), "--output", str(tmp_path / "out"), "--workers", "1", "--json", *arguments]
    steps = json.loads(command("plan", *run[1:4], "--json", *arguments).stdout)["steps"]
    assert "contamination_own" in steps and "scores" in steps and "tasks" not in steps
    ran = json.loads(command(*run).stdout)["ran"]
    assert {"contamination_own", "scores"} <= {*ran}
    decided = json.loads(next((tmp_path / "out").glob("dedup-*/manifest.json")).read_text())
    assert decided["counts"]["own"]["dropped"]["contaminated"] == 8
    scores = next((tmp_path / "out").glob("scores-*/scores.jsonl")).read_text().splitlines()
    assert {json.loads(line)["task"] for line in scores} == {"chnsenticorp"}

    missing = CliRunner().invoke(main, [*run[:6], "--set", "evaluation.tasks=ocnli", *arguments[:2], *arguments[4:]])
    assert missing.exit_code == 2 and "none of ocnli/train.json" in missing.stderr
    without_data = CliRunner().invoke(main, [*run[:6], "--set", "evaluation.tasks=ocnli"])
    assert without_data.exit_code == 2 and "evaluation has no data for ocnli" in without_data.stderr
