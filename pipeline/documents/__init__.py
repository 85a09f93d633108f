"""Records of a source become documents: cleaned, measured, in Parquet files sorted by id.

    news.jsonl.gz          reading.py       tasks: byte ranges of files; a task -> Record, Bad, Skipped
    Record(...)            clean_part.py    one task: clean, convert, mask, measure; spilled by part of the id
    part-00003.parquet     stage.py         one part: all its documents, sorted by id

stage.py        the stage `documents_<source>`: plans the tasks, runs the job, writes parts and facts
reading.py      files -> tasks -> records, for every kind of source
clean_part.py   one task: its records -> documents, in batches
known.py        records that an earlier stage has made documents of
table.py        the documents on disk: columns, ids, parts
demo_tasks.py   the stage `tasks`: evaluation files from the embedded corpus
"""
