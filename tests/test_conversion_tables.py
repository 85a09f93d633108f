"""Text without -{ }- rules: traditional text stays whole, names and words of regions, MediaWiki's own tables."""

import importlib.util
import unicodedata

import opencc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import SourceConfig
from pipeline.errors import CorpusError
from pipeline.wiki.conversion import mediawiki_tables
from pipeline.wiki.conversion.converter import Converter
from pipeline.wiki.conversion.variants import to_variant, tool

INSTALLED = importlib.util.find_spec("zhconv_rs") is not None
needs_tables = pytest.mark.skipif(
    not INSTALLED, reason="MediaWiki's tables are not installed: pip install 'nezha-pipe[mediawiki]'"
)
TRADITIONAL = [
    "岳飛是南宋名將，岳陽樓在洞庭湖邊", "咸豐年間，老少咸宜", "這種氣候適合種植，合適的場合", "皇后與太后，後來的影后",
    "公里、里長與鄰里，屋裡面", "台灣的臺北車站月台", "若干年後干擾消失，乾淨的幹部", "范仲淹與范縝的模範", "丑時的小丑很醜",
    "山谷裡的稻穀", "子曰詩云，白雲飄", "余光中的餘生", "對面的麵包店", "系統與關係，聯繫", "北斗星與鬥爭，斗六的漏斗",
    "長征與徵收，征服", "松樹下放鬆", "占卜與蘿蔔，占星術", "尸位素餐的屍體", "長吁短嘆地呼籲", "同志編雜誌，志願",
    "只有一隻貓，不只如此", "游泳與旅遊，下游", "準備批准，准許", "沖洗與衝突", "回家與迴避，回覆", "注意與註冊，注釋",
    "採取豐采，神采", "周圍每週，周公", "布匹與公佈欄", "朴正熙很樸素", "復興與重複，覆蓋", "升起的昇平", "表面的手錶",
    "捲起的卷軸，試卷", "向前的嚮導", "家具齊全", "托福與委託", "曲線與酒麴", "出發的一齣戲，頭髮", "岩石峭壁",
    "沈先生的墨沈", "姜維與生薑", "葉公好龍", "術語與白朮", "制度與製造，機制作用", "王后的御前侍衛", "涂先生塗鴉",
    "几案旁幾個人", "鐘錶與鍾情", "仆倒的僕人", "杰克與傑出人物", "于右任位於陝西", "并州與並且", "借書與憑藉",
]  # fmt: skip
"""Characters of both scripts beside others that tell the script."""


@pytest.mark.parametrize("variant", ["zh-hant", "zh-tw"])
@pytest.mark.parametrize("text", TRADITIONAL)
def test_traditional_text_stays_as_it_is(text: str, variant: str) -> None:
    assert to_variant(text, variant) == text


@pytest.mark.parametrize("text", TRADITIONAL)
def test_hong_kong_takes_its_own_forms_alone(text: str) -> None:
    forms = str.maketrans("裡占", "裏佔")
    assert to_variant(text, "zh-hk").translate(forms) == text.translate(forms)


@settings(deadline=None)
@given(st.lists(st.sampled_from(TRADITIONAL), min_size=1), st.sampled_from(["zh-hant", "zh-tw"]))
def test_traditional_text_of_any_length_stays(texts: list[str], variant: str) -> None:
    text = "。".join(texts)
    assert to_variant(text, variant) == text


@pytest.mark.parametrize(
    ("mainland", "taiwan", "hong_kong"),
    [
        ("斯大林与赫鲁晓夫", "史達林與赫魯雪夫", "史太林與赫魯曉夫"),
        ("奥巴马和意大利总理", "歐巴馬和義大利總理", "奧巴馬和意大利總理"),
        ("新西兰的软件和网络", "紐西蘭的軟體和網路", "新西蘭的軟件和網絡"),
        ("服务器与鼠标", "伺服器與滑鼠", "伺服器與滑鼠"),
        ("老挝、卢旺达和克罗地亚", "寮國、盧安達和克羅埃西亞", "老撾、盧旺達和克羅地亞"),
    ],
)
def test_names_and_words_of_regions(mainland: str, taiwan: str, hong_kong: str) -> None:
    for text in (mainland, taiwan, hong_kong):
        assert to_variant(text, "zh-cn") == mainland
        assert to_variant(text, "zh-sg") == to_variant(text, "zh-cn")
    assert to_variant(mainland, "zh-hk") == to_variant(taiwan, "zh-hk") == to_variant(taiwan, "zh-mo") == hong_kong
    assert to_variant(hong_kong, "zh-hk") == hong_kong and to_variant(taiwan, "zh-tw") == taiwan


def test_what_is_no_word_of_one_region_stays() -> None:
    assert to_variant("核心的建立與資訊", "zh-cn") == "核心的建立与资讯"
    assert to_variant("法庭的程序和支持", "zh-tw") == "法庭的程序和支持"
    assert to_variant("30米长的士气", "zh-tw") == "30米長的士氣"
    assert to_variant("軟體動物", "zh-cn") == "软体动物"


def test_a_word_inside_another_is_none() -> None:
    assert to_variant("厄瓜多尔与伊利诺伊，尼日尔", "zh-cn") == "厄瓜多尔与伊利诺伊，尼日尔"
    assert to_variant("四川普通話，說到川普", "zh-cn") == "四川普通话，说到特朗普"
    assert to_variant("今天世界面臨的王后金氏", "zh-cn") == "今天世界面临的王后金氏"
    assert to_variant("今天世界面临的飞机制造与机制", "zh-tw") == "今天世界面臨的飛機製造與機制"


@pytest.mark.parametrize(
    ("simplified", "traditional"),
    [
        ("其余十余人，余先生与余部", "其餘十餘人，余先生與餘部"),
        ("签字、标签与抽签，上上签", "簽字、標籤與抽籤，上上籤"),
        ("忧郁的郁先生，浓郁的郁金香", "憂鬱的郁先生，濃郁的鬱金香"),
        ("风起云涌的葵涌", "風起雲湧的葵涌"),
        ("征收税款的远征军征服了特征，远征集团", "徵收稅款的遠征軍征服了特徵，遠征集團"),
        ("可能会尽量回复，回复正常与回复读者", "可能會儘量回覆，回復正常與回覆讀者"),
        ("更复杂的复制，人口和面积", "更複雜的複製，人口和面積"),
        ("电子游戏与游动与水上游客", "電子遊戲與游動與水上遊客"),
        ("他干得很好，干净利落，干支流与塔什干", "他幹得很好，乾淨利落，幹支流與塔什干"),
        ("伟大斗争，整体制作与体制作用", "偉大鬥爭，整體製作與體制作用"),
        ("面包车与里面包括，方面包含", "麵包車與裡面包括，方面包含"),
        ("数百只鸟", "數百隻鳥"),
        ("准备与核准备案", "準備與核准備案"),
        ("三天后与天后宫，28天后", "三天後與天后宮，28天後"),
        ("此系列与关系统一", "此系列與關係統一"),
        ("单一出台与另一出口，这出戏", "單一出台與另一出口，這齣戲"),
        ("史记云：甲，分子云", "史記云：甲，分子雲"),
        ("墙上水表显示，水表示意", "牆上水錶顯示，水表示意"),
        ("资治通鉴，厘清巨鹿与岳麓，这家伙与国家伙伴", "資治通鑑，釐清鉅鹿與嶽麓，這傢伙與國家夥伴"),
        ("太咸，老少咸宜，咸淡适中", "太鹹，老少咸宜，鹹淡適中"),
        ("国王后来与王后", "國王後來與王后"),
    ],
)
def test_the_character_that_is_meant(simplified: str, traditional: str) -> None:
    assert to_variant(simplified, "zh-tw") == traditional
    assert to_variant(traditional, "zh-tw") == traditional, "traditional text is left alone"


@pytest.mark.parametrize(
    ("mainland", "taiwan", "hong_kong"),
    [
        ("源代码的字段，文字段落", "原始碼的欄位，文字段落", "原始碼的字段，文字段落"),
        ("打印度，打印文件", "打印度，列印文件", "打印度，打印文件"),
        ("互联网络与局域网络", "網際網路與區域網路", "互聯網絡與區域網絡"),
        ("国家知识产权局的知识产权", "國家知識產權局的智慧財產權", "國家知識產權局的知識產權"),
        ("泄漏隐私，新泽西州", "洩漏隱私，新澤西州", "泄漏私隱，新澤西州"),
        ("理查德在乍得和波黑，一波黑客", "理察在查德和波赫，一波黑客", "理查德在乍得和波黑，一波黑客"),
        ("冰淇淋、榴莲和俯卧撑", "冰淇淋、榴槤和伏地挺身", "雪糕、榴槤和掌上壓"),
        ("雇员在击剑，攻击剑士", "雇員在擊劍，攻擊劍士", "僱員在劍擊，攻擊劍士"),
    ],
)
def test_words_of_regions_where_they_are_words(mainland: str, taiwan: str, hong_kong: str) -> None:
    assert (to_variant(mainland, "zh-tw"), to_variant(mainland, "zh-hk")) == (taiwan, hong_kong)


def test_particles_of_simplified_text_that_writes_them_as_taiwan_does() -> None:
    assert to_variant("随著时间，他的理论新著，李白著。显著", "zh-cn") == "随着时间，他的理论新著，李白著。显著"


def test_scripts_have_no_words_of_their_own() -> None:
    assert to_variant("義大利的軟體", "zh-hans") == "义大利的软体"
    assert to_variant("意大利的软件", "zh-hant") == "意大利的軟件"


def test_each_clause_is_in_its_own_script() -> None:
    text = "岳飛字鵬舉，后来被杀。咸豐年間，皇后说咸菜里面干净。適合。"
    assert to_variant(text, "zh-tw") == "岳飛字鵬舉，後來被殺。咸豐年間，皇后說鹹菜裡面乾淨。適合。"
    assert to_variant("他說「体育与机会」，后来走了", "zh-hant") == "他說「體育與機會」，後來走了"


def test_quotation_marks() -> None:
    assert to_variant("他说：「『甲』是乙」", "zh-cn") == "他说：“‘甲’是乙”"
    assert to_variant("他說：「甲」", "zh-hans") == "他说：“甲”"
    assert to_variant("他说：“‘甲’是乙”，don’t", "zh-tw") == "他說：「『甲』是乙」，don’t"


def test_li_in_names_is_not_inside() -> None:
    assert to_variant("埃里克在家里，比里奇在这里", "zh-tw") == "埃里克在家裡，比里奇在這裡"


def test_a_title_is_in_the_script_of_its_text() -> None:
    text = "范云是南朝的詩人。"
    assert Converter("zh-tw", {}).convert(text, title="范云").title == "范云"
    assert Converter("zh-tw", {}).convert(f"{text}-{{H|zh-tw:甲;zh-cn:乙}}-", title="范云").title == "范云"


def test_characters_beyond_the_basic_plane() -> None:
    assert to_variant("𪢮圞月兒", "zh-hant") == opencc.OpenCC("s2t").convert("𪢮圞月兒")


@pytest.mark.parametrize("variant", ["zh-cn", "zh-tw", "zh-hk", "zh-hant"])
def test_no_character_is_lost(variant: str) -> None:
    """OpenCC turns some rare characters into ones beyond the basic plane (㓆 into 𠗣), which tables of that plane lack."""
    ideographs = "\n".join(map(chr, (*range(0x3400, 0x4DC0), *range(0x4E00, 0xA000))))
    converted = to_variant(ideographs, variant).split("\n")
    assert all(len(one) == 1 and unicodedata.category(one) == "Lo" for one in converted)
    assert to_variant("㓆䙊", "zh-tw") == "𠗣𧜵"


@pytest.mark.skipif(INSTALLED, reason="the optional package is installed")
def test_tables_that_are_not_installed_are_named() -> None:
    with pytest.raises(CorpusError, match=r"pip install 'nezha-pipe\[mediawiki\]'"):
        tool("mediawiki")


@needs_tables
def test_tables_of_mediawiki() -> None:
    text = "史達林的軟體，岳飛說：「適合」"
    assert to_variant(text, "zh-cn", "mediawiki") == "斯大林的软件，岳飞说：“适合”"
    assert to_variant(text, "zh-tw", "mediawiki") == text
    page = Converter("zh-cn", {}, "mediawiki").convert("軟體-{zh-cn:线;zh-tw:線}-與-{軟體}-", title="義大利")
    assert (page.text, page.title) == ("软件线与軟體", "意大利")
    assert tool("mediawiki") == {"zhconv-rs": mediawiki_tables.version()}


def test_tables_of_a_source_that_converts_nothing_do_not_matter() -> None:
    source = SourceConfig(name="n", kind="news", variant_tables="mediawiki")
    assert source.resolved().variant_tables == "opencc" and tool("opencc") == {}
