"""Dumps: every page once, however a file is compressed and split; damaged files and other files are refused."""

import bz2
import gzip
import itertools
import lzma
import random
import re
import tracemalloc
from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pytest

from pipeline.errors import CorpusError, UserError
from pipeline.sources.inputs import InputFile, expand
from pipeline.sources.records import Bad, ReadTask
from pipeline.wiki.dumps import bzip2, dump, unpacked
from pipeline.wiki.dumps.dump import Page
from tests.wiki_dumps import CLOSING, HEAD, REAL, SINGLE, ZH, Draft, multistream, read, written, xml


def _drafts(number: int) -> list[Draft]:
    """Pages of text that compress badly, so that even small dumps have several blocks."""
    chance = random.Random(5)
    common = "的一是不了人我在有他这为之大来以个中上们" * 20 + "".join(map(chr, range(0x4E00, 0x5E00)))
    return [
        Draft(f"第{page}条", "".join(chance.choices(common, k=chance.randrange(40, 4000))) + ' <ref name="甲">&nbsp;</ref>')
        for page in range(number)
    ]


WRITTEN = 20250801000000
DRAFTS = _drafts(300)
EXPECTED = [
    Page(draft.title, 0, number, "", "wikitext", escape(draft.text).encode(), WRITTEN) for number, draft in enumerate(DRAFTS, 1)
]


def _zst(data: bytes) -> bytes:
    with pa.BufferOutputStream() as sink:
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(data)
        return bytes(sink.getvalue())


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".bz2": bz2.compress,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": _zst,
}


@pytest.mark.parametrize("ending", PACKED)
def test_pages_are_the_same_however_a_dump_is_packed(tmp_path: Path, ending: str) -> None:
    pages = read(written(tmp_path / f"zhwiki.xml{ending}", PACKED[ending](xml(DRAFTS))))
    assert pages == EXPECTED
    assert [page.text for page in pages if isinstance(page, Page)] == [draft.text for draft in DRAFTS]


@pytest.mark.parametrize("task_bytes", [50_000, 200_000, 1 << 20])
def test_pages_do_not_depend_on_how_a_dump_is_cut(tmp_path: Path, task_bytes: int) -> None:
    dumps = {"plain.xml": xml(DRAFTS), "single.xml.bz2": bz2.compress(xml(DRAFTS)), "multi.xml.bz2": multistream(DRAFTS, 20)[0]}
    for name, data in dumps.items():
        file = written(tmp_path / name, data)
        tasks = dump.split(file, task_bytes)
        assert len(tasks) == -(-len(data) // (task_bytes if name == "plain.xml" else task_bytes // 4))
        assert [page for task in tasks for page in dump.pages(task)] == EXPECTED, name


def test_a_cut_through_every_byte_of_a_tag_loses_no_page(tmp_path: Path) -> None:
    data = xml(DRAFTS[:3])
    file = written(tmp_path / "zhwiki.xml", data)
    tag = data.index(b"<page>", data.index(b"<page>") + 1)
    for cut in range(tag - 3, tag + 9):
        tasks = [ReadTask(file.url, file.name, 0, cut, 0), ReadTask(file.url, file.name, cut, None, 1)]
        assert [page for task in tasks for page in dump.pages(task)] == EXPECTED[:3]


def test_a_cut_through_the_closing_tag_is_no_error(tmp_path: Path) -> None:
    data = xml(DRAFTS[:2])
    file = written(tmp_path / "zhwiki.xml", data)
    for cut in range(len(data) - len(CLOSING) - 2, len(data)):
        tasks = [ReadTask(file.url, file.name, 0, cut, 0), ReadTask(file.url, file.name, cut, None, 1)]
        assert [page for task in tasks for page in dump.pages(task)] == EXPECTED[:2]


def test_one_stream_of_bzip2_feeds_several_tasks(tmp_path: Path) -> None:
    file = written(tmp_path / "zhwiki.xml.bz2", bz2.compress(xml(DRAFTS), compresslevel=1))
    shares = [len(list(dump.pages(task))) for task in dump.split(file, 4 * file.size // 4)]
    assert sum(shares) == len(DRAFTS)
    assert sum(share > 0 for share in shares) >= 3


def test_a_mark_of_a_block_inside_a_block_is_seen_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By chance the 48 bits occur in compressed data once in ten thousand dumps: a false match is added to those found."""
    path = tmp_path / "text.bz2"
    text = xml(DRAFTS)
    path.write_bytes(bz2.compress(text, compresslevel=1))
    true_find, false_mark = bzip2._find, 8 * 150_000 + 3

    def find(data: bytes, marks: object, magic: int, start: int = 0) -> list[int]:
        found = true_find(data, marks, magic, start)  # type: ignore[arg-type]
        return sorted([*found, false_mark]) if magic == bzip2._BLOCK else found

    monkeypatch.setattr(bzip2, "_find", find)
    assert b"".join(block for _, block in bzip2.blocks(str(path))) == text


def test_the_index_beside_a_dump_is_no_dump_and_cannot_mislead(tmp_path: Path) -> None:
    data, _ = multistream(DRAFTS, 20)
    written(tmp_path / "zhwiki-pages-articles-multistream-index.txt.bz2", bz2.compress(b"12:1:wrong\n999999999:2:too far\n"))
    written(tmp_path / "zhwiki-pages-articles-multistream.xml.bz2", data)
    index, file = expand([str(tmp_path)])
    assert dump.is_index(index.name)
    assert not dump.is_index(file.name)
    assert dump.is_index("zhwiki-20250801-pages-articles-multistream-index1.txt-p1p187712.bz2")
    assert read(file, 1 << 16) == EXPECTED


@pytest.mark.parametrize("single", [True, False])
def test_a_truncated_bzip2_file_is_refused_before_any_work(tmp_path: Path, single: bool) -> None:
    data = bz2.compress(xml(DRAFTS)) if single else multistream(DRAFTS, 20)[0]
    for size in (len(data) - 5, len(data) // 2, 100):
        file = written(tmp_path / f"{size}.xml.bz2", data[:size])
        with pytest.raises(CorpusError, match=rf"{size}\.xml\.bz2: .*cut short.*fetch it again"):
            dump.split(file, 1 << 16)


def test_a_dump_that_ends_between_two_streams_is_cut_short(tmp_path: Path) -> None:
    data, _ = multistream(DRAFTS, 20)
    file = written(tmp_path / "zhwiki.xml.bz2", data.removesuffix(bz2.compress(CLOSING.encode())))
    with pytest.raises(CorpusError, match="does not end with </mediawiki>"):
        read(file, 1 << 16)


@pytest.mark.parametrize("ending", ["", ".gz", ".xz", ".zst"])
def test_other_truncated_dumps_are_cut_short_too(tmp_path: Path, ending: str) -> None:
    packed = PACKED[ending](xml(DRAFTS))
    file = written(tmp_path / f"cut.xml{ending}", packed[: len(packed) * 2 // 3])
    with pytest.raises(UserError, match=r"cut\.xml.*(cut short|runcated|ended before|end-of-stream)"):
        read(file, 1 << 18)


def test_a_damaged_block_is_named_by_its_place(tmp_path: Path) -> None:
    data = bytearray(bz2.compress(xml(DRAFTS), compresslevel=1))
    data[len(data) // 2] ^= 0xFF
    file = written(tmp_path / "zhwiki.xml.bz2", bytes(data))
    with pytest.raises(CorpusError, match=r"zhwiki\.xml\.bz2: .*damaged after byte [\d,]+; fetch it again"):
        read(file)


def test_a_hole_in_a_file_takes_no_memory(tmp_path: Path) -> None:
    """A download in several pieces makes the file as large as it will be, full of zeros."""
    path, data = tmp_path / "zhwiki.xml.bz2", multistream(DRAFTS, 20)[0]
    with path.open("wb") as file:
        file.write(data[: len(data) // 2])
        file.seek(64 << 20)
        file.write(data[len(data) // 2 :])
    tracemalloc.start()
    with pytest.raises(CorpusError, match="damaged, no bzip2 block begins in the 2,097,152 bytes after byte"):
        list(bzip2.blocks(str(path)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 << 20


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "not a MediaWiki dump .*DOCTYPE"),
        (b'{"title": "\xe6\x9f\x8f\xe6\x9e\x97"}\n', "not a MediaWiki dump"),
        (bz2.compress(b"12:1:title\n"), "not a MediaWiki dump"),
        (b"", "empty file"),
        (xml(DRAFTS[:1]).decode().encode("utf-16"), "UTF-16; convert it first"),
        (bz2.compress(xml(DRAFTS[:1]).decode().encode("utf-16-be")), "UTF-16; convert it first"),
    ],
)
def test_what_is_no_dump_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        dump.split(written(tmp_path / "zhwiki.xml", data), 1 << 20)


@pytest.mark.parametrize(("megabytes", "packed"), [(50, False), (20, True)])
def test_a_page_of_50_megabytes_costs_itself_and_little_memory(tmp_path: Path, megabytes: int, packed: bool) -> None:
    before, after = (HEAD + Draft("前").xml(1)).encode(), (Draft("后").xml(3) + CLOSING).encode()
    begin, _, end = Draft("巨", "@").xml(2).partition("@")
    compressor = bz2.BZ2Compressor(1)
    nested = "".join(random.Random(3).choices("{深", k=500_000)).encode()  # 1 MB
    with (tmp_path / "zhwiki.xml").open("wb") as file:
        for token in (before, begin.encode(), *[nested] * megabytes, end.encode(), after):
            file.write(compressor.compress(token) if packed else token)
        file.write(compressor.flush() if packed else b"")
    [file_of_it] = expand([str(tmp_path / "zhwiki.xml")])
    tracemalloc.start()
    pages = read(file_of_it)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    too_large = Bad("zhwiki.xml#2", "page too large", "巨")
    assert [page.title if isinstance(page, Page) else page for page in pages] == ["前", too_large, "后"]
    assert peak < 3 * dump.MAX_PAGE_BYTES


def test_entities_of_xml_are_undone_once(tmp_path: Path) -> None:
    text = "&lt;ref&gt;&quot;甲&#039;乙&#x4E19;&quot; &amp;nbsp; &amp;lt; &#38;lt; &#xD800;&apos;\r\n行"
    data = xml([Draft("A", "@")]).replace(b">@<", f">{text}<".encode()).replace(b"<title>A<", b"<title>AT&amp;T<")
    [page] = read(written(tmp_path / "zhwiki.xml", data))
    assert isinstance(page, Page)
    assert page.title == "AT&T"
    assert page.text == "<ref>\"甲'乙丙\" &nbsp; &lt; &lt; \ufffd'\n行"


@pytest.mark.parametrize("place", [b"<id>2</id>", b"<ns>0</ns>\n    <id>2</id>"])
def test_a_number_of_too_many_digits_costs_its_page(tmp_path: Path, place: bytes) -> None:
    data = xml([Draft("前"), Draft("巨"), Draft("后")]).replace(place, re.sub(rb"\d+", b"9" * 5_000, place))
    first, bad, last = read(written(tmp_path / "zhwiki.xml", data))
    assert isinstance(first, Page) and isinstance(last, Page) and (first.title, last.title) == ("前", "后")
    assert isinstance(bad, Bad) and (bad.origin, bad.reason) == ("zhwiki.xml#?", "not a page of a dump")


def test_pages_without_text_and_with_several_revisions(tmp_path: Path) -> None:
    data = xml([Draft("空", "@"), Draft("史", "旧"), Draft("坏", "@坏")])
    data = re.sub(rb"<text [^>]*>@</text>", b'<text bytes="0" sha1="x" />', data)
    old = re.search("<revision>(?:(?!<revision>).)*旧.*?</revision>".encode(), data, re.DOTALL)
    assert old
    data = data.replace(old[0], old[0] + b"\n" + old[0].replace("旧".encode(), "新".encode()))
    data = data.replace("@坏".encode(), b"\xb0\xa1\xff")
    pages = read(written(tmp_path / "zhwiki.xml", data))
    assert [page.text for page in pages if isinstance(page, Page)] == ["", "新"]
    assert pages[2] == Bad("zhwiki.xml#3", "not UTF-8", "坏")


def test_texts_of_other_namespaces_are_not_decoded(tmp_path: Path) -> None:
    file = written(tmp_path / "zhwiki.xml", xml([Draft("柏林", "甲"), Draft("Template:Le", "乙", 10, "Template:Link-en")]))
    [task] = dump.split(file, 1 << 20)
    assert list(dump.pages(task, {10})) == [
        Page("柏林", 0, 1, "", "wikitext", b"", WRITTEN),
        Page("Template:Le", 10, 2, "Template:Link-en", "wikitext", "乙".encode(), WRITTEN),
    ]

    assert [page.title for page in dump.pages(task, {10}, others=False) if isinstance(page, Page)] == ["Template:Le"]


def test_dumps_are_read_from_any_file_system(tmp_path: Path) -> None:
    import fsspec

    fsspec.filesystem("memory").pipe_file("/dumps/zhwiki.xml.bz2", multistream(DRAFTS, 20)[0])
    [file] = expand(["memory://dumps/zhwiki.xml.bz2"])
    assert read(file, 1 << 16) == EXPECTED


def _real(path: Path) -> InputFile:
    if not path.exists():
        pytest.skip(f"no {path}: the real dumps are not here")
    return expand([str(path)])[0]


def test_real_dumps_are_read_as_an_xml_parser_reads_them() -> None:
    for path in (SINGLE, ZH, ZH.with_suffix("")):
        file = _real(path)
        data = path.read_bytes()
        root = ElementTree.fromstring(bz2.decompress(data) if data.startswith(b"BZh") else data)
        expected = [
            (page.findtext("{*}title"), page.findtext("{*}revision/{*}text"), int(page.findtext("{*}id") or 0))
            for page in root.iter("{http://www.mediawiki.org/xml/export-0.10/}page")
        ]
        for task_bytes in (1 << 40, 1 << 21):
            pages = [page for page in read(file, task_bytes) if isinstance(page, Page)]
            assert [(page.title, page.text, page.page_id) for page in pages] == expected


def test_the_real_dump_in_utf_16_is_refused() -> None:
    file = _real(next(iter(REAL.rglob("bgwiki*")), REAL / "bgwiki"))
    with pytest.raises(CorpusError, match="UTF-16"):
        dump.split(file, 1 << 20)


def test_blocks_of_any_range_follow_each_other(tmp_path: Path) -> None:
    data, _ = multistream(DRAFTS, 20)
    path = tmp_path / "zhwiki.xml.bz2"
    path.write_bytes(bz2.compress(b"") + data + bz2.compress(b""))
    whole = list(bzip2.blocks(str(path)))
    assert b"".join(text for _, text in whole) == bz2.decompress(data)
    starts = [start for start, _ in whole]
    assert all(first < second for first, second in itertools.pairwise(starts))
    for start in (0, starts[1], starts[1] + 1, starts[-1], starts[-1] + 1):
        assert list(bzip2.blocks(str(path), start)) == [block for block in whole if block[0] >= start]


def test_text_that_is_kept_is_that_of_the_dump_however_it_is_split(tmp_path: Path) -> None:
    data, folder = multistream(DRAFTS, 5)[0], str(tmp_path / "side")
    file = written(tmp_path / "zhwiki.xml.bz2", data)
    kept, tasks = (dump.split(file, 4 * (file.size // number)) for number in (4, 7))
    expected = [list(bzip2.blocks(file.url, task.start)) for task in tasks]
    found = [page for task in kept for page in dump.pages(task, blocks=partial(unpacked.keep, folder))]
    assert found == EXPECTED

    def blocks() -> list[list[tuple[int, bytes]]]:
        return [list(unpacked.blocks(folder, task)) for task in tasks]

    (tmp_path / file.name).write_bytes(bytes(file.size))
    assert blocks() == expected, "the dump is not read"
    (tmp_path / file.name).write_bytes(data)
    copies = sorted((tmp_path / "side/unpacked").iterdir())
    damaged = bytearray(copies[1].read_bytes())
    damaged[len(damaged) // 3] ^= 1
    copies[1].write_bytes(damaged)
    assert blocks() == expected
    copies[-1].unlink()
    assert blocks() == expected
    unpacked.remove(folder)
    assert blocks() == expected


OLD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.4/" version="0.4" xml:lang="zh">
<siteinfo><sitename>镇</sitename><base>http://zh.zhen.example/wiki/首页</base>
<namespaces><namespace key="0" case="first-letter" />
<namespace key="102" case="first-letter">卷宗 &amp; 志</namespace></namespaces>
</siteinfo>"""
OLD_PAGES = {
    "柏林": (0, "甲"),
    "Re:从零开始": (0, "乙"),
    "Template:Le": (10, "#REDIRECT [[Template:Link_en#a]]"),
    "模板:Lang": (10, "丙"),
    "用户 日记:丁": (0, "丁"),
    "User talk:丁": (3, "戊"),
    "卷宗 &amp; 志:己": (102, "己"),
    "伯林": (0, "#重定向[[柏林|首都]]"),
}


def test_a_dump_without_ns_has_the_namespaces_of_its_titles(tmp_path: Path) -> None:
    """Export formats before 0.6, each page in another task than the head."""
    texts = "".join(
        f"<page>\n<title>{title}</title>\n<id>{number}</id>\n<revision>\n<id>{number}00</id>\n"
        f"<timestamp>2010-01-0{number}T00:00:00Z</timestamp>\n<text xml:space='preserve'>{text}</text>\n</revision>\n</page>\n"
        for number, (title, (_, text)) in enumerate(OLD_PAGES.items(), 1)
    )
    file = written(tmp_path / "old.xml", f"{OLD}{texts}</mediawiki>".encode())
    for task_bytes in (1 << 20, 300):
        pages = [page for page in read(file, task_bytes) if isinstance(page, Page)]
        assert [page.namespace for page in pages] == [number for number, _ in OLD_PAGES.values()]
    assert [page.redirect for page in pages if page.redirect] == ["Template:Link en#a", "柏林"]
    assert [page.revision for page in pages][:2] == [20100101000000, 20100102000000]
    assert dump.site(file.url) == "http://zh.zhen.example/wiki/"
