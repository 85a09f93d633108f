"""Templates without prose: footnotes, hatnotes, maintenance, page design. And those that mark disambiguation pages. Tables.

    is_quiet("reflist")             True    dropped, and not counted as lost
    is_quiet("citeweb")             True    by its prefix
    is_quiet("navboxcountry")       False   dropped, and counted
    is_disambiguation("hndis")      True    its page is a list of titles

Keys as in text_templates.py: lower case, without spaces.
"""

_PREFIXES = ("cite", "ipa", "commons", "wikisource", "wikiquote", "harv", "sfn", "efn", "notelist", "multicol-", "pp-")

_FOOTNOTES = """
    citation reflist references reflistbegin refbegin refend 参考列表 參考列表 参考文献 參考文獻 notefoot 注释 註釋 r rp ref
    refn refnest reftag notetag note notet notes footnote gref reflabel notelabel cref cnote isbn issn doi oclc pmid lccn
    jstor arxiv bibcode asin hdl webcite webarchive wayback archivelink deadlink 死链 死鏈 失效链接 失效連結 404 cbignore
    subscription registration registrationrequired subscriptionrequired paywall page pageneeded pn
"""
_MAINTENANCE = """
    citationneeded cn fact facts 来源请求 來源請求 需要引用 引用需求 unreferenced refimprove 来源 來源 who when which whom
    where clarify clarification clarifyme what why how vague failedverification verify 需要核实 verifysource
    verificationneeded better bettersource betterscience nonprimary primarysource synth synthesis originalresearch or pov
    pov-statement dubious disputed disputed-inline update updateneeded updateafter asof expand expandsection 需要解释 谁 誰
    何时 何時 哪個 哪个 peacockterm weaselinline byws bywho advert cleanup wikify copyedit globalize stub orphan notability
    multipleissues issues pp protected semiprotected featuredarticle goodarticle ga fa delete d vfd translation translated
    rough roughtranslation notchinese notchinesetitle notmandarin 非中文 机械翻译 机器翻译 emptysection
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
    italictitle lowercasetitle wrongtitle 错误标题 錯誤標題 coord coordinates coor coordinate 坐标 座標 clear clr clearleft
    clearright - -- colbegin colend col-begin col-2 col-3 col-4 col-5 col-break colbreak col-end divcolstart divcol-start
    divcolend multicolend columnsend top bottom mid end anchor anchors 锚点 錨點 shortcut toc tocleft tocright tochidden
    notoc forcetoc toclimit compacttoc shortdescription usedmydates usemdydates engvar refstart hiddensort ntsh sortkey rh
    s-start s-end s-bef s-ttl s-aft startbox endbox succession familytree chartbegin navboxes shy zwsp zwj zwnj wbr lrm rlm
    void null tl tlx tlc
"""
_SIGNS = """
    respell pronunciation pron audio listen 发音 發音 flagicon flagdeco fbicon flagiconimage icon en ja fr de es ru it ko
    pdflink pdf increase decrease steady up down nochange profit loss gain tick cross check ya na aye nay age agedays
    timesince
"""
_QUIET = frozenset(" ".join((_FOOTNOTES, _MAINTENANCE, _HATNOTES, _SISTERS, _LAYOUT, _SIGNS)).split())

_DISAMBIGUATIONS = """
    disambig disambiguation dab disam disamb disambigpage disambiguationpage 消歧义 消歧義 消歧义页 消歧義頁 消歧 消含糊 hndis
    geodis mathdab roaddis numberdis letter-numbercombdisambig tladisambig tlad hospitaldis schooldis shipindex roadindex
    callsigndis airportdis
"""
_DISAMBIGUATION = frozenset(_DISAMBIGUATIONS.split())
_DISAMBIGUATION_ENDS = ("消歧义", "消歧義", "disambiguation", "disambig")


def is_quiet(key: str) -> bool:
    """Return whether a template shows no prose."""
    return key in _QUIET or key.startswith(_PREFIXES)


def is_disambiguation(key: str) -> bool:
    """Return whether a template, such as {{人名消歧義}}, marks its page as a disambiguation page."""
    return key in _DISAMBIGUATION or key.endswith(_DISAMBIGUATION_ENDS)
