"""What tests of the report need: every text of the page, its outline and tables, and a browser."""

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from workflows.evaluation import beside
from workflows.evaluation.scores import UNTRAINED
from workflows.kinds import KINDS
from workflows.report import page
from workflows.report.display_names import DISPLAY_NAMES
from workflows.report.languages.texts import PHRASES

ROOT = Path(__file__).parent.parent / "workflows"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
LINE = r'"((?:[^"\\]|\\.)*)"'


def said() -> set[str]:
    """Return every English text that a table must have: of templates and modules, and the names that are shown."""
    found: set[str] = set()
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


class Outline(HTMLParser):
    """The headings and landmarks of a page, and what its tables and pictures say of themselves."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.landmarks: list[str] = []
        self.language = ""
        self.tables: list[dict[str, int]] = []
        self.silent: list[str] = []
        """Pictures without words."""
        self.cells_without_scope = 0
        self.feed(document)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        elif tag in ("header", "nav", "main"):
            self.landmarks.append(tag)
        elif tag == "html":
            self.language = named.get("lang") or ""
        elif tag == "table":
            self.tables.append({"caption": 0, "th": 0})
        elif tag in ("caption", "th") and self.tables:
            self.tables[-1][tag] += 1
        if tag == "th" and not named.get("scope"):
            self.cells_without_scope += 1
        if (tag == "svg" or named.get("role") == "img") and not named.get("aria-label"):
            self.silent.append(tag)


MEASURE = """<script>addEventListener("load", () => {
  const wide = [...document.querySelectorAll("table, figure, pre")].filter(one => {
    const box = one.getBoundingClientRect(), room = one.parentElement.getBoundingClientRect();
    const inside = one.tagName != "TABLE" && one.scrollWidth > one.clientWidth + 1;
    return inside || box.right > innerWidth + 1 || box.width > room.width + 1;
  }).map(one => (one.caption || one).textContent.trim().slice(0, 60));
  document.body.innerHTML = ""; document.title = JSON.stringify({
    wide, page: [wide0, innerWidth], requests: performance.getEntriesByType("resource").length, });
}); let wide0 = 0; addEventListener("DOMContentLoaded", () => { wide0 = document.documentElement.scrollWidth; });</script>"""


def measured(document: str, folder: Path, width: int, *, printed: bool = False) -> dict[str, Any]:
    """Open a page in headless Chromium and return its width, what is wider than its place, and the requests it made.

    Args:
        width: of the window.
        printed: with the rules of print instead of those of the screen.
    """
    import html
    import json

    assert BROWSER
    document = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", document)
    if printed:
        document = document.replace("@media print", "@media all")
    (path := folder / f"measured-{width}.html").write_text(document.replace("</head>", f"{MEASURE}</head>"), encoding="utf-8")
    result = browser(folder, f"--window-size={width},1000", "--dump-dom", path.as_uri())
    title = re.search(r"<title>(\{.*?\})</title>", result)
    assert title, result[:500]
    return dict(json.loads(html.unescape(title[1])))


def browser(folder: Path, *arguments: str) -> str:
    """Run headless Chromium with a profile of its own and return what it prints."""
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder / 'profile'}")
    assert BROWSER
    done = subprocess.run([BROWSER, *options, *arguments], capture_output=True, text=True, timeout=240, check=True)
    return done.stdout
