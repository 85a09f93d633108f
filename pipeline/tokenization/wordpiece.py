"""WordPiece: text to tokens that know where they stand in the text.

    text       北京 Cafés  [MASK]
    tokens     北 京 cafe ##s [  ma ##sk ]      "[MASK]" in a corpus is text, never the special token
    starts     0  1  3    7   10 11 13   15     characters of the text as it was given
    ends       1  2  7    8   11 13 15   16

The rules are BERT's, by the `tokenizers` package, and before them, where wanted, punctuation that the vocabulary lacks becomes
what it has (vocab.punctuation_map). Most Chinese text does not need the package: an ideograph or a punctuation mark is one
token wherever it stands, so its id comes from a table over all code points, which asks the tokenizer once for each that occurs.
Only runs of other characters (Latin, digits, kana, symbols) go through the tokenizer, and frequent ones come from a cache.
"""

import os
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from pipeline.tokenization.vocab import (
    CLS,
    SEP,
    SPECIALS,
    UNK,
    Vocab,
    punctuation_map,
)

os.environ.setdefault(
    "TOKENIZERS_PARALLELISM", "false"
)  # workers are processes, made by fork: its threads would not survive it

_SPACE, _RUN, _UNSEEN = -1, -2, -3
_CACHED_RUNS = 100_000
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class EncodedText:
    """The tokens of one text. Characters that normalisation removes (control characters, accents) have none."""

    ids: NDArray[np.unsignedinteger]
    """(tokens,) uint16, or uint32 if the vocabulary has more than 65,536 tokens."""
    offsets: NDArray[np.int32]
    """(tokens, 2) first character and the one after the last, in the text as it was given."""
    unknown: int
    """How many tokens are [UNK]."""


def build_tokenizer(
    vocab: Vocab, do_lower_case: bool, map_punctuation: bool = False, special_tokens: bool = False
) -> Tokenizer:
    """BERT's tokenisation as one object, as `tokenizer.json` holds it.

    Without `special_tokens`, for corpora: "[MASK]" is text, nothing is added. With it, for models in use: "[MASK]" is the
    special token, and [CLS] and [SEP] are put around.
    """
    model = models.WordPiece(vocab=vocab.ids, unk_token=UNK, max_input_chars_per_word=100)
    tokenizer = Tokenizer(model)
    bert = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=do_lower_case)
    mapped = punctuation_map(vocab) if map_punctuation else {}
    replacements = [normalizers.Replace(sign, known) for sign, known in mapped.items()]
    tokenizer.normalizer = normalizers.Sequence([*replacements, bert]) if replacements else bert
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    if special_tokens:
        tokenizer.add_special_tokens(list(SPECIALS))
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{CLS} $A {SEP}",
            pair=f"{CLS} $A {SEP} $B:1 {SEP}:1",
            special_tokens=[(CLS, vocab.cls_id), (SEP, vocab.sep_id)],
        )
    return tokenizer


class WordPieceEncoder:
    """Encodes texts of a corpus. Can be sent to other processes; the table and the cache are made anew there."""

    def __init__(self, vocab: Vocab, do_lower_case: bool, map_punctuation: bool = False) -> None:
        self.vocab = vocab
        self.do_lower_case = do_lower_case
        self.map_punctuation = map_punctuation
        self.id_dtype = np.dtype(np.uint16 if len(vocab) <= 65_536 else np.uint32)
        self._tokenizer = build_tokenizer(vocab, do_lower_case, map_punctuation)
        self._table = np.full(0x110000, _UNSEEN, dtype=np.int32)
        self._runs = _Runs(self._tokenizer)

    def __reduce__(self) -> tuple[type["WordPieceEncoder"], tuple[Vocab, bool, bool]]:
        return WordPieceEncoder, (self.vocab, self.do_lower_case, self.map_punctuation)

    def encode_batch(self, texts: Sequence[str]) -> list[EncodedText]:
        """The tokens of each text."""
        encoded = self.encode("\n".join(texts))
        text_starts = np.cumsum([0, *(len(text) + 1 for text in texts)])
        token_starts = np.searchsorted(encoded.offsets[:, 0], text_starts)
        result = []
        for text_start, start, end in zip(text_starts.tolist(), token_starts.tolist(), token_starts[1:].tolist(), strict=False):
            ids = encoded.ids[start:end]
            unknown = int(np.count_nonzero(ids == self.vocab.unk_id))
            result.append(EncodedText(ids, encoded.offsets[start:end] - np.int32(text_start), unknown))
        return result

    def encode(self, text: str, breaks: NDArray[np.int64] | None = None) -> EncodedText:
        """The tokens of one text, or of many that are joined by line breaks: the longer it is, the faster.

        No token goes on over one of the `breaks` (characters, rising), which need not be white space.
        """
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        if ((points >= 0xD800) & (points <= 0xDFFF)).any():
            # Half a character, from a "\ud83d" in JSON: made U+FFFD, which normalisation removes.
            return self.encode(_SURROGATES.sub("\ufffd", text), breaks)
        ids = self._table.take(points)
        if (unseen := points.compress(ids == _UNSEEN)).size:
            self._learn(unseen)
            ids = self._table.take(points)
        number = ids >= 0  # of tokens that begin at each character
        edges = _run_edges(ids == _RUN, breaks)
        if len(edges):
            runs = [text[start:end] for start, end in edges.tolist()]
            run_ids, run_offsets, run_lengths = self._runs.encode(runs)
            number = number.astype(np.int32)
            number[edges[:, 0]] = run_lengths
        starts = np.repeat(np.arange(len(ids), dtype=np.int32), number)
        offsets = np.stack((starts, starts + 1), axis=1)
        ids = ids.take(starts)
        if len(edges):
            places = np.flatnonzero(ids == _RUN)
            ids[places] = run_ids
            offsets[places] = run_offsets + np.repeat(edges[:, :1], run_lengths, axis=0)
        unknown = int(np.count_nonzero(ids == self.vocab.unk_id))
        return EncodedText(ids.astype(self.id_dtype), offsets, unknown)

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


def _run_edges(is_run: NDArray[np.bool_], breaks: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """(runs, 2): where each run of characters begins and ends."""
    edges = np.flatnonzero(np.diff(is_run, prepend=False, append=False))
    if breaks is not None and len(edges):
        inner = breaks[(breaks > 0) & (breaks < len(is_run))]
        inner = inner[is_run[inner - 1] & is_run[inner]]
        edges = np.sort(np.concatenate((edges, inner, inner)))
    return edges.reshape(-1, 2)


class _Runs:
    """Encodes runs of characters, and remembers them: the tokens of all that were seen stand end to end."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._clear()

    def _clear(self) -> None:
        self._numbers: dict[str, int] = {}
        self._ids = array("i")
        self._offsets = array("i")
        self._ends = array("i", [0])

    def encode(self, runs: list[str]) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """Ids (tokens,), offsets (tokens, 2) inside of each run, and how many tokens each run has."""
        if len(self._numbers) > _CACHED_RUNS:
            self._clear()
        for run in dict.fromkeys(runs):
            if run not in self._numbers:
                encoding = self._tokenizer.encode(run, add_special_tokens=False)
                self._numbers[run] = len(self._numbers)
                self._ids.extend(encoding.ids)
                for offset in encoding.offsets:
                    self._offsets.extend(offset)
                self._ends.append(len(self._ids))
        numbers = np.fromiter(map(self._numbers.__getitem__, runs), np.int64, len(runs))
        ends = np.frombuffer(self._ends, np.int32)
        lengths = ends[numbers + 1] - ends[numbers]
        shifts = np.cumsum(lengths) - lengths
        places = np.arange(lengths.sum()) + np.repeat(ends[numbers] - shifts, lengths)
        offsets = np.frombuffer(self._offsets, np.int32).reshape(-1, 2) if self._offsets else np.empty((0, 2), np.int32)
        ids = np.frombuffer(self._ids, np.int32) if self._ids else np.empty(0, np.int32)
        return ids.take(places), offsets.take(places, axis=0), lengths
