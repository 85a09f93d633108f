"""Recipes: every shipped one loads, and what is wrong in one is named with its place and a remedy."""

from pathlib import Path

import pytest

from pipeline.errors import RecipeError
from workflows import recipe

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


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        ("[encoder]\nhiden_size = 8", r"small.toml \[encoder\]: unknown key 'hiden_size'; did you mean 'hidden_size'\?"),
        ("[encoder]\nhidden_size = 770", r"encoder: hidden_size 770 is not a multiple of num_attention_heads 12"),
        ("[masking]\nmasked_lm_prob = '0.15'", r"masking.masked_lm_prob: Input should be a valid number.*, not '0.15'"),
        ("[masking]\npolicy = 'wurd'", r"masking.policy: Input should be 'word', 'piece', 'span' or 'entity', not 'wurd'"),
        ("[[phase]]\nsequence_length = 8\nbatch_size = 4", r"phase.1.steps: Field required"),
        ("weights = { nws = 1.0 }", r"phase 1 weighs nws, but the sources are news"),
        ("weights = { news = 0.0 }", r"weights are all zero"),
        ("[wokers]\nn = 1", r"unknown key 'wokers'"),
        ("[[source]]\nname = 'news'\nkind = 'text'", r"two sources bear one name"),
        ("[[source]]\nname = 'x y'\nkind = 'text'", r"name 'x y' must be a plain word"),
        ("[cluster]\nworkers = 0", r"workers 0 is below 1"),
        ("[evaluation]\ntasks = ['sentimant']", r"sentimant"),
        ("steps = 3", r"not valid TOML"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, addition: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        load(tmp_path, MINIMAL + addition)
    assert "\n" not in str(caught.value)


def test_an_unknown_recipe_is_told_with_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'tinny'; give a .toml file or one of .*tiny"):
        recipe.load("tinny")
    with pytest.raises(RecipeError, match=r"no recipe missing.toml"):
        recipe.load("missing.toml")


def test_settings_change_a_recipe(tmp_path: Path) -> None:
    loaded = load(tmp_path, MINIMAL, "encoder.hidden_act=gelu", "phase.0.steps=7", "filters.min_characters=3", "seed=9")
    assert (loaded.encoder.hidden_act, loaded.phase[0].steps, loaded.filters.min_characters, loaded.seed) == ("gelu", 7, 3, 9)


@pytest.mark.parametrize("setting", ["encoder.hidden_size", "phase.3.steps=1", "phase.steps=1"])
def test_a_setting_that_cannot_be_is_refused(tmp_path: Path, setting: str) -> None:
    with pytest.raises(RecipeError, match="--set"):
        load(tmp_path, MINIMAL, setting)
