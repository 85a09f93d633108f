"""Each layout below and above the 1 MiB that are looked at, plain and compressed, in tasks of any size: the same records."""

import gzip
import json
import lzma
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.sources.formats.detection import detect_format
from pipeline.sources.records import Record
from tests.corpus import sentences
from tests.reading import bad, read

SENTENCES = [*dict.fromkeys(sentences(3, 90))]
Rows = list[tuple[str, str]]
"""Titles and texts."""


def rows(number: int) -> Rows:
    return [(f"第{n}篇的标题", f"{SENTENCES[n % 60]}第{n}。\n{SENTENCES[(n + 1) % 60]}") for n in range(number)]


def as_objects(found: Rows) -> list[str]:
    return [json.dumps({"title": title, "content": text}, ensure_ascii=False) for title, text in found]


def arrow(found: Rows, as_file: bool = False) -> bytes:
    table = pa.table({"title": [title for title, _ in found], "text": [text for _, text in found]})
    sink = pa.BufferOutputStream()
    with (pa.ipc.new_file if as_file else pa.ipc.new_stream)(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1_000)
    return bytes(sink.getvalue())


def wet(found: Rows) -> bytes:
    head = "WARC/1.0\r\nWARC-Type: {}\r\nContent-Length: {}\r\n\r\n"
    info = head.format("warcinfo", 5).encode() + b"a: b\n\r\n\r\n"
    return info + b"".join(f"{head.format('conversion', len(text.encode()))}{text}\r\n\r\n".encode() for _, text in found)


def sogou(found: Rows) -> bytes:
    element = "<doc>\n<url>http://a/1</url>\n<docno>1</docno>\n<contenttitle>{}</contenttitle>\n<content>{}</content>\n</doc>\n"
    return "".join(element.format(title, text.replace("\n", "\ue40c")) for title, text in found).encode("gb18030")


def search_dump(found: Rows) -> bytes:
    objects = [{"title": title, "namespace": 0, "text": text, "source_text": "x"} for title, text in found]
    lines = [json.dumps(one, ensure_ascii=False) for row in objects for one in ({"index": {"_id": "1"}}, row)]
    return "\n".join(lines).encode()


def lcsts(found: Rows) -> bytes:
    element = (
        "<doc id={}>\n    <summary>\n        {}\n    </summary>\n    <short_text>\n        {}\n    </short_text>\n</doc>\n"
    )
    return "".join(element.format(n, title, text) for n, (title, text) in enumerate(found)).encode()


def tsv(found: Rows) -> bytes:
    return "".join(f"{n}\t{text.partition(chr(10))[0] * 3}\n" for n, (_, text) in enumerate(found)).encode()


def csv_of(found: Rows) -> bytes:
    return "\r\n".join(["title,content", *(f'{title},"{text}"' for title, text in found)]).encode()


def lines_of(found: Rows) -> Rows:
    return [("", text.partition("\n")[0] * 3) for _, text in found]


def texts_of(found: Rows) -> Rows:
    return [("", text) for _, text in found]


def blank_lines(found: Rows, blank: str) -> bytes:
    return "".join(f"{text}\n{blank}\n" for _, text in found).encode()


LAYOUTS: dict[str, tuple[Callable[[Rows], bytes], Callable[[Rows], Rows], str]] = {
    "JSON lines": (lambda found: "\n".join(as_objects(found)).encode(), list, "JSON lines"),
    "JSON array": (lambda found: f"[{','.join(as_objects(found))}]".encode(), list, "JSON values"),
    "JSON on one line": (lambda found: "".join(as_objects(found)).encode(), list, "JSON values"),
    "two on each line": (lambda found: "\n".join(map(" ".join, zip(*[iter(as_objects(found))] * 2, strict=True))).encode(),
                         list, "JSON values"),
    "search dump": (search_dump, list, "JSON lines"),
    "CSV": (csv_of, list, "CSV"),
    "TSV": (tsv, lines_of, "TSV"),
    "Sogou": (sogou, list, "<doc> files, GB18030"),
    "LCSTS": (lcsts, list, "<doc> files"),
    "WET": (wet, texts_of, "WET"),
    "Arrow stream": (arrow, list, "Arrow"),
    "Arrow file": (lambda found: arrow(found, as_file=True), list, "Arrow"),
    "blank lines": (lambda found: blank_lines(found, ""), texts_of, "documents"),
    "ideographic blank lines": (lambda found: blank_lines(found, "\u3000\u3000"), texts_of, "documents"),
    "no-break blank lines": (lambda found: blank_lines(found, " \u00a0\r"), texts_of, "documents"),
}  # fmt: skip


@pytest.mark.parametrize("number", [30, 12_000], ids=["small", "large"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_the_size_of_a_file_changes_no_record(tmp_path: Path, name: str, number: int) -> None:
    write, expect, file_format = LAYOUTS[name]
    written, path = rows(number), tmp_path / "f"
    data, expected = write(written), expect(written)
    assert (len(data) > 1 << 20) == (number > 30)
    path.write_bytes(data)
    whole = read(path, kind="news")
    assert not bad(whole)
    pairs = [(record.title, record.text.strip("\n")) for record in whole if isinstance(record, Record)]
    assert pairs == expected
    assert len({record.origin for record in whole}) == number
    assert str(detect_format(str(path))) == file_format
    for task_bytes in (700,) if number == 30 else (300_000,):
        assert read(path, kind="news", task_bytes=task_bytes) == whole
    for pack in (gzip.compress, lambda data: lzma.compress(data, preset=0)):
        path.write_bytes(pack(data))
        assert read(path, kind="news") == whole


@pytest.mark.parametrize("post", ["早上好", "今天真开心，出门走走", "新茶到了"])
def test_posts_with_blank_lines_between_are_documents(tmp_path: Path, post: str) -> None:
    posts: Sequence[str] = [post, *SENTENCES[:6], "桥修好了吗？", "电梯又坏了，等了半个小时。", *SENTENCES[6:9]]
    (tmp_path / "f").write_text("\n\n".join(posts))
    assert [record.text.strip() for record in read(tmp_path) if isinstance(record, Record)] == posts


def test_an_article_with_blank_lines_between_its_paragraphs_is_one_document(tmp_path: Path) -> None:
    paragraph = "".join(SENTENCES[:2])
    article = ["马晓旭意外受伤让国奥警惕", *[paragraph] * 9, "“好。”他说。", "一、背景", paragraph]
    (tmp_path / "f").write_text("\n\n".join(article))
    assert read(tmp_path) == [Record("f#0", article[0], "\n\n".join(article[1:]))]
