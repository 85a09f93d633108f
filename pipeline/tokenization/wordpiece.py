"""WordPiece: text to tokens, with the position of each token in the text.

    text       北京 Cafés  [MASK]
    tokens     北 京 cafe ##s [  ma ##sk ]      "[MASK]" in a corpus is text, never the special token
    starts     0  1  3    7   10 11 13   15     in characters of the original text
    ends       1  2  7    8   11 13 15   16

The rules are BERT's, implemented by the `tokenizers` package; punctuation that the vocabulary lacks may be replaced first
(vocab.punctuation_map). Most Chinese text does not need the package: an ideograph or a punctuation mark is one token in any
context, so its id comes from a table over all code points, which the tokenizer fills in when a code point first occurs. Only
runs of other characters (Latin, digits, kana, symbols) go through the tokenizer, with a cache.
"""

import os
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from pipeline.arrays import CodePoints, Flags, Ints, Ints32, TokenIds, code_points, ranges, runs_of_true
from pipeline.tokenization.vocab import CLS, SEP, SPECIALS, UNK, Vocab, punctuation_map

# Workers are forked processes, which the tokenizer's threads would not survive.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

_SPACE, _RUN, _UNSEEN = -1, -2, -3
_CACHED_RUNS = 100_000
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class EncodedText:
    """The tokens of a text. Characters that normalisation removes (control characters, accents) are in no token."""

    ids: TokenIds
    """(tokens,)"""
    offsets: Ints32
    """(tokens, 2) start and end (exclusive) in characters of the original text."""
    unknown: int
    """Number of [UNK] tokens."""


def build_tokenizer(
    vocab: Vocab, do_lower_case: bool, map_punctuation: bool = False, special_tokens: bool = False
) -> Tokenizer:
    """Build BERT's tokenizer, as it is saved in `tokenizer.json`.

    Args:
        special_tokens: False for corpora: "[MASK]" is text, and nothing is added. True for inference: "[MASK]" is the special
            token, and [CLS] and [SEP] are added.
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
    """Encodes the texts of a corpus. It can be pickled; the table and the cache are rebuilt in the other process."""

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
        """Encode each text by itself."""
        encoded = self.encode("\n".join(texts))
        text_starts = np.cumsum([0, *(len(text) + 1 for text in texts)])
        token_starts = np.searchsorted(encoded.offsets[:, 0], text_starts)
        result = []
        for text_start, start, end in zip(text_starts.tolist(), token_starts.tolist(), token_starts[1:].tolist(), strict=False):
            ids = encoded.ids[start:end]
            unknown = int(np.count_nonzero(ids == self.vocab.unk_id))
            result.append(EncodedText(ids, encoded.offsets[start:end] - np.int32(text_start), unknown))
        return result

    def encode(self, text: str, breaks: Ints | None = None) -> EncodedText:
        """Encode a text, or many texts joined by line breaks: the longer, the faster.

        Args:
            breaks: positions, rising, that no token may span; they need not be white space.
        """
        points = code_points(text)
        if ((points >= 0xD800) & (points <= 0xDFFF)).any():
            # Half a character, from a "\ud83d" in JSON. U+FFFD is removed by normalisation.
            return self.encode(_SURROGATES.sub("\ufffd", text), breaks)
        # Look up every character: an id, or _SPACE, or _RUN.
        ids = self._table.take(points)
        if (unseen := points.compress(ids == _UNSEEN)).size:
            self._learn(unseen)
            ids = self._table.take(points)
        # Tokens that start at each character; all tokens of a run are assigned to its first character.
        counts = ids >= 0
        runs = _split_runs(ids == _RUN, breaks)
        if len(runs):
            run_ids, run_offsets, run_lengths = self._runs.encode([text[start:end] for start, end in runs.tolist()])
            counts = counts.astype(np.int32)
            counts[runs[:, 0]] = run_lengths
        starts = np.repeat(np.arange(len(ids), dtype=np.int32), counts)
        offsets = np.stack((starts, starts + 1), axis=1)
        ids = ids.take(starts)
        # Fill in the tokens of the runs.
        if len(runs):
            places = np.flatnonzero(ids == _RUN)
            ids[places] = run_ids
            offsets[places] = run_offsets + np.repeat(runs[:, :1], run_lengths, axis=0)
        unknown = int(np.count_nonzero(ids == self.vocab.unk_id))
        return EncodedText(ids.astype(self.id_dtype), offsets, unknown)

    def _learn(self, points: CodePoints) -> None:
        """Fill in the table for some code points, by what the tokenizer makes of each between two letters."""
        normalizer, pre_tokenizer = self._tokenizer.normalizer, self._tokenizer.pre_tokenizer
        for point in np.unique(points).tolist():
            character = chr(point)
            words = pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(f"a{character}a"))
            ids = self._tokenizer.encode(character, add_special_tokens=False).ids
            if len(words) == 3 and len(ids) == 1:
                self._table[point] = ids[0]
            elif len(words) == 2 and not ids:
                self._table[point] = _SPACE
            else:
                self._table[point] = _RUN


def _split_runs(is_run: Flags, breaks: Ints | None) -> Ints:
    """Return start and end of each run of True, (runs, 2), with runs split at `breaks`."""
    runs = runs_of_true(is_run)
    if breaks is not None and len(runs):
        inner = breaks[(breaks > 0) & (breaks < len(is_run))]
        inner = inner[is_run[inner - 1] & is_run[inner]]
        runs = np.sort(np.concatenate((runs.ravel(), inner, inner))).reshape(-1, 2)
    return runs


class _Runs:
    """Encodes runs of characters and caches the results, concatenated in flat arrays."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._clear()

    def _clear(self) -> None:
        self._numbers: dict[str, int] = {}
        self._ids = array("i")
        self._offsets = array("i")
        self._ends = array("i", [0])

    def encode(self, runs: list[str]) -> tuple[Ints32, Ints32, Ints32]:
        """Return ids (tokens,), offsets within each run (tokens, 2), and the number of tokens of each run (runs,)."""
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
        places = ranges(ends[numbers], lengths)
        offsets = np.frombuffer(self._offsets, np.int32).reshape(-1, 2) if self._offsets else np.empty((0, 2), np.int32)
        ids = np.frombuffer(self._ids, np.int32) if self._ids else np.empty(0, np.int32)
        return ids.take(places), offsets.take(places, axis=0), lengths
