"""Texts to tokens: the sentences, words and tokens of many documents at once, as flat arrays.

    texts             "他出生在北京。她笑。"      "好！"
    ids               他 出 生 在 北 京 。 她 笑 。 好 ！
    unit_starts       1  1  0  1  1  0  1  1  1  1  1  1      a word starts a masking unit
    sentence_ends                        7        10     12
    document_starts   0                              10     12

The documents are joined by line breaks, at which sentences, words and tokens all end, so each is encoded independently.
"""

import importlib.metadata
import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.arrays import Flags, Ints, TokenIds
from pipeline.config import CorpusConfig
from pipeline.tokenization.phrases import Phrases
from pipeline.tokenization.sentences import sentence_ends
from pipeline.tokenization.vocab import Vocab
from pipeline.tokenization.wordpiece import EncodedText, WordPieceEncoder
from pipeline.tokenization.words import Segmenter, unit_starts, words_digest


@dataclass(frozen=True, eq=False)
class EncodedTexts:
    """Documents as tokens, concatenated."""

    ids: TokenIds
    """(tokens,)"""
    unit_starts: Flags
    """(tokens,) True where a masking unit starts. Every sentence starts a unit."""
    sentence_ends: Ints
    """(sentences,) the end of each sentence in `ids`, rising over all documents. No sentence is empty."""
    document_starts: Ints
    """(documents + 1,) the start of each document in `ids`, then the number of tokens. A document may be empty."""
    unknown_texts: list[str]
    """The texts that became [UNK], mostly single characters, in the order of their tokens."""
    unknown_id: int

    @property
    def unknown(self) -> Counter[str]:
        """The texts that became [UNK], and how often each did."""
        return Counter(self.unknown_texts)

    def unknown_by_document(self) -> list[list[str]]:
        """Return what became [UNK] in each document."""
        if not self.unknown_texts:
            return [[] for _ in self.document_starts[1:]]
        places = np.searchsorted(np.flatnonzero(self.ids == self.unknown_id), self.document_starts)
        return [self.unknown_texts[start:end] for start, end in itertools.pairwise(places.tolist())]


class TextEncoder:
    """Encodes documents as a recipe configures it. Dictionaries load on first use, once per process."""

    def __init__(self, vocab: Vocab, config: CorpusConfig) -> None:
        self.encoder = WordPieceEncoder(vocab, config.vocabulary.do_lower_case, config.vocabulary.map_punctuation)
        self.segmenter = Segmenter(config.words)
        self.policy = config.masking.policy
        self.phrases = Phrases.read(config.masking.phrases) if self.policy == "entity" else None

    def encode(self, texts: list[str]) -> EncodedTexts:
        """Encode some documents. It is fastest for about a megabyte of text at once.

        Raises: CorpusError for an unusable segmenter, user dictionary or list of phrases.
        """
        text = "\n".join(texts)
        ends = sentence_ends(text)
        document_starts = np.cumsum([0, *(len(one) + 1 for one in texts)])
        encoded = self.encoder.encode(text, ends)
        token_starts = encoded.offsets[:, 0]
        if self.policy == "token":
            units = unit_starts(token_starts, np.empty(0, np.bool_), "token")
        else:
            words = self.segmenter.word_starts(text)
            words[ends[:-1]] = True  # a plugged-in segmenter may join words over the end of a sentence
            units = unit_starts(token_starts, self.phrases.join(text, words) if self.phrases else words)
        # From positions in the text to positions among the tokens.
        sentences = np.searchsorted(token_starts, ends)
        sentences = sentences[np.diff(sentences, prepend=0) > 0]  # drop sentences without tokens
        documents = np.searchsorted(token_starts, document_starts)
        return EncodedTexts(encoded.ids, units, sentences, documents, self._unknown(text, encoded), self.encoder.vocab.unk_id)

    def _unknown(self, text: str, encoded: EncodedText) -> list[str]:
        offsets = encoded.offsets[encoded.ids == self.encoder.vocab.unk_id] if encoded.unknown else encoded.offsets[:0]
        return [text[start:end] for start, end in offsets.tolist()]


def text_settings(config: CorpusConfig) -> dict[str, Any]:
    """Return everything but the vocabulary that decides how text becomes tokens, for the key of a stage."""
    policy = config.masking.policy
    # Spans are made of words when masks are drawn. A policy that is not named here gets tokens of its own.
    units = "word" if policy in ("word", "span") else policy
    vocabulary = {name: getattr(config.vocabulary, name) for name in ("do_lower_case", "map_punctuation")}
    settings: dict[str, Any] = {"units": units, "tokenizers": importlib.metadata.version("tokenizers"), **vocabulary}
    if units != "token":
        settings["words"] = words_digest(config.words)
    if units == "entity":
        settings["phrases"] = storage.bytes_digest(storage.read_bytes(config.masking.phrases))
    return settings
