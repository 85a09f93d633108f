"""Every page that we write, in both languages: read out by a screen reader, on a small screen, dark, and on paper."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import test_data_report
from tests.browser import CHROMIUM, Browser
from tests.reports import faults
from tests.test_meeting import chinese, whole  # noqa: F401
from tests.test_report import inputs, score  # noqa: F401
from workflows.ablation.variants import NONE
from workflows.report import comparison
from workflows.report.errors import page as errors_page
from workflows.report.errors.cases import cases
from workflows.report.errors.kinds import kinds
from workflows.report.figures import ReportInputs, figures
from workflows.report.intervals import Scored, compared
from workflows.report.languages.texts import LANGUAGES, TAGS, table
from workflows.report.page import page

data = test_data_report.inputs
Pages = dict[str, Callable[[str], str]]


def ablated(language: str, folder: Path, pretrainings: int) -> str:
    """Return the page of an ablation."""
    runs = range(pretrainings)
    values = (("base", 0.80), ("small", 0.75), (NONE, 0.60))
    scores = [
        Scored(replace(score("m", seed, value + seed / 100 + run / 50), model_id=name), run)
        for name, value in values
        for run in (runs if name != NONE else (0,))
        for seed in range(3)
    ]
    curve = [(step, 9 - step / 500) for step in range(100, 2_001, 100)]
    best = {"step": 2_000, "loss": 5.0, "masked_accuracy": 0.31}
    common: dict[str, Any] = {"parameters": 12_345_678, "steps": 2_000, "best": best}
    reports = [f"report-{run}/report.html" for run in runs]
    content = {
        "recipe": "base",
        "language": language,
        "evaluation": {"train_examples": 50, "epochs": 2},
        "pretrainings": pretrainings,
        "scores": compared(scores, "base"),
        "values": [],
        "variants": [
            {"variant": name, "settings": settings, "report": reports[0], "reports": reports, **common}
            for name, settings in (("base", []), ("small", ["encoder.hidden_size=32", "masking.policy=token"]))
        ],
        "curves": {
            name: {
                "loss": curve,
                "validation_loss": curve[::5],
                "validation_accuracy": [(step, step / 5_000) for step, _ in curve],
            }
            for name in ("base", "small")
        },
    }
    return Path(comparison.write(content, str(folder))).read_text(encoding="utf-8")


def wrong(language: str) -> str:
    """Return the page of errors."""
    texts = [(f"第{number}条评论，房间{'很吵' * number}，早餐一般。",) for number in range(1, 60)]
    said = [{"gold": str(number % 2), "predicted": str(number // 2 % 2)} for number in range(1, 60)]
    others = [{"gold": row["gold"], "predicted": "0"} if number % 5 else None for number, row in enumerate(said)]

    def task(name: str, other: str | None, seeds: int) -> dict[str, Any]:
        found = cases(texts, said, others if other else [None] * len(said))
        by_kind, listed = kinds(found), [case for case in found if case.wrong]
        return {
            **{"name": name, "examples": len(found), "wrong": len(listed), "other": other, "other_wrong": 20, "both_wrong": 10},
            **{"not_asked": 12, "seed": 0, "seeds": seeds, "kinds": [], "cuts": errors_page._by_cut(by_kind)},
            "cases": [errors_page._shown(case, 2, by_kind) for case in listed],
        }

    return errors_page.page([task("sentiment", "untrained", 3), task("own", None, 1)], "export-1", language)


@pytest.fixture
def pages(whole: ReportInputs, data: ReportInputs, tmp_path: Path) -> Pages:  # noqa: F811
    """Every page, by its name: a function of the language."""

    def report(inputs: ReportInputs) -> Callable[[str], str]:  # noqa: F811
        inputs = replace(inputs, recipe={"report": {}, **inputs.recipe})
        return lambda language: page(figures(inputs if language == "en" else chinese(inputs)))

    return {
        "report": report(whole),
        "data report": report(data),
        "empty report": report(ReportInputs(recipe_name="空", key="k", recipe={})),
        "ablation": lambda language: ablated(language, tmp_path, 1),
        "ablation of several": lambda language: ablated(language, tmp_path, 3),
        "errors": wrong,
    }


def english(document: str) -> set[str]:
    """Return texts of a Chinese page that have a translation, names in code aside."""
    known = {text for text, translated in table("zh").items() if text != translated and not re.search(r"{|^[,;.] ?$", text)}
    plain = re.sub(r"(?s)<style>.*?</style>|<script>.*?</script>|<code.*?</code>", "", document)
    found = re.findall(r'>([^<>]+)<|(?:aria-label|title|placeholder)="([^"]+)"', plain)
    return known & {text.strip() for either in found for text in either}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_can_be_read_out(pages: Pages, whole: ReportInputs, language: str) -> None:  # noqa: F811
    """One outline, landmarks, captions and headers of tables, words for pictures, links that say where they lead. A plot is
    read out as its caption, and nothing that has a translation stays English."""
    made = {name: build(language) for name, build in pages.items()}
    assert {name: found for name, document in made.items() if (found := faults(document, language))} == {}
    assert made["report"].count("<table") > 12
    if language == "zh":
        assert {name: left for name, document in made.items() if (left := english(document))} == {}
    else:
        captions = figures(whole)["captions"]
        spoken = re.findall(r'<svg [^>]*aria-label="([^"]*)"', made["report"])
        assert spoken == [
            captions[name] for name in ("loss", "masked_accuracy", "learning_rate", "tokens_per_second", "scores")
        ]


def test_what_cannot_be_read_out_is_found() -> None:
    document = """<html lang="en"><body><header><h1>a</h1></header><nav></nav><main><h3 id="x">b</h3><svg></svg>
    <table><tr><th>c</th></tr></table><a href="#y">2</a><figure></figure><button></button></main>"""
    found = " ".join(faults(document, "zh"))
    for what in ("level is skipped", "<nav >: says nothing", "<svg >", "no scope", "without a caption", "leads nowhere",
                 "only says '2'", "<figure >", "<button> without", "lang='en'"):  # fmt: skip
        assert what in found, (what, found)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_browser_shows_prints_and_reads_out_every_page(pages: Pages, browser: Browser, language: str) -> None:
    for name, build in pages.items():
        document = build(language)
        assert len(document.encode()) < 2_000_000
        # A4 without its margins is 186 mm, 703 pixels.
        for width, media, scheme in (
            (1366, "screen", "light"),
            (1366, "screen", "dark"),
            (390, "screen", "light"),
            (703, "print", "dark"),
        ):
            found = browser.show(document, width=width, media=media, scheme=scheme)
            # On a phone, a table scrolls in its place, and a plot is enlarged by hand.
            wide, small = (found["wide"], found["small"]) if width > 390 else ([], [])
            assert (wide, found["pale"], small, found["requests"]) == ([], [], [], 0), (name, width, media, scheme)
            assert found["width"] <= width, (name, width, media)
        tree = browser.tree()
        assert [role for role, _ in tree if role in ("banner", "main")] == ["banner", "main"], name
        silent = {
            role for role, text in tree if role in ("image", "figure", "table", "button", "link", "columnheader") and not text
        }
        assert silent == set(), name
        sizes = set(re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", browser.pdf()))
        assert all(abs(float(w) - 595) < 2 and abs(float(h) - 842) < 2 for w, h in sizes) and sizes, name
        assert browser.run("document.documentElement.lang") == TAGS[language]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_errors_are_chosen_by_kind(browser: Browser) -> None:
    browser.show(wrong("en"))
    shown = 'document.querySelectorAll(".cases tbody tr:not([hidden])").length'
    every = browser.run(shown)
    browser.run('document.querySelector("[data-kind]").click()')
    assert 0 < browser.run(shown) < every
    assert ("button", "0 → 1") in browser.tree() and browser.run('document.querySelector("[role=status]").textContent')
    browser.run('document.querySelector(".all").click()')
    assert browser.run(shown) == every
