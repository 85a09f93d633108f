"""Templates give the argument with their text; all others are dropped, and the loss is counted."""

import tracemalloc
from dataclasses import replace

import pytest

from pipeline.wiki.markup.findings import Findings, without_holes
from pipeline.wiki.markup.formulas import plain
from pipeline.wiki.markup.languages import language_name
from pipeline.wiki.rendering import Rendered, render
from pipeline.wiki.templates.countries import COUNTRIES
from pipeline.wiki.templates.expansion import Templates, template_name
from pipeline.wiki.templates.expressions import evaluate
from pipeline.wiki.templates.functions import find_function
from pipeline.wiki.templates.quantities import grouped
from pipeline.wiki.templates.quiet_templates import is_disambiguation, is_quiet
from pipeline.wiki.templates.text_templates import CONSTANTS, TEXT


def rendered(text: str, **redirects: str) -> Rendered:
    page = render(text, title="柏林", list_items=True, redirects=redirects)
    return replace(page, text=without_holes(page.text))


def test_the_sentence_that_others_tear_apart() -> None:
    """corpora of other tools have `经济学（，源於古希臘語）是一門...與、研究了...面積，人口約。` here."""
    page = rendered(
        "'''经济学'''（{{lang-en|Economics}}，源於古希臘語{{lang|grc|οἰκονομία}}）是一門-{zh-hans:社会科学;zh-hant:社會科學}-。"
        "{{le|沃尔特·坎农|Walter Cannon}}與{{link-en|羅斯·艾什比|Ross Ashby}}、{{tsl|en|Homeostasis|穩態}}研究了"
        "-{zh-cn:计算机; zh-tw:電腦}-程序。-{H|..}--{T|..}-亞歷山大·-{A|zh-hans:大仲马;zh-hant:大仲馬}-寫了-{三個火槍手}-，"
        "面積{{convert|468|km2|sqmi}}，人口約{{formatnum:77006}}"
    )
    assert page.text == (
        "经济学（英语：Economics，源於古希臘語οἰκονομία）是一門-{zh-hans:社会科学;zh-hant:社會科學}-。"
        "沃尔特·坎农與羅斯·艾什比、穩態研究了"
        "-{zh-cn:计算机; zh-tw:電腦}-程序。-{H|..}--{T|..}-亞歷山大·-{A|zh-hans:大仲马;zh-hant:大仲馬}-寫了-{三個火槍手}-，"
        "面積468平方公里，人口約77,006"
    )
    assert page.kept == {"lang-en": 1, "lang": 1, "le": 1, "link-en": 1, "tsl": 1, "convert": 1}
    assert page.lost == {}


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        # Languages: the second argument, by its number too; a label where the template shows one.
        ("{{lang|de|Berlin}}", "Berlin"),
        ("{{Lang | de | 2 = Berlin }}", "Berlin"),
        ("{{lang|de|[[Ich bin ein Berliner]]}}", "Ich bin ein Berliner"),
        ("{{lang-de|Berlin}}", "德语：Berlin"),
        ("{{lang-en-gb|colour}}", "英语：colour"),
        ("{{lang-qqq|x}}", "x"),
        ("{{langx|la|Roma}}", "拉丁语：Roma"),
        ("{{transl|ja|Hepburn|Tōkyō}}和{{transl|ru|Moskva}}", "Tōkyō和Moskva"),
        ("{{nihongo|东京塔|東京タワー|Tōkyō tawā}}", "东京塔（-{R|東京}-タワー，Tōkyō tawā）"),
        ("{{nihongo|东京塔}}", "东京塔"),
        ("{{zh|s=汉语|t=漢語|p=Hànyǔ}}", "汉语"),
        ("{{ruby|東京|とうきょう}}", "東京"),
        ("{{lan|zh-cn=软件|zh-tw=軟體}}", "-{zh-cn:软件;zh-tw:軟體}-"),
        # Links into other Wikipedias: what to show, or the local name.
        ("{{le|沃尔特·坎农|Walter Cannon}}", "沃尔特·坎农"),
        ("{{le|沃尔特·坎农|Walter Cannon|坎农}}", "坎农"),
        ("{{link-ja|甲|乙|d=丙}}", "丙"),
        ("{{ja-link|甲|乙}}", "甲"),
        ("{{ilh/fr|甲|乙}}", "甲"),
        ("{{Internal link helper/en|甲|乙}}", "甲"),
        ("{{tsl|en|Homeostasis|穩態}}", "穩態"),
        ("{{tsl|en|Homeostasis|穩態|恆定性}}", "恆定性"),
        ("{{illm|穩態|en|Homeostasis}}", "穩態"),
        ("{{link-interwiki|zh=甲|zh_title=乙|lang=en|lang_title=A}}", "乙"),
        # Measures, numbers, dates.
        ("{{convert|468|km2|sqmi|abbr=on}}", "468平方公里"),
        ("{{convert|5|ft|10|in|m}}", "5英尺10英寸"),
        ("{{convert|10|-|20|C|F}}", "10–20摄氏度"),
        ("{{convert|3|x|4|m}}", "3×4米"),
        ("{{convert|12000|ft|0}}", "12,000英尺"),
        ("{{convert|5|furlongs}}", "5弗隆"),
        ("{{convert|7|parsec per fortnight}}", "7 parsec per fortnight"),
        ("{{convert}}", ""),
        ("{{val|1.5|0.2|e=6|u=kg}}", "1.5±0.2×10^6 kg"),
        ("{{val|12345|3|1}}", "12,345+3-1"),
        ("{{frac|1|2}}、{{frac|3|1|2}}、{{frac|4}}", "1/2、3 1/2、1/4"),
        ("5{{e|6}}", "5×10^6"),
        ("{{gaps|12|345|u}}", "12345u"),
        ("{{chem|H|2|O}}", "H2O"),
        ("{{bd|1879年|3月14日|1955年|4月18日|catIdx=A}}", "1879年3月14日－1955年4月18日"),
        ("{{bd|1979年|10月1日}}", "1979年10月1日－"),
        ("{{bd|?||1955年|4月18日}}、{{bd|?|？|1955年}}", "？－1955年4月18日、？－1955年"),
        ("{{bd|1879年|?|?|}}、{{bd||||}}甲", "1879年－？、甲"),
        ("{{birth date and age|1990|10|03}}", "1990年10月3日"),
        ("{{start date|1990|10}}", "1990年10月"),
        ("{{death date|1990年5月}}", "1990年5月"),
        ("{{as of|2019}}、{{As of|2019|5|1}}", "截至2019年、截至2019年5月1日"),
        ("{{截至|2020|5|alt=到2020年5月}}、{{as of|2019|since=y}}、{{as of|2019|bare=y}}", "到2020年5月、自2019年、2019年"),
        # What marks a sentence keeps it; times and reasons are no text.
        ("{{Fact|人口翻了一倍。|time=2013-08-10T21:50:38+00:00}}甲", "人口翻了一倍。甲"),
        (
            "据说{{来源请求|他没有离开}}，{{谁|有人}}{{when|近来}}认为{{dubious|这里是省会}}",
            "据说他没有离开，有人近来认为这里是省会",
        ),
        ("甲{{fact}}{{cn|2013-08-10T21:50:38+00:00}}{{clarify|date=2020年1月|reason=为何}}", "甲"),
        ("{{cn|{{lang|de|Berlin}}是[[首都]]}}", "Berlin是首都"),
        # Readings, languages: the text and never the code; its characters are not converted.
        ("{{lang|ja|{{ruby-ja|図書館|としょかん}}}}", "-{R|図書館}-"),
        ("{{lang-ja|図書館|としょかん}}", "日语：-{R|図書館}-"),
        ("{{lang|zh-hant|圖書館}}{{lang|yue|係}}", "圖書館係"),
        ("[[{{lang|ja|図書館}}]]、[[圖書館|{{lang|ja|''図書館''}}]]", "-{R|図書館}-、-{R|図書館}-"),
        ("{{lang|ja|}}{{color|red|}}{{sort|005|{{flagicon|JPN}}}}甲", "甲"),
        ("{{color|red|红}}{{color|红}}{{sort|key}}", "红红key"),
        ("{{noconvert|鍾}}", "-{R|鍾}-"),
        ("{{USS|Arizona|BB-39|6}}、{{HMS|Hood|51}}、{{SMS|Emden|2=1906|3=1}}", "Arizona（BB-39）、HMS Hood（51）、SMS Emden"),
        ("{{stl|TRA|青石}}", "青石"),
        # Style and quotations.
        ("{{nowrap|柏林{{small|（首都）}}}}", "柏林（首都）"),
        ("{{color|red|红}}{{abbr|HTML|超文本}}", "红HTML"),
        ("曰：{{quote|学而时习之|孔子}}然", "曰：\n学而时习之\n然"),
        ("{{cquote\n|1=学而=习\n}}", "学而=习"),
        ("{{hlist|甲|乙}}", "甲、乙"),
        ("{{ubl|甲|乙}}", "甲\n乙"),
        ("{{columns-list|colwidth=20em|\n* 甲\n* 乙\n}}", "甲\n乙"),
        ("{{JPN}}和{{flag|CHN}}、{{flag|欧洲联盟}}", "日本和中国、欧洲联盟"),
        ("约{{circa|1500年}}", "约约1500年"),
        ("甲{{·}}乙{{snd}}丙{{=}}丁", "甲·乙 – 丙=丁"),
        ("{{lang|en|<span class=a>a</span>}}", "a"),
        # Templates without prose.
        ("甲{{citation needed|date=2020年1月}}{{sfn|Li|2000}}{{IPA-de|bɛʁˈliːn||de.ogg}}{{flagicon|GER}}", "甲"),
        ("{{main|柏林歷史}}{{clear}}{{reflist|2}}甲", "甲"),
    ],
)
def test_text_of_templates(wikitext: str, text: str) -> None:
    assert rendered(wikitext).text == text


@pytest.mark.parametrize(
    "name", ["lang", "Lang", " LANG ", "lang\n", "Template:Lang", "模板:lang", "template: lang", "T:lang", "subst:lang"]
)
def test_a_name_is_matched_however_it_is_written(name: str) -> None:
    assert rendered("{{" + name + "|de|Berlin}}").text == "Berlin"


def test_names_as_titles_have_them() -> None:
    assert template_name("模板:lang_ en\n") == "Lang en"
    assert template_name(" start  date ") == "Start date"


def test_redirects_of_the_dump_are_followed() -> None:
    assert rendered("{{甲乙|en|Text}}", 甲乙="Lang").text == "Text"
    assert rendered("{{甲 乙|本地|Foreign}}", **{"甲 乙": "Internal link helper/en"}).text == "本地"
    assert rendered("{{甲|1=乙}}", 甲="NoteTA").note_ta == [{"1": "乙"}]
    assert rendered("{{甲}}", 甲="Disambig").disambiguation
    assert rendered("{{甲|乙}}", 甲="Reflist").lost == {}
    assert rendered("{{lang|de|Berlin}}", Lang="Reflist").text == "Berlin", "a name that is known needs no redirect"


def test_what_unknown_templates_held_is_counted_by_name() -> None:
    page = rendered(
        "{{Infobox city\n| name = 柏林\n| web = http://berlin.de\n| state = [[柏林邦|邦]]}}{{柏林区份}}{{infobox_city|甲}}"
    )
    assert page.text == ""
    assert page.lost == {"Infobox city": len("柏林邦甲"), "柏林区份": 0}


def test_text_inside_a_dropped_template_is_counted_once() -> None:
    assert rendered("{{外|{{内|甲乙}}丙}}").lost == {"内": 2, "外": 1}


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        (
            "{{formatnum:77006}}、{{formatnum:-1234567.5}}、{{formatnum:1,234|R}}、{{formatnum:abc}}",
            "77,006、-1,234,567.5、1234、abc",
        ),
        ("{{PAGENAME}}", "柏林"),
        ("{{formatnum:{{#expr:1200*3+1}}}}，{{#expr: (1 + 2) / 4 round 1}}，{{#ifexpr:2>1 and not 0|大|小}}", "3,601，0.8，大"),
        ("{{#if: x |有|无}}{{#if: |有|无}}", "有无"),
        ("{{#ifeq:1|1.0|同|异}}{{#ifeq:a|b|同|异}}", "同异"),
        ("{{#switch:b|a|b=甲|c=乙|丙}}{{#switch:z|a=甲|#default=乙}}{{#switch:z|a=甲|丙}}", "甲乙丙"),
        ("{{#switch:z|a=甲}}乙", "乙"),
        ("{{lc:ABC}}{{uc:abc}}{{ucfirst:xy}}{{lcfirst:XY}}", "abcABCXyxY"),
        ("{{padleft:7|3}}{{padright:7|3|ab}}", "0077ab"),
        ("{{#tag:ref|脚注}}甲{{#time:Y}}{{#invoke:String|len|x}}{{CURRENTYEAR}}{{DEFAULTSORT:Berlin}}", "甲"),
        ("{{#language:de}}", "德语"),
        ("{{{1|默认}}}{{{2}}}", "默认"),
        ("{{nobr|{{PAGENAME}}}}", "柏林"),
    ],
)
def test_parser_functions_and_magic_words(wikitext: str, text: str) -> None:
    assert rendered(wikitext).text == text


def test_a_template_is_no_function() -> None:
    assert find_function("lang", "柏林") is None
    assert find_function("Template:Lang", "柏林") is None


def test_a_number_of_many_digits_stops_nothing() -> None:
    digits = "9" * 10_000
    assert rendered("{{padleft:甲|" + digits + "}}").text == "甲"
    assert grouped(digits) == digits
    assert rendered("{{#ifeq:" + digits + "|1|同|异}}").text == "异"


def test_a_long_padding_takes_no_memory() -> None:
    left, right = find_function("padleft:甲", "柏林"), find_function("padright:甲", "柏林")
    assert left and right
    tracemalloc.start()
    assert left(["99", "乙丙" * 500_000]) == "乙丙" * 49 + "甲"
    assert right(["3", "乙丙" * 500_000]) == "甲乙丙"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ("x", "x"),
        ("n + 1", "n + 1"),
        (r"x_{1}^2", "x_1^2"),
        (r"\alpha\times\beta", "α×β"),
        (r"\mathrm{d}x", "dx"),
        (r"\{1, 2\}", "(1, 2)"),
        (r"\frac{1}{2}", "1/2"),
        (r"\frac{1}{2}mv^2 = \tfrac{a+b}{c_1}", "1/2 mv^2 = (a+b)/c_1"),
        (r"2\frac12", "2 1/2"),
        (r"\sqrt 2 + \sqrt[3]{x+1}", "√2 + ³√(x+1)"),
        (r"\frac{\sqrt{3}}{2}", "√3/2"),
        (r"e^{-kt} + x^{n+1} + 10^{-3}", "e^(-kt) + x^(n+1) + 10^-3"),
        (r"90^\circ, f^\prime(x), {}^{14}\mathrm{C}", "90°, f′(x), ^14C"),
        (r"\left(\vec{F}\right), \operatorname{sgn}(x)", "(F), sgn(x)"),
        (r"\binom{n}{k}", "C(n, k)"),
        (r"P(A \mid B)", "P(A | B)"),
        (r"\sum_{i=1}^n x_i", ""),
        (r"\frac{a}", ""),
        (r"\bar{x}", ""),
        ("{" * 150, ""),
        ("^" * 200, ""),
        (r"\sqrt" * 40, ""),
        (r"\begin{matrix}a & b\end{matrix}", ""),
        ("x" * 300, ""),
        (r"\sqrt{2}", "√2"),
    ],
)
def test_formulas_that_a_line_can_say(formula: str, text: str) -> None:
    assert plain(formula) == text


@pytest.mark.parametrize("key", ["disambig", "消歧義", "人名消歧义", "hndis", "地名消歧義"])
def test_templates_of_disambiguation_pages(key: str) -> None:
    assert is_disambiguation(key)
    assert Templates(title="", redirects={}, findings=Findings.of("")).expand(key, []) == ""


def test_the_tables_do_not_contradict_each_other() -> None:
    known = [key for key in {*TEXT, *CONSTANTS} if is_quiet(key) or is_disambiguation(key)]
    assert known == []
    assert not set(TEXT) & set(CONSTANTS)
    assert all(key == key.lower() and " " not in key for key in {*TEXT, *CONSTANTS})
    assert all(code.isupper() and code.isalpha() for code in COUNTRIES)


def test_names_of_languages() -> None:
    assert (language_name("de"), language_name("EN-gb"), language_name("qqq")) == ("德语", "英语", "")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("", ""),
        ("1 + 2 * 3", "7"),
        ("-2^2", "4"),
        ("2e3", "2000"),
        ("1/3", "0.33333333333333"),
        ("10 / 4 round 0", "3"),
        ("-2.5 round 0", "-3"),
        ("7 mod 4 = 3", "1"),
        ("1 <> 1 or 0", "0"),
        ("floor(3.7) + ceil 1.2 + abs(-1) + trunc -1.5", "5"),
        ("sqrt 2 * sqrt 2 round 5", "2"),
        ("sin 0 + cos pi", "-1"),
        ("1e20", "1.0E+20"),
        ("1/0", None),
        ("1 +", None),
        ("(1", None),
        ("1 2", None),
        ("9^9999", None),
        ("1e999", None),
        ("import os", None),
        ("nan", None),
        ("(" * 200 + "1" + ")" * 200, None),
    ],
)
def test_expressions(expression: str, value: str | None) -> None:
    assert evaluate(expression) == value


def test_what_templates_without_prose_held_is_counted_by_kind() -> None:
    page = rendered("甲{{sfn|Li|2000}}{{main|歷史}}{{update after|2015|3}}{{IPA|abc}}{{coord|1|2}}{{official|http://x.org}}")
    assert page.dropped == {"ref": 6, "hatnote": 2, "maintenance": 5, "pronunciation": 3, "coordinates": 2, "sister": 0}
    assert rendered("甲{{sfn|-{A|zh-cn:乙;zh-tw:丙}-}}").text == "甲-{H|zh-cn:乙;zh-tw:丙}-"
