"""MediaWiki dumps for tests: XML with the tags that real ones have, as one stream, as many, cut short..."""

import bz2
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from pipeline.config import SourceConfig
from pipeline.sources import inputs
from pipeline.sources.inputs import InputFile
from pipeline.sources.records import Bad
from pipeline.wiki.dumps import dump
from pipeline.wiki.dumps.dump import Page

REAL = Path(__file__).parents[2] / "shared/data/corpora/wiki"
SINGLE = REAL / "gensim/gensim/test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
ZH = REAL / "dbpedia_minidumps/zhwiki.xml.bz2"

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="zh">
  <siteinfo>
    <sitename>Wikipedia</sitename>
    <base>https://zh.wikipedia.org/wiki/Wikipedia:%E9%A6%96%E9%A1%B5</base>
  </siteinfo>
"""
CLOSING = "</mediawiki>\n"


@dataclass(frozen=True)
class Draft:
    """A page to write."""

    title: str
    text: str = "一个普通的条目。"
    namespace: int = 0
    redirect: str = ""
    model: str = "wikitext"

    def xml(self, number: int) -> str:
        redirect = f'    <redirect title="{escape(self.redirect)}" />\n' if self.redirect else ""
        return (
            f"  <page>\n    <title>{escape(self.title, quote=False)}</title>\n    <ns>{self.namespace}</ns>\n"
            f"    <id>{number}</id>\n{redirect}    <revision>\n      <id>{number + 70_000}</id>\n"
            f"      <timestamp>2025-08-01T00:00:00Z</timestamp>\n"
            f"      <contributor><username>甲</username><id>7</id></contributor>\n      <model>{self.model}</model>\n"
            f'      <text bytes="{len(self.text.encode())}" xml:space="preserve">{escape(self.text)}</text>\n'
            f"      <sha1>0</sha1>\n    </revision>\n  </page>\n"
        )


def xml(drafts: Sequence[Draft]) -> bytes:
    """A whole dump; pages are numbered from 1."""
    return (HEAD + "".join(draft.xml(number) for number, draft in enumerate(drafts, 1)) + CLOSING).encode()


def multistream(drafts: Sequence[Draft], each: int) -> tuple[bytes, bytes]:
    """A dump as Wikimedia writes it (head, so many pages a stream, closing tag) and its index."""
    streams, index = [bz2.compress(HEAD.encode())], []
    for first in range(0, len(drafts), each):
        offset = sum(map(len, streams))
        numbered = [*enumerate(drafts, 1)][first : first + each]
        streams.append(bz2.compress("".join(draft.xml(number) for number, draft in numbered).encode()))
        index += [f"{offset}:{number}:{draft.title}\n" for number, draft in numbered]
    return b"".join([*streams, bz2.compress(CLOSING.encode())]), bz2.compress("".join(index).encode())


def written(path: Path, data: bytes) -> InputFile:
    """A file for `dump.split`."""
    path.write_bytes(data)
    return inputs.expand([str(path)])[0]


def read(file: InputFile, task_bytes: int = 1 << 40) -> list[Page | Bad]:
    """All pages of a file, task by task."""
    return [page for task in dump.split(file, task_bytes) for page in dump.pages(task)]


def source(**fields: object) -> SourceConfig:
    """A source of kind `wiki`."""
    return SourceConfig(**{"name": "zhwiki", "kind": "wiki", **fields}).resolved()  # type: ignore[arg-type]
