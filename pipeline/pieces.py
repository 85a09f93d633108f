"""WordPiece: text to pieces that know where they stand in the text.

    text       北京 Cafés  [MASK]
    pieces     北 京 cafe ##s [  ma ##sk ]      "[MASK]" in a corpus is text, never the special piece
    starts     0  1  3    7   10 11 13   15     characters of the text as it was given
    ends       1  2  7    8   11 13 15   16

The rules are BERT's, by the `tokenizers` package. Most Chinese text does not need it: an ideograph or a punctuation mark is one
piece wherever it stands, so its id comes from a table over all code points, which asks the tokenizer once for each that occurs.
Only runs of other characters (Latin, digits, kana, symbols) go through the tokenizer, and frequent ones come from a cache.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from pipeline.vocab import CLS, SEP, SPECIALS, UNK, Vocab

os.environ.setdefault(
    "TOKENIZERS_PARALLELISM", "false"
)  # workers are processes, made by fork: its threads would not survive it

_SPACE, _RUN, _UNSEEN = -1, -2, -3
_CACHED_RUNS = 100_000
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class EncodedText:
    """The pieces of one text. Characters that normalisation removes (control characters, accents) have none."""

    ids: NDArray[np.unsignedinteger]
    """(pieces,) uint16, or uint32 if the vocabulary has more than 65,536 pieces."""
    offsets: NDArray[np.int32]
    """(pieces, 2) first character and the one after the last, in the text as it was given."""
    unknown: int
    """How many pieces are [UNK]."""


def build_tokenizer(vocab: Vocab, do_lower_case: bool, special_pieces: bool = False) -> Tokenizer:
    """BERT's tokenisation as one object, as `tokenizer.json` holds it.

    Without `special_pieces`, for corpora: "[MASK]" is text, nothing is added. With it, for models in use: "[MASK]" is the
    special piece, and [CLS] and [SEP] are put around.
    """
    model = models.WordPiece(vocab=vocab.ids, unk_token=UNK, max_input_chars_per_word=100)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=do_lower_case
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    if special_pieces:
        tokenizer.add_special_tokens(list(SPECIALS))
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{CLS} $A {SEP}",
            pair=f"{CLS} $A {SEP} $B:1 {SEP}:1",
            special_tokens=[(CLS, vocab.cls_id), (SEP, vocab.sep_id)],
        )
    return tokenizer


class PieceEncoder:
    """Encodes texts of a corpus. Can be sent to other processes; the table and the cache are made anew there."""

    def __init__(self, vocab: Vocab, do_lower_case: bool) -> None:
        self.vocab = vocab
        self.do_lower_case = do_lower_case
        self.id_dtype = np.dtype(np.uint16 if len(vocab) <= 65_536 else np.uint32)
        self._tokenizer = build_tokenizer(vocab, do_lower_case)
        self._table = np.full(0x110000, _UNSEEN, dtype=np.int32)
        self._runs: dict[str, tuple[NDArray[np.int32], NDArray[np.int32]]] = {}

    def __reduce__(self) -> tuple[type["PieceEncoder"], tuple[Vocab, bool]]:
        return PieceEncoder, (self.vocab, self.do_lower_case)

    def encode_batch(self, texts: Sequence[str]) -> list[EncodedText]:
        """The pieces of each text. Long texts are encoded fastest: give whole documents, not sentences."""
        return [self.encode(text) for text in texts]

    def encode(self, text: str) -> EncodedText:
        """The pieces of one text."""
        try:
            codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        except UnicodeEncodeError:  # half a character, from a "\ud83d" in JSON: made U+FFFD, which normalisation removes
            return self.encode(_SURROGATES.sub("\ufffd", text))
        ids = self._table[codes]
        if (unseen := codes[ids == _UNSEEN]).size:
            self._learn(unseen)
            ids = self._table[codes]
        starts = np.flatnonzero(ids >= 0).astype(np.int32)
        offsets = np.stack((starts, starts + 1), axis=1)
        ids_at = ids[starts]
        if (is_run := ids == _RUN).any():
            run_ids, run_offsets = self._encode_runs(text, is_run)
            offsets = np.concatenate((offsets, run_offsets))
            order = np.argsort(offsets[:, 0], kind="stable")  # stable: pieces of one Hangul syllable share a start
            offsets = offsets[order]
            ids_at = np.concatenate((ids_at, run_ids))[order]
        unknown = int(np.count_nonzero(ids_at == self.vocab.unk_id))
        return EncodedText(ids_at.astype(self.id_dtype), offsets, unknown)

    def _encode_runs(self, text: str, is_run: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        edges = np.flatnonzero(np.diff(is_run, prepend=False, append=False)).reshape(-1, 2)
        runs = [self._encode_run(text[start:end]) for start, end in edges.tolist()]
        lengths = [len(ids) for ids, _ in runs]
        shifts = np.repeat(edges[:, :1], lengths, axis=0).astype(np.int32)
        return np.concatenate([ids for ids, _ in runs]), np.concatenate([offsets for _, offsets in runs]) + shifts

    def _encode_run(self, run: str) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        pieces = self._runs.get(run)
        if pieces is None:
            encoding = self._tokenizer.encode(run, add_special_tokens=False)
            pieces = np.array(encoding.ids, dtype=np.int32), np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2)
            if len(self._runs) >= _CACHED_RUNS:
                self._runs.clear()
            self._runs[run] = pieces
        return pieces

    def _learn(self, codes: NDArray[np.uint32]) -> None:
        """Asks the tokenizer about code points: what becomes of each between two letters?"""
        normalizer, pre_tokenizer = self._tokenizer.normalizer, self._tokenizer.pre_tokenizer
        for code in np.unique(codes).tolist():
            character = chr(code)
            words = pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(f"a{character}a"))
            ids = self._tokenizer.encode(character, add_special_tokens=False).ids
            if len(words) == 3 and len(ids) == 1:
                self._table[code] = ids[0]
            elif len(words) == 2 and not ids:
                self._table[code] = _SPACE
            else:
                self._table[code] = _RUN
