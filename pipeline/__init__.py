"""Raw corpora to training shards. One sentence on its way through the room:

    sources.py            {"title": "外宾来访", "content": "<p>国家主席在北京会见外宾。</p>"}  a byte range of a file -> records
    text/cleaning.py      国家主席在北京会见外宾。                                    markup and invisible characters go
    documents.py          id 7f3a..., 12 characters, 92 % Chinese                    the stage: Parquet, sorted by id
    copies/signatures.py  a few hashes, by which copies of it are found
    copies/duplicates.py  kept                                                       filters, copies and leaks, decided apart
    vocabulary.py         [PAD] [UNK] [CLS] [SEP] [MASK] ... 国 家                   given, or built
    text/sentences.py     国家主席在北京会见外宾。
    text/words.py         国家|主席|在|北京|会见|外宾|。                               jieba, by character offsets
    text/tokens.py        国 家 主 席 在 北 京 会 见 外 宾 。                           WordPiece, by the same offsets
    encoding.py           the stage: all three, made once for shards of all lengths
    pairs.py              [CLS] 国 家 ... 。 [SEP] ... [SEP]                          does B follow A?
    masking.py            [CLS] 国 家 主 席 在 [MASK] [MASK] 会 见 外 宾 。 ...          whole words
    examples.py           the stage: Arrow shards, rows in hashed order
    shards.py             a row on disk, and how training reads it

What files are is told by `layouts/`, what becomes of a dump of Wikipedia by `wiki/`; `tfrecords/` speaks with BERT's files, and
`checks/` re-reads what stands on disk. `stages.py` says what a stage is, `job.py` is the one Beam graph of all of them,
`storage.py` the one door to file systems.
"""
