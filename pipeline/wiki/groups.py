"""Public groups of conversion rules: what `{{NoteTA|G1=IT}}` brings in from `Module:CGroup/IT`.

    parse("return { name = 'IT', content = { Item('user', 'zh-cn:用户;zh-tw:使用者;'), { type = 'import', import = 'C' } } }")
    ->  [("zh-cn:用户;zh-tw:使用者;", ""), ("", "C")]

The modules are Lua, but only ever tables of strings, so they are read, not run. Forms, all found in the wild: `{ type = 'item',
original = .., rule = .. }`, `Item(original, rule)`, `'rule'`, `{ 'rule' }`, `{ 'original', 'rule' }`, headings
(`type = 'text'`), imports, and modules that only return another (`return require('Module:CGroup/C')`). Before modules there
were templates: `{{CItem|rule}}`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

Entry = tuple[str, str]
"""A rule and "", or "" and the name of a group that is imported."""

_TITLE = re.compile(r"\s*(?:Module|模块|模組|Template|模板|样板|樣板):\s*CGroup/(.+)", re.IGNORECASE | re.DOTALL)
_SERVICE = {"core", "doc", "list", "preload", "sandbox", "editintro", "temp", "CHead", "New Style"}
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
_DEEPEST = 40


def name(title: str) -> str | None:
    """The group that a page is about: `Module:CGroup/IT` -> `IT`; None for other pages, documentation and tools."""
    match = _TITLE.fullmatch(title)
    if not match:
        return None
    group = match[1].replace("_", " ").strip()
    return None if group.rsplit("/", 1)[-1] in _SERVICE else group


def parse(text: str) -> list[Entry]:
    """The entries of a module, in its order. What is not understood is passed over."""
    return list(_Module(text).entries())


def parse_template(text: str) -> list[Entry]:
    """The entries of an old group, `Template:CGroup/<name>`: {{CItem|rule}} and its kin, -{H|rule}-, other groups."""
    text = re.sub(r"<!--.*?(?:-->|\Z)", "", text, flags=re.DOTALL)
    text = re.sub(r"\{\{\s*[Ll]ang\s*\|[^|{}]*\|([^|{}]*)\}\}", r"\1", text).replace("{{=}}", "\x01")
    entries: list[Entry] = []
    for match in re.finditer(r"-\{\s*[HA]\s*\|((?:(?!-\{).)*?)\}-|\{\{([^|{}]++)(?:\|([^{}]*+))?\}\}", text, re.DOTALL):
        rule, template, arguments = match.groups()
        template = (template or "").strip()
        if template.startswith("CGroup/"):
            entries.append(("", template.removeprefix("CGroup/")))
        elif template:
            rule = _argument(template, arguments or "")
        if rule and rule.strip():
            entries.append((rule.replace("\x01", "=").strip(), ""))
    return entries


class Groups(Mapping[str, Sequence[Entry]]):
    """Groups by name, each parsed when it is first asked for: a dump has hundreds of modules, a page two or three."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        """`texts`: name -> the page, a Lua module or the wikitext of an old template."""
        self._texts = texts
        self._parsed: dict[str, list[Entry]] = {}

    def __getitem__(self, name: str) -> Sequence[Entry]:
        if name not in self._parsed:
            text = self._texts[name]
            self._parsed[name] = parse(text) or parse_template(text)
        return self._parsed[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


def collect(group: str, groups: Mapping[str, Sequence[Entry]]) -> list[str] | None:
    """All rules of a group, imports in their place, each group once; None where there is no such group."""
    if group not in groups:
        return None
    seen: set[str] = set()

    def rules(group: str) -> Iterator[str]:
        if group in seen or len(seen) > _DEEPEST:
            return
        seen.add(group)
        for rule, imported in groups.get(group, ()):
            if imported:
                yield from rules(imported)
            else:
                yield rule

    return list(rules(group))


def _argument(template: str, arguments: str) -> str | None:
    """The rule among the arguments of {{CItem|rule|original=..}}, {{CItemLan/R|original|rule}}; None for other templates."""
    wanted = {"CItem": "1", "CI": "1", "CItemHidden": "1", "CNoteA": "1", "CItemLan": "1", "CItemLan/R": "2"}.get(template)
    values: dict[str, str] = {}
    number = 0
    for argument in arguments.split("|"):
        key, equals, value = argument.partition("=")
        if equals:
            values[key.strip()] = value
        else:
            values[str(number := number + 1)] = argument
    return values.get(wanted) if wanted else None


@dataclass
class _Table:
    items: list[object] = field(default_factory=list)
    named: dict[str, object] = field(default_factory=dict)


@dataclass
class _Call:
    function: str
    arguments: list[object]


@dataclass(frozen=True)
class _Name:
    name: str


class _Module:
    """Reads the values of a Lua chunk: strings, tables, names and calls. Anything else is None."""

    def __init__(self, text: str) -> None:
        self.tokens = [_token(match) for match in _TOKEN.finditer(text) if match["comment"] is None]
        self.place = 0
        self.locals: dict[str, object] = {}

    def entries(self) -> Iterator[Entry]:
        yield from _entries(self.known(self.returned()))

    def returned(self) -> object:
        """The value of the last `return`, that of the chunk; on the way, values given to names are kept."""
        result: object = None
        while self.place < len(self.tokens):
            kind, text = self.tokens[self.place]
            self.place += 1
            if (kind, text) == ("name", "return"):
                result = self.value()
            elif kind == "name" and self.sign("="):
                self.locals[text] = self.value()
        return result

    def known(self, value: object) -> object:
        """A name as the value that it was given, so for `content` inside the module's table."""
        if isinstance(value, _Name):
            table = self.locals.get(value.name)
            if isinstance(table, _Table):
                prefix = value.name + "."
                table.named.update(
                    {name.removeprefix(prefix): each for name, each in self.locals.items() if name.startswith(prefix)}
                )
            value = table
        if isinstance(value, _Table) and isinstance(content := value.named.get("content"), _Name):
            value.named["content"] = self.locals.get(content.name)
        return value

    def sign(self, wanted: str) -> bool:
        if self.place < len(self.tokens) and self.tokens[self.place] == ("sign", wanted):
            self.place += 1
            return True
        return False

    def value(self, depth: int = 0) -> object:
        """The expression at this place; strings joined by `..` are one."""
        value = self.single(depth)
        while self.sign(".."):
            right = self.single(depth)
            value = value + right if isinstance(value, str) and isinstance(right, str) else None
        return value

    def single(self, depth: int) -> object:
        if self.place >= len(self.tokens) or depth > _DEEPEST:
            self.place += 1
            return None
        kind, text = self.tokens[self.place]
        if kind == "string":
            self.place += 1
            return text
        if self.sign("{"):
            return self.table(depth + 1)
        if kind != "name":
            self.place += kind == "other"
            return None
        self.place += 1
        if self.sign("("):
            return _Call(text, self.table(depth + 1, ")").items)
        if self.place < len(self.tokens) and (
            self.tokens[self.place][0] == "string" or self.tokens[self.place] == ("sign", "{")
        ):
            return _Call(text, [self.single(depth + 1)])
        return None if text == "nil" else _Name(text)

    def table(self, depth: int, end: str = "}") -> _Table:
        """What stands before `end`: values in their order, and those that have a name."""
        table = _Table()
        while self.place < len(self.tokens) and not self.sign(end):
            before = self.place
            key = self.key()
            value = self.value(depth)
            if key is None:
                table.items.append(value)
            else:
                table.named[key] = value
            if not self.sign(",") and not self.sign(";") and self.place == before:
                self.place += 1
        return table

    def key(self) -> str | None:
        """`name =` or `['name'] =` before a value."""
        kinds = self.tokens[self.place : self.place + 4]
        if len(kinds) > 1 and kinds[0][0] == "name" and kinds[1] == ("sign", "="):
            self.place += 2
            return kinds[0][1]
        if len(kinds) > 3 and kinds[0] == ("sign", "[") and kinds[2:] == [("sign", "]"), ("sign", "=")]:
            self.place += 4
            return kinds[1][1]
        return None


def _entries(value: object) -> Iterator[Entry]:
    """A module's value: a table with `content`, a table that names another group, or another module."""
    if isinstance(value, _Call):
        title = value.arguments[0] if value.function == "require" and value.arguments else None
        if isinstance(title, str) and (imported := name(title)) is not None:
            yield "", imported
        return
    if not isinstance(value, _Table):
        return
    content = value.named.get("content")
    if isinstance(content, _Table):
        value = content
    elif not value.items and isinstance(other := value.named.get("name"), str):
        yield "", other
    for item in value.items:
        yield from _entry(item)


def _entry(item: object) -> Iterator[Entry]:
    rule: object = item
    if isinstance(item, _Call):
        if item.function == "require":
            yield from _entries(item)
        rule = item.arguments[1] if item.function != "require" and len(item.arguments) > 1 else None
    elif isinstance(item, _Table):
        if isinstance(imported := item.named.get("import"), str):
            yield "", imported.strip()
        positional = [each for each in item.items if isinstance(each, str)]
        rule = item.named.get("rule") or (positional[-1] if positional and "type" not in item.named else None)
    if isinstance(rule, str) and rule.strip():
        yield rule.strip(), ""


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
