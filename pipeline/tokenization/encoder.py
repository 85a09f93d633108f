"""Texts to tokens: sentences, words and tokens of many documents at once, in flat columns.

    texts             "他出生在北京。她笑。"      "好！"
    ids               他 出 生 在 北 京 。 她 笑 。 好 ！
    unit_starts       1  1  0  1  1  0  1  1  1  1  1  1      a word begins a masking unit
    sentence_ends                        7        10     12
    document_starts   0                              10     12

The documents are joined by line breaks, at which sentences, words and tokens all end, so each is encoded as if it were alone.
"""

import importlib.metadata
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.config import CorpusConfig
from pipeline.tokenization.phrases import Phrases
from pipeline.tokenization.sentences import sentence_ends
from pipeline.tokenization.vocab import Vocab
from pipeline.tokenization.wordpiece import EncodedText, WordPieceEncoder
from pipeline.tokenization.words import Segmenter, unit_starts, words_digest


@dataclass(frozen=True, eq=False)
class EncodedTexts:
    """Documents as tokens, end to end."""

    ids: NDArray[np.unsignedinteger[Any]]
    """(tokens,) uint16, or uint32 if the vocabulary has more than 65,536 tokens."""
    unit_starts: NDArray[np.bool_]
    """(tokens,) True where a masking unit begins; every sentence begins one."""
    sentence_ends: NDArray[np.int64]
    """(sentences,) where each sentence ends in `ids`, rising over all documents; none is empty."""
    document_starts: NDArray[np.int64]
    """(documents + 1,) where each document begins in `ids`; the last is the number of tokens. A document may be empty."""
    unknown: Counter[str]
    """Text of the tokens that became [UNK], mostly single characters, and how often."""


class TextEncoder:
    """Encodes documents as a recipe says. Dictionaries and tokenizer load at first use, once a process."""

    def __init__(self, vocab: Vocab, config: CorpusConfig) -> None:
        self.encoder = WordPieceEncoder(vocab, config.vocabulary.do_lower_case, config.vocabulary.map_punctuation)
        self.segmenter = Segmenter(config.words)
        self.policy = config.masking.policy
        self.phrases = Phrases.read(config.masking.phrases) if self.policy == "entity" else None

    def encode(self, texts: list[str]) -> EncodedTexts:
        """The tokens of some documents. Give some hundreds at once: a megabyte is a good measure.

        Raises: CorpusError for a segmenter, a user dictionary or a list of phrases that cannot serve.
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
            words[ends[:-1]] = True  # whatever a plugged-in segmenter says
            units = unit_starts(token_starts, self.phrases.join(text, words) if self.phrases else words)
        sentences = np.searchsorted(token_starts, ends)
        sentences = sentences[np.diff(sentences, prepend=0) > 0]  # some have no tokens
        documents = np.searchsorted(token_starts, document_starts)
        return EncodedTexts(encoded.ids, units, sentences, documents, self._unknown(text, encoded))

    def _unknown(self, text: str, encoded: EncodedText) -> Counter[str]:
        offsets = encoded.offsets[encoded.ids == self.encoder.vocab.unk_id] if encoded.unknown else encoded.offsets[:0]
        return Counter(text[start:end] for start, end in offsets.tolist())


def text_settings(config: CorpusConfig) -> dict[str, Any]:
    """All that decides how text becomes tokens, but for the vocabulary: for the key of a stage."""
    policy = config.masking.policy
    units = {"token": "token", "entity": "entity"}.get(policy, "word")  # spans are of words, and drawn later
    vocabulary = {name: getattr(config.vocabulary, name) for name in ("do_lower_case", "map_punctuation")}
    settings: dict[str, Any] = {"units": units, "tokenizers": importlib.metadata.version("tokenizers"), **vocabulary}
    if units != "token":
        settings["words"] = words_digest(config.words)
    if units == "entity":
        settings["phrases"] = storage.bytes_digest(storage.read_bytes(config.masking.phrases))
    return settings
