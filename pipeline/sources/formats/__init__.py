"""What an input file is, recognised by its content, and how its records are read.

    news.dat   1f 8b 08 ...  ->  FileFormat("JSON lines", "gz", "gb18030")  ->  Record(...), Record(...), Bad(...), ...

detection.py     the format of a file from its first MiB, never from its name
compression.py   gz, bz2, xz, zst and zip by their magic bytes, decompressed as a stream
encodings.py     UTF-8, UTF-16, GB18030
lines.py         lines of a byte range, each with its offset; documents of several lines
json_values.py   JSON lines; or one array or many values, as a stream
parquet.py       row groups of Parquet files
plain.py         plain text: documents separated by blank lines, a document a line, a document a file
text_formats.py  a table of formats that their first characters identify, and their readers: <doc> files
fields.py        the fields of a record -> title, text, URL, for the formats of public Chinese corpora
"""
