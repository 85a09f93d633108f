"""What tests of pages need: every text of them, and what keeps one from being read out."""

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from workflows.evaluation import beside
from workflows.evaluation.scores import UNTRAINED
from workflows.kinds import KINDS
from workflows.report import comparison, page
from workflows.report.display_names import DISPLAY_NAMES
from workflows.report.languages.texts import PHRASES, TAGS

ROOT = Path(__file__).parent.parent / "workflows"
LINE = r'"((?:[^"\\]|\\.)*)"'


def said() -> set[str]:
    """Return every English text that a table must have: of templates and modules, and the names that are shown."""
    found: set[str] = {*comparison.HEADER, *comparison.HEADER_OF_SEVERAL, *comparison.TRAINED, *comparison.TITLES.values()}
    for template in (ROOT / "report").glob("*.jinja"):
        text = template.read_text(encoding="utf-8")
        found.update(re.findall(rf"\bt\({LINE}", text))
        found.update(many for _, many in re.findall(rf"\bt\.count\({LINE},\s*{LINE}", text))
    for module in (*(ROOT / "report").rglob("*.py"), ROOT / "evaluation" / "beside.py"):
        found.update(_in(ast.parse(module.read_text(encoding="utf-8"))))
    shown = {kind for kind in KINDS if kind not in ("data_report", "report", "wiki_side_input", "evaluation")}
    return found | {*DISPLAY_NAMES.values(), *beside.HEADER, *page.TWINS.values(), *PHRASES, *shown, UNTRAINED}


def _in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        call, arguments = ast.unparse(node.func), [one.value for one in node.args if isinstance(one, ast.Constant)]
        if call in ("t", "say") and arguments:
            yield str(arguments[0])
        elif call == "t.count":
            yield str(arguments[1])


class _Page(HTMLParser):
    """What a screen reader goes by, and what is missing of it."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.levels: list[int] = []
        self.landmarks: list[str] = []
        self.language = ""
        self.tables = 0
        self._ids: set[str] = set()
        self._targets: list[str] = []
        self._open: list[tuple[str, list[str]]] = []
        """Elements whose text is needed, and their texts."""
        self._table: list[str] = []
        """Tags of the table that is open."""
        self.feed(document)
        self.faults += [f"#{target} leads nowhere" for target in self._targets if target not in self._ids]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attributes}
        shown = f"<{tag} {' '.join(f'{name}={value!r}' for name, value in named.items())}>"
        if (name := named.get("id")) is not None:
            self._fault(name in self._ids or not name, f"{shown}: its id is not the only one")
            self._ids.add(name)
        if re.fullmatch("h[1-6]", tag):
            self._fault(int(tag[1]) > (self.levels[-1] if self.levels else 0) + 1, f"{shown}: a level is skipped")
            self.levels.append(int(tag[1]))
        elif tag in ("header", "nav", "main"):
            self.landmarks.append(tag)
        elif tag == "html":
            self.language = named.get("lang", "")
        elif tag == "table":
            self._table, self.tables = [], self.tables + 1
        if tag in ("caption", "th", "td"):
            self._table.append(tag)
        self._fault(tag == "th" and named.get("scope") not in ("col", "row"), f"{shown}: no scope")
        labelled = named.get("aria-label", "").strip() or named.get("aria-labelledby")
        wanted = tag in ("svg", "figure", "nav", "section", "input") or named.get("role") in ("img", "search")
        in_label = tag == "input" and any(open_ == "label" for open_, _ in self._open)
        self._fault(wanted and not labelled and not in_label, f"{shown}: says nothing")
        if tag == "a":
            self._fault(not named.get("href"), f"{shown}: leads nowhere")
            self._targets += [named["href"][1:]] if named.get("href", "").startswith("#") else []
        if tag in ("a", "button", "caption", "summary", "label", "h1", "h2", "h3", "th", "title"):
            self._open.append((tag, []))

    def handle_data(self, data: str) -> None:
        for _, texts in self._open:
            texts.append(data)

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1][0] == tag:
            text = "".join(self._open.pop()[1]).strip()
            self._fault(not text, f"<{tag}> without a text")
            self._fault(tag == "a" and not re.search(r"[^\W\d_]", text), f"a link that only says {text!r}")
        elif tag == "table":
            self._fault(self._table.count("caption") != 1 or self._table[:1] != ["caption"], "a table without a caption")
            self._fault("th" not in self._table, "a table without headers")

    def _fault(self, found: bool, what: str) -> None:
        if found:
            self.faults.append(what)


def faults(document: str, language: str) -> list[str]:
    """Return what would keep a page from being read out well: its outline, landmarks, tables, pictures, links, language."""
    read = _Page(document)
    found = list(read.faults)
    if read.levels[:1] != [1] or read.levels.count(1) != 1:
        found.append(f"levels of headings: {read.levels}")
    if [name for name in read.landmarks if name != "nav"] != ["header", "main"] or len(read.levels) > 1 > read.landmarks.count(
        "nav"
    ):
        found.append(f"landmarks: {read.landmarks}")
    if read.language != TAGS[language]:
        found.append(f"lang={read.language!r}")
    return found
