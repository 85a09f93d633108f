r"""Escapes that a program left in running text: JSON that was written twice, lists that Python printed.

    他走了。\n\u6709\u4e00\u6b21                ->  他走了。⏎有一次             ⏎: a line break
    \u3000\u3000他说：\"好\"。\r\n               ->  　　他说："好"。⏎
    print("第一行\n第二行")，C:\新建\n1.txt      stays: code, a path
    正则表达式[\u4e00-\u9fa5]匹配汉字             stays: the text is about escapes

An escape is replaced where prose surrounds it, never within ASCII quotes, brackets or paths, and not in a text that talks about
escapes, unless it is full of them. Once a text has one, escapes at less clear places are replaced too.
"""

import re

_ESCAPE = re.compile(r"\\(?:u[0-9A-Fa-f]{4}|xa0|[nrt])")
_TOKEN = re.compile(
    r"\\++(?:(?P<code>(?:u[0-9A-Fa-f]{4}|xa0)(?:\\++(?:u[0-9A-Fa-f]{4}|xa0))*+)|(?P<space>(?:r\\++n|[nrt]))|(?P<sign>[\"'/]))"
    r"|\"(?:[^\"\\\n]|\\.){0,200}+\"|(?<![A-Za-z])'(?:[^'\\\n]|\\.){0,200}+'|`[^`\n]{0,200}+`"
)
"""Characters by number, one or several; a line break or tab; a quote or slash. Strings in ASCII quotes are skipped whole."""
_CODE = re.compile(r"\\++(?:u([0-9A-Fa-f]{4})|xa0)")
_PROSE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef…—“”‘’·"
_BEFORE = re.compile(f"[{_PROSE}]")
_AFTER = re.compile(rf"[\d\\{_PROSE}]")
_SENTENCE_ENDS = "。！？；…”’）】」』"
_CODE_SIGNS = "\"'`[](){}<>-_=+|/"
_MANY_CODES = 4
"""Characters by number in a row that are text whatever surrounds them, except in code."""
_ABOUT = re.compile(r"转义|正则|换行|回车|字符串|编码|[Uu]nicode|UTF|LaTeX|regex|escape|printf|println")
_MANY_ESCAPES = 20
"""Escapes from which on a text is full of them, whatever it talks about."""
_PATH = re.compile(r"(?<![A-Za-z])[A-Za-z]:\\[^\s，。！？；：、“”（）]*\Z")
_LONGEST_PATH = 120
_TAG = re.compile(
    r"</?(?:p|br|hr|div|span|[uo]l|li|table|tbody|t[rdh]|h[1-6]|a|b|i|em|strong|font|img|section|article|center)(?=[\s/>])",
    re.IGNORECASE,
)
_LONGEST_TAG = 200
_SURROGATES = re.compile("[\ud800-\udfff]")


def unescape(text: str) -> str:
    """Return the text with the escapes in its prose replaced by what they mean."""
    if _ESCAPE.search(text) is None:
        return text
    if _ABOUT.search(text) and len(_ESCAPE.findall(text)) < _MANY_ESCAPES:
        return text
    tokens = [token for token in _TOKEN.finditer(text) if token.lastgroup and not _in_path(text, token.start())]
    clear = [_is_clear(text, token) for token in tokens]
    if not any(clear):
        return text
    parts: list[str] = []
    done = 0
    for token, sure in zip(tokens, clear, strict=True):
        if sure or _is_likely(text, token):
            parts += [text[done : token.start()], _meaning(token)]
            done = token.end()
    return "".join([*parts, text[done:]])


def _in_path(text: str, place: int) -> bool:
    return _PATH.search(text[max(0, place - _LONGEST_PATH) : place]) is not None


def _is_clear(text: str, token: re.Match[str]) -> bool:
    r"""Return whether prose, another escape or an edge of the text is on both sides: 他走了。\n有, but not 2019\n or \nu."""
    if token["sign"] and token["sign"] != '"':
        return False
    before, after = _neighbours(text, token)
    if before.isspace() or after.isspace():
        # Amid spaces is a command (tr \n x), unless a sentence has just ended.
        return bool(before) and before in _SENTENCE_ENDS
    prose_before = not before or _BEFORE.match(before) or _is_escape(text, token.start() - 2) or _ends_tag(text, token.start())
    prose_after = not after or _AFTER.match(after) or (after == "<" and _TAG.match(text, token.end()))
    if prose_before and prose_after:
        return True
    many = token["code"] is not None and len(_CODE.findall(token[0])) >= _MANY_CODES
    return many and not (before and before in _CODE_SIGNS) and not (after and after in _CODE_SIGNS)


def _is_likely(text: str, token: re.Match[str]) -> bool:
    """Return whether an escape is one, given that the text has others."""
    before, after = _neighbours(text, token)
    if token["sign"]:
        return True
    if token["code"]:
        return not (before and before in _CODE_SIGNS) and not (after and after in _CODE_SIGNS)
    return not after or _AFTER.match(after) is not None or (bool(before) and before in _SENTENCE_ENDS)


def _neighbours(text: str, token: re.Match[str]) -> tuple[str, str]:
    start, end = token.span()
    return text[start - 1 : start] if start else "", text[end : end + 1]


def _ends_tag(text: str, place: int) -> bool:
    """Return whether a tag of HTML ends at a place: between tags, `</p>\\n<p>`, a program wrote the escape."""
    if not place or text[place - 1] != ">":
        return False
    start = text.rfind("<", max(0, place - _LONGEST_TAG), place)
    return start >= 0 and _TAG.match(text, start) is not None


def _is_escape(text: str, place: int) -> bool:
    r"""Return whether an escaped line break or tab starts at a place: the one before this, as in \n\n."""
    return place >= 0 and text[place] == "\\" and text[place + 1] in "nrt"


def _meaning(token: re.Match[str]) -> str:
    if token["space"]:
        return "\t" if token["space"] == "t" else "\n"
    if token["sign"]:
        return token["sign"]
    units = [int(code, 16) if code else 0xA0 for code in _CODE.findall("\\" + token["code"])]
    meant = b"".join(unit.to_bytes(2, "little") for unit in units).decode("utf-16-le", "surrogatepass")
    # ASCII was not escaped by the program, and half a character means nothing.
    return meant if all(unit >= 0x80 for unit in units) and not _SURROGATES.search(meant) else token[0]
