"""Wikitext -> prose: one page in, one paragraph a line out, with an account of what was removed.

    page = "{{NoteTA|G1=IT}}'''柏林'''（{{lang-de|Berlin}}）分為12-{zh-hans:个区; zh-hant:個區}-<ref>...</ref>。"
    rendered = render(page, title="柏林", list_items=True, redirects={})
    rendered.text       "柏林（德语：Berlin）分為12-{zh-hans:个区; zh-hant:個區}-。"
    rendered.note_ta    [{"G1": "IT"}]
    rendered.kept       {"lang-de": 1}
    rendered.dropped    {"ref": 3}

    close_holes("面积为□。柏林是首都。", rendered.holes, drop=True).text       "柏林是首都。"      after conversion
    mend("柏林（，Berlin）")                                                  ("柏林（Berlin）", 1)

Kept: prose, list items (optional), labels of links. Dropped: tables, footnotes, files and their captions, galleries, headings,
code, formulas without a plain form, URLs, sections such as 参考文献, hatnotes.

What is dropped inside a sentence, such as an unknown template, leaves a hole (□ above): then the sentence is mended or dropped.

Each step is a single pass, or a constant number of them; the one step that copies text repeatedly pays from a budget. So time
and memory are proportional to the length of the page, or MarkupError is raised. The rules are those of MediaWiki's parser
(https://www.mediawiki.org/wiki/Preprocessor_ABNF, includes/parser/Preprocessor_Hash.php and Parser.php); where MediaWiki would
show raw markup because something was never closed, the marks are removed and the text stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.wiki.markup.broken_sentences import close_holes
from pipeline.wiki.markup.findings import Findings, Hole, MarkupError
from pipeline.wiki.markup.inline import inline
from pipeline.wiki.markup.mending import mend
from pipeline.wiki.markup.opaque import revealed, without_opaque
from pipeline.wiki.markup.paragraphs import paragraphs
from pipeline.wiki.markup.structure import resolve, without_strays
from pipeline.wiki.markup.tables import without_tables
from pipeline.wiki.markup.tags import without_tags
from pipeline.wiki.templates.expansion import Templates

__all__ = ["MarkupError", "Rendered", "close_holes", "mend", "render"]

_NO_CONVERSION = ("__NOCC__", "__NOCONTENTCONVERT__", "__不转换内容__", "__不轉換內容__")
_DISAMBIGUATION = ("__DISAMBIG__", "__消除歧义__", "__消除歧義__")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A page as prose."""

    text: str
    """One paragraph a line. Rules -{...}- are unchanged, except that links and templates inside them are resolved. What was
    dropped inside a sentence is marked by one of the characters of `holes`."""
    holes: dict[Hole, str]
    """Mark of each kind of hole."""
    note_ta: list[dict[str, str]]
    """Arguments of each {{NoteTA}}: {"T": "zh-cn:...;zh-tw:...", "G1": "IT", "1": "zh-cn:块;zh-tw:網段"}."""
    kept: dict[str, int]
    """Templates that gave text, and how often, also inside dropped templates. Names are lower case, without spaces."""
    lost: dict[str, int]
    """Characters of text lost in unknown templates, by name; 0 for a template without arguments."""
    dropped: dict[str, int]
    """Characters dropped on purpose, by kind: ref, table, file, heading, section, list, math, code, gallery, address, ..."""
    disambiguation: bool
    """Whether the page declares itself a disambiguation page."""
    converts: bool
    """False if the page forbids conversion between scripts (__NOCC__)."""
    repairs: int
    """Number of things that were never closed: braces, brackets, tables, footnotes."""


def render(text: str, *, title: str, list_items: bool, redirects: Mapping[str, str]) -> Rendered:
    """Convert wikitext to prose.

    Args:
        title: title of the page, for {{PAGENAME}}.
        list_items: whether list items are kept, one paragraph each.
        redirects: redirects between templates, without namespace: {"Ld": "Link-de"}.

    Raises: MarkupError, and no other exception, for a page whose markup exceeds the budget of steps.
    """
    findings = Findings.of(text)
    templates = Templates(title=title, redirects=redirects, findings=findings)
    converts = not any(word in text for word in _NO_CONVERSION)
    findings.disambiguation = any(word in text for word in _DISAMBIGUATION)
    body = without_opaque(text.replace("\r\n", "\n"), findings)
    body = without_tags(resolve(body, templates, findings), findings)
    body = without_tables(body, findings)
    # Again, since a tag may have stood between two braces.
    body = without_strays(inline("\n".join(paragraphs(body, findings, list_items=list_items)), findings))
    lines = (line.strip() for line in revealed(body).split("\n"))
    return Rendered(
        text="\n".join(line for line in lines if any(map(str.isalnum, line))),
        holes=findings.holes,
        note_ta=findings.note_ta,
        kept=findings.kept,
        lost=findings.lost,
        dropped=findings.dropped,
        disambiguation=findings.disambiguation,
        converts=converts,
        repairs=findings.repairs,
    )
