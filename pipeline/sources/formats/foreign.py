"""Files that are recognised in order to be refused: each by its name, with the way on. None of them may pass for prose.

version https://git-lfs.github.com/spec/v1     a Git LFS pointer: fetch the file itself with git lfs pull
{'title': '题', 'content': ...}                 Python dicts: write them as JSON
{title: '题', content: ...}   load({"a": ...    JavaScript: write it as JSON
["题", "正文"]\\n["题", "正文"]   [["题", ...      JSON arrays of values without names: write them as objects
- title: 题\\n  text: 正文                        YAML: write it as JSON
<!DOCTYPE html> in part-1.jsonl.gz             a web page where the name says data: an error page that was saved in its place
"""

import re

from pipeline.cleaning.markup import is_element
from pipeline.compression import path_for_commands
from pipeline.errors import CorpusError
from pipeline.sources.formats import encodings, front_matter
from pipeline.sources.formats.json_values import raw_decode

_CONTROLS = bytes({*range(0x20), 0x7F} - set(b"\t\n\v\f\r\x1b"))

_POINTER = re.compile(r"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/|(?:\.\./)*(?:\.git)?/annex/objects/")
_HTML_PAGE = re.compile(r"(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?(?:<!doctype html\b|<html\b)", re.IGNORECASE | re.DOTALL)
_HTML_TITLE = re.compile(r"<title[^>]*>\s*([^<]{1,60})", re.IGNORECASE)
_ERROR_TITLE = re.compile(
    r"[45]\d\d\b|error\b|access denied|forbidden|not found|bad gateway|service unavailable|百度网盘|页面不存在|出错",
    re.IGNORECASE,
)
_DATA_NAME = re.compile(
    r"\.(?:jsonl?|ndjson|csv|tsv|parquet|arrow|feather|xml|wet|dat|tfrecord|gz|bz2|xz|zst|zip)$", re.IGNORECASE
)

_BINARY: tuple[tuple[bytes, str], ...] = (
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first: 7z x {url}"),
    (b"Rar!\x1a\x07", "a RAR archive; unpack it first: unrar x {url}"),
    (b"\x04\x22\x4d\x18", "compressed by lz4; unpack it first: lz4 -d {url}"),
    (b"\x1f\x9d", "compressed by compress; unpack it first: gzip -d {url}"),
    (b"\xff\x06\0\0sNaPpY", "compressed by snappy; unpack it first"),
    (b"%PDF-", "a PDF; extract its text first: pdftotext {url}"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document; save it as text first"),
    (b"SQLite format 3\0", "an SQLite database; export the table with text first: sqlite3 -csv -header"),
    (b"\x93NUMPY", "a NumPy array, not text"),
    (b"Obj\x01", "an Avro file; convert it to Parquet first"),
    (b"ORC", "an ORC file; convert it to Parquet first"),
)
_TEXT: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"\[?\s*\{\s*'[^'\n]{1,80}'\s*:"),
        "Python dicts, not JSON; write each with json.dumps(ast.literal_eval(line), ensure_ascii=False) first",
    ),
    (
        re.compile(r"\[\s*'[^'\n]{0,200}'\s*,\s*(?:['\"\d]|None|True|False)"),
        "Python lists, not JSON; write each with json.dumps(ast.literal_eval(line), ensure_ascii=False) first",
    ),
    (
        re.compile(r"\[?\s*\{\s*[A-Za-z_]\w{0,79}\s*:\s*(?:['\"]|[\[{]\s*['\"\w])"),
        "JavaScript objects, not JSON (names without quotes); convert them first, with a parser of JSON5",
    ),
    (
        re.compile(r"(?:(?:var|let|const)\s+[\w.$]{1,80}\s*=|[A-Za-z_$][\w.$]{0,80}\s?\()\s*\[?\s*\{\s*\""),
        "JavaScript around JSON; keep only what is between the outer brackets",
    ),
    (
        re.compile(
            r"(?:--|/\*)[^\n]*(?:MySQL|MariaDB|PostgreSQL|phpMyAdmin|SQL)\b[^\n]*\bdump|(?:INSERT INTO|CREATE TABLE)\s+\S"
        ),
        "an SQL dump; load it and export the table with text as CSV or JSON first",
    ),
    (re.compile(r"\{\\rtf\d"), "an RTF document; save it as text first"),
)
_NESTED_ARRAY = re.compile(r"\[\s*\[\s*(?:\"|[-\d]|null|true|false)")
_YAML_NAME = re.compile(r"[ ]*(?:- +)*[\"']?[A-Za-z_][\w.-]{0,60}[\"']?:(?:\s|\Z)", re.ASCII)
_YAML_LINE = re.compile(rf"{_YAML_NAME.pattern}|[ ]{{2,}}\S|[ ]*- |---\s*\Z", re.ASCII)
_MIN_LINES, _MOST_LINES = 3, 100
_XML = re.compile(r"<\?xml[^>]*>\s*(?:(?:<!--.*?-->|<\?[^>]*>|<!DOCTYPE[^>\[]*(?:\[[^\]]*\]\s*)?>)\s*)*+<([\w:.-]+)", re.DOTALL)
"""A prolog (comments, style sheets, a document type), and the root element."""
_ROOT = re.compile(r"<([A-Za-z_][\w:.]*)(?:\s[^<>]*)?>\s*<[A-Za-z_!]")
"""The root element of XML without a prolog: an element begins in it at once."""
_NO_ROOT = frozenset(["doc", "mediawiki"])
TAGGED = re.compile(r"\S[ \t]+(?:[BIESMO]|[BIESM]-\S+)\s*")
"""A character and its tag: `北 B-LOC`."""
_MIN_TAGGED = 20
_MAX_PAGE_HEAD = 8_192
"""Characters of a page in which its title is looked for."""


def refuse_binary(head: bytes, url: str) -> None:
    """Raise an error for binary data. Crawlers write a few control bytes; in binary files they are about one byte in ten."""
    if head[257:262] == b"ustar":
        raise CorpusError(f"{url}: a tar archive; unpack it first: tar -xf {path_for_commands(url)}")
    for magic, what in _BINARY:
        if head.startswith(magic):
            raise CorpusError(f"{url}: {what.format(url=path_for_commands(url))}")
    controls = len(head) - len(head.translate(None, _CONTROLS))
    if head.count(0) > len(head) / 200 or controls > len(head) / 20:
        if 0 < int.from_bytes(head[:8], "little") < 1 << 26 and head[12:13] == b"\n":  # a length, then a protobuf message
            raise CorpusError(f"{url}: apparently TFRecord; read it with --corpus tfrecord")
        if encodings.looks_like_utf16(head):
            raise CorpusError(f"{url}: apparently UTF-16 without a byte order mark; set --encoding utf-16")
        raise CorpusError(f"{url}: not text (it contains zero or control bytes); check the input")


def refuse_text(text: str, url: str) -> None:
    """Raise an error for structured text that is not read, given its beginning without white space at the top."""
    refuse_stand_in(text, url, pages=False)
    if is_html(text) and (_DATA_NAME.search(url) or _ERROR_TITLE.match(_title(text))):
        refuse_stand_in(text, url)
    for signature, what in _TEXT:
        if signature.match(text):
            raise CorpusError(f"{url}: {what}")
    root = _XML.match(text)
    if root is None and (root := _ROOT.match(text)) and (root[1].lower() in _NO_ROOT or is_element(root[1])):
        root = None
    if root and root[1].lower() not in ("mediawiki", "html") and not is_html(text):
        raise CorpusError(f"{url}: XML with the root <{root[1]}>, which is not read; convert it to JSON lines first")
    if _has_nameless_records(text):
        raise CorpusError(
            f"{url}: JSON arrays of values without names; "
            'write each as an object first, one a line: {"title": ..., "text": ...}'
        )
    if _is_yaml(text):
        raise CorpusError(f"{url}: YAML; write each item as a line of JSON first, with yaml.safe_load and json.dumps")
    tagged = 0
    for line in text[:8_192].split("\n")[:_MIN_TAGGED]:
        tagged += TAGGED.fullmatch(line) is not None
        if not tagged:
            return
    if tagged > 0.8 * _MIN_TAGGED:
        raise CorpusError(f"{url}: characters with tags, one a line; join the characters of each sentence first")


def _has_nameless_records(text: str) -> bool:
    """Return whether a text is arrays of values, one a line, or an array of such arrays."""
    if not text.startswith("["):
        return False
    if _NESTED_ARRAY.match(text):
        return True
    first, _, rest = text.partition("\n")
    if not rest.lstrip().startswith("["):
        return False
    try:
        value, end = raw_decode(first)
    except (ValueError, RecursionError):
        return False
    if not isinstance(value, list) or first[end:].strip(" \t\r,") or any(isinstance(one, dict | list) for one in value):
        return False
    return any(not isinstance(one, int) for one in value)  # [1] on a line of its own is a footnote in prose


def _is_yaml(text: str) -> bool:
    """Return whether all lines are those of YAML, with items of several names, or values below others."""
    if text.startswith("%YAML"):
        return True
    _, text = front_matter.parted(text)
    lines = [line for line in text.removeprefix("---").split("\n")[:_MOST_LINES] if line.strip() and line.lstrip()[0] != "#"]
    if len(lines) < _MIN_LINES or not all(map(_YAML_LINE.match, lines)):
        return False
    names = [line.split(":")[0] for line in lines if not line[0].isspace()]
    inner = any(line[:2] == "  " and (line.lstrip()[:2] == "- " or _YAML_NAME.match(line)) for line in lines)
    return _YAML_NAME.match(lines[0]) is not None and inner and (lines[0].startswith("- ") or len(set(names)) == len(names))


def refuse_stand_in(text: str, url: str, pages: bool = True) -> None:
    """Raise an error for what is in the place of a file that was not fetched: a pointer, or (`pages`) a saved error page."""
    if is_pointer(text):
        raise CorpusError(
            f"{url}: a Git LFS pointer, not the file itself; fetch the files: git lfs pull (in its repository), or hf download"
        )
    if pages and is_html(text):
        about = f" ({title})" if (title := _title(text)) else ""
        raise CorpusError(
            f"{url}: a web page{about}, not the data of its name; a failed download saved it, fetch the file again"
        )


def is_pointer(text: str) -> bool:
    """Return whether a text is a pointer of Git LFS or git-annex, which is in the place of a file until that is fetched."""
    return _POINTER.match(text) is not None


def _title(page: str) -> str:
    found = _HTML_TITLE.search(page[:_MAX_PAGE_HEAD])
    return " ".join(found[1].split()) if found else ""


def is_html(text: str) -> bool:
    """Return whether a text is a web page."""
    return _HTML_PAGE.match(text.lstrip(encodings.TEXT_BEGINS)) is not None
