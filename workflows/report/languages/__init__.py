"""The languages of the report.

texts.py     a text of the page in the reader's language, and its numbers, times and dates

A table for each language but English, which stands in the code: zh.toml. A new language is a file beside it, and a name in
`LANGUAGES` of texts.py and in `[report] language`.
"""
