"""Articles of a dump: which pages are articles, their text, and what a bad page costs."""

import json
from pathlib import Path

import pytest

from pipeline.checks import invariants
from pipeline.config import SourceConfig
from pipeline.documents.stage import documents
from pipeline.documents.table import read_part
from pipeline.engine import counting
from pipeline.engine.counting import Counts
from pipeline.sources.inputs import InputFile, expand
from pipeline.sources.records import Bad, Record, Skipped
from pipeline.wiki import pages, rendering
from pipeline.wiki.dumps import dump
from pipeline.wiki.dumps.side_input import side_input
from tests.reading import made
from tests.wiki_dumps import CLOSING, HEAD, REAL, ZH, Draft, multistream, source, written, xml

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
        found += made(pages.raw(settings, task, side), {} if counts is None else counts)
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


def test_a_page_is_not_bad_because_memory_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def render(text: str, **arguments: object) -> object:
        raise MemoryError

    monkeypatch.setattr(pages, "render", render)
    with pytest.raises(MemoryError):
        _read(written(tmp_path / "zhwiki.xml", xml([Draft("甲")])), tmp_path / "run")


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
    assert texts["QUIC"].startswith("快速UDP网络连接（英语：Quick UDP Internet Connections，缩写：QUIC")
    assert not [text for text in texts.values() if "-{" in text or "{{" in text]


def _revisions(order: list[int]) -> bytes:
    """A dump with a <page> for each revision of 柏林, other pages between them; revisions 3 and 4 are of the same second."""
    drafts = [Draft("柏林", f"第{number}版：" + "柏林是德国的首都。" * (number + 1)) for number in order]
    others = [Draft(f"条目{number}", "河水在夏天涨得很高，渔民把船拴在柳树下。") for number in range(40)]
    pages = [draft.xml(1).replace("2025-08-01", f"2025-08-0{min(n, 3)}") for n, draft in zip(order, drafts, strict=True)]
    between = [draft.xml(number + 2) for number, draft in enumerate(others)]
    step = len(between) // len(pages)
    parts = [page + "".join(between[place * step : (place + 1) * step]) for place, page in enumerate(pages)]
    return (HEAD + "".join(parts) + "".join(between[len(pages) * step :]) + CLOSING).encode()


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 2, 4, 0, 1]])
def test_of_a_page_for_each_revision_the_latest_is_taken(tmp_path: Path, order: list[int]) -> None:
    (tmp_path / "zhwiki.xml").write_bytes(_revisions(order))
    settings = SourceConfig(name="w", kind="wiki", input=(str(tmp_path / "zhwiki.xml"),))
    manifests = []
    for name, task_bytes in (("whole", 0), ("cut", 2_000)):
        done = documents(settings, str(tmp_path / name), task_bytes=task_bytes)
        texts = {
            title: text
            for entry in done.files("part-")
            for title, text in read_part(done, entry["name"]).select(["title", "text"]).to_pandas().itertuples(index=False)
        }
        assert len(texts) == 41 and texts["柏林"] == "第4版：" + "柏林是德国的首都。" * 5
        assert done.manifest["skipped"] == {"earlier revision": 4}
        counts = done.manifest["counts"]
        assert (counts["read"], counts["kept"]) == (45, 41)
        assert counts["characters"] == sum(len("".join(text.split())) for text in texts.values())
        assert sum(done.manifest["languages"].values()) == sum(done.manifest["characters_histogram"].values()) == 41
        manifests.append(done.manifest)
    assert manifests[0] == manifests[1]
    assert invariants.documents(done) == []


def test_what_breaks_sentences_is_counted_and_dropped_unless_kept(tmp_path: Path) -> None:
    text = "{{lang|ja|図書館}}的書，面積為{{未知|甲}}，很大。-{於謙}-是名將。"
    counts: Counts = {}
    assert _one(tmp_path, "柏林有墙。" + text, counts=counts).text == "柏林有墙。於謙是名将。"
    assert counts["breaks"] == {"未知": 1} and counts["broken_sentences"] == 1
    assert counts["left_out"] == {"broken_sentence": len("図書館的书，面积为，很大。")}
    counts = {}
    kept = _one(tmp_path, "柏林有墙。" + text, source(broken_sentences="keep"), counts)
    assert kept.text == "柏林有墙。図書館的书，面积为，很大。於謙是名将。"
    assert counts["broken_sentences"] == 1 and "left_out" not in counts


@pytest.mark.parametrize(
    ("folder", "texts"),
    [
        (
            "wiki_inline_tags",
            ["这座桥建成于1923年。今日，它更常被用作集市的通道。", "截至2020年5月，镇上有两家旅店。", "排序第五名。"],
        ),
        ("wiki_quotes_tags", ["设样本xi独立，其均值为μn。", "学名Salixbabylonica常见于河边。", "剧目早市夜桥上演多年。"]),
        ("wiki_export_04", ["词条0是条目。", "词条11是条目。"]),
        ("wiki_page_twice", ["青石镇是虚构的镇，位于河边。", "电梯每天运行十二个小时"]),
    ],
)
def test_dumps_of_public_reports(tmp_path: Path, folder: str, texts: list[str]) -> None:
    dumps = REAL.parents[1] / "reports" / folder / "input"
    if not dumps.exists():
        pytest.skip(f"no {dumps}: the inputs of reports are not here")
    done = documents(SourceConfig(name="w", kind="wiki", input=(str(dumps),)), str(tmp_path))
    found = [text for entry in done.files("part-") for text in read_part(done, entry["name"])["text"].to_pylist()]
    assert all(sum(text.startswith(start) for text in found) == 1 for start in texts)
    assert not [text for text in found if "''" in text] and done.manifest["counts"]["bad"] == 0
    assert sum(done.manifest["skipped"].values()) == (folder == "wiki_page_twice")
