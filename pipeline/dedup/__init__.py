"""Which documents stay: filters, copies, near copies, repeated paragraphs, withdrawn ones, leaks of evaluation sets.

signatures.py, minhash.py           a few hashes a document, one stage a source
clusters.py                         documents that are near copies of one another, over all sources
paragraphs.py                       paragraphs that many documents hold
evaluation_texts.py, decontamination.py   documents that hold texts of an evaluation set
decisions.py, duplicates.py         the stage that decides, and says why: kept, filter:short, near_copy, leak ...
dropping.py                         what was dropped, for those who read the report
"""
