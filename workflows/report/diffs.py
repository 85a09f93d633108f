"""Text samples for the page: invisible characters, such as a soft hyphen, become their codes; changes are marked.

visible("图书\\u200b馆")                     图书<span class="code">U+200B</span>馆
difference("<p>他说。</p>", "他说。")        <del>&lt;p&gt;</del>他说。<del>&lt;/p&gt;</del>      他说。
"""

import difflib
import unicodedata

from markupsafe import Markup, escape

_INVISIBLE = ("Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp", "Mn")
"""Unicode categories of invisible characters."""


def visible(text: str) -> Markup:
    """Return the text, escaped, with line breaks as ↵ and invisible characters as their codes."""
    return Markup("").join(_shown(character) for character in text)


def _shown(character: str) -> Markup:
    if character == "\n":
        return Markup('<span class="code">↵</span> ')
    if character == " " or unicodedata.category(character) not in _INVISIBLE:
        return escape(character)
    return Markup('<span class="code">U+{}</span>').format(f"{ord(character):04X}")


def difference(before: str, after: str) -> tuple[Markup, Markup]:
    """Return both texts, escaped: the first with deletions as <del>, the second with insertions as <ins>.

    Samples are cut off at a maximum length, so text that continues at the end of one of them is not marked.
    """
    old, new = Markup(""), Markup("")
    for what, start, end, from_, to in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        deleted, inserted = visible(before[start:end]), visible(after[from_:to])
        old_continues = what == "delete" and end == len(before) and len(after) >= len(before)
        new_continues = what != "equal" and to == len(after) and end == len(before)
        old += deleted if what == "equal" or old_continues or not deleted else Markup("<del>") + deleted + Markup("</del>")
        new += inserted if what == "equal" or new_continues or not inserted else Markup("<ins>") + inserted + Markup("</ins>")
    return old, new
