"""Evaluation: scores match counts by hand, runs repeat and resume, and both models are scored."""

import json
import os
import random
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.config import EncoderConfig
from model.exporting.export import export_model
from model.heads import PretrainingModel
from pipeline import locks, storage
from pipeline.dedup.evaluation_texts import PREVIEW_CHARACTERS
from pipeline.engine.execution import News, Report
from pipeline.errors import DamagedError, StorageError, TaskError
from pipeline.tokenization.vocab import SPECIALS, Vocab
from pipeline.tokenization.wordpiece import WordPieceEncoder
from workflows.evaluation import run as evaluation
from workflows.evaluation.config import EvaluationConfig
from workflows.evaluation.examples import START_CHARACTERS, Example, start_digest
from workflows.evaluation.kinds import KINDS
from workflows.evaluation.metrics import accuracy, entity_f1, token_f1
from workflows.evaluation.run import _scored_before, evaluate, file_entries
from workflows.evaluation.scores import (
    UNTRAINED,
    Score,
    diverged,
    read_scores,
    summary,
    table,
)

TINY = EncoderConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, max_relative_position=8)
CHARACTERS = "房间很干净太吵了江泽民在京沪说好不的人"
CONFIG = EvaluationConfig(seeds=2, epochs=2, batch_size=16, learning_rate=5e-3, max_length=16)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Export a tiny network and return the folder."""
    folder = str(tmp_path_factory.mktemp("model") / "export-1")
    torch.manual_seed(3)
    vocab = Vocab((*SPECIALS, *CHARACTERS, "1", "9", "##9", "1998"))
    network = PretrainingModel(TINY, len(vocab))
    export_model(network, vocab.tokens, True, lambda name, data: storage.write_bytes(storage.join(folder, name), data), {})
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write task files: reviews with 好 are good; 江泽民 is a person, 京 and 沪 are places."""
    folder = str(tmp_path_factory.mktemp("data"))
    rng = random.Random(5)
    words = [("江泽民", "B-PER I-PER I-PER"), ("京", "B-LOC"), ("沪", "B-LOC"), ("说", "O")]
    for split, count in (("train", 128), ("dev", 24), ("test", 32)):
        rows, lines = ["label\ttext_a"], []
        for number in range(count):
            text = "".join(rng.choices("房间很干净太吵了", k=6))
            rows.append(f"{number % 2}\t{text[:3]}{'好' if number % 2 else '不'}{text[3:]}")
            for word, tags in rng.choices(words, k=4):
                lines += [f"{character} {tag}" for character, tag in zip(word, tags.split(), strict=True)]
            lines.append("")
        storage.write_bytes(storage.join(folder, f"sentiment/{split}.tsv"), "\n".join(rows).encode())
        storage.write_bytes(storage.join(folder, f"entities/{split}.txt"), "\n".join(lines).encode())
    return folder


@pytest.mark.parametrize(
    ("gold", "predicted", "f1"),
    [
        # 2 entities, 2 predicted, 1 with both ends and type right: precision 1/2, recall 1/2.
        ("B-PER I-PER O B-LOC", "B-PER I-PER O B-ORG", 1 / 2),
        # A wrong end is wrong, and the place is found: precision 1/2, recall 1/2.
        ("B-PER I-PER I-PER B-LOC", "B-PER I-PER O B-LOC", 1 / 2),
        # Two places side by side are two; as one they are none: precision 0/1.
        ("B-LOC B-LOC", "B-LOC I-LOC", 0.0),
        # Of 3 entities 2 are found, and 1 is made up: precision 2/3, recall 2/3.
        ("B-LOC O B-PER I-PER B-ORG O", "B-LOC O B-PER I-PER O B-ORG", 2 / 3),
        # Malformed: I- after O begins an entity, I- of another type begins one too. Gold 2, predicted 3, 2 right: 4/5.
        ("B-PER I-PER O B-LOC O", "I-PER I-PER O B-LOC I-ORG", 4 / 5),
        # 1 of 1 found and 3 made up: precision 1/4, recall 1.
        ("O B-LOC O O O O", "B-PER B-LOC O B-PER O B-PER", 2 / 5),
        ("O O", "O B-LOC", 0.0),
        ("O O", "O O", 0.0),
    ],
)
def test_entity_f1_matches_counts_by_hand(gold: str, predicted: str, f1: float) -> None:
    assert entity_f1([gold.split()], [predicted.split()]) == pytest.approx(f1)


def test_entity_f1_counts_over_all_sentences_not_by_sentence() -> None:
    gold = [["B-LOC"], ["B-PER", "I-PER", "O", "B-PER"], ["O"]]
    predicted = [["B-LOC"], ["B-PER", "O", "O", "O"], ["O"]]
    # 3 entities, 2 predicted, 1 right: precision 1/2, recall 1/3. The mean over sentences would be 1/2 or 1/3.
    assert entity_f1(gold, predicted) == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))


def test_accuracy_is_the_fraction_of_texts_that_are_right() -> None:
    assert accuracy(["1", "0", "1"], ["1", "1", "1"]) == pytest.approx(2 / 3)


def test_every_character_of_a_sentence_has_a_token_of_its_own() -> None:
    vocab = Vocab((*SPECIALS, *CHARACTERS, "1", "9", "##9", "1998"))
    items = ("江", "1", "9", "9", "\u200b", "囧")
    example = Example(items, ("B-PER", *["O"] * 5))
    kind, labels = KINDS["tagging"], ("B-PER", "O")
    (text,) = kind.encode([[example]] * 3, labels, WordPieceEncoder(vocab, do_lower_case=True)).train
    assert [vocab.tokens[token] for token in text.tokens] == ["江", "1", "9", "9", "[UNK]"]
    assert text.firsts is not None and text.firsts.tolist() == [0, 1, 2, 3, -1, 4]
    assert text.labels.tolist() == [0, 1, 1, 1, 1, 1]
    # -1 belongs to no entity.
    assert kind.answers([example], [text], [text.firsts.clip(max=0)], labels) == [("B-PER",) * 4 + ("O", "B-PER")]


def test_a_pair_is_encoded_as_two_texts() -> None:
    vocab = Vocab((*SPECIALS, *CHARACTERS))
    example = Example(("房间好", "太吵"), ("0",))
    (text,) = KINDS["pair"].encode([[example]] * 3, ("0", "1"), WordPieceEncoder(vocab, do_lower_case=True)).train
    assert text.second is not None and text.firsts is None and text.labels.tolist() == [0]
    assert [[vocab.tokens[token] for token in tokens] for tokens in (text.tokens, text.second)] == [[*"房间好"], [*"太吵"]]


def test_pairs_are_learned_and_scored_and_a_replaced_split_is_noted(model: str, tmp_path: Path) -> None:
    rng = random.Random(7)
    for split, count in (("dev", 200), ("test", 32)):
        rows = ["text_a\ttext_b\tlabel"]
        for number in range(count):
            text = "".join(rng.choices("房间很干净太吵了", k=4))
            rows.append(f"{text}\t{'好' if number % 2 else '不'}\t{number % 2}")
        storage.write_bytes(str(tmp_path / f"data/lcqmc/{split}.tsv"), "\n".join(rows).encode())
    config = EvaluationConfig(tasks=("lcqmc",), seeds=1, epochs=3, batch_size=16, learning_rate=5e-3, max_length=16)
    (dev, test, *_) = evaluate(model, str(tmp_path / "data"), config, str(tmp_path / "out"), threads=1)
    assert test.value > 0.9 and test.n == 32 and dev.n < 40
    assert test.hyperparameters["splits"] == "train: 90% of dev.tsv"
    first = json.loads((tmp_path / "out" / test.predictions_uri).read_text().splitlines()[0])
    assert first["gold"] == "0"


def test_files_that_hold_scored_texts_are_named(tmp_path: Path) -> None:
    names = ("ocnli/train.10k.json", "ocnli/dev.json", "lcqmc/dev.tsv", "lcqmc/test.tsv", "sentiment/train.tsv")
    for name in (*names, "sentiment/dev.tsv", "sentiment/test.tsv"):
        first = b'{"sentence1": "a", "sentence2": "b", "label": "0"}' if ".json" in name else b"label\ttext_a\n1\ta\n"
        storage.write_bytes(str(tmp_path / name), b"a\tb\t1\n" if "lcqmc" in name else first)
    config = EvaluationConfig(tasks=("sentiment", "ocnli", "lcqmc"), data=str(tmp_path))
    scored = {name.removeprefix(f"{tmp_path}/") for name in config.scored_files()}
    assert scored == {*names[:4], "sentiment/dev.tsv", "sentiment/test.tsv"}


def test_both_models_are_scored_on_every_task_and_seed(model: str, data: str, tmp_path: Path) -> None:
    reported: list[tuple[int, int, str]] = []
    output = str(tmp_path)
    scores = evaluate(model, data, CONFIG, output, threads=1, report=lambda *state: reported.append(state))
    runs = [(score.model_id, score.task, score.seed, score.split) for score in scores]
    assert runs == [
        (model_id, task, seed, split)
        for model_id in ("export-1", UNTRAINED)
        for task in ("sentiment", "entities")
        for seed in (0, 1)
        for split in ("dev", "test")
        for _ in KINDS["tagging" if task == "entities" else "classification"].metrics
    ]
    assert {score.n for score in scores if score.split == "test"} == {32}
    assert read_scores(storage.join(output, "scores.jsonl")) == scores
    # After each of 8 batches in 2 epochs, those of dev after each epoch, and of test: the time left is that of batches.
    done, (total,) = [done for done, _, _ in reported], {total for _, total, _ in reported}
    assert done == sorted(done) and done[-1] == total and len(done) >= 8 * 2 * 8
    assert any("sentiment-1, epoch 2 of 2, dev 0." in what for _, _, what in reported)
    for score in scores:
        rows = [json.loads(line) for line in (tmp_path / score.predictions_uri).read_text().splitlines()]
        if score.metric == "accuracy":
            assert sum(row["gold"] == row["predicted"] for row in rows) / score.n == score.value
        else:
            metric = {"entity_f1": entity_f1, "token_f1": token_f1}[score.metric]
            assert metric([row["gold"] for row in rows], [row["predicted"] for row in rows]) == score.value
    assert max(score.value for score in scores if score.task == "entities") > 0.5
    names = {entry.name for entry in file_entries(output, scores)}
    assert names == {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}


def test_an_interrupted_evaluation_resumes_and_ends_with_the_same_scores(
    model: str, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = EvaluationConfig(tasks=("sentiment",), seeds=2, epochs=1, batch_size=16, max_length=16)
    whole = evaluate(model, data, config, str(tmp_path / "whole"), threads=1)
    started: list[str] = []
    run_one = evaluation.run_one

    def interrupted(run: evaluation.Run, progress: object = None) -> list[Score]:
        if len(started) == 2:
            raise KeyboardInterrupt
        started.append(run.name)
        return run_one(run)

    monkeypatch.setattr(evaluation, "run_one", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, data, config, str(tmp_path / "parts"), threads=1)
    started.clear()
    assert evaluate(model, data, config, str(tmp_path / "parts"), threads=1) == whole
    assert started == ["untrained-sentiment-0", "untrained-sentiment-1"]
    first, second = ((tmp_path / name / "scores.jsonl").read_bytes() for name in ("whole", "parts"))
    assert first == second and not (tmp_path / "parts" / "work").exists()


def test_a_second_evaluation_into_one_folder_is_kept_out(model: str, data: str, tmp_path: Path) -> None:
    with locks.locked(storage.join(str(tmp_path), locks.LOCK)), pytest.raises(StorageError, match="another run is working"):
        evaluate(model, data, CONFIG, str(tmp_path), threads=1)


def test_what_is_left_of_another_evaluation_is_not_taken(model: str, data: str, tmp_path: Path) -> None:
    def first_run(**changed: int) -> evaluation.Run:
        return evaluation._runs(model, data, EvaluationConfig(**changed), str(tmp_path), "m", 1)[0]  # type: ignore[arg-type]

    assert first_run().part == first_run(seeds=5).part
    assert len({first_run().part, first_run(epochs=7).part, first_run(train_examples=10).part}) == 3


def test_processes_give_what_one_process_gives(model: str, data: str, tmp_path: Path) -> None:
    config = EvaluationConfig(tasks=("sentiment",), seeds=1, epochs=1, batch_size=16, max_length=16, train_examples=32)
    alone = evaluate(model, data, config, str(tmp_path / "one"), threads=1)
    assert evaluate(model, data, config, str(tmp_path / "two"), threads=1, workers=2) == alone


def spawned() -> list[int]:
    """Return the worker processes of this one."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and "spawn_main" in (entry / "cmdline").read_text():
                found.append(int(entry.name))
        except OSError:  # ended meanwhile
            continue
    return found


class Killer(threading.Thread):
    """Kills worker processes, the first of them or all."""

    def __init__(self, most: int) -> None:
        super().__init__(daemon=True)
        self.most, self.killed, self.over = most, 0, threading.Event()

    def run(self) -> None:
        while self.killed < self.most and not self.over.wait(0.05):
            for pid in spawned()[:1]:
                os.kill(pid, signal.SIGKILL)
                self.killed += 1


@pytest.mark.parametrize("most", [1, 1_000_000])
def test_the_runs_of_a_killed_process_are_repeated_but_not_for_ever(
    model: str, data: str, tmp_path: Path, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflows.evaluation.grid.together.READ_SECONDS", 0.01)
    config = EvaluationConfig(tasks=("sentiment",), seeds=2, epochs=1, batch_size=16, max_length=16, train_examples=32)
    killer, told = Killer(most), []
    killer.start()
    try:
        if most == 1:
            scores = evaluate(
                model, data, config, str(tmp_path / "killed"), threads=1, workers=2, report=lambda *state: told.append(state[2])
            )
        else:
            with pytest.raises(
                TaskError, match=r"killed 3 times \(out of memory\?\); run again with fewer workers, 0 of 4 runs"
            ):
                evaluate(model, data, config, str(tmp_path / "killed"), threads=1, workers=2)
    finally:
        killer.over.set()
        killer.join()
    if most == 1:
        assert "its run is repeated" in "".join(told)
        assert "epoch 1 of 1" in "".join(told) and not [*(tmp_path / "killed").rglob("*.steps")]
        assert scores == evaluate(model, data, config, str(tmp_path / "one"), threads=1)


def test_missing_data_is_reported_before_anything_is_trained(model: str, data: str, tmp_path: Path) -> None:
    config = EvaluationConfig(tasks=("sentiment", "chnsenticorp"))
    with pytest.raises(TaskError, match=r"chnsenticorp/train.tsv"):
        evaluate(model, data, config, str(tmp_path), report=lambda *state: pytest.fail("trained"))


def test_a_model_with_the_baselines_name_is_refused(model: str, data: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="called 'untrained'"):
        evaluate(model, data, CONFIG, str(tmp_path), model_id=UNTRAINED)


def test_a_score_survives_json() -> None:
    score = Score("导出-1", "entities", "entity_f1", "dev", 2, {"epochs": 3, "learning_rate": 3e-5}, 7, 1 / 3, "predictions/a")
    assert "导出-1" in score.to_json()
    storage.write_bytes("memory://scores/scores.jsonl", (score.to_json() + "\n").encode())
    assert read_scores("memory://scores/scores.jsonl") == [score]


def test_a_summary_has_mean_and_sample_deviation_over_seeds() -> None:
    def score(model_id: str, seed: int, value: float) -> Score:
        return Score(model_id, "sentiment", "accuracy", "test", seed, {}, 9, value, "p")

    rows = summary([score("m", 0, 0.8), score("m", 1, 0.9), score(UNTRAINED, 0, 0.5), score("m", 2, 1.0)])
    assert [(row.model_id, row.seeds) for row in rows] == [("m", 3), (UNTRAINED, 1)]
    assert rows[0].mean == pytest.approx(0.9) and rows[0].deviation == pytest.approx(0.1)
    assert rows[1].deviation is None
    lines = table(rows).split("\n")
    assert lines[0].split() == ["model", "task", "metric", "split", "seeds", "best", "mean", "deviation"]
    assert [lines[2].split()[-4:], lines[3].split()[-4:]] == [["3", "1.000", "0.900", "0.100"], ["1", "0.500", "0.500", "-"]]


def test_a_run_that_diverged_is_counted_and_never_the_best() -> None:
    def score(seed: int, value: float, diverged: int = 0) -> Score:
        return Score("m", "t", "accuracy", "test", seed, {"learning_rate": 0.1}, 9, value, "p", diverged=diverged)

    scores = [score(0, 0.6), score(1, 0.9, diverged=1), score(2, 0.6, diverged=3)]
    (row,) = summary(scores)
    assert (row.seeds, row.diverged, row.best) == (3, 2, 0.6) and row.mean == pytest.approx(0.7)
    assert "3 (2 diverged)" in table([row])
    (line,) = diverged([*scores, score(3, 0.5)])
    assert line.startswith("m, t, learning rate 0.1, seeds 1, 2: diverged, the loss or a weight was no longer a number;")
    assert summary(scores[1:2])[0].best == 0.9, "there is no other"
    assert "diverged" not in scores[0].to_json() + json.dumps(summary(scores[:1])[0].to_dict()), "as before there was the field"


def test_fine_tuning_that_diverges_is_said_and_saved(model: str, data: str, tmp_path: Path) -> None:
    config = replace(CONFIG, tasks=("sentiment",), epochs=1, learning_rate=1e30, baseline=False, train_examples=32)
    told: list[str] = []
    report: Report = lambda done, total, what: told.append(what) if isinstance(what, News) else None  # noqa: E731
    scores = evaluate(model, data, config, str(tmp_path), threads=1, report=report)
    assert [score.diverged for score in scores] == [1] * 4 and read_scores(str(tmp_path / "scores.jsonl")) == scores
    assert [line.partition(": ")[0] for line in told] == [
        f"export-1, sentiment, learning rate 1e+30, seed {seed}" for seed in (0, 1)
    ]
    assert {row["diverged"] for row in json.loads((tmp_path / "summary.json").read_text())["scores"]} == {2}


def test_predictions_name_their_examples_and_scores_the_data(model: str, data: str, tmp_path: Path) -> None:
    config = replace(CONFIG, seeds=1, epochs=1, tasks=("sentiment",), baseline=False)
    (_, whole) = evaluate(model, data, config, str(tmp_path / "a"))
    (_, part) = evaluate(model, data, replace(config, test_examples=20), str(tmp_path / "b"))
    rows, fewer = (
        [json.loads(line) for line in (tmp_path / folder / score.predictions_uri).read_text().splitlines()]
        for folder, score in (("a", whole), ("b", part))
    )
    gold = {row["example"]: row["gold"] for row in rows}
    assert len(gold) > 25 and [gold[row["example"]] for row in fewer] == [row["gold"] for row in fewer]
    assert whole.weights == storage.sha256(f"{model}/model.safetensors")
    assert whole.data["train"] == part.data["train"] and whole.data["test"] != part.data["test"]
    assert read_scores(str(tmp_path / "a/scores.jsonl"))[1] == whole


def test_the_start_of_a_text_is_the_same_wherever_it_stands() -> None:
    long = "这家酒店的房间很干净服务也好下次还来" * 5
    assert Example((long,), ("1",)).starts == [start_digest(long[:START_CHARACTERS])]
    # The passage of a question is a text of its own, the question is too short to be searched for.
    assert start_digest(long) in Example((long, "谁来？"), ("酒店",)).starts
    assert Example(tuple(long), ("O",) * len(long)).starts == [start_digest(long)]
    assert START_CHARACTERS == PREVIEW_CHARACTERS


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="did you mean sentiment"):
        EvaluationConfig(tasks=("sentimant",))
    with pytest.raises(ValueError, match="seeds 0"):
        EvaluationConfig(seeds=0)


@pytest.mark.parametrize("content", ["", "null", "[]", '{"runs": {'])
def test_a_damaged_summary_of_earlier_runs_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "summary.json").write_text(content)
    with pytest.raises(DamagedError, match=r"summary\.json: damaged; delete it and score the model again"):
        _scored_before(str(tmp_path), [])
