"""LanguageConverter for Chinese: every form of -{ }-, NoteTA, OpenCC, and MediaWiki's own tests."""

import json
import lzma
import re
from collections import Counter
from pathlib import Path

import opencc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.wiki.conversion import rules
from pipeline.wiki.conversion.characters import traditional
from pipeline.wiki.conversion.converter import Converter, to_variant
from pipeline.wiki.conversion.phrases import Phrases, split
from pipeline.wiki.rendering import render
from tests.mediawiki_cases import FOLDER, Case, cases, needs_parser_tests, visible

DATA = Path(__file__).parents[2] / "shared" / "data"
SNIPPETS = DATA / "corpora" / "wiki" / "real_wikitext_snippets.jsonl"
OPENCC_CASES = DATA / "oracle" / "opencc" / "testcases.json"
NEWS = DATA / "corpora" / "news" / "xinwenlianbo.jsonl.xz"


def converted(text: str, variant: str = "zh-cn", title: str = "", **note_ta: str) -> str:
    return Converter(variant, {}).convert(text, title=title, note_ta=[note_ta] if note_ta else []).text


@pytest.mark.parametrize(
    ("variant", "text", "expected"),
    [
        # two ways, and the chain of fallback variants
        ("zh-cn", "買-{zh-cn:计算机;zh-tw:電腦}-的人", "买计算机的人"),
        ("zh-tw", "买-{zh-cn:计算机;zh-tw:電腦}-的人", "買電腦的人"),
        ("zh-cn", "-{zh-hans:甲;zh-sg:乙;zh-my:丙;zh-tw:丁}-", "甲"),
        ("zh-sg", "-{zh-hans:甲;zh-my:丙}-", "丙"),
        ("zh-hk", "-{zh-hant:甲;zh-mo:乙;zh-tw:丙}-", "乙"),
        ("zh-hk", "-{zh-hant:甲;zh-tw:丙}-", "甲"),
        ("zh-hant", "-{zh-hk:甲;zh-tw:乙}-", "乙"),
        ("zh-tw", "-{zh-Hans-CN:China; zh-Hant-TW:Taiwan}-", "Taiwan"),
        # one way, which comes after both ways; and nothing for the reader: the writer's first text, converted
        ("zh-tw", "-{電腦=>zh-tw:甲;电脑=>zh-cn:乙}-", "甲"),
        ("zh-cn", "-{x=>zh-cn:甲;zh-hans:乙}-", "乙"),
        ("zh-cn", "-{zh-tw:電腦}-", "电脑"),
        ("zh-cn", "-{x=>zh-tw:電腦}-", "电脑"),
        # texts with semicolons, entities and colons; space around; the last semicolon; an empty value
        ("zh-cn", '-{zh-hans:<b style="a:1;b:2;">x;y</b>;zh-hant:z}-', '<b style="a:1;b:2;">x;y</b>'),
        ("zh-cn", "-{zh-cn:A&nbsp;zh-tw:B;zh-tw:C}-", "A&nbsp;zh-tw:B"),
        ("zh-cn", "-{ zh-cn : 甲 ;\n zh-tw : 乙 ; }-", "甲"),
        ("zh-cn", "-{zh-cn:; zh-hans:甲}-", "甲"),
        ("zh-cn", "-{zh-cn:甲=&gt;乙;zh-tw:丙}-", "甲=>乙"),
        # no rule at all: raw; an unknown variant voids all rules; a part without a colon is ignored
        ("zh-cn", "-{三個火槍手}-", "三個火槍手"),
        ("zh-cn", "-{zh-cn:甲;zh-xx:乙}-", "甲;zh-xx:乙"),
        ("zh-cn", "-{zh-xx:甲;zh-cn:乙}-", "zh-xx:甲;zh-cn:乙"),
        ("zh-cn", "-{12:30}-", "12:30"),
        ("zh-cn", "-{=>zh-cn:甲}-", "=>zh-cn:甲"),
        ("zh-cn", "-{zh-cn:约翰; zh-tw:約翰; ;}-", "约翰"),
        # flags; what is before the bar goes even if it is no flag
        ("zh-cn", "-{R|zh-cn:甲;zh-tw:乙}-", "zh-cn:甲;zh-tw:乙"),
        ("zh-cn", "-{R|=&gt;}-", "=&gt;"),
        ("zh-cn", "-{S|zh-cn:甲;zh-tw:乙}-", "甲"),
        ("zh-cn", "-{|zh-cn:甲;zh-tw:乙}-", "甲"),
        ("zh-cn", "-{xyz|電腦}-", "電腦"),
        ("zh-cn", "-{N|zh-tw}-", "台灣"),
        ("zh-cn", "-{D|zh-cn:甲;x=>zh-tw:乙}-", "大陆：甲；x⇒台灣：乙；"),
        ("zh-cn", "-{D;H|zh-cn:甲;zh-tw:乙}-乙", "大陆：甲；台灣：乙；甲"),
        ("zh-cn", "-{A;D|zh-cn:甲;zh-tw:乙}-乙", "甲"),
        ("zh-cn", "-{A;R|zh-cn:甲}-", "zh-cn:甲"),
        # variant flags
        ("zh-cn", "-{zh-hans|電腦}-與-{zh-hant|電腦}-", "电脑与電腦"),
        ("zh-tw", "-{zh-hans|电脑}-与-{zh-tw;zh-hk|电脑}-", "电脑與電腦"),
        # inner rules first, at most ten deep
        ("zh-hk", "-{zh-hans:Hi -{zh-cn:China}-;zh-hant:Hello -{zh-tw:Taiwan;zh-hk:H-{ong}- K-{}-ong}-}-!", "Hello Hong Kong!"),
        ("zh-cn", "-{" * 11 + "x" + "}-" * 11, "-{x}-"),
        # separated words, unclosed and unopened marks
        ("zh-cn", "電腦-{}-程式", "电脑程式"),
        ("zh-cn", "-{T|電腦", "-{T|电脑"),
        ("zh-cn", "電腦}-與-{zh-cn:甲", "电脑}-与-{zh-cn:甲"),
        ("zh-cn", "-{甲-{zh-cn:乙}-電腦", "-{甲乙电脑"),
        ("zh-cn", "-{-}-", "-"),
    ],
)
def test_forms(variant: str, text: str, expected: str) -> None:
    assert converted(text, variant) == expected


def test_added_rules_hold_from_their_place_on() -> None:
    rule = "zh-cn:计算机;zh-tw:電腦"
    assert converted(f"電腦，-{{{rule}}}-，電腦。-{{A|{rule}}}-，電腦。") == "电脑，计算机，电脑。计算机，计算机。"
    assert converted(f"-{{H|{rule}}}-電腦工程，-{{-|{rule}}}-電腦工程") == "计算机工程，电脑工程"
    assert converted(f"-{{H|{rule}}}-计算机", "zh-tw") == "電腦"
    assert converted(f"-{{-|{rule}}}-電腦-{{H|{rule}}}-電腦") == "电脑计算机"


def test_a_word_of_the_page_stays_as_it_is() -> None:
    assert converted("-{H|種}-種類與種子") == "種类与種子"
    assert converted("-{H|zh-cn:乾坤袋}-乾坤袋", "zh-tw") == "乾坤袋"


def test_one_way_rules_leave_the_other_way_alone() -> None:
    text = "-{H|巨集=>zh-cn:宏}-巨集與宏"
    assert converted(text) == "宏与宏"
    assert converted(text, "zh-tw") == "巨集與宏"


def test_hans_and_hant_take_one_way_rules_alone() -> None:
    """As MediaWiki's ZhConverter: their manual level is `unidirectional`."""
    assert converted("-{H|zh-hans:甲;zh-hant:乙}-乙", "zh-hans") == "乙"
    assert converted("-{H|乙=>zh-hans:甲}-乙", "zh-hans") == "甲"


def test_the_longest_phrase_wins_and_is_not_converted_again() -> None:
    text = "電腦程式語言"
    assert converted(f"-{{H|電腦=>zh-cn:計}}--{{H|電腦程式=>zh-cn:程序}}-{text}") == "程序语言"
    assert converted(f"-{{H|電腦程式=>zh-cn:程序}}--{{H|電腦=>zh-cn:計}}-{text}電腦") == "程序语言計"


def test_numbers_as_words() -> None:
    """MediaWiki's T48634."""
    text = "-{H|0=>zh-cn:B}--{H|0=>zh-cn:C;0=>zh-cn:D}--{H|0=>zh-hans:A}-012345-{A|zh-tw:0;zh-cn:E;}-012345"
    assert converted(text) == "D12345EE12345"


@pytest.mark.parametrize(
    ("variant", "text", "title"),
    [
        ("zh-cn", "-{T|zh-cn:大仲马;zh-tw:大仲馬}-", "大仲马"),
        ("zh-tw", "-{T|zh-cn:大仲马;zh-tw:大仲馬}-", "大仲馬"),
        ("zh-cn", "-{T|三個火槍手}-", "三個火槍手"),
        ("zh-cn", "-{H|zh-cn:打印机;zh-tw:電腦}-", "打印机"),
        ("zh-cn", "-{T|甲}-後來-{T|乙}-", "乙"),
        ("zh-cn", "", "电脑"),
        ("none", "-{T|zh-cn:甲;zh-tw:乙}-", "電腦"),
        ("none", "-{T|zh:丙;zh-tw:乙}-", "丙"),
    ],
)
def test_titles(variant: str, text: str, title: str) -> None:
    assert Converter(variant, {}).convert(text, title="電腦", note_ta=[]).title == title


def test_a_title_rule_alone_adds_nothing_to_the_text() -> None:
    assert converted("-{T|zh-cn:甲;zh-tw:乙}-乙") == "乙"
    assert converted("-{T;H|zh-cn:甲;zh-tw:乙}-乙") == "甲"
    assert converted("-{T;A|zh-cn:甲;zh-tw:乙}-乙") == "甲甲"


def test_note_ta_holds_for_all_of_the_page_and_the_title() -> None:
    groups = {"IT": [("zh-cn:软件;zh-tw:軟體", ""), ("zh-cn:程序;zh-tw:程式", "")], "C": [("zh-cn:程式码;zh-tw:程式", "")]}
    note_ta = {"G1": "IT", "G2": "NoSuch", "T": "zh-cn:标题;zh-tw:標題", "1": "zh-cn:计算机;zh-tw:電腦", "2": "種", "d1": "x"}
    page = Converter("zh-cn", groups).convert("電腦的軟體與-{zh-tw:程式}-，程式種", title="電腦", note_ta=[note_ta])
    assert page.text == "计算机的软件与程式，程序種"
    assert page.title == "标题"
    assert page.counts == {
        "groups": {"IT": 1},
        "missing_groups": {"NoSuch": 1},
        "note_ta": 3,
        "replaced": 4,
        "rules": 1,
        "unknown": 1,
    }
    both = [{"G2": "C", "G1": "IT"}]
    assert Converter("zh-cn", groups).convert("程式", note_ta=both).text == "程式码", "of the same word, the later group's"
    many = {name: [(f"zh-cn:{name}{n};zh-tw:程式{n}", "") for n in range(100, 200)] for name in ("乙", "甲")}
    assert Converter("zh-cn", many).convert("程式150", note_ta=[{"G1": "乙", "G2": "甲"}]).text == "甲150"
    own = [{"1": "zh-cn:编程;zh-tw:程式", "G2": "C"}]
    assert Converter("zh-cn", groups).convert("程式", note_ta=own).text == "编程", "the page's own rules win over groups"
    taken = Converter("zh-cn", groups).convert("程式-{-|程式}-程式", note_ta=[{"G1": "IT"}])
    assert taken.text == "程序程式", "rules of a group can be removed too"


def test_note_ta_with_a_stray_one_way_rule() -> None:
    """From a real page: a part without a word to convert from is ignored, the others apply."""
    assert converted("登上珠穆朗瑪峰", "zh-tw", **{"1": "zh:珠穆朗瑪峰;=>zh-cn:珠穆朗玛峰;zh-tw:聖母峰;"}) == "登上聖母峰"


def test_none_leaves_what_the_writer_wrote() -> None:
    rule = "-{zh-cn:计算机;zh-tw:電腦}-"
    assert converted(f"買{rule}的這個人說", "none") == "買電腦的這個人說"
    assert converted(f"买{rule}的这个人说", "none") == "买计算机的这个人说"
    assert converted("写-{zh-hk:着;zh-mo:著}-信", "none") == "写着信", "neither is simplified: the first"
    assert converted("這-{A|zh:甲;zh-cn:乙}-乙", "none") == "這甲乙", "no rule changes other text"


def test_conversion_does_not_see_across_a_rule() -> None:
    assert converted("皇后-{}-面") == opencc.OpenCC("t2s").convert("皇后") + "面"
    assert converted("干-{}-净", "zh-tw") != converted("干净", "zh-tw") == "乾淨"


def test_the_particle_comes_back_in_simplified_text() -> None:
    text = "他沿著河走，看著顯著的變化與著名學者編著的書，王力著《漢語史》"
    assert to_variant(text, "zh-cn") == "他沿着河走，看着显著的变化与著名学者编著的书，王力著《汉语史》"
    assert to_variant("李白著\n沿著這條路", "zh-cn") == "李白著\n沿着这条路", "a line that is simplified already is left alone"
    assert to_variant("沿着河走", "zh-tw") == "沿著河走"


@pytest.mark.skipif(not NEWS.exists(), reason="the news corpus is not here")
def test_the_particle_in_news() -> None:
    """News in traditional script and back: 着 and 著 are one character there."""
    with lzma.open(NEWS, "rt", encoding="utf-8") as file:
        lines = [json.loads(next(file))["content"] for _ in range(1500)]
    text = "\n".join(re.sub(r"<[^>]+>|[^一-鿿，。、\n]", "", line) for line in lines)
    back = to_variant(opencc.OpenCC("s2tw").convert(text), "zh-cn")
    places = [number for number, character in enumerate(text) if character in "着著"]
    assert len(places) > 400 and len(back) == len(text)
    assert sum(back[place] != text[place] for place in places) < 0.01 * len(places)


def test_none_and_zh_change_nothing() -> None:
    assert to_variant("電腦与电脑", "none") == "電腦与电脑"
    assert Converter("none", {}).convert("電腦与电脑", title="電腦", note_ta=[]).title == "電腦"


def test_script() -> None:
    assert traditional("這是一門社會科學") and not traditional("这是一门社会科学") and not traditional("")


@given(
    st.text("-{}|;:=>&ATHRN甲乙電脑著\x1fzh-cntwhas \n", max_size=80), st.sampled_from(["zh-cn", "zh-tw", "zh-hans", "none"])
)
def test_never_fails(text: str, variant: str) -> None:
    page = Converter(variant, {"IT": [(text, "")]}).convert(text, title=text, note_ta=[{"1": text, "T": text, "G1": "IT"}])
    assert isinstance(page.text, str)
    assert isinstance(rules.parse(text).describe(), str)


@settings(deadline=None)
@given(st.text("電腦程式说著的里面乾坤后发髮,A\n\x1e\x1f\x00", max_size=40))
def test_text_without_rules_is_what_the_tables_make_of_it(text: str) -> None:
    assert to_variant(text, "zh-hans") == opencc.OpenCC("t2s").convert(text)
    for variant in ("zh-cn", "zh-tw", "zh-hk"):
        assert converted(text, variant) == to_variant(text, variant)
        assert len(to_variant(text, variant)) == len(text)


@given(
    st.text("甲乙丙電腦", max_size=30), st.dictionaries(st.text("甲乙丙", min_size=1, max_size=3), st.text("xy", max_size=2))
)
def test_phrases_are_found_as_by_trying_each_place(text: str, table: dict[str, str]) -> None:
    padding = {f"未用{number}": "" for number in range(50)}
    for phrases in (Phrases(table), Phrases(padding | table), Phrases(padding)):
        phrases.update(table)
        between, become = split(text, [phrases])
        found = "".join(a + b for a, b in zip(between, [*become, ""], strict=True))
        expected, place = "", 0
        while place < len(text):
            phrase = max((each for each in table if text.startswith(each, place)), key=len, default="")
            expected += table[phrase] if phrase else text[place]
            place += len(phrase) or 1
        assert found == expected


def test_rules_without_end_cost_time_in_proportion() -> None:
    """The budget counts steps, not seconds: 20,000 of each pass quickly or not at all."""
    for hostile in ("-{", "}-", "-{zh-cn:", "-{A|zh-cn:甲;zh-tw:乙}-字", "-{H|x=>zh-cn:y;  "):
        assert converted(hostile * 20_000)


@pytest.mark.skipif(not SNIPPETS.exists(), reason="the snippets of real wikitext are not here")
def test_real_snippets() -> None:
    snippets = {each["page_guess"]: each["text"] for each in map(json.loads, SNIPPETS.read_text(encoding="utf-8").splitlines())}

    def page(start: str, variant: str, after: str = "") -> str:
        text = next(text for name, text in snippets.items() if name.startswith(start))
        rendered = render(text + after, title="", list_items=True, redirects={})
        return Converter(variant, {}).convert(rendered.text, note_ta=rendered.note_ta).text

    assert "网络连接" in page("QUIC", "zh-cn") and "網路連線" in page("QUIC", "zh-tw")
    assert page("保留IP地址", "zh-cn", "網段") == to_variant(page("保留IP地址", "none", "块"), "zh-cn")
    assert page("任务管理器", "zh-tw", "}}应用程序的进程与任务") == "應用程式的處理程序與工作"
    assert page("CyanogenMod", "zh-sg") == "操作系统" and page("CyanogenMod", "zh-tw") == "作業系统"
    assert page("PostgreSQL", "zh-cn") == "我们正关注着PostgreSQL" and page("PostgreSQL", "zh-tw") == "我們正關注著PostgreSQL"
    assert "写入存储队列的时间" in page("流水线存储", "none")
    assert page("public", "zh-hk").startswith("而部分網站如Bing、Flipboard")
    for name in snippets:
        assert not re.search(r"-\{|\}-|zh-", page(name.split("(")[0] or name, "zh-cn", "}}"))


@pytest.mark.skipif(not OPENCC_CASES.exists(), reason="OpenCC's test cases are not here")
def test_opencc_cases() -> None:
    """Towards simplified text all agree. Of 96 others 22 differ in forms of characters: OpenCC writes 週, Wikipedia 周."""
    text = re.sub(r"^\s*//.*$", "", OPENCC_CASES.read_text(encoding="utf-8"), flags=re.MULTILINE)
    variants = {"t2s": "zh-hans", "s2t": "zh-hant"}
    number, wrong = Counter[str](), Counter[str]()
    for case in json.loads(re.sub(r",(\s*[}\]])", r"\1", text))["cases"]:
        for config in variants.keys() & case["expected"].keys():
            number[config] += 1
            wrong[config] += to_variant(case["input"], variants[config]) != case["expected"][config]
    assert number == {"t2s": 55, "s2t": 96}
    assert wrong == {"t2s": 0, "s2t": 22}


MARKUP = {
    "Preprocessor precedence 2: template is rightmost opening": "a template",
    "Preprocessor precedence 16: matching closing braces to opening braces": "a template",
    "Templates inside raw output of variant escape tags (R flag)": "a template",
    "T153135: Don't break list handling if language converter markup is in the item.": "a list",
    "Language converter tricky html2wt cases (4)": "a template",
}
"""Cases that need other markup resolved first, and pass after it is."""
NOT_OURS = {
    "Preprocessor precedence 3: language converter is rightmost opening": "render() drops [[ and {{ that are never closed",
    "Preprocessor precedence 10: groups of braces with leading dash": "a template with a text of its own",
    "Don't convert blue categorylinks to another variant (T35210)": "asks for the page's categories",
    "Code coverage: N flag for conversion rule": "asks for the name of Serbian; we name the variants of Chinese",
    "Code coverage: N flag for conversion rule (wt2html only)": "asks for the name of English",
    "T153135: Unclosed markup in definition list (code coverage)": "render() drops -{ that is never closed",
    "T153135: Nested language converter markup in definition list (code coverage)": "a colon that ends the term of a list",
    "Language converter tricky html2wt cases (2)": "a rule inside <nowiki>",
    "Language converter tricky html2wt cases (3)": "a rule inside <nowiki>",
}


def converter_cases() -> list[Case]:
    """Language zh, and Serbian without a variant, where -{ }- is resolved and nothing is converted."""
    every = cases(FOLDER / "parserTests.txt")
    chinese = [case for case in every if case.options.get("language") == "zh"]
    raw = [
        case
        for case in every
        if case.options.get("language") == "sr" and "variant" not in case.options and "-{" in case.wikitext
    ]
    return [case for case in chinese + raw if case.html is not None]


def passes(case: Case, wikitext: str) -> bool:
    title = case.options.get("title", "[[Parser test]]").strip("[]")
    page = Converter(case.options.get("variant", "none"), {}).convert(wikitext, title=title, note_ta=[])
    shown = f"{page.title} {page.text}" if "showtitle" in case.options else page.text
    return visible(shown) == visible(case.html or "")


@needs_parser_tests
def test_mediawiki_cases() -> None:
    """43 of the 52 converter cases pass: 38 as they are, 5 after render(); the other nine test something else."""
    found = converter_cases()
    failed = {case.name for case in found if not passes(case, case.wikitext)}
    assert len(found) == 52
    assert failed == MARKUP.keys() | NOT_OURS.keys()


@needs_parser_tests
@pytest.mark.parametrize("name", MARKUP)
def test_mediawiki_cases_with_other_markup(name: str) -> None:
    case = next(case for case in converter_cases() if case.name == name)
    rendered = render(case.wikitext, title="Parser test", list_items=True, redirects={"1x": "nowrap"})
    assert passes(case, rendered.text)
