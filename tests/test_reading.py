"""Reading: every record once however files are cut, small files together, each unreadable input reported in one line."""

import bz2
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import storage
from pipeline.documents import reading
from pipeline.documents.stage import documents
from pipeline.documents.table import read_part
from pipeline.errors import CorpusError
from pipeline.sources import demo, inputs
from pipeline.sources.formats import lines
from pipeline.sources.records import Bad, Record, Skipped
from tests import corpus
from tests.reading import bad, config, made, planned, read, read_data, texts

BOM = b"\xef\xbb\xbf"
FILES: dict[str, bytes] = {
    "blank lines": "一\n二\n\n三\n\n四\n五\n".encode(),
    "Windows line ends": "一\r\n二\r\n\r\n三\r\n\r\n\r\n四\r\n".encode(),
    "mark at the beginning": BOM + "一\n二\n\n三\n".encode(),
    "several blank lines": "\n\n一\n\n\n\n二\n \t\n\n三\n\n".encode(),
    "no line end at the end": "一\n\n二\n\n三".encode(),
    "blank lines alone": b"\n\n\n",
    "nothing": b"",
    "JSON lines": b'{"text": "a"}\n\n{"text": "b\\n\\nc"}\n{"text": "d"}',
    "JSON lines with a mark": BOM + b'{"text": "a"}\r\n{"text": "b"}\r\n',
    "JSON lines in GB18030": '{"text": "镕基"}\n{"text": "北京大学"}\n'.encode("gb18030"),
    "blank lines in GB18030": "北京大学\n的学生\n\n在上海\n".encode("gb18030"),
    "<doc> files": (
        '<doc id="1" url="http://x/1" title="一">\n一\n\n这是一。\n</doc>\n\n<doc id="2" url="" title="二">\n二。\n</doc>\n'
    ).encode(),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_anywhere_has_the_same_records(tmp_path: Path, name: str) -> None:
    data = FILES[name]
    whole = read_data(tmp_path / "f", data)
    assert not bad(whole)
    for first in range(1, len(data)):
        assert read_data(tmp_path / "f", data, first) == whole, first
        for second in range(first + 1, len(data), 3):
            assert read_data(tmp_path / "f", data, first, second) == whole, (first, second)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["一", "二\n", "\n", "\r\n", " \n", "三四五", "\u2028"]), max_size=14), st.data())
def test_any_text_with_blank_lines_cut_anywhere_has_the_same_records(
    tmp_path: Path, parts: list[str], chance: st.DataObject
) -> None:
    data = ("首。\n\n" + "".join(parts)).encode()
    cuts = chance.draw(st.lists(st.integers(1, len(data)), max_size=3, unique=True).map(sorted))
    assert read_data(tmp_path / "f", data, *cuts) == read_data(tmp_path / "f", data)


def test_documents_are_parted_by_blank_lines(tmp_path: Path) -> None:
    assert read_data(tmp_path / "f", FILES["blank lines"]) == [
        Record("f#0", "", "一\n二\n"),
        Record("f#9", "", "三\n"),
        Record("f#14", "", "四\n五\n"),
    ]
    assert texts(read_data(tmp_path / "f", FILES["mark at the beginning"])) == ["一\n二\n", "三\n"]
    assert texts(read_data(tmp_path / "f", FILES["several blank lines"])) == ["一\n", "二\n", "三\n"]
    assert texts(read_data(tmp_path / "f", FILES["JSON lines with a mark"])) == ["a", "b"]
    assert texts(read_data(tmp_path / "f", FILES["JSON lines in GB18030"])) == ["镕基", "北京大学"]


def test_a_line_separator_inside_a_text_parts_nothing(tmp_path: Path) -> None:
    data = "一\u2028二\x85三\x0b四\n\n五\n".encode()
    assert texts(read_data(tmp_path / "f", data)) == ["一\u2028二\x85三\x0b四\n", "五\n"]
    json_lines = json.dumps({"text": "一\u2028二"}, ensure_ascii=False).encode()
    assert texts(read_data(tmp_path / "f", json_lines)) == ["一\u2028二"]


@pytest.mark.parametrize("beginning", [b"", BOM])
def test_a_large_file_without_blank_lines_is_a_document_a_line(tmp_path: Path, beginning: bytes) -> None:
    line = ("长" * 99 + "\n").encode()
    data = beginning + line * ((1 << 20) // len(line) + 1)
    assert len(read_data(tmp_path / "f", data)) == data.count(b"\n")
    assert read_data(tmp_path / "f", data, 500_000, 500_100) == read_data(tmp_path / "f", data)
    small = beginning + line * 100
    assert len(read_data(tmp_path / "f", small)) == 1
    spaced = beginning + line * 5 + b" \t\n" + data.removeprefix(beginning)
    assert len(read_data(tmp_path / "f", spaced)) == 2, "a line of spaces parts documents"


@pytest.mark.parametrize("task_bytes", [1, 100, 1_000, 5_000])
@pytest.mark.parametrize("write", [corpus.write_text, corpus.write_news])
def test_task_sizes_change_no_record(tmp_path: Path, task_bytes: int, write: Callable[[Path], Path]) -> None:
    folder = write(tmp_path / "in")
    whole = read(folder)
    assert len(planned(folder)) == 1 < len(planned(folder, task_bytes=task_bytes))
    assert read(folder, task_bytes=task_bytes) == whole
    assert len({record.origin for record in whole}) == len(whole) >= 60


def test_a_store_is_read_as_a_disk(tmp_path: Path) -> None:
    folder = corpus.write_text(tmp_path / "in")
    pq.write_table(pa.table({"text": ["一。", "二。"]}), folder / "d.parquet")
    (folder / "e.gz").write_bytes(gzip.compress(b'[{"text": "a"}]'))
    for path in folder.iterdir():
        storage.write_bytes(f"memory://store/in/{path.name}", path.read_bytes())
    assert read("memory://store/in", task_bytes=500) == read(folder)


def test_parquet_is_cut_by_row_groups_and_rows_keep_their_numbers(tmp_path: Path) -> None:
    table = pa.table({"text": [f"第{i}行。" * 20 for i in range(50)], "id": list(range(50))})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=7)
    whole = read(tmp_path)
    assert [(record.origin, record.text) for record in whole if isinstance(record, Record)] == [
        (f"a.parquet#{i}", f"第{i}行。" * 20) for i in range(50)
    ]
    for task_bytes, groups in ((1, [1] * 8), (2_500, [2] * 4)):
        tasks = planned(tmp_path, task_bytes=task_bytes)
        assert [(task.end or 0) - task.start for task in tasks] == groups
        assert read(tmp_path, task_bytes=task_bytes) == whole


def test_files_after_a_small_file_of_several_ranges_are_read_once(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["百科全书。" * 400] * 40}), tmp_path / "a.parquet", row_group_size=10)
    pq.write_table(pa.table({"text": ["尾。"]}), tmp_path / "b.parquet")
    tasks = planned(tmp_path, kind="wiki", task_bytes=10_000)
    assert len(tasks) > 1
    assert sum(len(task.following) for task in tasks) == 1
    found = read(tmp_path, kind="wiki", task_bytes=10_000)
    assert len(found) == len({record.origin for record in found}) == 41


def test_a_row_too_long_for_memory_is_one_bad_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_RECORD_BYTES", 90)
    pq.write_table(pa.table({"text": ["文" * 30, "文" * 31, "b" * 90]}), tmp_path / "a.parquet")
    found = read(tmp_path)
    assert texts(found) == ["文" * 30, "b" * 90]
    assert [(one.origin, one.reason) for one in bad(found)] == [("a.parquet#1", "longer than 8 MiB")]


def test_small_files_are_read_together_in_tasks_of_bounded_size(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number:02}.txt").write_text("文" * 40)  # 120 bytes
    (tmp_path / "15.txt").write_text("大\n\n" * 500)  # 2,500 bytes
    tasks = planned(tmp_path, task_bytes=1_200)
    assert [(task.file, len(task.following)) for task in tasks] == [
        ("00.txt", 9),
        ("10.txt", 4),
        ("15.txt", 0),
        ("15.txt", 0),
        ("15.txt", 0),
        ("16.txt", 9),
        ("26.txt", 3),
    ]
    assert len({task.name for task in tasks}) == len(tasks)
    assert sum(len(texts(read(tmp_path, task_bytes=size))) for size in (1_200, 1 << 20)) == 2 * 529


def test_what_files_are_is_counted_once_each(tmp_path: Path) -> None:
    folder = corpus.write_text(tmp_path / "in")
    (folder / "empty.txt").touch()
    (folder / "blank.txt").write_text("\n \n")
    for task_bytes in (300, 1 << 24):
        counts: dict[str, object] = {}
        read(folder, task_bytes=task_bytes, counts=counts)
        assert counts == {"files": {"documents": 2, "JSON lines": 1, "empty": 2}}


def test_the_demo_is_read_and_tells_what_is_split_off() -> None:
    source = config("news", kind="demo")
    (task,) = reading.plan(source, [], 1)
    found = list(made(reading.raw(source, task, {}), {}))
    assert len(found) == len(demo.read_news())
    assert sum(isinstance(record, Record) for record in found) > 2_000
    assert {record.reason for record in found if isinstance(record, Skipped)} == {"split_off"}


NEWS = (
    '{"news_id": "1", "title": "标题", "content": "<p>正文</p>", "url": "http://n/1", "desc": ""}\n'
    '{"title": null, "text": "只有正文"}\n'
    '{"title": "空", "content": ""}\n'
)


def test_news_has_titles_and_addresses(tmp_path: Path) -> None:
    assert read_data(tmp_path / "f", NEWS.encode(), kind="news") == [
        Record("f#0", "标题", "<p>正文</p>", "http://n/1"),
        Record(f"f#{len(NEWS.splitlines()[0].encode()) + 1}", "", "只有正文"),
        Record(f"f#{sum(len(line.encode()) + 1 for line in NEWS.splitlines()[:2])}", "空", ""),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": ', "not JSON"),
        (b'{"text": "a"} "b"', "not JSON"),
        (b'["text"]', "not a record of fields"),
        (b'{"text": 3}', "field text is not text"),
        (b'{"title": "a"}', "no field known to hold text"),
        (b'{"text": {"a": 1}}', "field text is not text"),
        ('{"text": "中文"}'.encode("gb18030"), "not UTF-8"),
        (b"[" * 100_000, "not JSON"),
        (b'{"text": ' + b"[" * 900 + b"]" * 900 + b"}", None),
    ],
)
def test_a_record_that_cannot_be_read_is_counted_not_raised(tmp_path: Path, line: bytes, reason: str | None) -> None:
    good = '{"text": "中"}\n'.encode()
    found = read_data(tmp_path / "f", good + good + line + b"\n" + good)
    assert [type(record) for record in (found[1], found[-1])] == [Record, Record]
    if reason is None:  # an empty list of lists of lists: no text, or too deep for this Python
        assert isinstance(found[2], Record) or found[2].reason in ("not JSON", "nested too deep")
        return
    (one,) = bad(found)
    assert (one.origin, one.reason) == ("f#32", reason)
    assert 0 < len(one.excerpt) <= 80


def test_a_field_that_is_not_there_is_reported_with_those_that_are(tmp_path: Path) -> None:
    (one,) = bad(read_data(tmp_path / "f", '{"body": "正文", "号": 1}\n'.encode()))
    assert one == Bad("f#0", "no field known to hold text", "fields: body, 号")


@pytest.mark.parametrize("ending", [b"\n", b""])
def test_a_line_too_long_for_memory_is_one_bad_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: bytes) -> None:
    from pipeline.sources.formats import json_values, plain

    for module in (lines, json_values, plain):
        monkeypatch.setattr(module, "MAX_RECORD_BYTES", 1_000)
    good = b'{"text": "a"}\n'
    found = read_data(tmp_path / "f", good * 2 + b'{"text": "' + b"b" * 5_000 + b'"}' + ending + good)
    assert [(one.origin, one.reason) for one in bad(found)] == [("f#28", "longer than 8 MiB")]
    assert texts(found) == ["a"] * (3 if ending else 2)
    data = ("短。\n" * 3 + "\n" + "长句。\n" * 200 + "\n" + "尾。\n").encode()
    found = read_data(tmp_path / "f", data)
    assert texts(found) == ["短。\n" * 3, "尾。\n"]
    assert [one.reason for one in bad(found)] == ["longer than 8 MiB"]
    assert read_data(tmp_path / "f", data, 900) == found


def test_a_dump_of_a_wiki_is_refused_in_another_kind(tmp_path: Path) -> None:
    dump = b'<?xml version="1.0"?>\n<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/">\n</mediawiki>\n'
    with pytest.raises(CorpusError, match="a MediaWiki dump; source 's' must be of kind 'wiki', not 'text'"):
        read_data(tmp_path / "f", dump)


def test_a_folder_of_a_wiki_may_hold_dumps_indexes_and_extracted_articles(tmp_path: Path) -> None:
    page = "<page><title>{0}</title><ns>0</ns><id>1</id><revision><id>2</id><text>{0}是[[城市]]。</text></revision></page>\n"
    dump = "<mediawiki xmlns='http://www.mediawiki.org/xml/export-0.11/'>\n" + "".join(map(page.format, "京沪穗"))
    (tmp_path / "z-pages-articles-multistream.xml").write_text(dump + "</mediawiki>\n")
    (tmp_path / "z-pages-articles-multistream-index.txt.bz2").write_bytes(bz2.compress(b"600:1:x\n"))
    (tmp_path / "AA").mkdir()
    for number in range(3):
        (tmp_path / f"AA/wiki_0{number}").write_bytes(
            corpus.json_lines([{"id": "1", "title": "甲", "text": f"甲\n\n乙{number}"}])
        )
    source = config(tmp_path, kind="wiki")
    formats = reading.wiki_formats(source, inputs.expand(source.input))
    assert [file.name for file in reading.dumps(formats)] == ["z-pages-articles-multistream.xml"]
    assert [len(task.following) for task in planned(tmp_path, kind="wiki")] == [2, 0]
    whole = read(tmp_path, kind="wiki")
    assert texts(whole) == ["乙0", "乙1", "乙2", "京是城市。", "沪是城市。", "穗是城市。"]
    assert read(tmp_path, kind="wiki", task_bytes=100) == whole


@pytest.mark.parametrize("data", [b"PK\x03\x04\0\0\0", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, b"text\0text"])
def test_what_is_no_text_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(CorpusError, match=r"not text|damaged") as error:
        read_data(tmp_path / "f", data)
    assert str(tmp_path / "f") in str(error.value)
    assert "\n" not in str(error.value)


def test_half_an_emoji_in_json_does_no_harm(tmp_path: Path) -> None:
    line = r'{"title": "\ud83d题", "text": "好\ude00的文章，\ud83d\ude00", "url": "http://\ud83d"}' + "\n"
    (tmp_path / "in.jsonl").write_text(line)
    done = documents(config(tmp_path / "in.jsonl", kind="news"), str(tmp_path / "out"))
    (row,) = read_part(done, done.files("part-")[0]["name"]).to_pylist()
    assert (row["title"], row["text"], row["url"]) == ("题", "好的文章，😀", "http://")


REAL = [
    # folder or file, kind, records, bad, beginning of a text
    ("news/xinwenlianbo.jsonl.xz", "news", 19_589, r"<p><strong>央视网消息</strong>（新闻联播）：长江是中华民族的母亲河"),
    ("baike", "baike", 2_403, "范廷颂枢机（，），圣名保禄·若瑟（），是越南罗马天主教枢机。\n正文\n1963年被任为主教"),
    ("text/lctt.jsonl.xz", "text", 2_557, r"\[#\]: collector: \(lujun9972\)"),
    ("text/laws.jsonl.xz", "text", 876, r"\Z"),  # the first has front matter alone
    ("text/weekly.jsonl.xz", "text", 407, "# 每周分享第 1 期\n\n这里记录过去一周"),
    ("text/gbk_news", "text", 60, "意大利的新人Edoardo Alescio上周末成为WPT冠军俱乐部的一员"),
    ("mnbvc/MNBVC_qa.jsonl", "text", 50, "问：如何看待斗鱼游戏主播"),
    ("mnbvc/MNBVC_wiki.jsonl", "text", 100, "【巴达维亚海豹属】\n（学名：Batavipusa）"),
    ("text/cluecorpussmall_bert_sample.txt", "text", 2_500, "兰州公交集团:明起至8月底三条公交线暂不经过靖远路站"),
]


@corpus.needs_real_data
@pytest.mark.parametrize(("place", "kind", "number", "beginning"), REAL)
def test_real_corpora_are_read_whole(place: str, kind: str, number: int, beginning: str) -> None:
    found = read(corpus.REAL / "corpora" / place, kind=kind)  # type: ignore[arg-type]
    assert (len(found), bad(found)) == (number, [])
    assert re.match(beginning, texts(found)[0].strip())
    assert len({record.origin for record in found}) == number
