"""Wikipedia: a dump of zhwiki becomes Chinese prose. One sentence, followed through the files:

'''柏林'''（{{lang-de|Berlin}}）是[[德意志聯邦共和國|德國]][[首都]]<ref>{{cite web|...}}</ref>，分為12-{zh-hans:个区;
zh-hant:個區}-。

dump.py, side.py        pages of a bz2 or XML range; template redirects and conversion groups of the same dump
opaque.py               comments, refs, galleries, code and the like go; formulas.py keeps `x+1`; nowiki stays as typed
structure.py            {{ }} [[ ]] -{ }- by one tokeniser and a stack, innermost first:
    links.py            [[德意志聯邦共和國|德國]] -> 德國; files, categories and other languages' links go
    templates.py        {{lang-de|Berlin}} -> 德语：Berlin; which argument carries text is a table (text_templates.py,
                        languages.py, quantities.py, dates.py); functions.py does {{#if:...}}, {{formatnum:...}}
tags.py                 <br> <sup> <div> ...
tables.py, sections.py  {| |} and 参考文献 go; paragraphs.py makes one paragraph a line
inline.py               ''' '' [http://... label] &nbsp; __NOTOC__
markup.py               all of the above: render()
conversion.py, groups.py  -{zh-hans:个区; zh-hant:個區}- -> 个区, and 聯邦 -> 联邦 where that is wanted
mending.py              （，Berlin） -> （Berlin）: what removal left is mended, last of all
"""
