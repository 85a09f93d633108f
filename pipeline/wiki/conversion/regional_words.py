"""Words and names that differ between the mainland, Taiwan and Hong Kong.

    convert("義大利的軟體", "zh-cn")    ->  "意大利的软件"
    convert("意大利的软件", "zh-tw")    ->  "義大利的軟體"

OpenCC's own word tables are not used: they turn 核心 into 内核 and 建立 into 创建, which both sides write. A word is in this
list only if what replaces it means the same everywhere: 資訊 stays 资讯, and 程序 stays (a court has a 程序 too).
"""

import functools
from collections.abc import Iterator, Mapping
from functools import partial

from pipeline.wiki.conversion import characters
from pipeline.wiki.conversion.phrases import Phrases, around, split

_WORDS = """
软件 軟體; 软体动物 軟體動物 軟體動物; 硬件 硬體; *网络 網路; 互联网 網際網路; 数据库 資料庫; 服务器 伺服器 伺服器
打印机 印表機; 鼠标 滑鼠 滑鼠; 硬盘 硬碟; 磁盘 磁碟 磁碟; 光盘 光碟 光碟; 软盘 軟碟 軟碟; 闪存 快閃記憶體
操作系统 作業系統 作業系統; 计算机程序 電腦程式 電腦程式; 应用程序 應用程式 應用程式; 编程语言 程式語言; 字节 位元組 位元組
分辨率 解析度 解像度; 链接 *連結 *連結; 超链接 超連結 超連結; 端口 *埠; *界面 介面 *介面; 移动电话 行動電話 流動電話
移动网络 行動網路 流動網絡; 移动设备 行動裝置 流動裝置; 智能手机 智慧型手機; 人工智能 人工智慧; 智能机器人 智慧型機器人
机器人 機器人 機械人; 台式电脑 桌上型電腦; *信息论 資訊理論 *資訊理論; 数字化 數位化 數碼化; 数字技术 數位技術 數碼技術
数字电视 數位電視 數碼電視; 数字信号 數位訊號 數碼訊號; 数字音乐 數位音樂 數碼音樂; 数字电路 數位電路 數碼電路
数码相机 數位相機; 虚拟现实 虛擬實境; *噪声 雜訊; 晶体管 電晶體; 二极管 二極體; 三极管 三極體; 芯片 晶片 晶片; 激光 雷射
航天飞机 太空梭 穿梭機; 宇航员 *太空人 *太空人; 航天器 *太空飛行器; *导弹 飛彈 *飛彈; *巡航导弹 巡弋飛彈 *巡弋飛彈
知识产权 智慧財產權; 出租车 *計程車; 集装箱 *貨櫃; 公共交通 *公共運輸; *摩托车 電單車 電單車; 机床 工具機; 枪支 槍枝
空气质量 空氣品質 空氣質素; 自由泳 *自由式; 乒乓球 *桌球; 台球 撞球 *桌球; 国际象棋 西洋棋; *美式橄榄球 美式足球; 残奥会 帕運會
*残疾人奥林匹克 帕拉林匹克; *基因克隆 基因轉殖 *基因轉殖; 艾滋病 愛滋病 愛滋病; 乙型肝炎 B型肝炎; 阿司匹林 阿斯匹靈 阿士匹靈
可卡因 *古柯鹼; 当且仅当 若且唯若; *米 公尺 *公尺; *英尺 英呎 *英呎; *英寸 英吋 *英吋; 里氏震级 芮氏規模 黎克特制震級
*公元前 西元前 *西元前; *公元1 西元1 *西元1; *公元2 西元2 *西元2; *公元3 西元3 *西元3; *公元4 西元4 *西元4; *公元5 西元5 *西元5
*公元6 西元6 *西元6; *公元7 西元7 *西元7; 厄尔尼诺 *聖嬰; 账户 帳戶; 账号 帳號; 账单 帳單; 结账 結帳; 账目 帳目; 记账 記帳
扣账 扣帳; 柜台 櫃檯 櫃枱; *计划 計畫; *规划 規畫; 首席执行官 *執行長 *行政總裁; *首席执行官 行政總裁 行政總裁
人行道 人行道 行人路; 吉他 吉他 結他; 桥梁 橋梁 橋樑; *部分 部份 *部份; *成分 成份 *成份; *知识分子 知識份子 *知識份子
*身份 身分 *身分; *过分 過份 *過份; 高峰时段 尖峰時段; 台风 颱風 颱風; 柏林墙 柏林圍牆 柏林圍牆; 基地组织 蓋達組織 阿爾蓋達組織
*进化论 演化論; *姐姐 姊姊 姊姊; 乌冬 烏龍麵; 英联邦 大英國協; 独联体 獨立國協; 联合酋长国 聯合大公國; 东盟 東協 *東盟
朝鲜战争 韓戰 韓戰; *朝鲜 北韓 *北韓; *韩国 南韓 *南韓; *朝韩 南北韓 *南北韓; 字段 欄位; 源代码 原始碼 原始碼
搜索引擎 搜尋引擎 搜尋引擎; 因特网 *網際網路 *互聯網; 互联网络 *網際網路 *互聯網絡; 网络游戏 網路遊戲; 局域网 *區域網路
触摸屏 觸控螢幕; 光驱 光碟機; 打印 列印 打印; IP地址 IP位址 IP位址; 移动支付 行動支付 流動支付; 榴莲 榴槤 榴槤
高峰时间 尖峰時間; 泄漏 *洩漏; 泄露 *洩露; 知识产权局 知識產權局 知識產權局; 避孕套 保險套; 氨基酸 胺基酸
综合征 *症候群 *綜合症; 情景喜剧 情境喜劇 處境喜劇; 俯卧撑 伏地挺身 掌上壓; 几率 機率 *機率; 单反相机 單眼相機
声卡 音效卡 音效卡; 叱咤 叱吒; 铆足 *卯足; 隐私 隱私 私隱; 冰淇淋 冰淇淋 *雪糕; 冰激凌 *冰淇淋 *雪糕; 击剑 擊劍 劍擊
真人秀 真人秀 真人騷; 程序员 程式設計師 *程式設計師; 橄榄球 橄欖球 欖球; 栋梁 棟梁 棟樑; 鼻梁 鼻梁 鼻樑; 荧光 *螢光 *螢光
*毫米 公釐; *毫米 公厘; 局域网络 區域網路 *區域網絡; 宣泄 *宣洩; 发泄 *發洩; 外泄 *外洩; 泄洪 *洩洪; 泄密 *洩密
泄愤 *洩憤

意大利 義大利; 意大利面 義大利麵; 阿塞拜疆 亞塞拜然; 埃塞俄比亚 衣索比亞; 安提瓜和巴布达 安地卡及巴布達; 巴巴多斯 巴貝多
贝宁 *貝南; 博茨瓦纳 波札那; 波斯尼亚 波士尼亞; 波斯尼亚和黑塞哥维那 波士尼亞與赫塞哥維納; 布基纳法索 布吉納法索; 布隆迪 蒲隆地
多米尼加 多明尼加; 厄瓜多尔 厄瓜多; 厄立特里亚 厄利垂亞; 佛得角 維德角; 冈比亚 甘比亞; 格林纳达 格瑞那達; 格鲁吉亚 *喬治亞
圭亚那 蓋亞那; 哥斯达黎加 哥斯大黎加; 洪都拉斯 宏都拉斯; 吉布提 吉布地; 几内亚比绍 幾內亞比索; 加纳 迦納; 加蓬 加彭
津巴布韦 辛巴威; 卡塔尔 *卡達; 科摩罗 葛摩; 科特迪瓦 象牙海岸; 克罗地亚 克羅埃西亞; 肯尼亚 肯亞 肯雅; 莱索托 賴索托; 老挝 寮國
利比里亚 賴比瑞亞; 列支敦士登 列支敦斯登; 卢旺达 盧安達; 马尔代夫 馬爾地夫; 马耳他 馬爾他; 毛里求斯 模里西斯 毛里裘斯
毛里塔尼亚 茅利塔尼亞; *黑山 蒙特內哥羅; 塞尔维亚和黑山 塞爾維亞與蒙特內哥羅; 莫桑比克 莫三比克; 瑙鲁 諾魯; 尼日尔 *尼日
尼日利亚 奈及利亞; 帕劳 帛琉; 萨尔瓦多 薩爾瓦多; 塞拉利昂 *獅子山; 塞浦路斯 賽普勒斯; 塞舌尔 塞席爾; 沙特阿拉伯 沙烏地阿拉伯
圣马力诺 聖馬利諾; 斯洛文尼亚 斯洛維尼亞; 斯威士兰 史瓦帝尼; 苏里南 蘇利南; 所罗门群岛 索羅門群島; 索马里 索馬利亞
索马里兰 索馬利蘭; 坦桑尼亚 坦尚尼亞; 特立尼达和多巴哥 千里達及托巴哥; *突尼斯 突尼西亞 *突尼西亞; 图瓦卢 吐瓦魯
瓦努阿图 萬那杜; 危地马拉 瓜地馬拉; 文莱 汶萊 汶萊; 新西兰 紐西蘭; 也门 葉門; 赞比亚 尚比亞; 乍得 *查德; 基里巴斯 吉里巴斯
阿联酋 *阿聯; 塔希提 大溪地 大溪地; 桑给巴尔 尚吉巴; 南奥塞梯 南奧塞提亞; 北奥塞梯 北奧塞提亞; 奥塞梯 奧塞提亞; 赫梯 *西臺
波利尼西亚 玻里尼西亞; 斯堪的纳维亚 斯堪地那維亞; 加泰罗尼亚 加泰隆尼亞; 石勒苏益格 什勒斯維希; 荷尔斯泰因 霍爾斯坦
石勒苏益格-荷尔斯泰因 什勒斯維希-霍爾斯坦; 威斯特法伦 威斯伐倫; 勃兰登堡 布蘭登堡; 弗吉尼亚 維吉尼亞; 康涅狄格 康乃狄克
马萨诸塞 麻薩諸塞; 新罕布什尔 *新罕布夏; 得克萨斯 *德克薩斯 *德克薩斯; 佐治亚州 *喬治亞州; 伊利诺伊 伊利諾; *俄勒冈 奧勒岡
密歇根 密西根; 亚拉巴马 *阿拉巴馬; 不列颠哥伦比亚 不列顛哥倫比亞 *卑詩; 新奥尔良 紐奧良; 旧金山 舊金山 三藩市; 圣迭戈 聖地牙哥
里士满 *里奇蒙; 悉尼 *雪梨; 蒙特利尔 蒙特婁; 迪拜 杜拜 杜拜; 阿布扎比 阿布達比; 亚的斯亚贝巴 阿迪斯阿貝巴; 内罗毕 奈洛比
约翰内斯堡 約翰尼斯堡; 贝尔格莱德 貝爾格勒; 萨拉热窝 塞拉耶佛; 斯科普里 史高比耶; 布拉迪斯拉发 布拉提斯拉瓦; 第比利斯 提比里西
巴塞罗那 巴塞隆納 巴塞隆拿; 塞维利亚 塞維亞; 巴伦西亚 瓦倫西亞 華倫西亞; 伯明翰 伯明罕; 威尔士 威爾斯 威爾斯; 佛罗伦萨 *佛羅倫斯
戛纳 坎城 *康城; 图卢兹 土魯斯; 德累斯顿 德勒斯登; 杜塞尔多夫 杜塞道夫; 魏玛 威瑪 威瑪; 卢塞恩 琉森; 加沙地带 加薩走廊
霍尔木兹 荷姆茲; 巴厘岛 峇里島 *峇里島; 巴厘 峇里 *峇里; 达累斯萨拉姆 三蘭港; 乞力马扎罗 吉力馬札羅; 努瓦克肖特 諾克少
内比都 奈比多; 切尔诺贝利 車諾比; 好莱坞 好萊塢 荷里活; 留尼汪 留尼旺 留尼旺; 埃里温 葉里溫; 新泽西 *新澤西
*新泽西 紐澤西 *新澤西; 波黑 *波赫; 马拉维 馬拉威; 比利牛斯 庇里牛斯; 巴布亚新几内亚 巴布亞紐幾內亞; 卢瓦尔河 羅亞爾河
诺曼底 諾曼第 諾曼第; 圣地亚哥 *聖地牙哥; 伊斯兰堡 伊斯蘭瑪巴德; 圣赫勒拿 聖赫倫那; 卡拉奇 喀拉蚩; 加拉加斯 卡拉卡斯
恩贾梅纳 恩加美納; 埃菲尔 艾菲爾 艾菲爾; 宿务 宿霧 宿霧; 百慕大 百慕達 百慕達; 布里斯托尔 *布里斯托 *布里斯托
伊斯坦布尔 伊斯坦堡; 卢浮宫 羅浮宮 羅浮宮; 纽黑文 紐哈芬; 万维网 全球資訊網 *全球資訊網

斯大林 史達林 史太林; 赫鲁晓夫 赫魯雪夫; 戈尔巴乔夫 戈巴契夫; 叶利钦 葉爾欽; 普京 普丁; 奥巴马 歐巴馬; 特朗普 川普
克林顿 柯林頓; 里根 *雷根 *列根; 肯尼迪 甘迺迪 甘迺迪; 尼克松 *尼克森 *尼克遜; 希拉里 希拉蕊 希拉莉; 艾森豪威尔 *艾森豪
撒切尔 柴契爾 戴卓爾; 丘吉尔 邱吉爾 邱吉爾; 希特勒 希特勒 希特拉; 布莱尔 布萊爾 貝理雅; 卡斯特罗 卡斯楚; 侯赛因 *海珊
泽连斯基 澤倫斯基; 佩洛西 裴洛西; 薛定谔 薛丁格; 开普勒 克卜勒; 多普勒 都卜勒; 达·芬奇 達·文西; 达芬奇 達文西
亚里士多德 亞里斯多德; 斯皮尔伯格 *史匹柏 *史匹堡; 斯坦福 *史丹佛 *史丹福; 伊丽莎白 伊莉莎白 *伊利沙伯; 本杰明 班傑明
迈克尔 *麥可 *米高; 帕特里克 派屈克; 戴安娜 黛安娜; 凯瑟琳 凱薩琳 嘉芙蓮; 约翰逊 *詹森; 贝克汉姆 貝克漢 碧咸
马拉多纳 馬拉度納 馬勒當拿; 罗纳尔多 *羅納度 *朗拿度; 斯蒂芬 *史蒂芬; 普利策 普立茲; *福布斯 富比士 *富比士
吉尼斯 *金氏 *健力士; 泰坦尼克 鐵達尼 鐵達尼; 格莱美 葛萊美 格林美; 哥特式 哥德式 哥德式; 太阳微系统 昇陽電腦
空中客车 空中巴士 空中巴士; 马自达 馬自達 萬事得; 斯诺克 司諾克 士碌架; 乔布斯 賈伯斯; 朔尔茨 蕭茲; 肖邦 蕭邦 蕭邦
博索纳罗 波索納洛; 道琼斯 道瓊; 麦当娜 瑪丹娜; 列奥纳多 李奧納多; 傅里叶 傅立葉 傅立葉; 埃博拉 伊波拉 伊波拉; 理查德 *理察
恺撒 *凱撒 *凱撒; 罗纳尔迪尼奥 *羅納迪諾 *朗拿甸奴; 捷豹 捷豹 積架
"""
"""`mainland Taiwan Hong Kong`, separated by `;`. Hong Kong is left out where it writes what the mainland writes. A word behind
`*` is written for the others and is not itself replaced: 米 has more meanings than 公尺."""

_TRADITIONAL = """
征程 征途 匯報 匯率 夥伴 入伙 回歸 事跡 史跡 准入 核准 不准 不準確 不準時 不準備 歷史 歷代 歷屆 歷任 歷來 幹部 幹流 幹線 骨幹
主幹 關係 聯繫 體系 直角坐標 家具 免簽 簽約 簽證 簽署 簽字 簽訂 簽名 標籤 書籤 抽籤 鹹魚 鹹水 鹹淡水 鹹味 鹹菜 鹹蛋 鹹湖 鹹海
樸素 質樸 古樸 淳樸 純樸 簡樸 樸實 樸茨茅斯 模範 規範 示範 範圍 師範 典範 防範 範例 範疇 範式 範本 範文 風範 就範 軌範 範數 鑑定
鑑於 鑑別 鑑賞 年鑑 圖鑑 製造 研製 燒製 繪製 製備 製品 製藥 監製 機製造 制裁 制度 限制 控制 抑制 機制 編制 強制 節制 管制
克制 牽制 壓制 遏制 抵制 稅制 帝制 改制 制定 制約 制止 反制 發放 發言 發展 發起 頒發 發布 發生 發表 發動 發揮 發現 發出 發行
發射 發達 發明 發送 發配 發售 並成 並發 並為 並不 並在 並於 並將 並有 合併 併發症 吞併 兼併 冠軍杯 亞洲杯 聯賽杯 採用 採訪 採取
采夫 采爾 科采 注重 注定 註冊 注釋 注射 注意 注入 生於 位於 於海 於山 於大 短於 負於 低於 高於 發展中 0隻 1隻 2隻 3隻 4隻 5隻
6隻 7隻 8隻 9隻 船隻 足總盃 頭髮 毛髮 當當網 剃髮 說不準 複製
"""
"""Words in whose simplified form OpenCC takes a character for another one, or a border between words for the wrong place."""

_NO_WORDS = (
    "四川普 河川普 山川普 大川普 川普通 川普遍 川普查 川普及 安吉他 貢寮國 文字段落 字段落 波黑客 波黑暗 波黑色 "
    "波黑馬 波黑人 波黑白 几率先 几率领 几率部 擊劍齒 攻擊劍 還擊劍 打印度 打印象 打印第 打印尼"
)
"""Texts in which a word of the list is none."""

_BREAK = "\x1e"
"""Replaces finished words in what is converted. XML does not allow this character, so dumps do not contain it."""
_REGIONS = {"zh-cn": 0, "zh-sg": 0, "zh-my": 0, "zh-tw": 1, "zh-hk": 2, "zh-mo": 2}


def convert(text: str, variant: str) -> str:
    """Convert words, and the characters of everything else. `zh-hans` and `zh-hant` are scripts without words of their own."""
    convert_characters = partial(characters.convert, variant=variant)
    if variant == "zh-hans":
        return convert_characters(text)
    between, become = split(text, [_phrases(variant)])
    return around(between, become, convert_characters, _BREAK) if become else convert_characters(text)


@functools.cache
def _phrases(variant: str) -> Phrases:
    """Return the words of other regions and what a variant writes for them."""
    table: dict[str, str] = {}
    kept: dict[str, str] = {}
    if variant not in characters.SIMPLIFIED:
        words = _TRADITIONAL.split()
        simplified = characters.opencc("t2s").convert("\n".join(words)).split("\n")
        # Both forms are searched for: in traditional text 機制 ends before 作用, and no 制作 is seen there.
        table = {**dict(zip(simplified, words, strict=True)), **{word: word for word in words}}
    if variant in _REGIONS:
        for *words, same in _rows():
            to = words[_REGIONS[variant]].removeprefix("*")
            searched = {word for word in words if not word.startswith("*")} | ({same} if words[0][0] != "*" else set())
            table.update({word: to for word in searched - {to}})
            kept[to] = to
        others = f"{characters.convert(_NO_WORDS, 'zh-hans')} {_NO_WORDS}".split()
        kept |= {each: characters.convert(each, variant) for each in others}
    # Whatever has a word in it and is none stays: 厄瓜多尔 is no 厄瓜多, 四川普通话 nothing about 川普.
    kept = {each: to for each, to in kept.items() if each not in table and _holds(each, table)}
    return Phrases(table | kept)


def _holds(text: str, words: Mapping[str, str]) -> bool:
    """Return whether one of the words is part of a text."""
    return any(text[start:end] in words for start in range(len(text)) for end in range(start + 1, len(text) + 1))


def _rows() -> Iterator[tuple[str, str, str, str]]:
    """Yield the words as the mainland, Taiwan and Hong Kong write them, and the mainland's in traditional characters."""
    rows = [row.split() for row in _WORDS.replace("\n", ";").split(";") if row.strip()]
    mainland = characters.convert("\n".join(row[0].removeprefix("*") for row in rows), "zh-hk").split("\n")
    for row, same in zip(rows, mainland, strict=True):
        yield row[0], row[1], row[2] if len(row) > 2 else "*" * row[0].count("*") + same, same
