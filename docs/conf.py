"""The site of these pages, by Sphinx: `make site` writes build/site/README.html; a warning is an error.

The sources are the Markdown files as they are in the repository: the README is the front page, and only here are the pages
grouped. Nothing is fetched, neither when the site is built nor when it is read, from a disk or a server.
"""

import re
from pathlib import Path
from typing import Any

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish

NAVIGATION = {
    "Tutorial": ["docs/tutorial"],
    "How to": [
        "docs/howto/corpus",
        "docs/howto/vocabulary",
        "docs/howto/task",
        "docs/howto/cluster",
        "docs/howto/s3",
        "docs/howto/offline",
        "docs/howto/upgrade",
        "docs/howto/hub",
        "docs/kubernetes",
        "docs/extending",
        "CONTRIBUTING",
    ],
    "Reference": [
        "docs/cli",
        "docs/recipe",
        "docs/errors",
        "docs/corpora",
        "docs/runners",
        "docs/cluster",
        "docs/jobs",
        "docs/training",
        "docs/continued",
        "docs/evaluation",
        "docs/registry",
        "docs/dagster",
        "docs/scheduling",
        "docs/report",
        "docs/using",
        "docs/vectors",
        "docs/weights",
        "CHANGELOG",
    ],
    "Explanation": ["docs/architecture", "docs/attention", "docs/scaling", "docs/results", "docs/performance"],
    "Decisions": ["docs/decisions/README"],
    "中文": ["README.zh"],
}
"""What is on the left of each page. A page that is in no group is a warning."""

ROOT = Path(__file__).resolve().parent.parent

project = "nezha-pipe"
html_title = "nezha-pipe"
root_doc = "README"
extensions = ["myst_parser"]
include_patterns = ["README*.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**.md"]
exclude_patterns = [path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "docs"]
myst_heading_anchors = 6  # links to headings are checked, under the names that GitHub gives them
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_show_sourcelink = False
html_copy_source = False
html_search_language = "en-zh"
highlight_language = "none"

PLAIN = ("tree", "wikitext", "boilerplate", "furniture", "prose", "personal", "tasks", "markdown")
"""Names of blocks that are examples of ours, without colours. Chinese text in TOML and Markdown is no error."""


class EnglishAndChinese(SearchEnglish):
    """English words, and Chinese by pairs of characters: 训练数据 is found by 训练, 练数, 数据, and by any part of it.

    Pairs find every phrase, without a dictionary that index and browser would have to share.
    """

    lang = "en-zh"
    language_name = "English"  # of the stemmer in the browser, too
    js_splitter_code = """
var splitQuery = (query) => query.split(/[^\\p{Letter}\\p{Number}_\\p{Emoji_Presentation}]+/gu).flatMap((word) =>
  word.split(/([\\u3400-\\u9fff]+)/u).flatMap((part) => /^[\\u3400-\\u9fff]{2,}$/u.test(part)
    ? Array.from({length: part.length - 1}, (_, start) => part.slice(start, start + 2)) : [part])).filter((term) => term);
"""
    _chinese = re.compile(r"[\u3400-\u9fff]+")

    def split(self, input: str) -> list[str]:
        """Return the words of a text, and each pair of neighbouring Chinese characters."""
        runs = self._chinese.findall(input)
        pairs = [run[start : start + 2] for run in runs for start in range(len(run) - 1)]
        return [*super().split(self._chinese.sub(" ", input)), *runs, *pairs]


def add_navigation(app: Sphinx, page: str, source: list[str]) -> None:
    """Append the groups of pages to the front page, and to that of the decisions its pages."""
    if page == root_doc:
        groups = NAVIGATION
    elif page == "docs/decisions/README":
        groups = {"": sorted(path.stem for path in (ROOT / "docs" / "decisions").glob("0*.md"))}
    else:
        return
    for title, pages in groups.items():
        caption = f":caption: {title}\n" if title else ""
        names = "\n".join(f"/{name}" if page == root_doc else name for name in pages)
        source[0] += f"\n```{{toctree}}\n:hidden:\n{caption}\n{names}\n```\n"


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_search_language(EnglishAndChinese)
    app.connect("source-read", add_navigation)
    for name in PLAIN:
        app.add_lexer(name, TextLexer)
    return {"parallel_read_safe": True}
