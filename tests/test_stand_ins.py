"""What is recognised in order to be refused: each file by name, with the way on, wherever it is opened."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config import VocabularyConfig
from pipeline.errors import CorpusError
from pipeline.sources.formats.evaluation import strings
from pipeline.sources.records import Record
from pipeline.tokenization.vocabulary import vocabulary
from tests.commands import prepare, refused
from tests.reading import planned, read, texts
from workflows.evaluation.examples import read_text

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 134217729\n".encode()
PAGE = "<!DOCTYPE html><html><head><title>404\n Not Found</title></head><body><p>啊哦</p></body></html>".encode()
IS_POINTER = "a Git LFS pointer, not the file itself; fetch the files: git lfs pull"
IS_PAGE = r"a web page \(404 Not Found\), not the data of its name"
NEWS = '{"content": "今天北京下雨。"}\n'.encode() * 3

PROLOG = b'<?xml version="1.0"?>\n' + b"<!-- x -->\n" * 40
TAGGED = "".join(f"{one} {tag}\n" for one, tag in zip("海钓比赛" * 9, ["O", "B-LOC", "I-LOC", "O"] * 9, strict=True))

REFUSED: list[tuple[str, bytes, str]] = [
    ("a.jsonl", POINTER, IS_POINTER),
    ("a.txt", POINTER, IS_POINTER),
    ("a.parquet", b"/annex/objects/SHA256E-s1--0.parquet\n", IS_POINTER),
    ("a.jsonl.gz", PAGE, IS_PAGE),
    ("a.json", gzip.compress(PAGE), IS_PAGE),
    ("a.csv", b'<?xml version="1.0"?>\n<!-- x -->' + PAGE, IS_PAGE),
    ("a.txt", "{'title': '题', 'content': '文。'}\n".encode() * 3, "Python dicts, not JSON; write each with json.dumps"),
    ("a.txt", b"[{'title': None}]", "Python dicts"),
    ("a.txt", "['题', '文。']\n".encode() * 3, "Python lists"),
    ("a.json", "{title: '题', content: '今天下雨。'}\n".encode() * 3, "JavaScript objects, not JSON"),
    ("a.js", 'var data = [{"title": "题", "content": "今天下雨。"}];\n'.encode(), "JavaScript around JSON"),
    ("a.json", 'jsonp_1({"title": "题", "content": "今天下雨。"});\n'.encode(), "JavaScript around JSON"),
    ("a.sql", b"-- MySQL dump 10.13\n--\nINSERT INTO `a` VALUES (1);\n", "an SQL dump; load it"),
    ("a.xml", b'<?xml version="1.0"?>\n<rss version="2.0"><channel></channel></rss>', "XML with the root <rss>"),
    ("a.xml", b'<?xml version="1.0"?>\n<?xml-stylesheet href="a.xsl"?>\n<rss version="2.0"></rss>', "XML with the root <rss>"),
    ("a.xml", PROLOG + b"<!DOCTYPE a [\n<!ELEMENT a ANY>\n]>\n<a>\n</a>", "XML with the root <a>"),
    ("a.xml", '<rss version="2.0"><channel><item>今天下雨。</item></channel></rss>'.encode(), "XML with the root <rss>"),
    ("a.xml", "<records>\n<title>题</title>\n</records>".encode(), "XML with the root <records>"),
    ("a.rtf", rb"{\rtf1\ansi text}", "an RTF document"),
    ("a.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "a PDF; extract its text first: pdftotext"),
    ("a.rar", b"Rar!\x1a\x07\x01\0" + bytes(99), "a RAR archive"),
    ("a.lz4", b"\x04\x22\x4d\x18" + bytes(99), "compressed by lz4; unpack it first: lz4 -d"),
    ("a.db", b"SQLite format 3\0" + bytes(99), "an SQLite database"),
    ("a.txt", TAGGED.encode(), "characters with tags, one a line"),
    ("a.tfrecord", (99).to_bytes(8, "little") + b"\1\2\3\4\n" + bytes(99), "apparently TFRecord; read it with --corpus"),
]  # fmt: skip


def test_pointers_are_found_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(NEWS)
    (tmp_path / "b.jsonl").write_bytes(POINTER)
    with pytest.raises(CorpusError, match=f"b.jsonl: {IS_POINTER}"):
        planned(tmp_path, kind="news")


@pytest.mark.parametrize(("name", "data", "message"), REFUSED, ids=[f"{case[0]} {case[2][:20]}" for case in REFUSED])
def test_structured_files_never_pass_for_prose(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / "other.jsonl").write_bytes(NEWS)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CorpusError, match=f"{name}: {message}") as error:
        read(tmp_path, kind="news")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["{注}今天下雨。", "['注', 文。]", "{a: b}和{c}。", "f(x) = {1, 2}。", 'let me say: {"好"}'])
def test_prose_with_brackets_is_not_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    assert texts(read(tmp_path)) == [text]


def test_an_error_page_is_none_under_any_name(tmp_path: Path) -> None:
    (tmp_path / "part-00001").write_bytes(PAGE)
    with pytest.raises(CorpusError, match=IS_PAGE):
        read(tmp_path)


def test_a_web_page_under_its_own_name_is_a_document(tmp_path: Path) -> None:
    page = PAGE.replace(b"404\n Not Found", "题".encode())
    (tmp_path / "a.html").write_bytes(page)
    assert read(tmp_path) == [Record("a.html#0", "", page.decode(), markup=True)]


OPENERS: dict[str, Callable[[Path], object]] = {
    "evaluation texts": lambda path: [*strings(str(path))],
    "task examples": lambda path: read_text(str(path)),
    "a vocabulary": lambda path: vocabulary([], None, VocabularyConfig(url=str(path)), str(path.parent / "out")),
}


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize(("data", "message"), [(POINTER, IS_POINTER), (PAGE, IS_PAGE)])
def test_stand_ins_are_refused_wherever_a_file_is_named(tmp_path: Path, opener: str, data: bytes, message: str) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(CorpusError, match=message):
        OPENERS[opener](tmp_path / "a.txt")


ELSEWHERE = {
    "news": '{"news_id": "1", "title": "题", "content": "文。"}\n'.encode() * 3,
    "an encyclopedia": '{"title": "题", "summary": "文。", "sections": []}\n'.encode() * 3,
    "a list": '[{"title": "题", "content": "文。"}]'.encode(),
    "Sogou's news": "<doc>\n<url>u</url>\n<contenttitle>题</contenttitle>\n<content>文。</content>\n</doc>\n".encode(),
    "a table": "id,title,content\n1,题,文。\n2,题,文。\n".encode(),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_news_for_a_wiki_is_refused_before_it_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").write_bytes(ELSEWHERE[name])
    with pytest.raises(
        CorpusError, match=r"its records are not extracted from a wiki \(fields: .*--corpus news, baike or text"
    ):
        planned(tmp_path, kind="wiki")
    assert len(texts(read(tmp_path, kind="wiki", text_field=("title",)))) > 0, "what a recipe names is read"
    line = refused(prepare("--corpus", "wiki", "--input", tmp_path / "a", output=tmp_path / "out"))
    assert "not extracted from a wiki" in line


def test_a_dump_for_news_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(b"<mediawiki>\n" + b"<page></page>\n" * 99 + b"</mediawiki>\n")
    with pytest.raises(CorpusError, match="must be of kind 'wiki', not 'news'"):
        planned(tmp_path, kind="news", task_bytes=100)
