"""Cleaning: what goes, and that nothing else does."""

import json
import lzma

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cleaning import chinese, clean, fingerprint, folded, strip_markup, visible
from tests import corpus


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
        ("中\u202e文\u2066好\ufffd", "中文好", {"invisible"}),
        ("e\u0301te\u0301", "été", {"composed"}),
        ("e\u200b\u0301", "é", {"composed", "invisible"}),
        ("一\r\n二\r三\u2028四\x85五\u2029六", "一\n二\n三\n四\n五\n六", set()),
        ("　　段首　空格\u00a0\t二  \n\n \n　三 ", "段首 空格 二\n三", set()),
        (" \n\u3000\u200b\n", "", {"invisible"}),
    ],
)
def test_what_no_reader_sees_goes(text: str, cleaned: str, rules: set[str]) -> None:
    assert clean(text) == (cleaned, rules)


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
        "<3 <_< 5 < 6 > 4",
        "#include <stdio> 和 List<String>",
    ],
)
def test_signs_that_are_no_markup_stay(text: str) -> None:
    assert clean(text, markup=True) == (text, set())
    assert clean(f"<p>{text}</p>", markup=True) == (text, {"html"})


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
    text = "他 说\nNEZHA，㐀𠀀豈"
    assert visible(text) == 11
    assert chinese(text) == 5


def test_texts_alike_but_for_width_case_and_signs_share_a_fingerprint() -> None:
    same = ["“ＡＢＣ”，好的！", "abc好的", "A b C\n好，的。"]
    assert len({fingerprint(text) for text in same}) == 1
    assert folded(same[0]) == "abc好的"
    assert fingerprint("abc好") != fingerprint("abc好的")
    assert len(fingerprint("")) == 16


@corpus.needs_real_data
def test_html_of_real_news_goes_and_its_characters_stay() -> None:
    with lzma.open(corpus.REAL / "corpora/news/xinwenlianbo.jsonl.xz") as file:
        contents = [json.loads(file.readline())["content"] for _ in range(300)]
    for content in contents:
        text, _ = clean(content, markup=True)
        assert "<p>" not in text and "</" not in text and "&nbsp;" not in text
        assert chinese(text) == chinese(content), "a Chinese character was lost or made"
        assert text.count("\n") + 1 >= len([part for part in content.split("</p>") if strip_markup(part).strip()])
