"""The fields of a record become title, text and address: the layouts of public Chinese corpora, or fields that a recipe names.

    {"title": "数学", "summary": null, "sections": [{"title": "历史", "content": "..."}]}     563w_baidubaike
    {"qid": "q_1", "title": "怎么看？", "desc": "", "answer": "..."}                          baike2018qa
    {"文件名": "a.txt", "段落": [{"行号": 1, "内容": "..."}, {"行号": 2, "内容": "..."}]}      MNBVC

Sources of the layouts: the corpora's own pages (brightmart/nlp_chinese_corpus, xuqinyang/BaiduBaike-5.63M, liwu/MNBVC with
aplmikex/deduplication_mnbvc, pleisto/wikipedia-cn-20230720-filtered, BAAI WuDaoCorpora, Skywork/SkyPile-150B,
CASIA-LM/ChineseWebText, HuggingFaceFW/fineweb-2, attardi/wikiextractor).
"""

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config import SourceConfig
from pipeline.sources.records import EXCERPT, Bad, Record

NO_TEXT = "no field known to hold text"
FIELDS = "fields: "


@dataclass(frozen=True)
class Known:
    """A layout: the fields that tell it, and those that hold its text, in their order."""

    told_by: tuple[str, ...]
    text: tuple[str, ...]
    title: str = "title"


KNOWN = (
    Known(("sections",), ("summary", "sections")),  # 563w_baidubaike
    Known(("段落",), ("段落",), ""),  # MNBVC, plain and parallel
    Known(("问", "答"), ("问", "答"), ""),  # MNBVC, questions and answers
    Known(("主题", "回复"), ("回复",), "主题"),  # MNBVC, forums
    Known(("qid", "answer"), ("desc", "answer")),  # baike2018qa
    Known(("qid", "content"), ("desc", "content")),  # webtext2019zh
    Known(("content",), ("content",)),  # news2016zh, WuDao
    Known(("text",), ("text",)),  # wiki2019zh, wikiextractor, SkyPile, ChineseWebText, FineWeb-2, MNBVC of 2023
    Known(("completion",), ("completion",)),  # wikipedia-cn-20230720-filtered
    Known(("详情",), ("详情",), "标题"),  # MNBVC, judgements
    Known(("raw_content",), ("raw_content",)),  # CCNet, RedPajama
    Known(("正文",), ("正文",), "标题"),
    Known(("内容",), ("内容",), "标题"),
    Known(("summary",), ("summary",)),
)
_FALLBACKS = ("content", "text", "desc", "summary")
"""Where the field that should hold the text is empty: an article of news2016zh may have its summary alone."""

NAMES = frozenset(name for known in KNOWN for name in (*known.told_by, *known.text, known.title)) | {"url", *_FALLBACKS}
"""All fields that are looked at: of Parquet, other columns are not read."""

_PARTS = (("title", "content"), ("标题", "内容"), ("内容",), ("zh_text",), ("回复",), ("text",))
"""Fields of what a list holds: sections, paragraphs, replies."""

_HTML = re.compile(r"</?[A-Za-z][^<>]*>|<!--|&(?:#\d+|#[xX][0-9A-Fa-f]+|[A-Za-z][A-Za-z0-9]*);")
_MARKDOWN = re.compile(r"^(?:#{1,6} \S|```|~~~)", re.MULTILINE)
_LONE_SURROGATES = re.compile("[\ud800-\udfff]+")


class _NoText(Exception):
    """A record that has no text for us; says why."""


def record(origin: str, value: Any, source: SourceConfig) -> Record | Bad:
    """The record that a JSON value or a row of Parquet is."""
    if isinstance(value, str):
        value = {"text": value}
    if not isinstance(value, Mapping):
        return Bad(origin, "not a record of fields", str(value)[:EXCERPT])
    try:
        title, text = _named(value, source.text_field) if source.text_field else _known(value)
        title, text, url = map(_whole, (title, text, _line(value, "url")))
    except _NoText as error:
        return Bad(origin, str(error), f"{FIELDS}{', '.join(map(str, value))}"[:EXCERPT])
    except RecursionError:
        return Bad(origin, "nested too deep", "")
    return Record(origin, title, text, url, _holds_html(title, text, source.kind))


def _known(fields: Mapping[str, Any]) -> tuple[str, str]:
    """Title and text of a record in a known layout."""
    layout = _layout(tuple(fields))
    if layout is None:
        raise _NoText(NO_TEXT)
    parts = [_text(fields.get(name), name) for name in layout.text]
    text = "\n".join(filter(None, parts)) or next(filter(None, (_text(fields.get(name), name) for name in _FALLBACKS)), "")
    title = _line(fields, layout.title) if layout.title else ""
    return title, without_title(text, title)


@functools.lru_cache(maxsize=1_024)
def _layout(names: tuple[str, ...]) -> Known | None:
    """The layout that the names of fields tell: the same few names come again and again."""
    return next((known for known in KNOWN if all(name in names for name in known.told_by)), None)


def without_title(text: str, title: str) -> str:
    """The text without a first line that repeats the title (wiki2019zh, wikiextractor): titles are read with texts anyway."""
    rest = text[len(title) :]
    return rest.lstrip() if title and rest[:1] in ("\n", "\r") and text.startswith(title) and not rest.isspace() else text


def _named(fields: Mapping[str, Any], names: Sequence[str]) -> tuple[str, str]:
    """Title, and the text in the fields that a recipe names."""
    parts = [_text(_at(fields, name), name) for name in names]
    return "" if "title" in names else _line(fields, "title"), "\n".join(filter(None, parts))


def _at(value: Any, path: str) -> Any:
    """What stands at a dotted path, of every item of a list on the way: `meta.body`, `sections.content`."""
    if isinstance(value, list):
        return [_at(item, path) for item in value]
    if not isinstance(value, Mapping):
        raise _NoText(f"no field {path}")
    if path in value:
        return value[path]
    first, _, rest = path.partition(".")
    if not rest or first not in value:
        raise _NoText(f"no field {path}")
    return _at(value[first], rest)


def _text(value: Any, name: str) -> str:
    """The text in a field: a string, nothing, or a list of strings or of parts with text of their own."""
    if isinstance(value, str):
        return _text(json.loads(value), name) if value.startswith("[{") and _is_paragraphs(value) else value
    if value is None:
        return ""
    if isinstance(value, list):
        return "\n".join(filter(None, (_text(item, name) for item in value)))
    if isinstance(value, Mapping):
        for names in _PARTS:
            if names[-1] in value:
                return "\n".join(filter(None, (_text(value.get(part), part) for part in names)))
    raise _NoText(f"field {name} is not text")


def _is_paragraphs(text: str) -> bool:
    """Whether a string is a list of paragraphs written as JSON: MNBVC as the Hugging Face hub has it."""
    if '"内容"' not in text and "\\u5185\\u5bb9" not in text:
        return False
    try:
        return all(isinstance(part, dict) and "内容" in part for part in json.loads(text))
    except (ValueError, RecursionError):
        return False


def _line(fields: Mapping[str, Any], name: str) -> str:
    """A field of one line, as a string; nothing where it is missing."""
    value = fields.get(name)
    return value.strip() if isinstance(value, str) else "" if value is None or isinstance(value, list | dict) else str(value)


def _whole(text: str) -> str:
    r"""The text without halves of characters: JSON can say "\ud83d", half of an emoji, which no encoding can write."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _LONE_SURROGATES.sub("", text)
    return text


def _holds_html(title: str, text: str, kind: str) -> bool:
    """Whether tags or entities are markup. In `text`, Markdown shows them as what is written about."""
    if not any(sign in part for sign in "<&" for part in (text, title)):
        return False
    if _HTML.search(text) is None and _HTML.search(title) is None:
        return False
    return not (kind == "text" and _MARKDOWN.search(text))
