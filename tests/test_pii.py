"""Personal data: what is masked, and what only resembles it and stays."""

import json
import lzma
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cleaning.identifiers import is_identity_number
from pipeline.cleaning.pii import PLACEHOLDERS, mask
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
        # The second of two numbers, however they are parted.
        *(
            (f"电话13800138000{sign}13900139000{sign}13700137000。", f"电话<电话>{sign}<电话>{sign}<电话>。", {"phone": 3})
            for sign in ("/", "-", "、", " ", "，", "或", " / ", "；", "／")
        ),
        ("010-65091234/65095678", "<电话>/<电话>", {"phone": 2}),
        ("联系人：李明/13800138000-王红", "联系人：李明/<电话>-王红", {"phone": 1}),
        # Numbers that touch letters and words.
        ("Tel13800138000QQ:123456789", "Tel<电话>QQ:<账号>", {"phone": 1, "account": 1}),
        ("手机13800138000a，phone=13900139000", "手机<电话>a，phone=<电话>", {"phone": 2}),
        ("13800138000微信同号，13900139000台北陈先生", "<电话>微信同号，<电话>台北陈先生", {"phone": 2}),
        ("拨打13800138000万女士，13900139000人工服务", "拨打<电话>万女士，<电话>人工服务", {"phone": 2}),
        ("请加13800138000-802，13900139000 2019年", "请加<电话>-802，<电话> 2019年", {"phone": 2}),
        ("邮箱wang@qq.com13800138000", "邮箱<邮箱><电话>", {"mail": 1, "phone": 1}),
        # Identity numbers with spaces, and beside letters.
        ("身份证 110105 19491231 002X", "身份证 <身份证>", {"identity": 1}),
        ("ID1101 0519 4912 3100 2x，", "ID<身份证>，", {"identity": 1}),
        ("11010519491231002X张三", "<身份证>张三", {"identity": 1}),
        ("QQ：123456789、234567", "QQ：<账号>、<账号>", {"account": 2}),
        ("qq 号：12345678，加扣12345678，企鹅号：12345678", "qq 号：<账号>，加扣<账号>，企鹅号：<账号>", {"account": 3}),
        ("weixin：zhang_123，Weixin123456", "weixin：<账号>，Weixin<账号>", {"account": 2}),
        ("电话一三八零零一三八零零零，幺三玖〇〇一三八零零零", "电话<电话>，<电话>", {"phone": 2}),
        ("加我1③⑧00138000，①③⑨➀➁➂④⑤⑥⑦⑧", "加我<电话>，<电话>", {"phone": 2}),
        (
            "护照E12345678，护照号码：EA1234567，Passport No. G12345678",
            "护照<护照>，护照号码：<护照>，Passport No. <护照>",
            {"passport": 3},
        ),
        ("港澳通行证C12345678", "港澳通行证<护照>", {"passport": 1}),
        (
            "V：wang_66，徽信：wang66，微亻言wang_66，扣：12345678，企鹅12345678，Q群 12345678",
            "V：<账号>，徽信：<账号>，微亻言<账号>，扣：<账号>，企鹅<账号>，Q群 <账号>",
            {"account": 6},
        ),
        ("手机139.1234.5678", "手机<电话>", {"phone": 1}),
        ("扣扣群号12345678，q:88888888", "扣扣群号<账号>，q:<账号>", {"account": 2}),
        (
            "微信号 abc_123，加V lisi88，vx:wangwu，薇信：zhao-liu",
            "微信号 <账号>，加V <账号>，vx:<账号>，薇信：<账号>",
            {"account": 4},
        ),
        ("微信：13800138000，微信12345678", "微信：<电话>，微信<账号>", {"phone": 1, "account": 1}),
        ("账号：zhangsan 密码：abc_123!", "账号：<账号> 密码：<密码>", {"account": 1, "password": 1}),
        ("用户名:lisi@qq.com，口令为：P@ss0rd", "用户名:<邮箱>，口令为：<密码>", {"mail": 1, "password": 1}),
        ("卡号：6222021234567890128", "卡号：<银行卡>", {"card": 1}),
        ("6222 0212 3456 7890 128，4111-1111-1111-1111", "<银行卡>，<银行卡>", {"card": 2}),
        (
            "ｗａｎｇ＠ｑｑ．ｃｏｍ，wang(at)qq.com，li【@】sina.com.cn，zhao#163.com，a_b at gmail dot com，c@qq。com",
            "<邮箱>，<邮箱>，<邮箱>，<邮箱>，<邮箱>，<邮箱>",
            {"mail": 6},
        ),
        ("车牌京A12345和粤B·D12345、沪A1234学", "车牌<车牌>和<车牌>、<车牌>", {"plate": 3}),
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
        "weixin.qq.com，加扣10分，企鹅号12，139.12345678，长139.1234米，1.139.1234.5678",
        "比分3:2，时间12:30:45，std::string，C++的a::b",
        "身份证110105194912310021",
        "11010519491331002X不是日期，991015194912310024不是省份",
        "git@github.com:user/repo.git，icon@2x.png，@王小明",
        "0.13800138000，圆周率3.14159265358979",
        "人口1382710000人，面积65091234平方米",
        "单号138-0013-8000-1234-5678，编号13800138000-1234567",
        "2019-07-20-13800138000，SF13800138000",
        "110105 19491231 0021，1101 0519 4912 3100 20",
        "发票号6222021234567890128，6222 0212 3456 7890 129",
        "订单110105491231002，编号4111111111111111",
        "QQ2012版，QQ 10000年，QQ用户8000万，微信支付100000元",
        "微信iPhone版，微信公众号rmrbwx，微信Windows客户端，wx.request()，chmod g+wx dir_xyz",
        "密码：六位数字，密码是什么",
        "沪A50ETF，苏E，京A股指数，粤ABCDEF",
        "a*b，#163，look at me，C# 163",
        "价格123456789元，ISBN 7-111-07575-1，4006-123-456，95588",
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


@pytest.mark.parametrize(
    ("first", "more", "kind"),
    [
        ("13800138000", ["/13900139000"], "phone"),
        ("电话：65091234", ["、65091235"], "phone"),
        ("010-65091234", ["/13900139000", "、65091235"], "phone"),
        ("QQ：123456", ["、1234567"], "account"),
    ],
)
def test_a_row_of_numbers_that_explain_each_other_takes_time_in_proportion(first: str, more: list[str], kind: str) -> None:
    """Each number is one because of the placeholder before it. A pass over the text for each would hang here."""
    masked, counts = mask(first + "".join(more) * 10_000)
    assert counts == {kind: 1 + 10_000 * len(more)}
    assert not re.search("[0-9]", masked)


@corpus.needs_real_data
def test_real_news_hold_nothing_to_mask_and_real_notices_do() -> None:
    with lzma.open(corpus.REAL / "corpora/news/xinwenlianbo.jsonl.xz") as file:
        news = [json.loads(file.readline())["content"] for _ in range(2_000)]
    for text in news:
        assert mask(text) == (text, {})
    text = (corpus.REAL / "corpora/text/cluecorpussmall_bert_sample.txt").read_text(encoding="utf-8")
    masked, counts = mask(text)
    assert counts == {"phone": 24, "account": 46}
    assert not re.search(r"电话[:：] ?1[3-9]\d{9}(?!\d)", masked)


@pytest.mark.parametrize(
    "text",
    [
        "一九九八年二零零八年，二〇二一年一二三四五六七八九十",
        "圆周率三一四一五九二六五三五八九，①②③④⑤⑥⑦⑧⑨⑩⑪",
        "一三八零零一三八零零零万，一二八零零一三八零零零",
        "航班E12345678，护照办理12345678人次，护照A级",
        "电压V：高，词性v: abandon，企鹅有12345只，卡扣：金属",
        "微信支付，徽信念，秋秋千",
    ],
)
def test_what_resembles_disguised_data_stays(text: str) -> None:
    assert mask(text) == (text, {})
