"""Between the written forms of Chinese, with the rules that editors of Wikipedia add to pages.

    {{NoteTA|G1=IT}}電腦的軟體，-{zh-cn:线;zh-tw:線}-        ->  计算机的软件，线

converter.py    Converter: applies a page's rules from its start to its end, and tables to the rest
rules.py        -{zh-cn:线;zh-tw:線}-: one rule, parsed
groups.py       G1=IT: the rules of Module:CGroup/IT
lua.py          reads the Lua tables that groups are written in
phrases.py      many phrases searched for at once, longest first
variants.py     zh-cn, zh-tw, ...: their fallbacks, and to_variant() for text without rules

regional_words.py    軟體 <-> 软件: words and names that differ between regions
characters.py        軟體 <-> 软体: OpenCC's tables, where a text is in the other script
choices.py           其余 -> 其餘, 余先生 -> 余先生: which of several traditional characters
mediawiki_tables.py  MediaWiki's own tables, from an optional package
"""
