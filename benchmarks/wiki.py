"""How fast wikitext becomes prose, and how much of what a reader sees is in it.

    wiki/clean/1-worker                 MB/s    of raw wikitext (UTF-8); baseline: mwparserfromhell, parse and strip_code alone
    wiki/text-kept                      %       of the characters of the prose are in the output; baseline: mwparserfromhell
    wiki/text-kept/vs-wikiextractor     %       the same; baseline: wikiextractor --no-templates
    wiki/text-clean                     %       of the characters of the output are prose; baseline: mwparserfromhell
    wiki/text-clean/vs-wikiextractor    %       the same; baseline: wikiextractor --no-templates

Ours is the whole way from wikitext to mended text with -{ }- rules resolved as they were written (variant `none`), so that no
side converts scripts. The prose of the pages is written by hand (wiki_pages.py), and what output and prose have in common is
found by difflib, page by page, white space aside. Pages and templates that we know are by the same hand: on pages of others
MediaWiki is the judge (tests/oracle_wiki.py). For the two shares mwparserfromhell is used as loaders of `wikipedia` do: files,
categories, footnotes and tables are removed by their Chinese names first, and headings are left out.
"""

import html
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.rows import Row
from benchmarks.wiki_pages import PAGES, Page
from pipeline.sources import inputs
from pipeline.wiki.conversion.converter import Converter
from pipeline.wiki.dumps import dump
from pipeline.wiki.rendering import mend, render

MEGABYTES = 3.0
TURNS = 3
STRIP_CODE, WIKIEXTRACTOR = "mwparserfromhell", "wikiextractor"
Ask = Callable[[str], dict[str, Any]]


def rows(dump_url: str | None = None, python: str | None = None) -> Iterator[Row]:
    """Speeds over the pages of a dump, or over our own; shares over our own."""
    pages = list(up_to(itertools.cycle(read(dump_url) if dump_url else PAGES), MEGABYTES))
    with tempfile.TemporaryDirectory(prefix="nezha-bench-") as folder:
        try:
            with peers.dialogue(peers.environment(python), "peer_wiki.py", *written(pages, Path(folder))) as ask:
                yield speed(pages, dump_url, ask)
                theirs = {name: ask(f"texts {name}")["texts"] for name in (STRIP_CODE, WIKIEXTRACTOR)}
                yield from shares(theirs)
        except peers.PeerMissing as error:
            yield speed(pages, dump_url, None, str(error))
            yield from shares({}, str(error))


def read(url: str) -> list[Page]:
    """The first articles of a dump; their prose is not known."""
    tasks = [task for file in inputs.expand([url]) for task in dump.split(file, 1 << 30)]
    found = (page for task in tasks for page in dump.pages(task, {0}) if isinstance(page, dump.Page))
    articles = (Page(page.title, page.text, "") for page in found if page.namespace == 0 and not page.redirect)
    return list(up_to(articles, MEGABYTES))


def up_to(pages: Iterable[Page], megabytes: float) -> Iterator[Page]:
    """Pages until there are so many megabytes of wikitext."""
    size = 0
    for page in pages:
        if size >= megabytes * 1e6:
            return
        size += len(page.wikitext.encode())
        yield page


def written(pages: Sequence[Page], folder: Path) -> tuple[str, str]:
    """What the peers read: the pages to be fast with, and those whose text is wanted."""
    for name, some in (("speed.json", pages), ("texts.json", PAGES)):
        (folder / name).write_text(json.dumps([page[:2] for page in some]))
    return str(folder / "speed.json"), str(folder / "texts.json")


def clean(page: Page) -> str:
    """Prose of a page, as `prepare` makes it for the variant `none`."""
    rendered = render(page.wikitext, title=page.title, list_items=True, redirects={})
    return mend(_AS_WRITTEN.convert(rendered.text, title=page.title, note_ta=rendered.note_ta).text)[0]


_AS_WRITTEN = Converter("none", {})


def speed(pages: Sequence[Page], dump_url: str | None, ask: Ask | None, missing: str = "") -> Row:
    """Both take turns; the median counts."""
    megabytes = sum(len(page.wikitext.encode()) for page in pages) / 1e6
    ours, theirs = [], []
    for _ in range(TURNS):
        started = time.perf_counter()
        for page in pages:
            clean(page)
        ours.append(time.perf_counter() - started)
        if ask:
            theirs.append(ask(f"seconds {STRIP_CODE}")["seconds"])
    about = f"{megabytes:.1f} MB, {len(pages)} pages of {dump_url or 'our own'}, rules resolved and text mended included"
    return Row(
        name="wiki/clean/1-worker",
        value=megabytes / statistics.median(ours),
        unit="MB/s",
        baseline=megabytes / statistics.median(theirs) if theirs else None,
        note=f"{missing or 'baseline: mwparserfromhell parse and strip_code'}; {about}",
    )


def shares(theirs: dict[str, list[str]], missing: str = "") -> Iterator[Row]:
    """The rows of text kept and text clean."""
    measured = {name: measure(texts) for name, texts in theirs.items()}
    ours = measure([clean(page) for page in PAGES])
    notes = {
        STRIP_CODE: "baseline: mwparserfromhell, files, categories, footnotes and tables removed first",
        WIKIEXTRACTOR: "baseline: wikiextractor --no-templates; its regular expressions mended for Python 3.11",
    }
    for place, name in enumerate(("wiki/text-kept", "wiki/text-clean")):
        for peer, suffix in ((STRIP_CODE, ""), (WIKIEXTRACTOR, "/vs-wikiextractor")):
            baseline = measured[peer][place] if peer in measured else None
            note = missing or f"{notes[peer]}; {len(PAGES)} pages written for this"
            yield Row(name=name + suffix, value=ours[place], unit="%", baseline=baseline, note=note)


def measure(texts: Sequence[str]) -> tuple[float, float]:
    """Of the texts made of PAGES: percent of the prose that is in them, and percent of them that is prose."""
    common = prose = output = 0
    for page, text in zip(PAGES, texts, strict=True):
        truth, made = without_spaces(page.prose), without_spaces(html.unescape(text))
        common += in_common(truth, made)
        prose += len(truth)
        output += len(made)
    return 100 * common / prose, 100 * common / output


def without_spaces(text: str) -> str:
    """Where lines end and what stands before a bracket is a matter of taste."""
    return "".join(text.split())


def in_common(truth: str, made: str) -> int:
    """Characters that both have, in the same order."""
    return sum(block.size for block in SequenceMatcher(None, truth, made, autojunk=False).get_matching_blocks())
