"""Read the value that a Lua module returns, if it consists of strings, tables and calls; nothing is run.

    return_value("local x = { 'a', b = 'c' .. 'd' }; return { content = x, Item('e', [[f]]) }")
    ->  Table(items=[Call("Item", ["e", "f"])], named={"content": Table(items=["a"], named={"b": "cd"})})

Syntax: the Lua 5.1 manual, sections 2.1 and 2.5.7. Everything else reads as None. Skip this file on a first read: only
groups.py needs it.
"""

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"(?P<comment>--\[(?P<c>=*)\[.*?(?:\](?P=c)\]|\Z)|--[^\n]*)"
    r"|\[(?P<e>=*)\[\n?(?P<long>.*?)(?:\](?P=e)\]|\Z)"
    r"""|"(?P<double>(?:[^"\\\n]|\\.)*+)"|'(?P<single>(?:[^'\\\n]|\\.)*+)'"""
    r"|(?P<name>[A-Za-z_][\w.]*)"
    r"|(?P<sign>\.\.|==|[{}()\[\]=,;])"
    r"|(?P<other>[^\s])",
    re.DOTALL,
)
_ESCAPE = re.compile(r"((?:\\\d{1,3}|\\x[0-9a-fA-F]{2})+)|\\(z\s*|.)", re.DOTALL)
_MAX_DEPTH = 40
"""Nesting of tables that is read."""


@dataclass
class Table:
    """`{ 'a', b = 'c' }`: positional values in order, and named ones."""

    items: list[object] = field(default_factory=list)
    named: dict[str, object] = field(default_factory=dict)


@dataclass
class Call:
    """`Item('a', 'b')`, `require[[a]]`."""

    function: str
    arguments: list[object]


@dataclass(frozen=True)
class Name:
    """A variable name, as `p` in `return p`."""

    name: str


def return_value(text: str) -> object:
    """Return a module's value: a str, a Table, a Call, or None. Names are resolved for the value itself and its `content`."""
    chunk = _Chunk(text)
    return chunk.resolve(chunk.return_value())


class _Chunk:
    """A recursive-descent parser of strings, tables, names and calls. Anything else is None."""

    def __init__(self, text: str) -> None:
        self.tokens = [_token(match) for match in _TOKEN.finditer(text) if match["comment"] is None]
        self.position = 0
        self.locals: dict[str, object] = {}

    def return_value(self) -> object:
        """Return the value of the last `return`, which is the chunk's; record assignments on the way."""
        result: object = None
        while self.position < len(self.tokens):
            kind, text = self.tokens[self.position]
            self.position += 1
            if (kind, text) == ("name", "return"):
                result = self.value()
            elif kind == "name" and self.sign("="):
                self.locals[text] = self.value()
        return result

    def resolve(self, value: object) -> object:
        """Replace a name by its value, also for `content` in the module's table."""
        if isinstance(value, Name):
            table = self.locals.get(value.name)
            if isinstance(table, Table):
                prefix = value.name + "."
                table.named.update(
                    {name.removeprefix(prefix): each for name, each in self.locals.items() if name.startswith(prefix)}
                )
            value = table
        if isinstance(value, Table) and isinstance(content := value.named.get("content"), Name):
            value.named["content"] = self.locals.get(content.name)
        return value

    def sign(self, wanted: str) -> bool:
        if self.position < len(self.tokens) and self.tokens[self.position] == ("sign", wanted):
            self.position += 1
            return True
        return False

    def value(self, depth: int = 0) -> object:
        """Parse the expression at the current position; strings joined by `..` become one."""
        value = self.single(depth)
        while self.sign(".."):
            right = self.single(depth)
            value = value + right if isinstance(value, str) and isinstance(right, str) else None
        return value

    def single(self, depth: int) -> object:
        if self.position >= len(self.tokens) or depth > _MAX_DEPTH:
            self.position += 1
            return None
        kind, text = self.tokens[self.position]
        if kind == "string":
            self.position += 1
            return text
        if self.sign("{"):
            return self.table(depth + 1)
        if kind != "name":
            self.position += kind == "other"
            return None
        self.position += 1
        if self.sign("("):
            return Call(text, self.table(depth + 1, ")").items)
        if self.position < len(self.tokens) and (
            self.tokens[self.position][0] == "string" or self.tokens[self.position] == ("sign", "{")
        ):
            return Call(text, [self.single(depth + 1)])
        return None if text == "nil" else Name(text)

    def table(self, depth: int, end: str = "}") -> Table:
        """Parse the values before `end`: positional ones in order, and named ones."""
        table = Table()
        while self.position < len(self.tokens) and not self.sign(end):
            before = self.position
            key = self.key()
            value = self.value(depth)
            if key is None:
                table.items.append(value)
            else:
                table.named[key] = value
            if not self.sign(",") and not self.sign(";") and self.position == before:
                self.position += 1
        return table

    def key(self) -> str | None:
        """Parse `name =` or `['name'] =` before a value; None if there is no key."""
        kinds = self.tokens[self.position : self.position + 4]
        if len(kinds) > 1 and kinds[0][0] == "name" and kinds[1] == ("sign", "="):
            self.position += 2
            return kinds[0][1]
        if len(kinds) > 3 and kinds[0] == ("sign", "[") and kinds[2:] == [("sign", "]"), ("sign", "=")]:
            self.position += 4
            return kinds[1][1]
        return None


def _token(match: re.Match[str]) -> tuple[str, str]:
    if match["long"] is not None:
        return "string", match["long"]
    for quoted in (match["double"], match["single"]):
        if quoted is not None:
            return "string", _ESCAPE.sub(_unescape, quoted) if "\\" in quoted else quoted
    kind = match.lastgroup or "other"
    return kind, match[0]


def _unescape(match: re.Match[str]) -> str:
    if match[1]:
        digits = re.findall(r"\\(?:x([0-9a-fA-F]{2})|(\d{1,3}))", match[1])
        return bytes(int(a, 16) if a else min(int(b), 255) for a, b in digits).decode("utf-8", "replace")
    return {"n": "\n", "t": "\t", "r": "\r", "z": ""}.get(match[2][:1], match[2])
