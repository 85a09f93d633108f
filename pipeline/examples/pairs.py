"""Turn documents into training examples: which sentences go into a sequence together.

    document     习近平出席会议。 | 会议强调改革。 | 与会者表示赞同。 | 天气晴。            (sentences)
    nsp          [CLS] 习近平出席会议。会议强调改革。 [SEP] 与会者表示赞同。天气晴。 [SEP]     label 0: B follows A
                 [CLS] 习近平出席会议。 [SEP] 这本书很好看。 [SEP]                           label 1: B is from another document
    sop          [CLS] 与会者表示赞同。天气晴。 [SEP] 习近平出席会议。会议强调改革。 [SEP]     label 1: A and B are swapped
    none         [CLS] 习近平出席会议。会议强调改革。与会者表示赞同。天气晴。 [SEP]             no label

No text is lost: what does not fit goes into the next sequence. A whole part is processed at once: segments.py walks through its
documents, next_sentence.py finds the B's of label 1, and this module gathers the tokens of all examples.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import GOLDEN_RATIO, Bytes, Hashes, Ints, Ints32, mix, ranges
from pipeline.config import PairsConfig
from pipeline.examples.next_sentence import second_segments
from pipeline.examples.random_streams import WORD
from pipeline.examples.segments import NO_LABEL, PairCounts, walk
from pipeline.examples.sequences import Sequences
from pipeline.tokenization.encoded import Documents
from pipeline.tokenization.vocab import Vocab

__all__ = ["NO_LABEL", "Documents", "Examples", "PairCounts", "build"]

CHUNK_TOKENS = 1 << 20
"""Tokens of the examples that are gathered at once, which bounds memory."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Concatenated examples, in the order of their documents."""

    sequences: Sequences
    """Tokens, units and starts of B. Example ids hash document, ordinal and seed; they determine shuffling and masks."""
    document_ids: Hashes
    """(n,) the document of A; the first document of a sequence that has several."""
    ordinals: Ints
    """(n,) number of the example among those of its document, over all its repetitions."""
    pair_labels: Bytes
    """(n,) nsp: 0 = B follows A, 1 = B is from another document. sop: 1 = A and B are swapped. 255 = no pair."""

    def __len__(self) -> int:
        return len(self.document_ids)

    def packed_units(self) -> tuple[Bytes, Ints32]:
        """Return unit starts as shards store them: bytes of little-endian bits, and the first byte of each row, (n + 1,)."""
        lengths = np.diff(self.sequences.offsets)
        # Each row starts with a new byte.
        ends = np.cumsum(-(-lengths // 8))
        starts = np.concatenate(([0], ends))
        bits = np.zeros(8 * int(starts[-1]), np.bool_)
        bits[ranges(8 * starts[:-1], lengths)] = self.sequences.unit_starts
        return np.packbits(bits, bitorder="little"), starts.astype(np.int32)


def build(
    documents: Documents, *, length: int, pairs: PairsConfig, seed: int, vocab: Vocab, counts: PairCounts
) -> Iterator[Examples]:
    """Yield all examples of some documents, thousands at a time; `dupe_factor` times over, with other pairs each time.

    The examples of a document depend only on the seed and on all the documents, which B's of label 1 come from.

    Args:
        length: maximum number of tokens of an example, including [CLS] and [SEP]; at least 8.
        pairs: `short_seq_prob` is drawn per sequence. (BERT draws it per document, which makes all sequences of a long one
            short.)
        counts: is added to.
    """
    assert length >= 8, f"length {length} has no room for pairs"
    counts.tokens += pairs.dupe_factor * len(documents.ids)
    room = length - (2 if pairs.task == "none" else 3)
    whole, separators = documents, np.empty(0, np.int64)
    if pairs.layout == "full_sentences" and len(documents.ids):
        whole, separators = documents.joined(vocab.sep_id)
    made = np.zeros(len(documents), np.int64)  # number of examples of each document so far
    for dupe in range(pairs.dupe_factor):
        stretches = walk(whole, pairs, room, seed, dupe, frozenset(separators.tolist()), counts)
        owners = stretches[:, 0]
        if whole is not documents:
            owners = np.flatnonzero(np.diff(documents.document_starts))[separators.searchsorted(stretches[:, 1])]
        # Ordinals continue those of the earlier repetitions.
        here = np.bincount(owners, minlength=len(documents))
        ordinals = made[owners] + np.arange(len(owners)) - (np.cumsum(here) - here)[owners]
        made += here
        segments = _segments(whole, stretches, pairs, room, seed, dupe)
        _count(whole, stretches, segments, pairs, counts)
        ids = documents.document_ids[owners]
        for start, end in _chunks(segments):
            some = slice(start, end)
            example_ids = _example_ids(ids[some], ordinals[some], seed)
            sequences = _gather(whole, segments[some], example_ids, vocab)
            yield Examples(sequences, ids[some], ordinals[some], stretches[some, 4].astype(np.uint8))


def _segments(documents: Documents, stretches: Ints, pairs: PairsConfig, room: int, seed: int, dupe: int) -> Ints:
    """Return start and end of A, and start and end of B, (n, 4). B is empty for a single segment."""
    segments = stretches[:, [1, 2, 2, 3]]
    second = np.flatnonzero(stretches[:, 4] == 1)
    if pairs.task == "sop":
        segments[second] = segments[second][:, [2, 3, 0, 1]]
    elif len(second):
        single = pairs.layout == "sentences"
        segments[second, 2], segments[second, 3] = second_segments(documents, stretches[second], room, single, seed, dupe)
    return segments


def _count(documents: Documents, stretches: Ints, segments: Ints, pairs: PairsConfig, counts: PairCounts) -> None:
    labels = stretches[:, 4]
    # With label 1 of nsp the walk goes back to the end of A, so no sentence is cut.
    kept = labels != 1 if pairs.task == "nsp" else np.ones(len(labels), np.bool_)
    counts.examples += len(labels)
    counts.cut_sentences += int((~documents.starts_sentence(stretches[kept, 3])).sum())
    if pairs.task == "nsp":
        counts.random_next += int((~kept).sum())
        counts.borrowed_tokens += int((segments[~kept, 3] - segments[~kept, 2]).sum())
    elif pairs.task == "sop":
        counts.swapped += int((labels == 1).sum())
        counts.single += int((labels == NO_LABEL).sum())


def _chunks(segments: Ints) -> Iterator[tuple[int, int]]:
    """Yield ranges of examples with about CHUNK_TOKENS tokens in total."""
    total = np.cumsum(segments[:, 1] - segments[:, 0] + segments[:, 3] - segments[:, 2])
    ends = np.flatnonzero(np.diff(total // CHUNK_TOKENS)) + 1
    return zip([0, *ends.tolist()], [*ends.tolist(), len(total)], strict=True)


def _gather(documents: Documents, segments: Ints, example_ids: Hashes, vocab: Vocab) -> Sequences:
    """Build the sequences [CLS] A [SEP] or [CLS] A [SEP] B [SEP] from `segments` (n, 4)."""
    first_lengths, second_lengths = segments[:, 1] - segments[:, 0], segments[:, 3] - segments[:, 2]
    offsets = np.zeros(len(segments) + 1, np.int64)
    np.cumsum(first_lengths + 2 + second_lengths + (second_lengths > 0), out=offsets[1:])
    second_starts = first_lengths + 2
    # Start with [SEP] everywhere, each a unit; then put in [CLS] and the segments.
    ids = np.full(int(offsets[-1]), vocab.sep_id, documents.ids.dtype)
    ids[offsets[:-1]] = vocab.cls_id
    units = np.ones(len(ids), np.bool_)
    for to, start, lengths in (
        (offsets[:-1] + 1, segments[:, 0], first_lengths),
        (offsets[:-1] + second_starts, segments[:, 2], second_lengths),
    ):
        target, source = ranges(to, lengths), ranges(start, lengths)
        ids[target] = documents.ids.take(source)
        units[target] = documents.unit_starts.take(source)
        units[to[lengths > 0]] = True  # a segment may start inside a word that is longer than a whole sequence
    return Sequences(example_ids, ids, units, offsets, np.where(second_lengths > 0, second_starts, 0))


def _example_ids(document_ids: Hashes, ordinals: Ints, seed: int) -> Hashes:
    """Hash document, ordinal and seed, (n,). The ids of one document are distinct."""
    mixed = mix(document_ids ^ mix(np.full(1, seed & WORD, np.uint64)))
    return mix(mixed + ordinals.astype(np.uint64) * GOLDEN_RATIO)
