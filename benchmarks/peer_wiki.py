"""Peers of `wiki`: mwparserfromhell's strip_code and wikiextractor on the same pages. Imports nothing of this project.

    python peer_wiki.py speed.json texts.json       each file: [[title, wikitext], ...]
        seconds mwparserfromhell                    {"seconds": 4.1}       parse and strip_code only
        texts mwparserfromhell                      {"texts": ["青石城...", ...]}
        texts wikiextractor                         {"texts": [...]}

For texts, mwparserfromhell is used as in loaders of `wikipedia`: links to files and categories, footnotes and tables are
removed from each section, and headings are left out. wikiextractor 3.0.6 has `(?i)` in the middle of regular expressions, which
Python 3.11 rejects: they are compiled with the flag for the whole expression, which matches the same here.
"""

import contextlib
import html
import importlib  # mypy cannot see the peers, and wikiextractor must be imported late
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

parse = importlib.import_module("mwparserfromhell").parse
NOT_TEXT = re.compile(
    r"\s*(?:File|Image|Media|Category|文件|檔案|档案|图像|圖像|媒体|媒體|分类|分類|[a-z]{2,3}(?:-[a-z]+)*)\s*:", re.IGNORECASE
)
Page = tuple[str, str]


def main(speed: str, texts: str) -> None:
    pages = {name: [(title, text) for title, text in json.loads(Path(name).read_text())] for name in (speed, texts)}
    for line in sys.stdin:
        wanted, peer = line.split()
        if wanted == "seconds":
            answer: dict[str, Any] = {"seconds": seconds(pages[speed])}
        else:
            make = extractor() if peer == "wikiextractor" else stripped
            answer = {"texts": [make(page) for page in pages[texts]]}
        print(json.dumps(answer), flush=True)


def seconds(pages: list[Page]) -> float:
    started = time.perf_counter()
    for _, text in pages:
        parse(text).strip_code()
    return time.perf_counter() - started


def stripped(page: Page) -> str:
    """Return the text of all sections, as loaders of `wikipedia` do."""
    found = []
    for section in parse(page[1]).get_sections(flat=True, include_lead=True, include_headings=False):
        unwanted = [
            *section.ifilter_wikilinks(matches=lambda link: NOT_TEXT.match(str(link.title)), recursive=True),
            *section.ifilter_tags(matches=lambda tag: str(tag.tag) in {"ref", "table", "gallery"}, recursive=True),
        ]
        for node in unwanted:
            with contextlib.suppress(ValueError):  # already removed with an enclosing node
                section.remove(node)
        found.append(section.strip_code().strip())
    return "\n".join(found)


def extractor() -> Callable[[Page], str]:
    """Return wikiextractor's function for one page, which expects XML-escaped text."""
    compile_pattern = re.compile

    def lenient(pattern: Any, flags: int = 0) -> Any:
        if isinstance(pattern, str) and "(?i)" in pattern:
            pattern, flags = pattern.replace("(?i)", ""), flags | re.IGNORECASE
        return compile_pattern(pattern, flags)

    re.compile = lenient
    try:
        extract = importlib.import_module("wikiextractor.extract")
    finally:
        re.compile = compile_pattern

    def text(page: Page) -> str:
        lines = extract.Extractor("1", "1", "", page[0], []).clean_text(html.escape(page[1], quote=False), html_safe=False)
        return "\n".join(lines)

    return text


if __name__ == "__main__":
    main(*sys.argv[1:])
