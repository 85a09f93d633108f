"""Sentence ends: where a Chinese sentence ends, never inside a number or URL; no text is lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.tokenization.sentences import _END, sentence_ends
from tests import demo_text
from tests.parts import split_sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["今天天气很好。", "我们去公园吧！", "你去吗？", "不去；", "在家。"],
        ["他说：“你好！”", "我没回答。", "“真的吗？！”", "他问。"],
        ["（他已经走了。）", "后来呢？", "《再见！》", "是一本书。"],
        ["我想……", "算了…", "走吧。。。", "好！！！", "行"],
        ["第一行没有句号", "第二行也没有", "第三行"],
        ["他走了...", "我也走了"],
        ['"你好。"', "他说。", '"再见！"', "她走了。"],
        ["他说。", '"你好"是常用语。'],
        ["质量不错!", "很喜欢!!", "会再来的?", "会"],
        ["“他说：‘走吧……’”", "「他说『好。』」", "我走了？！", "“啊……”", "他叫道：“不！！！”", "完"],
        ["（他不知道。）", "(我也不知道。)", "[未完……]", "后来"],
        ["一、总则；", "（一）目的；", "（二）范围。", "二、附则"],
        ["1.苹果；", "2.香蕉。", "①梨；", "②桃"],
        ["没有句号的尾巴"],
        # ASCII and full-width full stops, and ASCII semicolons.
        ["他走了.", "我也走了.", "（他不知道.）", "“好.”", "他说.", "完"],
        ["渡轮停在港口．", "雪人化了．", "尾"],
        ["增长了5%.", "同比下降.", "2019年他回来了.", "3月又走了"],
        ["第一条;", "第二条;", "第三条"],
        ["他来了.", "迈克.乔丹也来了.", "约翰．史密斯没来．", "威廉.莎士比亚写的"],
        ["见例子.中国，再看.", "中国很大"],
    ],
)
def test_chinese_sentences(sentences: list[str]) -> None:
    separator = "\n" if sentences[0] == "第一行没有句号" else ""
    assert split_sentences(separator.join(sentences)) == sentences


@pytest.mark.parametrize(
    "text",
    [
        "圆周率是3.14159，不是3.",
        "版本1.2.3发布，增长6.5%",
        "1. 引言",
        "II. 方法",
        "见http://a.cn/b.html?x=1&y=2!z的说明",
        "写信给li.ming@pku.edu.cn即可",
        "Mr. Smith和Dr. Wang在U.S. Congress见面",
        "J. K. Rowling写的书，e.g. 哈利波特",
        "文件在../data/a...b里",
        "一.总则",
        "第三.结论，十二.附则",
        "（一）.目的",
        "一. 总则",
        "圆周率３．１４，约1.5倍",
        "打开说明.txt和报告.docx，上新浪.com",
        "J.罗琳写的，No.一",
        "见www.例子.中国/首页",
        "调用函数;then返回",
    ],
)
def test_stops_inside_numbers_addresses_and_abbreviations_end_nothing(text: str) -> None:
    assert split_sentences(text) == [text]


def test_english_sentences_end_before_white_space() -> None:
    assert split_sentences('It rained. "Really?" he asked. Yes! ok') == ["It rained.", '"Really?"', "he asked.", "Yes!", "ok"]


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r", "\n\n\n", "\r\n\r\n", "\u2028", " \n\u3000"])
def test_line_breaks_end_sentences(line_break: str) -> None:
    assert split_sentences(f"标题{line_break}　　正文") == ["标题", "正文"]


def test_long_sentences_are_cut_after_a_pause() -> None:
    assert split_sentences("春天来了，花开了，鸟叫了，人也出来走了。", limit=12) == [
        "春天来了，花开了，",
        "鸟叫了，人也出来走了。",
    ]


def test_long_sentences_without_a_pause_are_cut_hard() -> None:
    assert split_sentences("哈" * 25, limit=10) == ["哈" * 10, "哈" * 10, "哈" * 5]


def test_a_comma_inside_a_number_is_no_pause() -> None:
    assert split_sentences("人口达到一个多亿为1,411,778人", limit=14) == ["人口达到一个多亿为1,411", ",778人"]


TEXT = st.text(
    st.sampled_from("中文好1a9.!?。！？；…”’」』）】\"')]，、：,: \n\r\t\u3000\u2028\x85\x1c“（Mr") | st.characters(),
    max_size=120,
)


@settings(deadline=None)
@given(TEXT, st.integers(2, 40))
def test_nothing_but_white_space_is_lost(text: str, limit: int) -> None:
    sentences = split_sentences(text, limit)
    assert "".join("".join(sentences).split()) == "".join(text.split())
    assert all(sentence == sentence.strip() != "" for sentence in sentences)
    assert all(len(sentence) <= limit for sentence in sentences)
    ends = sentence_ends(text, limit)
    assert (np.diff(ends, prepend=0) > 0).all()
    assert ends[-1:].tolist() == [len(text)] * bool(text)


@settings(deadline=None)
@given(st.lists(TEXT, max_size=5))
def test_documents_together_have_the_sentences_that_each_has_alone(texts: list[str]) -> None:
    assert split_sentences("\n".join(texts)) == [sentence for text in texts for sentence in split_sentences(text)]


def test_sentences_of_news_end_where_sentences_or_lines_end() -> None:
    text = "\n".join(demo_text.articles(100))
    ends = [line[-10:] for line in text.split("\n")]
    others = [s for s in split_sentences(text, 10_000) if s[-1] not in "。！？；…”’）》」』" and s[-10:] not in ends]
    assert others == []


@pytest.mark.parametrize("text", ["完!!!!\n他", "a???? b", "完....他", "走吧...... “好”"])
def test_a_run_of_signs_is_tried_from_its_first_alone(text: str) -> None:
    # Else a run at the end of a text costs the square of its length.
    first = next(place for place, sign in enumerate(text) if sign in ".!?")
    assert _END.match(text, first) is not None
    for place in range(first + 1, text.rindex(text[first])):
        assert _END.match(text, place) is None, place
    assert sentence_ends("完" + text[first] * 50_000, 1 << 20).tolist() == [50_001]
