"""Reading: every record once however a file is cut, every compression, and each unreadable input told in one line."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config import Kind, SourceConfig
from pipeline.documents import documents, read_part
from pipeline.errors import CorpusError, UserError
from pipeline.sources import Bad, ReadTask, Record, records, splittable
from tests import corpus

BOM = b"\xef\xbb\xbf"
FILES: dict[str, bytes] = {
    "blank lines": "一\n二\n\n三\n\n四\n五\n".encode(),
    "Windows line ends": "一\r\n二\r\n\r\n三\r\n\r\n\r\n四\r\n".encode(),
    "mark at the beginning": BOM + "一\n二\n\n三\n".encode(),
    "several blank lines": "\n\n一\n\n\n\n二\n \t\n\n三\n\n".encode(),
    "no line end at the end": "一\n\n二\n\n三".encode(),
    "one document": "一\n二\n三".encode(),
    "blank lines alone": b"\n\n\n",
    "nothing": b"",
    "JSON lines": b'{"text": "a"}\n\n{"text": "b\\n\\nc"}\n{"text": "d"}',
    "JSON lines with a mark": BOM + b'{"text": "a"}\r\n{"text": "b"}\r\n',
}


def read(path: Path, data: bytes, *cuts: int, kind: Kind = "text") -> list[Record | Bad]:
    """The records of a file that is read in pieces."""
    path.write_bytes(data)
    edges = [0, *cuts, None]
    tasks = [ReadTask(str(path), "f", start or 0, end, n) for n, (start, end) in enumerate(pairwise(edges))]
    return [record for task in tasks for record in records(kind, task)]


def texts(found: list[Record | Bad]) -> list[str]:
    return [record.text for record in found if isinstance(record, Record)]


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_anywhere_has_the_same_records(tmp_path: Path, name: str) -> None:
    data = FILES[name]
    whole = read(tmp_path / "f", data)
    for first in range(1, len(data)):
        assert read(tmp_path / "f", data, first) == whole, first
        for second in range(first + 1, len(data), 3):
            assert read(tmp_path / "f", data, first, second) == whole, (first, second)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["一", "二\n", "\n", "\r\n", " \n", "三四五", "\u2028"]), max_size=14), st.data())
def test_any_text_cut_anywhere_has_the_same_records(tmp_path: Path, parts: list[str], chance: st.DataObject) -> None:
    data = "".join(parts).encode()
    cuts = chance.draw(st.lists(st.integers(1, max(1, len(data))), max_size=3, unique=True).map(sorted))
    assert read(tmp_path / "f", data, *cuts) == read(tmp_path / "f", data)


def test_documents_are_parted_by_blank_lines(tmp_path: Path) -> None:
    assert read(tmp_path / "f", FILES["blank lines"]) == [
        Record("f#0", "", "一\n二\n"),
        Record("f#9", "", "三\n"),
        Record("f#14", "", "四\n五\n"),
    ]
    assert texts(read(tmp_path / "f", FILES["mark at the beginning"])) == ["一\n二\n", "三\n"]
    assert texts(read(tmp_path / "f", FILES["several blank lines"])) == ["一\n", "二\n", "三\n"]
    assert texts(read(tmp_path / "f", FILES["JSON lines with a mark"])) == ["a", "b"]


def test_a_line_separator_inside_a_text_parts_nothing(tmp_path: Path) -> None:
    data = "一\u2028二\x85三\x0b四\n\n五\n".encode()
    assert texts(read(tmp_path / "f", data)) == ["一\u2028二\x85三\x0b四\n", "五\n"]
    lines = json.dumps({"text": "一\u2028二"}, ensure_ascii=False).encode()
    assert texts(read(tmp_path / "f", lines)) == ["一\u2028二"]


@pytest.mark.parametrize("beginning", [b"", BOM])
def test_a_large_file_without_blank_lines_is_a_document_a_line(tmp_path: Path, beginning: bytes) -> None:
    line = ("长" * 99 + "\n").encode()
    data = beginning + line * ((1 << 20) // len(line) + 1)
    assert len(read(tmp_path / "f", data)) == data.count(b"\n")
    assert read(tmp_path / "f", data, 500_000, 500_100) == read(tmp_path / "f", data)
    small = beginning + line * 100
    assert len(read(tmp_path / "f", small)) == 1
    spaced = beginning + line * 5 + b" \t\n" + data.removeprefix(beginning)
    assert len(read(tmp_path / "f", spaced)) == 2, "a line of spaces parts documents"


NEWS = (
    '{"news_id": "1", "title": "标题", "content": "<p>正文</p>", "url": "http://n/1", "desc": ""}\n'
    '{"title": null, "text": "只有正文"}\n'
    '{"title": "空", "content": ""}\n'
)


def test_news_has_titles_and_addresses(tmp_path: Path) -> None:
    assert read(tmp_path / "f", NEWS.encode(), kind="news") == [
        Record("f#0", "标题", "<p>正文</p>", "http://n/1"),
        Record(f"f#{len(NEWS.splitlines()[0].encode()) + 1}", "", "只有正文"),
        Record(f"f#{sum(len(line.encode()) + 1 for line in NEWS.splitlines()[:2])}", "空", ""),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": ', "not JSON"),
        (b'["text"]', "no text or content field"),
        (b'{"text": 3}', "no text or content field"),
        (b'{"title": "a"}', "no text or content field"),
        ('{"text": "中文"}'.encode("gb18030"), "not UTF-8"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_record_that_cannot_be_read_is_counted_not_raised(tmp_path: Path, line: bytes, reason: str) -> None:
    good = b'{"text": "a"}\n'
    found = read(tmp_path / "f", good + line + b"\n" + good)
    assert [type(record) for record in found] == [Record, Bad, Record]
    bad = found[1]
    assert isinstance(bad, Bad)
    assert (bad.origin, bad.reason) == ("f#14", reason)
    assert len(bad.excerpt) <= 80


def test_text_in_gbk_is_bad_and_shown_readable(tmp_path: Path) -> None:
    (bad,) = read(tmp_path / "f", "北京大学的学生。\n".encode("gbk"))
    assert isinstance(bad, Bad)
    assert (bad.reason, bad.excerpt) == ("not UTF-8", "北京大学的学生。\n")


@corpus.needs_real_data
def test_real_news_in_gbk_is_bad_throughout(tmp_path: Path) -> None:
    files = sorted((corpus.REAL / "corpora/text/gbk_news").iterdir())[:5]
    for file in files:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as opened:
            found = read(tmp_path / "f", opened.read())
        assert found and all(isinstance(record, Bad) and record.reason == "not UTF-8" for record in found)


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}


@pytest.mark.parametrize("ending", COMPRESS)
def test_compressed_files_read_as_plain_ones(tmp_path: Path, ending: str) -> None:
    for name, data in FILES.items():
        assert read(tmp_path / f"f{ending}", COMPRESS[ending](data)) == read(tmp_path / "f", data), name
    assert not splittable(f"f{ending}")
    two = COMPRESS[ending](FILES["blank lines"]) + COMPRESS[ending](b"\nsix\n")
    assert texts(read(tmp_path / f"f{ending}", two)) == ["一\n二\n", "三\n", "四\n五\n", "six\n"]


@pytest.mark.parametrize("ending", COMPRESS)
def test_a_compressed_file_cut_short_or_damaged_is_an_error(tmp_path: Path, ending: str) -> None:
    whole = COMPRESS[ending]("\n\n".join(corpus.text_documents(3, 300)).encode())
    expected = UserError if ending == ".zst" else CorpusError
    for cut in (len(whole) // 2, len(whole) - 3):
        with pytest.raises(expected, match=r"cut short or damaged|Truncated") as error:
            read(tmp_path / f"f{ending}", whole[:cut])
        assert "\n" not in str(error.value)
    with pytest.raises(UserError):
        read(tmp_path / f"f{ending}", b"no compressed file")


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        ("中文\n".encode("utf-16"), "UTF-16; convert it first: iconv -f utf-16 -t utf-8"),
        (b"PK\x03\x04\0\0\0", r"not text \(it holds zero bytes\)"),
        (b' \n[ {"text": "a"}, {"text": "b"}]', r"one JSON array; write it as JSON lines first: jq -c '\.\[\]'"),
        (BOM + b'[{"text": "a"}]', "one JSON array"),
    ],
)
def test_what_is_no_text_is_refused_with_the_remedy(tmp_path: Path, data: bytes, remedy: str) -> None:
    with pytest.raises(CorpusError, match=remedy):
        read(tmp_path / "f", data)


def test_a_text_may_begin_with_a_bracket(tmp_path: Path) -> None:
    assert texts(read(tmp_path / "f", "[编者按]今天\n\n[1] 注\n".encode())) == ["[编者按]今天\n", "[1] 注\n"]


def test_half_an_emoji_in_json_does_no_harm(tmp_path: Path) -> None:
    line = r'{"title": "\ud83d题", "text": "好\ude00的文章，\ud83d\ude00", "url": "http://\ud83d"}' + "\n"
    (tmp_path / "in.jsonl").write_text(line)
    source = SourceConfig(name="half", kind="news", input=(str(tmp_path / "in.jsonl"),))
    done = documents(source, str(tmp_path / "out"))
    (row,) = read_part(done, done.files("part-")[0]["name"]).to_pylist()
    assert (row["title"], row["text"], row["url"]) == ("题", "好的文章，😀", "http://")
