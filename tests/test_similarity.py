"""Vectors of texts are scored as C-MTEB scores them: the file, the numbers, the correlation; by the code of `embed`."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from scipy.stats import spearmanr

from model.config import EncoderConfig
from pipeline.errors import TaskError
from pipeline.tokenization.vocab import SPECIALS, Vocab
from tests import tiny
from tests.commands import refused
from workflows.cli import main
from workflows.evaluation.catalogue import C_MTEB
from workflows.evaluation.config import EvaluationConfig
from workflows.evaluation.examples import Example
from workflows.evaluation.kinds.similarity import Similarity
from workflows.evaluation.run import evaluate
from workflows.evaluation.scores import Score, read_scores
from workflows.inference.embedding import EmbedConfig, embed
from workflows.registry.resampled import form

pytestmark = pytest.mark.usefixtures("one_thread")
ENCODER = EncoderConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)
VOCAB = Vocab((*SPECIALS, *"今天气北京大学很好房间物流快"))
PAIRS = [
    ("今天天气很好", "今天天气好"),
    ("北京大学", "大学物流"),
    ("房间很大", "房间好大"),
    ("物流很快", "快"),
    ("天气", "房间"),
]
GOLD = [1, 0, 1, 1, 0]
STARS = [5.0, 0.8, 4.2, 2.6, 0.0]
FILES = {
    "stsb/cnsd-sts-test.txt": "".join(
        f"test-{number}||{a}||{b}||{star}\n" for number, ((a, b), star) in enumerate(zip(PAIRS, STARS, strict=True))
    ),
    "afqmc/dev.json": "".join(
        json.dumps({"sentence1": a, "sentence2": b, "label": str(gold)}, ensure_ascii=False) + "\n"
        for (a, b), gold in zip(PAIRS, GOLD, strict=True)
    ),
    "afqmc/test.json": json.dumps({"id": 0, "sentence1": "快", "sentence2": "快"}) + "\n",
    "atec/atec_nlp_sim_train.csv": "".join(
        f"{number}\t{a}\t{b}\t{gold}\n" for number, ((a, b), gold) in enumerate(zip(PAIRS, GOLD, strict=True))
    ),
    "lcqmc/test.tsv": "text_a\ttext_b\tlabel\n" + "".join(f"{a}\t{b}\t{g}\n" for (a, b), g in zip(PAIRS, GOLD, strict=True)),
    "bq/test.csv": "sentence1,sentence2,label\n" + "".join(f"{a},{b},{g}\n" for (a, b), g in zip(PAIRS, GOLD, strict=True)),
}
SCORED = {"stsb": "", "afqmc": "test: dev.json", "atec": "test: atec_nlp_sim_train.csv", "lcqmc": "", "bq": ""}
"""What the scores say of the file that was scored."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.exported(tmp_path_factory.mktemp("export"), ENCODER, VOCAB, seed=6)[0]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, "utf-8")
    packed = folder / "bq" / "test.csv"
    (folder / "bq" / "test.csv.gz").write_bytes(gzip.compress(packed.read_bytes()))
    packed.unlink()
    return folder


def expected(model: str, folder: Path, gold: list[Any], pooling: Any = "mean") -> float:
    """Spearman's correlation of gold numbers with the cosine of what `embed` writes."""
    (folder / "texts.txt").write_text("\n".join(text for pair in PAIRS for text in pair), "utf-8")
    embed(model, [str(folder / "texts.txt")], str(folder / "vectors.parquet"), EmbedConfig(pooling=pooling))
    vectors = np.stack(pq.read_table(folder / "vectors.parquet")["vector"].to_numpy()).astype(np.float64)
    return float(spearmanr(gold, (vectors[0::2] * vectors[1::2]).sum(1)).statistic)


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["evaluate", *map(str, arguments)], prog_name="nezha-pipe")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.parametrize("name", C_MTEB)
def test_each_layout_is_scored_by_what_embed_computes(model: str, data: Path, tmp_path: Path, name: str) -> None:
    config = EvaluationConfig(tasks=(f"sts-{name}",), seeds=3)
    scores = evaluate(model, str(data), config, str(tmp_path / "out"), model_id="ours")
    assert [(one.model_id, one.metric, one.split, one.seed, one.n) for one in scores] == [
        ("ours", "spearman", "test", 0, 5),
        ("untrained", "spearman", "test", 0, 5),
    ], "nothing is learned, so there is one run"
    gold = STARS if name == "stsb" else GOLD
    assert scores[0].value == pytest.approx(expected(model, tmp_path, gold)) and scores[1].value != scores[0].value
    assert dict(scores[0].hyperparameters) == {
        "pooling": "mean",
        "max_length": 512,
        "test_examples": 0,
        **({"splits": SCORED[name]} if SCORED[name] else {}),
    }
    rows = [json.loads(line) for line in (tmp_path / "out" / scores[0].predictions_uri).read_text().splitlines()]
    assert [row["gold"] for row in rows] == gold and all(-1 <= row["predicted"] <= 1 for row in rows)


def test_the_command_scores_all_whose_files_are_there_and_names_the_others(model: str, data: Path, tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    for name in ("lcqmc", "stsb"):
        (tmp_path / "some" / name).symlink_to(data / name)
    result = run(model, "--tasks", "sts", "--data", tmp_path / "some", "--output", tmp_path / "out", "--pooling", "cls")
    assert result.exit_code == 0, result.output
    assert "sts: no files of sts-afqmc, sts-atec, sts-bq in " in result.stderr
    scores: list[Score] = read_scores(str(tmp_path / "out" / "scores.jsonl"))
    assert [(one.task, one.model_id == "untrained") for one in scores] == [
        ("sts-stsb", False),
        ("sts-lcqmc", False),
        ("sts-stsb", True),
        ("sts-lcqmc", True),
    ]
    assert scores[1].value == pytest.approx(expected(model, tmp_path, GOLD, "cls"))
    nothing = run(model, "--tasks", "sts", "--data", tmp_path / "out", "--output", tmp_path / "none")
    assert "has files of none of sts-stsb, sts-afqmc, sts-atec, sts-lcqmc, sts-bq" in refused(nothing)


def test_the_score_follows_from_predictions_that_lie_close_together(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    gold, cosines = draw.integers(0, 2, 400), 0.9985 + 1e-4 * draw.random(400)
    examples = [Example(("天气", "房间"), (str(number),)) for number in gold]
    kind = Similarity()
    rows = [kind.row(one, float(cosine)) for one, cosine in zip(examples, cosines, strict=True)]
    how, expected = form("spearman"), kind.scores(examples, [*cosines])["spearman"]
    assert how.combine(how.terms([[[row] for row in rows]]).mean(axis=1)) == pytest.approx(expected, abs=1e-6)


def test_inference_is_similarity_too_without_what_is_neutral(model: str, tmp_path: Path) -> None:
    labels = ["entailment", "contradiction", "entailment", "entailment", "contradiction"]
    rows = [{"sentence1": a, "sentence2": b, "label": label} for (a, b), label in zip(PAIRS, labels, strict=True)]
    rows += [{"sentence1": "快", "sentence2": "好", "label": label} for label in ("neutral", "-")]
    (tmp_path / "ocnli").mkdir()
    (tmp_path / "ocnli" / "dev.json").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    (score,) = evaluate(
        model, str(tmp_path), EvaluationConfig(tasks=("sts-ocnli",), baseline=False), str(tmp_path / "out"), model_id="ours"
    )
    assert score.value == pytest.approx(expected(model, tmp_path, GOLD))
    assert score.hyperparameters["splits"] == "test: dev.json; left out: 1 labelled 'neutral', 1 labelled '-'"


def test_a_label_that_is_no_number_is_named_with_its_line(model: str, tmp_path: Path) -> None:
    (tmp_path / "lcqmc").mkdir()
    (tmp_path / "lcqmc" / "test.tsv").write_text("text_a\ttext_b\tlabel\n快\t好\t1\n快\t大\tyes\n", "utf-8")
    with pytest.raises(TaskError, match=r"test.tsv, line 3: 'yes' is not a number"):
        evaluate(model, str(tmp_path), EvaluationConfig(tasks=("sts-lcqmc",)), str(tmp_path / "out"))


def test_any_encoder_is_scored(data: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(VOCAB.tokens) + "\n", "utf-8")
    config = transformers.BertConfig(
        vocab_size=len(VOCAB),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=40,
    )
    transformers.BertModel(config).save_pretrained(tmp_path / "bert")
    transformers.BertTokenizerFast(str(tmp_path / "bert" / "vocab.txt")).save_pretrained(tmp_path / "bert")
    result = run(f"hf:{tmp_path / 'bert'}", "--tasks", "sts", "--data", data, "--output", tmp_path / "out", "--json")
    scores = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(scores) == 10 and {one["hyperparameters"]["max_length"] for one in scores} == {40}
    assert {one["model_id"] for one in scores} == {"hf:bert", "untrained"}
