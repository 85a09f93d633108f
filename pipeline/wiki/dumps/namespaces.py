"""Namespaces of pages whose dump does not number them (export formats before 0.6): by the name before a title's colon.

names = numbers(b'<siteinfo>...<namespace key="10" case="first-letter">模板</namespace>')
of_title("模板:Lang", names)        10
of_title("template: lang", names)   10      English names are known on every wiki
of_title("Re:从零开始", names)       0
"""

import html
import re
from collections.abc import Mapping

_ENGLISH = """
    Media:-2 Special:-1 Talk:1 User:2 User_talk:3 Project:4 Project_talk:5 File:6 File_talk:7 Image:6 Image_talk:7 MediaWiki:8
    MediaWiki_talk:9 Template:10 Template_talk:11 Help:12 Help_talk:13 Category:14 Category_talk:15 Portal:100 Portal_talk:101
    Wikipedia:4 Wikipedia_talk:5 Draft:118 Draft_talk:119 Module:828 Module_talk:829
"""
_CHINESE = """
    媒体:-2 媒體:-2 特殊:-1 讨论:1 討論:1 对话:1 對話:1 用户:2 用戶:2 使用者:2 用户讨论:3 用戶討論:3 用户对话:3 用戶對話:3
    使用者討論:3 维基百科:4 維基百科:4 维基百科讨论:5 維基百科討論:5 文件:6 档案:6 檔案:6 图像:6 圖像:6 文件讨论:7 檔案討論:7
    模板:10 樣板:10 模板讨论:11 模板討論:11 帮助:12 幫助:12 使用說明:12 帮助讨论:13 幫助討論:13 分类:14 分類:14 分类讨论:15
    分類討論:15 主题:100 主題:100 草稿:118 模块:828 模組:828
"""
_KNOWN = {name.lower(): int(number) for name, _, number in (entry.partition(":") for entry in f"{_ENGLISH}{_CHINESE}".split())}
_NAMESPACE = re.compile(rb'<namespace key="(-?\d{1,6})"[^<>]*>([^<]{1,200})</namespace>')


def numbers(head: bytes) -> dict[str, int]:
    """Return the numbers of namespaces by name: those in the dump's <siteinfo>, and those that all wikis in Chinese know."""
    site = head.partition(b"</siteinfo>")[0]
    return _KNOWN | {
        _normalised(html.unescape(name.decode(errors="replace"))): int(key) for key, name in _NAMESPACE.findall(site)
    }


def of_title(title: str, names: Mapping[str, int]) -> int:
    """Return the namespace of a page; 0 for a title whose colon follows another word."""
    prefix, colon, _ = title.partition(":")
    return names.get(_normalised(prefix), 0) if colon else 0


def _normalised(name: str) -> str:
    return "_".join(name.replace("_", " ").split()).lower()
