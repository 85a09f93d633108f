"""Markup inside a line: external links, magic words, entities.

    inline("柏林的[http://berlin.de 网站]&nbsp;见 https://berlin.de/zh __NOTOC__", findings)     "柏林的网站 见 "

URLs are dropped, labels stay. Entities are resolved last: `&lt;ref&gt;` is text, not a tag.
"""

import html
import re

from pipeline.wiki.markup.findings import Findings

_EXTERNAL = re.compile(
    r"\[(?:(?:https?:|ftps?:|sftp:|ircs?:|git:|svn:|ssh:|nntp:|mms:|gopher:|telnet:|worldwind:|redis:)?+//"
    r"|(?:mailto|news|tel|sms|sips?|magnet|bitcoin|geo|urn|xmpp):)[^\s\[\]<>\"\ufdd1]++[ \t]*+([^\[\]\n]*+)\]",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"(?<![A-Za-z0-9_/])(?:https?|ftp)://[!-;=?-Z\\^-z|~]++", re.IGNORECASE)
_TRAILING = ".,;:!?'"
_MAGIC = re.compile(r"__(?:[A-Z]{2,32}|[\u4e00-\u9fff]{2,8})__")
_ENTITY = re.compile(r"&(?:#0{0,20}\d{1,7}|#[xX]0{0,20}[0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_SPACES = re.compile(r"[ \t\xa0\u2002-\u200a\u202f\u205f]{2,}+|[\t\xa0\u2002-\u200a\u202f\u205f]")


def inline(text: str, findings: Findings) -> str:
    """Remove the markup inside the lines of a text."""
    if "//" in text or "[mailto:" in text:
        text = _EXTERNAL.sub(r"\1", text)
        text = _ADDRESS.sub(lambda match: _after_address(match[0], findings), text)
    if "__" in text:
        text = _MAGIC.sub("", text)
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    return _SPACES.sub(" ", text)


def _after_address(address: str, findings: Findings) -> str:
    """Return the punctuation at the end of a URL, which belongs to the sentence, as does a bracket that it did not open."""
    end = len(address.rstrip(_TRAILING))
    if "(" not in address:
        end = min(end, len(address.rstrip(_TRAILING + ")")))
    findings.drop("address", end)
    return address[end:]
