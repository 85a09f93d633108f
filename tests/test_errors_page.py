"""The page of errors: kinds of errors by hand, what is dangerous is escaped, and another model's guesses stand beside ours."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.commands import refused
from tests.test_evaluation import data, model  # noqa: F401
from workflows.cli import main
from workflows.report.errors import page
from workflows.report.errors.cases import Case, answer_kind, cases, entities, length_kind
from workflows.report.errors.kinds import kinds, numbers_of


def made(texts: tuple[str, ...], gold: Any, guess: Any, other: Any = None, **more: Any) -> Case:
    others = None if other is None else {"gold": gold, "predicted": other, **more}
    (case,) = cases([texts], [{"gold": gold, "predicted": guess, **more}], [others])
    return case


def test_labels_pairs_and_several_labels() -> None:
    one = made(("太吵了",), "0", "1", "0")
    assert (one.gold, one.guess, one.other, one.wrong, one.other_wrong) == ("0", "1", "0", True, False)
    assert one.mistakes == (("gold → guess", "0 → 1"),)
    assert [(unit.cut, unit.kind) for unit in one.units] == [("gold label", "0"), ("length", "up to 8 characters")]
    several = made(("一条新闻",), ["体育"], ["体育", "财经"])
    assert (several.gold, several.guess, several.wrong) == ("体育", "体育, 财经", True)
    assert made(("甲", "乙"), "0", "0").mistakes == ()


def test_entities_are_missed_made_up_or_of_another_type() -> None:
    assert list(entities(["B-PER", "I-PER", "O", "I-LOC", "B-LOC", "I-ORG"])) == [
        ("PER", 0, 2), ("LOC", 3, 4), ("LOC", 4, 5), ("ORG", 5, 6),
    ]  # fmt: skip
    gold = ["B-PER", "I-PER", "O", "B-LOC", "O", "B-ORG", "I-ORG", "O"]
    guess = ["B-PER", "O", "O", "B-ORG", "O", "O", "O", "B-LOC"]
    one = made(tuple("江某在京说海关了"), gold, guess)
    assert [kind for _, kind in one.mistakes] == ["PER with other ends", "LOC → ORG", "ORG missed", "LOC made up"]
    assert one.gold == "江某 PER  京 LOC  海关 ORG"
    assert [(unit.kind, unit.wrong) for unit in one.units if unit.cut == "type of the entity"] == [
        ("PER", True), ("LOC", True), ("ORG", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("guess", "overlap"),
    [
        ("1963", "a part of gold"),
        ("在1963年任", "gold and more"),
        ("北京", "elsewhere"),
        ("", "no answer"),
        ("1963月", "overlaps"),
    ],
)
def test_answers_by_what_they_share_with_gold(guess: str, overlap: str) -> None:
    one = made(("范廷颂在1963年任主教。", "他何时任主教？"), ["1963年"], guess, best=[])
    assert one.mistakes == (("overlap", overlap),) and one.texts[0] == "他何时任主教？"
    assert {unit.cut: unit.kind for unit in one.units} == {
        "answer": "number or date", "question": "when", "passage": "9 to 16 characters",
    }  # fmt: skip
    assert not made(("范廷颂在1963年任主教。", "何时？"), ["1963年", "63年"], "63年。", best=[]).wrong, "as exact match has it"


def test_answers_and_lengths_by_kind() -> None:
    answers = ["三百二十人", "2,010年", "PlayStation", "光荣和ω-force", "北京", "因为那一年的冬天下了很大很大的雪"]
    assert [answer_kind(answer) for answer in answers] == [
        *["number or date"] * 2, "Latin letters", "5 to 15 characters", "up to 4 characters", "more than 15 characters",
    ]  # fmt: skip
    assert [length_kind(n) for n in (1, 8, 9, 16, 17, 1025)] == [
        *["up to 8 characters"] * 2, *["9 to 16 characters"] * 2, "17 to 32 characters", "1,025 to 2,048 characters",
    ]  # fmt: skip


def test_numbers_choices_and_rankings() -> None:
    assert made(("甲", "乙"), 4.0, 1.5).mistakes == (("difference", "too low by 2 to 3"),)
    assert not made(("甲", "乙"), 4.0, 3.2).wrong
    numbers = [{"gold": gold, "predicted": guess} for gold, guess in ((0.0, 0.1), (1.0, 0.5), (0.5, 0.75))]
    assert [one.mistakes for one in cases([("甲",)] * 3, numbers, [None] * 3)] == [
        (), (("difference", "too low by 0.4 to 0.6"),), (("difference", "too high by 0.2 to 0.4"),),
    ], "a fifth of the range is what counts"  # fmt: skip
    choice = made(
        ("文", "问", "甲", "乙丙"), "乙丙", "甲", choices=[{"text": "甲", "score": 1.0}, {"text": "乙丙", "score": 0.0}]
    )
    assert choice.units[0].kind == "2" and choice.texts == ("文", "问", "甲 / 乙丙")
    rows = [{"id": "q", "gold": gold, "predicted": score} for gold, score in (("0", 0.9), ("1", 0.5), ("0", 0.1))]
    items = [("谁？", "甲"), ("谁？", "乙"), ("谁？", "丙")]
    (ranked,) = cases(items, rows, [None] * 3)
    assert (ranked.gold, ranked.guess, ranked.wrong) == ("乙", "甲", True)
    assert ranked.mistakes == (("place of the first right candidate", "2"),)


def test_kinds_with_more_errors_than_elsewhere_come_first() -> None:
    many = [made(("长" * 40,), "0", "1" if n < 6 else "0") for n in range(10)]
    few = [made(("短",), "1", "0" if n < 1 else "1") for n in range(20)]
    found = kinds([*few, *many])
    assert [kind.name for kind in found if kind.cut == "gold → guess"] == ["0 → 1", "1 → 0"]
    lengths = [(kind.name, kind.wrong, kind.n) for kind in found if kind.cut == "length"]
    assert lengths == [("33 to 64 characters", 6, 10), ("up to 8 characters", 1, 20)]
    assert [kind.number for kind in found] == list(range(len(found)))
    assert len(numbers_of(many[0], found)) == 3 and numbers_of(many[-1], found) == []


def test_what_is_dangerous_is_text(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>\u202e"
    one = made((evil,), "0", "1", "0")
    found = kinds([one])
    task = {
        "name": "xnli", "examples": 1, "wrong": 1, "other": evil, "other_wrong": 0, "both_wrong": 0, "not_asked": 0, "seed": 0,
        "seeds": 1, "kinds": [], "cuts": page._by_cut(found), "cases": [page._shown(one, 1, found)],
    }  # fmt: skip
    html = page.page([task], evil)
    assert html.count("<script>") == 1 and "alert(1)&lt;/script&gt;" in html
    assert '<span class="code">U+202E</span>' in html
    assert not re.search(r'(src|href)="(https?:)?//', html) and "default-src 'none'" in html


def test_evaluate_writes_a_page_beside_the_untrained_network_or_another(model: str, data: str, tmp_path: Path) -> None:  # noqa: F811
    def evaluated(output: str, *options: str) -> Any:
        words = ["evaluate", model, "--data", data, "--seeds", "1", "--epochs", "1", "--max-length", "16", "--output", output]
        return CliRunner().invoke(main, [*words, "--train-examples", "32", *options])

    first = str(tmp_path / "first")
    result = evaluated(first, "--errors")
    assert result.exit_code == 0, result.output
    html = (tmp_path / "first" / "errors.html").read_text(encoding="utf-8")
    rows = [
        json.loads(line) for line in (tmp_path / "first/predictions/export-1-sentiment-0-test.jsonl").read_text().splitlines()
    ]
    wrong = sum(row["gold"] != row["predicted"] for row in rows)
    assert f"<b>{wrong}</b><span>of 32 wrong" in html and html.count("<section ") == 2 and "wrong by untrained" in html
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "first" / "predictions").iterdir()}

    result = evaluated(first, "--errors", "--beside", first, "--seeds", "2")
    assert result.exit_code == 0 and "wrong by export-1" in (tmp_path / "first" / "errors.html").read_text(encoding="utf-8")
    assert all(path.stat().st_mtime_ns == then for path, then in before.items()), "finished runs are not run again"

    assert "no scores.jsonl in it" in refused(evaluated(str(tmp_path / "other"), "--errors", "--beside", str(tmp_path)))
    assert "--beside is for the page of --errors" in refused(evaluated(first, "--beside", first))
