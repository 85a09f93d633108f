"""Pages of a dump -> records: articles only, as prose in one variant of Chinese.

    Page("QUIC", text="{{NoteTA|G1=IT}}'''快速UDP網路連-{zh-hans:接;zh-hant:線}-'''（{{lang-en|...}}）...")
    ->  Record("zhwiki.xml.bz2#4189276", "QUIC", "快速UDP网络连接（英语：...）...", "https://zh.wikipedia.org/wiki/QUIC")

Redirects, disambiguation pages and other namespaces are `Skipped`, each with a reason. A page that the parser cannot handle is
`Bad` and affects no other page. Counted on the way: templates that were lost (in characters), templates that gave text,
conversions, and repairs.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from pipeline.config import SourceConfig
from pipeline.engine import counting
from pipeline.engine.counting import Counts
from pipeline.engine.stages import Finished
from pipeline.sources.records import Bad, ReadTask, Record, Skipped
from pipeline.wiki.conversion.converter import Converted, Converter
from pipeline.wiki.conversion.groups import Groups
from pipeline.wiki.dumps import dump, side_input
from pipeline.wiki.dumps.dump import Page
from pipeline.wiki.dumps.side_input import SideInput
from pipeline.wiki.rendering import (
    MarkupError,
    Rendered,
    mend,
    render,
)

ARTICLES = 0
# zhwiki's magic words and common misspellings. MediaWiki sets <redirect> for all but broken redirects.
_REDIRECT = re.compile(r"\s*[#＃]\s*(?:REDIRECT|重定向|重新導向|重新导向)", re.IGNORECASE)
_DISAMBIGUATION_TITLE = re.compile(r"[(（]\s*(?:消歧义|消歧義|disambiguation)\s*[)）]\s*$", re.IGNORECASE)
_DISAMBIGUATION_CATEGORY = re.compile(r"\[\[\s*(?:category|cat|分类|分類)\s*:\s*(?:全部)?(?:消歧义|消歧義)", re.IGNORECASE)


def records(
    source: SourceConfig, task: ReadTask, side_input: Finished | None, counts: Counts
) -> Iterator[Record | Bad | Skipped]:
    """Yield the articles that start in the range of a task.

    `side_input`: the stage of dumps/side_input.py for the same dumps; without it, template redirects and conversion groups are
    unknown.
    Raises: CorpusError for a file that is cut short or damaged.
    """
    side_url = side_input.url if side_input else ""
    site = _load_side_input(side_url).sites.get(task.file, "")
    for page in dump.pages(task, {ARTICLES}):
        if isinstance(page, Bad):
            yield page
        elif reason := _skip_reason(page):
            yield Skipped(reason)
        else:
            yield _record(f"{task.file}#{page.page_id}", page, source.variant, source.list_items, side_url, site, counts)


def _skip_reason(page: Page) -> str:
    """Return why a page is not an article, as far as its wikitext shows without parsing; "" if it may be one."""
    if page.namespace != ARTICLES:
        return "other namespace"
    if page.redirect or _REDIRECT.match(page.text):
        return "redirect"
    if page.model != "wikitext":
        return "no wikitext"
    if _DISAMBIGUATION_TITLE.search(page.title) or _DISAMBIGUATION_CATEGORY.search(page.text):
        return "disambiguation"
    return ""


def _record(
    origin: str, page: Page, wanted: str, list_items: bool, side_url: str, site: str, counts: Counts
) -> Record | Bad | Skipped:
    try:
        rendered = render(page.text, title=page.title, list_items=list_items, redirects=_load_side_input(side_url).redirects)
        if rendered.disambiguation:
            return Skipped("disambiguation")
        converter = _converter(wanted if rendered.converts else "none", side_url)
        converted = converter.convert(rendered.text, title=page.title, note_ta=rendered.note_ta)
        text, mended = mend(converted.text)
    except MarkupError as error:
        return Bad(origin, f"markup: {error}", _preview(page))
    except Exception as error:  # one bad page in a million must not end a long run; it is listed in bad.jsonl
        return Bad(origin, f"the parser failed: {type(error).__name__}", _preview(page))
    _count(rendered, converted, mended, counts)
    return Record(origin, converted.title, text, _url(site, page.title), converted=True)


def _load_side_input(url: str) -> SideInput:
    return side_input.load(url) if url else SideInput({}, {}, {})


@lru_cache(maxsize=8)
def _converter(wanted: str, side_url: str) -> Converter:
    """Return the converter for a variant. One per process, so that parsed conversion groups are reused."""
    return Converter(wanted, Groups(_load_side_input(side_url).groups))


def _count(rendered: Rendered, converted: Converted, mended: int, counts: Counts) -> None:
    """Count what was done to a page, and the characters that were left out."""
    for table, found in (("templates", rendered.lost), ("templates_kept", rendered.kept), ("left_out", rendered.dropped)):
        for name, number in found.items():
            counting.count(counts, table, name, number=number)
    counting.count(counts, "repairs", number=rendered.repairs + mended)
    counting.add(counts.setdefault("conversions", {}), converted.counts)


def _preview(page: Page) -> str:
    return f"{page.title}: {page.text[:100]}"


def _url(site: str, title: str) -> str:
    """Return the page's URL as browsers show it: `https://zh.wikipedia.org/wiki/柏林_(消歧义)`."""
    return site + title.replace(" ", "_").replace("%", "%25").replace("?", "%3F") if site else ""
