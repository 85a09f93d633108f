"""Names in manifests -> the words on the page.

display_name("too_short") -> "too short"     display_name("html") -> "HTML"     display_name("not JSON") -> "not JSON"
"""

DISPLAY_NAMES = {
    # reading
    "read": "records read",
    "split_off": "set aside for evaluation tasks",
    "bad": "unreadable",
    "unaccounted": "unaccounted for",
    "filter": "dropped by filters",
    "withheld": "withdrawn or contaminated",
    # quality (pipeline/cleaning/quality.py)
    "not_chinese": "not Chinese",
    "language": "another language",
    "stopwords": "few common words",
    "sign_share": "much punctuation",
    "symbol_share": "many symbols",
    "digit_share": "many digits",
    **{f"top_{n}": f"one frequent {n}-gram" for n in (3, 5, 7)},
    **{f"repeated_{n}": f"repeated {n}-grams" for n in (8, 10, 13, 17)},
    "mean_line_length": "short lines on average",
    "ended_line_share": "few lines end in punctuation",
    "short_line_share": "many short lines",
    "bullet_line_share": "many bulleted lines",
    "ellipsis_line_share": "many truncated lines (…)",
    "duplicate_line_share": "repeated lines",
    "duplicate_line_characters": "repeated lines, by characters",
    # dedup and contamination
    "contaminated": "contains evaluation text",
    "withdrawn_copy": "duplicate of a withdrawn document",
    "duplicate": "exact duplicate",
    "near_duplicate": "near duplicate",
    "duplicate_paragraphs": "only repeated lines",
    "repeated_paragraph": "repeated line",
    "dropped": "in dropped documents",
    "lines_removed": "repeated lines removed",
    "withdrawn_not_found": "withdrawn ids not found",
    "unpaired": "candidate pairs not compared",
    "pairs": "pairs of duplicates",
    # cleaning
    "html": "HTML",
    "invisible": "invisible characters",
    "composed": "characters composed (NFC)",
    "boilerplate": "boilerplate lines",
    "separators": "separator lines",
    "converted": "script converted",
    "personal_data": "personal data masked",
    "title": "titles that are boilerplate",
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
    "missing_groups": "conversion groups missing from the dump",
    "rules": "conversion rules in the text",
    "note_ta": "conversion rules of pages (NoteTA)",
    "replaced": "phrases replaced by rules",
    # pairs
    "random_next": "B from elsewhere",
    "swapped": "A and B swapped",
    "single": "single segments",
    "borrowed": "tokens used again as a random B",
    "cut_sentences": "sentences split between segments",
    "truncated": "tokens cut off",
    # scores
    "entity_f1": "entity F1",
}
"""Names that are not displayed as themselves with spaces for underscores."""


def display_name(name: str) -> str:
    """Return the words for a name: `too_short` -> `too short`, `not_chinese` -> `not Chinese`."""
    return DISPLAY_NAMES.get(name, name.replace("_", " "))
