"""Documents to training examples: which sentences stand together in one sequence.

    document     习近平出席会议。 | 会议强调改革。 | 与会者表示赞同。 | 天气晴。            (sentences)
    nsp          [CLS] 习近平出席会议。会议强调改革。 [SEP] 与会者表示赞同。天气晴。 [SEP]     label 0: B follows A
                 [CLS] 习近平出席会议。 [SEP] 这本书很好看。 [SEP]                           label 1: B is from elsewhere
    sop          [CLS] 与会者表示赞同。天气晴。 [SEP] 习近平出席会议。会议强调改革。 [SEP]     label 1: they changed places
    none         [CLS] 习近平出席会议。会议强调改革。与会者表示赞同。天气晴。 [SEP]             no label

No text is lost: what does not fit goes into the next sequence. A whole part is worked on at once: segments.py walks through its
documents, next_sentence.py finds the B's of label 1, and here the rows of all examples are gathered.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Ints
from pipeline.config import PairsConfig
from pipeline.examples.masking import ranges
from pipeline.examples.next_sentence import second_segments
from pipeline.examples.random_streams import WORD
from pipeline.examples.segments import NO_LABEL, PairCounts, walk
from pipeline.examples.sequences import Sequences
from pipeline.tokenization.encoded import Documents
from pipeline.tokenization.vocab import Vocab

__all__ = ["NO_LABEL", "Documents", "Examples", "PairCounts", "build"]

CHUNK_TOKENS = 1 << 20
"""Examples are gathered by so many tokens at a time, which bounds the memory that it takes."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples laid end to end, in the order of their documents."""

    sequences: Sequences
    """Tokens, units, where B begins; the ids are hashes of document, ordinal and seed, and key the shuffle and the masks."""
    document_ids: NDArray[np.uint64]
    """(n,) of A; where a sequence goes on over the ends of documents, of the first."""
    ordinals: Ints
    """(n,) counts the examples of a document, over all its repetitions."""
    pair_labels: NDArray[np.uint8]
    """(n,) nsp: 0 = B follows A, 1 = B is from another document. sop: 1 = A and B have changed places. 255 = no pair."""

    def __len__(self) -> int:
        return len(self.document_ids)

    def packed_units(self) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """Unit starts as shards hold them: bytes of little-endian bits, each row in bytes of its own; and (n + 1,) offsets."""
        lengths = np.diff(self.sequences.offsets)
        ends = np.cumsum(-(-lengths // 8))
        starts = np.concatenate(([0], ends))
        bits = np.zeros(8 * int(starts[-1]), np.bool_)
        bits[ranges(8 * starts[:-1], lengths)] = self.sequences.unit_starts
        return np.packbits(bits, bitorder="little"), starts.astype(np.int32)


def build(
    documents: Documents, *, length: int, pairs: PairsConfig, seed: int, vocab: Vocab, counts: PairCounts
) -> Iterator[Examples]:
    """All examples of some documents, `dupe_factor` times over, each time paired anew; some thousands at a time.

    The examples of a document depend on the list (the other documents for label 1 come from it) and the seed, on nothing else.

    Args:
        length: most tokens of an example, [CLS] and [SEP] counted; at least 8.
        pairs: `short_seq_prob` is drawn for each sequence (BERT draws it for a document, which makes all sequences of a long
            one short).
        counts: added to.
    """
    assert length >= 8, f"length {length} has no room for pairs"
    counts.tokens += pairs.dupe_factor * len(documents.ids)
    room = length - (2 if pairs.task == "none" else 3)
    whole, separators = documents, np.empty(0, np.int64)
    if pairs.layout == "full_sentences" and len(documents.ids):
        whole, separators = documents.joined(vocab.sep_id)
    made = np.zeros(len(documents), np.int64)  # examples of each document so far
    for dupe in range(pairs.dupe_factor):
        stretches = walk(whole, pairs, room, seed, dupe, frozenset(separators.tolist()), counts)
        owners = stretches[:, 0]
        if whole is not documents:
            owners = np.flatnonzero(np.diff(documents.document_starts))[separators.searchsorted(stretches[:, 1])]
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
    """(n, 4): where A begins and ends, and where B does; B of a single segment is empty."""
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
    kept = labels != 1 if pairs.task == "nsp" else np.ones(len(labels), np.bool_)  # with label 1 of nsp the walk goes back
    counts.examples += len(labels)
    counts.cut_sentences += int((~documents.starts_sentence(stretches[kept, 3])).sum())
    if pairs.task == "nsp":
        counts.random_next += int((~kept).sum())
        counts.borrowed_tokens += int((segments[~kept, 3] - segments[~kept, 2]).sum())
    elif pairs.task == "sop":
        counts.swapped += int((labels == 1).sum())
        counts.single += int((labels == NO_LABEL).sum())


def _chunks(segments: Ints) -> Iterator[tuple[int, int]]:
    """Ranges of examples that have about CHUNK_TOKENS tokens together."""
    total = np.cumsum(segments[:, 1] - segments[:, 0] + segments[:, 3] - segments[:, 2])
    ends = np.flatnonzero(np.diff(total // CHUNK_TOKENS)) + 1
    return zip([0, *ends.tolist()], [*ends.tolist(), len(total)], strict=True)


def _gather(documents: Documents, segments: Ints, example_ids: NDArray[np.uint64], vocab: Vocab) -> Sequences:
    """[CLS] A [SEP], or [CLS] A [SEP] B [SEP]."""
    first_lengths, second_lengths = segments[:, 1] - segments[:, 0], segments[:, 3] - segments[:, 2]
    offsets = np.zeros(len(segments) + 1, np.int64)
    np.cumsum(first_lengths + 2 + second_lengths + (second_lengths > 0), out=offsets[1:])
    second_starts = first_lengths + 2
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
        units[to[lengths > 0]] = True  # it may go on inside a word that is longer than a whole sequence
    return Sequences(example_ids, ids, units, offsets, np.where(second_lengths > 0, second_starts, 0))


def _example_ids(document_ids: NDArray[np.uint64], ordinals: Ints, seed: int) -> NDArray[np.uint64]:
    """Hashes of document, ordinal and seed; those of one document are all different."""
    mixed = _mix(document_ids ^ _mix(np.full(1, seed & WORD, np.uint64)))
    return _mix(mixed + ordinals.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, Fast splittable pseudorandom number generators, 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(words ^ (words >> np.uint64(31)))
