"""Lines of wikitext -> paragraphs, one a line.

    paragraphs("'''柏林'''是[首都]。\n\n== 区 ==\n* 米特\n* 潘科\n----\n;柏林墙 : 建于1961年", findings, list_items=True)
        -> ["'''柏林'''是[首都]。", "米特", "潘科", "柏林墙", "建于1961年"]

Lines that break off in mid-sentence are joined, as browsers show them; a line that ends a sentence ends its paragraph. List
marks (`*` `#` `;` `:`) are removed; whether the items stay is a setting. An indented paragraph (`:`) is not a list item, unless
it defines a term (`;`). Headings, rulers, italic hatnotes, cut sections and rows of broken tables are dropped. A line that
begins with a space is preformatted: never joined to others, and dropped as code unless half of its letters are Chinese. Marks
of bold and italics are paired here, while lines are still those of the page.
"""

import re

from pipeline.wiki.markup.findings import FIRST_HOLE, HOLES, Findings
from pipeline.wiki.markup.opaque import INDENT, NOTHING
from pipeline.wiki.markup.quotes import without_quotes
from pipeline.wiki.markup.sections import heading, is_cut

_SPACES = f" \t\u3000{INDENT}"
_LIST_MARKS = "*#:;"
_DEFINITION = re.compile(r"(?<!\s)\s*+:(?!//)\s*+")
_ENDS_SENTENCE = re.compile(r"[。！？!?；;：:…”’」』）)》〉】\]>.\ufdd0][\s'\ufdd1]*$")
_ASIAN = "[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\ufe30-\uffef\U00020000-\U0003ffff]"
_ASIAN_END = re.compile(_ASIAN + r"['\ufdd1]*$")
_ASIAN_START = re.compile(r"['\ufdd1]*" + _ASIAN)
_CHINESE = re.compile("[㐀-䶿一-鿿豈-﫿\U00020000-\U0003ffff]")
# A whole line in italics.
_HATNOTE = re.compile(
    r"''(?!')[^']{0,200}(?:参见|參見|参看|參看|主条目|主條目|详见|詳見|另见|另見|消歧|关于|關於|同名|其他用法)[^']*''$"
)
_MAX_HATNOTE = 400
_BROKEN_ROWS = ("|", "!", "{|")
_ONLY_HOLES = re.compile(rf"[ \t]*+(?:{HOLES}[ \t]*+)++$")
_HOLES_BEFORE_SUBJECT = re.compile(rf"(?:{HOLES}[ \t]*+)++(?=''')")


def paragraphs(text: str, findings: Findings, *, list_items: bool) -> list[str]:
    """Return the paragraphs of a page without tables, still with inline markup."""
    lines = _Lines(findings, list_items)
    for line in text.split("\n"):
        stripped = line.strip(_SPACES)
        if stripped and stripped[0] >= FIRST_HOLE:
            stripped = _without_boxes(stripped)
        if "''" in stripped:
            hatnote = _is_hatnote(stripped.lstrip(": \t"))
            between = NOTHING if "//" in stripped else ""  # a mark ends an address: [http://a''标签'']
            stripped = "" if hatnote and lines.hatnote(stripped) else without_quotes(stripped, between)
        if not stripped:
            lines.blank()
        elif stripped[0] in "=*#:;-|!{":
            lines.marked(stripped)
        elif line[0] == INDENT:
            lines.preformatted(stripped)
        else:
            lines.plain(stripped)
    lines.end()
    return lines.paragraphs


def _without_boxes(line: str) -> str:
    """Return a line without holes that are all of it, or that are before a subject in bold: boxes and signs."""
    if _ONLY_HOLES.match(line):
        return ""
    before = _HOLES_BEFORE_SUBJECT.match(line)
    return line[before.end() :] if before else line


def _is_hatnote(line: str) -> bool:
    return line.startswith("''") and len(line) < _MAX_HATNOTE and _HATNOTE.match(line) is not None


class _Lines:
    def __init__(self, findings: Findings, list_items: bool) -> None:
        self.paragraphs: list[str] = []
        self._findings = findings
        self._list_items = list_items
        self._open: list[str] = []
        self._cut_level = 0
        self._defines = False

    def plain(self, line: str) -> None:
        """Add a line of a paragraph."""
        self._defines = False
        if self._cut_level:
            self._findings.drop("section", len(line))
            return
        if self._open:
            before = self._open[-1][-8:]
            if _ENDS_SENTENCE.search(before):
                self.end()
            elif not (_ASIAN_END.search(before) and _ASIAN_START.match(line)):
                self._open.append(" ")
        self._open.append(line)

    def preformatted(self, line: str) -> None:
        """Add a line that begins with a space: a paragraph of its own, or code."""
        self.end()
        letters = sum(map(str.isalpha, line))
        if letters > 2 * len(_CHINESE.findall(line)) or not letters:
            self._defines = False
            self._findings.drop("section" if self._cut_level else "code", len(line))
        else:
            self.plain(line)
            self.end()

    def hatnote(self, line: str) -> bool:
        """Drop a hatnote, unless the section is dropped or it belongs to a definition; return whether it was dropped."""
        if self._cut_level or (line.startswith(":") and self._defines):
            return False
        self._findings.drop("hatnote", len(line.lstrip(": \t")))
        return True

    def blank(self) -> None:
        """End paragraphs and lists at an empty line."""
        self._defines = False
        self.end()

    def end(self) -> None:
        """End the current paragraph."""
        if self._open:
            self.paragraphs.append("".join(self._open))
            self._open.clear()

    def marked(self, line: str) -> None:
        """Add a line whose first character may be markup."""
        if line[0] == "=":
            found = heading(line)
            if found is None:
                self.plain(line)
            else:
                self._heading(*found)
        elif line[0] in _LIST_MARKS:
            self._item(line)
        elif line.startswith("----"):
            self.end()
            if rest := line.lstrip("-").strip():
                self.plain(rest)
        elif line.startswith(_BROKEN_ROWS):
            self.end()
            self._findings.drop("table", len(line))
        else:
            self.plain(line)

    def _heading(self, level: int, title: str) -> None:
        self.end()
        self._defines = False
        self._findings.drop("heading", len(title))
        if self._cut_level and level > self._cut_level:
            return
        self._cut_level = level if is_cut(title) else 0

    def _item(self, line: str) -> None:
        text = line.lstrip(_LIST_MARKS + " \t")
        marks = line[: len(line) - len(text)]
        self.end()
        if self._cut_level:
            self._findings.drop("section", len(text))
            return
        self._defines = marks[0] == ";" or (self._defines and marks[0] == ":")
        if not text or text.startswith(_BROKEN_ROWS):
            return
        is_item = marks.strip(": \t") != "" or self._defines
        if is_item and not self._list_items:
            self._findings.drop("list", len(text))
        elif marks[0] == ";" and "-{" not in text:
            self.paragraphs += [part for part in _DEFINITION.split(text, maxsplit=1) if part]
        else:
            self.paragraphs.append(text)
