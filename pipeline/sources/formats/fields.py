"""The fields of a record -> title, text and URL: formats of public Chinese corpora, or the fields that a recipe names.

    {"title": "数学", "summary": null, "sections": [{"title": "历史", "content": "..."}]}     563w_baidubaike
    {"qid": "q_1", "title": "怎么看？", "desc": "", "answer": "..."}                          baike2018qa
    {"文件名": "a.txt", "段落": [{"行号": 1, "内容": "..."}, {"行号": 2, "内容": "..."}]}      MNBVC
    {"index": {"_id": "13"}}   {"title": "数学", "namespace": 0, "text": "...", ...}       Wikimedia's search dumps
    {"_index": "news", "_id": "13", "_source": {"title": "数学", "content": "..."}}        a dump of Elasticsearch

Sources of the formats: the corpora's own pages (brightmart/nlp_chinese_corpus, xuqinyang/BaiduBaike-5.63M, liwu/MNBVC with
aplmikex/deduplication_mnbvc, pleisto/wikipedia-cn-20230720-filtered, BAAI WuDaoCorpora, Skywork/SkyPile-150B,
CASIA-LM/ChineseWebText, HuggingFaceFW/fineweb-2, attardi/wikiextractor).
"""

import functools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config import SourceConfig
from pipeline.sources.formats import front_matter
from pipeline.sources.records import EXCERPT, Bad, Record, Skipped

NO_TEXT = "no field known to hold text"
FIELDS = "fields: "


@dataclass(frozen=True)
class RecordFormat:
    """A known record format: the fields that identify it, and the fields with its text, in order."""

    required: tuple[str, ...]
    text: tuple[str, ...]
    title: str = "title"


KNOWN_FORMATS = (
    RecordFormat(("sections",), ("summary", "sections")),  # 563w_baidubaike
    RecordFormat(("段落",), ("段落",), ""),  # MNBVC, plain and parallel
    RecordFormat(("问", "答"), ("问", "答"), ""),  # MNBVC, questions and answers
    RecordFormat(("主题", "回复"), ("回复",), "主题"),  # MNBVC, forums
    RecordFormat(("qid", "answer"), ("desc", "answer")),  # baike2018qa
    RecordFormat(("qid", "content"), ("desc", "content")),  # webtext2019zh
    RecordFormat(("content",), ("content",)),  # news2016zh, WuDao
    RecordFormat(("text",), ("text",)),  # wiki2019zh, wikiextractor, SkyPile, ChineseWebText, FineWeb-2, MNBVC of 2023
    RecordFormat(("completion",), ("completion",)),  # wikipedia-cn-20230720-filtered
    RecordFormat(("详情",), ("详情",), "标题"),  # MNBVC, judgements
    RecordFormat(("raw_content",), ("raw_content",)),  # CCNet, RedPajama
    RecordFormat(("正文",), ("正文",), "标题"),
    RecordFormat(("内容",), ("内容",), "标题"),
    RecordFormat(("summary",), ("summary",)),
)
_FALLBACKS = ("content", "text", "desc", "summary")
"""Fields to try when the usual text field is empty: an article of news2016zh may have nothing but its summary."""

NAMES = frozenset(name for known in KNOWN_FORMATS for name in (*known.required, *known.text, known.title)) | {
    "url",
    *_FALLBACKS,
}
"""All fields that any known format uses: other columns of Parquet files are not read."""

_PARTS = (("title", "content"), ("标题", "内容"), ("内容",), ("zh_text",), ("回复",), ("text",))
"""Fields of list items: sections, paragraphs, replies."""

_LONE_SURROGATES = re.compile("[\ud800-\udfff]+")
_MARKED = ("是否重复", "是否跨文件重复")
"""Fields of a paragraph of MNBVC: it repeats one of this file, or of another."""
_DUPLICATE_FILE = "是否重复文件"
_ACTIONS = frozenset(("index", "create", "update", "delete"))
"""Lines between the records of a bulk file of Elasticsearch."""
_OF_HITS = frozenset(("_id", "_index", "_type"))
"""One of these is in what Elasticsearch writes around the fields of a record, which are in `_source`."""
_OF_PAGES = frozenset(("source_text", "namespace_text", "text_bytes", "incoming_links"))
"""One of these is in pages of Wikimedia's search dumps, whose fields have changed over the years."""
_NEWSPAPER = re.compile(
    r"\s*### *(?P<title>\S[^\n]*)\n"
    r"(?=(?:[^\n]*\n){0,3}\s*第\d+版\()"
    r"(?:\s*(?:\d{4}[-年./]\d{1,2}[-月./]\d{1,2}日?[^\n\d]{0,8}|第\d+版\([^\n]*\)|专栏：[^\n]*)\s*(?:\n|\Z))+"
)
"""The head of an article of the People's Daily in MNBVC: title, date, page (`第4版(要闻)`), column (`专栏：`)."""


class _NoText(Exception):
    """A record without usable text; the message is the reason."""


def record(origin: str, value: Any, source: SourceConfig) -> Record | Bad | Skipped:
    """Convert a JSON value or a row of a table to a record."""
    if isinstance(value, str):
        value = {"text": value}
    if not isinstance(value, Mapping):
        return Bad(origin, "not a record of fields", str(value)[:EXCERPT])
    if isinstance(hit := value.get("_source"), Mapping) and not _OF_HITS.isdisjoint(value):
        value = hit
    if reason := _no_document(value):
        return Skipped(reason)
    left_out = 0
    try:
        if "段落" in value and not source.text_field:
            value, left_out = _without_duplicates(value)
        title, text = _named(value, source.text_field) if source.text_field else _known(value)
        title, text, url = map(_whole, (title, text, _line(value, "url")))
    except _NoText as error:
        return Bad(origin, str(error), f"{FIELDS}{', '.join(map(str, value))}"[:EXCERPT])
    except RecursionError:
        return Bad(origin, "nested too deep", "")
    return Record(origin, title, text, url, left_out=left_out)


def _no_document(fields: Mapping[str, Any]) -> str:
    """Return why a record is not a document by nature; "" if it may be one."""
    if len(fields) == 1 and isinstance(action := next(iter(fields.values())), Mapping) and not _ACTIONS.isdisjoint(fields):
        return "index line" if any(key.startswith("_") for key in action) else ""
    if fields.get("namespace") and not _OF_PAGES.isdisjoint(fields):
        return "other namespace"
    return "marked as a duplicate" if fields.get(_DUPLICATE_FILE) is True else ""


def _without_duplicates(fields: Mapping[str, Any]) -> tuple[Mapping[str, Any], int]:
    """Return the fields without paragraphs that MNBVC marks as duplicates, and the characters of these."""
    paragraphs = fields["段落"]
    if not isinstance(paragraphs, list) or not all(isinstance(one, Mapping) for one in paragraphs):
        return fields, 0
    marked = [any(one.get(mark) is True for mark in _MARKED) for one in paragraphs]
    if not any(marked):
        return fields, 0
    kept = [one for one, duplicate in zip(paragraphs, marked, strict=True) if not duplicate]
    return {**fields, "段落": kept}, sum(
        len(_text(one, "段落")) for one, duplicate in zip(paragraphs, marked, strict=True) if duplicate
    )


def _known(fields: Mapping[str, Any]) -> tuple[str, str]:
    """Return title and text of a record in a known format."""
    found = find_format(tuple(fields))
    if found is None:
        raise _NoText(NO_TEXT)
    parts = [_text(fields.get(name), name) for name in found.text]
    text = "\n".join(filter(None, parts)) or next(filter(None, (_text(fields.get(name), name) for name in _FALLBACKS)), "")
    title = _line(fields, found.title) if found.title else ""
    if not title and "版(" in text and (head := _NEWSPAPER.match(text)):
        return head["title"].strip(), text[head.end() :]
    if text.startswith(("---", "+++")):
        named, text = front_matter.parted(text)
        title = title or named
    return title, without_title(text, title)


@functools.lru_cache(maxsize=1_024)
def find_format(names: tuple[str, ...]) -> RecordFormat | None:
    """Return the format that the field names identify. Cached: the same few sets of names occur again and again."""
    return next((known for known in KNOWN_FORMATS if all(name in names for name in known.required)), None)


def without_title(text: str, title: str) -> str:
    """Remove a first line that repeats the title (wiki2019zh, wikiextractor): titles are read with texts anyway."""
    rest = text[len(title) :]
    return rest.lstrip() if title and rest[:1] in ("\n", "\r") and text.startswith(title) and not rest.isspace() else text


def _named(fields: Mapping[str, Any], names: Sequence[str]) -> tuple[str, str]:
    """Return the title, and the text of the fields that the recipe names."""
    parts = [_text(_at(fields, name), name) for name in names]
    return "" if "title" in names else _line(fields, "title"), "\n".join(filter(None, parts))


def _at(value: Any, path: str) -> Any:
    """Return the value at a dotted path, of every item of a list on the way: `meta.body`, `sections.content`."""
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
    """Return the text of a field: a string, null, or a list of strings or of objects with text of their own."""
    if isinstance(value, str):
        return _text(json.loads(value), name) if value.startswith("[{") and _is_paragraphs(value) else value
    if value is None or (isinstance(value, float) and not math.isfinite(value)):  # pandas writes NaN where there is no value
        return ""
    if isinstance(value, list):
        return "\n".join(filter(None, (_text(item, name) for item in value)))
    if isinstance(value, Mapping):
        for names in _PARTS:
            if names[-1] in value:
                return "\n".join(filter(None, (_text(value.get(part), part) for part in names)))
    raise _NoText(f"field {name} is not text")


def _is_paragraphs(text: str) -> bool:
    """Return whether a string is a JSON list of paragraphs, as in MNBVC on the Hugging Face hub."""
    if '"内容"' not in text and "\\u5185\\u5bb9" not in text:
        return False
    try:
        return all(isinstance(part, dict) and "内容" in part for part in json.loads(text))
    except (ValueError, RecursionError):
        return False


def _line(fields: Mapping[str, Any], name: str) -> str:
    """Return a one-line field as a string; empty if it is missing."""
    value = fields.get(name)
    if isinstance(value, str):
        return value.strip()
    no_value = value is None or isinstance(value, list | dict | bool) or (isinstance(value, float) and not math.isfinite(value))
    return "" if no_value else str(value)


def _whole(text: str) -> str:
    r"""Remove lone surrogates: JSON can contain "\\ud83d", half of an emoji, which no encoding can write."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _LONE_SURROGATES.sub("", text)
    return text
