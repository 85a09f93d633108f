"""Templates that carry text: which argument it is in, or how it is made. Keys are lower case, without spaces (`startdate`).

    TEXT["lang"]({"1": "de", "2": "Berlin"})                       "Berlin"
    TEXT["tsl"]({"1": "en", "2": "Homeostasis", "3": "穩態"})      "穩態"
    TEXT["nihongo"]({"1": "东京塔", "2": "東京タワー"})            "东京塔（東京タワー）"
    CONSTANTS["spacedndash"]                                       " – "

The argument order of templates that link to other Wikipedias is that of zhwiki's Category:内部链接助手模板. {{link-xx}},
{{xx-link}}, {{ilh/xx}} and {{lang-xx}} follow a pattern and are handled in expansion.py.
"""

from collections.abc import Callable

from pipeline.wiki.markup.languages import language_name
from pipeline.wiki.markup.opaque import BREAK
from pipeline.wiki.templates.countries import COUNTRIES
from pipeline.wiki.templates.dates import birth_and_death, date, span
from pipeline.wiki.templates.quantities import (
    convert,
    fraction,
    grouped,
    power_of_ten,
    value,
)

Arguments = dict[str, str]
Handler = Callable[[Arguments], str]


def first_of(*names: str) -> Handler:
    """Return a handler for the first of these arguments that is not empty."""

    def shown(arguments: Arguments) -> str:
        for name in names:
            if (text := arguments.get(name, "")) and not text.isspace():
                return text.strip()
        return ""

    return shown


def _positional(arguments: Arguments) -> list[str]:
    return [text.strip() for name, text in arguments.items() if name.isdigit() and text.strip()]


def _joined(separator: str, first: str = "") -> Handler:
    return lambda arguments: "".join(
        (separator if place else first) + text for place, text in enumerate(_positional(arguments))
    )


def _longest(arguments: Arguments) -> str:
    """Return the longest argument of a template that wraps a block, whatever its parameters are called."""
    texts = [*_positional(arguments), *(arguments.get(name, "") for name in ("content", "text", "內容", "内容", "col1"))]
    return max(texts, key=len, default="")


def _columns(arguments: Arguments) -> str:
    return "\n".join(text for name, text in arguments.items() if name.startswith("col") and name[3:].isdigit())


def _with_brackets(arguments: Arguments) -> str:
    """{{nihongo|汉字|日本語|Rōmaji|又译}}: 汉字（日本語，Rōmaji，又译）."""
    inside = "，".join(arguments[name].strip() for name in ("2", "3", "4") if arguments.get(name, "").strip())
    before = arguments.get("1", "").strip()
    return f"{before}（{inside}）" if inside and before else before or inside


def _with_language(arguments: Arguments) -> str:
    """{{langx|de|Berlin}}: 德语：Berlin."""
    label, text = language_name(arguments.get("1", "")), arguments.get("2", "").strip()
    return f"{label}：{text}" if label and text else text


def _quotation(arguments: Arguments) -> str:
    """Return the quotation as a paragraph of its own; its source is left out, like captions."""
    text = first_of("1", "text", "quote", "content", "引用", "內容", "内容")(arguments)
    return f"\n\n{text}\n\n" if text else ""


def _country(arguments: Arguments) -> str:
    name = first_of("name", "1")(arguments)
    return COUNTRIES.get(name, name)


def _variants(arguments: Arguments) -> str:
    """{{lan|zh-cn=...|zh-tw=...}}: a rule for wiki/conversion."""
    rules = ";".join(f"{name}:{text}" for name, text in arguments.items() if name.startswith("zh") and text)
    return "-{" + rules + "}-" if rules else first_of("1")(arguments)


def _wrapped(before: str, after: str = "") -> Handler:
    text = first_of("1")
    return lambda arguments: f"{before}{text(arguments)}{after}" if text(arguments) else ""


_BY_ARGUMENT: dict[tuple[str, ...], str] = {
    ("1", "text", "content"): """
        nobr nowrap nobreak nbr j nobold noitalic nobolditalic small smaller big bigger large larger huge b bold strong i
        italic em s strike del u underline ins ul sup sub mono monospace code tt kbd var samp mvar math math2 unicode
        unicodefonts iast pinyin 拼音 红 紅 red green blue white gray grey orange yellow purple pink black silver mark
        highlight hl center centre left right floatleft floatright align justify poem poemquote 诗 詩 plainlinks plainlist
        nolist visibleanchor vanchor va linkedtext abbr tooltip 缩写 縮寫 h:title htitle hover 提示文字 ruby rubyja ruby-py
        zhuyin bopomofo 注音 僻字 缺字 罕用字 pua cjk-new-char 楷体 楷體 标楷体 標楷體 宋体 宋體 kai kaiti serif sans-serif
        script/hebrew script/arabic hebrew jpn-lang nihongo2 nihongokrt kanji kana korean2 hangul hanja zh-hans zh-hant simp
        trad 简 繁 simplechinese tradchinese lang-zh-short zhi classical 古文 文言 文言文 originaltext 原文 nts num number
        fontsize noprint screenonly nopara allcaps smallcaps sc smcap caps overline ol underoverline dotunderline 着重号
        著重號 emphasis 下划线 專名號 专名号 书名号 書名號 波浪線 私名號 propername chem2 ce trim trimquotes delink ifempty
        if_empty noconvert 不转换 不轉換
    """,
    ("2", "text", "1"): """
        lang language 语言 語言 langwithname rtl-lang lang-rtl script color colour color2 fontcolor 颜色 顏色 colored
        coloredtext resize font 字体 字體 fontfamily coloredlink href 字號 字号 foreignlanguage
    """,
    ("3", "2"): "transl transliteration 转写 轉寫 xlit",
    ("3", "d", "1"): """
        le lj lk ld ly lf lr li les lpt link-jp link-cn link-zh-yue ilh internallinkhelper 内部链接助手 內部連結助手 wtl
        internallinkhelper1 internallink
    """,
    ("4", "3", "2"): "tsl translink 翻译链接 翻譯連結",
    ("lt", "display", "1"): """
        illm ill interlanguagelinkmulti interlanguagelink ill-wd interlanguagelinkforced illwd link-wd link-wikidata
    """,
    ("zh_title", "zh"): "link-interwiki linkinterwiki interwikilink",
    ("l", "label", "2", "1"): "q qid wikidatalink dlink wdlink",
    ("2", "1"): "sort link 連結 链接 linkto",
    ("s", "t", "c", "hans", "hant", "1", "2"): "zh chinese lang-zh lang-cmn",
    ("1", "hangul", "hanja"): "korean ko-hhrm koreanname vie vi-nom vietnamese",
    ("lines", "quote", "1"): "lyrics",
}
TEXT: dict[str, Handler] = {key: first_of(*names) for names, keys in _BY_ARGUMENT.items() for key in keys.split()}

_BY_FUNCTION: dict[Handler, str] = {
    convert: "convert cvt",
    value: "val value",
    lambda arguments: grouped(first_of("1")(arguments)): "formatnum formatnumber commas decimals",
    fraction: "frac fraction sfrac 分數 分数 tfrac dfrac",
    power_of_ten: "e esp scinote",
    birth_and_death: "bd 生卒 生卒年 生死",
    date: """
        date startdate enddate birthdate birth-date birthdateandage birth-dateandage bda deathdate deathdateandage dda
        deathyearandage birthyearandage birthyear startdateandage filmdate dts dts2 releasedate ymd 日期 出生日期
        出生日期和年龄 出生日期及年齡 出生日期及年龄 逝世日期 逝世日期和年龄 逝世日期及年齡 datetime startandenddates
        發行日期
    """,
    span: "reign floruit 在位",
    _with_language: "langx lang-x",
    _with_brackets: "nihongo nihongo3 日本語 jname",
    _quotation: """
        quote quotation cquote blockquote bq centeredquote pullquote quotebox bquote longquote epigraph 引用 引文 引言 語錄
        语录 cquote2 cquote3 quotation2 引文框 古文引用
    """,
    first_of("2", "text", "quote"): "rquote rightquote",
    _country: "flag flagcountry flagu flag2 flag+link fb fbu fb-country country 国旗 國旗 国家 國家 flagathlete",
    _variants: "lan cvariants 地区用词 地區用詞 地區用詞轉換",
    _columns: "columns column multicol",
    _longest: """
        columns-list columnslist columnlist divcol 分栏 分欄 hidden collapse 折叠 折疊 collapsible show hide indent block
        wrap boxed textbox 框
    """,
    _joined("、"): "hlist flatlist cslist commalist 横向列表 橫向列表 enum 列舉 列举",
    _joined("\n*", first="\n*"): "ubl ublist unbulletedlist bulletedlist bulletlist orderedlist olist numberedlist",
    _joined(""): "chem simplechem linktext lktext gaps concat 化学式 化學式",
    _wrapped("约"): "circa c. ca 約",
    _wrapped("√"): "sqrt radical radic",
    _wrapped("|", "|"): "abs",
    _wrapped("“", "”"): '" doublequote',
    _wrapped("¥"): "cny rmb",
    _wrapped("US$"): "us$ usd",
    _wrapped("NT$"): "nt$ ntd twd",
    _wrapped("HK$"): "hk$ hkd",
    _wrapped("JP¥"): "jpy",
    _wrapped("€"): "eur euro €",
    _wrapped("£"): "gbp pound £",
}
TEXT |= {key: handler for handler, keys in _BY_FUNCTION.items() for key in keys.split()}

CONSTANTS = {
    "!": "|",
    "=": "=",
    "(": "{",
    ")": "}",
    "((": "{",
    "))": "}",
    "'": "’",
    "·": "·",
    "•": "·",
    "dot": "·",
    "bullet": "·",
    "middot": "·",
    "nbsp": " ",
    "space": " ",
    "spaces": " ",
    "pad": " ",
    "ndash": "–",
    "dash": "–",
    "en-dash": "–",
    "endash": "–",
    "mdash": "—",
    "emdash": "—",
    "spacedndash": " – ",
    "spacedendash": " – ",
    "snd": " – ",
    "spnd": " – ",
    "破折号": "——",
    "破折號": "——",
    "minus": "−",
    "times": "×",
    "pi": "π",
    "half": "1/2",
    "br": BREAK,
    "break": BREAK,
    "crlf": BREAK,
    "°c": "°C",
    "°f": "°F",
    "celsius": "°C",
    "male": "♂",
    "female": "♀",
    "...": "……",
    "省略号": "……",
    "okina": "ʻ",
    "sharp": "♯",
    "flat": "♭",
    "registered": "®",
    "trademark": "™",
    "copyright": "©",
}
