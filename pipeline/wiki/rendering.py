"""Wikitext becomes prose: one page in, its paragraphs out, a line each, and an account of what went.

    page = "{{NoteTA|G1=IT}}'''柏林'''（{{lang-de|Berlin}}）分為12-{zh-hans:个区; zh-hant:個區}-<ref>...</ref>。"
    rendered = render(page, title="柏林", list_items=True, redirects={})
    rendered.text       "柏林（德语：Berlin）分為12-{zh-hans:个区; zh-hant:個區}-。"
    rendered.note_ta    [{"G1": "IT"}]
    rendered.kept       {"lang-de": 1}
    rendered.dropped    {"ref": 3}

    mend("柏林（，Berlin）")    ("柏林（Berlin）", 1)         after conversion

Kept: prose, list items (by setting), labels of links. Dropped: tables, footnotes, files with their captions, galleries,
headings, code, formulas that plain text cannot say, addresses, sections such as 参考文献, hatnotes.

Every step is one pass, or as many as a constant says; the only step that copies text more than once counts its copies. So
time and memory are proportional to the length of the page, or it raises MarkupError. The rules are those of MediaWiki's
parser (https://www.mediawiki.org/wiki/Preprocessor_ABNF, includes/parser/Preprocessor_Hash.php and Parser.php); where it
would show raw markup because something was never closed, the marks go and the text stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.wiki.markup.findings import Findings, MarkupError
from pipeline.wiki.markup.inline import inline
from pipeline.wiki.markup.mending import mend
from pipeline.wiki.markup.opaque import revealed, without_opaque
from pipeline.wiki.markup.paragraphs import paragraphs
from pipeline.wiki.markup.structure import resolve
from pipeline.wiki.markup.tables import without_tables
from pipeline.wiki.markup.tags import without_tags
from pipeline.wiki.templates.expansion import Templates

__all__ = ["MarkupError", "Rendered", "mend", "render"]

_NO_CONVERSION = ("__NOCC__", "__NOCONTENTCONVERT__", "__不转换内容__", "__不轉換內容__")
_DISAMBIGUATION = ("__DISAMBIG__", "__消除歧义__", "__消除歧義__")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A page as prose."""

    text: str
    """A paragraph a line. Rules -{...}- stand in it as they were written, with links and templates inside them resolved."""
    note_ta: list[dict[str, str]]
    """Arguments of each {{NoteTA}}: {"T": "zh-cn:...;zh-tw:...", "G1": "IT", "1": "zh-cn:块;zh-tw:網段"}."""
    kept: dict[str, int]
    """Templates that gave text, and how often; those inside dropped templates too. Names are small, without spaces."""
    lost: dict[str, int]
    """Characters of text in templates that are not known, by name; 0 for one without arguments."""
    dropped: dict[str, int]
    """Characters left out on purpose, by kind: ref, table, file, heading, section, list, math, code, gallery, address, ..."""
    disambiguation: bool
    """Whether the page says that it only tells titles apart."""
    converts: bool
    """False if the page forbids conversion between scripts (__NOCC__)."""
    repairs: int
    """Things that were never closed: braces, brackets, tables, footnotes."""


def render(text: str, *, title: str, list_items: bool, redirects: Mapping[str, str]) -> Rendered:
    """Make prose of wikitext.

    Args:
        title: of the page, for {{PAGENAME}}.
        list_items: whether items of lists stay, each as a paragraph.
        redirects: template names that stand for others, without namespace: {"Ld": "Link-de"}.

    Raises: MarkupError, and nothing else, for a page whose markup is nested beyond the budget of steps.
    """
    findings = Findings.of(text)
    templates = Templates(title=title, redirects=redirects, findings=findings)
    converts = not any(word in text for word in _NO_CONVERSION)
    findings.disambiguation = any(word in text for word in _DISAMBIGUATION)
    body = without_opaque(text.replace("\r\n", "\n"), findings)
    body = without_tags(resolve(body, templates, findings), findings)
    body = without_tables(body, findings)
    body = inline("\n".join(paragraphs(body, findings, list_items=list_items)), findings)
    lines = (line.strip() for line in revealed(body).split("\n"))
    return Rendered(
        text="\n".join(line for line in lines if any(map(str.isalnum, line))),
        note_ta=findings.note_ta,
        kept=findings.kept,
        lost=findings.lost,
        dropped=findings.dropped,
        disambiguation=findings.disambiguation,
        converts=converts,
        repairs=findings.repairs,
    )
