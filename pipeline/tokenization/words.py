"""Words, and masking units made of them: the tokens that are masked together.

    text         北 京 大 学 的 i P h o n e s 很 好
    words        北京大学    的 iPhones       很 好       by jieba, or another segmenter
    tokens       北 京 大 学 的 iphone ##s    很 好       wordpiece.py
    unit starts  1  0  0  0  1  1      0      1  1

Words and tokens are matched by position, never by content: the same characters may be a word in one place and part of a word in
another, and [UNK] has no content.
"""

import functools
import hashlib
import importlib
import importlib.util
import re
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.arrays import Flags, ranges, starts_of_groups
from pipeline.config import WordsConfig
from pipeline.errors import CorpusError

if TYPE_CHECKING:
    from pipeline.tokenization.jieba_words import Dictionary

LONGEST_UNIT = 16
"""Tokens of the longest unit. Longer "words" are serial numbers and addresses; one would use up the budget of a sequence."""

Cut = Callable[[list[str]], list[list[str]]]
"""A plugged-in segmenter: returns the words of each line of text. Joined, the words must give the line."""

_WORD_START = re.compile(r"\s|(?<=\s)\S|\A\S")


class Segmenter:
    """Finds words, by jieba unless the recipe says otherwise.

    The NEZHA paper names jieba (section 3.1) but not the mode; this is the default mode, with the hidden Markov model. A
    segmenter can be pickled; dictionaries load on first use, once per process.
    """

    def __init__(self, config: WordsConfig | None = None) -> None:
        self.config = config or WordsConfig()

    def word_starts(self, text: str) -> Flags:
        """Return where words start, (characters,).

        Fastest for many documents at once, joined by line breaks, which are always boundaries.

        Raises: CorpusError for a plugged-in segmenter that is missing or loses text.
        """
        if self.config.segmenter == "jieba":
            return _dictionary(self.config.user_dictionary).word_starts(text)
        if self.config.segmenter == "given":
            starts = np.zeros(len(text), np.bool_)
            starts[[match.start() for match in _WORD_START.finditer(text)]] = True
            return starts
        return _plugged_in(self.config.segmenter, text)


@functools.cache
def _dictionary(user_dictionaries: tuple[str, ...]) -> "Dictionary":
    from pipeline.tokenization.jieba_words import Dictionary

    return Dictionary(user_dictionaries)


def _plugged_in(name: str, text: str) -> Flags:
    """Return where words start according to a function of the user's, which is given the lines that are not empty."""
    lines = [line for line in text.split("\n") if line]
    try:
        words_of = [[str(word) for word in words] for words in _imported(name)(lines)] if lines else []
    except CorpusError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CorpusError(f"segmenter {name}: fails on a list of {len(lines)} texts ({reason}); fix the function") from error
    if len(words_of) != len(lines):
        raise CorpusError(f"segmenter {name}: {len(words_of)} lists for {len(lines)} texts; it must return one per text")
    # The length of every word, with 1 for each line break.
    lengths: list[int] = []
    found = iter(zip(lines, words_of, strict=True))
    for number, part in enumerate(text.split("\n")):
        lengths += [1] if number else []
        if part:
            line, words = next(found)
            if "".join(words) != line or not all(words):
                raise CorpusError(f"segmenter {name}: its words do not join to the text {line[:40]!r}; no text may be lost")
            lengths += map(len, words)
    starts = np.zeros(len(text), np.bool_)
    starts[np.cumsum([0, *lengths[:-1]])[: len(lengths)]] = True
    return starts


@functools.cache
def _imported(name: str) -> Cut:
    module, _, function = name.partition(":")
    try:
        imported = importlib.import_module(module)
    except ImportError as error:
        raise CorpusError(f"segmenter {name}: cannot import {module} ({error}); install it, or put it on PYTHONPATH") from error
    except Exception as error:
        raise CorpusError(f"segmenter {name}: {module} fails ({type(error).__name__}: {error}); fix the module") from error
    cut: Cut | None = getattr(imported, function, None)
    if cut is None:
        raise CorpusError(f"segmenter {name}: {module} has no {function}; name a function as module:function")
    return cut


def words_digest(config: WordsConfig) -> dict[str, Any]:
    """Return everything that decides which words are found, for the key of a stage.

    Raises: StorageError for a user dictionary that cannot be read, CorpusError for a plugged-in segmenter that is missing.
    """
    if config.segmenter == "given":
        return {"segmenter": "given"}
    if config.segmenter == "jieba":
        dictionaries = [storage.bytes_digest(storage.read_bytes(url)) for url in config.user_dictionary]
        return {"segmenter": "jieba", "version": metadata.version("jieba"), "user_dictionary": dictionaries}
    _imported(config.segmenter)
    found = importlib.util.find_spec(config.segmenter.partition(":")[0])
    source = found.origin if found and found.origin and found.has_location else None
    digest = hashlib.sha256(storage.read_bytes(source)).hexdigest() if source else ""
    return {"segmenter": config.segmenter, "module_sha256": digest}


def never_found(config: WordsConfig) -> list[str]:
    """Return the entries of user dictionaries that no text can have."""
    if config.segmenter != "jieba" or not config.user_dictionary:
        return []
    from pipeline.tokenization import jieba_words

    return jieba_words.never_found(config.user_dictionary)


def unit_starts(token_starts: NDArray[np.integer], word_starts: Flags, policy: Literal["word", "token"] = "word") -> Flags:
    """Return where masking units start, (tokens,).

    Args:
        token_starts: (tokens,) the character at which each token starts, never falling.
        word_starts: (characters,) True where a word starts.
        policy: `word`: a token starts a unit if a word starts after the start of the previous token, up to its own start; so a
            token that spans several words is one unit. `token`: every token is a unit.
    """
    if policy == "token" or not len(token_starts):
        return np.ones(len(token_starts), dtype=np.bool_)
    # The number of words up to the start of each token: a unit starts where it changes.
    words = np.cumsum(word_starts, dtype=np.int32)[token_starts]
    starts = starts_of_groups(words)
    # Split units that are too long.
    lengths = np.diff(np.flatnonzero(starts), append=len(starts))
    if lengths.max() > LONGEST_UNIT:
        place_in_unit = ranges(np.zeros_like(lengths), lengths)
        starts |= place_in_unit % LONGEST_UNIT == 0
    return starts
