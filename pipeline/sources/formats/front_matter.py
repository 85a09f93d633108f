"""Front matter: facts about a page at the top of its Markdown, which are no text.

---\\ntitle: "北京"\\ndate: 2024-01-02\\n---\\n北京是首都。    ->  title 北京, 北京是首都。      also TOML between +++
"""

import re

_FRONT_MATTER = re.compile(
    r"(?P<mark>---|\+\+\+)[ \t]*\r?\n(?=[ \t]*[\w\"'-]+[ \t]*[:=])"
    r"(?P<facts>(?:(?!(?P=mark)[ \t]*\r?(?:\n|\Z))[^\n]*\n){1,200}?)(?P=mark)[ \t]*(?:\r?\n|\Z)"
)
_TITLE = re.compile(r"^[\"']?title[\"']?[ \t]*[:=][ \t]*(?P<quote>[\"']?)(?P<title>[^\n]*?)(?P=quote)[ \t]*\r?$", re.MULTILINE)


def parted(text: str) -> tuple[str, str]:
    """Return the title that front matter gives, and the text without it; "" and the text if it has none."""
    found = _FRONT_MATTER.match(text) if text.startswith(("---", "+++")) else None
    if found is None:
        return "", text
    title = _TITLE.search(found["facts"])
    return title["title"].strip() if title else "", text[found.end() :].lstrip("\r\n")
