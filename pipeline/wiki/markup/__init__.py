"""Wikitext without templates: each module removes or resolves one kind of markup. rendering.py calls them in this order.

    <!-- 约 --><ref>...</ref>[[德意志聯邦共和國|德國]]的'''首都'''<br>{| 人口 |}

opaque.py         comments, refs, galleries, code are dropped; nowiki stays as typed
formulas.py           `<math>x+1</math>` -> x+1 if plain text can express it
structure.py      {{ }} [[ ]] -{ }- by one tokeniser and a stack, innermost first
links.py              [[德意志聯邦共和國|德國]] -> 德國; files, categories and interlanguage links are dropped
languages.py          codes and names of languages, for interlanguage links and {{lang-xx}}
tags.py           <br> <sup> <div> ...
tables.py         {| |} is dropped
hidden_rules.py       conversion rules for the whole page inside what is dropped are kept
sections.py       headings, and sections to drop, such as 参考文献
paragraphs.py     lines -> one paragraph a line
inline.py         ''' '' [http://... label] &nbsp; __NOTOC__
mending.py        （，Berlin） -> （Berlin）: repairs what removal left behind, after conversion
findings.py       what is counted about a page on the way, and the budget of steps
"""
