"""Contrastive fine-tuning: what it learns, its loss, what it leaves out, and a folder that is whole or none."""

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner, Result
from scipy.stats import spearmanr

from model.config import EncoderConfig
from model.encoder import Encoder
from model.exporting.export import check_is_export, load_export
from model.finetuning.contrastive import (
    ContrastiveConfig,
    Triple,
    contrastive_loss,
    false_negatives,
    number_of_steps,
    same_meaning,
    tune,
    vectors_of,
)
from model.finetuning.vectors import alignment, mean_cosine, uniformity
from pipeline import storage
from pipeline.arrays import Array, Ints
from pipeline.errors import CheckpointError
from pipeline.tokenization.vocab import SPECIALS, Vocab
from tests import tiny, transformers_environments
from tests.commands import refused
from tests.slow_processes import wait_for
from workflows.cli import main
from workflows.inference.embedding import EmbedConfig, embed

pytestmark = pytest.mark.usefixtures("one_thread")
ENCODER = EncoderConfig(
    hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, max_relative_position=8
)
CLS, SEP, FIRST, CONCEPTS = 1, 2, 10, 20
SETTINGS = ContrastiveConfig(batch_size=32, learning_rate=3e-3, max_length=16, epochs=4)
VOCAB = Vocab((*SPECIALS, *"今天气北京大学很好房间物流快。"))
TEXTS = ["今天天气很好", "北京大学很大", "房间很大", "物流很快", "今天好", "天气", "北京", "学房间", "很快", "流物"]


def framed(tokens: Ints) -> Ints:
    return np.concatenate([[CLS], tokens, [SEP]]).astype(np.int64)


def synonyms(count: int, seed: int) -> list[tuple[Ints, Ints]]:
    """Texts of four concepts, said once by tokens 10-29 and once, in another order, by their synonyms 30-49."""
    rng = np.random.default_rng(seed)
    texts = [rng.choice(CONCEPTS, 4, replace=False) for _ in range(count)]
    return [(framed(FIRST + text), framed(FIRST + CONCEPTS + rng.permutation(text))) for text in texts]


def graded(count: int, seed: int) -> tuple[list[Ints], list[Ints], list[float]]:
    """Pairs of texts, and whether they mean the same. Those that do have no token in common, the others have two."""
    rng = np.random.default_rng(seed)
    first, second, gold = [], [], []
    for number, (anchor, positive) in enumerate(synonyms(count, seed)):
        other = np.concatenate([anchor[1:3], FIRST + CONCEPTS + rng.choice(CONCEPTS, 2, replace=False)])
        first.append(anchor)
        second.append(positive if number % 2 else framed(rng.permutation(other)))
        gold.append(float(number % 2))
    return first, second, gold


def network(weights: Any) -> Encoder:
    encoder = Encoder(ENCODER, FIRST + 2 * CONCEPTS)
    encoder.load_state_dict(weights)
    return encoder.eval()


@torch.no_grad()
def spearman(weights: Any) -> float:
    first, second, gold = graded(200, seed=9)
    left, right = (
        torch.nn.functional.normalize(vectors_of(network(weights), side, SETTINGS), dim=1) for side in (first, second)
    )
    return float(spearmanr(gold, (left * right).sum(1).numpy()).statistic)


@pytest.fixture(scope="module")
def fresh() -> dict[str, torch.Tensor]:
    torch.manual_seed(4)
    return Encoder(ENCODER, FIRST + 2 * CONCEPTS).state_dict()


def test_texts_that_mean_the_same_come_together(fresh: dict[str, torch.Tensor]) -> None:
    """The words say the opposite of what is meant, so no chance and no overlap gives a positive correlation."""
    before = spearman(fresh)
    tuned = tune(ENCODER, fresh, [Triple(*pair) for pair in synonyms(600, seed=1)], SETTINGS)
    assert before < 0.0 and spearman(tuned.weights) > 0.6


def test_texts_without_labels_spread(fresh: dict[str, torch.Tensor]) -> None:
    """A token that all texts have four times makes them alike; tuning looks past it, and near texts stay nearer than others."""
    rng = np.random.default_rng(2)

    def text(own: Array) -> Ints:
        return framed(np.concatenate([[FIRST] * 4, FIRST + own]))

    draws = [1 + rng.choice(2 * CONCEPTS - 1, 4, replace=False) for _ in range(400)]
    tuned = tune(ENCODER, fresh, [Triple(text(own)) for own in draws], SETTINGS)
    anchors = [text(own) for own in draws[:100]]
    near = [text(np.concatenate([own[:3], 1 + rng.choice(2 * CONCEPTS - 1, 1)])) for own in draws[:100]]
    with torch.no_grad():
        before, after = (vectors_of(network(weights), anchors, SETTINGS) for weights in (fresh, tuned.weights))
        beside = vectors_of(network(tuned.weights), near, SETTINGS)
    assert mean_cosine(before) > 0.5 > 0.2 > mean_cosine(after)
    assert uniformity(after) < uniformity(before) - 1
    assert alignment(after, beside) < 0.5 * alignment(after, beside.roll(1, 0)), "near texts are nearer than others"


def test_the_gradient_is_that_of_the_formula() -> None:
    torch.manual_seed(0)
    anchors, candidates = torch.randn(4, 6, dtype=torch.float64), torch.randn(7, 6, dtype=torch.float64)
    false = np.zeros((4, 7), np.bool_)
    false[0, 2] = false[3, 5] = true = True
    assert true
    for tensor in (anchors, candidates):
        tensor.requires_grad_()
    loss = contrastive_loss(anchors, candidates, false, 0.05)
    loss.backward()  # type: ignore[no-untyped-call]

    a, c = anchors.detach().numpy(), candidates.detach().numpy()
    na, nc = (np.linalg.norm(x, axis=1, keepdims=True) for x in (a, c))
    cosine = (a / na) @ (c / nc).T
    scores = np.where(false, -np.inf, cosine / 0.05)
    softmax = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert loss.item() == pytest.approx(-np.log(softmax[np.arange(4), np.arange(4)]).mean())
    by_cosine = (softmax - np.eye(4, 7)) / 0.05 / 4
    by_anchor = (by_cosine @ (c / nc) - (by_cosine * cosine).sum(1, keepdims=True) * (a / na)) / na
    by_candidate = (by_cosine.T @ (a / na) - (by_cosine * cosine).sum(0)[:, None] * (c / nc)) / nc
    assert anchors.grad is not None and candidates.grad is not None
    np.testing.assert_allclose(anchors.grad, by_anchor, atol=1e-12)
    np.testing.assert_allclose(candidates.grad, by_candidate, atol=1e-12)


def test_what_means_the_same_is_no_negative(fresh: dict[str, torch.Tensor]) -> None:
    a, b, c, d, e = (framed(np.array([FIRST + number])) for number in range(5))
    triples = [Triple(a, b), Triple(b, d, e), Triple(c, e), Triple(c, None, d)]
    meanings = same_meaning(triples)
    assert meanings.tolist() == [[0, -1], [0, 1], [1, -1], [1, 0]], "a, b and d mean the same; c and e do"
    expected = [
        [0, 1, 0, 0, 0, 1],  # b; d; e; c; then the hard negatives e and d
        [1, 0, 0, 0, 0, 1],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 1, 0, 1, 0],
    ]
    assert false_negatives(meanings).astype(int).tolist() == expected
    settings = ContrastiveConfig(batch_size=4, epochs=2, max_length=8)
    assert tune(ENCODER, fresh, triples, settings).masked == 2 * sum(map(sum, expected))


def test_a_single_text_that_is_left_over_is_no_batch(fresh: dict[str, torch.Tensor]) -> None:
    triples = [Triple(anchor) for anchor, _ in synonyms(9, 1)]
    settings = ContrastiveConfig(batch_size=4, epochs=3, max_length=8)
    assert number_of_steps(9, settings) == tune(ENCODER, fresh, triples, settings).steps == 6
    assert tune(ENCODER, fresh, triples, ContrastiveConfig(batch_size=4, steps=3, epochs=3, max_length=8)).steps == 3


def test_a_loss_that_is_no_number_ends_it(fresh: dict[str, torch.Tensor]) -> None:
    settings = ContrastiveConfig(batch_size=16, learning_rate=1e30, max_length=8)
    with pytest.raises(CheckpointError, match="use a smaller learning rate"):
        tune(ENCODER, fresh, [Triple(*pair) for pair in synonyms(160, 1)], settings)
    with pytest.raises(CheckpointError, match="weights are no longer numbers after step 1"):
        tune(ENCODER, fresh, [Triple(*pair) for pair in synonyms(16, 1)], replace(settings, learning_rate=math.inf))


def finetune(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["finetune", *map(str, arguments)], prog_name="nezha-pipe")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.exported(tmp_path_factory.mktemp("export"), ENCODER, VOCAB, seed=6)[0]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    lines = [*TEXTS, "", "\u200b", "天气", "好" * 40, "好" * 50]
    place.write_text("".join(json.dumps({"content": line}, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    return str(place)


def test_raw_texts_become_an_export_that_says_how(model: str, texts: str, tmp_path: Path) -> None:
    options = ["--contrastive", "--input", texts, "--text", "content", "--batch-size", 4, "--max-length", 20]
    outputs = {}
    for name, more in (("one", []), ("same", []), ("other", ["--seed", 1]), ("cls", ["--pooling", "cls"])):
        result = finetune(model, *options, *more, "--output", tmp_path / name)
        assert result.exit_code == 0, result.output
        outputs[name] = (tmp_path / name / "model.safetensors").read_bytes()
    assert "15 read, 2 empty, 2 duplicates, 2 cut" in result.stderr
    assert outputs["one"] == outputs["same"] and len(set(outputs.values())) == 3
    assert outputs["one"] != Path(model, "model.safetensors").read_bytes()
    card = (tmp_path / "one" / "README.md").read_text()
    for line in (
        "texts.jsonl, 11 examples",
        "- 3 steps of 4, learning rate 3e-05, seed 0",
        "mean cosine: 0.",
        "## Intended use",
    ):
        assert line in card
    assert card.index("## Tuning of vectors") < card.index("## Intended use") and "sentence-similarity" in card
    again = finetune(tmp_path / "one", *options, "--output", tmp_path / "twice", "--json")
    facts = json.loads(again.stdout)
    assert facts["texts"] == {"read": 15, "unused": 0, "empty": 2, "duplicates": 2, "cut": 2} and facts["steps"] == 3
    assert (tmp_path / "twice" / "README.md").read_text().count("## Tuning of vectors") == 2


def test_vectors_are_pooled_as_they_were_tuned(model: str, texts: str, tmp_path: Path) -> None:
    found = {}
    for tuned in ("cls", "mean"):
        folder = str(tmp_path / tuned)
        finetune(model, "--contrastive", "--input", texts, "--text", "content", "--pooling", tuned, "--output", folder)
        for pooling in ("auto", "cls", "mean"):
            embed(folder, [texts], str(tmp_path / "v"), EmbedConfig(text="content", pooling=pooling))
            found[tuned, pooling] = pq.read_table(tmp_path / "v")["vector"].to_pylist()
    for tuned, other in (("cls", "mean"), ("mean", "cls")):
        assert found[tuned, "auto"] == found[tuned, tuned] != found[tuned, other]


def test_sentences_are_split_on_request(model: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("今天天气很好。北京很大。\n房间很大。今天天气很好。\n", "utf-8")
    options = ["--contrastive", "--input", tmp_path / "a.txt", "--output", tmp_path / "out", "--json"]
    assert json.loads(finetune(model, *options).stdout)["texts"]["read"] == 2
    assert json.loads(finetune(model, *options, "--sentences").stdout)["texts"] == {
        "read": 4, "unused": 0, "empty": 0, "duplicates": 1, "cut": 0
    }  # fmt: skip


PAIRS = {
    "pairs.tsv": "text_a\ttext_b\tlabel\n今天\t天气\t1\n今天\t北京\t0\n房间\t物流\t0\n大学\t京大\t1\n",
    "nli.json": "".join(
        json.dumps({"sentence1": first, "sentence2": second, "label": label}, ensure_ascii=False) + "\n"
        for first, second, label in (
            ("今天", "天气", "entailment"),
            ("今天", "北京", "contradiction"),
            ("房间", "物流", "contradiction"),
            ("大学", "京大", "entailment"),
            ("大学", "北京", "neutral"),
            ("大学", "快", "-"),
        )
    ),
    "triplets.jsonl": "".join(
        json.dumps(row, ensure_ascii=False) + "\n"
        for row in (
            {"anchor": "今天", "positive": "天气", "negative": "北京"},
            {"anchor": "大学", "positive": "京大"},
            {"anchor": "房间", "positive": "房间", "negative": "物流"},
        )
    ),
}


def test_pairs_of_all_layouts_are_the_same_pairs(model: str, tmp_path: Path) -> None:
    facts = {}
    for name, content in PAIRS.items():
        (tmp_path / name).write_text(content, "utf-8")
        result = finetune(model, "--contrastive", "--pairs", tmp_path / name, "--output", tmp_path / f"out-{name}", "--json")
        facts[name] = json.loads(result.stdout)
    assert [(one["examples"], one["texts"]["unused"], one["steps"]) for one in facts.values()] == [
        (3, 0, 1),
        (3, 1, 1),
        (3, 0, 1),
    ]
    weights = {name: (tmp_path / f"out-{name}" / "model.safetensors").read_bytes() for name in PAIRS}
    assert weights["pairs.tsv"] == weights["nli.json"]
    assert (
        "alignment" in facts["nli.json"]["after"] and "pairs of texts" in (tmp_path / "out-nli.json" / "README.md").read_text()
    )


BAD = {
    "nothing to tune": ([], "say what to tune: either --contrastive or --tasks"),
    "no texts": (["--contrastive"], "give one of them"),
    "nan": (["--contrastive", "--input", "{texts}", "--learning-rate", "nan"], "nan is not a finite number"),
    "no seed": (["--contrastive", "--input", "{texts}", "--seed", str(2**63)], "is not in the range"),
    "both": (["--contrastive", "--input", "{texts}", "--pairs", "{texts}"], "give one of them"),
    "split pairs": (["--contrastive", "--pairs", "{texts}", "--sentences"], "pairs are not split"),
    "no dropout": (["--contrastive", "--input", "{texts}", "--dropout", "0"], "--dropout 0: without labels"),
    "one text": (
        ["--contrastive", "--input", "{tmp}/one.txt"],
        "2 read, 1 duplicates; at least two different texts are needed",
    ),
    "no pairs": (["--contrastive", "--pairs", "{tmp}/stars.tsv"], "label '5' says neither"),
    "one pair": (["--contrastive", "--pairs", "{tmp}/pair.tsv"], "1 read; at least two pairs are needed"),
    "triplet": (["--contrastive", "--pairs", "{tmp}/bad.jsonl"], "bad.jsonl, line 2: expected an object with anchor, positive"),
    "no file": (["--contrastive", "--input", "{tmp}/none.txt"], "none.txt: no such file"),
    "no column": (["--contrastive", "--input", "{texts}"], "line 1 has no field text; there are content"),
    "not ours": (["hf:{tmp}", "--contrastive", "--input", "{texts}"], "a BERT becomes one with `nezha-pipe convert`"),
    "too long": (
        ["{absolute}", "--contrastive", "--input", "{texts}"],
        "max_length is 64, but the model reads at most 16 tokens",
    ),
    "itself": (["--contrastive", "--input", "{texts}", "--output", "{model}"], "contains the model to tune"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_leaves_no_model(model: str, texts: str, tmp_path: Path, name: str) -> None:
    (tmp_path / "one.txt").write_text("今天\n今天\n", "utf-8")
    (tmp_path / "pair.tsv").write_text("text_a\ttext_b\tlabel\n今天\t天气\t1\n", "utf-8")
    (tmp_path / "stars.tsv").write_text("text_a\ttext_b\tlabel\n今天\t天气\t1\n今天\t好\t5\n", "utf-8")
    (tmp_path / "bad.jsonl").write_text('{"anchor": "今", "positive": "天"}\n{"anchor": "今"}\n', "utf-8")
    options, message = BAD[name]
    absolute = replace(ENCODER, positions="absolute", max_position_embeddings=16)
    places = {
        "texts": texts,
        "tmp": tmp_path,
        "model": model,
        "absolute": tiny.exported(tmp_path / "abs", absolute, VOCAB, 1)[0],
    }
    words = [word.format(**places) for word in options]
    result = finetune("--output", tmp_path / "out", *([] if words and words[0][0] != "-" else [model]), *words)
    assert message in refused(result)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    load_export(model)


def test_a_kill_leaves_nothing_that_looks_like_a_model(model: str, tmp_path: Path) -> None:
    (tmp_path / "many.txt").write_text("".join(f"{first}{second}\n" for first in TEXTS for second in TEXTS), "utf-8")
    words = ["finetune", model, "--contrastive", "--input", str(tmp_path / "many.txt"), "--batch-size", "4"]
    output = str(tmp_path / "out")
    program = "from workflows.cli import main; main(prog_name='nezha-pipe')"
    environment = {**os.environ, "NEZHA_PIPE_PROGRESS_SECONDS": "0"}
    log = tmp_path / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *words, "--epochs", "100000", "--output", output],
            stderr=errors,
            env=environment,
            text=True,
        )
        try:
            wait_for(lambda: "step 5 of" in log.read_text(), process)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    with pytest.raises(CheckpointError):
        check_is_export(output)
    assert finetune(*words[1:], "--output", output).exit_code == 0
    assert finetune(*words[1:], "--output", tmp_path / "whole").exit_code == 0
    assert Path(output, "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


SENTENCE_TRANSFORMERS = """
import json, sys
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu", trust_remote_code=True)
print(json.dumps(model.encode(json.loads(sys.argv[2]), normalize_embeddings=True).tolist()))
"""


@pytest.mark.slow
@pytest.mark.parametrize("release", transformers_environments.PINS)
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_sentence_transformers_computes_the_same_vectors(
    model: str, texts: str, tmp_path: Path, release: str, pooling: str
) -> None:
    folder = tmp_path / "tuned"
    finetune(model, "--contrastive", "--input", texts, "--text", "content", "--pooling", pooling, "--output", folder)
    storage.write_bytes(str(tmp_path / "in.txt"), "\n".join(TEXTS).encode())
    embed(str(folder), [str(tmp_path / "in.txt")], str(tmp_path / "v"), EmbedConfig())
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [transformers_environments.python(release), "-c", SENTENCE_TRANSFORMERS, str(folder), json.dumps(TEXTS)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    theirs = np.array(json.loads(done.stdout.splitlines()[-1]))
    np.testing.assert_allclose(theirs, pq.read_table(tmp_path / "v")["vector"].to_pylist(), atol=1e-5)
