"""What an input file is, recognised by its content, and how its records are read.

    news.dat   1f 8b 08 ...  ->  FileFormat("JSON lines", "gz", "gb18030")  ->  Record(...), Record(...), Bad(...), ...

detection.py     the format of a file from its first MiB, never from its name
foreign.py       files that are refused by name: Git LFS pointers, error pages, archives, Python dicts, SQL dumps, YAML
encodings.py     UTF-8, UTF-16, GB18030
lines.py         lines of a byte range, each with its offset; documents of several lines
json_values.py   JSON lines; or one array or many values, as a stream
tables.py        CSV and TSV, and which of their columns are text
parquet.py       row groups of Parquet files
arrow.py         Arrow files and streams
plain.py         plain text: documents separated by blank lines, a document a line, a document a file
front_matter.py  facts at the top of Markdown, which are no text
subtitles.py     subtitles and lyrics, without their times
text_formats.py  a table of formats that their first characters identify, and their readers: <doc> files, WET
evaluation.py    the texts of files that models are evaluated on, as the readers of tasks have them
marks.py         marks in these texts: spans, and blanks with their candidates and answers
fields.py        the fields of a record -> title, text, URL, for the formats of public Chinese corpora

Compression is undone before (pipeline/compression.py).
"""
