"""What may be shown: URLs without their secrets, and text without characters that a terminal obeys.

    redact("http://me:secret@a.cn/news.jsonl?token=b1946ac9")     http://a.cn/news.jsonl
    redact("https://b.s3.amazonaws.com/n.gz?X-Amz-Signature=9f")  https://b.s3.amazonaws.com/n.gz
    printable("a\x1b[2J.txt")                                     a\u001b[2J.txt

A redacted URL is also the identity of what is there: it stays the same when a password or a signature is replaced. Every
`UserError` and everything that is written about settings and inputs passes through this module.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

PLAIN_PARAMETERS = frozenset(
    (
        *("alt", "config", "dataset", "date", "day", "dl", "download", "extension", "file", "filename", "format", "generation"),
        *("id", "index", "lang", "language", "limit", "month", "name", "number", "offset", "order", "page", "part", "path"),
        *("raw", "ref", "release", "revision", "shard", "source", "split", "start", "subset", "type", "v", "version"),
        *("versionid", "year"),
    )
)
"""Parameters of a query that say what is there. Any other may be part of a signature or a secret."""
SHORT = 8
"""Characters of a parameter without a value that is no secret: `?raw`."""
HIDDEN = "***"

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s\"'<>`]+")  # bounded: a text may be one long word
_WHOLE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_END = ".,;:!)]}"
"""Signs that belong to the sentence around a URL rather than to the URL."""


def redact(text: str) -> str:
    """Return a URL, or a text with URLs in it, without user names, passwords and parameters that may be secret."""
    if "://" not in text:
        return text
    if _WHOLE.fullmatch(text):
        return _redacted(text)
    return _URL.sub(lambda found: _redacted(found[0], _END), text)


def _redacted(found: str, end: str = "") -> str:
    url = found.rstrip(end) if end else found
    parts, _ = _split(url)
    return found if parts is None else urlunsplit(parts) + found[len(url) :]


def secrets_in(url: str) -> list[str]:
    """Return the parts of a URL that `redact` leaves out, as they are and decoded, the longest first."""
    _, left_out = _split(url)
    found = {form for part in left_out for form in (part, unquote(part)) if form}
    return sorted(found, key=lambda part: (-len(part), part))


def without_secrets(text: str, url: str) -> str:
    """Return what a library says about `url`, redacted also where it repeats a secret outside of a URL."""
    text = redact(text)
    for secret in secrets_in(url) if "://" in url else ():
        if len(secret) >= 3:  # a shorter one occurs in any text
            text = text.replace(secret, HIDDEN)
    return text


def _split(url: str) -> tuple[SplitResult | None, list[str]]:
    """Return the parts of a URL that may be shown (None: all of it), and the others."""
    url = url[url.rfind("::") + 2 :] if "::" in url.partition("://")[0] else url  # fsspec's chains: simplecache::http://
    scheme, _, rest = url.partition("://")
    authority = re.split("[/?#]", rest)[0]
    left_out: list[str] = []
    if "@" in rest and "@" not in authority and re.search(r":[^]]*[^]\d][^]]*$", authority):
        # A password with one of / ? # that was not written as %2F: it would be taken for a port and a path, and be shown.
        secret, _, rest = rest.rpartition("@")
        left_out = [secret]
    try:
        parts = urlsplit(f"{scheme}://{rest}")
    except ValueError:  # a bracket without its pair: nothing of it can be told apart
        return (SplitResult(scheme, HIDDEN, "", "", ""), [rest]) if {"@", "?"} & set(rest) else (None, [])
    if parts.scheme in ("", "file"):
        return None, []
    user, _, host = parts.netloc.rpartition("@")
    left_out += [user, *user.split(":", 1)] if user else []
    shown, is_web = [], parts.scheme in ("http", "https")
    for parameter in re.split("[&;]", parts.query):
        name, equals, value = parameter.partition("=")
        if name.lower() in PLAIN_PARAMETERS or (not equals and (not is_web or len(name) <= SHORT)):
            shown.append(parameter)
        else:
            left_out.append(value or name)
    if not left_out:
        return None, []
    return parts._replace(netloc=host, query="&".join(shown)), left_out


def public(value: Any) -> Any:
    """Return JSON values with every string redacted: what manifests and pages say about settings."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(name) if isinstance(name, str) else name: public(item) for name, item in value.items()}
    return [public(item) for item in value] if isinstance(value, list | tuple) else value


def printable(text: str) -> str:
    """Return text with control characters, and those that change the direction of text, as JSON writes them; lines stay."""
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character.isprintable() or character in "\n\t" or unicodedata.category(character) == "Zs":
        return character
    code = ord(character)
    if code > 0xFFFF:  # as in JSON, a pair of surrogates
        code -= 0x10000
        return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
    return f"\\u{code:04x}"
