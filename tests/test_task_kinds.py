"""Kinds of tasks: several labels, numbers, ranking and choices are learned and scored; metrics match counts by hand."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.config import EncoderConfig
from model.encoder import Encoder
from model.exporting.export import export_model
from model.finetuning.choices import NO_CHOICE, ChoiceScorer, Choose, Question
from model.finetuning.values import Measure, Measured
from model.finetuning.windows import Frame
from model.heads import PretrainingModel
from pipeline import storage
from pipeline.tokenization.vocab import SPECIALS, Vocab
from pipeline.tokenization.wordpiece import WordPieceEncoder
from tests.test_task_formats import json_lines
from workflows.evaluation import metrics
from workflows.evaluation.config import EvaluationConfig
from workflows.evaluation.examples import Example
from workflows.evaluation.kinds import KINDS
from workflows.evaluation.run import evaluate
from workflows.evaluation.scores import Score, summary, table
from workflows.evaluation.task import Task

TINY = EncoderConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_relative_position=8)
CHARACTERS = "甲乙丙丁戊己庚辛好坏大小一二三四五"
FRAME = Frame(1, 2, max_length=16)


def test_f1_of_labels_matches_counts_by_hand() -> None:
    gold, predicted = [["a", "b"], ["a"], []], [["a"], ["b"], ["c"]]
    # a: 1 right of 2 gold, 1 predicted: 2/3. b: 0 of 1, 1. c: 0 of 0, 1. Over all: 1 right of 3 gold, 3 predicted.
    assert metrics.micro_f1(gold, predicted) == pytest.approx(1 / 3)
    assert metrics.macro_f1(gold, predicted) == pytest.approx((2 / 3 + 0 + 0) / 3)
    assert metrics.micro_f1([[]], [[]]) == metrics.macro_f1([[]], [[]]) == 0.0


def test_f1_of_tokens_leaves_out_what_is_no_entity() -> None:
    gold, predicted = [["B-PER", "I-PER", "O", "B-LOC"]], [["B-PER", "O", "O", "B-LOC"]]
    assert metrics.token_f1(gold, predicted) == pytest.approx(4 / 5)
    assert metrics.token_f1(gold, [["B-PER", "B-PER", "B-LOC", "O"]]) == pytest.approx(2 / 6)
    assert metrics.token_f1([["O"]], [["O"]]) == 0.0


def test_rankings_match_counts_by_hand() -> None:
    groups = ["1", "1", "1", "2", "2", "3"]
    gold = [True, False, True, False, True, False]
    scores = [0.9, 0.5, 0.1, 0.8, 0.2, 1.0]
    ranked = metrics.rankings(groups, gold, scores)
    assert ranked == [[True, False, True], [False, True]], "a question without a right candidate says nothing"
    assert metrics.mean_average_precision(ranked) == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)
    assert metrics.mean_reciprocal_rank(ranked) == pytest.approx((1 + 1 / 2) / 2)
    assert metrics.mean_average_precision([]) == metrics.mean_reciprocal_rank([]) == 0.0


def test_correlations_are_those_of_numbers_and_of_ranks() -> None:
    assert metrics.correlation([1, 2, 3], [1, 4, 9], ranks=True) == pytest.approx(1)
    assert metrics.correlation([1, 2, 3], [1, 4, 9]) == pytest.approx(np.corrcoef([1, 2, 3], [1, 4, 9])[0, 1])
    assert metrics.correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert metrics.correlation([1, 2, 3], [2, 2, 2]) == 0.0, "nothing is known of what says the same of all"


def ids(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


def test_choices_are_read_as_sequences_of_their_own() -> None:
    three = Question(ids(10, 11), ids(20), (ids(30), ids(31, 32), ids(33)), 2)
    two = Question(ids(12), ids(), (ids(34), ids(35)), 0)
    rows = Choose().windows([three, two], FRAME)
    assert rows[0].ids.tolist()[:8] == [1, 10, 11, 2, 20, 2, 30, 2] and rows[0].segments.tolist()[:8] == [
        0,
        0,
        0,
        0,
        1,
        1,
        1,
        1,
    ]
    assert rows[1].ids.tolist() == [1, 12, 2, 34, 2, 1, 12, 2, 35, 2] and rows[1].segments.tolist() == [
        0,
        0,
        0,
        1,
        1,
        2,
        2,
        2,
        3,
        3,
    ]
    torch.manual_seed(0)
    network = ChoiceScorer(Encoder(TINY, 50)).eval()
    width = max(len(row.ids) for row in rows)
    padded = [
        torch.stack([torch.tensor(np.pad(part, (0, width - len(part)))) for part in parts])
        for parts in (
            [row.ids for row in rows],
            [np.ones(len(row.ids), np.int64) for row in rows],
            [row.segments for row in rows],
        )
    ]
    scores = network(padded[0], padded[1].bool(), padded[2])
    alone = network.scorer(torch.tensor([[1, 12, 2, 35, 2]]), torch.ones(1, 5).bool(), torch.tensor([[0, 0, 0, 1, 1]]))
    assert scores.shape == (2, 3) and scores[1, 2] == NO_CHOICE
    assert scores[1, 1].item() == pytest.approx(alone.item(), abs=1e-5)
    loss, count = Choose().loss(scores, rows)
    assert count == 2 and loss.item() == pytest.approx(
        -(scores[0].log_softmax(0)[2] + scores[1, :2].log_softmax(0)[0]).item() / 2, abs=1e-5
    )


def test_the_passage_of_a_choice_is_cut_before_the_choice_and_the_choice_keeps_its_end() -> None:
    (row,) = Choose().windows([Question(ids(*range(100, 140)), ids(*range(20, 30)), (ids(7, 8), ids(9)), 0)], FRAME)
    first = row.ids[row.segments < 2].tolist()
    assert len(first) == 16 and first[-3:] == [7, 8, 2] and first[:2] == [1, 100]


def test_numbers_are_learned_in_deviations_from_the_mean_of_training() -> None:
    texts = [Measured(ids(10), ids(), None, None, value, mean=3.0, deviation=2.0) for value in (1.0, 7.0)]
    rows = Measure().windows(texts, FRAME)
    assert [row.target for row in rows] == [-1, 2]
    assert Measure().predictions(texts, [(rows[::-1], torch.tensor([[2.0], [0.0]]))]) == [3.0, 7.0]
    encoder = WordPieceEncoder(Vocab((*SPECIALS, *CHARACTERS)), do_lower_case=True)
    examples = [Example(("甲", "乙"), (value,)) for value in ("1", "5")]
    text = KINDS["regression"].encode([examples, examples, examples], (), encoder).dev[1]
    assert (text.mean, text.deviation, text.value) == (3, 2, 5) and text.second.tolist() == [6]


def test_a_text_may_have_several_labels_or_none() -> None:
    encoder = WordPieceEncoder(Vocab((*SPECIALS, *CHARACTERS)), do_lower_case=True)
    examples = [Example(("甲",), ("a", "c")), Example(("乙",), ())]
    kind, labels = KINDS["labels"], ("a", "b", "c")
    texts = kind.encode([examples] * 3, labels, encoder).train
    assert [text.labels.tolist() for text in texts] == [[1, 0, 1], [0, 0, 0]]
    objective = kind.objective(labels)
    rows = objective.windows(texts, FRAME)
    logits = torch.tensor([[2.0, -1.0, 1.0], [-3.0, -0.5, 0.5]])
    loss, count = objective.loss(logits, rows)
    probabilities = logits.sigmoid().numpy()
    gold = np.array([[1, 0, 1], [0, 0, 0]])
    assert count == 6 and loss.item() == pytest.approx(-np.log(np.where(gold, probabilities, 1 - probabilities)).mean())
    predicted = objective.predictions(texts, [(rows[::-1], logits.flip(0))])
    answers = kind.answers(examples, texts, predicted, labels)
    assert answers == [("a", "c"), ("c",)]
    assert kind.scores(examples, answers)["micro_f1"] == pytest.approx(4 / 5)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("model") / "export-1")
    torch.manual_seed(3)
    vocab = Vocab((*SPECIALS, *CHARACTERS))
    network = PretrainingModel(TINY, len(vocab))
    export_model(network, vocab.tokens, True, lambda name, data: storage.write_bytes(storage.join(folder, name), data), {})
    return folder


def made(kind: str, count: int, seed: int) -> str:
    """Examples of a kind, in which the characters 好, 坏 and the digits decide."""
    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        text = "".join(rng.choices("甲乙丙丁戊己庚辛", k=4))
        if kind == "labels":
            told, chosen = rng.choice([("好", ["好"]), ("坏", ["坏", "大"]), ("大", [])])
            rows.append({"text": told + text[:2], "label": chosen})
        elif kind == "regression":
            digit = rng.randrange(5)
            rows.append({"text": text, "other": "一二三四五"[digit], "label": 100 + 10 * digit})
        elif kind == "choice":
            right = rng.randrange(3)
            choices = [f"{rng.choice('甲乙丙丁')}{'好' if n == right else '坏'}" for n in range(3)]
            rows.append({"text": text, "choices": choices[: 2 + (right == 2)], "label": right})
        else:
            right = rng.randrange(3)
            for n in range(3):
                rows.append({"id": number, "text": text, "other": "好" if n == right else "坏", "label": int(n == right)})
    return json_lines(*rows)


OWN = {
    "labels": Task(kind="labels", files="labels/{split}.jsonl", text="text"),
    "regression": Task(kind="regression", files="regression/{split}.jsonl", text="text", second="other"),
    "choice": Task(kind="choice", files="choice/{split}.jsonl", text="text", choices="choices"),
    "ranking": Task(kind="ranking", files="ranking/{split}.jsonl", text="text", second="other", group="id"),
}


@pytest.mark.parametrize("kind", OWN)
def test_a_kind_is_learned_and_its_answers_are_saved(kind: str, model: str, tmp_path: Path) -> None:
    for split, count in (("train", 300), ("dev", 40), ("test", 40)):
        storage.write_bytes(str(tmp_path / f"data/{kind}/{split}.jsonl"), made(kind, count, count).encode())
    config = EvaluationConfig(
        tasks=(kind,), task=OWN, seeds=1, epochs=4, batch_size=16, learning_rate=5e-3, max_length=16, baseline=False
    )
    scores = evaluate(model, str(tmp_path / "data"), config, str(tmp_path / "out"), threads=1)
    assert [score.metric for score in scores if score.split == "test"] == list(KINDS[OWN[kind].kind].metrics)
    least = 0.7 if kind == "labels" else 0.85
    assert all(score.value > least for score in scores), [score.value for score in scores]
    rows = [json.loads(line) for line in (tmp_path / "out" / scores[-1].predictions_uri).read_text().splitlines()]
    assert len(rows) == scores[-1].n == (120 if kind == "ranking" else 40)
    if kind == "regression":
        assert all(90 < row["predicted"] < 150 for row in rows), "in the units of the file"
    if kind == "choice":
        right = sum(row["gold"] == row["predicted"] for row in rows) / len(rows)
        assert right == scores[-1].value and all(len(row["choices"]) in (2, 3) for row in rows)


def test_a_task_may_ask_for_other_metrics(model: str, tmp_path: Path) -> None:
    rows = [{"text": f"甲{'好' if n % 3 else '坏'}", "label": int(n % 3 > 0)} for n in range(60)]
    for split in ("train", "test"):
        storage.write_bytes(str(tmp_path / f"a/{split}.jsonl"), json_lines(*rows).encode())
    own = Task(kind="classification", train="a/train.jsonl", test="a/test.jsonl", text="text", metrics=("macro_f1",))
    config = EvaluationConfig(tasks=("own",), task={"own": own}, seeds=1, epochs=1, max_length=8, baseline=False)
    scores = evaluate(model, str(tmp_path), config, str(tmp_path / "out"), threads=1)
    assert [(score.metric, score.split) for score in scores] == [("macro_f1", "dev"), ("macro_f1", "test")]
    with pytest.raises(ValueError, match="metrics: map is none of classification; choose from accuracy, macro_f1"):
        Task(kind="classification", files="{split}", text="text", metrics=("map",))


def test_scores_of_replaced_splits_are_marked_in_the_table() -> None:
    settings = {"splits": "test: dev.json; dev: 10% of train.json"}
    scores = [
        Score("m", task, "accuracy", "test", 0, {**how}, 9, 0.5, "p") for task, how in (("ocnli", settings), ("lcqmc", {}))
    ]
    lines = table(summary(scores)).split("\n")
    assert [line.split()[1:4] for line in lines[2:4]] == [["ocnli", "accuracy", "test*"], ["lcqmc", "accuracy", "test"]]
    assert lines[4:] == ["* ocnli: test: dev.json; dev: 10% of train.json"]
