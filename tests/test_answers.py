"""Reading: files, places of answers, windows, and the two metrics of CMRC's own script."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.config import EncoderConfig
from model.exporting.export import export_model
from model.finetuning import reading as windows
from model.finetuning.reading import Question, Read
from model.finetuning.windows import Frame
from model.heads import PretrainingModel
from pipeline import storage
from pipeline.errors import TaskError
from pipeline.tokenization.vocab import SPECIALS, Vocab
from pipeline.tokenization.wordpiece import WordPieceEncoder
from workflows.evaluation import tasks
from workflows.evaluation.config import EvaluationConfig
from workflows.evaluation.examples import Example
from workflows.evaluation.formats.reading import read_labelled
from workflows.evaluation.formats.rows import place
from workflows.evaluation.kinds import KINDS
from workflows.evaluation.kinds.reading import Guess
from workflows.evaluation.metrics import answer_f1, exact_match
from workflows.evaluation.run import evaluate

CMRC = Path(__file__).parents[2] / "shared/data/tasks/cmrc2018"
CLS, SEP = 1, 2
FRAME = Frame(CLS, SEP, max_length=20)


def written(folder: Path, content: Any) -> str:
    path = folder / "questions.json"
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return str(path)


def read_questions(url: str) -> list[Example]:
    return read_labelled(tasks.find("cmrc2018"), [url])[0]


def squad(passage: str, *questions: dict[str, Any]) -> dict[str, Any]:
    return {"version": "v1.0", "data": [{"paragraphs": [{"id": "P", "context": passage, "qas": list(questions)}]}]}


@pytest.mark.parametrize(
    ("gold", "predicted", "exact", "f1"),
    [
        (["1963年"], "1963年", 1, 1),
        (["1963年"], "1963", 0, 2 / 3),  # 1963 | 年
        (["《战国无双3》"], "战国无双3", 1, 1),  # full-width marks do not count
        (["Kris Wu"], "kris wu ", 1, 1),  # nor does case, nor spaces at the ends
        (["Kris Wu"], "kris  wu", 0, 1),  # spaces within do, but are no unit
        (["ω-force"], "ωforce", 1, 1),  # a hyphen is left out, and does not separate words
        (["3.5公斤"], "3,5公斤", 0, 2 * 2 / 6),  # ASCII marks count: 3,5 and 3.5 are different words
        (["光荣和ω-force开发"], "光荣公司", 0, 2 * 2 / (6 + 4)),
        (["北京大学校长"], "北京的校长", 0, 2 * 2 / (6 + 5)),  # the longest run in common, not all characters in common
        (["上海", "上海市"], "上海市", 1, 1),  # the best of several
        (["上海", "沪"], "北京", 0, 0),
        (["……真的"], "真的", 0, 2 * 2 / (2 + 3)),  # `……` is no mark of the list: ...... is one word
        (["不知道"], "", 0, 0),
    ],
)
def test_answers_score_as_the_script_of_cmrc_has_it(gold: list[str], predicted: str, exact: float, f1: float) -> None:
    assert exact_match([gold], [predicted]) == exact
    assert answer_f1([gold], [predicted]) == pytest.approx(f1)


def test_gold_answers_fed_back_score_one() -> None:
    if not CMRC.exists():
        pytest.skip("needs the questions of CMRC 2018")
    examples = read_questions(str(CMRC / "cmrc2018_dev.json.gz"))
    assert (len(examples), {len(one.labels) for one in examples}) == (3_219, {3})
    scores = KINDS["reading"].scores(examples, [(Guess(one.labels[0], 0.0),) for one in examples])
    assert scores == {"exact_match": 1.0, "f1": 1.0}
    assert sum(one.start is None for one in examples) == 0


def test_spans_of_gold_answers_come_back_as_their_text() -> None:
    """Through tokens, windows and offsets: an answer that was found is the characters of the passage."""
    if not CMRC.exists():
        pytest.skip("needs the questions of CMRC 2018")
    examples = read_questions(str(CMRC / "cmrc2018_trial.json.gz"))[:300]
    characters = sorted({character for one in examples for character in one.items[0]})
    encoder = WordPieceEncoder(Vocab((*SPECIALS, *(c for c in characters if "\u4e00" <= c <= "\u9fa5"))), do_lower_case=True)
    kind = KINDS["reading"]
    texts = kind.encode([examples, [], []], (), encoder).train
    spans = [(windows.Span(text.answer[0], text.answer[1], 0.0),) for text in texts]
    answers = kind.answers(examples, texts, spans, ())
    assert kind.scores(examples, answers)["f1"] > 0.995
    assert sum(answer[0].text == one.labels[0] for answer, one in zip(answers, examples, strict=True)) > 290


@pytest.mark.parametrize(("said", "found"), [(0, 2), (2, 2), (3, 2), (6, 7), (7, 7), (99, 7)])
def test_an_answer_is_where_the_file_says_or_nearest_to_it(said: int, found: int) -> None:
    assert place("他在北京，不在北京。", "北京", said) == found


def test_an_answer_that_is_not_in_its_passage_is_not_learned(tmp_path: Path) -> None:
    question = {"id": "Q", "question": "谁？", "answers": [{"text": "李四", "answer_start": 0}]}
    (example,) = read_questions(written(tmp_path, squad("张三来了。", question)))
    assert example.start is None
    encoder = WordPieceEncoder(Vocab((*SPECIALS, *"张三来了谁")), do_lower_case=True)
    texts = KINDS["reading"].encode([[example]] * 3, (), encoder)
    assert Read().to_learn(texts.train, FRAME) == [] and len(Read().windows(texts.dev, FRAME)) == 1


def test_cmrc_as_it_was_first_published_is_read(tmp_path: Path) -> None:
    qas = [{"query_id": "D_0", "query_text": "哪年？", "answers": ["1963年", 39764.0, "1963年"]}]
    url = written(tmp_path, [{"context_id": "D", "context_text": "他1963年被任为主教。", "title": "他", "qas": qas}])
    assert read_questions(url) == [Example(("他1963年被任为主教。", "哪年？"), ("1963年", "39764.0", "1963年"), "D_0", 1)]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"data": []}, "no examples in it"),
        ({"texts": []}, "not a file of questions"),
        ([1, 2], "not a file of questions"),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, "passage 1: expected 'context' and 'qas'"),
        (
            squad("甲乙", {"id": "Q7", "question": "谁？", "answers": []}),
            "passage 1, question Q7: a question without an answer",
        ),
        (squad("甲乙", {"id": "Q7", "question": "谁？", "answers": [{"text": " "}]}), "Q7: an empty answer"),
        (squad("甲乙", {"id": "Q7", "answers": [{"text": "甲"}]}), "Q7: expected a question and its answers"),
        (squad("甲乙", "谁？"), "question \\?: expected a question"),  # type: ignore[arg-type]
    ],
)
def test_a_file_that_is_no_file_of_questions_is_named(tmp_path: Path, content: Any, problem: str) -> None:
    with pytest.raises(TaskError, match=problem) as refused:
        read_questions(written(tmp_path, content))
    assert "questions.json" in str(refused.value) and "\n" not in str(refused.value)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "questions.json").write_text('{"data": [{"paragraphs"', encoding="utf-8")
    with pytest.raises(TaskError, match=r"questions\.json: not JSON"):
        read_questions(str(tmp_path / "questions.json"))


def question(length: int, answer: tuple[int, int] | None = None, tokens: int = 4) -> Question:
    offsets = np.stack((np.arange(length), np.arange(length) + 1), axis=1).astype(np.int32)
    return Question(np.arange(100, 100 + tokens), np.arange(200, 200 + length), offsets, answer)


@pytest.mark.parametrize("length", [1, 12, 13, 14, 30, 57])
def test_windows_cover_a_passage_and_each_token_may_begin_an_answer_once(length: int) -> None:
    cut = Read().windows([question(length)], FRAME)
    begins = np.concatenate([np.arange(w.passage[1] - w.passage[0])[w.owned] + w.begin for w in cut])
    assert sorted(begins.tolist()) == list(range(length))
    for window in cut:
        first, end = window.passage
        assert len(window.ids) <= FRAME.max_length and window.ids[[0, 5, -1]].tolist() == [CLS, SEP, SEP]
        assert window.ids[first:end].tolist() == list(range(200 + window.begin, 200 + window.begin + end - first))
        assert window.segments.tolist() == [0] * first + [1] * (len(window.ids) - first)
        assert np.flatnonzero(window.candidates).tolist() == [0, *range(first, end)]
    inner = [token for token in begins.tolist() if 3 <= token < length - 3]
    context = {
        int(t): min(t - w.begin, w.begin + w.passage[1] - w.passage[0] - 1 - t)
        for w in cut
        for t in np.arange(w.passage[1] - w.passage[0])[w.owned] + w.begin
    }
    assert all(context[token] >= 2 for token in inner)


def test_an_answer_is_learned_in_windows_that_have_it_whole_and_is_cls_in_the_others() -> None:
    cut = Read().windows([question(30, (11, 14))], FRAME)
    for window in cut:
        first, last = window.answer
        if window.begin <= 11 and window.begin + window.passage[1] - window.passage[0] > 14:
            assert window.ids[[first, last]].tolist() == [211, 214]
        else:
            assert window.answer == (0, 0)
    assert 0 < sum(window.answer != (0, 0) for window in cut) < len(cut)


def test_the_best_span_of_all_windows_wins_whatever_its_length() -> None:
    texts = [question(57)]
    cut = Read().windows(texts, FRAME)
    batches = []
    for window in cut:
        scores = torch.zeros(1, len(window.ids), 2)
        first, end = window.passage
        scores[0, first - 3] = 50  # the question has no chance
        if window.begin <= 21 < window.begin + end - first and window.owned[21 - window.begin]:
            scores[0, 21 - window.begin + first, 0] = 9
            scores[0, end - 1, 1] = 8  # an answer to the end of its window
            longest = window.begin + end - first - 1
        batches.append(([window], scores))
    for order in (batches, batches[::-1]):
        (spans,) = Read().predictions(texts, order)
        assert (spans[0].first, spans[0].last) == (21, longest)
        assert [span.score for span in spans] == sorted((span.score for span in spans), reverse=True)
        assert all(span.first <= span.last for span in spans)


def test_a_question_of_no_token_and_a_passage_of_none_are_read() -> None:
    texts = [question(5, tokens=0), question(0)]
    cut = Read().windows(texts, FRAME)
    found = Read().predictions(texts, [([window], torch.zeros(1, len(window.ids), 2)) for window in cut])
    assert len(found[0]) > 0 and found[1] == ()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("model") / "export-1")
    torch.manual_seed(3)
    vocab = Vocab((*SPECIALS, *"甲乙丙丁戊己庚辛在哪谁来了北京上海"))
    config = EncoderConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_relative_position=8
    )
    network = PretrainingModel(config, len(vocab))
    export_model(network, vocab.tokens, True, lambda name, data: storage.write_bytes(storage.join(folder, name), data), {})
    return folder


def questions(count: int, seed: int) -> dict[str, Any]:
    """The answer is 北京 or 上海 among other characters, in passages longer than a window."""
    rng = random.Random(seed)
    paragraphs = []
    for number in range(count):
        text = "".join(rng.choices("甲乙丙丁戊己庚辛", k=30))
        at, answer = rng.randrange(28), rng.choice(["北京", "上海"])
        passage = text[:at] + answer + text[at:]
        qas = [{"id": f"Q{number}", "question": "在哪", "answers": [{"text": answer, "answer_start": rng.choice([at, 0])}]}]
        paragraphs.append({"context": passage, "qas": qas})
    return {"data": [{"paragraphs": paragraphs}]}


def test_answers_are_learned_and_scored_and_the_other_guesses_kept(model: str, tmp_path: Path) -> None:
    folder = tmp_path / "data/cmrc2018"
    folder.mkdir(parents=True)
    for split, count in (("train", 300), ("dev", 40)):
        with gzip.open(folder / f"cmrc2018_{split}.json.gz", "wb") as file:
            file.write(json.dumps(questions(count, count), ensure_ascii=False).encode())
    config = EvaluationConfig(
        tasks=("cmrc2018",), seeds=1, epochs=3, batch_size=16, learning_rate=5e-3, max_length=24, baseline=False
    )
    scores = evaluate(model, str(tmp_path / "data"), config, str(tmp_path / "out"), threads=1)
    assert [(score.split, score.metric) for score in scores] == [
        (split, metric) for split in ("dev", "test") for metric in ("exact_match", "f1")
    ]
    exact, f1 = scores[2:]
    assert exact.value > 0.9 and f1.value >= exact.value and exact.n == 40
    assert exact.hyperparameters["splits"] == "test: cmrc2018_dev.json.gz; dev: 10% of cmrc2018_train.json.gz"
    rows = [json.loads(line) for line in (tmp_path / "out" / exact.predictions_uri).read_text().splitlines()]
    assert exact_match([row["gold"] for row in rows], [row["predicted"] for row in rows]) == exact.value
    assert all(row["best"][0]["text"] == row["predicted"] and len(row["best"]) > 1 for row in rows)
    assert rows[0]["id"] == "Q0"


def test_questions_of_one_passage_are_on_the_same_side(tmp_path: Path) -> None:
    (tmp_path / "cmrc2018").mkdir()
    paragraphs = []
    for number in range(80):
        passage = f"第{number}个人在北京。"
        qas = [
            {"id": f"{number}-{n}", "question": f"在哪{n}", "answers": [{"text": "北京", "answer_start": 0}]} for n in range(3)
        ]
        paragraphs.append({"context": passage, "qas": qas})
    for split in ("train", "dev"):
        path = tmp_path / f"cmrc2018/cmrc2018_{split}.json"
        path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}, ensure_ascii=False), encoding="utf-8")
    data = tasks.load(tasks.find("cmrc2018"), str(tmp_path))
    assert not {one.items[0] for one in data.train} & {one.items[0] for one in data.dev}
    assert len(data.train) + len(data.dev) == 240 == len(data.test)
