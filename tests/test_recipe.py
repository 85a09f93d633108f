"""Recipes: every shipped one loads, and errors name their place and suggest a fix."""

import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.errors import RecipeError
from workflows import recipe
from workflows.cli import main

MINIMAL = """
name = "small"
[[source]]
name = "news"
kind = "text"
input = ["news.txt"]
[[phase]]
sequence_length = 32
batch_size = 4
steps = 2
"""


def load(tmp_path: Path, text: str, *settings: str) -> recipe.Recipe:
    path = tmp_path / "small.toml"
    path.write_text(text, encoding="utf-8")
    return recipe.load(str(path), settings)


@pytest.mark.parametrize("name", recipe.shipped())
def test_a_shipped_recipe_loads(name: str) -> None:
    loaded = recipe.load(name)
    assert loaded.name == name
    assert loaded.pretraining().phases == loaded.phase


def test_defaults_fill_what_a_recipe_leaves_out(tmp_path: Path) -> None:
    loaded = load(tmp_path, MINIMAL)
    assert loaded.encoder.hidden_size == 768
    assert loaded.corpus().sequence_lengths == (32,)


def test_an_integer_may_stand_for_a_float(tmp_path: Path) -> None:
    assert load(tmp_path, MINIMAL + "learning_rate = 1").phase[0].learning_rate == 1.0


OUTSIDE = [
    ("filters", "max_dup_8gram_ratio", "-0.5", ""),
    ("filters", "min_ended_line_ratio", "1.5", ""),
    ("filters", "max_sign_ratio", "nan", ""),
    ("filters", "min_characters", "-1", ""),
    ("dedup", "bands", "0", ""),
    ("dedup", "min_paragraph_characters", "-30", ""),
    ("decontamination", "min_matching_ngrams", "0", ""),
    ("vocabulary", "min_count", "0", ""),
    ("masking", "static_draws", "100_000", "100000"),
    ("pairs", "dupe_factor", "100_000_000", "100000000"),
    ("pairs", "short_seq_prob", "-0.1", ""),
    ("encoder", "num_attention_heads", "0", ""),
    ("encoder", "num_hidden_layers", "-2", ""),
    ("encoder", "hidden_dropout_prob", "1.0", ""),
    ("optimizer", "beta2", "2.0", ""),
    ("optimizer", "weight_decay", "-1.0", ""),
    ("training", "checkpoint_every", "0", ""),
    ("cluster", "workers", "0", ""),
    ("cluster", "max_failures", "-1", ""),
    ("evaluation", "seeds", "0", ""),
    ("evaluation", "learning_rate", "-3e-5", "-3e-05"),
    ("evaluation", "train_examples", "-1", ""),
]
"""Settings outside their range: table, key, the value as TOML, the value as the message shows it if that differs."""


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        ("[encoder]\nhiden_size = 8", r"small.toml \[encoder\]: unknown key 'hiden_size'; did you mean 'hidden_size'\?"),
        ("[encoder]\nhidden_size = 770", r"encoder: hidden_size 770 is not a multiple of num_attention_heads 12"),
        ("[masking]\nmasked_lm_prob = '0.15'", r"masking.masked_lm_prob: Input should be a valid number.*, not '0.15'"),
        ("[masking]\npolicy = 'wurd'", r"masking.policy: Input should be 'word', .*, not 'wurd'"),
        ("[[phase]]\nsequence_length = 8\nbatch_size = 4", r"phase.1.steps: Field required"),
        ("weights = { nws = 1.0 }", r"phase 1 weighs nws, but the sources are news"),
        ("weights = { news = 0.0 }", r"weights are all zero"),
        ("[wokers]\nn = 1", r"small.toml: unknown key 'wokers'; did you mean 'words'\?|known: name"),
        ("hiden_size = 8", r"small.toml \[\[phase\]\]: unknown key 'hiden_size'"),
        ("[masking]\npolicy = 'piece'", r"small.toml masking.policy: 'piece' is now 'token'$"),
        ("[[source]]\nname = 'news'\nkind = 'text'", r"two sources have the same name \(news, news\); rename one"),
        ("[[source]]\nname = 'x y'\nkind = 'text'", r"name 'x y' must be a plain word"),
        ("[cluster]\nworkers = 0", r"workers 0 is below 1"),
        ("[cluster]\nworkers = '4:2'", r"workers 4:2: the smaller number comes first, so write 2:4"),
        ("[cluster]\nworkers = 2.5", r"cluster.workers: Input should be a valid integer, not 2.5"),
        ("[evaluation]\ntasks = ['sentimant']", r"sentimant"),
        ("steps = 3", r"not valid TOML"),
        ("x = " + "[" * 5_000, r"small.toml: tables or lists are nested too deeply|not valid TOML"),
        ("a." * 5_000 + "b = 1", r"small.toml: tables or lists are nested too deeply"),
        ("x = " + "9" * 5_000, r"small.toml: a number has too many digits"),
        ("x = 0x" + "f" * 5_000, r"small.toml: a number has too many digits"),
        ("k" * 5_000 + " = 1", r"small.toml \[\[phase\]\]: unknown key 'k{96}\.\.\.; known"),
        ("[[source]]\nname = 'web'\nkind = 'text'\ninput = ['']", r"an input is empty"),
        *(
            (f"[{table}]\n{key} = {value}", rf"{table}: {key} {re.escape(shown or value)} is (not between|below)")
            for table, key, value, shown in OUTSIDE
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, addition: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        load(tmp_path, MINIMAL + addition)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("table", "old"), recipe.RENAMED)
def test_a_renamed_key_is_refused_with_its_new_name(tmp_path: Path, table: str, old: str) -> None:
    new = recipe.RENAMED[table, old]
    header, place = {"": ("", ""), "source": ("[[source]]", " [[source]]")}.get(table, (f"[{table}]", f" [{table}]"))
    text = f"{old} = 1\n{MINIMAL}" if not table else f"{MINIMAL}{header}\n{old} = 1"
    with pytest.raises(RecipeError, match=rf"small.toml{re.escape(place)}: '{old}' is now '{new}'$"):
        load(tmp_path, text)


def test_an_unknown_recipe_is_reported_with_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'tinny'; give a .toml file or one of .*tiny"):
        recipe.load("tinny")
    with pytest.raises(RecipeError, match=r"no recipe missing.toml"):
        recipe.load("missing.toml")


def test_settings_change_a_recipe(tmp_path: Path) -> None:
    loaded = load(tmp_path, MINIMAL, "encoder.hidden_act=gelu", "phase.0.steps=7", "filters.min_characters=3", "seed=9")
    assert (loaded.encoder.hidden_act, loaded.phase[0].steps, loaded.filters.min_characters, loaded.seed) == ("gelu", 7, 3, 9)


@pytest.mark.parametrize(
    "setting", ["encoder.hidden_size", "phase.3.steps=1", "phase.steps=1", "phase." + "a." * 5_000 + "b=1"]
)
def test_a_setting_that_cannot_be_is_refused(tmp_path: Path, setting: str) -> None:
    with pytest.raises(RecipeError, match="--set") as caught:
        load(tmp_path, MINIMAL, setting)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        *(
            (f'name="{name}"', "cannot be that of a folder")
            for name in ("", "..", "../../x", "a\\nb", "\\u001b[31m", "\\u0000")
        ),
        *((f"seed={seed}", "seed .* is not between 0 and") for seed in (-1, 2**63)),
        ("encoder.hidden_size=" + "9" * 5_000, "hidden_size: Input should be a valid integer"),
    ],
)
def test_names_that_leave_the_folder_and_seeds_that_no_generator_takes_are_refused(
    tmp_path: Path, setting: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        load(tmp_path, MINIMAL, setting)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optimizer.beta1=1.0", "beta1 1.0 is not between 0 and 0.999999"),
        ("optimizer.beta2=1.0", "beta2 1.0 is not between 0 and 0.999999"),
        ("optimizer.epsilon=0.0", "epsilon 0.0 is not between 1e-30 and 1"),
        ("optimizer.max_grad_norm=0.0", "max_grad_norm 0.0 is below 1e-30"),
        ("encoder.initializer_range=0.0", "initializer_range 0.0 is not between 1e-30 and 1"),
        ("training.spike_sigma=nan", "spike_sigma nan is not between 0 and inf"),
        ("phase.0.weights.a=inf", "weights .* must be finite numbers"),
        ("phase.0.weights.a=nan", "weights .* must be finite numbers"),
    ],
)
def test_settings_of_which_no_training_comes_are_refused(tmp_path: Path, setting: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load(tmp_path, MINIMAL, setting)


def test_a_recipe_that_is_no_file_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    for name, message in (
        ("pipe", "a pipe or a device"),
        ("folder", "cannot be read: Is a directory"),
        ("x" * 300, "no recipe"),
    ):
        with pytest.raises(RecipeError, match=message):
            recipe.load(str(tmp_path / f"{name}.toml"))


def test_a_bare_word_may_stand_for_a_list_of_one(tmp_path: Path) -> None:
    assert load(tmp_path, MINIMAL, "source.0.input=/data/news.txt").source[0].input == ("/data/news.txt",)
    assert load(tmp_path, MINIMAL, "source.0.input=['a', 'b']").source[0].input == ("a", "b")


def run(*arguments: str) -> str:
    """Return the one-line error of a run that cannot start."""
    result = CliRunner(catch_exceptions=False).invoke(main, ["run", *arguments])
    assert result.exit_code == 2 and result.stderr.count("\n") == 1, result.output
    return result.stderr


@pytest.mark.parametrize("name", [name for name in recipe.shipped() if recipe.load(name).missing()])
def test_a_recipe_of_a_paper_says_in_one_line_which_inputs_it_needs(name: str, tmp_path: Path) -> None:
    message = run(name, "--output", str(tmp_path))
    empty = [n for n, source in enumerate(recipe.load(name).source) if not source.input and source.kind != "wiki"]
    assert empty and all(f"--set source.{number}.input=" in message for number in empty)
    assert not [*tmp_path.iterdir()]


def test_inputs_that_are_given_are_not_requested_again(tmp_path: Path) -> None:
    (tmp_path / "news.txt").write_text("新闻。", encoding="utf-8")
    message = run("nezha-base-2019", "--output", str(tmp_path / "o"), "--set", f"source.2.input={tmp_path / 'news.txt'}")
    assert "source 'baike' has no input" in message and "news" not in message.partition("baike")[2].lower()


def test_phrases_are_requested_with_the_inputs(tmp_path: Path) -> None:
    assert "--set masking.phrases=PHRASES" in run("ernie1", "--output", str(tmp_path))
    given = [f"source.{number}.input=x" for number in (1, 2, 3)]
    missing = recipe.load("ernie1", given).missing()
    assert "no list of phrases" in missing and "no input" not in missing
    assert not recipe.load("ernie1", [*given, "masking.phrases=phrases.txt"]).missing()


@pytest.mark.parametrize("name", ["bert", "bert-wwm", "nezha-large-ascend", "tiny"])
def test_a_recipe_of_wikipedia_alone_needs_nothing(name: str) -> None:
    assert not recipe.load(name).missing()


PUBLISHED = {
    "nezha-base-2019": ("nezha2019", [(128, 14_400, 1.8e-4, 1_800)], "functional", "word", "nsp"),
    "nezha-large-2019": ("nezha2019", [(128, 5_120, 1e-4, 1_800)], "functional", "word", "nsp"),
    "nezha-large-ascend": ("nezha2019", [(128, 64 * 80, 1e-4, 10_000)], "functional", "token", "nsp"),
    "bert": ("adamw", [(128, 256, 1e-4, 10_000)], "absolute", "token", "nsp"),
    "bert-wwm": ("nvlamb", [(128, 2_560, 1e-4, 10_000), (512, 384, 1e-4, 10_000)], "absolute", "word", "nsp"),
    "roberta-wwm": ("adamw", [(512, 384, 1e-4, 10_000)], "absolute", "word", "none"),
    "ernie1": ("adamw", [(512, 128, 1e-4, 5_000)], "absolute", "entity", "nsp"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recipe_of_a_paper_has_the_papers_numbers(name: str) -> None:
    one = recipe.load(name)
    phases = [(p.sequence_length, p.batch_size, p.learning_rate, p.warmup_steps) for p in one.phase]
    optimizer, published, positions, policy, task = PUBLISHED[name]
    assert (one.optimizer.variant, one.encoder.positions, one.masking.policy, one.pairs.task) == (
        *(optimizer, positions),
        *(policy, task),
    )
    assert phases[: len(published)] == published


def test_the_modern_recipe_is_what_it_says() -> None:
    one = recipe.load("encoder-base-modern")
    first, last = one.phase
    assert (one.masking.static_draws, one.pairs.task, one.encoder.relative_positions) == (0, "none", "paper")
    assert one.encoder.hidden_dropout_prob == one.encoder.attention_probs_dropout_prob == 0
    assert first.schedule == "constant" and (last.schedule, last.decay_steps) == ("wsd", last.steps)
    assert first.ramp_batch_size and first.batch_size * first.sequence_length == last.batch_size * last.sequence_length
    assert one.training.average_checkpoints == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"# 中文语料\nname = '语料'\n{MINIMAL}".encode("gbk"), r"small.toml: line 1 is not UTF-8; save the recipe as UTF-8$"),
        (MINIMAL.encode("utf-16"), r"small.toml: line 1 is not UTF-8; save the recipe as UTF-8$"),
        (b"\x00\x01", r"small.toml: not valid TOML"),
    ],
)
def test_a_recipe_that_is_no_utf8_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "small.toml").write_bytes(content)
    with pytest.raises(RecipeError, match=message):
        recipe.load(str(tmp_path / "small.toml"))


def test_a_byte_order_mark_and_line_ends_of_windows_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert recipe.load(str(tmp_path / "small.toml")) == load(tmp_path, MINIMAL)
