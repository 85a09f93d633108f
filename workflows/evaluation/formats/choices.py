"""Files of multiple-choice tasks in layouts of their own: C3 and CHID.

    [[["男：你有时间吗?", "女：…"], [{"question": "她喜欢哪种?", "choice": ["恐怖片", "喜剧片"], "answer": "喜剧片"}], "25-35"]]

    {"content": ["虚拟货币的发展可谓#idiom000381#。…"], "candidates": ["百尺竿头", "随波逐流", …]}    CHID, one object a line
    {"#idiom000381#": 4}                                                           its answers, in another file

A blank of CHID is one example: the text around it, with ____ in the blank and …… in the others, and the idioms as choices.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline import storage
from pipeline.errors import TaskError
from pipeline.sources.formats.marks import BLANK_CONTEXT
from workflows.evaluation.examples import Example, read_text
from workflows.evaluation.formats.fields import json_rows
from workflows.evaluation.formats.rows import chosen
from workflows.evaluation.task import Task

ENDINGS = ("", ".gz", ".xz", ".bz2")

_BLANK = re.compile(r"#idiom\d+#")


def read_c3(task: Task, url: str) -> Iterator[Example]:
    """Yield the questions of a file of C3. Raises: TaskError naming file and passage."""
    try:
        data = json.loads(read_text(url))
    except ValueError as error:
        raise TaskError(f"{url}: not JSON: {error}") from error
    for number, entry in enumerate(data if isinstance(data, list) else [data], start=1):
        where = f"passage {number}"
        if not (isinstance(entry, list) and len(entry) > 1 and isinstance(entry[0], list) and isinstance(entry[1], list)):
            raise TaskError(f"{url}, {where}: expected passage, questions and id as in C3, got {str(entry)[:60]}")
        passage = "\n".join(map(str, entry[0]))
        for index, one in enumerate(entry[1]):
            yield _c3_question(one, passage, url, f"{where}, question {index + 1}", f"{entry[-1]!s}-{index}")


def _c3_question(one: Any, passage: str, url: str, where: str, name: str) -> Example:
    one = one if isinstance(one, dict) else {}
    question, choices, answer = one.get("question"), one.get("choice"), one.get("answer")
    if not (isinstance(question, str) and isinstance(choices, list) and len(choices) > 1 and passage.strip()):
        raise TaskError(f"{url}, {where}: expected a question with choices, got {str(one)[:60]}")
    if not all(isinstance(choice, str) and choice.strip() for choice in choices):
        raise TaskError(f"{url}, {where}: an empty choice in {str(choices)[:60]}")
    if answer and answer not in choices:
        raise TaskError(f"{url}, {where}: the answer {answer!r} is none of the choices")
    labels = (str(choices.index(answer)),) if answer else ()
    return Example((passage, question, *choices), labels, name, place=where, has_label=bool(answer))


def answers_of(url: str) -> str | None:
    """Return the URL of the file with the answers to a file of CHID: dev.json -> dev_answer.json; None if there is none."""
    folder, name = storage.parent(url), storage.base_name(url)
    stem = name[: name.index(".")] if "." in name else name
    names = (f"{stem}_answer{kind}{ending}" for kind in (".json", ".csv") for ending in ENDINGS)
    return next((found for one in names if storage.exists(found := storage.join(folder, one))), None)


def read_chid(task: Task, url: str) -> Iterator[Example]:
    """Yield the blanks of a file of CHID. Raises: TaskError naming file and line."""
    answers = _chid_answers(answers_of(url))
    for row in json_rows(read_text(url), url):
        content, candidates = row.value("content"), row.value("candidates")
        if not (_texts(content) and _texts(candidates)):
            raise TaskError(f"{url}, {row.place}: expected 'content' and 'candidates' as in CHID")
        for text in content:
            for blank in _BLANK.finditer(text):
                yield _chid_blank(task, text, blank, candidates, answers, url, row.place)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)


def _chid_blank(
    task: Task, text: str, blank: re.Match[str], candidates: list[str], answers: Mapping[str, Any], url: str, where: str
) -> Example:
    before, after = (_BLANK.sub("……", part) for part in (text[: blank.start()], text[blank.end() :]))
    items = (f"{before[-BLANK_CONTEXT:]}____{after[:BLANK_CONTEXT]}", "", *candidates)
    where = f"{where}, {blank[0]}"
    label = str(answers.get(blank[0], ""))
    if answers and not label:
        raise TaskError(f"{url}, {where}: no answer in the file of answers")
    labels = (chosen(task, label, candidates, f"{url}, {where}"),) if label else ()
    return Example(items, labels, blank[0].strip("#"), place=where, has_label=bool(label))


def _chid_answers(url: str | None) -> Mapping[str, Any]:
    """Return the number of the right candidate for each blank: JSON, or two columns."""
    if url is None:
        return {}
    text = read_text(url)
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else dict(csv.reader(io.StringIO(text)))
    except ValueError as error:
        raise TaskError(f"{url}: expected a number for each blank, as JSON or in two columns: {error}") from error
    if not isinstance(found, dict):
        raise TaskError(f"{url}: expected a number for each blank")
    return found
