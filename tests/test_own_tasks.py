"""Tasks of your own: the examples of the page are run, and what is wrong is one line."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline import storage
from pipeline.errors import RecipeError, TaskError
from tests.commands import refused
from tests.test_task_formats import json_lines, written
from workflows import recipe
from workflows.cli import main
from workflows.cli.jobs.submitting import work
from workflows.evaluation import tasks
from workflows.evaluation.config import EvaluationConfig
from workflows.evaluation.examples import Example
from workflows.evaluation.own_tasks import named_tasks, read_own_tasks
from workflows.evaluation.task import Task

PAGE = (Path(__file__).parents[1] / "docs/evaluation.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```tasks\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
ROWS = {
    "complaints": json_lines({"content": "快递还没到", "department": "物流"}, {"content": "多收了钱", "department": "账单"}),
    "topics": 'title,topics\n"股市,楼市",财经|房产\n球赛,体育\n天气,\n',
    "similarity": "三个人在下棋\t两个人在下棋\t2\n飞机起飞\t飞机起飞了\t4.5\n",
    "drugs": json_lines({"text": "服用阿司匹林", "label": [[2, 6, "DRUG"]]}, {"text": "休息", "label": []}),
    "news": "海 n 1 O\n钓 v 1 O\n厦 ns 2 B-LOC\n门 ns 2 I-LOC\n\n好 a 1 O\n",
    "resumes": json_lines({"characters": "高 勇 ：", "tags": "B-NAME E-NAME O"}),
    "exam": "passage,question,A,B,C,D,answer\n他来了,谁来了?,他,她,它,,A\n她走了,谁走了?,他,她,它,谁,她\n",
    "support": "ticket\tquestion\treply\tsolved\n7\t怎么退货\t在订单里\t1\n7\t怎么退货\t不知道\t0\n",
}
EXPECTED = {
    "complaints": Example(("快递还没到",), ("物流",)),
    "topics": Example(("股市,楼市",), ("财经", "房产")),
    "similarity": Example(("三个人在下棋", "两个人在下棋"), ("2",)),
    "drugs": Example(tuple("服用阿司匹林"), ("O", "O", "B-DRUG", "I-DRUG", "I-DRUG", "I-DRUG")),
    "news": Example(tuple("海钓厦门"), ("O", "O", "B-LOC", "I-LOC")),
    "resumes": Example(tuple("高勇："), ("B-NAME", "I-NAME", "O")),
    "exam": Example(("他来了", "谁来了?", "他", "她", "它"), ("0",)),
    "support": Example(("怎么退货", "在订单里"), ("1",), "7"),
}


def own(tmp_path: Path, text: str) -> dict[str, Task]:
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    return read_own_tasks(str(path))


def test_the_page_has_an_example_of_each() -> None:
    assert {name for block in BLOCKS for name in re.findall(r"^\[(\w+)\]", block, re.M)} == set(EXPECTED)


@pytest.mark.parametrize("block", BLOCKS)
def test_an_example_of_the_page_reads_its_files(block: str, tmp_path: Path) -> None:
    for name, task in own(tmp_path, block).items():
        content = ROWS[name] if name != "topics" else ROWS[name] + "".join(f"新闻{n},体育\n" for n in range(60))
        files = {path.format(split=split): content for split in tasks.SPLITS for path in task.paths(split)}
        data = tasks.load(task, written(tmp_path, files))
        assert data.test[0] == EXPECTED[name]
        assert bool(data.note) == (name == "topics")


def test_a_recipe_describes_a_task_in_the_same_way(tmp_path: Path) -> None:
    content = {"name": "r", "source": [{"name": "demo", "kind": "demo"}]}
    table = {"kind": "classification", "files": "c/{split}.jsonl", "text": ["content", "text"], "label": 2}
    built = recipe.build({**content, "evaluation": {"tasks": ["mine"], "task": {"mine": table}}}, "r.toml")
    assert built.evaluation.find("mine") == Task(
        kind="classification", files="c/{split}.jsonl", text=("content", "text"), label=2
    )
    assert recipe.build(recipe.as_dict(built), "again") == built
    wrong = {**table, "lable": "x"}
    with pytest.raises(RecipeError, match=r"r.toml \[evaluation.task.mine\]: unknown key 'lable'; did you mean 'label'\?"):
        recipe.build({**content, "evaluation": {"task": {"mine": wrong}}}, "r.toml")
    with pytest.raises(RecipeError, match="task 'ocnli' comes with the program"):
        recipe.build({**content, "evaluation": {"task": {"ocnli": table}}}, "r.toml")
    with pytest.raises(RecipeError, match="did you mean mine"):
        recipe.build({**content, "evaluation": {"tasks": ["mime"], "task": {"mine": table}}}, "r.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('kind = "pair"', r"own.toml: 'kind' is in no table"),
        ("", "own.toml: no task in it"),
        ('[a]\nkind = "pears"', r"own.toml \[a\] kind: Input should be 'classification', "),
        (
            '[a]\nkind = "pair"\nfiles = "{split}"\ntext = "x"',
            r"\[a\]: second is missing: the field of a file that a pair needs",
        ),
        ('[a]\nkind = "pair"\nfiles = "x.tsv"\ntext = "x"\nsecond = "y"', r"files 'x.tsv' has no \{split\}"),
        ('[a]\nkind = "labels"\ntext = "x"', r"no files: give `files` with \{split\}"),
        ('[a]\nkind = "labels"\nfile = "{split}"\ntext = "x"', r"\[a\]: unknown key 'file'; did you mean 'files'\?"),
        ('[a]\nkind = "labels"\nfiles = "{split}"\ntext = 0', "column 0: columns are counted from 1"),
        ('[a]\nkind = "choice"\nfiles = "{split}"\ntext = 1', "choices is missing"),
        ('[a]\nkind = "labels"\nfiles = "{split}"\ntext = 1\nmetrics = ["mrr"]', "metrics: mrr is none of labels"),
        ("[a", "own.toml: not valid TOML"),
    ],
)
def test_a_table_that_is_wrong_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        own(tmp_path, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("task", "content", "message"),
    [
        (Task(kind="labels", files="a/{split}.csv", text="t", label="l"), 't,l\n"未完,a\n', "line 2: expected 2 fields"),
        (Task(kind="labels", files="a/{split}.csv", text="t", label="l"), "t,l,t\n好,a,b\n", "names a column twice"),
        (Task(kind="labels", files="a/{split}.json", text="t"), '{"t": "好", "label": 1}', "line 1: expected a list of labels"),
        (Task(kind="classification", files="a/{split}.tsv", text=1, label=3), "好\t1\n", "line 1: no label in 3"),
        (
            Task(kind="classification", files="a/{split}.json", text="a.b"),
            '[{"a": {"c": "好"}}]',
            "entry 1: no field a.b; there",
        ),
        (
            Task(kind="classification", files="a/{split}.json", text="t"),
            '{"t": "好", "label": {}}',
            "line 1: field label must be a",
        ),
        (
            Task(kind="choice", files="a/{split}.json", text="t", choices="c"),
            '{"t": "好", "c": ["甲"]}',
            "two or more choices in c",
        ),
        (
            Task(kind="choice", files="a/{split}.json", text="t", choices="c"),
            '{"t": "好", "c": ["甲", "乙"], "label": "C"}',
            "line 1: 'C' is none of the 2 choices",
        ),
        (
            Task(kind="choice", files="a/{split}.json", text="t", choices="c"),
            '{"t": "好", "c": ["甲", "乙"], "label": "AB"}',
            "line 1: 'AB' is none of the 2 choices",
        ),
        (Task(kind="tagging", files="a/{split}.txt", text=1, label=3), "海 x\n", "line 1: no label in 3"),
        (Task(kind="tagging", files="a/{split}.json", text="t"), '{"t": "海 钓", "label": "O"}', "line 1: 2 items, but 1 tags"),
        (
            Task(kind="reading", files="a/{split}.json", text="p", second="q", label="a"),
            '{"p": "他来了", "q": "谁？", "a": [1]}',
            "line 1: expected an answer",
        ),
    ],
)
def test_a_file_that_is_wrong_is_named_with_its_line(task: Task, content: str, message: str, tmp_path: Path) -> None:
    url = written(tmp_path, {next(iter(task.paths(split))): content for split in tasks.SPLITS})
    with pytest.raises(TaskError, match=rf"a/t\w+\.\w+(, |: ).*{message}") as caught:
        tasks.load(task, url)
    assert "\n" not in str(caught.value)


def test_a_choice_may_be_given_by_its_text_its_letter_its_number_or_a_name(tmp_path: Path) -> None:
    rows = [{"t": "好", "c": ["甲", "乙"], "label": label} for label in ("乙", "B", 1)]
    task = Task(kind="choice", files="a/{split}.json", text="t", choices="c")
    data = tasks.load(task, written(tmp_path, {f"a/{split}.json": json_lines(*rows) for split in tasks.SPLITS}))
    assert {example.labels for example in data.test} == {("1",)}
    named = Task(kind="choice", files="a/{split}.json", text="t", choices="c", labels=("1", "2"))
    data = tasks.load(
        named, written(tmp_path, {f"a/{split}.json": json_lines({**rows[0], "label": 1}) for split in tasks.SPLITS})
    )
    assert data.test[0].labels == ("0",)


def test_questions_may_be_rows(tmp_path: Path) -> None:
    row = {"p": "江泽民来了。", "q": "谁来了？", "a": ["江泽民", "江"]}
    task = Task(kind="reading", files="a/{split}.jsonl", text="p", second="q", label="a")
    data = tasks.load(task, written(tmp_path, {f"a/{split}.jsonl": json_lines(row) for split in tasks.SPLITS}))
    assert data.test == (Example(("江泽民来了。", "谁来了？"), ("江泽民", "江"), "1", 0),)


def test_files_may_be_anywhere_and_several(tmp_path: Path) -> None:
    for split in tasks.SPLITS:
        for part in (1, 2):
            storage.write_bytes(f"memory://own/{split}-{part}.jsonl", json_lines({"t": f"第{part}", "label": part}).encode())
    task = Task(kind="classification", files="memory://own/{split}-*.jsonl", text="t")
    config = EvaluationConfig(tasks=("x",), task={"x": task}, data=str(tmp_path))
    assert [example.labels for example in tasks.load(task, str(tmp_path)).test] == [("1",), ("2",)]
    assert config.files()["x/dev/2"] == "memory://own/dev-2.jsonl"
    assert len(config.scored_files()) == 4


def test_the_command_reads_a_file_of_tasks(tmp_path: Path) -> None:
    text = '[mine]\nkind = "classification"\nfiles = "{split}.jsonl"\ntext = "t"\n'
    (tmp_path / "my.toml").write_text(text, encoding="utf-8")
    names, found, folder = named_tasks(f"{tmp_path}/my.toml, ocnli")
    assert names == ("mine", "ocnli") and set(found) == {"mine"} and folder == str(tmp_path)
    with pytest.raises(RecipeError, match="task 'mine' is named twice"):
        named_tasks(f"{tmp_path}/my.toml,{tmp_path}/my.toml")
    (tmp_path / "train.jsonl").write_text(json.dumps({"t": "好"}), encoding="utf-8")
    for split in ("dev", "test"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps({"t": "好", "label": 1}), encoding="utf-8")
    arguments = ["evaluate", str(tmp_path / "model"), "--tasks", f"{tmp_path}/my.toml", "--output", str(tmp_path / "out")]
    assert "model" in refused(CliRunner().invoke(main, arguments))
    assert "--data is missing" in refused(CliRunner().invoke(main, [*arguments[:3], "ocnli"]))


def test_a_file_of_tasks_is_where_the_machines_of_a_cluster_see_it() -> None:
    options = ["evaluate", "--data", "s3://b/tasks", "--tasks", "ocnli,{}my.toml"]
    with pytest.raises(RecipeError, match=r"my.toml: a relative path means nothing on the cluster"):
        work("s3://b/model", [*options[:-1], options[-1].format("")], [], "s3://b/scores")
    assert "/nfs/my.toml" in work("s3://b/model", [*options[:-1], options[-1].format("/nfs/")], [], "s3://b/scores").places
