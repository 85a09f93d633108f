"""Wikipedia: a dump of zhwiki becomes Chinese prose. One sentence, followed through the folders:

'''柏林'''（{{lang-de|Berlin}}）是[[德意志聯邦共和國|德國]][[首都]]<ref>{{cite web|...}}</ref>，分為12-{zh-hans:个区;
zh-hant:個區}-。

dumps/          pages of a byte range of the dump; redirects of templates and conversion groups of the same dump
markup/         comments, <ref>, tables and 参考文献 are dropped; links, tags and quotes resolved; one paragraph a line
templates/      {{lang-de|Berlin}} -> 德语：Berlin
conversion/     -{zh-hans:个区; zh-hant:個區}- -> 个区, and 聯邦 -> 联邦 if simplified text is wanted
rendering.py    render(): markup and templates in the right order, one page of wikitext -> prose
pages.py        records(): dump, render, convert, mend; one page -> a Record, or why there is none
"""
