"""Texts of evaluation files are those that tasks have, in every layout: their n-grams, and the starts that name them."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.cleaning import cleaning
from pipeline.config import DecontaminationConfig
from pipeline.dedup.evaluation_texts import evaluation
from pipeline.errors import TaskError
from pipeline.sources.formats.evaluation import Text, answer_files, strings
from tests.made_documents import REAL, needs_real_data
from tests.test_decontamination import compare, rows_of
from tests.test_task_formats import json_lines, written
from workflows.evaluation import tasks
from workflows.evaluation.config import EvaluationConfig
from workflows.evaluation.examples import MIN_START, start_digest
from workflows.evaluation.formats.reading import read
from workflows.evaluation.task import Task

TEXT = "今年的海钓比赛地点在厦门与金门之间的海域，共有两百人参加。"
OTHER = "参加比赛的选手来自福建广东浙江三个省份的二十多个城市。"
TAGS = [*"OOOOOOOOOO", "B-LOC", "I-LOC", "O", "B-LOC", "I-LOC", *"OOOOOOOOOOOOOO"]
SCHEMA = {"span1_text": "海钓", "span1_index": 3, "span2_text": "共", "span2_index": 21}
PASSAGE = f"{TEXT}其中有人#idiom000001#，一路领先。{OTHER}也有人#idiom000002#，最后放弃。{TEXT}"
IDIOMS = ["随波逐流", "一马当先"]
BEGINS = repr(TEXT[:12])
FIRST_RELEASE = {
    "content": PASSAGE.replace("#idiom000001#", "#idiom#").replace("#idiom000002#", "#idiom#"),
    "realCount": 2,
    "groundTruth": [IDIOMS[1], IDIOMS[0]],
    "candidates": [["一马当先", "百尺竿头"], ["有的放矢", "通力合作", "随波逐流"]],
}
OWN: dict[str, Task] = {
    "chid_first": Task(kind="choice", files="chid_first/{split}_data.txt", format="chid"),
    "own_conll": Task(kind="tagging", files="own_conll/{split}.txt", text=2, label=4),
    "own_spaced": Task(kind="tagging", files="own_spaced/{split}.json", text="characters", label="tags"),
    "own_lists": Task(kind="tagging", files="own_lists/{split}.json", text="tokens", label="tags"),
    "own_passages": Task(kind="classification", files="own_passages/{split}.json", text="sentences", label="label"),
    "own_reading": Task(kind="reading", files="own_reading/{split}.csv", text="p", second="q", label="a"),
}
SHORT = ["比赛在厦门举行。", "共有两百人参加。", "选手来自福建。"]


def conll(row: str, *, first: str = "") -> str:
    lines = (row.format(n=n, c=c, tag=tag) for n, (c, tag) in enumerate(zip(TEXT, TAGS, strict=True)))
    return first + "\n".join(lines) + "\n\n"


def question(passage: str) -> str:
    qas = [{"id": "1", "question": "比赛在哪里？", "answers": [{"text": "厦门", "answer_start": 10}]}]
    return json.dumps({"data": [{"paragraphs": [{"context": passage, "qas": qas}]}]}, ensure_ascii=False)


def pair(between: str) -> str:
    return between.join((TEXT, OTHER, "1")) + "\n" + between.join((OTHER, TEXT, "0")) + "\n"


LAYOUTS: dict[str, dict[str, str]] = {
    "weibo_ner": {"weiboNER_2nd_conll.dev": conll("{c}{n}\t{tag}")},
    "peoples_daily_ner": {"example.dev": conll("{c} {tag}")},
    "msra_ner": {"test.tsv": "text_a\tlabel\n" + "\x02".join(TEXT) + "\t" + "\x02".join(TAGS) + "\n"},
    "cluener": {"dev.json": json_lines({"text": TEXT, "label": {"LOC": {"厦门": [[10, 11]]}}})},
    "c3": {
        "d-dev.json": json.dumps(
            [[SHORT, [{"question": "在哪里？", "choice": ["厦门", "福州"], "answer": "厦门"}], "1"]], ensure_ascii=False
        )
    },
    "chid": {
        "dev.json": json_lines({"content": [PASSAGE], "candidates": IDIOMS}),
        "dev_answer.json": json.dumps({"#idiom000001#": 1, "#idiom000002#": 0}),
    },
    "chid_first": {"dev_data.txt": json_lines(FIRST_RELEASE)},
    "cmrc2018": {"cmrc2018_dev.json": question(TEXT)},
    "drcd": {"DRCD_dev.json": question(TEXT)},
    "cluewsc": {"dev.json": json_lines({"target": SCHEMA, "label": "true", "text": TEXT})},
    "csl": {"dev.json": json_lines({"abst": TEXT, "keyword": [*SHORT, "FFT"], "label": "1"})},
    "afqmc": {"dev.json": json_lines({"sentence1": TEXT, "sentence2": OTHER, "label": "1"})},
    "ocnli": {"dev.json": json_lines({"sentence1": TEXT, "sentence2": OTHER, "label": "neutral"})},
    "stsb": {"cnsd-sts-dev.txt": f"2012test-0001||{TEXT}||{OTHER}||5\n"},
    "lcqmc": {"dev.txt": pair("\t")},
    "bq": {"dev.csv": "sentence1,sentence2,label\n" + pair(",").replace("，", "、")},
    "chnsenticorp": {"dev.tsv": f"label\ttext_a\n1\t{TEXT}\n0\t{OTHER}\n"},
    "thucnews": {"dev.txt": f"{TEXT}\t8\n{OTHER}\t5\n"},
    "tnews": {"dev.json": json_lines({"label": "102", "sentence": TEXT, "keywords": ""})},
    "nlpcc_dbqa": {"dev.tsv": f"qid\ttext_a\ttext_b\tlabel\n1\t{TEXT}\t{OTHER}\t1\n"},
    "xnli": {"xnli.dev.tsv": f"language\tgold_label\tsentence1\tsentence2\nzh\tneutral\t{TEXT}\t{OTHER}\n"},
    "own_conll": {"dev.txt": conll("{n}\t{c}\tNN\t{tag}")},
    "own_spaced": {"dev.json": json_lines({"characters": " ".join(TEXT), "tags": " ".join(TAGS)})},
    "own_lists": {"dev.json": json_lines({"tokens": ["今年的", *TEXT[3:]], "tags": ["O", *TAGS[3:]]})},
    "own_passages": {"dev.json": json_lines({"sentences": SHORT, "label": "1"})},
    "own_reading": {"dev.csv": f'p,q,a\n"{TEXT}",在哪里？,厦门\n'},
}


def letters(text: str) -> str:
    return cleaning.folded(text)


def texts_of(files: list[str]) -> list[Text]:
    answers = answer_files(files)
    return [one for file in files if file not in answers.values() for one in strings(file, answers.get(file))]


@pytest.mark.parametrize("name", LAYOUTS)
def test_texts_are_found_and_known_in_the_layout_of(name: str, tmp_path: Path) -> None:
    written(tmp_path, {f"{name}/{file}": content for file, content in LAYOUTS[name].items()})
    files = [str(tmp_path / name / file) for file in LAYOUTS[name]]
    task = tasks.find(name, OWN)
    found = texts_of(files)
    starts = {start_digest(one.shown) for one in found}
    searched = {letters(one.searched) for one in found}
    examples = [*read(task, files[0])]
    assert examples
    for example in examples:
        whole = [example.text] if task.kind == "tagging" else [one for one in example.items if len(one) >= MIN_START]
        assert whole and {start_digest(one) for one in whole} <= starts & {*example.starts}
        if not name.startswith("chid"):
            assert {letters(one) for one in whole} <= searched


@pytest.mark.parametrize("name", ["chid", "chid_first"])
def test_what_is_around_a_blank_is_searched_for_with_its_answer(name: str, tmp_path: Path) -> None:
    filled = PASSAGE.replace("#idiom000001#", IDIOMS[1]).replace("#idiom000002#", IDIOMS[0])
    written(tmp_path, LAYOUTS[name])
    first, second = texts_of([str(tmp_path / file) for file in LAYOUTS[name]])
    assert first.searched.replace("…", "") in filled and second.searched.replace("…", "") in filled
    assert IDIOMS[1] in first.searched and IDIOMS[0] in second.searched
    assert "____" in first.shown and "……" in first.shown and "……" in second.shown


@pytest.mark.parametrize(("name", "left_out"), [("chid", "candidates"), ("chid_first", "groundTruth")])
def test_without_answers_what_is_around_a_blank_is_found_all_the_same(name: str, left_out: str, tmp_path: Path) -> None:
    filled = PASSAGE.replace("#idiom000001#", IDIOMS[1]).replace("#idiom000002#", IDIOMS[0])
    (file, content), *_ = LAYOUTS[name].items()
    record = json.loads(content)
    del record[left_out]
    written(tmp_path, {file: json_lines(record)})
    rows = rows_of(compare(tmp_path / "out", [filled], tmp_path / file))
    assert len(rows) == 1 and rows[0]["share"] >= DecontaminationConfig().min_ngram_ratio


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("chid", {"dev_answer.json": '{"#idiom000001#": 1'}, "dev_answer.json: no number for each blank, as JSON or in two "),
        ("chid", {"dev_answer.json": "#idiom000001#,1,2"}, "dev_answer.json: no number for each blank, as JSON or in two "),
        ("chid", {"dev_answer.json": ""}, "dev_answer.json: no answers in it; fetch it again"),
        ("chid", {"dev_answer.json": '{"#idiom000001#": "甲"}'}, "dev_answer.json: expected the number of a candidate for "),
        ("chid", {"dev_answer.json": '{"#idiom000001#": 1}'}, "#idiom000002#: no answer in the file of answers"),
        ("chid", {"dev_answer.json": "#idiom000001#,2\n"}, "#idiom000001#: the answer 2 is none of the 2 candidates, counted"),
        ("chid_first", {"groundTruth": IDIOMS[:1]}, f"{BEGINS}: expected as many answers as blanks, got 1 for 2"),
        ("chid_first", {"candidates": [IDIOMS]}, f"{BEGINS}: expected as many lists of candidates as blanks"),
        ("chid_first", {"groundTruth": IDIOMS}, f"blank 1 of {BEGINS}: the answer '随波逐流' is none of the 2"),
    ],
)
def test_answers_that_do_not_fit_are_the_same_line_for_both_who_read_them(
    name: str, changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    task = tasks.find(name, OWN)
    files = {**LAYOUTS["chid"], **changed} if name == "chid" else {"dev_data.txt": json_lines({**FIRST_RELEASE, **changed})}
    written(tmp_path, files)
    file = next(str(tmp_path / one) for one in files)
    with pytest.raises(TaskError) as scored:
        [*read(task, file)]
    with pytest.raises(TaskError) as searched:
        texts_of([str(tmp_path / one) for one in files])
    assert message in str(scored.value) and message in str(searched.value)
    assert str(scored.value).replace(", line 1", "") == str(searched.value)


def test_a_file_of_answers_is_no_text_and_no_mistake(tmp_path: Path) -> None:
    files = {f"chid/{name}": content for name, content in LAYOUTS["chid"].items()}
    training = {"chid/train.json": files["chid/dev.json"], "chid/train_answer.json": files["chid/dev_answer.json"]}
    url = written(tmp_path, {**files, **training})
    config = EvaluationConfig(tasks=("chid",), data=url)
    leaks = DecontaminationConfig(inputs=config.scored_files())
    assert f"{url}/chid/dev_answer.json" in leaks.inputs
    assert evaluation(leaks, str(tmp_path / "out")).manifest["counts"]["texts"] >= 2
    (tmp_path / "chid/dev_answer.json").write_text("1,2,3")
    with pytest.raises(TaskError, match=r"dev_answer.json: no number for each blank, .*; fetch it again$"):
        evaluation(leaks, str(tmp_path / "again"))


@pytest.mark.parametrize(
    ("content", "sentences"),
    [
        ("海 O\n\u3000 O\n  O\n钓 O\n", ["海\u3000 钓"]),  # white space has tags, too
        ("3\tO\n5\tO\n海\tO\n", ["35海"]),  # digits are no positions
        ("厦门 NR B-LOC\n大学 NN I-LOC\n\n在 P O\n", ["厦门大学", "在"]),
        ("1 厦门 B-LOC\n2 大学 I-LOC\n", ["厦门大学"]),
        ("今天 天气\n很 好\n", ["今天 天气", "很 好"]),  # prose with a space
    ],
)
def test_tagged_items_in_any_columns(content: str, sentences: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(content)
    assert [one.searched for one in strings(str(tmp_path / "a.txt"))] == sentences


@needs_real_data
@pytest.mark.parametrize("name", ["chnsenticorp", "cmrc2018", "lcqmc", "ocnli", "peoples_daily_ner", "xnli"])
def test_texts_of_real_tasks_are_known(name: str) -> None:
    located: Any = tasks.locate(tasks.find(name), str(REAL / "tasks"))
    file = located[max(located.keys() - {"train"})][0]
    starts = {start_digest(one.shown) for one in strings(file)}
    examples = [*read(tasks.find(name), file)]
    long = [one for one in examples if len(one.text if name.endswith("ner") else one.items[0]) >= MIN_START]
    assert len(long) > 100 and all(starts & {*one.starts} for one in long)
