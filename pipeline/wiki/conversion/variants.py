"""The written forms of Chinese, and conversion of a text to one of them.

    to_variant("沿著資訊科技學系裡面的走廊", "zh-cn")  ->  "沿着资讯科技学系里面的走廊"
    to_variant("计算机里面的头发", "zh-tw")             ->  "計算機裡面的頭髮"
    to_variant("義大利的軟體", "zh-cn")                 ->  "意大利的软件"

Two sets of tables: `opencc` is OpenCC's characters (characters.py) and a list of words and names of our own
(regional_words.py); `mediawiki` is what Wikipedia uses (mediawiki_tables.py).
"""

from collections.abc import Mapping

from pipeline.wiki.conversion import mediawiki_tables, regional_words

VARIANTS = ("zh", "zh-hans", "zh-hant", "zh-cn", "zh-hk", "zh-mo", "zh-my", "zh-sg", "zh-tw")
"""MediaWiki's codes, in the order of its ZhConverter; `zh` is the text as written."""
FALLBACKS = {
    "zh": ("zh-hans", "zh-hant", "zh-cn", "zh-tw", "zh-hk", "zh-sg", "zh-mo", "zh-my"),
    "zh-hans": ("zh-cn", "zh-sg", "zh-my"),
    "zh-hant": ("zh-tw", "zh-hk", "zh-mo"),
    "zh-cn": ("zh-hans", "zh-sg", "zh-my"),
    "zh-sg": ("zh-my", "zh-hans", "zh-cn"),
    "zh-my": ("zh-sg", "zh-hans", "zh-cn"),
    "zh-tw": ("zh-hant", "zh-hk", "zh-mo"),
    "zh-hk": ("zh-mo", "zh-hant", "zh-tw"),
    "zh-mo": ("zh-hk", "zh-hant", "zh-tw"),
}
"""The variants whose text is shown if a variant has none (MediaWiki, includes/language/converters/ZhConverter.php)."""


def to_variant(text: str, variant: str, tables: str = "opencc") -> str:
    """Convert a text without -{ }- rules to a variant; `none` and `zh` change nothing.

    Raises: CorpusError for the tables `mediawiki` where their package is not installed.
    """
    if variant in ("none", "zh") or not text:
        return text
    if tables == "mediawiki":
        return mediawiki_tables.convert(text, variant)
    return regional_words.convert(text, variant)


def tool(tables: str) -> Mapping[str, str]:
    """Return the optional package that tables need, with its version.

    Raises: CorpusError where it is not installed.
    """
    return {mediawiki_tables.PACKAGE: mediawiki_tables.version()} if tables == "mediawiki" else {}
