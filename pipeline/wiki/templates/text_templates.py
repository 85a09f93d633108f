"""Templates that carry text: which argument it is in, or how it is made. Keys are lower case, without spaces (`startdate`).

    TEXT["lang"]({"1": "de", "2": "Berlin"})                       "Berlin"
    TEXT["tsl"]({"1": "en", "2": "Homeostasis", "3": "穩態"})      "穩態"
    TEXT["fact"]({"1": "人口翻了一倍", "time": "2020-01-01"})      "人口翻了一倍"
    TEXT["nihongo"]({"1": "东京塔", "2": "東京タワー"})            "东京塔（-{R|東京}-タワー）"
    CONSTANTS["spacedndash"]                                       " – "

The argument order of templates that link to other Wikipedias is that of zhwiki's Category:内部链接助手模板. {{link-xx}},
{{xx-link}}, {{ilh/xx}} and {{lang-xx}} follow a pattern and are handled in expansion.py.
"""

import re
from collections.abc import Callable

from pipeline.wiki.markup.languages import language_name, protected
from pipeline.wiki.markup.opaque import BREAK
from pipeline.wiki.templates.countries import COUNTRIES
from pipeline.wiki.templates.dates import as_of, birth_and_death, date, span
from pipeline.wiki.templates.quantities import convert, fraction, grouped, power_of_ten, value

Arguments = dict[str, str]
Handler = Callable[[Arguments], str]

_TIME = re.compile(r"\d{4}-\d\d(?:-\d\d|$)|(?:date|time|日期|时间|時間)\s*$")


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
    given = {name: arguments.get(name, "").strip() for name in ("2", "3", "4")}
    inside = "，".join(text for text in (protected("ja", given.pop("2")), *given.values()) if text)
    before = arguments.get("1", "").strip()
    return f"{before}（{inside}）" if inside and before else before or inside


def _in_language(arguments: Arguments) -> str:
    """{{lang|ja|図書館}}: the text, whose characters are not converted; never the code."""
    return protected(arguments.get("1", ""), first_of("2", "text")(arguments))


def _as_written(arguments: Arguments) -> str:
    """{{ruby-ja|図書館|としょかん}}, {{noconvert|甲}}: the text without its reading, not converted."""
    return protected("", first_of("1", "text")(arguments))


def _styled(arguments: Arguments) -> str:
    """{{color|red|红}}, {{resize|红}}: the second argument if there is one, even if nothing is left of it."""
    return first_of("2", "text")(arguments) if "2" in arguments or "text" in arguments else first_of("1")(arguments)


def _marked(arguments: Arguments) -> str:
    """{{fact|文字|time=...}}: what the template marks; a time without its name is no text."""
    text = first_of("1", "text", "content", "內容", "内容")(arguments)
    return "" if _TIME.match(text) else text


def _ship(arguments: Arguments) -> str:
    """{{USS|Arizona|BB-39}}: Arizona（BB-39）; a third argument 1 or 2 hides the number, 3 the name."""
    name, number, hidden = (arguments.get(place, "").strip() for place in ("1", "2", "3"))
    return number if hidden == "3" else name if hidden in ("1", "2") or not number else f"{name}（{number}）"


def _ship_of(prefix: str) -> Handler:
    """Return a handler that puts the prefix of a navy before the name, unless the third argument hides it."""

    def shown(arguments: Arguments) -> str:
        text = _ship(arguments)
        return f"{prefix} {text}" if text and arguments.get("3", "").strip() not in ("2", "3", "6") else text

    return shown


def _with_language(arguments: Arguments) -> str:
    """{{langx|de|Berlin}}: 德语：Berlin."""
    label, text = language_name(arguments.get("1", "")), _in_language(arguments)
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
        nolist visibleanchor vanchor va linkedtext abbr tooltip 缩写 縮寫 h:title htitle hover 提示文字 ruby ruby-zh ruby-zh-p
        ruby-zh-b ruby-py noruby zy zhuyin bopomofo 注音 僻字 缺字 罕用字 pua cjk-new-char 楷体 楷體 标楷体 標楷體 宋体 宋體
        kai kaiti serif sans-serif script/hebrew script/arabic hebrew zh-hans zh-hant simp trad 简 繁 simplechinese
        tradchinese lang-zh-short zhi classical 古文 文言 文言文 originaltext 原文 nts num number fontsize noprint screenonly
        nopara allcaps smallcaps sc smcap caps overline ol underoverline dotunderline 着重号 著重號 emphasis 下划线 專名號
        专名号 书名号 書名號 波浪線 私名號 propername chem2 ce trim trimquotes delink ifempty if_empty translation 翻译 翻譯
        bssrws bsrws
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
    ("3", "2", "1"): "stl stn stnlnk sta station 车站 車站",
    ("s", "t", "c", "hans", "hant", "1", "2"): "zh chinese lang-zh lang-cmn",
    ("1", "hangul", "k", "v", "hanja"): "korean kor ko-hhrm koreanname vie vi-nom vietnamese",
    ("lines", "quote", "1"): "lyrics",
}
TEXT: dict[str, Handler] = {key: first_of(*names) for names, keys in _BY_ARGUMENT.items() for key in keys.split()}

_BY_FUNCTION: dict[Handler, str] = {
    _marked: """
        citationneeded cn fact facts fact2 needcitation 来源请求 來源請求 請求來源 请求来源 需要引用 引用需求 引文請求
        who whom which what when where why how 谁 誰 何人 何时 何時 何地 哪個 哪个 哪里 哪裡 为何 為何 如何 什么 什麼 clarify
        clarification clarifyme clarificationneeded 需要解释 需要解釋 vague specify definition failedverification notincitation
        verify verifysource verificationneeded 需要核实 需要核實 查證請求 better bettersource bettersourceneeded betterscience
        nonprimary primarysource primarysourceinline originalresearchinline originalresearch? or synth synthesisinline
        dubious 可疑 存疑 disputed-inline disputedinline pov-statement povstatement pov-inline povinline peacockterm
        peacockinline weaselinline weasel-inline byws bywho bywhom attributionneeded accordingtowhom 據誰 据谁 lopsided
        needquotation quotationneeded updateinline relevance relevanceinline importanceinline undueinline
        undueweightinline speculationinline inconsistent contradictinline contradict-inline examplesneeded
    """,
    as_of: "asof 截至 截止",
    _in_language: "lang language 语言 語言 langwithname rtl-lang lang-rtl foreignlanguage wikt-lang wtlang",
    _styled: """
        script color colour color2 fontcolor 颜色 顏色 colored coloredtext resize font 字体 字體 fontfamily coloredlink href
        字號 字号 sort link 連結 链接 linkto
    """,
    _as_written: "jpn-lang nihongo2 nihongokrt kanji kana korean2 hangul hanja rubyja ruby-ja ruby-ko noconvert 不转换 不轉換",
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
    lambda arguments: protected("ja", first_of("j", "1", "k", "hg", "h")(arguments)): "jpn",
    _joined(""): "chem simplechem linktext lktext gaps concat subsup 化学式 化學式",
    _wrapped("⟨", "⟩"): "angbr anglebracket",
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
TEXT |= {prefix.lower(): _ship_of(prefix) for prefix in ("USS", "HMS", "HMAS", "HMCS", "SMS", "USNS", "USCGC", "RMS")}

COMPUTED = frozenset(key for handler in (convert, value) for key in _BY_FUNCTION[handler].split())
"""Templates that show a number even where we cannot say which."""

CONSTANTS = {
    "!": "|",
    "=": "=",
    "(": "{",
    ")": "}",
    "((": "{",
    "))": "}",
    "'": "’",
    "0": "",
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
    "pb": BREAK,
    "paragraphbreak": BREAK,
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
