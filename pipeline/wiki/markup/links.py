"""The visible text of a link: `[[目标|文字]]` shows 文字.

    link_text(["勃兰登堡州"], findings)                          "勃兰登堡州"
    link_text(["联邦州 (德国)", "联邦州"], findings)             "联邦州"
    link_text(["File:柏林.jpg", "thumb", "柏林墙"], findings)    ""     findings.dropped == {"file": 3}
    link_text(["Category:柏林"], findings)                       ""
    link_text([":Category:柏林"], findings)                      "Category:柏林"
    link_text(["en:Berlin"], findings)                           ""     an interlanguage link, shown in the margin
    link_text(["柳属", "''Salix'' L."], findings)                "Salix L."      the quotes of a label are paired by themselves

Namespaces and their aliases: zhwiki's own (api.php?action=query&meta=siteinfo&siprop=namespaces|namespacealiases), plus the
English, German, Japanese and Korean names found in pages pasted from other Wikipedias.
"""

import re
from collections.abc import Sequence

from pipeline.wiki.markup.findings import Findings
from pipeline.wiki.markup.languages import is_language_prefix
from pipeline.wiki.markup.opaque import hidden
from pipeline.wiki.markup.quotes import without_quotes

_FILE_NAMES = """
    file image media f 文件 檔案 档案 图像 圖像 图片 圖片 媒体 媒體 媒体文件 媒體檔案 datei bild ファイル 画像 파일 그림
"""
FILES = frozenset(_FILE_NAMES.split())
CATEGORIES = frozenset(["category", "cat", "分类", "分類", "kategorie", "カテゴリ", "분류"])
_PROJECT_NAMES = """
    b c commons d m media meta mw n phab q s species v voy w wikibooks wikidata wikinews wikipedia wikiquote wikisource
    wikispecies wikiversity wikivoyage wikt wiktionary wp 维基百科 維基百科 template t 模板 样板 樣板 user 用户 用戶 help 帮助
    幫助 portal 主题 主題 project special 特殊 draft 草稿
"""
_PROJECTS = frozenset(_PROJECT_NAMES.split())
_QUALIFIER = re.compile(r"(?<!\s)\s*+[(（][^()（）]*[)）]$")
_NO_TITLE = re.compile(r"[\[\]{}<>\n]")


def link_text(parts: Sequence[str], findings: Findings) -> str:
    """Return the visible text of a link; `parts` are its already resolved parts between the pipes."""
    if len(parts) == 1 and "|" in parts[0] and "-{" not in parts[0]:  # from {{!}}
        parts = parts[0].split("|")
    target = parts[0].strip()
    prefix, colon, rest = target.partition(":")
    space = prefix.strip().replace("_", " ").lower() if colon else ""
    if space in FILES:
        if len(parts) > 1:
            findings.drop("file", len(parts[-1]))
        return ""
    if _NO_TITLE.search(target):
        return "|".join(parts)
    if colon and not space:  # [[:Category:柏林]]
        return _shown(rest.strip(), parts)
    if space in CATEGORIES or is_language_prefix(space):
        return ""
    return _shown(target, parts)


def _shown(target: str, parts: Sequence[str]) -> str:
    if len(parts) == 1:
        return hidden(target.strip("/") if target.startswith("/") else target)
    text = "|".join(parts[1:])
    if text.strip():
        return hidden(without_quotes(text) if "''" in text else text).replace("\n", " ")
    # The pipe trick, [[Help:编辑 (柏林)|]]: without namespace and qualifier.
    prefix, colon, rest = target.partition(":")
    return hidden(_QUALIFIER.sub("", rest if colon and prefix.lower() in _PROJECTS else target))


def leaves_no_text(target: str) -> bool:
    """Return whether the start of an unclosed link names a file or a category: then the rest of its line is not prose."""
    return target.partition(":")[0].strip().lower() in FILES | CATEGORIES
