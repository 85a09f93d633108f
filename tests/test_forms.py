"""Forms of text: real verse and classical prose, dialogues and lists, and that rules for prose spare what is no prose."""

import numpy as np
import pytest

from pipeline.cleaning import forms, language, quality
from pipeline.config import FilterConfig

# Poems of Tang and Song, 诗经, 论语, 史记 and 红楼梦 are in the public domain; the rest was written for these tests.
QUATRAINS = """白日依山尽
黄河入海流
欲穷千里目
更上一层楼
千山鸟飞绝
万径人踪灭
孤舟蓑笠翁
独钓寒江雪
空山不见人
但闻人语响
返景入深林
复照青苔上
独坐幽篁里
弹琴复长啸
深林人不知
明月来相照
移舟泊烟渚
日暮客愁新
野旷天低树
江清月近人
松下问童子
言师采药去
只在此山中
云深不知处"""
REGULATED = """国破山河在，城春草木深。
感时花溅泪，恨别鸟惊心。
烽火连三月，家书抵万金。
白头搔更短，浑欲不胜簪。
风急天高猿啸哀，渚清沙白鸟飞回。
无边落木萧萧下，不尽长江滚滚来。
万里悲秋常作客，百年多病独登台。
艰难苦恨繁霜鬓，潦倒新停浊酒杯。"""
ODES = """关关雎鸠
在河之洲
窈窕淑女
君子好逑
参差荇菜
左右流之
窈窕淑女
寤寐求之
求之不得
寤寐思服
悠哉悠哉
辗转反侧
参差荇菜
左右采之
窈窕淑女
琴瑟友之
参差荇菜
左右芼之
窈窕淑女
钟鼓乐之
蒹葭苍苍
白露为霜
所谓伊人
在水一方
溯洄从之
道阻且长
溯游从之
宛在水中央"""
SONG_LYRIC = """明月几时有
把酒问青天
不知天上宫阙
今夕是何年
我欲乘风归去
又恐琼楼玉宇
高处不胜寒
起舞弄清影
何似在人间
转朱阁
低绮户
照无眠
不应有恨
何事长向别时圆
人有悲欢离合
月有阴晴圆缺
此事古难全
但愿人长久
千里共婵娟"""
SONG = """你说过的话我都还记得
那年的风吹过我们的窗
我把你的名字写在手上
一路走一路想
我们都会好的
别怕天黑了没有光
我们都会好的
等到你来了我就不慌
后来的我去了很远的地方
看过了海也看过了山
可是你不在我的身旁
风景再好也不过是这样
我们都会好的
别怕天黑了没有光"""
MODERN = """在桥上等一场雨
等它把石头洗亮
等一只鸟从雾里回来
带着去年的种子
河水记得每一个名字
却从不说出口
它只是慢慢地流
像祖母缝补旧衣裳
夜里有人敲门
门外只有月光
我把灯移到窗边
让它照见那条小路"""
CHAT = """小雨：周末你们有空吗
阿杰：有啊，去哪儿
小雨：我想去爬山
阿杰：又爬山，上次腿疼了三天
大鹏：我都行，你们定吧
小雨：那要不去看展
阿杰：这个可以
大鹏：几点出发，我得先送孩子
小雨：十点地铁口见
阿杰：好，谁迟到谁请奶茶
大鹏：肯定又是你
阿杰：不可能，这次我早到"""
MESSAGES = """在吗
我刚到家，你吃了没
还没呢，等你一起
那我去买菜
不用了，家里还有鱼
好，我来做，你歇着吧
你昨天说的那件事怎么样了
还能怎么样，人家不要我了
别难过，会有更好的
我知道，就是有点不甘心
来，先吃饭，吃完我陪你去走走
嗯，谢谢你一直都在
我们是朋友啊，这有什么
那说好了，下个月一起去看海
好，一言为定，谁也不许反悔"""
PLAY = """掌柜：客官里边请，坐这儿吧。
唐先生：掌柜的，近来生意怎么样？
掌柜：还过得去，您看着气色比去年好多了。
唐先生：好什么，不过是换了一件衣裳。
掌柜：那也是好的，您还是老样子，一壶茶？
唐先生：一壶茶，再来两个烧饼，等我发了财还你。"""
PLOT = """渡口镇的船工救起一个落水的女人，她什么也不记得……
镇上的人说她是逃婚的小姐，也有人说她是探子……
就在成亲的前一夜，一队骑兵开进了镇子……
阿莲看见照片上的自己，忽然想起了一切……
那份名单，此刻就缝在她随身的棉袄里……
枪声在身后响起，河水把两岸的灯火摇得粉碎……"""
ANALECTS = """子曰：“学而时习之，不亦说乎？有朋自远方来，不亦乐乎？人不知而不愠，不亦君子乎？”
有子曰：“其为人也孝弟，而好犯上者，鲜矣；不好犯上，而好作乱者，未之有也。君子务本，本立而道生。孝弟也者，其为仁之本与！”
曾子曰：“吾日三省吾身：为人谋而不忠乎？与朋友交而不信乎？传不习乎？”"""
RECORDS = """项籍者，下相人也，字羽。初起时，年二十四。其季父项梁，梁父即楚将项燕，为秦将王翦所戮者也。
项氏世世为楚将，封于项，故姓项氏。
项籍少时，学书不成，去学剑，又不成。项梁怒之。籍曰：“书足以记名姓而已。剑一人敌，不足学，学万人敌。”于是项梁乃教籍兵法，籍大喜，略知其意，又不肯竟学。"""
NOVEL = """黛玉笑道：“我不过是一句玩话，你就急了。”宝玉听了，忙陪笑道：“好妹妹，我再不敢了。”说着，便将那本书收了起来。
正说着，只见袭人走来，说道：“那里没找到，摸在这里来。那边大老爷身上不好，姑娘们都过去请安，老太太叫打发你去呢。快回去换衣裳去罢。”"""
GOODS = """直导柱 SUJ2 D16 L100
直导柱 SUJ2 D20 L120
带肩导套 GCr15 D16 L40
推杆 SKD61 D4 L150
推管 SKD61 D8 L150
浇口套 S45C D35"""
FIRMS = """华信证券上海中山路营业部
国元证券合肥金寨路营业部
中天证券杭州延安路营业部
长城证券深圳深南路营业部
东海证券南京洪武路营业部
海通证券太原新建路营业部"""
HEADLINES = """安全员考试题库及答案
安全员考试报名时间
安全员证怎么考
建筑安全员证的区别
安全员继续教育登录入口
安全员证书查询网站
安全员考试模拟试题
安全员证有效期几年
安全员岗位职责"""
PROPERTIES = """产品名称：便携式气体检测仪
产品型号：QT-400B
检测方式：扩散式
分辨率：1ppm
响应时间：T90≤30s
防护等级：IP65"""
NEWS = "国务院总理在北京会见外宾，双方就经贸合作和人文交流交换了意见，并共同见证了有关协议的签署。"


def recognised(text: str) -> str:
    return str(forms.recognise([text], language.detect([text])[0], quality.measure([text]))[0])


@pytest.mark.parametrize(
    ("text", "form"),
    [
        *((text, "verse") for text in (QUATRAINS, REGULATED, ODES, SONG_LYRIC, SONG, MODERN)),
        *((text, "dialogue") for text in (CHAT, MESSAGES, PLAY)),
        *((text, "classical") for text in (ANALECTS, RECORDS)),
        *((text, "prose") for text in (NOVEL, PLOT, NEWS, GOODS, FIRMS, HEADLINES, PROPERTIES, "", "好")),
    ],
)
def test_the_form_of_a_text(text: str, form: str) -> None:
    assert recognised(text) == form


@pytest.mark.parametrize(
    "text", [QUATRAINS, REGULATED, ODES, SONG_LYRIC, SONG, MODERN, CHAT, MESSAGES, PLAY, PLOT, ANALECTS, RECORDS]
)
def test_rules_for_prose_keep_what_is_no_prose(text: str) -> None:
    columns = {**quality.measure([text, NEWS]), "language": language.detect([text, NEWS])[0]}
    columns["form"] = forms.recognise([text, NEWS], columns["language"], columns)
    assert quality.decide(columns, FilterConfig()).tolist() == ["", ""]


def test_lists_are_judged_as_prose() -> None:
    """Lines without sentences and common words are dropped, whatever their number."""
    names = "\n".join(f"{name}证券{place}营业部" for name in "华信国元中天长城东海" for place in ("上海", "合肥", "杭州"))
    columns = quality.measure([names, NEWS])
    languages = language.detect([names, NEWS])[0]
    columns["form"] = forms.recognise([names, NEWS], languages, columns)
    assert columns["form"].tolist() == ["prose", "prose"]
    assert quality.decide({**columns, "language": languages}, FilterConfig()).tolist() == ["stopwords", ""]


def test_forms_of_many_texts_are_those_of_each() -> None:
    texts = [QUATRAINS, CHAT, ANALECTS, GOODS, NEWS]
    together = forms.recognise(texts, language.detect(texts)[0], quality.measure(texts))
    assert together.tolist() == [recognised(text) for text in texts]
    assert len(forms.recognise([], np.array([], "<U5"), quality.measure([]))) == 0
