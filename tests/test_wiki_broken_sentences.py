"""Sentences that lost something: mended where nothing is missing, otherwise dropped and counted by what they lost."""

from collections import Counter

import pytest

from pipeline.wiki.rendering import close_holes, mend, render


def read(wikitext: str, *, drop: bool = True) -> tuple[str, dict[str, int]]:
    page = render(wikitext, title="柏林", list_items=True, redirects={})
    closed = close_holes(page.text, page.holes, drop=drop)
    assert closed.broken == Counter(closed.broken) and bool(closed.broken) == bool(closed.sentences)
    return mend(closed.text)[0], dict(closed.broken)


SUM = r"<math>\sum_n a_n</math>"


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        # A part of a bracket goes as a whole, or only what follows a word.
        (f"柏林（和为{SUM}，1237年建城）是首都。", "柏林（1237年建城）是首都。"),
        (f"柏林（{SUM}）是首都。", "柏林是首都。"),
        ("柏林（{{lang-de|Berlin}}{{IPA-de|bɛʁˈliːn}}）是首都。", "柏林（德语：Berlin）是首都。"),
        ("柏林（德语：{{未知|Berlin}}）是首都。", "柏林是首都。"),
        ("柏林（{{age|1990|1|1}}岁，首都）。", "柏林（首都）。"),
        ("柏林（河（{{未知|a}}）边）。", "柏林（河边）。"),
        # Items of an enumeration, and what stands alone.
        ("他会德语、{{未知|a}}、法语。", "他会德语、法语。"),
        ("柏林，{{未知|a}}，是首都。", "柏林，是首都。"),
        ("柏林是首都。{{未知|a}}", "柏林是首都。"),
        ("柏林是首都。{{未知}}河水很高。", "柏林是首都。河水很高。"),
        ("{{未知|a}}，柏林是首都。", "柏林是首都。"),
        # Boxes and signs.
        ("{{未知|a}}'''柏林'''是首都。", "柏林是首都。"),
        ("{{未知}}\n柏林是首都。", "柏林是首都。"),
        ("{{未知\n|甲}}是首都。", "是首都。"),
        ("柏林{{未知}}有墙。", "柏林有墙。"),
        (f"柏林是首都。\n:{SUM}\n其中有墙。", "柏林是首都。\n其中有墙。"),
        ("柏林是首都{{citation needed|date=2020}}。", "柏林是首都。"),
    ],
)
def test_sentences_that_miss_nothing_stay(wikitext: str, text: str) -> None:
    assert read(wikitext) == (text, {})


@pytest.mark.parametrize(
    ("sentence", "lost"),
    [
        (f"概率为{SUM}，很小。", {"<math>": 1}),
        (f"当{SUM}时成立。", {"<math>": 1}),
        (f"{SUM}是常数。", {"<math>": 1}),
        (f"公式为：{SUM}。", {"<math>": 1}),
        (f"{SUM}和{SUM}是常数。", {"<math>": 1}),
        ("面积为{{convert|{{未知|a}}|km2}}，很大。", {"Convert": 1}),
        ("他今年{{age|1990|1|1}}岁。", {"Age": 1}),
        ("柏林读作{{IPA|a}}。", {"IPA": 1}),
        ("乘火车到{{未知|a}}，再转{{别的|b}}。", {"未知": 1, "别的": 1}),
        ("著有《{{未知|a}}》等书。", {"未知": 1}),
        ("与{{未知}}建交。", {"未知": 1}),
        ("{{未知}}是首都。", {"未知": 1}),
        ("{{未知|a}}随后出航。", {"未知": 1}),
        ("柏林，{{未知|a}}随后出航。", {"未知": 1}),
        ("人口{{#invoke:人口|x}}人。", {"#invoke": 1}),
        ("今年是{{CURRENTYEAR}}年。", {"CURRENTYEAR": 1}),
        ("人口{{formatnum:{{#expr:{{未知|a}}*2}}}}人。", {"#expr": 1}),
    ],
)
def test_sentences_that_miss_something_go_and_are_counted(sentence: str, lost: dict[str, int]) -> None:
    around = "河水很高。", "（他说“有墙。”）"
    assert read(around[0] + sentence + around[1]) == ("".join(around), lost)
    kept, same = read(around[0] + sentence + around[1], drop=False)
    assert kept.startswith(around[0]) and len(kept) > len("".join(around)) and same == lost


def test_what_is_in_a_hole_does_not_reach_the_text() -> None:
    text = "柏\U00100000林\U0010fffd。\ufdd0"
    page = render(text, title="", list_items=True, redirects={})
    assert page.text == "柏林。" and page.dropped == {"reserved": 3}


def test_many_kinds_of_holes_on_a_page() -> None:
    text, lost = read("".join(f"面积为{{{{未知{number}|a}}}}。" for number in range(70_000)) + "柏林。")
    assert text == "柏林。"
    assert sum(lost.values()) == 70_000
