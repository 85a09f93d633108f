"""Words, and from them masking units: the tokens that are hidden together.

    text         北 京 大 学 的 i P h o n e s 很 好
    words        北京大学    的 iPhones       很 好       jieba, or who else is asked
    tokens       北 京 大 学 的 iphone ##s    很 好       tokens.py
    unit starts  1  0  0  0  1  1      0      1  1

Words and tokens are matched by where they stand in the text, never by what they say: the same characters may be a word here and
part of one there, and a token such as [UNK] says nothing.
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
from pipeline.config import WordsConfig
from pipeline.errors import CorpusError

if TYPE_CHECKING:
    from pipeline.tokenization.jieba_words import Dictionary

LONGEST_UNIT = 16
"""Tokens. Longer "words" are serial numbers and addresses; hidden whole, one would use up the budget of a sequence."""

Cut = Callable[[list[str]], list[list[str]]]
"""A plugged-in segmenter: the words of each of some lines of text. Joined, words are the line."""

_WORD_START = re.compile(r"\s|(?<=\s)\S|\A\S")


class Segmenter:
    """Finds words, as the recipe says; jieba if it says nothing.

    The NEZHA paper names jieba (section 3.1), not the mode: it is the default mode, with the hidden Markov model. A segmenter
    can be sent to other processes; dictionaries are loaded at first use, once a process.
    """

    def __init__(self, config: WordsConfig | None = None) -> None:
        self.config = config or WordsConfig()

    def word_starts(self, text: str) -> NDArray[np.bool_]:
        """(characters of the text,): True where a word begins.

        Fastest for many documents at once, joined by line breaks: these are always boundaries. Raises CorpusError if a
        plugged-in segmenter is not there or loses text.
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


def _plugged_in(name: str, text: str) -> NDArray[np.bool_]:
    """Words by a function of the user's, which is given lines that are not empty."""
    lines = [line for line in text.split("\n") if line]
    try:
        words_of = [[str(word) for word in words] for words in _imported(name)(lines)] if lines else []
    except CorpusError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CorpusError(f"segmenter {name}: fails at a list of {len(lines)} texts ({reason}); mend the function") from error
    if len(words_of) != len(lines):
        raise CorpusError(f"segmenter {name}: {len(words_of)} lists for {len(lines)} texts; it must make one for each")
    lengths: list[int] = []
    found = iter(zip(lines, words_of, strict=True))
    for number, part in enumerate(text.split("\n")):
        lengths += [1] if number else []
        if part:
            line, words = next(found)
            if "".join(words) != line or not all(words):
                raise CorpusError(f"segmenter {name}: its words, joined, are not the text {line[:40]!r}; none may be lost")
            lengths += map(len, words)
    starts = np.zeros(len(text), np.bool_)
    starts[np.cumsum([0, *lengths[:-1]])[: len(lengths)]] = True
    return starts


@functools.cache
def _imported(name: str) -> Cut:
    module, _, function = name.partition(":")
    try:
        cut: Cut = getattr(importlib.import_module(module), function)
    except ImportError as error:
        raise CorpusError(f"segmenter {name}: cannot import {module} ({error}); install it, or put it on PYTHONPATH") from error
    except AttributeError as error:
        raise CorpusError(f"segmenter {name}: {module} has no {function}; name a function as module:function") from error
    return cut


def words_digest(config: WordsConfig) -> dict[str, Any]:
    """All that decides which words are found: for the key of a stage.

    Raises: StorageError for a user dictionary that cannot be read, CorpusError for a plugged-in segmenter that is not there.
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


def unit_starts(
    token_starts: NDArray[np.integer], word_starts: NDArray[np.bool_], policy: Literal["word", "token"] = "word"
) -> NDArray[np.bool_]:
    """(tokens,): True where a masking unit begins.

    Args:
        token_starts: (tokens,) the character at which each token begins, never falling.
        word_starts: (characters,) True where a word begins.
        policy: `word`: a token begins a unit if a word begins after the start of the token before it and not after its own, so
            a token that spans several words is one unit. `token`: every token is a unit.
    """
    if policy == "token" or not len(token_starts):
        return np.ones(len(token_starts), dtype=np.bool_)
    words_before = np.cumsum(word_starts, dtype=np.int32)[token_starts]
    begins = np.empty(len(token_starts), dtype=np.bool_)
    begins[0] = True
    np.not_equal(words_before[1:], words_before[:-1], out=begins[1:])
    firsts = np.flatnonzero(begins)
    lengths = np.diff(firsts, append=len(begins))
    if lengths.max() > LONGEST_UNIT:
        place_in_unit = np.arange(len(begins)) - np.repeat(firsts, lengths)
        begins |= place_in_unit % LONGEST_UNIT == 0
    return begins
