"""Countries by the codes of their flag templates: {{JPN}} and {{flag|JPN}} show a flag and 日本. One table.

    COUNTRIES["JPN"]    "日本"

Codes: ISO 3166-1 alpha-3, and those of the IOC and FIFA that zhwiki also uses; names in simplified script.
"""

_NAMED = """
    AFG:阿富汗 ALB:阿尔巴尼亚 ALG:阿尔及利亚 AND:安道尔 ANG:安哥拉 AGO:安哥拉 ARG:阿根廷 ARM:亚美尼亚 AUS:澳大利亚 AUT:奥地利
    AZE:阿塞拜疆 BAH:巴哈马 BHR:巴林 BRN:文莱 BAN:孟加拉国 BGD:孟加拉国 BAR:巴巴多斯 BLR:白俄罗斯 BEL:比利时 BEN:贝宁 BHU:不丹
    BTN:不丹 BOL:玻利维亚 BIH:波斯尼亚和黑塞哥维那 BOT:博茨瓦纳 BWA:博茨瓦纳 BRA:巴西 BUL:保加利亚 BGR:保加利亚 BUR:布基纳法索
    BFA:布基纳法索 BDI:布隆迪 CAM:柬埔寨 KHM:柬埔寨 CMR:喀麦隆 CAN:加拿大 CPV:佛得角 CAF:中非 CHA:乍得 TCD:乍得 CHI:智利
    CHL:智利 CHN:中国 PRC:中华人民共和国 ROC:中华民国 TWN:中华民国 TPE:中华台北 HKG:香港 MAC:澳门 COL:哥伦比亚 COM:科摩罗
    CGO:刚果共和国 COG:刚果共和国 COD:刚果民主共和国 CRC:哥斯达黎加 CRI:哥斯达黎加 CIV:科特迪瓦 CRO:克罗地亚 HRV:克罗地亚
    CUB:古巴 CYP:塞浦路斯 CZE:捷克 DEN:丹麦 DNK:丹麦 DJI:吉布提 DOM:多米尼加 ECU:厄瓜多尔 EGY:埃及 ESA:萨尔瓦多 SLV:萨尔瓦多
    ERI:厄立特里亚 EST:爱沙尼亚 ETH:埃塞俄比亚 EU:欧洲联盟 FIJ:斐济 FJI:斐济 FIN:芬兰 FRA:法国 GAB:加蓬 GAM:冈比亚 GMB:冈比亚
    GEO:格鲁吉亚 GER:德国 DEU:德国 GDR:东德 FRG:西德 GHA:加纳 GRE:希腊 GRC:希腊 GUA:危地马拉 GTM:危地马拉 GUI:几内亚
    GIN:几内亚 GUY:圭亚那 HAI:海地 HTI:海地 HON:洪都拉斯 HND:洪都拉斯 HUN:匈牙利 ISL:冰岛 IND:印度 INA:印度尼西亚
    IDN:印度尼西亚 IRI:伊朗 IRN:伊朗 IRQ:伊拉克 IRL:爱尔兰 ISR:以色列 ITA:意大利 JAM:牙买加 JPN:日本 JOR:约旦 KAZ:哈萨克斯坦
    KEN:肯尼亚 PRK:朝鲜 KOR:韩国 KOS:科索沃 KUW:科威特 KWT:科威特 KGZ:吉尔吉斯斯坦 LAO:老挝 LAT:拉脱维亚 LVA:拉脱维亚
    LIB:黎巴嫩 LBN:黎巴嫩 LES:莱索托 LBR:利比里亚 LBA:利比亚 LBY:利比亚 LIE:列支敦士登 LTU:立陶宛 LUX:卢森堡 MAD:马达加斯加
    MDG:马达加斯加 MAW:马拉维 MWI:马拉维 MAS:马来西亚 MYS:马来西亚 MDV:马尔代夫 MLI:马里 MLT:马耳他 MTN:毛里塔尼亚
    MRT:毛里塔尼亚 MRI:毛里求斯 MUS:毛里求斯 MEX:墨西哥 MDA:摩尔多瓦 MON:摩纳哥 MCO:摩纳哥 MGL:蒙古国 MNG:蒙古国 MNE:黑山
    MAR:摩洛哥 MOZ:莫桑比克 MYA:缅甸 MMR:缅甸 NAM:纳米比亚 NEP:尼泊尔 NPL:尼泊尔 NED:荷兰 NLD:荷兰 NZL:新西兰 NCA:尼加拉瓜
    NIC:尼加拉瓜 NIG:尼日尔 NER:尼日尔 NGR:尼日利亚 NGA:尼日利亚 MKD:北马其顿 NOR:挪威 OMA:阿曼 OMN:阿曼 PAK:巴基斯坦 PLW:帕劳
    PLE:巴勒斯坦 PSE:巴勒斯坦 PAN:巴拿马 PNG:巴布亚新几内亚 PAR:巴拉圭 PRY:巴拉圭 PER:秘鲁 PHI:菲律宾 PHL:菲律宾 POL:波兰
    POR:葡萄牙 PRT:葡萄牙 PUR:波多黎各 PRI:波多黎各 QAT:卡塔尔 ROU:罗马尼亚 RUS:俄罗斯 RWA:卢旺达 KSA:沙特阿拉伯
    SAU:沙特阿拉伯 SEN:塞内加尔 SRB:塞尔维亚 SEY:塞舌尔 SLE:塞拉利昂 SGP:新加坡 SIN:新加坡 SVK:斯洛伐克 SLO:斯洛文尼亚
    SVN:斯洛文尼亚 SOM:索马里 RSA:南非 ZAF:南非 SSD:南苏丹 ESP:西班牙 SPA:西班牙 SRI:斯里兰卡 LKA:斯里兰卡 SUD:苏丹 SDN:苏丹
    SUR:苏里南 SUI:瑞士 CHE:瑞士 SWE:瑞典 SYR:叙利亚 TJK:塔吉克斯坦 TAN:坦桑尼亚 TZA:坦桑尼亚 THA:泰国 TLS:东帝汶 TOG:多哥
    TGO:多哥 TON:汤加 TTO:特立尼达和多巴哥 TUN:突尼斯 TUR:土耳其 TKM:土库曼斯坦 UGA:乌干达 UKR:乌克兰 UAE:阿联酋 ARE:阿联酋
    GBR:英国 UK:英国 ENG:英格兰 SCO:苏格兰 WAL:威尔士 NIR:北爱尔兰 USA:美国 URS:苏联 USSR:苏联 SUN:苏联 URU:乌拉圭 URY:乌拉圭
    UZB:乌兹别克斯坦 VAN:瓦努阿图 VUT:瓦努阿图 VAT:梵蒂冈 VEN:委内瑞拉 VIE:越南 VNM:越南 YEM:也门 YUG:南斯拉夫
    TCH:捷克斯洛伐克 ZAM:赞比亚 ZMB:赞比亚 ZIM:津巴布韦 ZWE:津巴布韦
"""
COUNTRIES = dict(entry.split(":") for entry in _NAMED.split())
