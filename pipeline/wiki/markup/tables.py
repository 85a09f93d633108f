"""Tables, `{| ... |}`: dropped with everything in them, including nested tables.

    without_tables("前\n{| class=wikitable\n|-\n| 年份 || 事件\n|}\n后", findings)     "前\n\n后"

An unclosed table ends at the next empty line or heading, so that it does not take the rest of the page with it.
"""

import re

from pipeline.wiki.markup.findings import Findings
from pipeline.wiki.markup.hidden_rules import hidden_rules
from pipeline.wiki.markup.opaque import INDENT

_MARK = re.compile(rf"^[ \t:*#;{INDENT}]*+(\{{\||\|\}}(?!\}}))", re.MULTILINE)
_END_OF_OPEN = re.compile(r"\n[ \t]*+\n|\n(?==)")


def without_tables(text: str, findings: Findings) -> str:
    """Return the text without tables. Linear: each mark is visited twice."""
    if "{|" not in text:
        return text
    kept_from = 0
    parts = []
    for start, end in _ranges(text, findings):
        if start >= kept_from:
            parts += [text[kept_from:start], hidden_rules(text[start:end])]
            findings.drop("table", end - start)
            kept_from = end
    return "".join([*parts, text[kept_from:]])


def _ranges(text: str, findings: Findings) -> list[tuple[int, int]]:
    """Return where tables start and end, outer before inner."""
    closed: list[tuple[int, int]] = []
    waiting: list[int] = []
    for match in _MARK.finditer(text):
        if match[1] == "{|":
            waiting.append(match.start())
        elif waiting:
            closed.append((waiting.pop(), match.end()))
    findings.repairs += len(waiting)
    covered = 0
    for start in waiting:
        if start >= covered:
            found = _END_OF_OPEN.search(text, start)
            covered = found.start() if found else len(text)
            closed.append((start, covered))
    return sorted(closed, key=lambda table: (table[0], -table[1]))
