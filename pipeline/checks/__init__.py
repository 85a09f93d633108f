"""What `nezha-pipe verify` checks in the files of a run besides their checksums, and what `inspect --document` collects.

    "runs/tiny/dedup-77c1b2d4e3f9/dropped_news.parquet: row 4: its kept_id is dropped itself"

findings.py                 problems of one file, one line per broken rule
invariants.py               rules of documents, tokens, vocabulary, shards and wiki_side_input
dedup_invariants.py         rules of signatures and contamination
decision_invariants.py      rules of dedup
shard_invariants.py         rules of every row of every shard
shard_rows.py               rows of shards as flat arrays, for shard_invariants.py
provenance.py               what each stage records of one document
"""
