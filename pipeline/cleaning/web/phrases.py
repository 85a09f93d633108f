"""The words that give bad web pages away, as tables. measures.py counts them; users add to SPAM by `spam_phrases`.

Prose about these things has other words: news of a raid says 赌博, 投注 and 博彩网站, never 注册送 or 手机版登录. Each table
was checked against news, encyclopedias, articles, laws and reviews; what these contain now and then counts little, or not.
"""

import re
from collections.abc import Iterable, Sequence

from pipeline import storage
from pipeline.errors import RecipeError


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


SPAM = _words(
    """
    贵宾会 娱乐城 真人娱乐 线上娱乐 电子游艺 时时彩 分分彩 快三计划 快三走势 快三和值 快3计划 赛车计划 极速赛车 秒速赛车
    北京赛车 幸运飞艇 幸运8 加拿大28 六合彩 六合资料 六合心水 特码 一肖 心水论坛 跑狗图 白小姐 管家婆彩图 特码资料
    香港开奖 注册送 首存 首充返利 送彩金 领彩金 返水 百家乐 百家樂 龙虎斗 老虎机 捕鱼游戏 电玩城捕鱼 骰宝 赔率高 现金网
    现金直营 正规体育 金沙网站 金沙线路 金沙游乐 金沙城 bet365 bt365 备用网址 登录网址 手机版登录 线上开户 代理加盟网
    最高返 存取款 太阳城娱乐 太阳城电玩 太阳城申博 太阳城真人 威尼斯人现金 威尼斯人娱乐 威尼斯人网 金沙娱乐 葡京 永利高
    永利皇宫 永利棋牌 皇冠体育 皇冠国际 新葡 亚博体育 亚博app yabo 必威 betway 威廉希尔 华体会 乐鱼体育 爱游戏体育
    开云体育 欧宝体育 九游会 人生就是博 凯时 申博太阳 太阳申博 买球 下注平台 竞彩推荐 红单 亚洲指数 球币 亚盘 大小球
    足彩推荐 杀号 倍投 体育(中国) 代开发票 开发票电话 先验后付 先做后付 办理学历 办理证件 高仿一比一 精仿 股票配资
    配资平台 配资公司 实盘配资 杠杆炒股 号交易平台 号出售 号购买 账号购买 买抖音号 千粉号 刷粉 刷赞 刷播放量 自助下单 卡盟
    侦探公司 婚外情调查 婚外情取证 商务调查 秒下款 黑户贷款 网贷口子 资质转让 包成功 不成功不收费 无效退款 隐私发货
    电竞外围 足球外围 外围投注 外围平台 外围网站 电子试玩
    延时喷剂 增大增粗 壮阳 伟哥 印度神油 成人影院 自拍偷拍 偷拍自拍 国产自拍 久久精品 国产精品 一区二区三区 无码中文
    无码高清 色婷婷 婷婷五月 丁香五月 人妻熟女 午夜福利 激情小说 日韩av 稳赚 加导师 导师微信 带单
    """
)
"""Phrases of gambling sites, and of trades that advertise by spam only."""

_BUSINESS = "体育|娱乐|棋牌|彩票|电竞|电玩|真人|博彩|游艺|贵宾会|国际"
_ACTION = (
    "官网|官方(?:网站|版|入口|网)?|(?:手机|网页|中文|安卓|苹果)版|app|APP|登[录陆入]|(?<!国际)注册|入口|网址|备用|客户端|(?<!国际)代理|开户|"
    "下载|最新版|旗舰厅|网上|(?<!国际)平台"
)
_NAME = re.compile(
    rf"[{''.join(sorted({word[0] for word in _BUSINESS.split('|')}))}登官]"
    rf"(?:(?:{'|'.join(f'(?<={word[0]}){word[1:]}' for word in _BUSINESS.split('|'))})[·.]?(?:{_ACTION})"
    r"|(?<=登)[录陆入]官[方网]|(?<=官)[方网]登[录陆入])"
)
"""A business and an action: 体育官网, 娱乐app. First characters are in one set: `re` is fast at skipping what is not in it."""
_AFTER_CODE = re.compile(
    r"[手体娱金线贵国](?<=\d.)"
    "(?:(?<=手)机版|(?<=手)机下载|(?<=体)育|(?<=娱)乐|(?<=金)沙|(?<=线)路|(?<=贵)宾|(?<=国)际)"
)
_CODE = re.compile(r"[a-z]{2,4}\d{2,4}\Z")
_AFTER_PROVIDER = re.compile(
    r"[真电视棋捕老模](?<=[A-Za-z9].)"
    "(?:(?<=真)人|(?<=电)[子游]|(?<=视)讯|(?<=棋)牌|(?<=捕)鱼|(?<=老)虎机|(?<=模)拟器)"
)
_PROVIDER = re.compile(r"(?<![A-Za-z])(?:ag|bb|bbin|cq9|dg|fg|jdb|ky|mg|mw|og|pg|pt|sg)\Z", re.I)
"""Makers of games of chance, by whose names sites call what they offer: ag真人, mg电子, pt老虎机."""
_PORTALS = frozenset("浪讯易狐凰视国")
"""How the portals end that have a section on sports or entertainment: 新浪体育, 腾讯娱乐."""
SPAM_SITE = re.compile(
    r"(?<![浪讯易狐凰视国_|])(?:体育|国际|娱乐|棋牌|电竞|彩票|(?<![协学员工研商乡校年运议盛展博大社理法])会|app|APP|官网|中文版|手机版|官方网站|官网首页|体育平台|[a-z]\d{3,})"
    r"(?:[(（【][^()（）【】]{1,6}[)）】]|官方|下载|首页|入口|登[录陆]|[】」])*$"
)
"""How the name of such a site ends, which pages have after their title: 凯尔特人VS雄鹿_海德体育."""

SPUN = _words(
    """
    更进一步 沦为 经常出现 自由选择 明确提出 较慢发展 重新加入 展现出出 占到优势 占到得 充份 认同会 认同不会 确实的 享有了
    享有着 的时候才可 之后才可 减缓前进 减缓推展 侧重培育 推展 防御上 仍然到 才可起锅 油炸香 自学的 转化成 大幅度上升
    更加多的 良多 只管即便 不克不及 置信 引见 起首， 招致 有用的促 尽理 良好的身体状 战争喘 身分 感化 减轻病情 停止治疗
    停止适量 只需要保 先容了 希翼
    """
)
"""Words that spun text has in place of common ones: 更进一步 for 进一步, 沦为 for 成为, 引见 for 介绍, 置信 for 相信."""

SWAPPED = _words("假如 早已 全是 挑选 难题 因而 伴随着 愈来愈 碰见 事儿 仅有 维护保养 大伙儿 随后 乃至")
"""What programs of about 2020 put in place of the words of PLAIN. Some writers use a few of them, but these besides."""
PLAIN = _words("如果 已经 都是 选择 问题 因此 所以 随着 越来越 遇到 事情 只有 然后 甚至")

ADVICE = re.compile(
    r"[选找到去交咨购厂司心院构家师编业店](?:"
    r"(?:(?<=选)择?|(?<=交)给|(?<=咨)询|(?<=购)买|(?<=[找到去]))[^，。！？；：\n]{0,8}?"
    r"(?:正规|专业|有资质|靠谱|有实力|值得信赖|大品牌|口碑好)"
    r"|(?<=[厂司心院构家师编业店])(?:还|也|特别|温馨)?(?:建议|提醒|告诉|认为|教|为)(?:大家|您|你|我们|广大))"
)
"""Advice that sells: 一定要找有资质的施工单位, 北京搬家公司还建议大家."""

CONTACT = re.compile(
    r"[微威薇QqＱ扣热手电联vV](?:"
    r"(?<=[微威薇])[信❤]|(?<=[QqＱ])[QqＱ]|(?<=扣)扣|(?<=热)线|(?<=手)机|(?<=电)话|(?<=联)系|(?<=[vV])(?= ?[:：]))"
    r"[^。\n公]{0,8}?(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{6,}"
)
"""Whom to contact: 加微信 abc123456, QQ群 474000000. Not whom to follow: 微信公众号."""

_SUMMARY = re.compile(r"^(?:本文摘要|文章摘要|简要描述|内容摘要)[:：]", re.M)

CALL = _words(
    """
    欢迎来电 欢迎致电 欢迎咨询 欢迎新老 欢迎广大 欢迎各界 欢迎选购 欢迎订购 欢迎前来咨询 欢迎随时 欢迎拨打 欢迎到店
    热忱欢迎 竭诚为 来电咨询 来电垂询 前来咨询 在线咨询 在线客服 点击咨询 咨询热线 咨询电话 免费热线 订购热线 报名热线
    装修热线 预约热线 加盟热线 客服微信 全国热线 微信同号 添加微信 与我们联系 公司地址 立即留言 免费试听 免费咨询 免费报价
    免费设计 免费量房 免费上门 扫码添加 拿起电话 您的留言 厂家直销 厂家直供 源头工厂 生产厂家 批发价 批发零售 批发厂家
    量大从优 价格优惠 价格实惠 价格合理 价格低 一件代发 全国包邮 支持定制 来图定制 贴牌代工 生产供应 专业生产 专业从事
    是一家集 招商加盟 诚邀加盟 加盟费 加盟商 加盟店 连锁加盟 小投资 大回报 轻松创业 月入 包教包会 学会为止 推荐就业
    名额有限 限时优惠 立减 立省 第二件半价 买一送一 到店有礼 火热招生 货到付款 多少钱一 哪家好 哪里好 哪家医院 哪家强
    哪家比较好 哪家较好 专科医院 卫生部门批准 卫生主管部门 特色专科 特色疗法 医院怎么样 医院有哪些 网站建设 网站优化
    网站推广 网站制作 SEO优化 百度推广 厂家电话 洽询 新老客户 广大客户 客户朋友 患者朋友 用户朋友 质优价廉 物美价廉
    性价比高 值得信赖 客户至上 诚信为本 实力雄厚 远销 标本兼治 不反弹 不易复发 治愈率 数量有限 名额不多
    错过再等 现在拍下 立即拍下 立即抢购 立即报名 立即预约 预约体验 免费领取 免费体验 先到先得 欲购从速 欲报从速
    全额退款 先上首页 送货上门 诚招代理 招商热线 现货供应 大量现货 长期供应 承接各类 工程案例 案例遍布 共创美好
    各界同仁 竭诚服务
    """
)
"""What only an advertiser says: calls to ring up, to buy, to join."""
TALK = _words(
    """
    厂家 供应商 经销商 小编 我司 我公司 公司主营 公司主要产品 公司主要生产 公司主要从事 公司专业 公司产品 公司拥有
    公司生产 公司自主 我们的产品 我们的服务 我们的客户 我们拥有 我们承诺 我们专业 为大家介绍 为大家讲解 为大家说明
    为大家做 为大家整理 为大家分享 给大家分享 给大家介绍 为您介绍 为您讲解 为您解答 为您提供 为客户 给客户 客户提供
    带大家了解 带你了解 带您了解 一起来了解 一起来看看 跟着小编 下面就由 下面由 以上就是 希望可以帮助 希望能够帮助
    希望对大家 想要了解更多 想了解更多 大家可以放心 有需要的 如有需要 如果您需要 专家指出 医院专家 专家提醒您 疗法
    整理编辑 温馨提示 主要从事 主营 定做 洽谈 让您 赚钱 利润可观 收回成本 回本 一站式 一条龙 量身定制 量身打造 售后服务
    售后完善 完善的售后 性价比 高品质 优质的 品质保证 质量保证 质量可靠 质量稳定 规格齐全 品种齐全 经久耐用 经验丰富 师资
    名师 一对一 手把手 小班 零基础 以质取胜 经营方针 企业精神 营销网络 产品遍布 遍布全国 遍布省内 携手并进 一如既往地为
    一如既往的为 保驾护航 专业的团队 专业团队 理想之选 不二之选 首选品牌 国内知名 省时省力 省心省力
    正规的厂家 正规厂家 网友上传 网友整理 永久域名 免费观看 在线观看 最新章节 全文阅读
    """
)
"""How a firm speaks of itself, its goods and to its readers. Prose has some of these words; advertising has a crowd of them."""
PRAISE = _words(
    """
    好评 口碑 深受 青睐 赢得了 现货 批发 加盟 招商 报名 优惠 抢购 客户 顾客 用户 您 打造 领先 专业的 知名品牌 畅销 致力于
    专注 匠心 精选 放心 省心 贴心 无忧 终身 质保 正品 原装 进口 节能环保 安全可靠 操作简单 操作方便 使用寿命 美观
    广泛应用于 广泛用于 适用于 多年经验 技术力量 服务理念 经营理念 免费 热线 有限公司 本着诚信 经营宗旨 携手共赢 共创辉煌
    为您 您的
    """
)
"""Words that count little, since good prose about trade has them too."""
CLINIC = re.compile(
    "白癜风|牛皮癣|银屑病|皮肤病医院|男科|妇科医院|癫痫|不孕不育|不育|肛肠|痔疮|狐臭|人流|早泄|整形|美容医院|耳鼻喉医院|骨科医院|肝病医院"
)
"""What clinics treat whose pages are articles on these diseases; it counts in a title."""
FIRM_SITE = re.compile(
    "(?:有限公司|公司官网|厂|租赁|维修|维修站|维修中心|维修服务|装饰|装修|搬家|培训|培训学校|加盟|调查|商城|代理|代办|工作室|机械|设备|仪器|印刷|餐饮|山庄|"
    "厂家|供应商|生产厂家|批发|价格|报价|公司|科技|化工|实业|建材|集团|股份|电子|研究院)[】\\s]*$"
)
"""How the name of a firm ends, which its pages have in their title."""
QUERY = re.compile("怎么|什么|哪|多少|如何|吗|效果|价格|厂家|方法|技巧|平台|下载|官网|计划|预测|有效|快")
"""What titles have that are what people type into a search box."""
SEARCHED = re.compile("网站|网页|建站|站长|营销|推广|优化|排名|小程序|外贸|编程|[Ss][Ee][Oo]")
"""What pages for people who want their pages found are about; several of these before an article are for search engines."""
_NUMBER = re.compile(r"\d[\d－—-]{6,14}")
_PHONE = re.compile(r"1[3-9]\d{9}|1[3-9]\d-\d{4}-\d{4}|0\d{2,3}[-－—]?\d{7,8}|[48]00[-－—]?\d{3}[-－—]?\d{4}")


def has_summary(text: str) -> bool:
    """Return whether a line repeats the first paragraph, as pages of spun text have it: 本文摘要：……"""
    return ("摘要" in text or "简要描述" in text) and _SUMMARY.search(text) is not None


def site_names(page: str) -> list[str]:
    """Return the names of gambling sites by their form: 体育app of 万鼎体育app, ab365手机下载, ag真人.

    Brands change weekly, the form stays.
    """
    names = [found[0] for found in _NAME.finditer(page) if page[found.start() - 1 : found.start()] not in _PORTALS]
    for found in _AFTER_CODE.finditer(page):
        if code := _CODE.search(page, max(0, found.start() - 8), found.start()):
            names.append(code[0] + found[0])
    for found in _AFTER_PROVIDER.finditer(page):
        if provider := _PROVIDER.search(page, max(0, found.start() - 5), found.start()):
            names.append(provider[0].lower() + found[0])
    return names


def phone_numbers(page: str) -> int:
    """Return how many telephone numbers a page has."""
    return sum(bool(_PHONE.fullmatch(number)) for number in _NUMBER.findall(page))


def pattern(phrases: Iterable[str]) -> re.Pattern[str]:
    """Return one expression for all phrases; where several begin, the longest is found.

    Those with the same first character are in a group, so that `re` looks at each first character once.
    """
    groups: dict[str, list[str]] = {}
    for phrase in sorted(set(phrases), key=lambda one: (-len(one), one)):
        groups.setdefault(phrase[0], []).append(re.escape(phrase[1:]))
    return re.compile("|".join(f"{re.escape(first)}(?:{'|'.join(rests)})" for first, rests in groups.items()))


def load(entries: Sequence[str]) -> tuple[str, ...]:
    """Return the phrases of `spam_phrases`: entries that end in .txt are files with a phrase per line, others are phrases.

    Empty lines, and anything after a #, are ignored.

    Raises: StorageError for a file that cannot be read; RecipeError for one that is not UTF-8, or a phrase of one character.
    """
    phrases: dict[str, None] = {}
    for entry in entries:
        try:
            lines = storage.read_bytes(entry).decode("utf-8-sig").splitlines() if entry.endswith(".txt") else [entry]
        except UnicodeDecodeError as error:
            raise RecipeError(f"spam_phrases: {entry}: not UTF-8 at byte {error.start}; save the phrases as UTF-8") from error
        for line in lines:
            if phrase := line.partition("#")[0].strip():
                if len(phrase) < 2:
                    raise RecipeError(f"spam_phrases: {phrase!r} of {entry} is too short; a phrase has two characters or more")
                phrases[phrase] = None
    return tuple(phrases)
