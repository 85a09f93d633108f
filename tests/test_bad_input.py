"""Unusable input: a one-line message and exit code 2, or the rest is read and the loss is counted."""

import bz2
import codecs
import gzip
import json
import lzma
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import storage
from pipeline.config import VocabularyConfig
from pipeline.documents import clean_part
from pipeline.documents import reading as sources
from pipeline.documents.stage import documents
from pipeline.errors import CorpusError
from pipeline.sources import inputs
from pipeline.tokenization.vocabulary import vocabulary
from tests import corpus, wiki_dumps
from tests.commands import manifest, prepare, refused
from tests.reading import config
from tests.wiki_dumps import Draft

TEXTS = corpus.text_documents(3, 60)
ARTICLES = [{"title": f"第{number}条", "content": text} for number, text in enumerate(TEXTS)]
LINES = corpus.json_lines(ARTICLES)
ARRAY = json.dumps(ARTICLES, ensure_ascii=False).encode()
PLAIN = "\n\n".join(TEXTS)
DRAFTS = [Draft(f"条目{number}", text) for number, text in enumerate(TEXTS)]
DUMP = wiki_dumps.xml(DRAFTS)
MULTISTREAM, INDEX = wiki_dumps.multistream(DRAFTS, 20)
NOISE = bytes(number * number % 251 for number in range(5_000))


def zst(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as file:
        file.write(data)
    return bytes(sink.getvalue().to_pybytes())


def parquet(columns: dict[str, list[Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue().to_pybytes())


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    folder.mkdir(exist_ok=True)
    return folder


PACKED: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zst}
TABLE = parquet({"title": ["题"] * 60, "text": TEXTS})
CUT = "the compressed file is cut short or damaged"
NO_DUMP = "neither a MediaWiki dump nor extracted from one"

REFUSED: list[tuple[str, str, dict[str, bytes], str]] = [
    *((f"news cut .{kind}", "news", {f"a.jsonl.{kind}": half(pack(LINES))}, CUT) for kind, pack in PACKED.items()),
    *((f"wiki cut .{kind}", "wiki", {f"a.xml.{kind}": half(pack(DUMP))}, CUT) for kind, pack in PACKED.items()),
    ("wiki cut", "wiki", {"a.xml": half(DUMP)}, "cut short"),
    ("wiki multistream cut", "wiki", {"a.xml.bz2": half(MULTISTREAM)}, CUT),
    ("wiki without its last stream", "wiki", {"a.xml.bz2": MULTISTREAM[: MULTISTREAM.rindex(b"BZh9")]}, "cut short"),
    ("wiki page of an error", "wiki", {"a.xml.bz2": b"<!DOCTYPE html><html><body>503</body></html>"}, "a web page"),
    ("wiki message of an error", "wiki", {"a.xml.bz2": b'{"error": "rate limited"}'}, "no field known to hold text"),
    ("wiki checksums", "wiki", {"a.xml": DUMP, "md5sums.txt": b"d41d8cd98f00  a.xml\n"}, f"md5sums.txt: {NO_DUMP}"),
    ("wiki plain text", "wiki", {"a.txt": PLAIN.encode()}, "read plain text with --corpus text"),
    ("wiki index alone", "wiki", {"a-index.txt.bz2": INDEX}, "no document in its input"),
    ("wiki empty", "wiki", {"a.xml.bz2": b""}, "files: empty 1; records: none"),
    ("wiki redirects alone", "wiki", {"a.xml": wiki_dumps.xml([Draft("甲", redirect="乙")])}, "records: redirect 1"),
    ("wiki in UTF-16", "wiki", {"a.xml": DUMP.decode().encode("utf-16")}, "UTF-16; convert it first"),
    ("wiki packed by 7z", "wiki", {"a.xml.7z": b"7z\xbc\xaf\x27\x1c" + NOISE}, "a 7z archive; unpack it first"),
    ("array cut", "baike", {"a.json": ARRAY[:-300]}, "the JSON array is cut short; fetch it again"),
    ("array without its end", "baike", {"a.json": ARRAY[:-1]}, "the JSON array is cut short; fetch it again"),
    ("lines cut", "news", {"a.jsonl": LINES[:-9]}, "1 of 60 records cannot be read, max_bad_ratio allows 1.00% (a.jsonl#"),
    ("Parquet cut", "text", {"a.parquet": half(TABLE)}, "the Parquet file is cut short or damaged"),
    ("Parquet in gz", "text", {"a.parquet": gzip.compress(TABLE)}, "unpack it first"),
    ("other columns", "text", {"a.parquet": parquet({"body": TEXTS})}, "--text-field; the columns are body"),
    ("other fields", "news", {"a.jsonl": corpus.json_lines([{"body": "正文。"}])}, "text_field (fields: body)"),
    ("a line of GBK", "text", {"a.txt": PLAIN.encode() + "\n\n北京大学的学生".encode("gbk")}, "not UTF-8); they are listed in"),
    ("Big5", "text", {"a.txt": "這是一個很大的檔案，裡面有人在說話。\n\n".encode("big5") * 50}, "iconv -f big5 -t utf-8"),
    ("UTF-32", "text", {"a.txt": PLAIN.encode("utf-32")}, "UTF-32; convert it first"),
    ("UTF-16 without a mark", "text", {"a.txt": PLAIN.encode("utf-16-be")}, "set --encoding utf-16"),
    ("half a character of UTF-16", "text", {"a.txt": PLAIN.encode("utf-16")[:-1]}, "cut short"),
    ("a picture among the news", "news", {"a.jsonl": LINES, "b.png": NOISE}, "b.png: not text"),
    ("a dump among the news", "news", {"a.jsonl": LINES, "b.xml": DUMP}, "must be of kind 'wiki', not 'news'"),
    ("an empty file", "text", {"a.txt": b""}, "files: empty 1; records: none"),
    ("empty files", "text", {"a.txt": b"", "b.txt": b"\n\n", "c.jsonl": b"\n"}, "files: empty 3; records: none"),
    ("nothing", "text", {}, "no such file, or an empty folder"),
    ("hidden files alone", "text", {".a.txt": b"x", "_b.txt": b"x"}, "names that begin with . or _ are skipped"),
    ("text for TFRecord", "tfrecord", {"a.tfrecord": LINES}, "is this a TFRecord file, and whole?"),
    ("an empty TFRecord", "tfrecord", {"a.tfrecord": b""}, "has no records"),
    ("TFRecord cut .gz", "tfrecord", {"a.tfrecord.gz": half(gzip.compress(NOISE))}, CUT),
]  # fmt: skip


@pytest.fixture(scope="module")
def vocab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A vocabulary of the texts."""
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    path.write_text("\n".join(PIECES) + "\n")
    yield path


PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({*PLAIN.lower()} - {"\n"}), "\u2028"]


@pytest.mark.parametrize(("kind", "files", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, vocab: Path, kind: str, files: dict[str, bytes], message: str
) -> None:
    folder = written(tmp_path / "in", files)
    message_line = refused(prepare("--corpus", kind, "--input", folder, "--vocab", vocab, output=tmp_path / "out"))
    assert message in message_line and len(message_line) < 600
    assert not [*tmp_path.glob("out/documents*/manifest.json"), *tmp_path.glob("out/shards*"), *tmp_path.glob("out/data.json")]


READ: list[tuple[str, dict[str, bytes], dict[str, Any], dict[str, int], int]] = [
    ("GBK", {"a.jsonl": LINES.decode().encode("gbk"), "b.txt": PLAIN.encode("gbk")}, {}, {}, 120),
    ("one GBK line", {"a.jsonl": LINES + '{"content": "北京"}\n'.encode("gbk")}, {"max_bad_ratio": 0.05}, {"not UTF-8": 1}, 60),
    ("marks", {"a.jsonl": codecs.BOM_UTF8 + LINES, "b.txt": codecs.BOM_UTF8 + PLAIN.encode()}, {}, {}, 120),
    ("UTF-16", {"a.jsonl": LINES.decode().encode("utf-16"), "b.txt": PLAIN.encode("utf-16")}, {}, {}, 120),
    ("UTF-16, big-endian, declared", {"a.txt": PLAIN.encode("utf-16-be")}, {"encoding": "utf-16"}, {}, 60),
    ("lines cut", {"a.jsonl": LINES[:-9]}, {"max_bad_ratio": 0.05}, {"cut short: the file ends in it": 1}, 59),
    ("brackets never closed", {"a.jsonl": LINES + b"[" * 200_000 + b"\n"}, {"max_bad_ratio": 0.05}, {"not JSON": 1}, 60),
    ("many layouts", {"a.jsonl": LINES, "b/c.txt": PLAIN.encode(), "d.json": ARRAY, "e": TABLE, "f.txt": b""}, {}, {}, 240),
    ("names", {"中 文/a b\n[1].jsonl": LINES, "it's 50%#?*.txt": PLAIN.encode(), "a::b.gz": gzip.compress(LINES)}, {}, {}, 180),
]  # fmt: skip


@pytest.mark.parametrize(("files", "more", "bad", "kept"), [case[1:] for case in READ], ids=[case[0] for case in READ])
def test_what_can_be_read_is_read_and_the_rest_is_counted(
    tmp_path: Path, files: dict[str, bytes], more: dict[str, Any], bad: dict[str, int], kept: int
) -> None:
    done = documents(config(written(tmp_path / "in", files), kind="news", **more), str(tmp_path / "out"))
    counts = done.manifest["counts"]
    assert (counts["kept"], counts["bad"], done.manifest["bad"]) == (kept, sum(bad.values()), bad)
    assert counts["read"] == counts["kept"] + counts["bad"] + counts["empty"]


@pytest.mark.parametrize("data", [PLAIN.encode(), LINES])
def test_utf_8_that_is_said_to_be_utf_16_is_refused(tmp_path: Path, data: bytes) -> None:
    folder = written(tmp_path / "in", {"a.txt": data})
    message_line = refused(prepare("--corpus", "news", "--input", folder, "--encoding", "utf-16", output=tmp_path / "out"))
    assert message_line.endswith("a.txt: UTF-8, not UTF-16; leave the encoding at auto")


def test_an_index_that_does_not_fit_its_dump_changes_nothing(tmp_path: Path) -> None:
    _, other = wiki_dumps.multistream(DRAFTS[::-1], 7)
    indexes = {"none": {}, "other": {"a-index.txt.bz2": other}, "cut": {"a-index.txt.bz2": half(INDEX)}}
    folders = [written(tmp_path / name, {"a.xml.bz2": MULTISTREAM, **index}) for name, index in indexes.items()]
    none, *others = (documents(config(folder, kind="wiki"), str(tmp_path / "out")) for folder in folders)
    assert all(other.url != none.url and other.files("part-") == none.files("part-") for other in others)


def test_pages_that_no_parser_can_do_cost_themselves(tmp_path: Path) -> None:
    openings = ("{{", "{{{", "[[", "{|", "-{", "<ref>", "{{a|", "<div>")
    torn = [Draft(f"坏{number}", opening * 100_000) for number, opening in enumerate(openings)]
    huge = Draft("大", "文" * 17_000_000)
    data = wiki_dumps.xml([*DRAFTS, huge, *torn, Draft("末", TEXTS[0] + "别的。")])
    folder = written(tmp_path / "in", {"a.xml.bz2": bz2.compress(data, 1)})
    done = documents(config(folder, kind="wiki", max_bad_ratio=0.2), str(tmp_path / "out"))
    counts = done.manifest["counts"]
    assert counts["read"] == len(DRAFTS) + len(torn) + 2
    assert counts["kept"] == len(DRAFTS) + 1
    assert done.manifest["bad"]["page too large"] == 1
    assert counts["bad"] + counts["empty"] == 1 + len(torn)


def test_no_document_left_after_the_filters_tells_which_and_how_many(tmp_path: Path) -> None:
    english = "Nothing in this document is written in Chinese, not a single word of it."
    folder = written(tmp_path / "in", {"a.txt": "\n\n".join(["短。", english, "也短。"]).encode()})
    message_line = refused(prepare("--corpus", "text", "--input", folder, output=tmp_path / "out"))
    assert "all 3 documents are dropped (" in message_line and "too_short 2" in message_line and "[filters]" in message_line
    assert manifest(tmp_path / "out", "documents_text")["counts"]["kept"] == 3, "other filters must not read the input again"


def test_max_bad_raised_goes_on_without_reading_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path / "in", {"a.jsonl": LINES + b'{"content": "\xff"}\n'})
    arguments = ("--corpus", "news", "--input", folder)
    message_line = refused(prepare(*arguments, output=tmp_path / "out"))
    listed = Path(message_line.partition("they are listed in ")[2].partition(": fix")[0])
    assert json.loads(listed.read_text())["reason"] == "not UTF-8"
    monkeypatch.setattr(clean_part.ReadDocuments, "__call__", None)  # any second read would fail
    done = prepare(*arguments, "--max-bad-ratio", "2%", output=tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "60 of 61 records, 1 unreadable" in done.stderr


LATE: list[tuple[tuple[str, ...], bytes | None, str]] = [
    (("--vocab", "{file}"), None, "not found"),
    (("--vocab", "{file}"), "\n".join(PIECES[:4] + PIECES[5:]).encode(), "lacks [MASK]"),
    (("--vocab", "{file}"), "\n".join(PIECES).encode("utf-16"), "line 1 is not UTF-8"),
    (("--vocab", "{file}"), "\n".join([*PIECES, "学"]).encode(), "'学' is on lines"),
    (("--vocab", "{file}"), b"", "is empty"),
    (("--set", "dedup.withdrawn={file}"), None, "not found"),
    (("--set", "dedup.withdrawn={file}"), b"0a4f00c1b2d4e3f9\nnonsense\n", "line 2: 'nonsense' is not a document id"),
    (("--set", 'decontamination.inputs=["{file}"]'), None, "no such file"),
    (("--set", 'words.user_dictionary=["{file}"]'), None, "not found"),
    (("--set", 'words.user_dictionary=["{file}"]'), "北京大学 3 n\n".encode("gbk"), "a user dictionary must be UTF-8"),
    (
        ("--set", 'words.user_dictionary=["{file}"]'),
        b"[" * 200_000,
        "has a line of 200,000 bytes; a user dictionary has a word",
    ),
    (("--set", "words.segmenter=pkuseg"), None, "neither 'jieba' nor 'given' nor a 'module:function'"),
    (("--set", "words.segmenter=no_such_module:cut"), None, "cannot import no_such_module"),
    (("--set", "words.segmenter=json:cut"), None, "json has no cut"),
    (("--set", "masking.policy=entity", "--set", "masking.phrases={file}"), None, "not found"),
]


@pytest.mark.parametrize(("options", "content", "message"), LATE, ids=[case[2] for case in LATE])
def test_what_is_needed_late_is_looked_at_first(
    tmp_path: Path, options: tuple[str, ...], content: bytes | None, message: str
) -> None:
    folder = written(tmp_path / "in", {"a.jsonl": LINES})
    file = tmp_path / "given.txt"
    if content is not None:
        file.write_bytes(content)
    named = [option.format(file=file) for option in options]
    assert message in refused(prepare("--corpus", "news", "--input", folder, *named, output=tmp_path / "out"))
    assert not (tmp_path / "out").exists(), "input was read before the check"


def test_an_input_that_is_missing_in_a_later_source_is_reported_first(tmp_path: Path) -> None:
    first, second = written(tmp_path / "in", {"a.jsonl": LINES}), tmp_path / "none"
    recipe = tmp_path / "two.toml"
    tables = (f'[[source]]\nname = "{name}"\nkind = "news"\ninput = ["{url}"]\n' for name, url in (("a", first), ("b", second)))
    recipe.write_text('name = "two"\n' + "".join(tables))
    assert f"{second}: no such file" in refused(prepare(recipe, output=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("segmenter", ["json:loads", "json:decoder", "builtins:len"])
def test_a_segmenter_that_fails_at_work_is_one_line(tmp_path: Path, vocab: Path, segmenter: str) -> None:
    folder = written(tmp_path / "in", {"a.txt": TEXTS[0].encode()})
    named = ("--vocab", vocab, "--set", f"words.segmenter={segmenter}")
    message_line = refused(prepare("--corpus", "text", "--input", folder, *named, output=tmp_path / "out"))
    assert message_line.startswith(f"segmenter {segmenter}: fails on a list of ") and "TypeError" in message_line


def test_a_vocabulary_of_another_language_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "in", {"a.txt": PLAIN.encode(), "vocab.bin": b""})
    (tmp_path / "vocab.txt").write_text("\n".join([*PIECES[:5], "hello", "##s", "。"]) + "\n")
    message_line = refused(
        prepare("--corpus", "text", "--input", folder, "--vocab", tmp_path / "vocab.txt", output=tmp_path / "out")
    )
    assert "tokens are [UNK]: the vocabulary lacks most of this text" in message_line
    assert not [*tmp_path.glob("out/tokens*/manifest.json")]


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_vocabulary_of_any_system_is_the_same(tmp_path: Path, mark: bytes, line_end: str) -> None:
    (tmp_path / "vocab.txt").write_bytes(mark + "".join(f"{token}{line_end}" for token in PIECES).encode())
    done = vocabulary([], None, VocabularyConfig(url=str(tmp_path / "vocab.txt")), str(tmp_path / "out"))
    expected = storage.bytes_digest("".join(f"{token}\n" for token in PIECES).encode())
    assert (done.manifest["size"], done.manifest["sha256"]) == (len(PIECES), expected)


def test_an_input_that_changes_while_it_is_read_is_refused_and_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "in", {"a.jsonl": LINES})
    whole = sources.raw

    def growing(*arguments: Any) -> Iterator[Any]:
        yield from whole(*arguments)
        with (folder / "a.jsonl").open("ab") as file:
            file.write(LINES)

    monkeypatch.setattr(sources, "raw", growing)
    with pytest.raises(CorpusError, match="its input changed while it was being read; run again once it is complete"):
        documents(config(folder, kind="news"), str(tmp_path / "out"))
    assert set(os.listdir(tmp_path / "out")) <= {"digests.json"}
    monkeypatch.setattr(sources, "raw", whole)
    assert documents(config(folder, kind="news"), str(tmp_path / "out")).manifest["counts"]["kept"] == 120


def test_an_input_that_changed_between_two_runs_is_read_again(tmp_path: Path) -> None:
    folder, output = written(tmp_path / "in", {"a.jsonl": LINES}), tmp_path / "out"
    arguments = ("--corpus", "news", "--input", folder)
    first = json.loads(prepare(*arguments, "--json", output=output).stdout)
    (folder / "a.jsonl").write_bytes(LINES + corpus.json_lines([{"content": "新的一篇文章，昨天还没有。"}]))
    second = json.loads(prepare(*arguments, "--json", output=output).stdout)
    assert first["shards"] != second["shards"]
    assert json.loads((output / "data.json").read_text())["shards"] == second["shards"]
    (folder / "a.jsonl").write_bytes(LINES)
    assert json.loads(prepare(*arguments, "--json", output=output).stdout) == first


def test_links_to_files_are_read_as_files(tmp_path: Path) -> None:
    """As in the caches of the Hugging Face hub, and in git-annex."""
    folder = written(tmp_path / "blobs", {"0a1b": LINES, "2c3d": PLAIN.encode()})
    snapshot = written(tmp_path / "snapshot", {"deep/c.txt": TEXTS[0].encode()})
    (snapshot / "a.jsonl").symlink_to(folder / "0a1b")
    (snapshot / "deep" / "b.txt").symlink_to("../../blobs/2c3d")
    (snapshot / "again").symlink_to("deep")  # already read under its own name
    (snapshot / "loop").symlink_to(".")
    for named in (snapshot, snapshot / "**" / "[a-c].*"):
        files = inputs.expand([str(named)])
        assert [(file.name, file.size) for file in files] == [
            ("a.jsonl", len(LINES)),
            ("deep/b.txt", len(PLAIN.encode())),
            ("deep/c.txt", len(TEXTS[0].encode())),
        ]
    assert documents(config(snapshot, kind="news"), str(tmp_path / "out")).manifest["counts"]["kept"] == 121


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("none", "link: a broken link; remove it, or restore its target"),
        ("link", "link: a broken link"),
        ("../elsewhere", "link: a link to a folder elsewhere; name that folder as an input too, or remove the link"),
    ],
)
def test_a_link_whose_text_would_be_lost_is_refused(tmp_path: Path, target: str, message: str) -> None:
    written(tmp_path / "elsewhere", {"b.jsonl": LINES})
    folder = written(tmp_path / "in", {"a.jsonl": LINES})
    (folder / "link").symlink_to(target)
    assert message in refused(prepare("--corpus", "news", "--input", folder, output=tmp_path / "out"))


def test_an_input_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "in", {"a.jsonl": LINES})
    named = ("--input", folder, "--input", folder / "a.jsonl")
    assert "an input file is named twice" in refused(prepare("--corpus", "news", *named, output=tmp_path / "out"))


@pytest.mark.parametrize("setting", ['words.user_dictionary=["{tmp}/words.txt"]', "masking.phrases={tmp}/words.txt"])
def test_remote_workers_are_given_no_local_list(tmp_path: Path, setting: str) -> None:
    named = ("--corpus", "news", "--input", "s3://bucket/news", "--set", setting.format(tmp=tmp_path))
    entity = ("--set", "masking.policy=entity") if "phrases" in setting else ()
    message_line = refused(prepare(*named, *entity, "--runner", "flink", output="s3://bucket/out"))
    assert f"its workers cannot see the local path {tmp_path}/words.txt" in message_line
