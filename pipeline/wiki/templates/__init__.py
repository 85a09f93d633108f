"""Templates -> text: which argument of a template carries text, or how its text is made. No template code is run.

    {{lang-de|Berlin}} -> 德语：Berlin      {{convert|468|km2}} -> 468平方公里      {{JPN}} -> 日本      {{Navbox ...}} -> ""

expansion.py         Templates.expand(): finds a template by name or redirect, and asks the tables below
text_templates.py    templates that carry text: which argument it is in
quiet_templates.py   templates without prose: footnotes, hatnotes, maintenance; and disambiguation
functions.py         {{#if:...}}, {{formatnum:...}}, {{PAGENAME}}
expressions.py       {{#expr:1/3 round 2}}
quantities.py        {{convert|468|km2}}, {{val|1.5|0.2}}
dates.py             {{bd|1879年|3月14日|...}}, {{start date|1990|10|3}}
countries.py         {{JPN}}: names of countries by code
"""
