"""How the files of tasks are read: each format yields examples, with the place of each in its file.

fields.py       rows of tables and of JSON, and the fields in them
rows.py         rows to examples: texts, pairs, numbers, several labels, candidates, choices, questions
tags.py         tags and entities: CoNLL, lists of tags, entities by their places; BIOES and BMES become BIO
questions.py    CMRC 2018, DRCD, SQuAD
choices.py      C3, CHID
reading.py      a file, whatever its format; what is wrong is named by file and line
"""
