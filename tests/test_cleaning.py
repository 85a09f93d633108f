"""Cleaning: what is removed, and that nothing else is."""

import importlib
import json
import lzma
import re
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from pipeline.cleaning.boilerplate import without_boilerplate
from pipeline.cleaning.cleaning import (
    clean,
    fingerprint,
    fingerprints,
    folded,
)
from pipeline.cleaning.furniture import EDGE_FORMS, FORMS
from pipeline.cleaning.markup import holds_html, strip_markup
from tests import corpus
from tests.characters import chinese, visible


@pytest.mark.parametrize(
    "text",
    [
        "他说：“你好，世界！”（笑）……《红楼梦》——ＡＢＣ１２３，１９９８年。",
        "价格￥１００～２００，约５０％；温度−5℃。",
        "①②③ ㎏ № ™ ½ ﹏ ￣",
        "家庭👨👩👧，好👍🏻。",
        "第一行\n第二行",
    ],
)
def test_what_a_reader_sees_stays(text: str) -> None:
    assert clean(text) == (text, set())
    assert clean(text, markup=True) == (text, set())


@pytest.mark.parametrize(
    ("text", "cleaned", "rules"),
    [
        ("\ufeff中\u200b文\u00ad\x00\x07", "中文", {"invisible"}),
        ("中\u202e文\u2066好", "中文好", {"invisible"}),
        ("e\u0301te\u0301", "été", {"composed"}),
        ("e\u200b\u0301", "é", {"composed", "invisible"}),
        ("一\r\n二\r三\u2028四\x85五\u2029六", "一\n二\n三\n四\n五\n六", set()),
        ("　　段首　空格\u00a0\t二  \n\n \n　三 ", "段首 空格 二\n三", set()),
        (" \n\u3000\u200b\n", "", {"invisible"}),
        ("☎\ufe0f\ue004中\ud800文\ufffc", "☎中文", {"invisible"}),
        ("一\n\n\n  \n二", "一\n二", set()),
        ("一 " + " " * 1_000 + "二", "一 二", set()),
        # Every character that ends a line for str.splitlines() ends one here.
        ("一\x0b二\x0c三\x1c四\x1d五\x1e六", "一\n二\n三\n四\n五\n六", set()),
        # Blanks that Unicode counts as letters or signs.
        ("张\u3164三\uffa0李\u2800四", "张 三 李 四", set()),
        # Everything that Unicode lets a display ignore.
        ("中\u034f\u115f\u1160\u17b4\u180b\u180e\u2065\ufe00\ufff0\U000e0001\U000e01ef\U000e0fff文", "中文", {"invisible"}),
        ("中\ufdd0\uffff\U0001fffe\U000f0000\U00100000文", "中文", {"invisible"}),
        # All variation selectors alike.
        ("葛\U000e0100饰区，辻\U000e0101村，︎☎\ufe0e☎\ufe0f，齒\ufe00", "葛饰区，辻村，☎☎，齒", {"invisible"}),
        # A sequence of emoji stays whole, without its selectors; joiners and tags elsewhere go.
        (
            "👨\u200d👩\u200d👧，🏳\ufe0f\u200d🌈，👩🏽\u200d⚕\ufe0f，1\ufe0f⃣",
            "👨\u200d👩\u200d👧，🏳\u200d🌈，👩🏽\u200d⚕，1⃣",
            {"invisible"},
        ),
        ("零\u200d宽，👩\u200d文，👩\u200d\u200d👩，\u200d", "零宽，👩文，👩\u200d👩，", {"invisible"}),
        (
            "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f，中\U000e0067文",
            "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f，中文",
            {"invisible"},
        ),
    ],
)
def test_what_no_reader_sees_goes(text: str, cleaned: str, rules: set[str]) -> None:
    assert clean(text) == (cleaned, rules)


def test_characters_that_decoding_has_lost_are_no_white_space() -> None:
    assert clean("高程103\ue0105米") == ("高程103\ufffd5米", {"invisible"})
    assert clean("他\ufffd说\ufffd\ufffd好") == ("他\ufffd说\ufffd\ufffd好", set())


@pytest.mark.parametrize(
    ("text", "cleaned", "rules"),
    [
        ("⼀个⼈⾛在⾬⾥", "一个人走在雨里", {"compatibility"}),
        ("⻓江⻢车⻔⼝，⻛⻝⻥⻩，⺠国", "长江马车门口，风食鱼黄，民国", {"compatibility"}),
        ("神話、金色、\ufa11県、\U0002f800", "神話、金色、\ufa11県、丽", {"composed"}),
        ("ﬁnd ﬂow eﬀort oﬃce", "find flow effort office", {"compatibility"}),
        ("㎏ № ① ㈱ ﹏ ，", "㎏ № ① ㈱ ﹏ ，", set()),
    ],
)
def test_characters_become_what_they_stand_for(text: str, cleaned: str, rules: set[str]) -> None:
    assert clean(text) == (cleaned, rules)


def test_every_radical_becomes_an_ideograph_but_two_that_stand_for_none() -> None:
    radicals = [chr(point) for point in (*range(0x2E80, 0x2E9A), *range(0x2E9B, 0x2EF4), *range(0x2F00, 0x2FD6))]
    became = [clean(radical)[0] for radical in radicals]
    assert [radical for radical, ideograph in zip(radicals, became, strict=True) if not chinese(ideograph)] == ["⺀"]
    assert all(len(ideograph) == 1 for ideograph in became)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (r"他走了。\n\u6709\u4e00\u6b21，他回来了。", "他走了。\n有一次，他回来了。"),
        (r"第一段。\r\n\u3000\u3000第二段。\n\n第三段", "第一段。\n第二段。\n第三段"),
        (r"他\u6709一本书", "他有一本书"),
        (r"\u4ed6\u67092019\u5e74\u7684\u4e66ABC\n", "他有2019年的书ABC"),
        (r"他说：\"你好。\"\n见http:\/\/a.cn\/b", '他说："你好。"\n见http://a.cn/b'),
        (r"甲。\\n乙。\\\\u4e19。", "甲。\n乙。丙。"),
        (r"<p>第一段</p>\n<p>第二段</p>\r\n", "<p>第一段</p>\n<p>第二段</p>"),
        (r"第一段。<br />\n<br>\u3000第二段", "第一段。<br />\n<br> 第二段"),
        (r"笑\ud83d\ude00了。\xa0好", "笑😀了。 好"),
        (r"姓名：\t张三\n电话：12345\n地址：北京\nABC公司。\nABC", "姓名： 张三\n电话：12345\n地址：北京\\nABC公司。\nABC"),
    ],
)
def test_escapes_in_prose_become_what_they_mean(text: str, cleaned: str) -> None:
    assert clean(text) == (cleaned, {"escapes"})


@pytest.mark.parametrize(
    "text",
    [
        r'print("第一行\n第二行")',
        r"s = '\u4e2d\u6587'",
        r"echo `中\n文`",
        r"[\u4e00-\u9fa5]匹配汉字",
        r"用\n表示换行，\t表示制表符。",
        r"汉字的Unicode编码是\u4e2d。",
        r"文件在C:\新建\n1.txt和D:\资料\t",
        r"公式\neq和\nabla，\times与\text",
        r"半个\ud83d字",
        r"Ubuntu 16.04 \n \l，末尾的\n \l",
        r"管道 yes | tr \\n x | head",
        r"\u0041\u0042",
        "反斜线\\结束",
    ],
)
def test_escapes_in_code_paths_and_texts_about_them_stay(text: str) -> None:
    assert clean(text) == (text, set())


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>一</p><p>二<br>三<br/>四</p>", "一\n二\n三\n四"),
        ("<div>一</div>二", "一\n二"),
        ("《<b>粗</b><i>斜</i>》<a href='x?a=1&b=2'>链接</a>", "《粗斜》链接"),
        ("<table><tr><td>年份</td><td>事件</td></tr></table>", "年份\n事件"),
        ("ＡＢＣ&nbsp;&lt;好&gt;&amp;", "ＡＢＣ <好>&"),
        ("<script>if (a<b) {}</script><style>p {}</style>正文<!-- 注释 -->", "正文"),
        ("<!DOCTYPE html><html><head><title>题</title></head><body><p class=a>正文", "正文"),
        ("<o:p></o:p>正文<P ALIGN=center>大写</P>", "正文\n大写"),
        ("<p>没有关上的", "没有关上的"),
        ("北京&nbsp上海&nbsp&nbsp广州&lt天津&copy", "北京 上海 广州<天津©"),
        ("他说&amp;nbsp;&amp;nbsp;好，&amp;ldquo;你好&amp;rdquo;", "他说 好，“你好”"),
        ("&amp;amp;amp;lt;一&amp;amp;gt;", "<一>"),
        ("&#20013;&#22269&#x4e2d;&#X56fd人", "中国中国人"),
        ("＆nbsp；甲&nbsp；乙&lt；丙", "甲 乙<丙"),
        ("&#55357;&#56832;好&#xD83D;&#xDE00;", "😀好😀"),
        ("第一段。&lt;br&gt;第二段。&lt;br /&gt;\u3000第三段", "第一段。\n第二段。\n第三段"),
        ("　　第一段。&amp;lt;/p&amp;gt;&amp;lt;p class=a&amp;gt;第二段", "第一段。\n第二段"),
        ("换行用&lt;br&gt;。段落用&lt;p&gt;", "换行用<br>。段落用<p>"),
        ('讲解 <div> 与 <span class="a"> 的区别&nbsp;', '讲解 <div> 与 <span class="a"> 的区别'),
        ("<div class=a><span>截断的正文", "截断的正文"),
        ("讲解<b>差别<br>换行", "讲解差别\n换行"),
        ("&amp;lt;p&amp;gt;第一段&amp;lt;/p&amp;gt;第二段", "第一段\n第二段"),
        ("&lt;div class=&quot;a&quot;&gt;一&lt;br&gt;二 a &amp;lt; b&lt;/div&gt;", "一\n二 a < b"),
        ("<p>用&lt;p&gt;写段落</p>", "用<p>写段落"),
    ],
)
def test_markup_goes_and_its_text_stays(html: str, text: str) -> None:
    assert clean(html, markup=True) == (text, {"html"})


@pytest.mark.parametrize(
    "text",
    [
        "若a<b且c>d则<35，对",
        "当a<b and c>d时",
        "<中国人民政治协商会议章程>的决定",
        "AT&T与R&D，a & b",
        "http://a.cn/?x=1&copy=2&lt=3&regions=4",
        "<3 <_< 5 < 6 > 4",
        "#include <stdio> 和 List<String>",
    ],
)
def test_signs_that_are_no_markup_stay(text: str) -> None:
    assert clean(text, markup=True) == (text, set())
    assert clean(f"<p>{text}</p>", markup=True) == (text, {"html"})


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<P class="a b" data-x=1>一</P><br clear=all />二', "一\n二"),
        ("<img alt='a>b' src=x>图", "图"),
        ("<<b>p>", "<p>"),
        ("<p>一<!-- <p>注</p> -->二</p>", "一二"),
        ("<p>一</p><script>document.write('<p>二</p>')</script>", "一"),
    ],
)
def test_plain_tags_go_as_the_parser_would_have_it(html: str, text: str) -> None:
    assert clean(html, markup=True) == (text, {"html"})


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("用<style>标签写<b>样式</b>。还有正文。", "用<style>标签写样式。还有正文。"),
        ("<script>标签放在末尾。<br>正文。", "<script>标签放在末尾。\n正文。"),
        ("<p>注释以<!--开始。</p><p>第二段。</p>", "注释以<!--开始。\n第二段。"),
        ("<SCRIPT src=x>a</SCRIPT >一<style>二<script>b</script>三", "一<style>二三"),
        ("一<!-->二<!--->三<!-- 注 --!>四", "一二三四"),
        ('<a href="x>链接</a>后面的正文', "链接后面的正文"),
        ('<svg id="a>中文<script id="a>', '中文<script id="a>'),
        ("<!doctype后面的正文<br>二", "<!doctype后面的正文\n二"),
        ("<head><title>题<p>正文", "题\n正文"),
        ("<head>标签里放标题，</head>后面是正文。", "标签里放标题，后面是正文。"),
        ('<table border="1"><tr class="a">一<td>二</td>三</tr>四</table>五', "一\n二\n三\n四\n五"),
        ("<select><option>一<p class=a>二<textarea>三<b>四</select>五", "一\n二三四五"),
    ],
)
def test_what_is_never_closed_takes_no_text_along(html: str, text: str) -> None:
    assert clean(html, markup=True)[0] == text


OPENINGS = (
    "script style !-- textarea title xmp noembed noframes iframe plaintext template noscript select option optgroup svg math "
    "head body html table tr td caption colgroup frameset object video canvas button form p br ruby rp a area map !doctype"
)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["中文", "网页", "，", "\n", " ", "a<b"]),
            st.builds(
                "<{}{}".format, st.sampled_from(OPENINGS.split()), st.sampled_from([">", " class='a'>", ' id="a>', " ", "/>"])
            ),
            st.builds(
                "</{}>".format, st.sampled_from(["p", "table", "td", "tr", "select", "svg", "a", "body", "html", "b", "head"])
            ),
        ),
        max_size=12,
    )
)
def test_text_among_unclosed_tags_is_kept_in_its_order(parts: list[str]) -> None:
    text = "".join(parts)
    assume(not re.search("<!--(?!>).*-->", text, re.DOTALL))  # <!--> closes a comment
    cleaned = strip_markup(text)
    assert re.findall("中文|网页", cleaned) == re.findall("中文|网页", text)


@pytest.mark.parametrize(
    "html", ["<script>" * 30_000, "<style>" * 30_000, "<!--" * 60_000, "<p '" * 60_000, "<a b=\"'" * 30_000]
)
def test_many_unclosed_tags_take_time_in_proportion(html: str) -> None:
    """A search to the end for each of them would hang."""
    assert clean(html + "中文", markup=True)[0].endswith("中文")


@corpus.needs_real_data
def test_real_pages_give_the_text_that_a_parser_of_html_gives() -> None:
    with lzma.open(corpus.REAL / "corpora/text/weekly.jsonl.xz") as file:
        pages = [json.loads(file.readline())["text"] for _ in range(100)]
    pages = [page for page in pages if "<" in page and not re.search("<(?:script|style|!--)", page)]
    assert len(pages) > 20
    for page in pages:
        body = LexborHTMLParser(re.sub("<(?![a-zA-Z/])", "&lt;", page)).body
        assert body is not None
        assert chinese(strip_markup(page)) == chinese(body.text(separator=""))


def test_markup_in_plain_text_is_text() -> None:
    assert clean("<p>写成这样&nbsp;</p>") == ("<p>写成这样&nbsp;</p>", set())


@settings(max_examples=400, deadline=None)
@given(
    st.text(
        st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(" \n\r\t\u200b\u0301\u3000\u2028é<p>&;")),
        max_size=60,
    )
)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    once, _ = clean(text)
    assert clean(once) == (once, set())
    from_markup, _ = clean(text, markup=True)
    assert clean(from_markup) == (from_markup, set())
    assert fingerprint(once) == fingerprint(clean(once)[0])


def test_counts_of_characters() -> None:
    text = "他 说\nNEZHA，㐀𠀀\uf900"
    assert visible(text) == 11
    assert chinese(text) == 5
    assert chinese("한국어 ꀀ \ue000 カナ") == 0


def test_texts_alike_but_for_width_case_and_signs_share_a_fingerprint() -> None:
    same = ["“ＡＢＣ”，好的！", "abc好的", "A b C\n好，的。"]
    assert len({fingerprint(text) for text in same}) == 1
    assert folded(same[0]) == "abc好的"
    assert fingerprint("abc好") != fingerprint("abc好的")
    assert len(fingerprint("")) == 16


@pytest.mark.parametrize("line", [line for line, _, _ in FORMS])
def test_boilerplate_lines_go(line: str) -> None:
    assert clean(f"第一段。\n{line}\n第二段。\n{line}") == ("第一段。\n第二段。", {"boilerplate"})
    assert clean(f"　　{line}　\r\n正文") == ("正文", {"boilerplate"})


def first_signs(parsed: Any) -> tuple[set[str], bool]:
    """The characters that a match of a parsed regular expression can start with, and whether it can be empty."""
    signs: set[str] = set()
    for operation, argument in parsed:
        name, empty = str(operation), False
        if name == "LITERAL":
            signs.add(chr(argument))
        elif name == "IN":
            for kind, value in argument:
                ranges = {"CATEGORY": (48, 57), "LITERAL": (value, value), "RANGE": value}
                first, last = ranges[str(kind)]
                signs |= set(map(chr, range(first, last + 1)))
        elif name == "ASSERT":
            empty = True
        else:
            parts = argument[1] if name == "BRANCH" else [argument[-1]]
            found = [first_signs(part) for part in parts]
            signs |= {sign for first, _ in found for sign in first}
            empty = any(empty for _, empty in found) or (name == "MAX_REPEAT" and argument[0] == 0)
        if not empty:
            return signs, False
    return signs, True


def test_lines_are_tried_that_begin_as_a_form_can() -> None:
    """A character missing from those that a form starts with would keep it from ever matching."""
    parse = importlib.import_module("re._parser").parse
    for line, form, starts in (*FORMS, *EDGE_FORMS):
        signs, empty = first_signs(parse(form))
        assert not empty and signs - {" "} == set(starts), line


@pytest.mark.parametrize("line", [line for line, _, _ in EDGE_FORMS])
def test_lines_that_are_furniture_at_the_edges_stay_elsewhere(line: str) -> None:
    body = "\n".join(f"第{number}段正文写到这里。" for number in range(12))
    assert clean(f"标题\n{line}\n{body}\n{line}") == (f"标题\n{body}", {"boilerplate"})
    middle = body.replace("第6段", f"第6段。\n{line}\n")
    assert clean(middle) == (middle, set())


@pytest.mark.parametrize(
    "line",
    [
        "来源：南方周末",
        "（撰稿：某某）",
        "【记者 某某】",
        "作者： 某某",
        "原标题：某地发布“十四五”规划，明年实施",
        "发布时间：2019-07-20",
        "发布日期：2019年7月20日 来源：本站 浏览次数：12",
        "上一篇 甲 下一篇 乙",
        "上一篇：甲 下一篇：乙",
        "责任编辑",
        "责任编辑 张三",
        "[责任编辑：张三 李四]",
        "本文来源：某某网",
        "点击查看更多精彩内容",
        "点击上方“蓝字”关注我们",
        "分享到：微信 新浪微博 空间 更多",
        "关注公众号",
        "欢迎关注我们的微信公众号：某某日报",
        "Copyright © 2019 某某网 版权所有",
        "© 2019 某某科技有限公司",
        "本文版权归作者所有，转载请联系作者。",
        "文章来源于网络，侵删",
        "第4版()",
        "第12版（国际要闻）",
        "专栏：",
        "文/张三 图/李四",
        "—— END ——",
        "(更新时间戳: 1770904240891)",
        "【采集时间：2019-07-20 10:15:30】",
    ],
)
def test_furniture_of_web_pages_goes(line: str) -> None:
    assert clean(f"某市新图书馆开馆\n昨天上午，某市新图书馆开馆。\n市民可以凭证借书。\n{line}")[0].endswith("借书。")


@pytest.mark.parametrize(
    "tail",
    [
        "（撰稿：某某）",
        "【记者 某某】",
        "（记者张三 通讯员李四）",
        "(责任编辑：张三)",
        "责任编辑：张三",
        " 来源：南方周末",
        "（来源：新华网）责任编辑：张三",
        "分享到：微信 微博",
        "上一篇：甲 下一篇：乙",
        "点击查看全文>>",
        "版权所有，违者必究。",
        "转载请注明出处。",
    ],
)
def test_furniture_after_the_last_sentence_goes(tail: str) -> None:
    assert clean(f"昨天，图书馆开馆。他说：“欢迎。”{tail}\n第二段。") == (
        "昨天，图书馆开馆。他说：“欢迎。”\n第二段。",
        {"boilerplate"},
    )


@pytest.mark.parametrize(
    "head",
    [
        "【记者 某某】",
        "（原标题：某地出台新规）",
        "[来源：新华网] ",
        "来源：新华网 发布时间：2019-07-20 10:15 ",
        "2019-07-20 10:15 来源：新华网 作者：张三 ",
        "作者：张三 来源：某某网 ",
    ],
)
def test_furniture_before_the_first_sentence_goes(head: str) -> None:
    body = "昨天上午，某市新图书馆正式开馆，市民可以凭证件免费借书。"
    assert clean(f"标题\n{head}{body}") == (f"标题\n{body}", {"boilerplate"})


@pytest.mark.parametrize(
    "text",
    [
        "责任编辑制度是出版业的基本制度。",
        "责任编辑对全书质量负责。",
        "他说本文来源于他多年的思考和实践，不吐不快。\n第二段。",
        "来源于生活的作品最动人。\n第二段。",
        "记者在现场看到，市民正在排队。（记者在现场拍摄）",
        "来源：动物肝脏\n作用：保护视力",
        "记者：您好。\n专家：您好。\n记者：谢谢\n专家：不客气",
        "记者：谢谢\n记者：再见\n记者：慢走",
        "分享到最后，大家都哭了。",
        "点击查看按钮即可打开文件。",
        "点击下载按钮\n第二步",
        "关注公众号的人越来越多。",
        "很多用户关注公众号的内容质量",
        "原标题党的做法不可取。",
        "发布时间定在下个月。",
        "上一篇讲了词法，下一篇讲句法。",
        "上一章讲词法 这一章讲句法",
        "版权归属问题引发了讨论。",
        "如有侵权行为，权利人可以向法院起诉。",
        "图片来自火星探测器。",
        "第4版增加了两章。",
        "专栏作家写道：“春天来了。”",
        "据新华社电 记者从国务院获悉，会议将于明日召开。（完）",
        "新华社北京1月1日电（记者张三）国务院今天召开会议。",
        "他把书放下。作者：这个词很有意思",
        "【编辑器之战】",
        "他问作者，来源是什么？来源：不明",
        "编辑：你觉得这部小说怎么样？",
        "版权所有者应当在三十日内提出异议。",
        "未经许可，任何单位不得进入。",
        "乘客扫描二维码即可进站。",
        "市民扫描二维码可查疫苗信息",
        "扫描",
        "分享到的快乐才是真正的快乐",
        "来源：本品为豆科植物甘草的干燥根。",
        "上一篇文章我们介绍了分词。",
        "下一章将讨论这个问题",
        "相关报道引起了广泛关注",
        "评论",
        "阅读是一种习惯",
        "点击率 3%",
        "首页设计",
        "第二十条 互联网新闻信息服务许可证由国家互联网信息办公室颁发。",
        "京剧是国粹",
        "声明：我不参加比赛了。",
        "……",
        "^_^",
        "——",
        "A - B - C",
        "1-1-1",
    ],
)
def test_prose_that_looks_like_boilerplate_stays(text: str) -> None:
    assert clean(text) == (text, set())


@pytest.mark.parametrize("line", ["-----", "* * *", "======", "━━━★━━━", "＊＊＊", "|-----|-----|", "~~~~", "———————"])
def test_rulers_go(line: str) -> None:
    assert clean(f"上\n{line}\n下") == ("上\n下", {"separators"})


@pytest.mark.parametrize("line", ["<!-- INFO END -->", "[#]: author: (张三)", "[//]: # (不显示)"])
def test_comments_of_markdown_go(line: str) -> None:
    assert clean(f"{line}\n上\n{line}\n下\n{line}") == ("上\n下", {"separators"})


@pytest.mark.parametrize(
    "text", ["```html\n<!-- 注释 -->\n```", "上\n用 <!-- 注释 --> 注释。", "上\n[1]: 参考", "上\n<!-- 未完"]
)
def test_comments_that_are_text_stay(text: str) -> None:
    assert clean(text) == (text, set())


@pytest.mark.parametrize(
    "line",
    [
        "关于" * 3_000,
        "<!--" * 9_000,
        "<!--" + "-->" * 9_000 + "。",
        "首页 " * 3_000 + "。",
        "- " * 50_000 + "中",
        "—" * 50_000 + "。",
        "QQ空间" * 3_000 + "。",
        "打印 " * 3_000 + "。",
    ],
)
def test_long_lines_take_time_in_proportion(line: str) -> None:
    """A form that backtracks would hang."""
    assert clean(line)[0] == line.strip()


FOLDED = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from("中文，。“”ＡＢａ１か\u3099ｶﾞﾊﾟ각\u1100\u1161\u11a8ㄱㅏé\u0301¨①㎏Σİ\uf900ﬁ\U00020000\n "),
    ),
    max_size=30,
)


@settings(max_examples=500, deadline=None)
@given(st.lists(FOLDED, max_size=6))
def test_fingerprints_of_many_are_those_of_each(texts: list[str]) -> None:
    assert fingerprints(texts) == [fingerprint(text) for text in texts]


@corpus.needs_real_data
def test_html_of_real_news_goes_and_its_characters_stay() -> None:
    with lzma.open(corpus.REAL / "corpora/news/xinwenlianbo.jsonl.xz") as file:
        contents = [json.loads(file.readline())["content"] for _ in range(300)]
    for content in contents:
        text, _ = clean(content, markup=True)
        assert "<p>" not in text and "</" not in text and "&nbsp;" not in text
        kept = content.partition("(更新时间戳: ")[0]  # the crawler's own line
        assert chinese(text) == chinese(kept), "a Chinese character was lost or added"
        assert "时间戳" not in text
        paragraphs = [part for part in kept.rstrip("-\n").split("</p>") if strip_markup(part).strip()]
        assert text.count("\n") + 1 >= len(paragraphs)


@corpus.needs_real_data
def test_real_text_has_the_same_fingerprints_one_by_one_and_together() -> None:
    text = (corpus.REAL / "corpora/text/cluecorpussmall_bert_sample.txt").read_text(encoding="utf-8")
    documents = text.split("\n\n")[:1_000]
    assert fingerprints(documents) == [fingerprint(document) for document in documents]


@corpus.needs_real_data
def test_boilerplate_of_real_text() -> None:
    text = (corpus.REAL / "corpora/text/cluecorpussmall_bert_sample.txt").read_text(encoding="utf-8")
    kept = without_boilerplate(text)[0]
    gone = set(text.split("\n")) - set(kept.split("\n"))
    assert {"文章来源：现代快报", "【编辑:王忠会】", "如需转载请注明作者及出处。", "（记者 要维维 实习生 高于茸）"} <= gone
    assert len(gone) < 20, "prose was removed"  # all read by eye


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('看图<img data-rawwidth="5', "看图"),
        ("回答<a class", "回答"),
        ('问题<a href="x" class\n第二行', "问题\n第二行"),
        ('<p>甲</p><a class="internal" href="/people/1', "\n甲\n"),
        ('<a class\n href="x">链接</a>', "链接"),
        ("若a <b and c", "若a <b and c"),
    ],
)
def test_tags_that_a_text_is_cut_off_in_go(text: str, left: str) -> None:
    assert strip_markup(text) == left
    assert holds_html(text) == (text != left)
