"""Headings, and the sections that are not prose: references, links, further reading.

    heading("== 参考文献 ==")         (2, "参考文献")
    is_cut("參考文獻與外部連結")      True
    is_cut("历史")                    False

Headings themselves are always dropped: as short lines of their own they are noise for pretraining. A cut section ends at the
next heading of its level or a higher one.
"""

import re

from pipeline.wiki.markup.findings import HOLES

_TITLES = """
    参考 參考 参考文献 參考文獻 参考资料 參考資料 参考资料来源 參考資料來源 参考来源 參考來源 参考书目 參考書目 参考书籍
    參考書籍 参考链接 參考連結 参考网站 參考網站 参考条目 參考條目 参考出处 參考出處 参考著作 參考著作 参考论文 參考論文
    文献 文獻 书目 書目 引用 引用文献 引用文獻 引用来源 引用來源 引文 引注 资料来源 資料來源 来源 來源 出处 出處 资料 資料
    脚注 腳注 脚註 腳註 注脚 註腳 注 註 注释 注釋 註釋 注解 註解 备注 備註 附注 附註 註記 注记 尾注 尾註 外部链接 外部連結
    外部链結 外部鏈接 外部連接 外部连接 外部链结 外部鏈結 外部参考 外部參考 外部网站 外部網站 相关链接 相關連結 相关连接
    相關鏈接 链接 連結 相关网站 相關網站 官方网站 官方網站 网站 網站 延伸阅读 延伸閱讀 扩展阅读 擴展閱讀 深入阅读 深入閱讀
    拓展阅读 拓展閱讀 进一步阅读 進一步閱讀 推荐阅读 推薦閱讀 参阅 參閱 参见 參見 参看 參看 参照 參照 另见 另見 另参见
    另參見 相关条目 相關條目 相关页面 相關頁面 相关主题 相關主題 条目 條目 延伸 画廊 畫廊 图库 圖庫 图集 圖集 图片 圖片 相册
    相冊 图像 圖像 影像 导航 導航 导航模板 導航模板 校注 校註 网址 網址 references reference notes note externallinks
    externallink seealso furtherreading bibliography sources gallery footnotes citations
"""
_CUT = frozenset(_TITLES.split())
_AND = re.compile(r"[与與及和、/／&,，]|以及")
_MARKUP = re.compile(rf"'{{2,}}|<[^<>]*+>|[\s:：。()（）\[\]]+|{HOLES}")
_CHOICE = re.compile(r"-\{(?:[^{}|]*+\|)?([^{}]*+)\}-")


def heading(line: str) -> tuple[int, str] | None:
    """Return level and title of a heading line; None for other lines."""
    line = line.rstrip()
    left = len(line) - len(line.lstrip("="))
    right = len(line) - len(line.rstrip("="))
    level = min(left, right, 6)
    if level == 0 or len(line) <= 2 * level:
        return None
    return level, line[level:-level].strip()


def is_cut(title: str) -> bool:
    """Return whether a section with this title is dropped: all that the title names is in the table, in either script."""
    if "-{" in title:  # -{zh-hans:参考资料; zh-hant:參考資料}-: any variant will do
        title = _CHOICE.sub(lambda match: match[1].split(";")[0].rpartition(":")[2], title)
    parts = [part for part in _AND.split(_MARKUP.sub("", title).lower()) if part]
    return bool(parts) and all(part in _CUT for part in parts)
