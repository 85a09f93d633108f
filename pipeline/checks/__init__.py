"""What `verify` holds the files of a run to, beside their checksums.

invariants.py               every stage that has rules, file by file
shard_invariants.py         for every row of a shard: [CLS] first, masked tokens inside, ... by shard_rows.py in flat arrays
decision_invariants.py      every document is decided upon once
findings.py                 what is wrong, a line for each rule
"""
