"""Fields: record formats of public corpora, named fields, and whether a text may contain HTML."""

from typing import Any

import pytest

from pipeline.config import Kind
from pipeline.sources.formats import fields
from pipeline.sources.records import Bad, Record, Skipped
from tests.reading import config


def record(value: Any, kind: Kind = "text", **more: Any) -> Record | Bad | Skipped:
    return fields.record("f#0", value, config(kind=kind, **more))


CORPORA: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "wiki2019zh": (
        {
            "id": "53",
            "url": "https://zh.wikipedia.org/wiki?curid=53",
            "title": "经济学",
            "text": "经济学\n\n经济学是一门…\n\n西方",
        },
        "经济学",
        "经济学是一门…\n\n西方",
        "https://zh.wikipedia.org/wiki?curid=53",
    ),
    "news2016zh": (
        {
            "news_id": "610130831",
            "keywords": "导游，门票",
            "title": "故宫淡季门票40元",
            "desc": "近日有网友爆料",
            "source": "新华网",
            "time": "03-22 12:00",
            "content": "近日有网友爆料，故宫午门广场…",
        },
        "故宫淡季门票40元",
        "近日有网友爆料，故宫午门广场…",
        "",
    ),
    "news2016zh, a summary alone": ({"news_id": "1", "title": "题", "desc": "摘要。", "content": ""}, "题", "摘要。", ""),
    "baike2018qa": (
        {
            "qid": "qid_2540946131115409959",
            "category": "生活知识",
            "title": "冬天进补好一些呢？",
            "desc": "",
            "answer": "你好！\r\n当然是冬天",
        },
        "冬天进补好一些呢？",
        "你好！\r\n当然是冬天",
        "",
    ),
    "baike2018qa with a description": (
        {"qid": "q", "category": "c", "title": "问？", "desc": "我有\r\n一个", "answer": "答"},
        "问？",
        "我有\r\n一个\n答",
        "",
    ),
    "webtext2019zh": (
        {
            "qid": 65618973,
            "title": "AlphaGo只会下围棋吗？",
            "desc": "如何评价<br>它",
            "topic": "机器人",
            "star": 3,
            "content": "AlphaGo只会下围棋",
            "answer_id": 545576062,
            "answerer_tags": "人工智能@游戏业",
        },
        "AlphaGo只会下围棋吗？",
        "如何评价<br>它\nAlphaGo只会下围棋",
        "",
    ),
    "563w_baidubaike": (
        {
            "title": "红色食品",
            "summary": "红色食品是指食品为红色的。",
            "sections": [{"title": "简介", "content": "红色食品富含番茄红素。"}, {"title": "营养", "content": None}],
            "tags": ["健康食品"],
            "url": "http://baike.baidu.com/view/0",
        },
        "红色食品",
        "红色食品是指食品为红色的。\n简介\n红色食品富含番茄红素。\n营养",
        "http://baike.baidu.com/view/0",
    ),
    "563w_baidubaike with nulls": (
        {"title": "甲", "summary": None, "sections": [{"title": None, "content": "乙。"}], "tags": None, "url": None},
        "甲",
        "乙。",
        "",
    ),
    "563w_baidubaike without sections": (
        {"title": "甲", "summary": "乙。", "sections": None, "tags": [], "url": ""},
        "甲",
        "乙。",
        "",
    ),
    "wikipedia-cn-20230720-filtered": (
        {"completion": "昭通机场（ZPZT）是位于中国云南昭通的民用机场", "source": "wikipedia.zh2307"},
        "",
        "昭通机场（ZPZT）是位于中国云南昭通的民用机场",
        "",
    ),
    "WuDao": (
        {"uniqueKey": "a", "titleUkey": "b", "dataType": "百科", "title": "题", "content": "文。", "id": 1},
        "题",
        "文。",
        "",
    ),
    "SkyPile": ({"text": "　　文。\n文。"}, "", "　　文。\n文。", ""),
    "ChineseWebText": (
        {"title": "题", "score": 0.98, "text": "文。", "url": "http://a", "source_domain": "a"},
        "题",
        "文。",
        "http://a",
    ),
    "ChineseWebText 2": (
        {
            "text": "文。",
            "domain": {"single_label": "news", "multi_label": ["news"]},
            "toxicity": {"label": 0, "score": 0.1},
            "quality_score": 0.9,
        },
        "",
        "文。",
        "",
    ),
    "MNBVC": (
        {
            "文件名": "a.txt",
            "是否待查文件": False,
            "simhash": "1",
            "段落数": 3,
            "段落": [
                {"行号": 0, "是否重复": False, "是否跨文件重复": False, "md5": "x", "内容": "第一段。"},
                {"行号": 2, "是否重复": True, "是否跨文件重复": False, "md5": "x", "内容": "第一段。"},
                {"行号": 3, "是否重复": False, "是否跨文件重复": False, "md5": "y", "内容": "第二段。"},
            ],
        },
        "",
        "第一段。\n第二段。",
        "",
    ),
    "MNBVC on the hub": (
        {"text": '[{"行号": 0, "内容": "甲。"}, {"行号": 1, "内容": "乙。"}]', "meta": "{}"},
        "",
        "甲。\n乙。",
        "",
    ),
    "MNBVC, poems": (
        {"文件名": "p", "段落": [{"行号": 1, "标题": "静夜思", "作者": "李白", "内容": "床前明月光"}]},
        "",
        "静夜思\n床前明月光",
        "",
    ),
    "MNBVC, parallel": ({"文件名": "p", "段落": [{"行号": 1, "zh_text": "你好。", "en_text": "Hello."}]}, "", "你好。", ""),
    "MNBVC, questions": (
        {"id": "1", "问": "树为什么是绿的？", "答": "因为叶绿素。", "来源": "x", "元数据": {"扩展字段": ""}},
        "",
        "树为什么是绿的？\n因为叶绿素。",
        "",
    ),
    "MNBVC, forums": (
        {"ID": 1, "主题": "好书", "来源": "x", "回复": [{"楼ID": "1", "回复": "推荐。"}, {"楼ID": "2", "回复": "谢谢。"}]},
        "好书",
        "推荐。\n谢谢。",
        "",
    ),
    "MNBVC of 2023": ({"text": "文。", "meta": "{}"}, "", "文。", ""),
    "MNBVC, judgements": ({"详情": "本院认为…", "案号": "（2019）"}, "", "本院认为…", ""),
    "FineWeb-2": ({"text": "文。", "id": "<urn>", "dump": "CC", "url": "http://a", "date": "2013"}, "", "文。", "http://a"),
    "wikiextractor": (
        {"id": "13", "revid": "1", "url": "http://w", "title": "数学", "text": "数学是…"},
        "数学",
        "数学是…",
        "http://w",
    ),
    "strings": ("文。", "", "文。", ""),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("corpus", CORPORA)
def test_records_of_public_corpora(corpus: str) -> None:
    value, title, text, url = CORPORA[corpus]
    found = record(value)
    assert isinstance(found, Record)
    assert (found.origin, found.title, found.text, found.url) == ("f#0", title, text, url)


def test_a_record_with_empty_fields_is_a_record_without_text() -> None:
    values: list[dict[str, Any]] = [
        {"content": ""},
        {"text": None},
        {"title": "题", "summary": None, "sections": []},
        {"段落": []},
    ]
    for value in values:
        found = record(value)
        assert isinstance(found, Record) and found.text == ""


def test_the_title_goes_from_the_text_only_where_it_is_its_first_line() -> None:
    for text in ("数学", "数学是…\n", "数学家\n文", " 数学\n文", "数学\n \n"):
        found = record({"title": "数学", "text": text})
        assert isinstance(found, Record) and found.text == text


def test_named_fields() -> None:
    value: dict[str, Any] = {
        "title": "题",
        "meta": {"body": "正文", "note": None},
        "a.b": "点",
        "sections": [{"c": "一"}, {"c": "二"}],
        "n": 3,
    }
    for names, title, text in (
        (("meta.body",), "题", "正文"),
        (("title", "meta.body"), "", "题\n正文"),
        (("meta.body", "meta.note", "a.b"), "题", "正文\n点"),
        (("sections.c",), "题", "一\n二"),
    ):
        assert record(value, text_field=names) == Record("f#0", title, text)
    for name, reason in (
        ("body", "no field body"),
        ("meta.x", "no field x"),
        ("sections.d", "no field d"),
        ("n", "field n is not text"),
    ):
        found = record(value, text_field=(name,))
        assert isinstance(found, Bad) and found.reason == reason
    assert record("文", text_field=("body",)) == Bad("f#0", "no field body", "fields: text")


def test_what_holds_no_text_is_bad() -> None:
    for value, reason in (
        ({"id": 1}, "no field known to hold text"),
        ({}, "no field known to hold text"),
        ({"text": 3}, "field text is not text"),
        ({"text": [["a", {"x": 1}]]}, "field text is not text"),
        ({"sections": [3]}, "field sections is not text"),
        (7, "not a record of fields"),
        (None, "not a record of fields"),
    ):
        found = record(value)
        assert isinstance(found, Bad) and found.reason == reason, value


def test_values_that_are_no_numbers_are_no_text() -> None:
    for value in (float("nan"), float("inf"), None, True):
        assert record({"title": value, "content": "文。", "url": value}) == Record("f#0", "", "文。")
    assert record({"title": "题", "content": float("nan"), "desc": "摘要。"}) == Record("f#0", "题", "摘要。")


def test_paragraphs_marked_as_duplicates_are_left_out_and_counted() -> None:
    marks = (("是否重复", "一一"), ("是否跨文件重复", "二二二"), ("", "三。"))
    paragraphs = [{"行号": n, "是否重复": False, mark: True, "内容": text} for n, (mark, text) in enumerate(marks)]
    assert record({"文件名": "a", "段落": paragraphs}) == Record("f#0", "", "三。", left_out=5)
    assert record({"是否重复文件": True, "段落": paragraphs}) == Skipped("marked as a duplicate")
    assert record({"段落": "文。"}) == Record("f#0", "", "文。")


def test_lines_of_a_search_dump_that_are_no_articles_are_skipped() -> None:
    assert record({"index": {"_type": "page", "_id": "13"}}, "wiki") == Skipped("index line")
    article = {"title": "数学", "namespace": 0, "text": "数学是…", "source_text": "x"}
    assert record(article, "wiki") == Record("f#0", "数学", "数学是…")
    assert record({**article, "namespace": 14}, "wiki") == Skipped("other namespace")
    without_source = {"title": "讨论", "namespace": 1, "namespace_text": "Talk", "text": "我反对。"}
    assert record(without_source, "wiki") == Skipped("other namespace")
    assert record({"index": {"text": "a"}}) == Bad("f#0", "no field known to hold text", "fields: index")


HEADS = [
    ("### 春耕生产开始\n1957-03-02\n第4版()\n专栏：\n", "春耕生产开始"),
    ("### 春耕生产开始\n1957年3月2日\n第12版(经济)\n专栏：农村来信\n\n", "春耕生产开始"),
    ("###春耕生产开始\n第1版()\n1957.03.02\n", "春耕生产开始"),
    ("春耕生产开始\n第4版()\n", ""),
    ("### 春耕生产开始\n1957-03-02\n", ""),
]


@pytest.mark.parametrize(("head", "title"), HEADS)
def test_the_head_of_a_newspaper_article_is_its_title(head: str, title: str) -> None:
    body = "各地农民下地耕作。\n1957-03-02是星期六。"
    expected = Record("f#0", title, body if title else head + body)
    assert record({"text": head + body}) == expected
    paragraphs = [{"内容": line} for line in (head + body).split("\n")]
    found = record({"段落": paragraphs})
    assert isinstance(found, Record) and (found.title, found.text.replace("\n\n", "\n")) == (
        title,
        expected.text.replace("\n\n", "\n"),
    )
