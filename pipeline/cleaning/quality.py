"""How good a text is, in numbers, and what is too poor to train on. Measured while reading; decided later, from the numbers.

    text                                     characters chinese_share stopwords top_3 repeated_8   reason
    央视网消息（新闻联播）：国务院总理……         412        0.86         13   0.02       0.00
    房间很好，服务也不错。                       11        0.82          1   0.00       0.00   (too short to judge)
    物流速度太慢了,物流速度太慢了,……            168        0.88          1   0.43       0.95   stopwords

A measure is a column beside the text, a rule is one field of `FilterConfig`, and a document is dropped by the first rule that
it breaks, in the order of `RULES`. So a changed threshold decides anew and reads nothing.

Published measures of repetition count words; ours count letters (of any script, numerals too) and need no segmenter. A word of
jieba, with the signs between, is 1.6 to 1.9 characters long in reviews, news and encyclopedias: n words stand for 5n/3 letters.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.cleaning import repetition
from pipeline.cleaning.characters import (
    CLASSES,
    STOPWORDS,
    Batch,
    Class,
)
from pipeline.config import FilterConfig, SourceConfig
from pipeline.errors import RecipeError

Column = npt.NDArray[Any]

TOP_GRAMS = (3, 5, 7)
"""Characters of the grams whose most frequent one is counted: 2, 3 and 4 words of FineWeb-2 (and Gopher, table A1)."""
REPEATED_GRAMS = (8, 10, 13, 17)
"""Characters of the grams whose repetitions are counted: 5, 6, 8 and 10 words of FineWeb-2 (and Gopher, table A1)."""
SHORT_LINE = 10
"""A line of fewer characters is short."""
BULLETS = "•‣⁃●○◦■□▪▫◆◇★☆▶►※*＊·・-－–"

COLUMNS: list[tuple[str, pa.DataType]] = [
    ("characters", pa.int32()),
    ("lines", pa.int32()),
    ("stopwords", pa.int32()),
    *(
        (name, pa.float32())
        for name in (
            *(f"{kind}_share" for kind in ("chinese", "latin", "digit", "sign", "symbol")),
            "mean_line_length",
            *(f"{kind}_line_share" for kind in ("ended", "short", "bullet", "ellipsis", "duplicate")),
            "duplicate_line_characters",
            *(f"top_{length}" for length in TOP_GRAMS),
            *(f"repeated_{length}" for length in REPEATED_GRAMS),
        )
    ),
]
"""What `measure` gives, and how it is stored.

characters                  that are not white space
lines                       that are not empty
stopwords                   how many of the 20 commonest words of one character (characters.STOPWORDS) it has
chinese_share               ideographs, of the characters; so latin_share: Latin letters; digit_share: numerals;
                            sign_share: punctuation and symbols; symbol_share: signs that no sentence has
mean_line_length            characters of a line
ended_line_share            lines with punctuation at the end, of the lines; so short_line_share: of fewer than 10 characters;
                            bullet_line_share: with a bullet at the start; ellipsis_line_share: with an ellipsis at the end;
                            duplicate_line_share: equal to a line further up
duplicate_line_characters   characters in lines equal to a line further up, of the text's (white space counts here)
top_N                       occurrences of the commonest N letters, times N, by the number of letters (repetition.py)
repeated_N                  letters in N letters that stood further up already, of all letters
"""
_SIGNS = (Class.END, Class.PUNCTUATION, Class.SYMBOL)
_IS_LETTER = np.isin(np.arange(CLASSES), (Class.SPACE, *_SIGNS), invert=True)
"""Of each class, whether its characters are letters (of any script) or numerals."""
_AT_ONCE = 50_000
"""Characters measured at a time: the numbers of so many stay in a processor's cache."""
_MOST_LETTERS = 1 << 20
"""Letters of a text whose grams are counted, its first ones: each takes some 100 bytes. That is more than most books have."""


def measure(texts: Sequence[str]) -> dict[str, Column]:
    """The columns of COLUMNS, one value a text. Texts are cleaned: their lines are trimmed."""
    blocks = [_measure(texts[start:end]) for start, end in _blocks(texts)] or [_measure([])]
    types = {name: np.int32 if pa.types.is_integer(kind) else np.float32 for name, kind in COLUMNS}
    return {name: np.concatenate([block[name] for block in blocks]).astype(kind) for name, kind in types.items()}


def _blocks(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Runs of texts of about so many characters."""
    start = size = 0
    for end, text in enumerate(texts, 1):
        size += len(text)
        if size > _AT_ONCE or end == len(texts):
            yield start, end
            start, size = end, 0


def _measure(texts: Sequence[str]) -> dict[str, Column]:
    batch = Batch.of(texts)
    columns = {**_shares(batch), **_lines(batch), **_duplicate_lines(texts)}
    characters = columns["characters"]
    columns["mean_line_length"] = characters / np.maximum(columns["lines"], 1)
    letters = np.flatnonzero(_IS_LETTER.take(batch.classes))
    points, of_text = batch.points.take(letters), batch.texts.take(letters)
    number = np.bincount(of_text, minlength=len(batch))
    if number.max(initial=0) > _MOST_LETTERS:
        place = np.arange(len(of_text)) - (np.cumsum(number) - number)[of_text]
        first = place < _MOST_LETTERS
        points, of_text, number = points[first], of_text[first], np.minimum(number, _MOST_LETTERS)
    for grams in repetition.repeated_grams(points, of_text, (*TOP_GRAMS, *REPEATED_GRAMS)):
        if grams.length in TOP_GRAMS:
            columns[f"top_{grams.length}"] = repetition.top_share(grams, of_text, number)
        else:
            columns[f"repeated_{grams.length}"] = repetition.repeated_share(grams, of_text, number)
    return columns


def _shares(batch: Batch) -> dict[str, Column]:
    """Counts and shares of classes of characters."""
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


def _lines(batch: Batch) -> dict[str, Column]:
    """What stands at the ends of lines."""
    points = batch.points
    ends = np.flatnonzero(points == ord("\n"))
    starts = np.concatenate([[0], ends + 1])[: len(ends)]
    starts, ends = starts[ends > starts], ends[ends > starts]
    of_text = batch.texts[starts]
    lines = np.bincount(of_text, minlength=len(batch))

    def share(which: npt.NDArray[np.bool_]) -> Column:
        return np.bincount(of_text[which], minlength=len(batch)) / np.maximum(lines, 1)

    last = points[ends - 1]
    three = (ends - starts >= 3) & (last == ord(".")) & (points[ends - 2] == ord(".")) & (points[ends - 3] == ord("."))
    return {
        "lines": lines,
        "ended_line_share": share(batch.classes[ends - 1] == Class.END),
        "short_line_share": share(ends - starts < SHORT_LINE),
        "bullet_line_share": share(np.isin(points[starts], [ord(bullet) for bullet in BULLETS])),
        "ellipsis_line_share": share((last == ord("…")) | three),
    }


def _duplicate_lines(texts: Sequence[str]) -> dict[str, Column]:
    """Lines equal to one further up: by number, and by characters."""
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
    """A bound of one column. The reason of a document that breaks it is the rule's name."""

    name: str
    column: str
    bound: str
    """The field of FilterConfig: `min_...` or `max_...`."""
    judges: Literal["all", "long", "lined"] = "all"
    """All documents, those of `judge_from_characters`, or those that have `judge_from_lines` as well."""


RULES: tuple[Rule, ...] = (
    Rule("too_short", "characters", "min_characters"),
    Rule("too_long", "characters", "max_characters"),
    Rule("not_chinese", "chinese_share", "min_chinese_ratio"),
    Rule("language", "language", "languages"),
    Rule("digit_share", "digit_share", "max_digit_ratio"),
    Rule("stopwords", "stopwords", "min_stopwords", "long"),
    Rule("sign_share", "sign_share", "max_sign_ratio", "long"),
    Rule("symbol_share", "symbol_share", "max_symbol_ratio", "long"),
    *(Rule(f"top_{length}", f"top_{length}", f"max_top_{length}gram_ratio", "long") for length in TOP_GRAMS),
    *(Rule(f"repeated_{length}", f"repeated_{length}", f"max_dup_{length}gram_ratio", "long") for length in REPEATED_GRAMS),
    Rule("mean_line_length", "mean_line_length", "min_mean_line_length", "lined"),
    Rule("ended_line_share", "ended_line_share", "min_ended_line_ratio", "lined"),
    Rule("short_line_share", "short_line_share", "max_short_line_ratio", "lined"),
    Rule("bullet_line_share", "bullet_line_share", "max_bullet_line_ratio", "lined"),
    Rule("ellipsis_line_share", "ellipsis_line_share", "max_ellipsis_line_ratio", "lined"),
    Rule("duplicate_line_share", "duplicate_line_share", "max_dup_line_ratio", "lined"),
    Rule("duplicate_line_characters", "duplicate_line_characters", "max_dup_line_character_ratio", "lined"),
)
"""In the order in which they are asked: the first that is broken names the reason."""


def decide(columns: Mapping[str, Column], filters: FilterConfig) -> npt.NDArray[np.str_]:
    """Why each document is dropped: the name of a rule; "" for those that are kept.

    `columns` are those of `measure` and `language` (pipeline/cleaning/language.py), which is needed unless all languages are kept.
    """
    long = columns["characters"] >= filters.judge_from_characters
    judged = {"all": np.ones_like(long), "long": long, "lined": long & (columns["lines"] >= filters.judge_from_lines)}
    broken = [judged[rule.judges] & _breaks(rule, columns, getattr(filters, rule.bound)) for rule in RULES]
    return np.select(broken, [rule.name for rule in RULES], "")


def _breaks(rule: Rule, columns: Mapping[str, Column], bound: Any) -> npt.NDArray[np.bool_]:
    if rule.bound == "languages":
        unwanted = ~np.isin(columns["language"], bound) if bound else np.zeros(len(columns["characters"]), np.bool_)
        return np.asarray(unwanted, np.bool_)
    values = columns[rule.column]
    bound = values.dtype.type(bound)  # Shares are stored in single precision: 0.3 must be the same number in both.
    return np.asarray(values < bound if rule.bound.startswith("min_") else values > bound, np.bool_)


def filters_for(source: SourceConfig, filters: FilterConfig) -> FilterConfig:
    """The filters of one source: `filters` with what `[[source]] filters = {...}` says otherwise.

    Raises: RecipeError for a name that is no threshold, or a value that cannot be.
    """
    kinds = {field.name: type(getattr(filters, field.name)) for field in fields(filters)}
    changes: dict[str, Any] = {}
    for name, value in source.filters.items():
        if kinds.get(name) not in (int, float):
            close = get_close_matches(name, [known for known, kind in kinds.items() if kind in (int, float)], 1)
            hint = f"did you mean {close[0]!r}?" if close else "the fields of [filters] that are numbers are known"
            raise RecipeError(f"source {source.name!r}: filters has no threshold {name!r}; {hint}")
        if kinds[name] is int and value != int(value):
            raise RecipeError(f"source {source.name!r}: {name} = {value} in filters must be a whole number")
        changes[name] = kinds[name](value)
    try:
        return replace(filters, **changes)
    except ValueError as error:
        raise RecipeError(f"source {source.name!r}: {error}") from error
