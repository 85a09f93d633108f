"""Pure functions from raw text to clean text and numbers about it; no files, no stages.

    "﻿<p>他说：“你好”，电话13800138000。</p>\\r\\n责任编辑：张三"
    cleaning.py     他说：“你好”，电话13800138000。     html, invisible, boilerplate changed it
    pii.py          他说：“你好”，电话<电话>。
    language.py     zh, hans
    quality.py      characters 15, chinese_share 0.53, stopwords 1, top_3 0.0, ...   -> "" (kept), or the rule that drops it

cleaning.py      clean(): escapes, markup, odd characters, Unicode NFC, white space, boilerplate; fingerprints of texts
escapes.py       escapes such as \\n and \\u6709 that a program left in prose
markup.py        HTML: whether a text has any, and the text without it
normalization.py odd characters: invisible ones, radicals, ligatures, parts of emoji; white space
boilerplate.py   lines of web pages that are not prose, removed: credits, copyright notices, buttons, separators
furniture.py     the forms of such lines
pii.py           personal data -> placeholders, counted
identifiers.py   its numbers: identity, bank card, telephone, address on the internet, licence plate
accounts.py      its accounts: mail, QQ, WeChat, user names, passwords
characters.py    many texts as one array of code points, and the class of each character
language.py      language and script of each text, from its characters
forms.py         verse, dialogue and classical Chinese, which rules made for prose spare
repetition.py    n-grams that a text repeats, found exactly for many texts at once
quality.py       the measures of a text, and the rules that drop a document because of them
web/             the preset for web pages: spam, advertising, lists, and a score of several measures
"""
