"""From tokens to training examples in shards: which text goes into a sequence, which tokens are masked.

pairs.py             all examples of a part of documents: segments.py, then next_sentence.py, then gather the tokens
segments.py          where segment A ends and B starts: a walk through each document
next_sentence.py     for label 1 of "does B follow A?": a B from another document
sequences.py         many examples as flat arrays
random_streams.py    random numbers that depend only on the seed and the id of a document or example
masking.py           which tokens are masked, and what replaces them
masking_units.py         its inner functions, on matrices of units
cache.py             shards of an object store: copies on this machine, so many gigabytes of them
shards.py            the file format: writing shards, reading any row
stage.py             the stage `shards_<source>_<length>`
"""
