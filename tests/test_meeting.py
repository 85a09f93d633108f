"""What a meeting sees: the decision, what changed, what it cost; in two languages."""

import itertools
import json
import re
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from pipeline import storage
from pipeline.engine import integrity, stages
from pipeline.engine.stages import FileEntry, Finished
from tests.reports import said
from tests.scored import drawn, exported, scored
from tests.test_report import inputs, score, stage, text, train_row  # noqa: F401
from workflows import recipe
from workflows.chain import Chain
from workflows.evaluation.config import EvaluationConfig
from workflows.evaluation.scores import UNTRAINED
from workflows.registry import entries, history
from workflows.registry.config import GateConfig
from workflows.report.figures import ReportInputs, figures
from workflows.report.languages.texts import LANGUAGES, table, texts
from workflows.report.meeting import changes, judgement, references
from workflows.report.meeting.advice import advice
from workflows.report.meeting.config import ReportConfig
from workflows.report.meeting.costs import costs, machines
from workflows.report.meeting.recoveries import recoveries
from workflows.report.page import page, write_report

PLACEHOLDER = re.compile(r"\{[^}]*\}")
EVIL = "<script>alert(1)</script>"


def task(verdict: str, **more: Any) -> dict[str, Any]:
    row = {"task": "sentiment", "metric": "accuracy", "verdict": verdict, "margin": 0.01, "scores": [0.88, 0.87]}
    row |= {"score_intervals": [[0.86, 0.9], [0.85, 0.89]], "seeds": [3, 3], "examples": [1_200, 1_200], "difference": 0.01}
    row |= {"interval": [0.002, 0.018], "seeds_to_tell": None, "why": "", "differs": [], "contaminated": 12}
    return {**row, "without_contaminated": {"difference": 0.012}, **more}


def verdict(word: str = "better", passes: bool = True, **more: Any) -> dict[str, Any]:
    found = {"verdict": word, "passes": passes, "reasons": [], "champion": "tiny-0123", "licences": [], "tasks": [task(word)]}
    return {**found, "gate": {"confidence": 0.95}, **more}


@pytest.fixture
def whole(inputs: ReportInputs, tmp_path: Path) -> ReportInputs:  # noqa: F811
    """A run with everything: a champion, failures, errors by kind, a price."""
    from model.training.tracking.spent import Failure, Spent

    failure = Failure(1_796_043_822.7, "h3", f"rank 1: its process was killed {EVIL}", steps=47, seconds=93.1)
    spent = Spent(
        started=1_796_042_700.0,
        updated=1_796_142_700.0,
        ended="finished",
        attempts=2,
        step=2_000,
        workers=4,
        seconds={"computing": 7_000.0, "recovering": 93.1, "waiting for machines": 0.0},
        failures=(failure,),
    )
    kinds = [{"name": "0 → 1", "wrong": 80, "n": None, "other_wrong": None}]
    lengths = [{"name": "up to 8 characters", "wrong": 30, "n": 90, "other_wrong": 41}]
    errors = {"task": "sentiment", "problem": "", "examples": 1_200, "wrong": 144, "other": "tiny-0123", "other_wrong": 156}
    errors |= {"both_wrong": 101, "not_asked": 0, "seed": 0, "seeds": 3}
    cuts = [
        {"cut": "gold → guess", "wrong": 144, "rarer": 1, "kinds": kinds},
        {"cut": "length", "wrong": 144, "rarer": 0, "kinds": lengths},
    ]
    before = figures(inputs)
    before["funnel"][0] |= {"kept": 18_000, "dropped": {"too_short": 380}}
    export = str(tmp_path / "export-1")
    storage.write_bytes(
        f"{export}/README.md", b"---\npipeline_tag: fill-mask\n---\n# tiny\n\n## Intended use and limitations\n\nx\n"
    )
    more = {
        **{"spent": spent, "machines": 2, "verdict": verdict(), "intervals": {"sentiment accuracy": [0.86, 0.9]}},
        **{"errors": [{**errors, "cuts": cuts}], "champion": "tiny-0123", "export": export},
        "before": {"kind": "champion", "name": "tiny-0123", "figures": before, "stages": [], "whole": True},
    }
    rows = [
        {"kind": "skipped", "step": 56, "phase": 0, "reason": "spike", "samples": [0, 256]},
        {"kind": "rollback", "step": 50, "phase": 0, "from_step": 57, "samples": [0, 4_352]},
        {"kind": "slow", "step": 140, "phase": 0, "rank": 3, "host": "h3", "ratio": 2.44},
    ]
    settings = {**inputs.recipe, "report": {"price_per_hour": 2.5, "currency": "CNY"}, "gate": {"use": "commercial"}}
    return replace(inputs, more=more, metrics=[*inputs.metrics, *rows], recipe=settings)


def chinese(inputs: ReportInputs) -> ReportInputs:  # noqa: F811
    return replace(inputs, recipe={**inputs.recipe, "report": {**inputs.recipe["report"], "language": "zh"}})


def test_each_language_has_every_text_of_the_page_with_the_same_placeholders() -> None:
    wanted = said()
    assert len(wanted) > 400
    for language in LANGUAGES[1:]:
        found = table(language)
        assert not (missing := sorted(wanted - found.keys())), f"{language}.toml lacks {missing}"
        for english, translated in found.items():
            assert sorted(PLACEHOLDER.findall(english)) == sorted(PLACEHOLDER.findall(translated)), english
            assert translated.strip(), english


def test_the_first_screen_says_what_to_decide_and_why(whole: ReportInputs) -> None:
    content = figures(whole)
    shown = text(page(content))
    first = shown[: shown.index("What is new in the data")]
    assert "tiny is better than the champion tiny-0123. Promote it." in first
    assert "0.880, champion 0.870; difference +0.010 (95% interval +0.002 to +0.018): better." in first
    assert "1 failure was recovered, at a cost of 1 min 33 s and 47 repeated steps." in first
    assert "1 bad step was skipped. Training was rolled back 1 time." in first
    assert f"nezha-pipe promote {content['meeting']['export']}" in first
    assert "Trained from 30 November 2026 to 1 December 2026." in first


def test_what_changed_what_it_cost_and_what_was_wrong_are_shown(whole: ReportInputs) -> None:
    shown = text(page(figures(whole)))
    assert "news 18,000 18,500 – – –" in shown  # the documents of the champion are gone
    assert "too short 380 400 +20" in shown
    assert "30 November 2026 h3 rank 1: its process was killed" in shown and "47 1 min 33 s" in shown
    assert "checkpoint 1 h 58 min 2 3.94" in shown and "9.85" in shown  # 7,093 s on two machines, at 2.5 an hour
    assert "0 → 1 80 55.6%" in shown and "up to 8 characters 30 90 33.3% 45.6%" in shown
    assert "12 of 1,200 test examples are in texts of training; without them the difference is +0.012." in shown
    assert "reviews CC BY-SA 4.0 nothing found against it" in shown


def test_a_chinese_page_is_chinese(whole: ReportInputs) -> None:
    document = page(figures(chinese(whole)))
    shown = text(document)
    assert '<html lang="zh-Hans">' in document
    assert "tiny 优于现用模型 tiny-0123。 建议上线。" in shown
    assert "1 次故障已恢复，代价为1 分 33 秒和 47 个重算的训练步。跳过 1 个异常训练步。" in shown
    assert "训练时间：2026年11月30日至2026年12月1日。" in shown and "8 字以内 30 90" in shown
    for heading in re.findall(r"<h[1-3][^>]*>(.*?)</h[1-3]>", document)[1:]:
        assert re.search("[一-鿿]", heading), heading
    for caption in re.findall(r"<caption>(.*?)</caption>", document):
        assert re.search("[一-鿿]", caption), caption


def test_names_from_outside_are_escaped(whole: ReportInputs) -> None:
    whole.more["before"]["name"] = whole.more["errors"][0]["other"] = EVIL
    document = page(figures(whole))
    assert "<script" not in document and document.count("&lt;script&gt;") > 4


def test_the_model_card_has_the_same_facts(whole: ReportInputs, tmp_path: Path) -> None:
    written = write_report(whole, str(tmp_path / "report"))
    assert "model_card.md" in [entry.name for entry in written]
    card = (tmp_path / "report" / "model_card.md").read_text(encoding="utf-8")
    content = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert card.index("# tiny") < card.index("## Evaluation and provenance") < card.index("## Intended use")
    assert "pipeline_tag: fill-mask" in card
    for name in ("headline", "cost", "failures", "data", "licences"):
        assert content["sentences"][name] and content["sentences"][name] in card
    assert "| export-1 | sentiment | accuracy | 3 | 0.880 | 0.020 | 0.860–0.900 |" in card


@pytest.mark.parametrize(
    ("found", "word", "because"),
    [
        (None, "measure", "unscored"),
        (verdict(), "promote", "better"),
        (verdict("no worse"), "promote", "no worse"),
        (verdict("worse", False), "keep", "worse"),
        (verdict("no worse", False), "keep", "no better"),
        (verdict(licences=[{"source": "news", "forbids": True}]), "keep", "licence"),
        (verdict("cannot tell", False, tasks=[task("cannot tell", seeds_to_tell=9)]), "repeat", "seeds"),
        (verdict("cannot tell", False, tasks=[task("cannot tell", seeds_to_tell=190)]), "keep", "many seeds"),
        (verdict("cannot tell", False, tasks=[task("cannot tell")]), "repeat", "examples"),
        (verdict("cannot tell", False, tasks=[task("cannot tell", differs=["other train examples"])]), "repeat", "settings"),
        (verdict("cannot tell", False, tasks=[task("cannot tell", difference=None, seeds=[1, 1])]), "repeat", "one seed"),
        (verdict(champion="", tasks=[]), "promote", "first"),
    ],
)
def test_the_verdict_decides_the_advice(found: Any, word: str, because: str) -> None:
    means = [
        {"task": "a", "metric": "f1", "split": "test", "model_id": m, "mean": v} for m, v in (("m", 0.5), (UNTRAINED, 0.4))
    ]
    given = advice(found, means)
    assert (given["advice"], given["because"]) == (word, because)


def test_without_a_champion_pretraining_has_to_help() -> None:
    means = [{"task": "a", "metric": "f1", "split": "test", "model_id": m, "mean": 0.5} for m in ("m", UNTRAINED)]
    assert advice(verdict(champion="", tasks=[]), means)["because"] == "useless"


def test_documents_are_compared_by_their_texts(tmp_path: Path) -> None:
    def made(numbers: range) -> Chain:
        lines = [
            json.dumps(
                {"title": f"第{n}号", "content": f"北京大学图书馆{n * 37 % 101}日开放，读者{n * 53 % 97}人到馆，{n}人借书。"}
            )
            for n in numbers
        ]
        (folder := tmp_path / f"{numbers.start}").mkdir()
        (folder / "news.jsonl").write_text("\n".join([*lines, lines[0]]), encoding="utf-8")
        source = {"name": "news", "kind": "news", "input": [str(folder / "news.jsonl")]}
        return Chain(recipe.build({"name": "real", "source": [source]}, "real"), str(tmp_path / "runs"))

    sides = [[chain.run("documents_news"), chain.run("dedup")] for chain in (made(range(0, 40)), made(range(10, 45)))]
    funnels = [figures(ReportInputs(recipe_name="n", key="k", recipe={}, documents=s[:1], dedup=s[1]))["funnel"] for s in sides]
    found = changes.changes(funnels[1], {"funnel": funnels[0]}, sides[1], sides[0])
    kept = [row[0]["kept"] for row in funnels]
    (row,) = found["sources"]
    assert (row["before"], row["now"]) == tuple(kept)
    assert (
        row["same"] + row["new"] == kept[1] and row["same"] + row["gone"] == kept[0] and row["new"] == 5 and row["gone"] == 10
    )
    assert changes.changes(funnels[1], {"funnel": funnels[0]}, sides[1], [])["sources"][0]["new"] is None


def test_a_run_is_compared_with_the_last_one_on_other_documents_and_stays_so(tmp_path: Path) -> None:
    def finished(number: int) -> list[Any]:
        return [stage(tmp_path, "documents_news", source="news", counts={"kept": number}), stage(tmp_path, "checkpoint")]

    def reported(folder: str, number: int, started: float, name: str = "tiny") -> str:
        """Write a report on so many documents; return the folder that it was held against."""
        found = references.references("", {"name": name}, finished(number), str(tmp_path))
        digests = {done.name: integrity.manifest_digest(done.manifest) for done in finished(number)}
        done = stage(tmp_path, f"report-{folder}", started=started, inputs={**digests, **found.inputs})
        storage.write_json(done.file("manifest.json"), {**done.manifest, "settings": {"recipe": {"name": name}}})
        return Path(found.before.url).name.split("-")[1] if found.before else ""

    assert reported("one", 1, 10.0) == ""
    assert reported("two", 2, 20.0) == "one"
    assert reported("other", 3, 30.0, "base") == ""
    assert reported("three", 3, 40.0) == "two"
    for number, against in ((1, ""), (2, "one"), (3, "two")):  # what is finished is not written again
        found = references.references("", {"name": "tiny"}, finished(number), str(tmp_path))
        assert (Path(found.before.url).name.split("-")[1] if found.before else "") == against


def test_the_champion_is_the_last_that_is_not_this_model(tmp_path: Path) -> None:
    export = stage(tmp_path, "export")
    for number, (name, url) in enumerate((("old", "elsewhere"), ("own", export.url)), start=1):
        history.add(str(tmp_path), number, {"event": "promoted", "model": name, "champion": {"name": name, "url": url}})
    assert references.references(str(tmp_path), {"name": "tiny"}, [export], str(tmp_path)).champion == "old"
    assert references.references("", {"name": "tiny"}, [export], str(tmp_path)).champion == ""


def test_costs_are_hours_of_machines() -> None:
    time = {"kinds": [{"kind": "checkpoint", "stages": 1, "seconds": 10.0}, {"kind": "export", "stages": 1, "seconds": 360.0}]}
    found = costs(time, {"seconds": 7_200.0, "machines": 3}, {"price_per_hour": 2.0, "currency": "CNY"})
    assert [row["hours"] for row in found["rows"]] == [6.0, 0.1] and found["money"] == pytest.approx(12.2)
    assert costs(time, {}, {})["money"] is None
    assert machines([{"kind": "workers", "hosts": ["a", "b", "a"]}, {"kind": "end"}]) == 2 and machines([]) == 1
    with pytest.raises(ValueError, match="price_per_hour has no currency"):
        ReportConfig(price_per_hour=1.0)


def test_nothing_failed_is_said_too() -> None:
    found = recoveries([train_row(10)], None)
    assert found["failures"] == found["skipped"] == [] and found["attempts"] == 0


def test_numbers_and_dates_are_written_as_the_language_does() -> None:
    english, mandarin = texts(), texts("zh")
    assert (english.large(3_942_888), mandarin.large(3_942_888)) == ("3.94 million", "394.3 万")
    assert (english.date(1_796_042_700), mandarin.date(1_796_042_700)) == ("30 November 2026", "2026年11月30日")
    assert (english.duration(7_300), mandarin.duration(7_300)) == ("2 h 1 min", "2 小时 1 分")
    assert (english.money(9.5, "CNY"), mandarin.money(9.5, "CNY")) == ("CNY 9.50", "9.50 CNY")
    assert (
        english.count("{n} seed", "{n} seeds", 1) == "1 seed" and mandarin.count("{n} seed", "{n} seeds", 1) == "1 个随机种子"
    )
    assert mandarin.phrase("33 to 64 characters") == "33 至 64 字" and mandarin.phrase("ORG missed") == "漏识 ORG"
    assert mandarin("an unknown text") == "an unknown text"


def a_run(folder: Path, accuracy: float, seed: int) -> tuple[Finished, Finished]:
    """Return the stages `export` and `scores` of a made run."""
    export = exported(str(folder / f"export-{seed}"), f"weights {seed}")
    made = scored(str(folder / f"scores-{seed}"), export, {"sentiment": drawn(3, 400, accuracy, seed)})
    listed = (Path(made) / "predictions").iterdir()
    names = ["scores.jsonl", *(f"predictions/{path.name}" for path in listed)]
    facts = {"key": "0123", "version": 1, "settings": {}, "inputs": {}}
    licences = {"news": "CC BY-NC 4.0"}
    for url, content in (
        (export, {"stage": "export", "name": "tiny", "licences": licences, "files": [], **facts}),
        (made, {"stage": "scores", "files": [asdict(FileEntry.of(made, name)) for name in names], **facts}),
    ):
        storage.write_json(f"{url}/manifest.json", content)
    return stages.load(export), stages.load(made)


def test_scores_are_held_against_the_champion_without_reading_weights(tmp_path: Path) -> None:
    export, own = a_run(tmp_path, 0.85, 1)
    (Path(export.url) / "model.safetensors").unlink()
    champion, files = entries.collect(*(done.url for done in a_run(tmp_path, 0.7, 2)))
    champion = entries.register(str(tmp_path / "registry"), champion, files)
    found = judgement.Scored.of(export, own)
    better = judgement.judged(found, champion, GateConfig(resamples=1_000))
    assert advice(better, [])["advice"] == "promote" and better["champion"] == champion.name
    forbidden = judgement.judged(found, champion, GateConfig(resamples=1_000, use="commercial"))
    assert advice(forbidden, [])["because"] == "licence"
    low, high = judgement.intervals(found, GateConfig())["sentiment accuracy"] or (0.0, 0.0)
    assert low < 0.85 < high
    (gone,) = judgement.errors(found, champion, str(tmp_path / "gone"), EvaluationConfig(data=str(tmp_path / "gone")))
    assert gone["task"] == "sentiment" and "gone" in gone["problem"]


SCHEMES = re.compile(r":root \{(.*?)\n\s*\}", re.DOTALL)


def test_text_is_readable_in_every_scheme() -> None:
    """WCAG 2, AA: a contrast of 4.5."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    def contrast(one: str, other: str) -> float:
        high, low = sorted((luminance(one), luminance(other)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    style = (resources.files("workflows.report") / "style.html.jinja").read_text(encoding="utf-8")
    schemes = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in SCHEMES.findall(style)]
    assert len(schemes) == 3
    light, *_, printed = schemes
    for scheme in (*schemes[:2], light | printed):
        for name, ground in itertools.product(("text", "soft", "lost", "series-1"), ("page", "card", "stripe")):
            assert contrast(scheme[name], scheme[ground]) >= 4.5, (name, ground, scheme)
        for number in range(1, 9):
            assert contrast(scheme["on-series"], scheme[f"series-{number}"]) >= 4.5, (number, scheme)
