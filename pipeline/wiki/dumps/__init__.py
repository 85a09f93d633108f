"""MediaWiki dumps: the file itself, the pages in it, and what pages need from other pages.

    zhwiki-20250801-pages-articles-multistream.xml.bz2, bytes [0, 16 Mi)  ->  Page("柏林", ...), Page("QUIC", ...), ...

download.py     the stage that fetches the latest dump from Wikimedia, and resumes after broken connections
bzip2.py        any byte range of a bzip2 file, without an index
unpacked.py     text of a bzip2 file, kept from one pass to the next
dump.py         a dump -> tasks; a task -> the pages that start in it
namespaces.py   namespaces of pages by title, for dumps that do not number them
side_input.py   the stage `wiki_side_input_<source>`: redirects of templates and conversion groups of a dump
"""
