"""What an input file is, told by its content, and how the records in it are read.

form.py          what a file is: layout, compression, encoding; "news.dat" -> JSON lines, gz, GB18030
compression.py   gz, bz2, xz, zst, zip by their magic bytes, unpacked as a stream
encodings.py     UTF-8, UTF-16, GB18030
lines.py         lines of a byte range, each with its offset
json_values.py   JSON lines; one array or many values, streamed
parquet.py       row groups of Parquet files
plain.py         plain text: documents parted by blank lines, a document a line, a document a file; <doc> files
fields.py        the fields of a record -> title, text, address: layouts of public Chinese corpora
"""
