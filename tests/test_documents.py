"""Documents: the same bytes however the work is cut, correct counts, bad input refused in one line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline import storage
from pipeline.config import SourceConfig
from pipeline.documents import clean_part
from pipeline.documents import reading as sources
from pipeline.documents import stage as module
from pipeline.documents.stage import documents, number_of_parts
from pipeline.documents.table import BAD_SCHEMA, SCHEMA, document_id, part_of, read_part
from pipeline.engine.stages import Finished
from pipeline.errors import CorpusError
from pipeline.sources import inputs
from pipeline.sources.inputs import InputFile
from pipeline.sources.records import Record
from tests import corpus


def rows(stage: Finished) -> list[dict[str, Any]]:
    return [row for entry in stage.files("part-") for row in read_part(stage, entry["name"]).to_pylist()]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("layout", corpus.LAYOUTS)
def test_the_same_bytes_however_the_work_is_cut(layout: tuple[str, int, int]) -> None:
    assert corpus.same_bytes(corpus.prepared(layout[0]), corpus.prepared(*layout), "documents") > 20


@pytest.mark.parametrize("which", ["generated", pytest.param("real", marks=corpus.needs_real_data)])
def test_counts_of_the_manifest_are_those_of_the_rows(which: str) -> None:
    stages = corpus.prepared(which)
    for name, kind in (("text", "text"), ("news", "news")):
        stage = stages[f"documents_{name}"]
        found, counts = rows(stage), stage.manifest["counts"]
        assert (stage.manifest["source"], stage.manifest["kind"]) == (name, kind)
        assert counts["kept"] == len(found) == counts["read"] - counts["bad"] - counts["empty"]
        assert counts["characters"] == sum(row["characters"] for row in found)
        assert sum(stage.manifest["characters_histogram"].values()) == len(found)
        assert [entry["rows"] for entry in stage.files("part-")] == [
            read_part(stage, entry["name"]).num_rows for entry in stage.files("part-")
        ]
        assert len({row["id"] for row in found}) == len(found)
        assert [row["id"] for row in found] == sorted(row["id"] for row in found), "parts are ranges of ids, sorted"
        assert all(row["id"] == document_id(name, row["origin"]) for row in found)


def test_what_stands_in_a_document() -> None:
    found = {row["origin"]: row for row in rows(corpus.prepared()["documents_news"])}
    first = found["news.jsonl#0"]
    assert (first["title"], first["url"], first["source"]) == ("第0条新闻", "http://n/0", "news")
    assert first["text"] == corpus.text_documents(1, 1)[0]
    assert first["characters"] == len(first["text"].replace("\n", ""))
    assert 0.5 < first["chinese_share"] < 1
    assert corpus.prepared()["documents_news"].manifest["changed"] == {"html": 60}


def test_a_moved_corpus_and_operational_settings_are_the_same_stage(tmp_path: Path) -> None:
    one, two = corpus.write_text(tmp_path / "one", 9), corpus.write_text(tmp_path / "two", 9)
    root = str(tmp_path / "runs")
    first = documents(SourceConfig(name="t", kind="text", input=(str(one),)), root)
    again = documents(
        SourceConfig(name="t", kind="text", input=(f"{two}/*",), priority=9, max_bad_ratio=0.5), root, task_bytes=100
    )
    assert (again.url, again.fresh) == (first.url, False)
    (two / "a.txt").write_text("别的")
    assert documents(SourceConfig(name="t", kind="text", input=(str(two),)), root).url != first.url


def test_a_rerun_reads_no_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "SETTLED_SECONDS", 0.0)
    source = SourceConfig(name="t", kind="text", input=(str(corpus.write_text(tmp_path / "in", 9)),))
    first = documents(source, str(tmp_path / "runs"))
    read: list[str] = []
    whole: Callable[..., Any] = storage.open_read

    def noting(url: str, *rest: Any, **more: Any) -> Any:
        read.append(url)
        return whole(url, *rest, **more)

    monkeypatch.setattr(storage, "open_read", noting)
    assert documents(source, str(tmp_path / "runs")).manifest == first.manifest
    assert {storage.base_name(url) for url in read} == {"digests.json", "manifest.json", "run.json"}


def test_too_many_bad_records_are_refused_and_a_higher_limit_reads_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = "\n\n".join(corpus.text_documents(4, 9)).encode()
    (tmp_path / "in.txt").write_bytes(good + "\n\n北京大学的学生。".encode("gb18030"))
    root = str(tmp_path / "runs")

    def source(max_bad_ratio: float) -> SourceConfig:
        return SourceConfig(name="t", kind="text", input=(str(tmp_path / "in.txt"),), max_bad_ratio=max_bad_ratio)

    with pytest.raises(CorpusError) as error:
        documents(source(0.01), root)
    assert "1 of 10 records cannot be read, max_bad_ratio allows 1.00% (in.txt#" in str(error.value)
    assert str(error.value).endswith("/bad.jsonl: fix the input, or raise max_bad_ratio")
    monkeypatch.setattr(clean_part.ReadDocuments, "_records", None)  # any second read would fail
    done = documents(source(0.1), root)
    assert done.manifest["counts"]["bad"] == 1
    assert done.manifest["bad"] == {"not UTF-8": 1}
    assert done.manifest["samples"]["bad"][0]["text"] == "北京大学的学生。"
    with pytest.raises(CorpusError, match="1 of 10 records"):  # finished, but not good enough for a lower limit
        documents(source(0.01), root)


@pytest.mark.parametrize("content", ["", "\n\n \n", "\u200b\n\n\ufeff\n"])
def test_a_source_without_a_document_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "in.txt").write_text(content)
    with pytest.raises(CorpusError, match="source 't': no document in its input; check the files and the kind 'text'"):
        documents(SourceConfig(name="t", kind="text", input=(str(tmp_path / "in.txt"),)), str(tmp_path / "runs"))


def test_an_empty_file_among_others_is_no_error(tmp_path: Path) -> None:
    folder = corpus.write_text(tmp_path / "in", 9)
    (folder / "empty.txt").touch()
    (folder / "blank.txt").write_text("\n\n")
    done = documents(SourceConfig(name="t", kind="text", input=(str(folder),)), str(tmp_path / "runs"))
    assert done.manifest["counts"]["kept"] == 9


def test_a_source_without_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="source 't' of kind 'text' has no input; name files, folders or globs"):
        documents(SourceConfig(name="t", kind="text"), str(tmp_path))


def test_parts_are_equal_ranges_of_all_ids() -> None:
    ids = np.array([0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1], np.uint64)
    assert part_of(ids, 2).tolist() == [0, 0, 0, 1, 1]
    assert part_of(ids, 1).tolist() == [0] * 5
    assert part_of(ids, 16).tolist() == [0, 0, 7, 8, 15]
    assert part_of(ids, 7).max() == 6
    assert [
        number_of_parts([InputFile(name, name, size, "")]) for name, size in (("a", 0), ("a", 8 << 30), ("a.xz", 2 << 30))
    ] == [
        16,
        512,
        512,
    ]


def test_parts_are_readable_by_column() -> None:
    stage = corpus.prepared()["documents_text"]
    table = read_part(stage, stage.files("part-")[0]["name"], ["id", "text"])
    assert table.schema == pa.schema([SCHEMA.field("id"), SCHEMA.field("text")])


STEPS = {
    "html": "<p>　　央视网消息：</p><p>外宾来访。</p>",
    "invisible": "　　\r\n图书\u200b馆",
    "composed": "Cafe\u0301",
    "boilerplate": "\n责任编辑：张三\n",
    "separators": "\n======\n",
    "personal_data": "请致电13800138000。",
}
CHANGES = {
    "html": ("<p>　　央视网", "\n　　央视网"),
    "invisible": ("图书\u200b馆", "图书馆"),
    "composed": ("Cafe\u0301", "Café"),
    "boilerplate": ("责任编辑：张三", "Café\n======"),
    "separators": ("======", "Café\n请致电"),
    "personal_data": ("请致电***********。", "请致电<电话>。"),
}


def test_a_sample_of_a_change_shows_what_that_rule_did(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(corpus.json_lines([{"content": "".join(STEPS.values())}]))
    source = SourceConfig(name="t", kind="news", input=(str(tmp_path / "in.jsonl"),), personal_data="mask")
    manifest = documents(source, str(tmp_path / "runs")).manifest
    assert manifest["changed"] == dict.fromkeys(STEPS, 1)
    for rule, (before, after) in CHANGES.items():
        (sample,) = manifest["samples"][f"changed_{rule}"]
        assert before in sample["before"] and before not in sample["after"], rule
        assert after in sample["after"] and after not in sample["before"], rule
        assert "<p>" not in sample["before"] or rule == "html", rule


HTML = [
    ("news", "<p>正文</p>", True),
    ("news", "他说&ldquo;好&rdquo;，北京&nbsp上海", True),
    ("news", "一 < 二，甲&乙，a.cn/?x=1&copy=2", False),
    ("news", "# 标题\n<b>粗</b>", True),
    ("baike", "甲<br/>乙", True),
    ("baike", "温度&#8451;", True),
    ("text", "甲<br>乙", True),
    ("text", "甲＆nbsp；乙", True),
    ("text", "# 标题\n\n用 `<div>` 分块", False),
    ("text", "```\n<p>x</p>\n```", False),
    ("text", "正文", False),
    ("wiki", "数学 &lt; 物理", True),
]


@pytest.mark.parametrize(("kind", "text", "expected"), HTML)
def test_markup_is_recognised_in_records_of_any_format(kind: str, text: str, expected: bool) -> None:
    assert clean_part.holds_html(Record("f#0", "", text), kind) == expected
    in_title = expected and not text.startswith(("# 标题", "```"))
    assert clean_part.holds_html(Record("f#0", text.split("\n")[0], "文"), "news") == in_title
    assert not clean_part.holds_html(Record("f#0", "", text, converted=True), "wiki")
    assert clean_part.holds_html(Record("f#0", "", text, markup=True), kind)


def test_markup_in_text_files_goes_as_in_fields_of_crawls(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text(
        "<p>他说&ldquo;你好&rdquo;。</p>\n再见&nbsp;&nbsp;了<br>。\n\n第二篇没有标签。\n\n第三篇也没有。\n"
    )
    done = documents(SourceConfig(name="t", kind="text", input=(str(tmp_path / "in.txt"),)), str(tmp_path / "runs"))
    assert sorted(row["text"] for row in rows(done)) == ["他说“你好”。\n再见 了\n。", "第三篇也没有。", "第二篇没有标签。"]
    assert done.manifest["changed"] == {"html": 1}


def test_titles_are_counted_as_their_texts_are(tmp_path: Path) -> None:
    """A document whose title and text are changed by a rule counts once; every number that is masked counts."""
    text = "国家主席在北京会见外宾，双方就合作进行了讨论。"
    articles = [
        {"title": "致电13800138000", "content": text + "请致电13800138001。"},
        {"title": "邮箱a@example.com", "content": text},
        {"title": "猜你喜欢", "content": text + "二"},
        {"title": " ", "content": text + "三"},
        {"title": "没有正文13800138000", "content": ""},
    ]
    (tmp_path / "in.jsonl").write_bytes(corpus.json_lines(articles))
    source = SourceConfig(name="t", kind="news", input=(str(tmp_path / "in.jsonl"),), personal_data="mask")
    done = documents(source, str(tmp_path / "runs"))
    assert done.manifest["changed"] == {"boilerplate": 1, "personal_data": 2, "title": 1}
    assert done.manifest["personal_data"] == {"mail": 1, "phone": 2}
    assert done.manifest["samples"]["changed_title"] == [{"before": "猜你喜欢", "after": ""}]
    assert sorted(row["title"] for row in rows(done)) == ["", "", "致电<电话>", "邮箱<邮箱>"]


def mixed_lines(good: int, bad: int) -> bytes:
    """Articles, each followed by some records without a field that holds text."""
    article = corpus.json_lines([{"content": "国家主席在北京会见外宾，双方就合作进行了讨论。"}])
    return (article + corpus.json_lines([{"words": "外宾"}]) * (bad // good)) * good


def test_bad_records_are_all_kept_a_token_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.jsonl").write_bytes(mixed_lines(20, 400))
    source = SourceConfig(name="t", kind="news", input=(str(tmp_path / "in.jsonl"),), max_bad_ratio=1.0)
    whole = documents(source, str(tmp_path / "whole"))
    monkeypatch.setattr(clean_part, "SPILL_BYTES", 1)
    monkeypatch.setattr(clean_part, "BATCH_BAD", 7)
    (task,) = sources.plan(source, inputs.expand(source.input), 1 << 24)
    chunks = [
        chunk
        for chunk in clean_part.ReadDocuments(source.resolved(), 16, str(tmp_path))(task)
        if chunk.table.schema == BAD_SCHEMA
    ]
    assert len(chunks) > 20 and max(chunk.table.num_rows for chunk in chunks) == 7
    cut = documents(source, str(tmp_path / "cut"), task_bytes=100)
    assert cut.manifest == whole.manifest
    kept = [json.loads(line) for line in storage.read_bytes(cut.file(module.BAD_FILE)).splitlines()]
    assert len(kept) == whole.manifest["counts"]["bad"] == 400
    assert [one["origin"] for one in kept] == sorted({one["origin"] for one in kept})


def test_a_task_of_bad_records_alone_is_given_up_on_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean_part, "MAX_BAD_RECORDS", 50)
    (tmp_path / "in.jsonl").write_bytes(mixed_lines(1, 400))

    def source(max_bad_ratio: float) -> SourceConfig:
        return SourceConfig(name="t", kind="news", input=(str(tmp_path / "in.jsonl"),), max_bad_ratio=max_bad_ratio)

    message = r"^source 't': 51 of 52 records cannot be read, .*text_field .* fix the input, or raise max_bad_ratio$"
    with pytest.raises(CorpusError, match=message):
        documents(source(0.01), str(tmp_path / "runs"))
    assert documents(source(1.0), str(tmp_path / "runs")).manifest["counts"]["bad"] == 400
    (tmp_path / "in.jsonl").write_bytes(mixed_lines(300, 300))  # as many good ones: the total decides
    with pytest.raises(CorpusError, match="300 of 600 records"):
        documents(source(0.01), str(tmp_path / "runs"))


def test_ranges_of_many_parts_stay_large(tmp_path: Path) -> None:
    """A spill file every 8 MiB would give each of 2,000 parts 4 KiB of it."""
    lines = [{"content": f"第{number}篇：" + "国家主席在北京会见外宾。" * 400} for number in range(1_200)]
    (tmp_path / "in.jsonl").write_bytes(corpus.json_lines(lines))
    source = SourceConfig(name="t", kind="news", input=(str(tmp_path / "in.jsonl"),)).resolved()
    (task,) = sources.plan(source, inputs.expand(source.input), 1 << 26)
    few, many = (
        [chunk for chunk in clean_part.ReadDocuments(source, parts, str(tmp_path))(task) if len(chunk.buckets)]
        for parts in (16, 2_000)
    )
    assert (len(few), len(many)) == (2, 1)


def test_samples_are_of_the_first_documents_however_the_work_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    houses = ("博物馆", "图书\u200b馆", "美术\u200b馆")
    texts = [f"第{number}篇：{houses[number % 3]}的读者都来了。" for number in range(60)]
    (tmp_path / "in.jsonl").write_bytes(corpus.json_lines([{"content": text} for text in texts]))
    source = SourceConfig(name="t", kind="news", input=(str(tmp_path / "in.jsonl"),))
    whole = documents(source, str(tmp_path / "whole")).manifest
    monkeypatch.setattr(clean_part, "MAX_SPILL_BYTES", 1)
    monkeypatch.setattr(clean_part, "BATCH_RECORDS", 4)
    cut = documents(source, str(tmp_path / "cut"), task_bytes=500).manifest
    assert cut == whole
    shown = [sample["before"].partition("篇")[0] for sample in whole["samples"]["changed_invisible"]]
    assert shown == [f"第{number}" for number in range(15) if number % 3]
    assert whole["changed"] == {"invisible": 40}


def test_two_records_of_one_identity_are_refused(tmp_path: Path) -> None:
    corpus.write_text(tmp_path / "in")
    source = SourceConfig(name="s", kind="text", input=(str(tmp_path / "in"),))
    done = documents(source, str(tmp_path / "out"))
    table = next(table for entry in done.files("part-") if (table := read_part(done, entry["name"])).num_rows)
    write = module.WritePart(str(tmp_path / "again"), 16)
    assert [entry.rows for entry in write(0, table).files] == [table.num_rows]
    with pytest.raises(CorpusError, match=rf"two records have the same id, {table['id'][0].as_py():016x}"):
        write(0, pa.concat_tables([table, table.slice(0, 1)]))


def test_extracts_of_a_wiki_are_converted_as_its_pages_are(tmp_path: Path) -> None:
    page = "電腦\n\n電腦是處理資料的機器，學校裡有很多。"
    (tmp_path / "wiki_00").write_text(f'<doc id="1" url="u" title="電腦">\n{page}\n</doc>\n')
    for variant, expected in (("auto", "电脑"), ("none", "電腦")):
        source = SourceConfig(name="w", kind="wiki", input=(str(tmp_path / "wiki_00"),), variant=variant)  # type: ignore[arg-type]
        (row,) = rows(documents(source, str(tmp_path / "runs")))
        assert (row["title"], row["text"][:2]) == (expected, expected)


def test_samples_of_personal_data_do_not_show_it(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("联系电话13812345678，邮箱zhang@example.com，欢迎来信来电咨询。")
    done = documents(SourceConfig(name="t", kind="text", input=(str(tmp_path / "in.txt"),)), str(tmp_path / "runs"))
    assert done.manifest["personal_data"] == {"mail": 1, "phone": 1}
    samples = str(done.manifest["samples"])
    assert "13812345678" not in samples and "example" not in samples and "<电话>" in samples


def test_samples_of_other_rules_do_not_show_personal_data_either(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text(
        "<p>联系\u200b电话13812345678，邮箱zhang@example.com</p>，欢迎来信来电咨询。\n责任编辑：王五"
    )
    done = documents(SourceConfig(name="t", kind="text", input=(str(tmp_path / "in.txt"),)), str(tmp_path / "runs"))
    assert set(done.manifest["changed"]) == {"html", "invisible", "boilerplate", "personal_data"}
    samples = str(done.manifest["samples"])
    assert "13812345678" not in samples and "example" not in samples


def test_unreadable_records_do_not_show_personal_data_either(tmp_path: Path) -> None:
    good = '{"text": "北京大学的学生在图书馆里学习。"}\n'
    (tmp_path / "in.jsonl").write_text(good * 9 + '{"text": "电话13812345678，邮箱zhang@example.com\n')
    source = SourceConfig(name="t", kind="text", input=(str(tmp_path / "in.jsonl"),), max_bad_ratio=1.0)
    done = documents(source, str(tmp_path / "runs"))
    listed = Path(done.file("bad.jsonl")).read_text()
    for shown in (listed, str(done.manifest["samples"]["bad"])):
        assert "<电话>" in shown and "13812345678" not in shown and "example" not in shown


def test_auto_written_out_reads_nothing_again(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("北京大学的学生在图书馆里学习。")
    source = SourceConfig(name="t", kind="text", input=(str(tmp_path / "in.txt"),))
    assert documents(source, str(tmp_path / "runs")).fresh
    assert not documents(replace(source, variant="none", personal_data="mask"), str(tmp_path / "runs")).fresh
    assert documents(replace(source, personal_data="keep"), str(tmp_path / "runs")).fresh


def test_pages_of_kind_web_are_measured_and_lose_what_is_no_text(tmp_path: Path) -> None:
    page = {
        "title": "公交线路调整_云溪新闻网",
        "content": "今天起，六条公交线路进行调整。\n本文关键词：公交,线路\n金冠娱乐官网注册送彩金。",
    }
    (tmp_path / "in.jsonl").write_bytes(corpus.json_lines([page]))
    measured = {}
    for kind in ("web", "news"):
        source = SourceConfig(name=kind, kind=kind, input=(str(tmp_path / "in.jsonl"),))
        done = documents(source, str(tmp_path / "out"))
        (row,) = [row for file in done.files("part-") for row in read_part(done, file["name"]).to_pylist()]
        measured[kind] = (row["title"], row["text"].count("\n"), row["spam"], row["form"], done.manifest["changed"])
    assert measured["web"] == ("公交线路调整", 1, 2.0, "prose", {"site_title": 1, "keywords": 1})
    assert measured["news"] == ("公交线路调整_云溪新闻网", 2, 0.0, "prose", {})


def test_other_phrases_of_spam_make_another_stage(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(corpus.json_lines([{"title": "", "content": "星河会所今天开业。"}]))
    (tmp_path / "more.txt").write_text("星河会所", encoding="utf-8")

    def done(*given: str) -> str:
        source = SourceConfig(name="a", kind="web", input=(str(tmp_path / "in.jsonl"),), spam_phrases=given)
        return documents(source, str(tmp_path / "out")).url

    assert done("星河会所") == done(str(tmp_path / "more.txt")) != done()
