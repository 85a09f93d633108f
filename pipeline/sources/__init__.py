"""Where documents come from: the files that a recipe names, and the records inside them.

    [[source]] input = ["news/"]        inputs.py     news/2024.jsonl.gz, 3.1 GB, sha256 9f2c...
    \x1f\x8b\x08 ...                    formats/      JSON lines, gz, UTF-8
    {"title": "外宾来访", "content": ...}             Record("2024.jsonl.gz#412", "外宾来访", "国家主席在北京会见外宾。")

inputs.py       files, folders and globs -> a list of files with sizes and digests
formats/        what a file is, recognised by its content, and how the records in it are read
records.py      the result of reading: `Record`, `Bad`, `Skipped`; and `ReadTask`, a range of a file
demo.py         the embedded corpus: news and reviews from a Python package, for a first run without any data

MediaWiki dumps have a room of their own, pipeline/wiki/. The loop over files and tasks is in pipeline/documents/reading.py.
"""
