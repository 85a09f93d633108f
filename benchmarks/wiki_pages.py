"""Pages of wikitext with the prose that a reader sees, both written by hand: the ground truth of the benchmark `wiki`.

    PAGES[0].wikitext    "{{NoteTA|G1=IT}}\\n{{Infobox settlement|name=青石城|...}}\\n'''青石城'''（{{lang-de|Steinburg}}\
）是..."
    PAGES[0].prose       "青石城（德语：Steinburg）是..."

The pages are invented, with markup as in zhwiki: infoboxes, footnotes, tables, galleries, variants, and templates that contain
text. Prose is paragraphs and list items, in the first variant of a rule; not headings, tables, captions and lists of sources.
"""

from typing import NamedTuple


class Page(NamedTuple):
    """One page."""

    title: str
    wikitext: str
    prose: str


CITY = Page(
    "青石城",
    """{{NoteTA
|G1=地名
|1=zh-hans:联邦州; zh-hant:邦;
}}
{{Otheruses|subject=欧洲的城市|other=同名小说|青石城 (小说)}}
{{Infobox settlement
|name = 青石城
|native_name = {{lang|de|Steinburg}}
|image_skyline = Steinburg Altstadt.jpg
|image_caption = 从[[河谷大桥]]望老城
|population_total = 318400
|population_footnotes = <ref>{{cite web|url=http://www.example.org/bev.pdf|title=Bevölkerungsstand 2019|language=de|access\
date=2020-05-01}}</ref>
|area_total_km2 = 217.4
|website = [http://www.example.org/ steinburg.example.org]
}}

'''青石城'''（{{lang-de|Steinburg}}{{IPA-de|ˈʃtaɪ̯nbʊʁk|}}）是[[德意志联邦共和国|德国]]南部的[[城市]]，位于[[多瑙河]]\
左岸，面积{{convert|217|km2|sqmi}}，人口约{{formatnum:318400}}<ref>{{cite web|url=http://www.example.org/bev.pdf|title=Bev\
ölkerungsstand 2019|language=de}}</ref>，是该[[联邦州 (德国)|-{zh-hans:联邦州; zh-hant:邦}-]]的第三大城市<ref name="rang" />。

[[File:Steinburg Markt.jpg|thumb|right|220px|[[老市场 (青石城)|老市场]]和市政厅（2012年）]]
老城建于1237年，由[[主教]]{{link-de|康拉德一世 (青石城)|Konrad I. von Steinburg|康拉德一世}}下令修筑城墙。1389年后，\
城市由{{le|谷物商会|Corn Guild}}与{{link-de|手工业者同盟|Handwerkerbund}}共同管理，直到{{tsl|de|Mediatisierung|陪臣化}}\
结束了它的自治。

== 历史 ==
{{main|青石城历史}}
=== 中世纪 ===
早在公元前2世纪，这里就有[[凯尔特人]]的聚落，名为{{lang|la|''Lapidarium''}}。罗马人在河边建了一座兵营（{{lang|la|castra}}\
），驻军约1000人<!-- 此数字存疑，参见讨论页 -->，后来发展为贸易站。{{cquote|此城之石，青于雨后之天。|[[无名修士]]，\
《编年史》}}
14世纪的城墙长4.2[[公里|千米]]，有{{nowrap|17座}}塔楼，其中9座保存至今{{citation needed|date=2019年3月}}。

=== 近代 ===
1805年[[拿破仑一世|拿破仑]]的军队占领了城市。此后人口变化如下：
{| class="wikitable sortable"
! 年份 !! 人口
|-
| 1805 || {{nts|11200}}
|-
| 1900 || {{nts|84000}}
|}
铁路于1854年通车，从[[慕尼黑]]到此需要3小时<ref name="bahn">{{cite book|last=Huber|title=Die Eisenbahn|year=1954|isbn=3-12\
34-5678-9}}</ref>。

== 景点 ==
* [[青石城大教堂|大教堂]]（{{lang|de|Dom St. Konrad}}），高97米；
* [[老市场 (青石城)|老市场]]，每年12月举办圣诞集市；
* -{zh-hans:博物馆岛;zh-hant:博物館島}-，藏有古代钱币。
<gallery>
Dom.jpg|[[青石城大教堂]]
Rathaus.jpg|市政厅
</gallery>

== 姐妹城市 ==
* {{FRA}}[[里昂]]（1967年）
* {{JPN}}[[金泽市|金泽]]（1984年）

== 参考文献 ==
{{Reflist|2}}

== 外部链接 ==
{{Commons category|Steinburg}}
* [http://www.example.org/ 官方网站]

{{德国城市}}{{Authority control}}
[[Category:德国城市|Q]]
[[de:Steinburg]]
""",
    """青石城（德语：Steinburg）是德国南部的城市，位于多瑙河左岸，面积217平方公里，人口约318,400，是该联邦州的第三大城市。
老城建于1237年，由主教康拉德一世下令修筑城墙。1389年后，城市由谷物商会与手工业者同盟共同管理，直到陪臣化结束了它的自治。
早在公元前2世纪，这里就有凯尔特人的聚落，名为Lapidarium。罗马人在河边建了一座兵营（castra），驻军约1000人，后来发展为贸易站。
此城之石，青于雨后之天。
14世纪的城墙长4.2千米，有17座塔楼，其中9座保存至今。
1805年拿破仑的军队占领了城市。此后人口变化如下：
铁路于1854年通车，从慕尼黑到此需要3小时。
大教堂（Dom St. Konrad），高97米；
老市场，每年12月举办圣诞集市；
博物馆岛，藏有古代钱币。
法国里昂（1967年）
日本金泽（1984年）""",
)

PERSON = Page(
    "林远舟",
    """{{noteTA|T=zh-hans:林远舟; zh-hant:林遠舟|1=zh-cn:奥林匹克运动会; zh-tw:奧林匹克運動會}}
{{Infobox scientist
| name = 林远舟
| birth_date = {{birth date|1911|3|14}}
| death_date = {{death date and age|1987|11|2|1911|3|14}}
| fields = [[物理学]]
| known_for = {{ubl|[[晶格振动]]|[[低温物理学]]}}
}}
'''林远舟'''（{{lang|en|Lin Yuanzhou}}，{{bd|1911年|3月14日|1987年|11月2日|catIdx=Lin}}），[[浙江省|浙江]][[宁波市|宁波]]\
人，中国[[物理学家]]，{{le|声子散射|Phonon scattering}}研究的先驱。日本译名为{{nihongo|远舟林|遠舟・林|En Shūrin}}。

==生平==
林远舟生于一个[[-{zh-hans:船舶;zh-hant:船隻}-]]工程师家庭{{sfn|王|1990|p=12}}。1929年考入[[清华大学]]物理系，\
师从{{link-en|约翰·哈里森|John Harrison (physicist)}}。1935年赴[[剑桥大学]]留学，博士论文题为《{{lang|en|On the Vibrations\
 of Lattices}}》（晶格之振动）<ref>{{cite thesis|last=Lin|title=On the Vibrations of Lattices|year=1938}}</ref>。

抗战期间，他在[[昆明市|昆明]]的山洞里继续实验，自制的低温槽可达{{convert|77|K|C F}}。{{quotation|没有液氮，我们就等冬天；\
没有冬天，我们就上山。|林远舟，1943年日记}}
1952年，他测得的数值为{{val|3.14|0.02|e=5|u=J}}，误差不到{{frac|1|100}}。

==学说==
设晶格常数为<math>a</math>，质量为<math>m</math>，则频率满足
:<math>\\omega^2 = \\frac{4}{m} \\sum_{n} k_n \\sin^2 \\frac{qna}{2}</math>
其中<math>q</math>是波矢。他指出，当<math>q \\to 0</math>时，声子就是[[声波]]<ref group="注">此处略去光学支。</ref>。

==著作==
#《低温物理学导论》，[[科学出版社]]，1956年
#《晶格与声》（{{lang-en|Lattice and Sound}}），1961年

==参见==
*[[声子]]
*[[黄昆]]

==注释==
<references group="注" />
==资料来源==
{{reflist}}
{{物理学家小作品}}
[[分类:中国物理学家]]
""",
    """林远舟（Lin Yuanzhou，1911年3月14日－1987年11月2日），浙江宁波人，中国物理学家，声子散射研究的先驱。\
日本译名为远舟林（遠舟・林，En Shūrin）。
林远舟生于一个船舶工程师家庭。1929年考入清华大学物理系，师从约翰·哈里森。1935年赴剑桥大学留学，\
博士论文题为《On the Vibrations of Lattices》（晶格之振动）。
抗战期间，他在昆明的山洞里继续实验，自制的低温槽可达77开尔文。
没有液氮，我们就等冬天；没有冬天，我们就上山。
1952年，他测得的数值为3.14±0.02×10^5 J，误差不到1/100。
设晶格常数为a，质量为m，则频率满足
ω = 2√k/m|sin qa/2|
其中q是波矢。他指出，当q → 0时，声子就是声波。
《低温物理学导论》，科学出版社，1956年
《晶格与声》（英语：Lattice and Sound），1961年""",
)

SOFTWARE = Page(
    "风筝 (软件)",
    """{{NoteTA|G1=IT|1=zh-hans:线程; zh-hant:執行緒}}
{{distinguish|风筝}}
{{Infobox software
| name = 风筝
| developer = {{tsl|en|Kite Foundation|风筝基金会}}
| latest release version = 4.2.1
| programming language = [[C++]]
| license = [[MIT许可证]]
}}
'''风筝'''（{{lang-en|Kite}}）是一个[[开放源代码|开源]]的[[数据库|-{zh-hans:数据库;zh-hant:資料庫}-]]管理系统，\
由{{tsl|en|Kite Foundation|风筝基金会}}维护。它以-{zh-hans:线程;zh-hant:執行緒}-为单位调度查询，支持[[Linux]]、[[macOS]]\
和[[Microsoft Windows|Windows]]。其名称取自[[本杰明·富兰克林|富兰克林]]的[[风筝实验]]{{r|name}}。

== 语法 ==
查询用<code>FROM</code>开头，例如：
<syntaxhighlight lang="sql">
FROM kites [WHERE {{color}} = 'red'] |> SELECT *
</syntaxhighlight>
其中<code>WHERE</code>子句可以省略。空值写作<nowiki>[[null]]</nowiki>，与[[SQL]]不同<ref>[http://kite.example.org/doc Kite\
 Documentation] {{en}}</ref>。

== 性能 ==
在2019年的测试中，写入1&nbsp;[[吉字节|GB]]数据需时{{nowrap|3.2 秒}}，比{{Internal link helper/en|老鹰数据库|EagleDB|老鹰}}\
快{{frac|1|3}}。索引采用[[B树|B+树]]，深度为''O''(log&nbsp;''n'')，占用H<sub>2</sub>缓存。
{| class="wikitable"
|+ 各版本比较
! 版本 !! 写入
|-
| 3.0 || {| 
| 嵌套
|}
|-
| 4.0 || 3.2秒
|}
自4.0版起，[[预写式日志]]（{{lang-en|Write-ahead logging|缩写=WAL}}）默认开启{{clarify}}。

== 历史 ==
;2011年:第一个公开版本发布。
;2014年:更名为“风筝”。
: 旧名“{{lang|en|Paperplane}}”因商标争议停用。

== 参考资料 ==
{{reflist|30em|refs=
<ref name="name">{{cite web|url=http://kite.example.org/why|title=Why "Kite"?}}</ref>
}}
== 外部連結 ==
* {{official website|http://kite.example.org}}
[[Category:數據庫管理系統]]
""",
    """风筝（英语：Kite）是一个开源的数据库管理系统，由风筝基金会维护。它以线程为单位调度查询，支持Linux、macOS和Windows。\
其名称取自富兰克林的风筝实验。
查询用FROM开头，例如：
其中WHERE子句可以省略。空值写作[[null]]，与SQL不同。
在2019年的测试中，写入1 GB数据需时3.2 秒，比老鹰快1/3。索引采用B+树，深度为O(log n)，占用H2缓存。
自4.0版起，预写式日志（英语：Write-ahead logging）默认开启。
2011年
第一个公开版本发布。
2014年
更名为“风筝”。
旧名“Paperplane”因商标争议停用。""",
)

HISTORY = Page(
    "白沙之盟",
    """{{noteTA|G1=Communism|1=zh-hans:会盟;zh-hant:會盟}}
{{Campaignbox 三州战争}}
'''白沙之盟'''，又稱'''白沙會盟'''，是[[明朝]][[嘉靖]]二十七年（1548年）[[青州]]、[[兗州]]、\
{{link-ja|對馬藩|対馬府中藩|對馬}}三方在[[白沙島]]訂立的盟約。-{A|zh-hans:条约;zh-hant:條約}-全文用[[文言文]]寫成，\
共{{nowrap|九款}}<ref>《[[明實錄]]》卷三三七。</ref>。

== 背景 ==
''参见：[[嘉靖大倭寇]]''

十六世紀四十年代，沿海貿易禁絕，{{le|白銀走私|Silver smuggling in Ming China}}盛行。時人謂「{{僻字|𨭎|金喜}}價十倍，\
船不敢出」。青州知府[[-{于}-慎思]]（{{bd|1490年||1561年}}）主張開市，遭[[內閣]]反對。

==盟約==
其首款曰：
{{quote|自今以往，船無大小，入港納銀一錢，不得再徵。
違者天地共誅之。}}
第二款規定，對馬每年可遣船三艘，每艘載[[生絲]]不逾{{convert|500|kg}}。第三款以下今佚，僅《{{lang|ja|対馬記事}}》存其目：
* 第三款　互市之期
* 第四款　質子之禮

==影響==
盟約維持了十一年。[[1559年]]，{{tsl|ja|大內氏|大內氏}}滅亡，銀路斷絕，三方遂各行其是。後世史家對它評價不一：[[黃仁宇]]\
稱之為“{{lang|en|a treaty without a state}}”（没有国家的条约），{{link-en|費爾班克|John King Fairbank}}\
則認為它預示了[[隆慶開關]]。

[[File:Baisha.jpg|thumb|{{zh-hans|白沙岛}}的碑亭，建于[[光绪]]年间（[[1897年]]）]]
今島上有會盟亭，1897年重建，每年農曆三月初三祭祀，往來渡輪需時{{#if:1|四十分鐘|}}。

== 註釋與參考 ==
<references/>
== 延伸閱讀 ==
* {{cite book|author=陳某|title=白沙考|publisher=某書局}}
[[Category:明朝条约]]
""",
    """白沙之盟，又稱白沙會盟，是明朝嘉靖二十七年（1548年）青州、兗州、對馬三方在白沙島訂立的盟約。條約全文用文言文寫成，\
共九款。
十六世紀四十年代，沿海貿易禁絕，白銀走私盛行。時人謂「𨭎價十倍，船不敢出」。青州知府于慎思（1490年－1561年）主張開市，\
遭內閣反對。
其首款曰：
自今以往，船無大小，入港納銀一錢，不得再徵。
違者天地共誅之。
第二款規定，對馬每年可遣船三艘，每艘載生絲不逾500公斤。第三款以下今佚，僅《対馬記事》存其目：
第三款　互市之期
第四款　質子之禮
盟約維持了十一年。1559年，大內氏滅亡，銀路斷絕，三方遂各行其是。後世史家對它評價不一：黃仁宇稱之為“a treaty without a stat\
e”（没有国家的条约），費爾班克則認為它預示了隆慶開關。
今島上有會盟亭，1897年重建，每年農曆三月初三祭祀，往來渡輪需時四十分鐘。""",
)

PLANT = Page(
    "雪线草",
    """{{Speciesbox
|image = Nivalis.jpg
|genus = Linum
|binomial_authority = [[卡尔·林奈|L.]], 1753
}}
'''雪线草'''（[[学名]]：{{lang|la|''Linum nivale''}}，{{lang-ja|ユキセンソウ}}），别名'''冰麻'''，\
为{{le|高山亚麻属|Alpine flax}}的[[多年生植物|多年生]]草本，分布于[[喜马拉雅山脉]]海拔{{convert|3800|-|5200|m|ft}}\
的[[流石滩]]<ref name=fl>《[[中国植物志]]》第43卷</ref>{{rp|112}}。

== 形态 ==
株高{{convert|8|to|15|cm|in|1}}，茎[[木质化]]。叶[[互生]]，长1–2&nbsp;[[厘米|cm]]，宽{{val|2.5|0.5|u=mm}}。花五瓣，\
{{color|blue|蓝色}}，花期7–8月；[[蒴果]]直径约{{frac|1|2}}厘米，每株结籽10<sup>3</sup>粒以上。

== 成分 ==
全草含{{link-en|雪线苷|Nivaloside}}（{{chem|C|15|H|24|O|8}}）与[[黄酮类化合物|黄酮]]，根中后者的含量约为<math>\
0.3\\%</math>。2016年，{{tsl|en|Royal Botanic Gardens, Kew|邱园|英国皇家植物园}}的研究者测定其[[基因组]]\
大小约为{{formatnum:1250}}&nbsp;Mb，[[染色体]]<math>2n=18</math><ref>{{Cite journal|title=Genome of ''L. nivale''|doi=10.1\
000/xyz|journal=Nature}}</ref>。

== 用途 ==
{{See also|藏药}}
[[藏医学|藏医]]称之为“{{lang|bo|གངས་ར}}”（{{transl|bo|gangs ra}}），用于治疗[[雪盲症|雪盲]]：
# 取全草晒干，研末；
# 以[[青稞酒]]调敷，每日两次{{need citation}}。
纤维可织布，但产量极低，[[1950年代]]后已无人使用。

== 保护状况 ==
{{hidden begin|title=评估记录}}
受[[全球变暖]]影响，其生境每十年上移约{{nobr|30米}}。[[世界自然保护联盟|IUCN]]将其列为[[易危物种|易危]]\
（{{abbr|VU|Vulnerable}}）。
{{hidden end}}

== 参考文献 ==
{{reflist}}
{{Taxonbar|from=Q000}}
[[Category:亚麻科]]
""",
    """雪线草（学名：Linum nivale，日语：ユキセンソウ），别名冰麻，为高山亚麻属的多年生草本，\
分布于喜马拉雅山脉海拔3,800–5,200米的流石滩。
株高8至15厘米，茎木质化。叶互生，长1–2 cm，宽2.5±0.5 mm。花五瓣，蓝色，花期7–8月；蒴果直径约1/2厘米，每株结籽10^3粒以上。
全草含雪线苷（C15H24O8）与黄酮，根中后者的含量约为0.3%。2016年，英国皇家植物园的研究者测定其基因组大小约为1,250 Mb，\
染色体2n=18。
藏医称之为“གངས་ར”（gangs ra），用于治疗雪盲：
取全草晒干，研末；
以青稞酒调敷，每日两次。
纤维可织布，但产量极低，1950年代后已无人使用。
受全球变暖影响，其生境每十年上移约30米。IUCN将其列为易危（VU）。""",
)

FILM = Page(
    "夜航 (2014年电影)",
    """{{Infobox film
| name = 夜航
| director = {{le|安娜·莫雷蒂|Anna Moretti}}
| starring = {{Plainlist|
* [[陈晓晴]]
* {{link-en|保罗·温特|Paul Winter (actor)}}
}}
| released = {{film date|2014|9|5|[[威尼斯电影节]]}}
| runtime = 117分钟
}}
《'''夜航'''》（{{lang-it|Volo di notte}}，香港译《-{夜機}-》，台湾译《-{黑夜飛行}-》）是{{le|安娜·莫雷蒂|Anna Moretti}}\
执导的[[2014年电影|2014年]][[意大利电影|意大利]]剧情片，由[[陈晓晴]]、{{link-en|保罗·温特|Paul Winter (actor)|温特}}主演，\
全片长117分钟，于{{start date|2014|9|5}}在[[第71届威尼斯影展|威尼斯电影节]]首映<ref>{{cite news|title=夜航首映|url=http://\
news.example.com/1|publisher=影报|date=2014-09-06}}</ref>。

== 剧情 ==
[[飞行员]]玛尔塔（陈晓晴饰）接到一份奇怪的-{zh-cn:订单;zh-tw:訂單;zh-hk:訂單}-：在风暴中把一箱[[蜜蜂]]\
送过[[阿尔卑斯山脉|阿尔卑斯山]]。途中她与副驾驶托马斯（温特饰）争执不休，而无线电里不断传来一个孩子的声音，\
说：“{{lang|it|[[小星星|Stella, stellina]]}}。”{{efn|意大利童谣。}}

== 演员 ==
{| class="wikitable"
! 演员 !! 角色
|-
| 陈晓晴 || 玛尔塔
|}
* 陈晓晴　饰　玛尔塔
* {{link-en|保罗·温特|Paul Winter (actor)}}　饰　托马斯
* {{tsl|it|Gianni Rossi (attore)|詹尼·罗西}}　饰　塔台管制员（声音）

== 制作 ==
影片的飞行场面没有使用[[电脑成像|-{zh-cn:计算机生成图像;zh-tw:電腦成像}-]]，而是在{{convert|3500|m}}的高空实拍。\
预算为{{€|1=420万}}，票房为{{US$|1=1,130万}}{{efn|截至2015年。}}。配乐由{{nihongo|坂井隆|さかい たかし|Sakai Takashi}}\
创作，主题曲{{"|夜的坐标}}获[[金球奖]]提名。

== 评价 ==
《[[卫报]]》给予{{nowrap|四星}}，称之为{{quote|一部让人想关掉手机、打开窗户的电影。}}
影评人[[张某]]则认为“节奏过慢”<ref>{{cite web | url = http://example.com/r | title = 夜航：慢 }} {{Wayback|url=http://exam\
ple.com/r|date=20150101}}</ref>。

== 注释 ==
{{notelist}}
== 参考来源 ==
{{Reflist}}
== 外部链接 ==
* {{imdb title|1234567|Volo di notte}}
{{威尼斯电影节}}
[[Category:2014年電影]]
[[it:Volo di notte (film 2014)]]
""",
    """《夜航》（意大利语：Volo di notte，香港译《夜機》，台湾译《黑夜飛行》）是安娜·莫雷蒂执导的2014年意大利剧情片，\
由陈晓晴、温特主演，全片长117分钟，于2014年9月5日在威尼斯电影节首映。
飞行员玛尔塔（陈晓晴饰）接到一份奇怪的订单：在风暴中把一箱蜜蜂送过阿尔卑斯山。途中她与副驾驶托马斯（温特饰）争执不休，\
而无线电里不断传来一个孩子的声音，说：“Stella, stellina。”
陈晓晴　饰　玛尔塔
保罗·温特　饰　托马斯
詹尼·罗西　饰　塔台管制员（声音）
影片的飞行场面没有使用计算机生成图像，而是在3,500米的高空实拍。预算为€420万，票房为US$1,130万。\
配乐由坂井隆（さかい たかし，Sakai Takashi）创作，主题曲“夜的坐标”获金球奖提名。
《卫报》给予四星，称之为
一部让人想关掉手机、打开窗户的电影。
影评人张某则认为“节奏过慢”。""",
)

PAGES = (CITY, PERSON, SOFTWARE, HISTORY, PLANT, FILM)
