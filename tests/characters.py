"""Characters and words counted one text at a time: what the program counts in vectors, or over many texts."""

import re
from collections import Counter

from pipeline.cleaning.characters import IDEOGRAPHS
from pipeline.tokenization.vocab import find_words

_CHINESE = re.compile(f"[{IDEOGRAPHS}]+")


def visible(text: str) -> int:
    """Return the number of characters that are not white space."""
    return len(text) - text.count(" ") - text.count("\n")


def chinese(text: str) -> int:
    """Return the number of Chinese characters (unified ideographs with extensions and compatibility forms)."""
    return len(text) - len(_CHINESE.sub("", text))


def count(text: str) -> tuple[Counter[str], Counter[str]]:
    """Count the characters, and the Latin and digit words, of a text, as `vocab.build` takes them."""
    return Counter(text), Counter(find_words(text))
