"""Files of tasks in their original layouts: made files of each, and the real ones that are here."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import TaskError
from workflows.evaluation import tasks
from workflows.evaluation.config import EvaluationConfig
from workflows.evaluation.examples import Example
from workflows.evaluation.formats.tags import to_bio
from workflows.evaluation.task import Task

REAL = Path(__file__).parents[2] / "shared" / "data" / "tasks"


def written(folder: Path, files: Mapping[str, str]) -> str:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    return str(folder)


def json_lines(*rows: Mapping[str, Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def repeated(row: Mapping[str, Any], field: str, label: str, values: tuple[Any, ...], count: int = 60) -> str:
    """`count` rows that differ in a text, with labels in turn."""
    rows = ({**row, field: f"{number}{row[field]}", label: values[number % len(values)]} for number in range(count))
    return json_lines(*rows)


AFQMC = {"sentence1": "双十一花呗提额在哪", "sentence2": "里可以提花呗额度", "label": "0"}
TNEWS = {"label": "102", "label_des": "news_entertainment", "sentence": "江疏影甜甜圈自拍", "keywords": ""}
IFLYTEK = {"label": "110", "label_des": "社区超市", "sentence": "朴朴快送超市创立于2016年"}
CSL = {"id": 1, "abst": "为解决传统均匀FFT波束形成算法的问题", "keyword": ["水声学", "FFT"], "label": "1"}
WSC = {
    "target": {"span2_index": 28, "span1_index": 5, "span1_text": "床", "span2_text": "它"},
    "idx": 261,
    "label": "false",
    "text": "这时候放在床上枕头旁边的手机响了，我感到奇怪，现在是半夜它突然响了。",
}
CMNLI = {"sentence1": "新的权利已经足够好了", "sentence2": "每个人都很喜欢最新的福利", "label": "neutral"}
NLI = ("entailment", "neutral", "contradiction")

CLUE: dict[str, tuple[dict[str, Any], str, tuple[str, ...], Example]] = {
    "afqmc": (AFQMC, "sentence1", ("0", "1"), Example(("0双十一花呗提额在哪", "里可以提花呗额度"), ("0",))),
    "tnews": (TNEWS, "sentence", ("100", "102"), Example(("0江疏影甜甜圈自拍",), ("100",))),
    "iflytek": (IFLYTEK, "sentence", ("0", "118"), Example(("0朴朴快送超市创立于2016年",), ("0",))),
    "csl": (CSL, "abst", ("0", "1"), Example(("0为解决传统均匀FFT波束形成算法的问题", "水声学 FFT"), ("0",))),
    "cmnli": (CMNLI, "sentence1", NLI, Example(("0新的权利已经足够好了", "每个人都很喜欢最新的福利"), ("entailment",))),
}


@pytest.mark.parametrize("name", CLUE)
def test_tasks_of_clue_score_dev_where_test_has_no_labels(name: str, tmp_path: Path) -> None:
    row, field, labels, first = CLUE[name]
    unlabelled = json_lines(*({key: value for key, value in row.items() if key != "label"} for _ in range(3)))
    dev = repeated(row, field, "label", labels, 9)
    files = {"train.json.gz": repeated(row, field, "label", labels, 90), "dev.json": dev, "test.json": unlabelled}
    url = written(tmp_path, {f"{name}/{file}": content for file, content in files.items()})
    data = tasks.load(tasks.find(name), url)
    assert data.test[0] == first and len(data.test) == 9 and data.labels == tuple(sorted(labels))
    assert data.note == "test: dev.json; dev: 10% of train.json.gz" and len(data.train) + len(data.dev) == 90
    # Only what is scored is looked for in documents.
    scored = EvaluationConfig(tasks=(name,), data=url).scored_files()
    assert sorted(one.removeprefix(f"{url}/{name}/") for one in scored) == ["dev.json", "train.json.gz"]
    written(tmp_path, {f"{name}/test.json": dev})
    assert tasks.load(tasks.find(name), url).note == ""


def test_the_noun_and_the_pronoun_of_a_schema_are_marked(tmp_path: Path) -> None:
    other = {**WSC, "label": "true"}
    wrong = {**WSC, "target": {**WSC["target"], "span1_index": 6}}  # type: ignore[dict-item]
    files = {
        "cluewsc/train.json": json_lines(WSC, other),
        "cluewsc/dev.json": json_lines(other),
        "cluewsc/test.json": json_lines(WSC),
    }
    data = tasks.load(tasks.find("cluewsc"), written(tmp_path, files))
    text = "这时候放在_床_上枕头旁边的手机响了，我感到奇怪，现在是半夜[它]突然响了。"
    assert data.train == (Example((text,), ("false",)), Example((text,), ("true",)))
    with pytest.raises(TaskError, match=r"train.json, line 2: '床' is not at 6 of its text"):
        tasks.load(tasks.find("cluewsc"), written(tmp_path, {"cluewsc/train.json": json_lines(WSC, wrong)}))


PAIRS = (("飞行员没钱买房怎么办", "父母没钱买房子", "0"), ("微信怎样加好友", "怎样加微信好友", "1"))
AS_TABLES = {
    "bq/{}.csv": "\ufeffsentence1,sentence2,label\n" + "".join(",".join(one) + "\n" for one in PAIRS),
    "bq/{}.tsv": "".join("\t".join(one) + "\n" for one in PAIRS),
    "lcqmc/{}.txt": "".join("\t".join(one) + "\n" for one in PAIRS),
    "lcqmc/{}.tsv": "text_a\ttext_b\tlabel\n" + "".join("\t".join(one) + "\n" for one in PAIRS),
    "atec/{}.csv": "\ufeff" + "".join(f"{n}\t" + "\t".join(one) + "\n" for n, one in enumerate(PAIRS, start=1)),
}


@pytest.mark.parametrize("path", AS_TABLES)
def test_pairs_are_read_with_a_header_and_without(path: str, tmp_path: Path) -> None:
    url = written(tmp_path, {path.format(split): AS_TABLES[path] for split in tasks.SPLITS})
    data = tasks.load(tasks.find(path.split("/")[0]), url)
    assert data.train == data.dev == data.test == tuple(Example((a, b), (label,)) for a, b, label in PAIRS)
    assert data.labels == ("0", "1") and data.note == ""


def test_of_one_file_both_dev_and_test_are_set_aside(tmp_path: Path) -> None:
    rows = "".join(f"{n}\t第{n}个问题\t另一个\t{n % 2}\n" for n in range(300))
    url = written(tmp_path, {"atec/atec_nlp_sim_train.csv": rows, "atec/atec_nlp_sim_train_add.csv": rows.replace("第", "再")})
    data = tasks.load(tasks.find("atec"), url)
    parts = [{example.items[0] for example in part} for part in (data.train, data.dev, data.test)]
    assert sum(map(len, parts)) == 600 == len(set().union(*parts)) and min(map(len, parts)) > 30
    of = "10% of atec_nlp_sim_train.csv, atec_nlp_sim_train_add.csv"
    assert data.note == f"dev: {of}; test: {of}"


def test_the_original_files_of_xnli_have_other_languages_and_another_spelling(tmp_path: Path) -> None:
    train = "premise\thypo\tlabel\n他睡了。\t他没睡。\tcontradictory\n他睡了。\t他累。\tneutral\n他\t人\tentailment\n"
    header = "language\tgold_label\tsentence1_binary_parse\tsentence1\tsentence2\tmatch"
    rows = [f"{language}\tcontradiction\t\t{text}\t他没睡。\tTrue" for language, text in (("ar", "x"), ("zh", "他睡了。"))]
    other = "\n".join([header, *rows])
    files = {"multinli.train.zh.tsv.gz": train, "xnli.dev.tsv": other, "xnli.test.tsv": other}
    data = tasks.load(tasks.find("xnli"), written(tmp_path, {f"xnli/{name}": content for name, content in files.items()}))
    assert data.test == data.dev == data.train[:1] == (Example(("他睡了。", "他没睡。"), ("contradiction",)),)


def test_numbers_of_pairs_are_read_from_fields_with_two_bars_between(tmp_path: Path) -> None:
    line = "2012test-0001||一架飞机要起飞了。||一架飞机正在起飞。||{}\n"
    files = {f"stsb/cnsd-sts-{split}.txt": line.format(5) for split in tasks.SPLITS}
    data = tasks.load(tasks.find("stsb"), written(tmp_path, files))
    assert data.train == (Example(("一架飞机要起飞了。", "一架飞机正在起飞。"), ("5",)),) and data.labels == ()
    with pytest.raises(TaskError, match=r"cnsd-sts-dev.txt, line 1: '很像' is not a number"):
        tasks.load(tasks.find("stsb"), written(tmp_path, {"stsb/cnsd-sts-dev.txt": line.format("很像")}))


MSRA_TABLE = "text_a\tlabel\n" + "\x02".join("海钓厦门") + "\t" + "\x02".join(["O", "O", "B-LOC", "I-LOC"]) + "\n"
TAGGED = {
    "msra_ner/msra_{}_bio.txt": "海\tO\n钓\tO\n厦\tB-LOC\n门\tI-LOC\n\n",
    "msra_ner/{}.tsv": MSRA_TABLE,
    "weibo_ner/weiboNER_2nd_conll.{}": "海0\tO\n钓1\tO\n厦0\tB-LOC\n门1\tI-LOC\n\n",
    "cluener/{}.json": json_lines({"text": "海钓厦门", "label": {"LOC": {"厦门": [[2, 3]]}}}),
    "peoples_daily_ner/example.{}": "海 O\n钓 O\n厦 B-LOC\n门 I-LOC\n",
}


@pytest.mark.parametrize("path", TAGGED)
def test_tags_and_entities_become_one_item_a_character(path: str, tmp_path: Path) -> None:
    url = written(tmp_path, {path.format(split): TAGGED[path] for split in tasks.SPLITS})
    data = tasks.load(tasks.find(path.split("/")[0]), url)
    assert data.test == (Example(tuple("海钓厦门"), ("O", "O", "B-LOC", "I-LOC")),)
    assert data.labels == ("B-LOC", "I-LOC", "O")


@pytest.mark.parametrize(
    ("tags", "bio"),
    [
        ("B-PER I-PER E-PER S-LOC O", "B-PER I-PER I-PER B-LOC O"),  # BIOES
        ("B-PER M-PER E-PER S-LOC S-LOC", "B-PER I-PER I-PER B-LOC B-LOC"),  # BMES
        ("B-PER E-PER B-PER E-PER", "B-PER I-PER B-PER I-PER"),
        ("B-PER E-PER I-PER", "B-PER I-PER B-PER"),  # what follows an end begins anew
        ("O I-PER I-PER I-LOC", "O B-PER I-PER B-LOC"),  # as in conlleval
        ("B-PER B-PER", "B-PER B-PER"),
    ],
)
def test_other_tags_become_bio(tags: str, bio: str) -> None:
    assert to_bio(tags.split()) == tuple(bio.split())


OWN = Task(kind="tagging", files="own/{split}.json", text="text", label="entities")
IN_PLACES: list[Any] = [
    {"LOC": {"厦门": [[2, 3]]}},
    [[2, 4, "LOC"]],
    ["LOC", 2, 4],
    [{"start": 2, "end": 4, "label": "LOC"}],
    [{"start_idx": 2, "end_idx": 3, "type": "LOC", "entity": "厦门"}],
    [{"entity_index": {"begin": 2, "end": 4}, "entity_type": "LOC", "entity": "厦门"}],
]


@pytest.mark.parametrize(
    "entities", [one if isinstance(one, dict) or isinstance(one[0], list | dict) else [one] for one in IN_PLACES]
)
def test_entities_are_given_by_their_places(entities: Any, tmp_path: Path) -> None:
    content = json_lines({"text": "海钓厦门", "entities": entities}, {"text": "没有", "entities": []})
    data = tasks.load(OWN, written(tmp_path, {f"own/{split}.json": content for split in tasks.SPLITS}))
    assert data.dev == (Example(tuple("海钓厦门"), ("O", "O", "B-LOC", "I-LOC")), Example(("没", "有"), ("O", "O")))


def test_an_entity_inside_of_another_is_left_out_and_counted(tmp_path: Path) -> None:
    row = {"text": "招商银行公司债", "entities": [[0, 4, "ORG"], [0, 7, "BOOK"], [0, 2, "ORG"]]}
    files = {"own/train.json": json_lines(row, {"text": "银行", "entities": [[0, 2, "ORG"]]}), "own/dev.json": json_lines(row)}
    data = tasks.load(OWN, written(tmp_path, {**files, "own/test.json": json_lines(row)}))
    assert data.test[0].labels == ("B-BOOK", *["I-BOOK"] * 6) and data.note == "left out: 6 entities inside of others"


@pytest.mark.parametrize(
    ("entities", "message"),
    [
        ([[2, 5, "LOC"]], "line 2: an entity cannot be at 2 to 5 of its text"),
        ([[3, 3, "LOC"]], "line 2: an entity cannot be at 3 to 3"),
        ({"LOC": {"厦门": [[1, 2]]}}, "line 2: '厦门' is not at 1 to 2 of its text"),
        ([[2, "LOC"]], "line 2: expected an entity as"),
        ([{"begin": 2, "type": "LOC"}], "line 2: expected the first place, the end and the type"),
        (["O", "O", "B-LOC"], "line 2: 4 items, but 3 tags"),
        (["O", "O", "B-LOC", "LOC"], "line 2: 'LOC' is not a BIO tag"),
        ([[2, 4, "LOC"]] * 0 or [[0, 2, "ZOO"]], "line 2: entities of type 'ZOO' is not in the training file: B-LOC, I-LOC, O"),
    ],
)
def test_an_entity_that_is_not_where_it_is_said_to_be_is_named(entities: Any, message: str, tmp_path: Path) -> None:
    good = {"text": "海钓厦门", "entities": [[2, 4, "LOC"]]}
    bad = {
        "text": list("海钓厦门")
        if entities and isinstance(entities[0] if isinstance(entities, list) else 0, str)
        else "海钓厦门"
    }
    files = {f"own/{split}.json": json_lines(good) for split in ("train", "dev")}
    url = written(tmp_path, {**files, "own/test.json": json_lines(good, {**bad, "entities": entities})})
    with pytest.raises(TaskError, match=rf"test.json, {message}") as caught:
        tasks.load(OWN, url)
    assert "\n" not in str(caught.value)


C3: list[Any] = [
    [
        ["男：你今天晚上有时间吗?", "女：我喜欢喜剧片。"],
        [{"question": "女的最喜欢哪种电影?", "choice": ["恐怖片", "爱情片", "喜剧片"], "answer": "喜剧片"}],
        "25-35",
    ]
]


def test_questions_of_c3_are_read_from_dialogues_and_texts(tmp_path: Path) -> None:
    content = json.dumps(C3, ensure_ascii=False)
    unlabelled = [[C3[0][0], [{"id": 1, "question": "谁?", "choice": ["甲", "乙"]}], "1"]]
    original = written(tmp_path / "a", {f"c3/c3-{part}-{split}.json": content for part in "dm" for split in tasks.SPLITS})
    data = tasks.load(tasks.find("c3"), original)
    expected = Example(
        ("男：你今天晚上有时间吗?\n女：我喜欢喜剧片。", "女的最喜欢哪种电影?", "恐怖片", "爱情片", "喜剧片"), ("2",), "25-35-0"
    )
    assert data.test == data.train == (expected, expected) and data.note == ""
    many = json.dumps([[[f"{n}{C3[0][0][0]}"], C3[0][1], str(n)] for n in range(60)], ensure_ascii=False)
    clue = {"d-train.json": many, "m-train.json": many, "d-dev.json": content, "m-dev.json": content}
    files = {**{f"c3/{name}": text for name, text in clue.items()}, "c3/test.json": json.dumps(unlabelled, ensure_ascii=False)}
    data = tasks.load(tasks.find("c3"), written(tmp_path / "b", files))
    assert data.test == (expected, expected) and data.note.startswith(
        "test: d-dev.json, m-dev.json; dev: 10% of d-train.json, m-"
    )
    url = written(tmp_path / "b", {"c3/m-dev.json": content.replace('"answer": "喜剧片"', '"answer": "喜剧"')})
    with pytest.raises(TaskError, match=r"m-dev.json, passage 1, question 1: the answer '喜剧' is none of the choices"):
        tasks.load(tasks.find("c3"), url)
    names = EvaluationConfig(tasks=("c3",), data=original).files()
    assert set(names) == {f"c3/{split}{more}" for split in tasks.SPLITS for more in ("", "/2")}


def test_blanks_of_chid_are_questions_and_their_answers_are_in_another_file(tmp_path: Path) -> None:
    row = {
        "content": ["希望能#idiom000378#再进一步。", "去#idiom000379#？还是#idiom000380#？"],
        "candidates": ["百尺竿头", "随波逐流"],
    }
    rows = [{**row, "content": [f"{n}{text}" for text in row["content"]]} for n in range(60)]
    answers = json.dumps({"#idiom000378#": 0, "#idiom000379#": 1, "#idiom000380#": 0})
    files = {
        "train.json": json_lines(*rows),
        "train_answer.json": answers,
        "dev.json": json_lines(row),
        "dev_answer.json": answers,
    }
    url = written(tmp_path, {f"chid/{name}": content for name, content in {**files, "test.json": json_lines(row)}.items()})
    data = tasks.load(tasks.find("chid"), url)
    choices = ("", "百尺竿头", "随波逐流")
    assert data.test == (
        Example(("希望能____再进一步。", *choices), ("0",), "idiom000378"),
        Example(("去____？还是……？", *choices), ("1",), "idiom000379"),
        Example(("去……？还是____？", *choices), ("0",), "idiom000380"),
    )
    assert data.note == "test: dev.json, dev_answer.json; dev: 10% of train.json, train_answer.json"
    assert f"{url}/chid/dev_answer.json" in EvaluationConfig(tasks=("chid",), data=url).files().values()
    with pytest.raises(TaskError, match="line 1, #idiom000380#: no answer in the file of answers"):
        tasks.load(tasks.find("chid"), written(tmp_path, {"chid/dev_answer.json": '{"#idiom000378#": 0, "#idiom000379#": 1}'}))


def test_the_first_release_of_chid_has_candidates_and_answers_of_each_blank(tmp_path: Path) -> None:
    row = {
        "content": "需要密切配合、#idiom#，还得巧于用兵、#idiom#、灵活排阵。",
        "realCount": 2,
        "groundTruth": ["通力合作", "有的放矢"],
        "candidates": [["凭空捏造", "通力合作"], ["有的放矢", "叫苦连天", "金榜题名"]],
    }
    rows = [{**row, "content": f"{n}{row['content']}"} for n in range(60)]
    unlabelled = {name: value for name, value in row.items() if name != "groundTruth"}
    files = {"train": json_lines(*rows), "dev": json_lines(rows[0], row), "test": json_lines(unlabelled)}
    data = tasks.load(
        tasks.find("chid"), written(tmp_path, {f"chid/{split}_data.txt": content for split, content in files.items()})
    )
    assert data.test[2:] == (
        Example(("需要密切配合、____，还得巧于用兵、……、灵活排阵。", "", "凭空捏造", "通力合作"), ("1",), "2-1"),
        Example(("需要密切配合、……，还得巧于用兵、____、灵活排阵。", "", "有的放矢", "叫苦连天", "金榜题名"), ("0",), "2-2"),
    )
    assert data.note == "test: dev_data.txt; dev: 10% of train_data.txt", "test has no answers"


def test_candidates_of_a_question_have_its_number_and_stay_together(tmp_path: Path) -> None:
    rows = [f"{n}\t第{n}个问题？\t候选{k}\t{int(k == n % 4)}" for n in range(30) for k in range(4)]
    table = "\n".join(["qid\ttext_a\ttext_b\tlabel", *rows])
    url = written(tmp_path, {f"nlpcc_dbqa/{split}.tsv": table for split in tasks.SPLITS})
    data = tasks.load(tasks.find("nlpcc_dbqa"), url, limit_test=10)
    assert data.train[5] == Example(("第1个问题？", "候选1"), ("1",), "1")
    assert len(data.test) == 12 and all(
        sum(one.name == name for one in data.test) == 4 for name in {one.name for one in data.test}
    )
    with pytest.raises(TaskError, match=r"dev.tsv, line 3: '2' is neither 1, a right answer, nor 0"):
        tasks.load(tasks.find("nlpcc_dbqa"), written(tmp_path, {"nlpcc_dbqa/dev.tsv": table.replace("选1\t0", "选1\t2")}))


def test_titles_of_news_have_the_number_of_their_topic(tmp_path: Path) -> None:
    content = "体验2D巅峰 倚天屠龙记十大创新概览\t8\n60年铁树开花形状似玉米芯(组图)\t5\n"
    data = tasks.load(tasks.find("thucnews"), written(tmp_path, {f"thucnews/{split}.txt": content for split in tasks.SPLITS}))
    assert data.train[1] == Example(("60年铁树开花形状似玉米芯(组图)",), ("5",)) and data.labels == ("5", "8")


def test_a_label_that_training_has_not_is_named_with_its_line(tmp_path: Path) -> None:
    files = {f"tnews/{split}.json": repeated(TNEWS, "sentence", "label", ("100", "101"), 4) for split in tasks.SPLITS}
    files["tnews/test.json"] += json_lines({**TNEWS, "label": "116"})
    with pytest.raises(TaskError, match=r"test.json, line 5: label '116' is not in the training file: 100, 101"):
        tasks.load(tasks.find("tnews"), written(tmp_path, files))


def test_a_train_file_without_labels_is_refused_with_its_line(tmp_path: Path) -> None:
    files = {f"tnews/{split}.json": repeated(TNEWS, "sentence", "label", ("100", "101"), 4) for split in tasks.SPLITS}
    files["tnews/train.json"] += json_lines({"sentence": "没有标签"})
    with pytest.raises(TaskError, match=r"train.json, line 5: no label in label"):
        tasks.load(tasks.find("tnews"), written(tmp_path, files))
    url = written(tmp_path, {**files, "tnews/train.json": json_lines({"title": "没有", "label": 1})})
    with pytest.raises(TaskError, match=r"train.json, line 1: no field sentence; there are title, label"):
        tasks.load(tasks.find("tnews"), url)


def test_every_entry_is_short_and_every_task_has_a_row_in_the_page() -> None:
    root = Path(__file__).parents[1]
    text = (root / "workflows/evaluation/catalogue.py").read_text(encoding="utf-8")
    entries = text[text.index("TASKS: ") : text.index("DEMO_TASKS")].split("\n    ),\n")
    assert len(entries) == len(tasks.TASKS) + 1
    longest = max(entries, key=lambda entry: entry.count("\n"))
    assert longest.count("\n") <= 11, longest
    page = (root / "docs/evaluation.md").read_text(encoding="utf-8")
    missing = [name for name in tasks.TASKS if f"\n| `{name}` | {tasks.TASKS[name].kind} |" not in page]
    assert not missing, f"docs/evaluation.md: add rows of {', '.join(missing)} to the table of tasks"


@pytest.mark.skipif(not REAL.exists(), reason="the public evaluation sets are not here")
def test_the_public_sets_are_found_with_their_sizes() -> None:
    data = tasks.load(tasks.find("cmrc2018"), str(REAL))
    assert len(data.train) + len(data.dev) == 10_142 and len(data.test) == 3_219
    assert data.note == "test: cmrc2018_dev.json.gz; dev: 10% of cmrc2018_train.json.gz"
    assert tasks.load(tasks.find("ocnli"), str(REAL)).note.endswith("; left out: 65 labelled '-'")
