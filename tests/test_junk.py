"""The score for junk web pages: labelled pages that are hard to tell, good text of many kinds, what it names, its weights."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.junk_weights import Page, labelled, main, measured
from pipeline.cleaning import quality
from pipeline.cleaning.web import junk
from pipeline.config import FilterConfig

DATA = Path(__file__).parent / "data"
HARD = DATA / "web_pages_hard.txt"


def reasons(pages: list[tuple[str, str]]) -> list[str]:
    columns, scripts = measured(pages)
    columns |= junk.judge(pages, scripts, columns)
    return [str(reason) for reason in quality.decide(columns, FilterConfig())]


def judged(title: str, text: str) -> tuple[float, str]:
    columns, scripts = measured([(title, text)])
    found = junk.judge([(title, text)], scripts, columns)
    return float(found["junk"][0]), str(found["junk_signs"][0])


def wrong(pages: list[Page]) -> tuple[float, float, list[str]]:
    """The ratio of junk among the kept pages and of dropped ones among the good, and the titles of both."""
    dropped = reasons([(page.title, page.text) for page in pages])
    kept = Counter(page.is_junk for page, reason in zip(pages, dropped, strict=True) if not reason)
    good = sum(not page.is_junk for page in pages)
    titles = [page.title for page, reason in zip(pages, dropped, strict=True) if page.is_junk != bool(reason)]
    return kept[True] / kept.total(), 1 - kept[False] / good, titles


def test_of_half_of_all_labelled_pages_few_kept_ones_are_junk() -> None:
    """Without the score, it is more than a quarter. Those of the hard file were not trained on, the others were."""
    pages = [page for page in labelled(HARD) if page.held_out] + labelled(DATA / "web_pages.txt")[1::2]
    assert len(pages) > 120
    bad, lost, titles = wrong(pages)
    assert bad <= 0.15 and lost <= 0.03, titles


def test_hard_pages_that_were_not_trained_on() -> None:
    """Readable advertising and nonsense without any sales word: 10 of the 46 kept are junk."""
    bad, lost, titles = wrong([page for page in labelled(HARD) if page.held_out])
    assert bad <= 0.22 and lost <= 0.03, titles


GOOD = {
    "review": "房间比照片上小一些，不过很干净，床也舒服。前台的小姑娘听说我们带着老人，主动换到了低楼层。早餐品种一般，粥不错。"
    "唯一的缺点是隔音差，早上六点就被走廊里的行李箱吵醒了。离地铁站走路五分钟，下次来还住这里。",
    "forum": "楼主说的这个问题我也碰到过，换了三根线都不行，最后发现是主板电池没电了，时间一直停在2010年，证书校验过不去。"
    "买一颗两块钱的纽扣电池换上就好了，换之前记得把静电放掉，不懂的话拍照发上来。",
    "provisions": "第三条 有下列情形之一的，人民法院不予受理：\n（一）超过法律规定的起诉期限且无正当理由的；\n"
    "（二）起诉人不具有原告主体资格的；\n（三）诉讼请求属于行政机关自行处理范围的；\n（四）已经撤回起诉、无正当理由再次起诉的；\n"
    "第四条 当事人对裁定不服的，可以在十日内上诉；",
    "recipe": "鸡蛋三个打散，加一点盐和半勺水。西红柿切块，葱切段。锅热了放油，油冒烟倒蛋液，凝固了马上盛出来，别炒老了。\n"
    "再放一点油，下葱段和西红柿，炒到出汁，加一勺糖。把鸡蛋倒回去翻两下，出锅。喜欢汤多的可以加半碗水，煮开再放蛋。",
    "verse": "我把灯吹灭\n让月光进来\n它坐在床边\n像多年以前的母亲\n不说话\n只把被角\n往我的肩上\n轻轻地\n掖了一掖",
    "dialogue": "甲：你昨天去哪里了？\n乙：去医院看我外婆，她摔了一跤。\n"
    "甲：要紧吗？\n乙：不要紧，就是吓着了，一直拉着我的手不放。\n"
    "甲：那你今天还去吗？\n乙：去，给她带点粥，她说医院的粥没有米。",
    "classical": "余幼时尝从先君子游，先君子性嗜山水，每遇林壑之胜，辄徘徊不能去。余方童稚，不知其乐也。"
    "及先君子没，余复至其地，松声泉响，宛然如昨，而不复闻謦咳矣。于是乃知向之所以不去者，非独为山水也。",
    "science": "铁在潮湿的空气中会生锈，这是铁与氧气、水共同作用的结果。铁锈疏松多孔，不能阻止里面的铁继续反应，"
    "所以一块铁可以完全锈蚀。"
    "铝的表面也会被氧化，但是氧化铝致密，像一层保护膜。防锈的办法是隔绝水和空气：涂油、刷漆、镀上一层锌或者做成不锈钢。",
}


@pytest.mark.parametrize("kind", GOOD)
def test_good_text_of_all_kinds_is_kept(kind: str) -> None:
    assert reasons([("", GOOD[kind])]) == [""], judged("", GOOD[kind])


def test_the_measures_that_condemn_a_page_are_named() -> None:
    page = next(page for page in labelled(HARD) if page.title.startswith("铝单板的应用范围"))
    title, text = page.title, page.text
    probability, signs = judged(title, text)
    assert probability > 0.45 and reasons([(title, text)]) == ["junk"]
    assert signs == "title repeated in the text, no dates or quotations, no people"
    # In both scripts, and not for other sources.
    traditional = "鋁單板具有重量輕、強度高的優點，鋁單板的表面美觀，深受廣大用戶的喜愛。鋁單板安裝方便，可以提高建築的品位。"
    simplified = "铝单板具有重量轻、强度高的优点，铝单板的表面美观，深受广大用户的喜爱。铝单板安装方便，可以提高建筑的品位。"
    assert judged("鋁單板的優點", traditional)[0] == pytest.approx(judged("铝单板的优点", simplified)[0], abs=0.01)
    columns, scripts = measured([("", text)])
    off = junk.judge([("", text)], scripts, columns, is_web=False)
    assert off["junk"].tolist() == [0] and off["junk_signs"].tolist() == [""]


def test_no_page_at_all() -> None:
    found = junk.judge([], np.array([], "<U5"), {})
    assert [len(found[name]) for name, _ in junk.COLUMNS] == [0, 0]


def test_a_page_has_the_same_score_alone_and_among_others() -> None:
    pages = [(page.title, page.text) for page in labelled(HARD)[:20]]
    columns, scripts = measured(pages)
    together = junk.judge(pages, scripts, columns)["junk"]
    np.testing.assert_array_equal(together, np.array([judged(*page)[0] for page in pages], np.float32))


def test_weights_are_trained_from_pages_and_text(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = "\n".join(json.dumps({"text": GOOD["science"] + f"第{number}页。"}, ensure_ascii=False) for number in range(20))
    (tmp_path / "good.jsonl").write_text(text, encoding="utf-8")
    arguments = ["--pages", str(DATA / "web_pages.txt"), str(HARD), "--good", str(tmp_path / "good.jsonl")]
    outputs = []
    for _ in range(2):
        main(arguments)
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    rules, both, _, weights = outputs[0].splitlines()
    assert rules.startswith("rules: ") and both.startswith("rules and weights, cross-validated: ")
    trained = json.loads(weights)["signs"]
    assert all(trained[name]["weight"] * direction >= 0 for name, (direction, _, _) in junk.SIGNS.items())
    assert trained["advertising"]["weight"] > 0.3
