"""Languages as Chinese Wikipedia names them: codes of other Wikipedias, and names for {{lang-xx}}. Two tables.

    is_language_prefix("zh-min-nan")    True: [[zh-min-nan:Pak-lîm]] is shown next to the page, not in its text
    language_name("de")                 "德语"
    language_name("en-gb")              "英语"
    protected("ja", "図書館 (tosho)")   "-{R|図書館}- (tosho)": no conversion between Chinese scripts touches it

Codes: zhwiki's interwiki map (api.php?action=query&meta=siteinfo&siprop=interwikimap, entries with `language`).
"""

import re

_CODES = """
    aa ab ace ady af ak als alt am an ang ar arc ary arz as ast atj av avk awa ay az azb ba ban bar bat-smg bcl be be-tarask
    be-x-old bg bh bi bjn bm bn bo bpy br bs bug bxr ca cbk-zam cdo ce ceb ch cho chr chy ckb co cr crh cs csb cu cv cy da de
    din diq dsb dty dv dz ee el eml en eo es et eu ext fa ff fi fiu-vro fj fo fr frp frr fur fy ga gag gan gcr gd gl glk gn
    gom gor got gu gv ha hak haw he hi hif ho hr hsb ht hu hy hyw hz ia id ie ig ii ik ilo inh io is it iu ja jam jbo jv ka
    kaa kab kbd kbp kg ki kj kk kl km kn ko koi kr krc ks ksh ku kv kw ky la lad lb lbe lez lfn lg li lij lld lmo ln lo lrc lt
    ltg lv mad mai map-bms mdf mg mh mhr mi min mk ml mn mni mnw mo mr mrj ms mt mus mwl my myv mzn na nah nap nds nds-nl ne
    new ng nia nl nn no nov nqo nrm nso nv ny oc olo om or os pa pag pam pap pcd pdc pfl pi pih pl pms pnb pnt ps pt qu rm rmy
    rn ro roa-rup roa-tara ru rue rw sa sah sat sc scn sco sd se sg sh shn shy si simple sk skr sl sm smn sn so sq sr srn ss
    st stq su sv sw szl szy ta tay tcy te tet tg th ti tk tl tn to tpi tr trv ts tt tum tw ty tyv udm ug uk ur uz ve vec vep
    vi vls vo wa war wo wuu xal xh xmf yi yo yue za zea zh zh-classical zh-min-nan zh-yue zu zh-cn zh-tw egl gsw lzh nan nb
    rup sgs vro
"""
_PREFIXES = frozenset(_CODES.split())
_CHINESE = "zh cmn lzh och ltc yue wuu hak nan gan hsn cdo cpx czo mnp cjy czh"
_SINITIC = frozenset(_CHINESE.split())
"""Languages whose characters are converted like the rest of a page."""
_IDEOGRAPHS = re.compile("[々〆〇㐀-䶿一-鿿豈-﫿\U00020000-\U0003ffff]+")

_NAMED = """
    af:南非语 am:阿姆哈拉语 ang:古英语 ar:阿拉伯语 arc:阿拉米语 az:阿塞拜疆语 be:白俄罗斯语 bg:保加利亚语 bn:孟加拉语 bo:藏语
    br:布列塔尼语 bs:波斯尼亚语 ca:加泰罗尼亚语 ceb:宿雾语 chr:切罗基语 co:科西嘉语 cop:科普特语 cs:捷克语 cu:古教会斯拉夫语
    cv:楚瓦什语 cy:威尔士语 da:丹麦语 de:德语 dz:宗喀语 egy:古埃及语 el:希腊语 en:英语 eo:世界语 es:西班牙语 et:爱沙尼亚语
    eu:巴斯克语 fa:波斯语 fi:芬兰语 fil:菲律宾语 fo:法罗语 fr:法语 frm:中古法语 fro:古法语 fy:弗里西语 ga:爱尔兰语
    gd:苏格兰盖尔语 gl:加利西亚语 gmh:中古高地德语 goh:古高地德语 got:哥特语 grc:古希腊语 gu:古吉拉特语 ha:豪萨语 hak:客家语
    haw:夏威夷语 he:希伯来语 hi:印地语 hr:克罗地亚语 ht:海地克里奥尔语 hu:匈牙利语 hy:亚美尼亚语 ia:国际语 id:印尼语 is:冰岛语
    it:意大利语 iu:因纽特语 ja:日语 jv:爪哇语 ka:格鲁吉亚语 kk:哈萨克语 kl:格陵兰语 km:高棉语 kn:卡纳达语 ko:韩语 ku:库尔德语
    ky:吉尔吉斯语 la:拉丁语 lb:卢森堡语 lo:老挝语 lt:立陶宛语 lv:拉脱维亚语 lzh:文言文 mg:马达加斯加语 mi:毛利语 mk:马其顿语
    ml:马拉雅拉姆语 mn:蒙古语 mnc:满语 mr:马拉地语 ms:马来语 mt:马耳他语 my:缅甸语 nah:纳瓦特尔语 nan:闽南语 nap:那不勒斯语
    nds:低地德语 ne:尼泊尔语 nl:荷兰语 nn:新挪威语 no:挪威语 non:古诺尔斯语 nv:纳瓦霍语 oc:奥克语 os:奥塞梯语
    ota:奥斯曼土耳其语 pa:旁遮普语 pi:巴利语 pl:波兰语 ps:普什图语 pt:葡萄牙语 qu:克丘亚语 rm:罗曼什语 ro:罗马尼亚语 ru:俄语
    rw:卢旺达语 sa:梵语 scn:西西里语 sco:低地苏格兰语 sd:信德语 se:北萨米语 sh:塞尔维亚-克罗地亚语 si:僧伽罗语 sk:斯洛伐克语
    sl:斯洛文尼亚语 sm:萨摩亚语 so:索马里语 sq:阿尔巴尼亚语 sr:塞尔维亚语 su:巽他语 sv:瑞典语 sw:斯瓦希里语 ta:泰米尔语
    te:泰卢固语 tet:德顿语 tg:塔吉克语 th:泰语 ti:提格利尼亚语 tk:土库曼语 tl:他加禄语 to:汤加语 tr:土耳其语 tt:鞑靼语
    ug:维吾尔语 uk:乌克兰语 ur:乌尔都语 uz:乌兹别克语 vi:越南语 vo:沃拉普克语 wa:瓦隆语 wo:沃洛夫语 wuu:吴语 xh:科萨语
    yi:意第绪语 yo:约鲁巴语 yue:粤语 za:壮语 zh:中文 zu:祖鲁语
"""
_NAMES = dict(entry.split(":") for entry in _NAMED.split())


def protected(code: str, text: str) -> str:
    """Return a text in another language with its Chinese characters in raw rules, so that they stay as written."""
    if text.isascii() or "-{" in text or code.strip().lower().partition("-")[0] in _SINITIC:
        return text
    return _IDEOGRAPHS.sub(r"-{R|\g<0>}-", text)


def is_language_prefix(prefix: str) -> bool:
    """Return whether `[[prefix:...]]` links to another language's page, which is shown in the margin and not in the text."""
    return prefix.lower() in _PREFIXES


def language_name(code: str) -> str:
    """Return the Chinese name of a language, in simplified script; `en-gb` counts as `en`; "" for unknown codes."""
    code = code.strip().lower()
    return _NAMES.get(code) or _NAMES.get(code.partition("-")[0], "")
