"""Several tasks with one encoder: how batches are mixed, what is learned, and the export that `evaluate` reads."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from model.config import EncoderConfig
from model.exporting.export import export_model, load_export
from model.finetuning.finetune import Splits
from model.finetuning.learner import FinetuneConfig
from model.finetuning.multitask import SharedTask, Together, finetune_together, shares
from model.finetuning.objectives import Classify, Tag
from model.finetuning.start import Nezha
from model.heads import PretrainingModel
from pipeline import storage
from pipeline.errors import CheckpointError
from pipeline.tokenization.vocab import SPECIALS, Vocab
from tests.commands import refused
from tests.test_finetune import accuracy, reviews, sentences
from workflows.cli import main

TINY = EncoderConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, max_relative_position=8)
START = Nezha(TINY, 40, 1, 2)
pytestmark = pytest.mark.usefixtures("one_thread")


def test_shares_of_tasks_are_by_size_and_grow_equal_when_they_are_annealed() -> None:
    batches = [300, 30, 3]
    assert shares(batches, "proportional", 3, 3) == batches == shares(batches, "annealed", 1, 3)
    middle, last = shares(batches, "annealed", 2, 3), shares(batches, "annealed", 3, 3)
    assert sum(middle) == sum(last) == 333
    assert batches[0] > middle[0] > last[0] > last[1] > last[2] > middle[2] > batches[2]
    assert last[0] / last[1] == pytest.approx(10**0.2, abs=0.02)
    assert shares([7], "annealed", 1, 1) == [7] and shares([5, 0], "annealed", 2, 2) == [5, 0]


def together(epochs: int = 5, seed: int = 0, learning_rate: float = 5e-3) -> Together:
    tasks = []
    for name, make, objective in (("reviews", reviews, Classify(2)), ("tags", sentences, Tag(2))):
        splits = Splits(make(256, 1), make(48, 2), make(48, 3))
        score = lambda found, gold=splits.dev: accuracy(list(gold), found)  # noqa: E731
        tasks.append(SharedTask(name, objective, splits, 12, score))
    config = FinetuneConfig(epochs=epochs, batch_size=16, learning_rate=learning_rate, seed=seed)
    return finetune_together(START, tasks, config, "proportional")


def test_both_tasks_are_learned_by_one_encoder_and_a_seed_is_reproducible() -> None:
    found = together(6)
    assert accuracy(reviews(48, 3), found.test[0]) > 0.9 and accuracy(sentences(48, 3), found.test[1]) > 0.9
    assert np.mean(found.dev_scores[found.best_epoch - 1]) == max(map(np.mean, found.dev_scores))
    assert set(found.weights) == set(START.body().state_dict())  # type: ignore[attr-defined]
    once, again, other = together(1), together(1), together(1, seed=1)
    assert once.losses == again.losses != other.losses
    assert all(torch.equal(weight, again.weights[name]) for name, weight in once.weights.items())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("model") / "export-1")
    torch.manual_seed(3)
    vocab = Vocab((*SPECIALS, *"房间很干净太吵了好不人"))
    network = PretrainingModel(TINY, len(vocab))
    export_model(network, vocab.tokens, True, lambda name, data: storage.write_bytes(storage.join(folder, name), data), {})
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("data"))
    rng = random.Random(5)
    for split, count in (("train", 96), ("dev", 16), ("test", 16)):
        single, pairs = ["label\ttext_a"], ["text_a\ttext_b\tlabel"]
        for number in range(count):
            text = "".join(rng.choices("房间很干净太吵了", k=6))
            single.append(f"{number % 2}\t{text[:3]}{'好' if number % 2 else '不'}{text[3:]}")
            pairs.append(f"{text}\t{'好' if number % 2 else '不'}人\t{number % 2}")
        storage.write_bytes(storage.join(folder, f"sentiment/{split}.tsv"), "\n".join(single).encode())
        storage.write_bytes(storage.join(folder, f"lcqmc/{split}.tsv"), "\n".join(pairs).encode())
    return folder


def test_the_shared_encoder_is_exported_and_fine_tuned_further(model: str, data: str, tmp_path: Path) -> None:
    out = tmp_path / "shared"
    options = ["--data", data, "--epochs", "6", "--batch-size", "8", "--learning-rate", "5e-3", "--max-length", "16"]
    found = CliRunner().invoke(
        main, ["finetune", model, "--tasks", "sentiment,lcqmc", *options, "--output", str(out), "--json"]
    )
    assert found.exit_code == 0, found.output
    facts = json.loads(found.stdout)
    assert {name: task["examples"] for name, task in facts["tasks"].items()} == {"sentiment": 96, "lcqmc": 96}
    assert min(task["test"]["accuracy"] for task in facts["tasks"].values()) > 0.8
    before, after = load_export(model)[0].state_dict(), load_export(str(out))[0].state_dict()
    changed = {name.split(".")[0] for name, weight in after.items() if not torch.equal(weight, before[name])}
    assert "nezha" in changed and not torch.equal(before["nezha.pooler.dense.weight"], after["nezha.pooler.dense.weight"]), (
        "the encoder is what was tuned"
    )
    card = (out / "README.md").read_text()
    assert "Multi-task fine-tuning" in card and "sentiment: 96 examples, test accuracy" in card
    scored = ["evaluate", str(out), "--data", data, "--tasks", "lcqmc", "--output", str(tmp_path / "scores")]
    again = CliRunner().invoke(main, [*scored, "--seeds", "1", "--epochs", "1", "--no-baseline", "--json"])
    assert again.exit_code == 0 and json.loads(again.stdout.splitlines()[-1])["model_id"] == "shared", again.output


def test_a_loss_that_is_no_number_ends_it() -> None:
    with pytest.raises(CheckpointError, match="the loss of epoch 1 is not a number; use a smaller learning rate"):
        together(1, learning_rate=1e30)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--tasks", "sentiment", "--data", "DATA"], "give two or more"),
        (["--tasks", "sentiment,sentiment", "--data", "DATA"], "is named twice"),
        (["--tasks", "sentiment,lcqmc"], "--tasks needs --data"),
        (["--tasks", "sentiment,nothing", "--data", "DATA"], "no task 'nothing'; there are sentiment, "),
        (["--tasks", "sentiment,sts-lcqmc", "--data", "DATA"], "nothing is learned"),
        (["--tasks", "sentiment,lcqmc", "--contrastive"], "either --contrastive or --tasks"),
        (["--tasks", "sentiment,lcqmc", "--data", "DATA", "--temperature", "0.1"], "--temperature belongs to --contrastive"),
        (["--contrastive", "--input", "x.txt", "--mixing", "annealed"], "--mixing belongs to --tasks"),
        ([], "either --contrastive or --tasks"),
    ],
)
def test_what_does_not_go_together_is_one_line(arguments: list[str], says: str, model: str, data: str, tmp_path: Path) -> None:
    given = [data if one == "DATA" else one for one in arguments]
    assert says in refused(CliRunner().invoke(main, ["finetune", model, *given, "--output", str(tmp_path / "out")]))
    assert not (tmp_path / "out").exists()
