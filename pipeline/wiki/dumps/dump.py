"""Pages of a MediaWiki dump (`pages-articles`, any export format), from any byte range of it.

    <page><title>柏林</title><ns>0</ns><id>3472</id>...<text ...>'''柏林'''（{{lang-de|Berlin}}）是...</text>...</page>
    ->  Page("柏林", namespace=0, page_id=3472, redirect="", model="wikitext", xml=b"'''柏林'''（{{lang-de|Berlin}}）是...")

Plain XML and bzip2 are split into tasks; gz, xz and zst are one task each, streamed. A page belongs to the range in which its
`<page>` starts: the byte of the XML, or the byte of the bzip2 block that contains it. So each page is read exactly once,
however a file is split. The index of a multistream dump is not needed (and cannot be wrong): bzip2.py finds the blocks.

Formats before 0.6 have no `<ns>`: the namespace follows from the title and the names in `<siteinfo>` (namespaces.py). Dumps
with a `<page>` for each revision yield all of them; `Page.revision` says which is the latest.
"""

import re
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from pipeline import storage
from pipeline.errors import CorpusError
from pipeline.sources.inputs import InputFile
from pipeline.sources.records import Bad, ReadTask
from pipeline.wiki.dumps import bzip2, namespaces

MAX_PAGE_BYTES = 16 << 20
"""Longer pages are not read. MediaWiki itself limits pages to 2 MB."""
UNPACKED = 4
"""Approximate bytes of wikitext per byte of bzip2."""
_CHUNK = 1 << 20
_HEAD_BYTES = 1 << 16
_CLOSING = b"</mediawiki>"
_TAIL = 32
"""Bytes kept while searching for a tag: longer than any tag."""
_INDEX = re.compile(r"-index\d*\.txt(-p\d+p\d+)?(\.bz2)?$")
_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_HEAD = re.compile(
    rb"<page>\s*<title>(?P<title>[^<]*)</title>(?:\s*<ns>(?P<ns>-?\d{1,9})</ns>)?\s*<id>(?P<id>\d{1,19})</id>"
    rb'(?:\s*<redirect title="(?P<redirect>[^"]*)")?'
)
REDIRECT = re.compile(
    r"\s*+[#＃]\s*+(?:REDIRECT|重定向|重新導向|重新导向)(?:\s*+[:：]?\s*+\[\[([^\[\]|{}<>\n]{1,255}))?", re.IGNORECASE
)
"""The start of a redirect, with its target: zhwiki's magic words and common misspellings."""
_DIGITS = re.compile(rb"\d+")
_REFERENCE = re.compile(r"&#(?:(\d{1,7})|x([0-9a-fA-F]{1,6}));")


@dataclass(frozen=True)
class Page:
    """One page: its latest revision if a dump has several."""

    title: str
    """With the namespace: `Template:Lang`."""
    namespace: int
    page_id: int
    redirect: str
    """Title of the redirect's target; empty for other pages."""
    model: str
    """`wikitext`, `Scribunto` (Lua), `json`..."""
    xml: bytes
    """Its text as the dump has it: UTF-8, with references for some characters."""
    revision: int = 1
    """When it was written: 20250801123456; 1 if the dump does not say."""

    @cached_property
    def text(self) -> str:
        return _unescape(self.xml.decode())


def is_index(name: str) -> bool:
    """Return whether a file is the index of a multistream dump, by its name: indexes are next to dumps but are not dumps."""
    return _INDEX.search(name) is not None


def split(file: InputFile, task_bytes: int, first: int = 0) -> list[ReadTask]:
    """Return tasks of about `task_bytes` of XML, numbered from `first`.

    Raises: CorpusError for a file that is not a dump (a web page, JSON, UTF-16, an empty file) or a bzip2 file without its end.
    """
    if file.size == 0:
        raise CorpusError(f"{file.url}: an empty file; fetch the dump again")
    compression = _compression(file.url)
    _check_head(file.url, compression)
    if compression == "bz2" and not bzip2.is_complete(file.url):
        raise CorpusError(f"{file.url}: the compressed file is cut short; fetch it again")
    step = {"": task_bytes, "bz2": max(task_bytes // UNPACKED, 1)}.get(compression, file.size)
    starts = range(0, file.size, step)
    ends = [*starts[1:], None]
    return [ReadTask(file.url, file.name, *place, first + i) for i, place in enumerate(zip(starts, ends, strict=True))]


def site(url: str) -> str:
    """Return the base URL of pages from the dump's `<siteinfo>`: `https://zh.wikipedia.org/wiki/`; empty if there is none."""
    found = re.search(rb"<base>\s*(https?://[^<\s]*/)[^/<]*</base>", _head(url, _compression(url)))
    return found[1].decode(errors="replace") if found else ""


Blocks = Callable[[ReadTask], Iterator[tuple[int, bytes]]]
"""Yields (byte it starts in, text) of the blocks of a bzip2 file, from the start of a task on."""


def _blocks(task: ReadTask) -> Iterator[tuple[int, bytes]]:
    return bzip2.blocks(task.url, task.start)


def pages(
    task: ReadTask, wanted: Container[int] | None = None, *, others: bool = True, blocks: Blocks = _blocks
) -> Iterator[Page | Bad]:
    """Yield the pages that start in the range of a task.

    Args:
        wanted: namespaces; None = all. Texts outside them are left empty.
        others: whether pages outside them are yielded at all.

    Raises: CorpusError for a file that is cut short or damaged.
    """
    window = _Window(task.url, _chunks(task, blocks))
    names: dict[str, int] = {}
    while window.seek(b"<page>"):
        xml, whole = window.take(b"</page>", MAX_PAGE_BYTES)
        head = _HEAD.match(xml)
        if head is None:
            yield Bad(f"{task.file}#?", "not a page of a dump", xml[:200].decode(errors="replace"))
            continue
        if head["ns"] is None and not names:
            names = namespaces.numbers(_head(task.url, _compression(task.url)))
        title = head["title"].decode(errors="replace")
        number = int(head["ns"]) if head["ns"] else namespaces.of_title(_unescape(title), names)
        is_wanted = wanted is None or number in wanted
        if is_wanted or others:
            yield _page(xml, head, whole, task.file, number, is_wanted)


def _compression(url: str) -> str:
    """Detect compression by the first bytes: names of dumps vary (`...xml-p10p30302.bz2`, `...xml-p10p30302-shortened.bz2`)."""
    head = storage.read_range(url, 0, min(8, storage.file_size(url)))
    if re.match(rb"BZh[1-9]", head):
        return "bz2"
    return next((name for magic, name in _COMPRESSIONS.items() if head.startswith(magic)), "")


def _head(url: str, compression: str) -> bytes:
    """Return the first bytes of the XML."""
    return _head_of(url, compression, storage.stamp(url))


@lru_cache(maxsize=2)
def _head_of(url: str, compression: str, stamp: str | None) -> bytes:
    """`stamp`: of the file, so that one that is written anew is read again."""
    if compression == "bz2":
        return next((text for _, text in bzip2.blocks(url)), b"")[:_CHUNK]
    return next(_stream(url, compression), b"")


def _check_head(url: str, compression: str) -> None:
    head = _head(url, compression).removeprefix(b"\xef\xbb\xbf")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head[:100]:
        raise CorpusError(f"{url}: UTF-16; convert it first: iconv -f utf-16 -t utf-8 (of the unpacked file)")
    if b"<mediawiki" not in head and b"<page>" not in head:
        begin = " ".join(head[:40].decode(errors="replace").split())
        raise CorpusError(f"{url}: not a MediaWiki dump (it begins {begin!r}); give a pages-articles .xml or .xml.bz2")


def _chunks(task: ReadTask, blocks: Blocks) -> Iterator[tuple[bool, bytes]]:
    """Yield (whether the chunk is inside the range, bytes) from the start of the range to the end of the file."""
    compression = _compression(task.url)
    if compression == "bz2":
        for position, text in blocks(task):
            yield task.end is None or position < task.end, text
    elif compression:
        for text in _stream(task.url, compression):
            yield True, text
    else:
        position, size = task.start, storage.file_size(task.url)
        while position < size:
            ours = task.end is None or position < task.end
            end = min(position + _CHUNK, size if task.end is None or not ours else task.end)
            yield ours, storage.read_range(task.url, position, end)
            position = end


def _stream(url: str, compression: str) -> Iterator[bytes]:
    with storage.open_read(url, "infer" if compression else None) as file:
        while text := file.read(_CHUNK):
            yield text


class _Window:
    """A moving window over the XML: from `at` to the end of what has been read."""

    def __init__(self, url: str, chunks: Iterator[tuple[bool, bytes]]) -> None:
        self.url, self.chunks = url, chunks
        self.data, self.at = b"", 0
        self.ours, self.beyond = 0, False  # where the range ends in `data`, and whether reading has passed that point

    def seek(self, tag: bytes) -> bool:
        """Move to the next tag; return False if it is outside the range, or there is none."""
        while (found := self.data.find(tag, self.at)) < 0:
            self.at = max(self.at, len(self.data) - _TAIL)
            if self.beyond and len(self.data) - len(tag) >= self.ours:
                return False
            end = self.data[-_TAIL:].rstrip()
            if not self._more():
                self._check_end(end)
                return False
        self.at = found
        return found < self.ours

    def take(self, tag: bytes, most: int) -> tuple[bytes, bool]:
        """Return the bytes up to the end of the tag and True, or their beginning and False if there are more than `most`."""
        searched, begin = self.at, b""
        while (found := self.data.find(tag, searched)) < 0:
            if len(self.data) - self.at > most:
                begin = begin or self.data[self.at : self.at + _HEAD_BYTES]
                self.at = len(self.data) - len(tag) + 1
            left = max(len(self.data) - len(tag) + 1 - self.at, 0)
            if not self._more():
                raise CorpusError(f"{self.url}: cut short in the middle of a page; fetch it again")
            searched = self.at + left
        xml, self.at = self.data[self.at : found + len(tag)], found + len(tag)
        begin = begin or (xml[:_HEAD_BYTES] if len(xml) > most else b"")
        return (begin, False) if begin else (xml, True)

    def _check_end(self, end: bytes) -> None:
        """At the end of the file, check that it is complete. Only the task that reads the last bytes of its range does so."""
        if not self.beyond and not end.endswith(_CLOSING) and not _CLOSING.endswith(end):
            raise CorpusError(
                f"{self.url}: cut short, it does not end with </mediawiki>; fetch it again "
                "(if it was cut on purpose, append that tag)"
            )

    def _more(self) -> bool:
        ours, chunk = next(self.chunks, (False, b""))
        self.data, self.ours, self.at = self.data[self.at :] + chunk, self.ours - self.at, 0
        if ours:
            self.ours = len(self.data)
        self.beyond = self.beyond or (bool(chunk) and not ours)
        return bool(chunk)


def _page(xml: bytes, head: re.Match[bytes], whole: bool, file: str, namespace: int, wanted: bool) -> Page | Bad:
    page_id = int(head["id"])
    origin = f"{file}#{page_id}"
    if not whole:
        return Bad(origin, "page too large", head["title"].decode(errors="replace"))
    try:
        title, redirect = _unescape(head["title"].decode()), _unescape((head["redirect"] or b"").decode())
        revision = max(xml.rfind(b"<revision>"), 0)  # the latest: they are in chronological order
        model = _between(xml, b"<model>", b"</model>", revision).decode()
        text = _text(xml, revision) if wanted else b""
        if text is None:
            return Bad(origin, "not a page of a dump", head["title"].decode(errors="replace"))
        written = _DIGITS.findall(_between(xml, b"<timestamp>", b"</timestamp>", revision)[:40])
        page = Page(title, namespace, page_id, redirect, model or "wikitext", text, int(b"".join(written) or 1))
        redirects = REDIRECT.match(text.decode())  # nobody writes its mark, or the white space before it, as a reference
        return replace(page, redirect=_target(page.text)) if redirects and not redirect else page
    except UnicodeDecodeError:
        return Bad(origin, "not UTF-8", head["title"].decode(errors="replace"))


def _target(text: str) -> str:
    """Return the target of a redirect that is told by its text alone, as in old formats; "" if it is broken."""
    match = REDIRECT.match(text)
    return " ".join((match[1] or "").replace("_", " ").split()) if match else ""


def _text(xml: bytes, start: int) -> bytes | None:
    """Return the content of `<text ...>`; empty for `<text bytes="0" />`. The first is the main text, others are slots."""
    tag = xml.find(b"<text", start)
    begin = xml.find(b">", tag) + 1
    if tag < 0 or xml[begin - 2 : begin] == b"/>":
        return b""
    end = xml.find(b"</text>", begin)
    return xml[begin:end] if end >= 0 else None


def _between(xml: bytes, opening: bytes, closing: bytes, start: int) -> bytes:
    begin = xml.find(opening, start)
    end = xml.find(closing, begin) if begin >= 0 else -1
    return xml[begin + len(opening) : end] if end >= 0 else b""


def _unescape(text: str) -> str:
    """Resolve XML's five entities and numeric references (HTML's belong to the wikitext); normalise line ends as XML does."""
    if "&" in text:
        if "&#" in text:
            text = _REFERENCE.sub(_character, text)
        text = (
            text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&apos;", "'").replace("&amp;", "&")
        )
    return text.replace("\r\n", "\n") if "\r" in text else text


def _character(reference: re.Match[str]) -> str:
    code = int(reference[1]) if reference[1] else int(reference[2], 16)
    if code == ord("&"):
        return "&amp;"  # resolved last
    return chr(code) if 0 < code < 0xD800 or 0xDFFF < code <= 0x10FFFF else "\ufffd"
