"""Parts of web pages that are no text: names of sites in titles, and lines of keywords.

红烧肉怎么做_菜谱大全_好吃网        ->  红烧肉怎么做               site_title
秋粮收购会议召开 - 云溪新闻网        ->  秋粮收购会议召开            site_title
本文关键词：秋粮,收购,会议           removed                    keywords
【关键词】 秋粮 收购                removed                    keywords

标签：秋粮、收购 is gone by then in all sources: it is a form of furniture.py. `keywords` finds such lines before.
"""

import re

from pipeline.cleaning.characters import IDEOGRAPHS

TITLE_PARTS = re.compile(rf"(?<![A-Za-z0-9])[_|｜]|[_|｜](?![A-Za-z0-9])| [-–—] |(?<=[{IDEOGRAPHS}])[-–—](?=[{IDEOGRAPHS}])")
"""What separates the parts of a title. Not the _ of snake_case."""
_SITE = re.compile(
    r"(?:网|网站|网易|新浪|搜狐|腾讯|门户|频道|论坛|博客|在线|日报|晚报|公司|集团|医院|官网|首页|中心|大全|图库|书屋|资讯|新闻|栏目|专栏|"
    r"大学|学院|中学|小学|学校|协会|委员会|办公室|局|厅|店|厂|商城|文库|小说|空间|论文|app|APP|[.]com|[.]cn)$"
)
"""How the name of a site ends."""
KEYWORDS = re.compile(
    r"^[【\[（(]?(?:本文|文章|相关|热门|话题)?(?:关键词|关键字|标签|TAG标签|TAGS?|Tags?|tags?)[】\]）)]?(?:[:：] ?| )(.*)$",
    re.M,
)
"""A line of keywords. 关键词是改革。 is none: it has neither a colon nor a space."""
_MARKS = ("关键", "标签", "TAG", "Tag", "tag")
_MAX_KEYWORDS = 200
_MIN_TITLE = 4


def without_site(title: str) -> str:
    """Return a title without the names of section and site after it. A title that is only a site's name stays."""
    if "_" not in title and "|" not in title and "｜" not in title and not any(dash in title for dash in "-–—"):
        return title
    first = TITLE_PARTS.search(title)
    if first is None:
        return title
    head, rest = title[: first.start()].rstrip(), title[first.end() :].strip()
    underscore = first[0] in "_|｜"
    return head if len(head) >= _MIN_TITLE and (underscore or _SITE.search(rest)) else title


def without_keywords(text: str) -> str:
    """Return a text without its lines of keywords, unless nothing else is in it. Lines must be trimmed."""
    if not may_have_keywords(text):
        return text
    lines = [line for line in text.split("\n") if not _is_keywords(line)]
    return "\n".join(lines) or text


def keywords(text: str) -> list[str]:
    """Return a text's lines of keywords."""
    if not may_have_keywords(text):
        return []
    return [line for line in text.split("\n") if _is_keywords(line)]


def may_have_keywords(text: str) -> bool:
    """Return whether any line of a text can match KEYWORDS: most texts have none, and looking for words is fast."""
    return any(word in text for word in _MARKS)


def _is_keywords(line: str) -> bool:
    """Return whether a line is one of keywords: a sentence is not."""
    found = KEYWORDS.match(line) if len(line) <= _MAX_KEYWORDS else None
    return found is not None and not any(sign in found[1] for sign in "。！？；")
