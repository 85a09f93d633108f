"""File formats by content: records, compression, encoding; damaged and foreign files are refused in one line."""

import bz2
import errno
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
import zstandard

from pipeline import compression, storage
from pipeline.errors import CorpusError, StorageError
from pipeline.sources.formats import json_values, lines
from pipeline.sources.formats.detection import FileFormat, classify, detect_format
from pipeline.sources.records import Bad, Record
from tests import corpus
from tests.reading import bad, read, read_data, texts


def zipped(data: bytes) -> bytes:
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/._news.json", b"\0")
        archive.writestr("news2016zh/news.json", data)
    return result.getvalue()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.compress,
    "zip": zipped,
}
TEXTS = {
    "documents": "一。\n二。\n\n三。\n\n四。\n五。\n",
    "JSON lines": '{"text": "一"}\n{"text": "二"}\n',
    "JSON values": '[{"text": "一"},\n{"text": "二"}]',
    "<doc> files": '<doc id="1" url="u" title="一">\n一\n\n这。\n</doc>\n',
    "a document": "一篇文章的题目\n　　第一段。\n　　第二段。\n",
}


@pytest.mark.parametrize("packed", COMPRESS)
@pytest.mark.parametrize("name", TEXTS)
def test_compressed_files_read_as_plain_ones_whatever_their_names(tmp_path: Path, packed: str, name: str) -> None:
    data = TEXTS[name].encode()
    plain = read_data(tmp_path / "f", data)
    assert plain and not bad(plain)
    assert read_data(tmp_path / "f", COMPRESS[packed](data)) == plain
    assert str(detect_format(str(tmp_path / "f"))) == f"{name}, {packed}"
    assert not detect_format(str(tmp_path / "f")).splittable
    assert read_data(tmp_path / "f.txt.gz", data) == plain, "the name is ignored"


@pytest.mark.parametrize("packed", ["gz", "bz2", "xz", "zst"])
def test_streams_one_after_another_are_one_file(tmp_path: Path, packed: str) -> None:
    two = COMPRESS[packed](TEXTS["documents"].encode()) + COMPRESS[packed]("\n六。\n".encode())
    assert texts(read_data(tmp_path / "f", two)) == ["一。\n二。\n", "三。\n", "四。\n五。\n", "六。\n"]


@pytest.mark.parametrize("packed", COMPRESS)
def test_a_compressed_file_of_nothing_is_empty(tmp_path: Path, packed: str) -> None:
    assert read_data(tmp_path / "f", COMPRESS[packed](b"")) == []
    assert detect_format(str(tmp_path / "f")).kind == "empty"


@pytest.mark.parametrize("packed", COMPRESS)
def test_a_compressed_file_cut_short_or_damaged_is_an_error_of_one_line(tmp_path: Path, packed: str) -> None:
    whole = COMPRESS[packed]("\n\n".join(corpus.text_documents(3, 3_000)).encode())
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes(byte ^ 0x55 for byte in whole[middle : middle + 400]) + whole[middle + 400 :]
    for data in (whole[:middle], whole[:-3], whole[:20], damaged):
        with pytest.raises(CorpusError, match=r"the compressed file is cut short or damaged \(.*\); fetch it again") as error:
            read_data(tmp_path / "f", data)
        assert str(error.value).startswith(str(tmp_path / "f"))
        assert "\n" not in str(error.value)


def test_a_lost_connection_is_not_taken_for_a_damaged_file() -> None:
    packed = gzip.compress("".join(corpus.sentences(1, 200)).encode())

    class Dropping(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 60:
                raise OSError(errno.ECONNRESET, "Connection reset by peer")
            return super().read(min(size or 0, 16))

    with pytest.raises(StorageError, match="Connection reset"), storage.translate_error("s3://b/f"):
        compression.unpacked(Dropping(packed), "gz", "s3://b/f").read()


def test_archives_of_many_files_are_refused_with_the_remedy(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "f.zip", "w") as archive:
        for name in ("AA/wiki_00", "AA/wiki_01"):
            archive.writestr(name, TEXTS["JSON lines"])
    with pytest.raises(CorpusError, match="a zip archive of 2 files; unpack it first: unzip"):
        read(tmp_path / "f.zip")
    (tmp_path / "a.txt").write_text("文章。\n" * 99)
    with tarfile.open(tmp_path / "f.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "a.txt", "a.txt")
    with pytest.raises(CorpusError, match="a tar archive; unpack it first: tar -xf"):
        read(tmp_path / "f.tar.gz")


PROSE = "　　沈阳的雨下了一整天，球队依然没有摆脱雨水的困扰。当天训练被迫取消。\n"
FORMATS = [
    ('{"text": "a"}\n{"text": "b"}\n', "JSON lines"),
    ('bad line\n{"text": "a"}\n{"text": "b"}\n', "JSON lines"),
    ('{"text": "cut', "JSON lines"),
    ("{}\n{}\n", "JSON lines"),
    ('\ufeff \n{"text": "a"}', "JSON lines"),
    ('[{"text": "a"}]', "JSON values"),
    ('[\n  {\n    "text": "a"\n  },\n  {"text": "b"}\n]\n', "JSON values"),
    ('["一", "二"]', "JSON values"),
    ("[]\n", "JSON values"),
    ('{\n  "text": "a"\n}\n{\n  "text": "b"\n}\n', "JSON values"),
    ("{这是一段文字}\n第二行\n", "a document"),
    ("[编者按]今天\n\n[1] 注\n", "documents"),
    ('<doc id="13" url="https://zh.wikipedia.org/wiki?curid=13" title="数学">\n数学\n</doc>\n', "<doc> files"),
    ('<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">', "MediaWiki dump"),
    ('<?xml version="1.0" encoding="utf-8"?>\n<!-- x -->\n<mediawiki xml:lang="zh">', "MediaWiki dump"),
    ("第一句。\n第二句。\n\n第三句。\n", "documents"),
    ("第一篇。\n\n第二篇。\n", "documents"),
    ("短标题\n\n第一句。\n第二句。\n\n第三句。\n第四句。\n", "documents"),
    ("一\n\n二\n\n三\n", "documents"),
    ("马晓旭意外受伤让国奥警惕\n" + PROSE * 2, "a document"),
    ("马晓旭意外受伤让国奥警惕\n\n" + f"{PROSE}\n" * 3, "a document"),
    ("马晓旭意外受伤让国奥警惕\n\n" + f"{PROSE.strip()}\n\n" * 3, "a document"),
    ("一句话。\n第二句话。\n", "a document"),
    ("# 每周分享第 1 期\n\n这里记录。\n\n## 新闻\n\n1、新闻。\n", "a document"),
    ("---\ntitle: 周刊\n---\n\n正文。\n\n正文。\n", "a document"),
    ("周刊\n====\n\n正文。\n\n正文。\n", "a document"),
    ("导语。\n\n## 一\n\n正文。\n\n## 二\n\n正文。\n", "a document"),
    (" \n\t\n", "empty"),
    ("", "empty"),
]


@pytest.mark.parametrize(("text", "expected"), FORMATS)
def test_formats_are_recognised_by_content(text: str, expected: str) -> None:
    assert classify(text, True)[0] == expected


def test_what_is_between_records_is_bad_and_makes_no_prose_of_them(tmp_path: Path) -> None:
    record = json.dumps({"title": "题", "content": "今天北京下雨。"}, ensure_ascii=False)
    lines = [record, "[12:00] fetched", "[12:01] fetched", "retry", record, "done"]
    found = read_data(tmp_path / "f", "\n".join(lines).encode(), kind="news")
    assert texts(found) == ["今天北京下雨。"] * 2
    assert [one.reason for one in bad(found)] == ["not JSON"] * 4


def test_a_large_text_is_never_one_document() -> None:
    assert classify("# 标题\n\n正文。\n", False)[0] == "documents"
    assert classify("标题\n正文。\n", False)[0] == "lines"


def test_a_file_in_one_piece_has_its_first_line_as_title(tmp_path: Path) -> None:
    thucnews = "马晓旭意外受伤让国奥警惕 无奈大雨格外青睐殷家军\n" + PROSE * 2
    assert read_data(tmp_path / "f", thucnews.encode()) == [Record("f#0", thucnews.split("\n")[0], PROSE * 2)]
    markdown = "# 每周分享\n\n这里记录。\n\n## 新闻\n\n1、<b>新闻</b>。\n"
    assert read_data(tmp_path / "f", markdown.encode()) == [
        Record("f#0", "每周分享", "这里记录。\n\n## 新闻\n\n1、<b>新闻</b>。\n")
    ]
    assert read_data(tmp_path / "f", "一句话。\n第二句。\n".encode()) == [Record("f#0", "", "一句话。\n第二句。\n")]
    assert read_data(tmp_path / "f", "只有一行的标题\n".encode()) == [Record("f#0", "", "只有一行的标题\n")]


def test_a_page_of_the_web_may_hold_markup(tmp_path: Path) -> None:
    page = "\n<!DOCTYPE html>\n<html><head><title>题</title></head>\n\n<body><p>文。</p></body></html>\n"
    assert read_data(tmp_path / "f", page.encode()) == [Record("f#0", "", page, markup=True)]


def test_doc_files_of_wikiextractor(tmp_path: Path) -> None:
    data = (
        '<doc id="13" url="https://zh.wikipedia.org/wiki?curid=13" title="数学">\n数学\n\n数量 &lt; 结构。\n\n\n</doc>\n'
        '<doc id="18" revid="9" url="https://zh.wikipedia.org/wiki?curid=18" title=""引号"与&amp;">\n文。\n</doc>\n'
    ).encode()
    assert read_data(tmp_path / "f", data) == [
        Record("f#0", "数学", "数量 < 结构。\n\n\n", "https://zh.wikipedia.org/wiki?curid=13"),
        Record(f"f#{data.index(b'<doc', 1)}", '"引号"与&', "文。\n", "https://zh.wikipedia.org/wiki?curid=18"),
    ]
    found = read_data(tmp_path / "f", b"<doc id='1'>\n" + data[:100] + b"\n" + data + "多余\n".encode() + data)
    assert [one.reason for one in bad(found)] == ["no </doc> at its end"] * 2 + ["outside <doc>"]
    assert len(texts(found)) == 4
    with pytest.raises(CorpusError, match="cut short"):
        read_data(tmp_path / "f", data[:-20])


def test_elements_on_one_line_or_whose_end_is_not_on_its_own(tmp_path: Path) -> None:
    element = "<doc id={}><summary>题{}</summary><short_text>今天北京下雨。</short_text></doc>"
    one_line = "".join(element.format(n, n) for n in range(3)).encode()
    found = read_data(tmp_path / "f", one_line)
    assert found == [Record(f"f#{n * (len(one_line) // 3)}", f"题{n}", "今天北京下雨。") for n in range(3)]
    lines = b"\n".join(
        [one_line, b'<doc id="9" url="http://a/9" title="a>b">', "第一段。\n第二段。</doc>".encode(), one_line, b""]
    )
    found = read_data(tmp_path / "f", lines)
    assert [(one.title, one.text) for one in found if isinstance(one, Record)][3] == ("a>b", "第一段。\n第二段。")
    assert len(found) == 7
    for cut in range(1, len(lines)):
        assert read_data(tmp_path / "f", lines, cut) == found


def test_elements_below_a_line_of_something_else(tmp_path: Path) -> None:
    data = "# 2019\n<doc>\n<contenttitle>题</contenttitle>\n<content>今天北京下雨。</content>\n</doc>\n".encode()
    found = read_data(tmp_path / "f", data)
    assert texts(found) == ["今天北京下雨。"]
    assert [one.reason for one in bad(found)] == ["outside <doc>"]


def test_an_array_is_read_as_a_stream_of_numbered_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [{"completion": f"第{i}篇。" * 30, "source": "wikipedia.zh2307", "n": [i, {"a": None}]} for i in range(40)]
    expected = [(f"f#{i}", item["completion"]) for i, item in enumerate(items)]
    for chunk in (7, 100, 1 << 20):
        monkeypatch.setattr(json_values, "_CHUNK", chunk)
        for indent in (None, 2):
            data = json.dumps(items, ensure_ascii=False, indent=indent).encode()
            found = read_data(tmp_path / "f", data)
            assert [(record.origin, record.text) for record in found if isinstance(record, Record)] == expected
        objects = "\n".join(json.dumps(item, ensure_ascii=False, indent=1) for item in items).encode()
        assert texts(read_data(tmp_path / "f", objects)) == [text for _, text in expected]


@pytest.mark.parametrize("chunk", [11, 1 << 20])
def test_a_bad_item_of_an_array_costs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(json_values, "_CHUNK", chunk)
    good = ['{"text": "好文章"}'.encode(), b'{"text": "b"}', b'{"text": "c"}']
    wrong = {
        b'{"text": 7 8}': "not JSON",
        b'{"text" "x"}': "not JSON",
        b'{"text": x}': "not JSON",
        '{"text": "中文"}'.encode("gbk"): "not UTF-8",
        b'{"text": ' + b"[" * 50_000 + b"]" * 50_000 + b"}": "not JSON",
        b'{"text": 3}': "field text is not text",
        b"17": "not a record of fields",
    }
    for item, reason in wrong.items():
        for place in (1, 3):
            items = [*good[:place], item, *good[place:]]
            found = read_data(tmp_path / "f", b"[" + b",\n".join(items) + b"]")
            assert texts(found) == ["好文章", "b", "c"], item[:30]
            assert [(one.origin, one.reason) for one in bad(found)] == [(f"f#{place}", reason)]


@pytest.mark.parametrize("chunk", [11, 1 << 20])
@pytest.mark.parametrize("between", [b",", b",\n", b"\n,\n    "])
@pytest.mark.parametrize(
    "item",
    [
        b'{"title": "t", "text": "b}',
        b'{"text": "b\\"}',
        b'{"text": "b"',
        b'{"text": "b", "tags": [{"text": "x}',
        b'{"title": "t, "text": "b"}',
        b'{"title": [{"title": "t"}, {"title": "u"}], "text": b}',
    ],
)
def test_an_unclosed_item_of_an_array_takes_none_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, between: bytes, item: bytes
) -> None:
    monkeypatch.setattr(json_values, "_CHUNK", chunk)
    items = [b'{"text": "a"}', item, b'{\n  "text": "c"}', item, item, b'{"text": "d"}', item]
    found = read_data(tmp_path / "f", b"[" + between.join(items) + b"]")
    assert texts(found) == ["a", "c", "d"]
    assert [(one.origin, one.reason) for one in bad(found)] == [(f"f#{place}", "not JSON") for place in (1, 3, 4, 6)]


def test_an_item_too_long_is_bad_in_whatever_chunks_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_RECORD_BYTES", 1_000)
    found = read_data(tmp_path / "f", ('[{"text": "a"}, {"text": "' + "文" * 400 + '"}, {"text": "c"}]').encode())
    assert [(one.origin, one.reason) for one in bad(found)] == [("f#1", "longer than 8 MiB")]
    assert texts(found) == ["a", "c"]


def test_an_array_cut_short_is_an_error(tmp_path: Path) -> None:
    whole = json.dumps([{"text": f"第{i}篇"} for i in range(9)]).encode()
    for cut in (1, 5, 30):
        with pytest.raises(CorpusError, match="the JSON array is cut short; fetch it again"):
            read_data(tmp_path / "f", whole[:-cut])


def test_an_item_too_long_for_memory_is_one_bad_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_values, "_CHUNK", 100)
    monkeypatch.setattr(json_values, "MAX_RECORD_BYTES", 1_000)
    found = read_data(tmp_path / "f", b'[{"text": "a"}, {"text": "' + b"b" * 9_000 + b'"}, {"text": "c"}]')
    assert [(one.origin, one.reason) for one in bad(found)] == [("f#1", "longer than 8 MiB")]
    assert texts(found) == ["a", "c"]


def test_control_characters_inside_json_strings_are_read(tmp_path: Path) -> None:
    assert texts(read_data(tmp_path / "f", b'{"text": "a\tb\x01c", "url": "http://a"}\n')) == ["a\tb\x01c"]


CHINESE = "".join(corpus.sentences(5, 60))
BIG5 = "臺灣的大學生在學校的圖書館中學習，他們不是一個人，有的是在讀書，有的在寫字。"
ENCODINGS: dict[str, tuple[bytes, str]] = {
    "UTF-8": (f"{CHINESE}\n\n尾。\n".encode(), "documents"),
    "UTF-8 with a mark": (f"\ufeff{CHINESE}\n\n尾。\n".encode(), "documents"),
    "UTF-16": (f"{CHINESE}\n\n尾。\n".encode("utf-16"), "documents, UTF-16"),
    "UTF-16, big-endian": (f"\ufeff{CHINESE}\n\n尾。\n".encode("utf-16-be"), "documents, UTF-16"),
    "GBK": (f"{CHINESE}\n\n尾。\n".encode("gbk"), "documents, GB18030"),
    "GB18030 with a character that GBK lacks": (f"{CHINESE}\n\n㐀。\n".encode("gb18030"), "documents, GB18030"),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_encodings_are_recognised(tmp_path: Path, name: str) -> None:
    data, expected = ENCODINGS[name]
    assert texts(read_data(tmp_path / "f", data)) == [f"{CHINESE}\n", "㐀。\n" if "lacks" in name else "尾。\n"]
    assert str(detect_format(str(tmp_path / "f"))) == expected
    assert texts(read_data(tmp_path / "f", gzip.compress(data)))[0] == f"{CHINESE}\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
@pytest.mark.parametrize("template", ["{}\n{}\n", "[{},\n{}]"])
def test_json_in_every_encoding(tmp_path: Path, encoding: str, template: str) -> None:
    records = [json.dumps({"title": title, "text": CHINESE}, ensure_ascii=False) for title in ("中", "\\文|")]
    found = read_data(tmp_path / "f", template.format(*records).encode(encoding))
    assert [(record.title, record.text) for record in found if isinstance(record, Record)] == [
        ("中", CHINESE),
        ("\\文|", CHINESE),
    ]


def test_what_a_recipe_says_of_the_encoding_holds(tmp_path: Path) -> None:
    data = "中文。\n\n好。\n".encode("gbk")
    assert texts(read_data(tmp_path / "f", data, encoding="gb18030")) == ["中文。\n", "好。\n"]
    assert {one.reason for one in bad(read_data(tmp_path / "f", data, encoding="utf-8"))} == {"not UTF-8"}
    assert bad(read_data(tmp_path / "f", "中文。\n好".encode(), encoding="gb18030"))[0].reason == "not GB18030"
    unmarked = "中文。\n\n好。\n".encode("utf-16-le")
    assert texts(read_data(tmp_path / "f", unmarked, encoding="utf-16")) == ["中文。\n", "好。\n"]


def test_gbk_among_utf8_spoils_its_own_record_alone(tmp_path: Path) -> None:
    documents = [text.encode() for text in corpus.text_documents(1, 5)]
    documents[2] = "北京大学的学生。".encode("gbk")
    found = read_data(tmp_path / "f", b"\n\n".join(documents))
    assert len(texts(found)) == 4
    (one,) = bad(found)
    assert (one.reason, one.excerpt) == ("not UTF-8", "北京大学的学生。\n")


def test_utf8_among_gb18030_spoils_its_own_record_alone(tmp_path: Path) -> None:
    documents = [text.encode("gbk") for text in corpus.text_documents(1, 5)]
    documents[2] = "北京大学的学生好。".encode() + b"\xff"
    found = read_data(tmp_path / "f", b"\n\n".join(documents))
    assert len(texts(found)) == 4
    assert [one.reason for one in bad(found)] == ["not GB18030"]


def test_utf16_with_half_a_character(tmp_path: Path) -> None:
    whole = b"\xff\xfe" + "好的。\n\n\ud83d坏\n\n尾。\n".encode("utf-16-le", "surrogatepass")
    found = read_data(tmp_path / "f", whole)
    assert texts(found) == ["好的。\n", "尾。\n"]
    assert [one.reason for one in bad(found)] == ["not UTF-8"]
    with pytest.raises(CorpusError, match=r"cut short \(half a character at its end\)"):
        read_data(tmp_path / "f", whole[:-1])


def test_big5_is_not_read_as_senseless_gb18030(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="apparently Big5; convert it first: iconv -f big5 -t utf-8"):
        read_data(tmp_path / "f", (BIG5 * 3).encode("big5"))
    assert texts(read_data(tmp_path / "f", BIG5.encode("gbk"))) == [BIG5], "traditional characters in GBK are GBK"


def test_a_cut_at_the_end_of_what_is_looked_at_does_not_change_the_encoding(tmp_path: Path) -> None:
    for encoding, expected in (("utf-8", "lines"), ("gbk", "lines, GB18030")):
        for shift in range(3):
            (tmp_path / "f").write_bytes(b"a" * shift + ("长" * 99 + "\n").encode(encoding) * 9_000)
            assert str(detect_format(str(tmp_path / "f"))) == expected
        (tmp_path / "f").write_bytes(("长" * 1_000_000).encode(encoding))
        assert str(detect_format(str(tmp_path / "f"))) == expected


def parquet(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def test_parquet_in_the_columns_of_fineweb(tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "000_00000.parquet",
        text=["一。", None, "<p>三。</p>"],
        id=["<urn:uuid:1>", "2", "3"],
        dump=["CC-MAIN-2013-20"] * 3,
        url=["http://a", None, "http://c"],
        language_score=[0.9, 0.8, 0.7],
        top_langs=['{"cmn_Hani_score": 0.9}'] * 3,
    )
    assert detect_format(str(path)) == FileFormat("Parquet")
    assert read(path) == [
        Record("000_00000.parquet#0", "", "一。", "http://a"),
        Record("000_00000.parquet#1", "", "", ""),
        Record("000_00000.parquet#2", "", "<p>三。</p>", "http://c"),
    ]


def test_parquet_with_named_and_with_missing_columns(tmp_path: Path) -> None:
    path = parquet(tmp_path / "f", meta=[{"body": "正文", "head": "题"}], title=["标题"], n=[1])
    assert read(path, text_field=("meta.head", "meta.body")) == [Record("f#0", "标题", "题\n正文")]
    with pytest.raises(
        CorpusError, match="no column known to hold text; name it with --text-field; the columns are meta, title, n"
    ):
        read(path)
    with pytest.raises(CorpusError, match="no column body; name it with"):
        read(path, text_field=("body",))


def test_parquet_whose_text_is_bytes(tmp_path: Path) -> None:
    data = [b"good", "中文".encode("gbk"), "好。".encode(), None]
    for kind in (pa.binary(), pa.large_binary(), pa.dictionary(pa.int32(), pa.binary())):
        titles = pa.array(["题".encode()] * 4).cast(pa.binary())
        path = parquet(tmp_path / "f", text=pa.array(data, pa.binary()).cast(kind), title=titles)
        found = read(path)
        assert texts(found) == ["good", "好。", ""]
        assert bad(found) == [Bad("f#1", "not UTF-8", "")]
    nested = parquet(tmp_path / "f", sections=[[{"content": b"\xe4\xb8\x80"}, {"content": "二".encode()}]])
    assert texts(read(nested)) == ["一\n二"]


def test_arrow_files_of_other_writers(tmp_path: Path) -> None:
    table = pa.table(
        {
            "n": [1, 2, 3],
            "text": pa.array(["一。", "二。", "一。"]).dictionary_encode(),
            "title": pa.array(["题"] * 3, pa.large_string()),
        }
    )
    feather.write_feather(table, str(tmp_path / "f"), compression="lz4")
    expected = [Record(f"f#{number}", "题", text) for number, text in enumerate(("一。", "二。", "一。"))]
    assert read(tmp_path / "f") == expected
    assert read(tmp_path / "f", text_field=("text",)) == expected
    (tmp_path / "g").write_bytes(gzip.compress((tmp_path / "f").read_bytes()))
    assert str(detect_format(str(tmp_path / "g"))) == "Arrow, gz"
    assert texts(read(tmp_path / "g")) == ["一。", "二。", "一。"]
    with pytest.raises(CorpusError, match="no column body; name it with --text-field; the columns are n, text, title"):
        read(tmp_path / "f", text_field=("body",))


def test_numbers_without_a_value_are_no_titles(tmp_path: Path) -> None:
    path = parquet(tmp_path / "f", title=[float("nan"), None, 3.0], text=["一。", "二。", "三。"])
    assert [record.title for record in read(path) if isinstance(record, Record)] == ["", "", "3.0"]
    data = b'{"title": NaN, "content": "a"}\n{"title": Infinity, "content": NaN}\n'
    assert read_data(tmp_path / "f", data) == [Record("f#0", "", "a"), Record("f#31", "", "")]


@pytest.mark.parametrize("template", ["{}\n{}\n{}\n", "[{},\n{},{}]", "{}{}{}", "{},\n{},\n{}"])
def test_a_number_of_many_digits_costs_nothing(tmp_path: Path, template: str) -> None:
    items = ['{"id": 1, "text": "a"}', f'{{"id": {"9" * 5_000}, "text": "b"}}', '{"id": 3, "text": "c"}']
    found = read_data(tmp_path / "f", template.format(*items).encode())
    assert texts(found) == ["a", "b", "c"] and not bad(found)


def test_parquet_that_is_not_utf8_or_cut_short(tmp_path: Path) -> None:
    wrong = pa.array([b"good", "中文".encode("gbk"), b"last"]).cast(pa.binary()).view(pa.string())
    path = parquet(tmp_path / "f", text=wrong)
    found = read(path)
    assert texts(found) == ["good", "last"]
    assert bad(found) == [Bad("f#1", "not UTF-8", "")]
    data = path.read_bytes()
    for damaged in (data[:-4], data[:50], data[:4] + b"\xff" * 40 + data[44:]):
        with pytest.raises(CorpusError, match="the Parquet file is cut short or damaged") as error:
            read_data(tmp_path / "f", damaged)
        assert "\n" not in str(error.value)
    with pytest.raises(CorpusError, match="Parquet inside gz cannot be read in chunks; unpack it first"):
        read_data(tmp_path / "f", gzip.compress(data))
