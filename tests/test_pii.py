"""Personal data: what is masked, and what only resembles it and stays."""

import json
import lzma
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cleaning.pii import PLACEHOLDERS, is_identity_number, mask
from tests import corpus


@pytest.mark.parametrize(
    ("text", "masked", "counts"),
    [
        ("邮件wang.xm@example.com.cn，谢谢", "邮件<邮箱>，谢谢", {"mail": 1}),
        ("wang＠sina.com或li_4@qq.com", "<邮箱>或<邮箱>", {"mail": 2}),
        ("请致电13800138000。", "请致电<电话>。", {"phone": 1}),
        ("手机：+86 138-0013-8000，138 0013 8000", "手机：<电话>，<电话>", {"phone": 2}),
        ("手机１３８００１３８０００", "手机<电话>", {"phone": 1}),
        ("拨打010-65091234转802", "拨打<电话>", {"phone": 1}),
        ("（０７１７）５４０１２２０、0411-88100001", "<电话>、<电话>", {"phone": 2}),
        ("电话：65091040，传真: 021 65091040", "电话：<电话>，传真: <电话>", {"phone": 2}),
        ("身份证11010519491231002X。", "身份证<身份证>。", {"identity": 1}),
        ("身份证110105491231002", "身份证<身份证>", {"identity": 1}),
        ("服务器123.57.46.8掉线", "服务器<IP地址>掉线", {"ip": 1}),
        ("地址是2409:8a00:1234::5。", "地址是<IP地址>。", {"ip": 1}),
        (
            "致电13800138000，邮件 wang@example.com，服务器 123.57.46.8。",
            "致电<电话>，邮件 <邮箱>，服务器 <IP地址>。",
            {"phone": 1, "mail": 1, "ip": 1},
        ),
    ],
)
def test_personal_data_gives_way_to_a_placeholder(text: str, masked: str, counts: dict[str, int]) -> None:
    assert mask(text) == (masked, counts)
    assert mask(masked) == (masked, {})


@pytest.mark.parametrize(
    "text",
    [
        "2024年10月1日10:30:45，20241001，2024-10-01",
        "总额13800000000元，13800138000美元，增长138.00138000%",
        "ISBN 978-7-111-07575-2，ISBN9787111075752",
        "订单号：142184672101，物流单号 4491950，发票02840189",
        "订单号1380013800012，单号A13800138000，13800138000123",
        "https://example.com/13800138000.html?id=13912345678",
        "热线12345、95588、400-810-8888、110",
        "版本1.0.51.11，v10.15.7.12，Python 3.11.7，第1.2.3.4节",
        "内网192.168.1.10，本机127.0.0.1，掩码255.255.255.0",
        "比分3:2，时间12:30:45，std::string，C++的a::b",
        "身份证110105194912310021",
        "11010519491331002X不是日期，991015194912310024不是省份",
        "git@github.com:user/repo.git，icon@2x.png，@王小明",
        "0.13800138000，圆周率3.14159265358979",
        "人口1382710000人，面积65091234平方米",
        "<电话><邮箱><身份证><IP地址>",
    ],
)
def test_what_only_looks_like_personal_data_stays(text: str) -> None:
    assert mask(text) == (text, {})


def test_a_check_digit_tells_identity_numbers_from_others() -> None:
    right = [number for number in range(10) if is_identity_number(f"11010519491231001{number}")]
    assert len(right) == 1
    assert is_identity_number("11010519491231002X")
    assert not is_identity_number("110105194902300021"), "there is no 30 February"


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(["13800138000", "a@b.cn", "电话：", "0571-87654321", "，", "1", " ", "-", "8.8.120.33", "@", "中"])
    )
)
def test_masking_is_done_once_and_keeps_all_else(parts: list[str]) -> None:
    masked, counts = mask("".join(parts))
    assert mask(masked) == (masked, {})
    assert sum(masked.count(placeholder) for placeholder in PLACEHOLDERS.values()) == sum(counts.values())
    assert masked.count("中") == parts.count("中")


def test_numbers_far_apart_and_close_together_are_all_found() -> None:
    for gap in ("，", "，" * 15, "，" * 25, "，" * 400):
        text = gap.join(["13800138000", "a@b.cn", "0571-87654321"] * 3)
        assert mask(text) == (gap.join(["<电话>", "<邮箱>", "<电话>"] * 3), {"phone": 6, "mail": 3})


@pytest.mark.parametrize("text", ["1-" * 50_000, "a@" * 50_000, "a." * 50_000 + "@", "2001:" * 20_000, "０" * 100_000])
def test_long_strings_take_time_in_proportion(text: str) -> None:
    """A pattern that went back and forth would hang here."""
    assert mask(text)[1] == {}


@corpus.needs_real_data
def test_real_news_hold_nothing_to_mask_and_real_notices_do() -> None:
    with lzma.open(corpus.REAL / "corpora/news/xinwenlianbo.jsonl.xz") as file:
        news = [json.loads(file.readline())["content"] for _ in range(2_000)]
    for text in news:
        assert mask(text) == (text, {})
    text = (corpus.REAL / "corpora/text/cluecorpussmall_bert_sample.txt").read_text(encoding="utf-8")
    masked, counts = mask(text)
    assert counts == {"phone": 23}
    assert not re.search(r"电话[:：] ?1[3-9]\d{9}(?!\d)", masked)
