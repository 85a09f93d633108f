"""Pages of a dump -> records: articles only, as prose in one variant of Chinese.

    Page("QUIC", text="{{NoteTA|G1=IT}}'''快速UDP網路連-{zh-hans:接;zh-hant:線}-'''（{{lang-en|...}}）...")
    ->  Record("zhwiki.xml.bz2#4189276", "QUIC", "快速UDP网络连接（英语：...）...", "https://zh.wikipedia.org/wiki/QUIC")

Redirects, disambiguation pages and other namespaces are `Skipped`, each with a reason. A page that the parser cannot handle is
`Bad` and affects no other page. Counted on the way: templates that were lost (in characters), templates that gave text,
conversions, repairs, and sentences that lost too much to be read, by what they lost.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial

from pipeline.config import SourceConfig
from pipeline.engine import counting
from pipeline.engine.counting import Counts
from pipeline.engine.stages import Finished
from pipeline.errors import is_memory_full
from pipeline.sources.records import Asked, Bad, Made, Needs, Raw, ReadTask, Record, Skipped, digest_of
from pipeline.wiki.conversion.converter import Converted, Converter
from pipeline.wiki.conversion.groups import Groups, collect
from pipeline.wiki.dumps import dump, side_input, unpacked
from pipeline.wiki.dumps.dump import Page
from pipeline.wiki.dumps.side_input import SideInput
from pipeline.wiki.markup.broken_sentences import Closed
from pipeline.wiki.markup.findings import without_holes
from pipeline.wiki.rendering import MarkupError, Rendered, close_holes, mend, render

ARTICLES = 0
_DISAMBIGUATION_TITLE = re.compile(r"[(（]\s*(?:消歧义|消歧義|disambiguation)\s*[)）]\s*$", re.IGNORECASE)
_DISAMBIGUATION_CATEGORY = re.compile(r"\[\[\s*(?:category|cat|分类|分類)\s*:\s*(?:全部)?(?:消歧义|消歧義)", re.IGNORECASE)


def raw(source: SourceConfig, task: ReadTask, side_input: Finished | None) -> Iterator[Raw | Bad | Skipped]:
    """Yield the articles that start in the range of a task, before they are rendered.

    `side_input`: the stage of dumps/side_input.py for the same dumps; without it, template redirects and conversion groups are
    unknown.
    Raises: CorpusError for a file that is cut short or damaged.
    """
    side_url = side_input.url if side_input else ""
    site = _load_side_input(side_url).sites.get(task.file, "")
    for page in dump.pages(task, {ARTICLES}, blocks=partial(unpacked.blocks, side_url)):
        if isinstance(page, Bad):
            yield page
        elif reason := _skip_reason(page):
            yield Skipped(reason)
        else:
            origin, url = f"{task.file}#{page.page_id}", _url(site, page.title)
            digest = hashlib.blake2b(page.title.encode() + b"\n" + page.xml, digest_size=16).digest()
            yield Raw(origin, url, page.revision, digest, partial(_made, origin, url, page, source, side_url))


def _skip_reason(page: Page) -> str:
    """Return why a page is not an article, as far as can be told without its text; "" if it may be one."""
    if page.namespace != ARTICLES:
        return "other namespace"
    if page.redirect:
        return "redirect"
    if page.model != "wikitext":
        return "redirect" if dump.REDIRECT.match(page.text) else "no wikitext"
    return ""


def _skip_reason_of_text(page: Page) -> str:
    """Return why a page of wikitext is not an article, as far as its text shows without parsing; "" if it may be one."""
    if dump.REDIRECT.match(page.text):
        return "redirect"
    if _DISAMBIGUATION_TITLE.search(page.title) or _DISAMBIGUATION_CATEGORY.search(page.text):
        return "disambiguation"
    return ""


def answers(side_url: str, needs: Needs) -> bytes:
    """Return a digest of what a dump says now to what a page needed of it: equal digests make equal pages of equal wikitext."""
    return digest_of([_answer(side_url, need) for need in needs])


@lru_cache(maxsize=1 << 16)
def _answer(side_url: str, need: str) -> str:
    kind, _, name = need.partition(" ")
    if kind == "redirect":
        return _load_side_input(side_url).redirects.get(name, "")
    rules = collect(name, _groups(side_url))
    return "" if rules is None else digest_of(["group", *rules]).hex()


def _made(origin: str, url: str, page: Page, source: SourceConfig, side_url: str, counts: Counts) -> Made:
    """Render a page, and name the redirects and groups that it asked for."""
    if reason := _skip_reason_of_text(page):
        return Made(Skipped(reason))
    redirects = Asked(_load_side_input(side_url).redirects)
    found, groups = _record(origin, url, page, source, side_url, redirects, counts)
    return Made(found, (*(f"redirect {name}" for name in redirects.keys_asked), *(f"group {name}" for name in groups)))


def _record(
    origin: str, url: str, page: Page, source: SourceConfig, side_url: str, redirects: Asked, counts: Counts
) -> tuple[Record | Bad | Skipped, Sequence[str]]:
    """Return a page as a record, and the conversion groups that it names."""
    try:
        rendered = render(page.text, title=page.title, list_items=source.list_items, redirects=redirects)
        if rendered.disambiguation:
            return Skipped("disambiguation"), ()
        converter = _converter(source.variant if rendered.converts else "none", source.variant_tables, side_url)
        converted = converter.convert(rendered.text, title=page.title, note_ta=rendered.note_ta)
        closed = close_holes(converted.text, rendered.holes, drop=source.broken_sentences == "drop")
        text, mended = mend(closed.text)
    except MarkupError as error:
        return Bad(origin, f"markup: {error}", _preview(page)), ()
    except Exception as error:  # one bad page in a million must not end a long run; it is listed in bad.jsonl
        if is_memory_full(error):  # says nothing of the page: another machine reads it
            raise
        return Bad(origin, f"the parser failed: {type(error).__name__}", _preview(page)), ()
    _count(rendered, converted, closed, counts)
    counting.count(counts, "repairs", number=mended)
    named = [*converted.counts.get("groups", ()), *converted.counts.get("missing_groups", ())]
    return Record(origin, without_holes(converted.title), text, url, converted=True, revision=page.revision), named


def _load_side_input(url: str) -> SideInput:
    return side_input.load(url) if url else SideInput({}, {}, {})


@lru_cache(maxsize=8)
def _converter(variant: str, tables: str, side_url: str) -> Converter:
    """Return the converter for a variant. One per process, so that parsed conversion groups are reused."""
    return Converter(variant, _groups(side_url), tables)


@lru_cache(maxsize=8)
def _groups(side_url: str) -> Groups:
    return Groups(_load_side_input(side_url).groups)


def _count(rendered: Rendered, converted: Converted, closed: Closed, counts: Counts) -> None:
    """Count what was done to a page, and the characters that were left out."""
    tables = {
        "templates": rendered.lost,
        "templates_kept": rendered.kept,
        "left_out": rendered.dropped,
        "breaks": closed.broken,
    }
    for table, found in tables.items():
        for name, number in found.items():
            counting.count(counts, table, name, number=number)
    if closed.characters:
        counting.count(counts, "left_out", "broken_sentence", number=closed.characters)
    counting.count(counts, "broken_sentences", number=closed.sentences)
    counting.count(counts, "repairs", number=rendered.repairs + closed.repairs)
    counting.add(counts.setdefault("conversions", {}), converted.counts)


def _preview(page: Page) -> str:
    return f"{page.title}: {page.text[:100]}"


def _url(site: str, title: str) -> str:
    """Return the page's URL as browsers show it: `https://zh.wikipedia.org/wiki/柏林_(消歧义)`."""
    return site + title.replace(" ", "_").replace("%", "%25").replace("?", "%3F") if site else ""
