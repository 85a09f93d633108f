"""Which of several traditional characters a simplified one stands for, where OpenCC's dictionaries choose wrongly.

    chosen("会尽量回复，其余签字")   ->   [(1, "儘"), (5, "餘"), (6, "簽"), ...]: place and character

OpenCC knows words, and takes the most frequent character outside of them: 签 is 籤 (a lot) there, and 余 is 餘 (rest) in each
name. It also finds words across borders: 更復|雜, 人口和|麵積.
"""

import functools
import re
from collections.abc import Iterator

_RULES = r"""
余 餘 [0-9０-９十百千万亿多无茶]余 [其剩业盈残结富工课冗节劫之零闲空宽公绪羡积]余 有余(?![光秋华])
余 餘 余[额生下地震热波数弦党孽味音晖辉威毒粮烬兴切裕荫众罪力量款留存票悸暇角温氯]
余 餘 余[姚杭干江庆部] [扶夫]余 [仅尚只所同]余(?!光|秋|华)
余 余 余
签 籤 [标书牙竹抽求解灵掣便题]签(?![署字约订名证发到收]) 中签(?=率|号|者|，|。|的) 签[诗筒文条运] 上上签 支签 轮签 秀签
签 簽 签
勋 勳 [功授]勋 勋[章爵绩业]
勋 勛 勋
郁 鬱 [忧抑沉阴葱苍蓊肝解气]郁 郁[闷积结卒金热火悒愤抑林南江血] 郁郁
郁 郁 郁
涌 湧 涌[现入出向来上进起流泉水] [汹泉蜂云翻潮]涌 涌动 奔涌 喷涌
涌 涌 涌
征 徵 [特象体表指应衍合性本课]征(?![服讨伐战途程]) 征[求税询婚文稿聘候兆信募订缴管购得才]
征 徵 [魏文]征 征状 加征(?![剿讨伐]) 开征 免征
征 徵 (?<![远出亲西东南北长])征[收集兵召用调引地选辟]
征 征 征
雇 僱 雇佣 解雇
雇 雇 雇
里 裡 [镇校班厂队店]里 版本里 深海里 函数里 假日里
恒 恒 恒[生隆基指]
恒 恆 恒
冲 沖 冲[村乡镇绳积销制剂] [何韩狐文]冲 冲口(?!而)
冲 衝 冲[击突撞动刺锋进]
干 干 (?<![偶巴涂])尔干 ·干 塔什干 乌干达 干[杉沙]
干 乾 干[旱脆净燥]
干 幹 干支流 干[点些](?=什|事|活|啥|正) 干得(?=好|很|不|出|漂) 干的[事活] 干[活劲嘛啥什掉] [我你他谁们]干的
斗 鬥 斗争
面 面 面[积貌板部目向前容孔临] [液直]面 面塑造 面团[队体结员长]
面 麵 (?<![方里外下上后前界页])面包(?![括含围裹容庇办揽装])
只 隻 [百千万亿]只(?![能会是要有需用在可得差卖花够剩为供限对做])
只 只 是只[是有需能会在要] 单只 之一只(?=[“「是有能]) 多只[需在是有会能对]
准 準 (?<![核批获])准[备确时绳则]
后 後 [0-9０-９一二三四五六七八九十几数多两]天后(?!宫) [学完建生形达促]成后
后 後 [群川]后 公元后 后(?=来(?!到)|期|面|续|代|世|果|裔|端|半)
发 發 [击激]发
复 複 复[杂印眼习] (?<!收)复制 行复线
复 覆 回复(?=[读客消短留邮帖，。！])
复 復 回复(?=清醒|为|生命|我方|原|到|正常|生[机气]|自由|知觉|意识|健康|元气|平静|旧|体力|帝) 复校(?!验) 复名 [又并被]复[名职]
回 回 回流(?![焊炉比]) [捉放送取]回雪
回 迴 回[响旋避]
系 係 关系 [，。；：]系(?=[由指为])
系 系 (?<![关联])系[列统]
于 於 于(?=波[兰士斯罗多图黑]|越[南共]|军人) [附在对由属位源产起始死生出处役力逝用]于
云 云 》云(?![端版服]) [书诗传记语经注条人所志史]云(?=[：:，“「])
云 雲 [分原电离粒质]子云 有云[林层雾龙杉南服端平能上存] 小云
表 表 (?<![手钟怀])表[示面演现达明情决态述格彰扬露]
出 出 一出(?=版|口|台|现|生|来|去|手|门|场|道|世|发|任|色|资|战|租)
志 志 志愿
志 誌 标志
汇 匯 汇[集合流入率款兑]
历 曆 农历 延历寺 历[法书]
尽 儘 尽[管快早量] 尽可能
出 齣 [这那]出(?=戏|喜剧|悲剧|歌剧|音乐剧|京剧|话剧|黑色喜剧)
赞 讚 赞赏 [点个]赞 称赞 赞一个
曲 曲 大曲(?!酒)
卷 卷 花卷[市站车町机]
借 借 借词
借 藉 借[由口]
几 幾 几[乎十百千万个]
踊 踴 踊跃
丑 醜 丑[闻陋恶态化]
须 鬚 胡须
卤 滷 卤[水味肉面蛋鸡鸭汁料制煮] 打卤
钟 鍾 钟[山楚欣]
霉 霉 走霉 霉[运变味斑]
恶 噁 恶心
鉴 鑑 [借评通印明殷]鉴 鉴湖
厘 釐 厘[清订定] 毫厘
家 傢 家(?=伙(?!伴|计))
了 瞭 了然于
岳 嶽 岳麓
巨 鉅 巨[野鹿]
咸 鹹 咸[淡鸭蛋鱼肉味甜辣] [很太偏微酸甜]咸
注 註 (?<![关灌专倾贯输下投加])注(?=[：:])
注 注 加注
制 制 [体机]制(?!作(?![用为])|造)
制 製 自制(?=的|了|作|特|剧|节) 制茶 (?<![体机限控])制[铁钢] (?<![机体控限强抵编节管牵自])制[取得](?![到得出胜])
制 製 体制作 创制文 和制英
腭 腭 腭
扎 扎 扎根
游 遊 游[戏览客行乐园玩]
游 游 游[动击离泳弋] [上中下]游
"""
"""A simplified character, the traditional one, and where: regular expressions around the simplified one. The first that fits
counts; of a line whose expression is the character alone, that is anywhere else. Where no line fits, OpenCC's choice stands."""


def chosen(text: str) -> Iterator[tuple[int, str]]:
    """Yield places of a text in simplified script and the traditional character that belongs there."""
    for character, (pattern, choices) in _patterns().items():
        if character in text:
            for match in pattern.finditer(text):
                yield match.start(), choices[(match.lastindex or 1) - 1]


@functools.cache
def _patterns() -> dict[str, tuple[re.Pattern[str], str]]:
    """Return for each simplified character an expression with a group for each line about it, and their characters."""
    groups: dict[str, list[str]] = {}
    choices: dict[str, str] = {}
    for line in _RULES.strip().split("\n"):
        character, choice, *words = line.split(" ")
        groups.setdefault(character, []).append("|".join([one for word in words for one in _around(character, word)]))
        choices[character] = choices.get(character, "") + choice
    return {
        character: (re.compile(f"{character}(?:{'|'.join(f'({each})' for each in lines)})"), choices[character])
        for character, lines in groups.items()
    }


def _around(character: str, word: str) -> Iterator[str]:
    """Yield what has to be around each occurrence of a character in an expression."""
    parts = word.split(character)
    for number in range(1, len(parts)):
        before, after = character.join(parts[:number]), character.join(parts[number:])
        yield (f"(?<={before}{character})" if before else "") + (f"(?={after})" if after else "")
