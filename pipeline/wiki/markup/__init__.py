r"""Wikitext without templates: each module removes or resolves one kind of markup. rendering.py calls them in this order.

    <!-- 约 --><ref>...</ref>[[德意志聯邦共和國|德國]]的'''首都'''<br>{| 人口 |}

opaque.py         comments, refs, galleries, code are dropped; nowiki stays as typed
formulas.py           `<math>\frac{1}{2}</math>` -> 1/2 if plain text can express it
structure.py      {{ }} [[ ]] -{ }- by one tokeniser and a stack, innermost first
links.py              [[德意志聯邦共和國|德國]] -> 德國; files, categories and interlanguage links are dropped
languages.py          codes and names of languages, for interlanguage links and {{lang-xx}}
tags.py           <br> <sup> <div> ...
tables.py         {| |} is dropped
hidden_rules.py       conversion rules for the whole page inside what is dropped are kept
sections.py       headings, and sections to drop, such as 参考文献
paragraphs.py     lines -> one paragraph a line
quotes.py             ''' and '' are paired line by line
inline.py         [http://... label] &nbsp; __NOTOC__
broken_sentences.py   面积为□。: sentences that lost something are mended or dropped, after conversion
mending.py        （，Berlin） -> （Berlin）: repairs what removal left behind
findings.py       what is counted about a page on the way, holes in its sentences, and the budget of steps
"""
