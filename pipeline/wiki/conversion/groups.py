"""Public groups of conversion rules: what `{{NoteTA|G1=IT}}` includes from `Module:CGroup/IT`.

    parse("return { name = 'IT', content = { Item('user', 'zh-cn:用户;zh-tw:使用者;'), { type = 'import', import = 'C' } } }")
    ->  [("zh-cn:用户;zh-tw:使用者;", ""), ("", "C")]

The modules are Lua, but only ever tables of strings, so they are parsed and not run. Forms found in zhwiki: `{ type = 'item',
original = .., rule = .. }`, `Item(original, rule)`, `'rule'`, `{ 'rule' }`, `{ 'original', 'rule' }`, headings
(`type = 'text'`), imports, and modules that only return another (`return require('Module:CGroup/C')`). Older groups are
templates: `{{CItem|rule}}`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from pipeline.wiki.conversion.lua import Call, Table, return_value

Entry = tuple[str, str]
"""A rule and "", or "" and the name of an imported group."""

_TITLE = re.compile(r"\s*(?:Module|模块|模組|Template|模板|样板|樣板):\s*CGroup/(.+)", re.IGNORECASE | re.DOTALL)
_SERVICE = {"core", "doc", "list", "preload", "sandbox", "editintro", "temp", "CHead", "New Style"}
_MAX_GROUPS = 200
"""Groups that one group may import, directly or not."""


def name(title: str) -> str | None:
    """Return the group that a page defines: `Module:CGroup/IT` -> `IT`; None for other pages, documentation and tools."""
    match = _TITLE.fullmatch(title)
    if not match:
        return None
    group = match[1].replace("_", " ").strip()
    return None if group.rsplit("/", 1)[-1] in _SERVICE else group


def parse(text: str) -> list[Entry]:
    """Return the entries of a module, in order. Whatever cannot be parsed is skipped."""
    return list(_entries(return_value(text)))


def parse_template(text: str) -> list[Entry]:
    """Return the entries of an older group, `Template:CGroup/<name>`: {{CItem|rule}} and similar, -{H|rule}-, other groups."""
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
    """Groups by name, each parsed on first use: a dump has hundreds of modules, a page uses two or three."""

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
    """Return all rules of a group with its imports in place, each group once; None if there is no such group."""
    if group not in groups:
        return None
    seen: set[str] = set()

    def rules(group: str) -> Iterator[str]:
        if group in seen or len(seen) >= _MAX_GROUPS:
            return
        seen.add(group)
        for rule, imported in groups.get(group, ()):
            if imported:
                yield from rules(imported)
            else:
                yield rule

    return list(rules(group))


def _argument(template: str, arguments: str) -> str | None:
    """Return the rule in the arguments of {{CItem|rule|original=..}}, {{CItemLan/R|original|rule}}; None for others."""
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


def _entries(value: object) -> Iterator[Entry]:
    """Yield the entries of a module's value: a table with `content`, a table that names another group, or another module."""
    if isinstance(value, Call):
        title = value.arguments[0] if value.function == "require" and value.arguments else None
        if isinstance(title, str) and (imported := name(title)) is not None:
            yield "", imported
        return
    if not isinstance(value, Table):
        return
    content = value.named.get("content")
    if isinstance(content, Table):
        value = content
    elif not value.items and isinstance(other := value.named.get("name"), str):
        yield "", other
    for item in value.items:
        yield from _entry(item)


def _entry(item: object) -> Iterator[Entry]:
    rule: object = item
    if isinstance(item, Call):
        if item.function == "require":
            yield from _entries(item)
        rule = item.arguments[1] if item.function != "require" and len(item.arguments) > 1 else None
    elif isinstance(item, Table):
        if isinstance(imported := item.named.get("import"), str):
            yield "", name(imported) or imported.strip()
        positional = [each for each in item.items if isinstance(each, str)]
        if item.named.get("type", "item") == "item":
            rule = item.named.get("rule") or (positional[-1] if positional else None)
    if isinstance(rule, str) and rule.strip():
        yield rule.strip(), ""
