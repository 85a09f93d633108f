"""Speed from wikitext to prose, and how complete and clean the prose is.

    wiki/clean/1-worker                 MB/s    of raw wikitext (UTF-8); baseline: mwparserfromhell, parse and strip_code only
    wiki/text-kept                      %       of the prose's characters are in the output (recall); baseline: mwparserfromhell
    wiki/text-kept/vs-wikiextractor     %       the same; baseline: wikiextractor --no-templates
    wiki/text-clean                     %       of the output's characters are prose (precision); baseline: mwparserfromhell
    wiki/text-clean/vs-wikiextractor    %       the same; baseline: wikiextractor --no-templates

Ours does everything from wikitext to repaired text, with -{ }- rules resolved as written (variant `none`), so that neither side
converts scripts. The pages' prose is written by hand (wiki_pages.py), and difflib finds what output and prose have in common,
page by page, ignoring white space. The author of the pages also wrote the rules for templates; for real pages the reference is
MediaWiki itself (tests/oracle_wiki.py). For the percentages, mwparserfromhell is used as in loaders of `wikipedia`: files,
categories, footnotes and tables are first removed by their Chinese names, and headings are left out.
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
from benchmarks.measurement import Measurement
from benchmarks.wiki_pages import PAGES, Page
from pipeline.sources import inputs
from pipeline.wiki.conversion.converter import Converter
from pipeline.wiki.dumps import dump
from pipeline.wiki.rendering import close_holes, mend, render

MEGABYTES = 3.0
TURNS = 3
STRIP_CODE, WIKIEXTRACTOR = "mwparserfromhell", "wikiextractor"
Ask = Callable[[str], dict[str, Any]]


def measurements(dump_url: str | None = None, python: str | None = None) -> Iterator[Measurement]:
    """Measure speed on the pages of a dump or on our own, and the percentages on our own."""
    pages = list(up_to(itertools.cycle(read(dump_url) if dump_url else PAGES), MEGABYTES))
    with tempfile.TemporaryDirectory(prefix="nezha-bench-") as folder:
        try:
            with peers.dialogue(peers.environment(python), "peer_wiki.py", *written(pages, Path(folder))) as ask:
                yield speed(pages, dump_url, ask)
                theirs = {name: ask(f"texts {name}")["texts"] for name in (STRIP_CODE, WIKIEXTRACTOR)}
                yield from percentages(theirs)
        except peers.PeerMissing as error:
            yield speed(pages, dump_url, None, str(error))
            yield from percentages({}, str(error))


def read(url: str) -> list[Page]:
    """Read the first articles of a dump; their prose is unknown and left empty."""
    tasks = [task for file in inputs.expand([url]) for task in dump.split(file, 1 << 30)]
    found = (page for task in tasks for page in dump.pages(task, {0}) if isinstance(page, dump.Page))
    articles = (Page(page.title, page.text, "") for page in found if page.namespace == 0 and not page.redirect)
    return list(up_to(articles, MEGABYTES))


def up_to(pages: Iterable[Page], megabytes: float) -> Iterator[Page]:
    """Yield pages up to the given megabytes of wikitext."""
    size = 0
    for page in pages:
        if size >= megabytes * 1e6:
            return
        size += len(page.wikitext.encode())
        yield page


def written(pages: Sequence[Page], folder: Path) -> tuple[str, str]:
    """Write the peers' input: pages to measure speed on, and pages to return the text of. Return the paths."""
    for name, some in (("speed.json", pages), ("texts.json", PAGES)):
        (folder / name).write_text(json.dumps([page[:2] for page in some]))
    return str(folder / "speed.json"), str(folder / "texts.json")


def clean(page: Page) -> str:
    """Return the prose of a page, as `prepare` does for the variant `none`."""
    rendered = render(page.wikitext, title=page.title, list_items=True, redirects={})
    converted = _AS_WRITTEN.convert(rendered.text, title=page.title, note_ta=rendered.note_ta)
    return mend(close_holes(converted.text, rendered.holes, drop=True).text)[0]


_AS_WRITTEN = Converter("none", {})


def speed(pages: Sequence[Page], dump_url: str | None, ask: Ask | None, missing: str = "") -> Measurement:
    """Measure speed; both sides take turns and the median counts."""
    megabytes = sum(len(page.wikitext.encode()) for page in pages) / 1e6
    ours, theirs = [], []
    for _ in range(TURNS):
        started = time.perf_counter()
        for page in pages:
            clean(page)
        ours.append(time.perf_counter() - started)
        if ask:
            theirs.append(ask(f"seconds {STRIP_CODE}")["seconds"])
    about = f"{megabytes:.1f} MB, {len(pages)} pages of {dump_url or 'our own'}; ours also resolves rules and repairs text"
    return Measurement(
        name="wiki/clean/1-worker",
        value=megabytes / statistics.median(ours),
        unit="MB/s",
        baseline=megabytes / statistics.median(theirs) if theirs else None,
        note=f"{missing or 'baseline: mwparserfromhell parse and strip_code'}; {about}",
    )


def percentages(theirs: dict[str, list[str]], missing: str = "") -> Iterator[Measurement]:
    """Measure recall and precision of the text."""
    measured = {name: measure(texts) for name, texts in theirs.items()}
    ours = measure([clean(page) for page in PAGES])
    notes = {
        STRIP_CODE: "baseline: mwparserfromhell, files, categories, footnotes and tables removed first",
        WIKIEXTRACTOR: "baseline: wikiextractor --no-templates, its regular expressions fixed for Python 3.11",
    }
    for place, name in enumerate(("wiki/text-kept", "wiki/text-clean")):
        for peer, suffix in ((STRIP_CODE, ""), (WIKIEXTRACTOR, "/vs-wikiextractor")):
            baseline = measured[peer][place] if peer in measured else None
            note = missing or f"{notes[peer]}; {len(PAGES)} pages written for this"
            yield Measurement(name=name + suffix, value=ours[place], unit="%", baseline=baseline, note=note)


def measure(texts: Sequence[str]) -> tuple[float, float]:
    """Return recall and precision, in percent, of texts made from PAGES."""
    common = prose = output = 0
    for page, text in zip(PAGES, texts, strict=True):
        truth, made = without_spaces(page.prose), without_spaces(html.unescape(text))
        common += in_common(truth, made)
        prose += len(truth)
        output += len(made)
    return 100 * common / prose, 100 * common / output


def without_spaces(text: str) -> str:
    """Remove white space: line breaks and spaces at brackets are a matter of taste."""
    return "".join(text.split())


def in_common(truth: str, made: str) -> int:
    """Count the characters that both have in the same order."""
    return sum(block.size for block in SequenceMatcher(None, truth, made, autojunk=False).get_matching_blocks())
