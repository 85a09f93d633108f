"""Articles of a dump: which pages are articles, their text, and what a bad page costs."""

import json
from pathlib import Path

import pytest

from pipeline.config import SourceConfig
from pipeline.engine import counting
from pipeline.engine.counting import Counts
from pipeline.sources.inputs import InputFile, expand
from pipeline.sources.records import Bad, Record, Skipped
from pipeline.wiki import pages, rendering
from pipeline.wiki.dumps import dump
from pipeline.wiki.dumps.side_input import side_input
from tests.wiki_dumps import REAL, ZH, Draft, multistream, source, written, xml

SIDE = [
    Draft("Template:LDe", "", 10, "Template:Lang-de"),
    Draft("Module:CGroup/IT", "return { name = 'IT', content = { Item('software', 'zh-cn:软件;zh-tw:軟體') } }", 828),
]


def _read(
    file: InputFile, root: Path, settings: SourceConfig | None = None, task_bytes: int = 1 << 40, counts: Counts | None = None
) -> list[Record | Bad | Skipped]:
    settings = settings or source()
    side = side_input(settings, [file], str(root))
    found: list[Record | Bad | Skipped] = []
    for task in dump.split(file, task_bytes):
        found += pages.records(settings, task, side, {} if counts is None else counts)
    return found


def _one(tmp_path: Path, text: str, settings: SourceConfig | None = None, counts: Counts | None = None) -> Record:
    file = written(tmp_path / "zhwiki.xml", xml([Draft("柏林 %", text), *SIDE]))
    found = _read(file, tmp_path / "run", settings, counts=counts)
    assert found[1:] == [Skipped("other namespace")] * 2
    assert isinstance(found[0], Record)
    return found[0]


def test_a_page_becomes_prose_in_one_variant(tmp_path: Path) -> None:
    counts: Counts = {}
    note = "{{NoteTA|G1=IT|T=zh-cn:柏林市;zh-tw:柏林}}"
    text = note + "'''柏林'''（{{LDe|Berlin}}{{無人知曉|一二三}}）的[[軟體]]與-{zh-cn:网络;zh-tw:網路}-。"
    record = _one(tmp_path, text, counts=counts)
    assert record.text == "柏林（德语：Berlin）的软件与网络。"
    assert record.title == "柏林市"
    assert record.origin == "zhwiki.xml#1"
    assert record.url == "https://zh.wikipedia.org/wiki/柏林_%25"
    assert counts["templates"] == {"無人知曉": 3}
    assert counts["conversions"]["groups"] == {"IT": 1}


def test_none_leaves_both_scripts(tmp_path: Path) -> None:
    record = _one(tmp_path, "臺灣的软件與-{zh-cn:网络;zh-tw:網路}-。", source(variant="none"))
    assert record.text in ("臺灣的软件與网络。", "臺灣的软件與網路。")


def test_a_page_that_forbids_conversion_is_not_converted(tmp_path: Path) -> None:
    assert _one(tmp_path, "__NOCC__\n“𨋢”字與“電梯”。").text == "“𨋢”字與“電梯”。"


def test_items_of_lists_stay_or_go(tmp_path: Path) -> None:
    text = "三个区：\n* 米特区是第一个\n* 潘科区是第二个\n\n完。"
    assert "潘科区" in _one(tmp_path, text).text
    assert "潘科区" not in _one(tmp_path, text, source(list_items=False)).text


@pytest.mark.parametrize(
    ("draft", "reason"),
    [
        (Draft("Talk:柏林", "甲", 1), "other namespace"),
        (Draft("伯林", "#REDIRECT [[柏林]]", 0, "柏林"), "redirect"),
        (Draft("伯林", " #重定向 [[柏林]]"), "redirect"),
        (Draft("伯林", "#重新導向 [[柏林]]"), "redirect"),
        (Draft("柏林 (消歧义)", "'''柏林'''可以指："), "disambiguation"),
        (Draft("柏林 (消歧義)", "'''柏林'''可以指："), "disambiguation"),
        (Draft("柏林", "'''柏林'''可以指：\n* 甲\n{{disambig}}"), "disambiguation"),
        (Draft("柏林", "'''柏林'''可以指：\n[[Category:消歧义页]]"), "disambiguation"),
        (Draft("数据", "{}", model="json"), "no wikitext"),
    ],
)
def test_what_is_no_article_is_skipped_with_a_reason(tmp_path: Path, draft: Draft, reason: str) -> None:
    file = written(tmp_path / "zhwiki.xml", xml([draft, Draft("消歧义", "谈消歧义页的条目：[[:Category:消歧义]]。")]))
    found = _read(file, tmp_path / "run")
    assert found[0] == Skipped(reason)
    assert isinstance(found[1], Record)


def test_a_page_that_the_parser_cannot_do_costs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true_render = rendering.render

    def render(text: str, **arguments: object) -> object:
        if "坏" in text:
            raise IndexError("list index out of range")
        return true_render(text, **arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pages, "render", render)
    file = written(tmp_path / "zhwiki.xml", xml([Draft("甲"), Draft("乙", "坏" * 1000), Draft("丙")]))
    found = _read(file, tmp_path / "run")
    assert [type(record) for record in found] == [Record, Bad, Record]
    assert found[1] == Bad("zhwiki.xml#2", "the parser failed: IndexError", "乙: " + "坏" * 100)


@pytest.mark.parametrize("opening", ["{{", "{{甲|", "[[", "-{", "{|\n|", "<ref>", "{{{", "<div><b>", "[[甲|{{乙|"])
def test_what_is_never_closed_ends_in_bounded_time(tmp_path: Path, opening: str) -> None:
    """20,000 openings become a record or a bad page within the budget of steps."""
    file = written(tmp_path / "zhwiki.xml", xml([Draft("甲", "开头。\n" + opening * 20_000), Draft("乙", "完好的一页。")]))
    first, second = _read(file, tmp_path / "run")
    assert isinstance(first, Record) or (isinstance(first, Bad) and first.reason.startswith("markup: "))
    assert isinstance(second, Record)
    assert second.text == "完好的一页。"


def test_records_do_not_depend_on_packing_or_tasks(tmp_path: Path) -> None:
    drafts = [Draft(f"第{number}条", f"{{{{LDe|Nr. {number}}}}}的軟體。" * (number % 40 + 1)) for number in range(400)] + SIDE
    counted: list[Counts] = []
    results = []
    for name, data in (("a", xml(drafts)), ("b", multistream(drafts, 25)[0])):
        for task_bytes in (1 << 40, 20_000):
            (tmp_path / name).mkdir(exist_ok=True)
            counts: Counts = {}
            results.append(_read(written(tmp_path / name / "zhwiki.xml", data), tmp_path / name, None, task_bytes, counts))
            counted.append(counts)
    assert len(results[0]) == 402
    assert all(result == results[0] for result in results)
    assert all(counts == counted[0] for counts in counted)
    assert counting.total(counted)["templates_kept"] == {"lang-de": 4 * sum(number % 40 + 1 for number in range(400))}


def test_the_real_page_is_prose(tmp_path: Path) -> None:
    if not ZH.exists():
        pytest.skip(f"no {ZH}: the real dumps are not here")
    counts: Counts = {}
    [record] = _read(expand([str(ZH)])[0], tmp_path, counts=counts)
    assert isinstance(record, Record)
    assert record.title == "柏林"
    assert record.text.startswith("柏林（德语：Berlin")
    assert "德意志联邦共和国首都" in record.text
    for mark in ("{{", "}}", "[[", "]]", "-{", "<ref", "'''", "参考文献", "Category"):
        assert mark not in record.text
    assert 7_000 < len(record.text) < 14_000
    assert counts["conversions"]["missing_groups"] == {"德国地名": 1, "地名": 1}


def test_real_snippets_keep_both_sides_of_their_rules(tmp_path: Path) -> None:
    path = REAL / "real_wikitext_snippets.jsonl"
    if not path.exists():
        pytest.skip(f"no {path}: the real snippets are not here")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    file = written(tmp_path / "zhwiki.xml", xml([Draft(line["page_guess"], line["text"]) for line in lines]))
    found = _read(file, tmp_path / "run")
    texts = {record.title: record.text for record in found if isinstance(record, Record)}
    assert len(texts) == len(lines)
    assert texts["QUIC"].startswith("快速UDP网路连接（英语：Quick UDP Internet Connections，缩写：QUIC")
    assert not [text for text in texts.values() if "-{" in text or "{{" in text]
