"""Templates without prose: footnotes, hatnotes, maintenance, page design. And those that mark disambiguation pages. Tables.

    quiet_kind("reflist")           "ref"   dropped, and its text counted as that of footnotes
    quiet_kind("citeweb")           "ref"   by its prefix
    quiet_kind("ipa-de")            "pronunciation"     shows something in its sentence, which is dropped
    quiet_kind("navboxcountry")     ""      not in these tables: dropped, and counted by name
    is_disambiguation("hndis")      True    its page is a list of titles

Keys as in text_templates.py: lower case, without spaces.
"""

from functools import lru_cache

from pipeline.wiki.markup.findings import Certainty

_PREFIXES = {
    "ref": ("cite", "harv", "sfn", "efn", "notelist"),
    "pronunciation": ("ipa",),
    "age": ("agein",),
    "sister": ("commons", "wikisource", "wikiquote"),
    "layout": ("multicol-", "pp-"),
}

_FOOTNOTES = """
    citation reflist references reflistbegin refbegin refend 参考列表 參考列表 参考文献 參考文獻 notefoot 注释 註釋 r rp ref
    refn refnest reftag notetag note notet notes footnote gref reflabel notelabel cref cnote isbn issn doi oclc pmid lccn
    jstor arxiv bibcode asin hdl webcite webarchive wayback archivelink deadlink 死链 死鏈 失效链接 失效連結 404 cbignore
    subscription registration registrationrequired subscriptionrequired paywall page pageneeded pn
"""
_MAINTENANCE = """
    unreferenced refimprove 来源 來源 synthesis originalresearch pov disputed update updateneeded updateafter expand
    expandsection advert cleanup wikify copyedit globalize stub orphan notability multipleissues issues pp protected
    semiprotected featuredarticle goodarticle ga fa delete d vfd translated translatedpage rough roughtranslation notchinese
    notchinesetitle notmandarin 非中文 机械翻译 机器翻译 emptysection
"""
_HATNOTES = """
    main mainarticle mainarticles 主条目 主條目 详见 詳見 seealso further furtherinformation details 参见 參見 参看 參看
    另见 另見 about otheruses otheruse otheruses2 other otherpeople otherplaces redirect redirect2 redirects for this
    distinguish distinguish2 notto 不是 勿混淆 confuse confused 消歧义链接 消歧義連結 hatnote rellink relarticle dablink
    selfref 其他用法 其他用途 subjectpage
"""
_SISTERS = """
    wiktionary wikivoyage wikispecies wikinews wikibooks wikiversity wikidata wikt sisterlinks sisterproject
    sisterprojectlinks authoritycontrol 权威控制 規範控制 规范控制 normdaten portal portalbar portalbox portalinline
    subjectbar 主题 主題 officialwebsite officialsite official 官网 官網 官方网站 url imdbname imdbtitle imdb facebook
    twitter youtube weibo instagram interwiki linkfa linkga findagrave internetarchive
"""
_LAYOUT = """
    italictitle lowercasetitle wrongtitle 错误标题 錯誤標題 clear clr clearleft
    clearright - -- colbegin colend col-begin col-2 col-3 col-4 col-5 col-break colbreak col-end divcolstart divcol-start
    divcolend multicolend columnsend top bottom mid end anchor anchors 锚点 錨點 shortcut toc tocleft tocright tochidden
    notoc forcetoc toclimit compacttoc shortdescription usedmydates usemdydates engvar refstart hiddensort ntsh sortkey rh
    s-start s-end s-bef s-ttl s-aft startbox endbox succession familytree chartbegin navboxes shy zwsp zwj zwnj wbr lrm rlm
    void null tl tlx tlc nowrapbegin nowrapend nobrbegin nobrend smallbegin smallend divbegin divend dirtymark wj
"""
_SIGNS = """
    audio listen flagicon flagdeco fbicon flagiconimage icon en ja fr de es ru it ko pdflink pdf increase decrease steady up
    down nochange profit loss gain tick cross check ya na aye nay
"""
_TABLES = {
    "ref": _FOOTNOTES,
    "maintenance": _MAINTENANCE,
    "hatnote": _HATNOTES,
    "sister": _SISTERS,
    "layout": _LAYOUT,
    "icon": _SIGNS,
    "pronunciation": "respell pronunciation pron 发音 發音",
    "coordinates": "coord coordinates coor coordinate 坐标 座標",
    "age": "age agedays timesince years yearsago 年龄 年齡",
}
_QUIET = {key: kind for kind, keys in _TABLES.items() for key in keys.split()}
SHOWN = {"pronunciation": Certainty.MARK, "coordinates": Certainty.MARK, "age": Certainty.VALUE}
"""Kinds that a reader sees inside a sentence. A pronunciation mostly follows a word that does without it."""

_DISAMBIGUATIONS = """
    disambig disambiguation dab disam disamb disambigpage disambiguationpage 消歧义 消歧義 消歧义页 消歧義頁 消歧 消含糊 hndis
    geodis mathdab roaddis numberdis letter-numbercombdisambig tladisambig tlad hospitaldis schooldis shipindex roadindex
    callsigndis airportdis
"""
_DISAMBIGUATION = frozenset(_DISAMBIGUATIONS.split())
_DISAMBIGUATION_ENDS = ("消歧义", "消歧義", "disambiguation", "disambig")


@lru_cache(maxsize=1 << 14)
def quiet_kind(key: str) -> str:
    """Return what a template without prose is; "" for all others."""
    if kind := _QUIET.get(key):
        return kind
    return next((kind for kind, prefixes in _PREFIXES.items() if key.startswith(prefixes)), "")


def is_quiet(key: str) -> bool:
    """Return whether a template shows no prose."""
    return quiet_kind(key) != ""


def is_disambiguation(key: str) -> bool:
    """Return whether a template, such as {{人名消歧義}}, marks its page as a disambiguation page."""
    return key in _DISAMBIGUATION or key.endswith(_DISAMBIGUATION_ENDS)
