"""What names in manifests are called on the page.

words("too_short") -> "too short"     words("near_duplicate") -> "near copy"     words("not JSON") -> "not JSON"
"""

LABELS = {
    # reading
    "read": "records read",
    "split_off": "kept out for tasks",
    "bad": "unreadable",
    "unaccounted": "unaccounted for",
    "skipped": "no document",
    "filter": "too poor (filters)",
    "withheld": "withdrawn or in evaluation files",
    "copy": "copies",
    # quality (pipeline/cleaning/quality.py)
    "not_chinese": "not Chinese",
    "language": "another language",
    "stopwords": "hardly any common word",
    "sign_share": "mostly punctuation",
    "symbol_share": "many symbols",
    "digit_share": "mostly numerals",
    **{f"top_{n}": f"one run of {n} letters too often" for n in (3, 5, 7)},
    **{f"repeated_{n}": f"runs of {n} letters repeated" for n in (8, 10, 13, 17)},
    "mean_line_length": "lines too short on average",
    "ended_line_share": "lines without an end",
    "short_line_share": "many short lines",
    "bullet_line_share": "mostly bullets",
    "ellipsis_line_share": "many cut lines (…)",
    "duplicate_line_share": "repeated lines",
    "duplicate_line_characters": "repeated lines, by characters",
    # copies and leaks
    "contaminated": "holds evaluation text",
    "withdrawn_copy": "copy of a withdrawn one",
    "duplicate": "exact copy",
    "near_duplicate": "near copy",
    "duplicate_paragraphs": "only repeated lines",
    "repeated_paragraph": "repeated line",
    "dropped": "in dropped documents",
    "lines_out": "repeated lines taken out",
    "withdrawn_not_found": "withdrawn ids that no source has",
    "unpaired": "candidates given up on",
    "pairs": "pairs of copies",
    # cleaning
    "html": "HTML",
    "invisible": "invisible characters",
    "composed": "composed characters (NFC)",
    "boilerplate": "boilerplate lines",
    "separators": "rulers and separators",
    "converted": "converted script",
    "personal_data": "personal data masked",
    "title": "titles that were furniture of their page",
    "mail": "mail addresses",
    "identity": "identity card numbers",
    "phone": "phone numbers",
    "ip": "IP addresses",
    # languages and scripts (pipeline/cleaning/language.py)
    "zh": "Chinese",
    "yue": "Cantonese",
    "lzh": "classical Chinese",
    "ja": "Japanese",
    "ko": "Korean",
    "en": "English",
    "hans": "simplified",
    "hant": "traditional",
    "mixed": "both scripts",
    "none": "none",
    # wikitext
    "table": "tables",
    "comment": "comments",
    "gallery": "galleries",
    "ref": "references",
    "section": "sections of references and links",
    "file": "files and images",
    "heading": "headings",
    "math": "formulas",
    "missing_groups": "groups that the dump lacks",
    "rules": "conversion rules in the text",
    "note_ta": "rules of pages (NoteTA)",
    "replaced": "phrases replaced by rules",
    # pairs
    "random_next": "B from elsewhere",
    "swapped": "A and B changed places",
    "single": "single segments",
    "borrowed": "tokens used twice, as such a B",
    "cut_sentences": "sentences cut at a border",
    "truncated": "tokens cut off",
    # scores
    "entity_f1": "entity F1",
}
"""Where a name is not just itself without its underscores."""


def words(name: str) -> str:
    """`too_short` -> `too short`, `not_chinese` -> `not Chinese`."""
    return LABELS.get(name, name.replace("_", " "))
