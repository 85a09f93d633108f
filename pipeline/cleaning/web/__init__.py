"""The preset `web`: what web pages have besides the faults of other text. Pure functions, used for sources with this preset.

    秋粮收购会议召开_云溪新闻网     ->  秋粮收购会议召开         lines.py
    本文关键词：秋粮,收购         ->  removed                lines.py
    欢迎新老客户来电咨询           ->  advertising 12.5       measures.py, with the words of phrases.py
    praise, and no people in it  ->  junk 0.62              junk.py

phrases.py      words that give spam, spun text and advertising away, as tables; the user's phrases
lines.py        names of sites in titles, lines of keywords
measures.py     spam, spun, advertising, listing: numbers that rules of quality.py judge
junk.py         the probability that a page is junk, from several measures at once; its weights: junk.json
"""

VERSION = 2
"""Of the measures: one more when pages get other numbers. It is part of the keys of sources with this preset, not of others."""
