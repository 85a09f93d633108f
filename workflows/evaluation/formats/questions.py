"""Files of questions about passages, whose answers are parts of the passage.

    {"data": [{"paragraphs": [{"context": "范廷颂枢机…", "qas": [
        {"id": "TRAIN_186_QUERY_0", "question": "范廷颂是何时被任为主教的？",
         "answers": [{"text": "1963年", "answer_start": 30}]}]}]}]}                       CMRC 2018, DRCD, SQuAD

    [{"context_id": "DEV_0", "context_text": "《战国无双3》…", "qas": [
        {"query_id": "DEV_0_QUERY_0", "query_text": "…", "answers": ["光荣和ω-force", …]}]}]       CMRC 2018 as first published

An example's items are passage and question (the passage first, so that all questions of one are on the same side of a split),
its labels the gold answers. The first of them is what is learned. Its place is the one that the file names if the answer stands
there, else the nearest one where it does: CMRC's places are wrong in 21 of 10,142 questions.
"""

import json
from collections.abc import Iterator
from typing import Any

from pipeline.errors import TaskError
from workflows.evaluation.examples import Example, read_text
from workflows.evaluation.formats.rows import place
from workflows.evaluation.task import Task


def read_questions(task: Task, url: str) -> Iterator[Example]:
    """Yield the questions of a file in one of the two layouts.

    Raises: TaskError naming the file, and the question that is wrong.
    """
    text = read_text(url)
    try:
        data = json.loads(text)
    except ValueError as error:
        raise TaskError(f"{url}: not JSON: {error}") from error
    for number, paragraph in enumerate(_paragraphs(data, url), start=1):
        passage, questions = paragraph.get("context", paragraph.get("context_text")), paragraph.get("qas")
        if not (isinstance(passage, str) and passage.strip() and isinstance(questions, list)):
            raise TaskError(f"{url}, passage {number}: expected 'context' and 'qas', got {str(paragraph)[:60]}")
        for one in questions:
            yield _example(one, passage, url, f"passage {number}")


def _paragraphs(data: Any, url: str) -> Iterator[dict[str, Any]]:
    if isinstance(data, dict) and isinstance(data.get("data"), list):
        articles = [each.get("paragraphs", [each]) if isinstance(each, dict) else None for each in data["data"]]
    else:
        articles = [data]
    for paragraphs in articles:
        if not isinstance(paragraphs, list) or not all(isinstance(each, dict) for each in paragraphs):
            raise TaskError(f"{url}: not a file of questions; expected the layout of CMRC 2018, DRCD or SQuAD")
        yield from paragraphs


def _example(row: Any, passage: str, url: str, where: str) -> Example:
    row = row if isinstance(row, dict) else {}
    name, question = str(row.get("id", row.get("query_id", "?"))), row.get("question", row.get("query_text"))
    where = f"{where}, question {name}"
    answers = row.get("answers", [])
    if not (isinstance(question, str) and isinstance(answers, list)):  # one of CMRC's questions is empty
        raise TaskError(f"{url}, {where}: expected a question and its answers, got {str(row)[:60]}")
    # CMRC's first files have numbers among the answers, as a spreadsheet made them of dates; its script reads them as text.
    texts = tuple(str(each.get("text", "") if isinstance(each, dict) else each) for each in answers)
    if not all(text.strip() for text in texts):
        raise TaskError(f"{url}, {where}: an empty answer; leave it out")
    said = answers[0].get("answer_start") if texts and isinstance(answers[0], dict) else None
    start = place(passage, texts[0], said if isinstance(said, int) else 0) if texts else None
    return Example((passage, question), texts, name, start, where, bool(texts))
