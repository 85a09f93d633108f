"""Files of multiple-choice tasks in layouts of their own: C3 and CHID.

    [[["男：你有时间吗?", "女：…"], [{"question": "她喜欢哪种?", "choice": ["恐怖片", "喜剧片"], "answer": "喜剧片"}], "25-35"]]

    {"content": ["虚拟货币的发展可谓#idiom000381#。…"], "candidates": ["百尺竿头", "随波逐流", …]}    CHID, one object a line

A blank of CHID is one example: the text around it, with ____ in the blank and …… in the others, and the idioms as choices.
Its layouts, and where its answers are, are those of pipeline/sources/formats/marks.py.
"""

import json
from collections.abc import Iterator
from typing import Any

from pipeline.errors import TaskError
from pipeline.sources.formats.marks import answers_of, passages, read_answers
from workflows.evaluation.examples import Example, read_text
from workflows.evaluation.formats.fields import json_rows
from workflows.evaluation.task import Task


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


def read_chid(task: Task, url: str) -> Iterator[Example]:
    """Yield the blanks of a file of CHID. Raises: TaskError naming file and line."""
    other = answers_of(url)
    answers = read_answers(read_text(other), other) if other else None
    for row in json_rows(read_text(url), url):
        found = passages(row.content, answers, f"{url}, {row.place}")
        blanks = [blank for passage in found for blank in passage.blanks]
        if not (row.content.get("content") and row.content.get("candidates") and all(blank.candidates for blank in blanks)):
            raise TaskError(f"{url}, {row.place}: expected 'content' and 'candidates' as in CHID")
        for number, blank in enumerate(blanks, start=1):
            own = blank.name.strip("#") if blank.name.startswith("#") else f"{row.place.rpartition(' ')[2]}-{number}"
            labels = () if blank.answer is None else (str(blank.answer),)
            yield Example(
                (blank.shown, "", *blank.candidates), labels, own, place=f"{row.place}, {blank.name}", has_label=bool(labels)
            )
