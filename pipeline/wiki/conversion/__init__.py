"""Between the written forms of Chinese, with the rules that editors of Wikipedia add to pages.

    {{NoteTA|G1=IT}}電腦的軟體，-{zh-cn:线;zh-tw:線}-        ->  计算机的软件，线

converter.py    Converter: applies a page's rules from its start to its end, and OpenCC to the rest
rules.py        -{zh-cn:线;zh-tw:線}-: one rule, parsed
groups.py       G1=IT: the rules of Module:CGroup/IT
lua.py          reads the Lua tables that groups are written in
phrases.py      many phrases searched for at once, longest first
variants.py     zh-cn, zh-tw, ...: their fallbacks, and OpenCC
"""
