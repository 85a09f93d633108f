"""Measures of quality, and the rules that drop a document because of them. Measured while reading; decided later.

    text                                     characters chinese_share stopwords top_3 repeated_8   reason
    央视网消息（新闻联播）：国务院总理……         412        0.86         13   0.02       0.00
    房间很好，服务也不错。                       11        0.82          1   0.00       0.00   (too short to judge)
    物流速度太慢了,物流速度太慢了,……            168        0.88          1   0.43       0.95   stopwords

A measure is a column next to the text, and a rule is one field of `FilterConfig`. A document is dropped by the first rule that
it breaks, in the order of `RULES`, so a changed threshold is decided again without reading the input again.

Columns and reasons keep the names that stored files have (`digit_share`, `top_3`, `repeated_8`); the settings use the field's
terms (`max_digit_ratio`, `max_top_3gram_ratio`, `max_dup_8gram_ratio`). `RULES` maps one to the other.

The repetition measures are those of Gopher (Rae et al., "Scaling Language Models", arXiv:2112.11446, table A1):

    table A1                                      here
    duplicate line fraction                       duplicate_line_share
    duplicate line character fraction             duplicate_line_characters
    top 2-, 3-, 4-gram character fraction         top_3, top_5, top_7
    duplicate 5- to 10-gram character fraction    repeated_8, repeated_10, repeated_13, repeated_17  (n = 5, 6, 8, 10)

Gopher's n-grams are of words; ours are of characters (letters of any script, and numerals) and need no segmenter. A jieba
word plus the punctuation after it is 1.6 to 1.9 characters long in reviews, news and encyclopedias: n words are about 5n/3
characters.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from pipeline.arrays import Array, Flags, Strings
from pipeline.cleaning import repetition
from pipeline.cleaning.characters import CLASSES, STOPWORDS, Batch, Class
from pipeline.config import FilterConfig, SourceConfig
from pipeline.errors import RecipeError

TOP_NGRAMS = (3, 5, 7)
"""Characters of the n-grams whose most frequent one counts: 2, 3 and 4 words in FineWeb-2 and in Gopher's table A1."""
DUP_NGRAMS = (8, 10, 13, 17)
"""Characters of the n-grams whose duplicates count: 5, 6, 8 and 10 words in FineWeb-2 and in Gopher's table A1."""
SHORT_LINE = 10
"""Characters below which a line is short."""
CUT = 20
"""Characters from which a line that ends with ... or one … is cut off; shorter ones pause, as people do."""
NOTE = 8
"""Characters that may follow the end of a line's last sentence."""
_FULL_STOPS = [ord(sign) for sign in "。！？!?"]
BULLETS = "•‣⁃●○◦■□▪▫◆◇★☆▶►※*＊·・-－–"

COLUMNS: list[tuple[str, pa.DataType]] = [
    ("characters", pa.int32()),
    ("lines", pa.int32()),
    ("stopwords", pa.int32()),
    *(
        (name, pa.float32())
        for name in (
            *(f"{kind}_share" for kind in ("chinese", "latin", "digit", "sign", "symbol")),
            "lost_share",
            "mean_line_length",
            *(f"{kind}_line_share" for kind in ("ended", "short", "bullet", "ellipsis", "duplicate")),
            "duplicate_line_characters",
            *(f"top_{length}" for length in TOP_NGRAMS),
            *(f"repeated_{length}" for length in DUP_NGRAMS),
        )
    ),
]
"""The columns of `measure`, with their types.

characters                  characters that are not white space
lines                       lines that are not empty
stopwords                   how many of the commonest one-character words (characters.STOPWORDS) occur
chinese_share               ideographs / characters; likewise latin_share: Latin letters; digit_share: numerals;
                            sign_share: punctuation and symbols; symbol_share: signs that are not part of sentences
lost_share                  characters that decoding has lost / characters: U+FFFD, and what GBK makes of two of them, 锟斤拷
                            (and of UTF-8: 锛 銆 鐨)
mean_line_length            characters / lines
ended_line_share            lines that end with punctuation, or have 。！？ in their last 8 characters / lines;
                            likewise short_line_share: under 10 characters;
                            bullet_line_share: start with a bullet; ellipsis_line_share: are cut off;
                            duplicate_line_share: equal to a line further up
duplicate_line_characters   characters in lines equal to one further up / characters of the text, including white space
top_N                       occurrences of the most frequent N-gram times N / letters and numerals (repetition.py)
repeated_N                  letters and numerals in an N-gram that occurred further up / letters and numerals"""
_SIGNS = (Class.END, Class.PUNCTUATION, Class.SYMBOL)
_IS_ALPHANUMERIC = np.isin(np.arange(CLASSES), (Class.SPACE, *_SIGNS), invert=True)
"""For each class, whether its characters are letters (of any script) or numerals."""
_REPLACEMENT = 0xFFFD
_REPLACEMENTS_AS_GBK = "锟斤拷"
_UTF8_AS_GBK = ("锛", "銆", "鐨")
"""What GBK makes of the first two bytes of `，` `。` `的` in UTF-8: in every such sentence, and in hardly any other."""
_BLOCK_CHARACTERS = 50_000
"""Characters measured at a time: their arrays fit into a processor's cache."""
_MAX_NGRAM_CHARACTERS = 1 << 20
"""Letters and numerals at the start of a text whose n-grams are counted, at some 100 bytes each. Most books have fewer."""


def measure(texts: Sequence[str]) -> dict[str, Array]:
    """Return the columns of COLUMNS, one value per text. Texts must be cleaned: their lines are trimmed."""
    blocks = [_measure(texts[start:end]) for start, end in _blocks(texts)] or [_measure([])]
    types = {name: np.int32 if pa.types.is_integer(kind) else np.float32 for name, kind in COLUMNS}
    return {name: np.concatenate([block[name] for block in blocks]).astype(kind) for name, kind in types.items()}


def _blocks(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield ranges of texts with about _BLOCK_CHARACTERS characters each."""
    start = size = 0
    for end, text in enumerate(texts, 1):
        size += len(text)
        if size > _BLOCK_CHARACTERS or end == len(texts):
            yield start, end
            start, size = end, 0


def _measure(texts: Sequence[str]) -> dict[str, Array]:
    batch = Batch.of(texts)
    columns = {**_class_ratios(batch), **_line_measures(batch), **_duplicate_lines(texts), **_ngram_ratios(batch)}
    columns["lost_share"] = _lost(batch, texts) / np.maximum(columns["characters"], 1)
    columns["mean_line_length"] = columns["characters"] / np.maximum(columns["lines"], 1)
    return columns


def _ngram_ratios(batch: Batch) -> dict[str, Array]:
    """Return Gopher's n-gram measures (table A1), on characters."""
    # Only letters and numerals, with the index of their text.
    alphanumeric = np.flatnonzero(_IS_ALPHANUMERIC.take(batch.classes))
    points, of_text = batch.points.take(alphanumeric), batch.texts.take(alphanumeric)
    number = np.bincount(of_text, minlength=len(batch))
    # Cut texts that are very long.
    if number.max(initial=0) > _MAX_NGRAM_CHARACTERS:
        place = np.arange(len(of_text)) - (np.cumsum(number) - number)[of_text]
        first = place < _MAX_NGRAM_CHARACTERS
        points, of_text, number = points[first], of_text[first], np.minimum(number, _MAX_NGRAM_CHARACTERS)
    columns: dict[str, Array] = {}
    for ngrams in repetition.repeated_ngrams(points, of_text, (*TOP_NGRAMS, *DUP_NGRAMS)):
        if ngrams.length in TOP_NGRAMS:
            columns[f"top_{ngrams.length}"] = repetition.top_ngram_ratio(ngrams, of_text, number)
        else:
            columns[f"repeated_{ngrams.length}"] = repetition.dup_ngram_ratio(ngrams, of_text, number)
    return columns


def _class_ratios(batch: Batch) -> dict[str, Array]:
    """Return counts and ratios of character classes."""
    counts = batch.counts
    stopwords = counts[:, Class.STOPWORD : Class.STOPWORD + len(STOPWORDS)]
    chinese = counts[:, Class.HAN] + stopwords.sum(axis=1)
    characters = counts.sum(axis=1) - counts[:, Class.SPACE]
    shares = {
        "chinese_share": chinese,
        "latin_share": counts[:, Class.LATIN],
        "digit_share": counts[:, Class.DIGIT],
        "sign_share": counts[:, _SIGNS].sum(axis=1),
        "symbol_share": counts[:, Class.SYMBOL],
    }
    measured = {name: number / np.maximum(characters, 1) for name, number in shares.items()}
    return {"characters": characters, "stopwords": (stopwords > 0).sum(axis=1), **measured}


def _lost(batch: Batch, texts: Sequence[str]) -> Array:
    """Return how many characters of each text stand for those that decoding has lost."""
    lost = np.bincount(batch.texts[batch.points == _REPLACEMENT], minlength=len(batch))
    gbk = [text.count(_REPLACEMENTS_AS_GBK) * len(_REPLACEMENTS_AS_GBK) for text in texts]
    wrong = [sum(map(text.count, _UTF8_AS_GBK)) for text in texts]
    return lost + gbk + wrong


def _line_measures(batch: Batch) -> dict[str, Array]:
    """Return measures of how lines start and end."""
    points = batch.points
    # Where lines that are not empty start and end.
    ends = np.flatnonzero(points == ord("\n"))
    starts = np.concatenate([[0], ends + 1])[: len(ends)]
    starts, ends = starts[ends > starts], ends[ends > starts]
    of_text = batch.texts[starts]
    lines = np.bincount(of_text, minlength=len(batch))

    def ratio(which: Flags) -> Array:
        return np.bincount(of_text[which], minlength=len(batch)) / np.maximum(lines, 1)

    ended = batch.classes[ends - 1] == Class.END
    # A sentence may be followed by a note: 会议在北京举行。详情点击>>
    others = np.flatnonzero(~ended)
    last_ones = np.maximum(ends[others, None] - 1 - np.arange(NOTE), starts[others, None])
    ended[others] = np.isin(points[last_ones], _FULL_STOPS).any(axis=1)
    # What cuts a line off is three dots or a single …; …… is an author's.
    last, before = points[ends - 1], points[ends - 2]
    three = (ends - starts >= 3) & (last == ord(".")) & (before == ord(".")) & (points[ends - 3] == ord("."))
    single = (last == ord("…")) & ((ends - starts == 1) | (before != ord("…")))
    return {
        "lines": lines,
        "ended_line_share": ratio(ended),
        "short_line_share": ratio(ends - starts < SHORT_LINE),
        "bullet_line_share": ratio(np.isin(points[starts], [ord(bullet) for bullet in BULLETS])),
        "ellipsis_line_share": ratio((single | three) & (ends - starts >= CUT)),
    }


def _duplicate_lines(texts: Sequence[str]) -> dict[str, Array]:
    """Return the fraction of lines equal to one further up, by number of lines and by characters."""
    by_number, by_characters = np.zeros(len(texts)), np.zeros(len(texts))
    for number, text in enumerate(texts):
        lines = [line for line in text.split("\n") if line]
        unique = set(lines)
        if len(unique) < len(lines):
            by_number[number] = 1 - len(unique) / len(lines)
            by_characters[number] = 1 - sum(map(len, unique)) / sum(map(len, lines))
    return {"duplicate_line_share": by_number, "duplicate_line_characters": by_characters}


@dataclass(frozen=True)
class Rule:
    """A threshold for one column. A document that breaks it is dropped, with the rule's name as the reason."""

    name: str
    column: str
    threshold: str
    """The field of FilterConfig: `min_...` or `max_...`."""
    applies_to: Literal["all", "long", "lined"] = "all"
    """All documents, those of `judge_from_characters`, or those that also have `judge_from_lines`."""


RULES: tuple[Rule, ...] = (
    Rule("too_short", "characters", "min_characters"),
    Rule("too_long", "characters", "max_characters"),
    Rule("lost_share", "lost_share", "max_lost_ratio"),
    Rule("not_chinese", "chinese_share", "min_chinese_ratio"),
    Rule("language", "language", "languages"),
    Rule("digit_share", "digit_share", "max_digit_ratio"),
    Rule("spam", "spam", "max_spam_phrases"),
    Rule("spun", "spun", "max_spun_signs", "long"),
    Rule("advertising", "advertising", "max_advertising", "long"),
    Rule("listing", "listing", "max_listing_ratio", "long"),
    Rule("junk", "junk", "max_junk", "long"),
    Rule("stopwords", "stopwords", "min_stopwords", "long"),
    Rule("sign_share", "sign_share", "max_sign_ratio", "long"),
    Rule("symbol_share", "symbol_share", "max_symbol_ratio", "long"),
    *(Rule(f"top_{length}", f"top_{length}", f"max_top_{length}gram_ratio", "long") for length in TOP_NGRAMS),
    *(Rule(f"repeated_{length}", f"repeated_{length}", f"max_dup_{length}gram_ratio", "long") for length in DUP_NGRAMS),
    Rule("mean_line_length", "mean_line_length", "min_mean_line_length", "lined"),
    Rule("ended_line_share", "ended_line_share", "min_ended_line_ratio", "lined"),
    Rule("short_line_share", "short_line_share", "max_short_line_ratio", "lined"),
    Rule("bullet_line_share", "bullet_line_share", "max_bullet_line_ratio", "lined"),
    Rule("ellipsis_line_share", "ellipsis_line_share", "max_ellipsis_line_ratio", "lined"),
    Rule("duplicate_line_share", "duplicate_line_share", "max_dup_line_ratio", "lined"),
    Rule("duplicate_line_characters", "duplicate_line_characters", "max_dup_line_character_ratio", "lined"),
)
"""In order of evaluation: the first broken rule names the reason."""

_LINED_FORMS = ("verse", "dialogue")
SPARED: Mapping[str, tuple[str, ...]] = {
    "stopwords": (*_LINED_FORMS, "classical"),
    **dict.fromkeys(("sign_share", "mean_line_length", "ended_line_share", "short_line_share"), _LINED_FORMS),
    **dict.fromkeys(("bullet_line_share", "ellipsis_line_share"), _LINED_FORMS),
    "junk": (*_LINED_FORMS, "classical"),
    "duplicate_line_characters": ("verse",),  # a chorus comes back
}
"""Rules made for prose, and the forms (forms.py) that they do not judge."""


def decide(columns: Mapping[str, Array], filters: FilterConfig) -> Strings:
    """Return why each document is dropped, (documents,): the name of a rule; "" for documents that are kept.

    `columns` are those of `measure`, plus `language` (language.py) unless all languages are kept, the `form` of each text
    (forms.py) if forms are spared, and those of web/measures.py if these are judged.
    """
    rules = _rules(columns)
    return np.select(_broken(columns, filters), [rule.name for rule in rules], "")


def _rules(columns: Mapping[str, Array]) -> list[Rule]:
    """Return the rules that can be judged by some columns."""
    return [rule for rule in RULES if rule.column in columns or rule.column == "language"]


def _broken(columns: Mapping[str, Array], filters: FilterConfig) -> list[Flags]:
    """Return for each of these rules which documents break it."""
    judged = _judged(columns, filters, _unspared(columns))
    return [applies & breaks for applies, breaks in zip(judged, _beyond(columns, filters), strict=True)]


def _beyond(columns: Mapping[str, Array], filters: FilterConfig) -> list[Flags]:
    """Return for each of these rules which documents are beyond its threshold, whether or not it applies to them."""
    return [_breaks(rule, columns, getattr(filters, rule.threshold)) for rule in _rules(columns)]


def _unspared(columns: Mapping[str, Array]) -> dict[tuple[str, ...], Flags]:
    """Return which documents have none of some forms, for those values of SPARED of which some document has one."""
    if "form" not in columns:
        return {}
    forms = columns["form"].astype(np.str_, copy=False)
    found = {spared: np.isin(forms, spared) for spared in set(SPARED.values())}
    return {spared: ~flags for spared, flags in found.items() if flags.any()}


def _judged(columns: Mapping[str, Array], filters: FilterConfig, unspared: Mapping[tuple[str, ...], Flags]) -> list[Flags]:
    """Return for each of these rules which documents it applies to. `unspared` as `_unspared` returns it."""
    long = columns["characters"] >= filters.judge_from_characters
    groups = {"all": np.ones_like(long), "long": long, "lined": long & (columns["lines"] >= filters.judge_from_lines)}
    judged = []
    for rule in _rules(columns):
        flags = unspared.get(SPARED.get(rule.name, ()))
        judged.append(groups[rule.applies_to] if flags is None else groups[rule.applies_to] & flags)
    return judged


def dropped_at(columns: Mapping[str, Array], filters: FilterConfig, factors: Sequence[float]) -> dict[str, list[int]]:
    """Return for each threshold how many more documents any rule drops when it alone is multiplied by each factor.

    Negative for fewer. `columns` as in `decide`.
    """
    unspared, beyond = _unspared(columns), _beyond(columns, filters)
    judged = _judged(columns, filters, unspared)
    broken = [applies & breaks for applies, breaks in zip(judged, beyond, strict=True)]
    times = np.sum(broken, axis=0)
    now = int(np.count_nonzero(times))
    result: dict[str, list[int]] = {}
    for rule, breaks, applies in zip(_rules(columns), broken, judged, strict=True):
        bound = getattr(filters, rule.threshold)
        if isinstance(bound, int | float):
            changed = [(times > breaks) | (applies & _breaks(rule, columns, bound * factor)) for factor in factors]
            result[rule.threshold] = [int(np.count_nonzero(drops)) - now for drops in changed]
    for name in ("judge_from_characters", "judge_from_lines"):
        others = [_judged(columns, _scaled(filters, name, factor), unspared) for factor in factors]
        changed = [np.any([one & breaks for one, breaks in zip(other, beyond, strict=True)], axis=0) for other in others]
        result[name] = [int(np.count_nonzero(drops)) - now for drops in changed]
    return result


def _scaled(filters: FilterConfig, name: str, factor: float) -> FilterConfig:
    changed: dict[str, Any] = {name: int(getattr(filters, name) * factor)}
    return replace(filters, **changed)


def _breaks(rule: Rule, columns: Mapping[str, Array], bound: Any) -> Flags:
    if rule.threshold == "languages":
        unwanted = ~np.isin(columns["language"], bound) if bound else np.zeros(len(columns["characters"]), np.bool_)
        return np.asarray(unwanted, np.bool_)
    values = columns[rule.column]
    # Ratios are stored in single precision: compare 0.3 with the same 0.3. A whole number may be larger than any count.
    bound = values.dtype.type(bound) if values.dtype.kind == "f" else int(bound)
    return np.asarray(values < bound if rule.threshold.startswith("min_") else values > bound, np.bool_)


def filters_for(source: SourceConfig, filters: FilterConfig) -> FilterConfig:
    """Return the filters of one source: `filters`, overridden by `[[source]] filters = {...}`.

    Raises: RecipeError for an unknown threshold or an invalid value.
    """
    kinds = {field.name: type(getattr(filters, field.name)) for field in fields(filters)}
    changes: dict[str, Any] = {}
    for name, value in source.filters.items():
        if kinds.get(name) not in (int, float):
            close = get_close_matches(name, [known for known, kind in kinds.items() if kind in (int, float)], 1)
            hint = f"did you mean {close[0]!r}?" if close else "use a numeric field of [filters]"
            raise RecipeError(f"source {source.name!r}: filters has no threshold {name!r}; {hint}")
        if kinds[name] is int and not float(value).is_integer():
            raise RecipeError(f"source {source.name!r}: {name} = {value} in filters must be a whole number")
        changes[name] = kinds[name](value)
    try:
        return replace(filters, **changes)
    except ValueError as error:
        raise RecipeError(f"source {source.name!r}: {error}") from error
