"""Samples of text as they stand on the page: nobody sees a soft hyphen, so its code is shown; what a rule changed is marked.

visible("图书\\u200b馆")                     图书<span class="code">U+200B</span>馆
difference("<p>他说。</p>", "他说。")        <del>&lt;p&gt;</del>他说。<del>&lt;/p&gt;</del>      他说。
"""

import difflib
import unicodedata

from markupsafe import Markup, escape

_INVISIBLE = ("Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp", "Mn")
"""Categories of characters that have no shape of their own."""


def visible(text: str) -> Markup:
    """The text, escaped, with line breaks as ↵ and characters that are not seen as their codes."""
    return Markup("").join(_shown(character) for character in text)


def _shown(character: str) -> Markup:
    if character == "\n":
        return Markup('<span class="code">↵</span> ')
    if character == " " or unicodedata.category(character) not in _INVISIBLE:
        return escape(character)
    return Markup('<span class="code">U+{}</span>').format(f"{ord(character):04X}")


def difference(before: str, after: str) -> tuple[Markup, Markup]:
    """Both texts, escaped; in the first what goes as <del>, in the second what comes as <ins>.

    Both were cut out of longer texts: what only goes on at the end of one is no difference.
    """
    old, new = Markup(""), Markup("")
    for what, start, end, from_, to in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        gone, come = visible(before[start:end]), visible(after[from_:to])
        goes_on = what == "delete" and end == len(before) and len(after) >= len(before)
        comes_on = what != "equal" and to == len(after) and end == len(before)
        old += gone if what == "equal" or goes_on or not gone else Markup("<del>") + gone + Markup("</del>")
        new += come if what == "equal" or comes_on or not come else Markup("<ins>") + come + Markup("</ins>")
    return old, new
