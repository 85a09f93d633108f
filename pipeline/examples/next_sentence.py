"""Segment B for label 1 of "does B follow A?": a span of another document that resembles the B that it replaces.

    习近平出席会议。会议强调改革。 | 与会者表示赞同。      0
    习近平出席会议。会议强调改革。 | 这本书很好看。        1, and 与会者表示赞同。 goes into the next pair

In BERT's create_pretraining_data.py (create_instances_from_document; labels as in Huawei's run_pretraining.py) pairs from short
documents are longer if they have label 1, and single sentences always have label 1. Here only the text reveals the label: B of
label 1 is as long as the B that it replaces, and starts and ends at the same kind of position.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Flags, Floats, Ints
from pipeline.examples.random_streams import SECOND_SEGMENTS, numbers
from pipeline.tokenization.encoded import Documents

CANDIDATES = 4
"""Candidates for each B; the one whose length fits best is taken."""


@dataclass(frozen=True, eq=False)
class _Wanted:
    """Properties of the B's that would have followed, which their replacements should have. Arrays are (n, 1)."""

    lengths: Ints
    rooms: Ints
    """Maximum number of tokens of B."""
    begins_inside: Flags
    """Whether B starts inside a sentence."""
    full: Flags
    """Whether B ends inside a sentence, because the sequence is full."""
    last: Flags
    """Whether B ends at the end of its document."""
    sentences: bool
    """Whether B is a single sentence."""


def second_segments(
    documents: Documents, stretches: Ints, room: int, sentences: bool, seed: int, dupe: int
) -> tuple[Ints, Ints]:
    """Return start and end of the new B of each stretch, in the tokens of all documents: (n,) and (n,).

    Args:
        stretches: (n, 5) from `segments.walk`, those of label 1.
        room: maximum number of tokens of a sequence, without special tokens.
        sentences: whether A and B are single sentences.
    """
    index, at, middle, end, _ = stretches.T
    wanted = _Wanted(
        np.where(middle < end, end - middle, end - at)[:, None],
        (room - (middle - at))[:, None],
        ~documents.starts_sentence(middle)[:, None],
        ~documents.starts_sentence(end)[:, None],
        (end == documents.document_starts[index + 1])[:, None],
        sentences,
    )
    # Choose other documents, (n, candidates), among those that are not empty.
    random = _random(documents, index, seed, dupe)
    full = np.flatnonzero(np.diff(documents.document_starts))
    places = np.searchsorted(full, index)[:, None] + 1 + (random[..., 0] * (len(full) - 1)).astype(np.int64)
    others = full[places % len(full)]
    # In each, a span at the end or anywhere, whichever the replaced B was; then the candidate whose length fits best.
    last, anywhere = _last_stretches(documents, others, wanted), _any_stretches(documents, others, wanted, random[..., 1])
    starts, ends = (np.where(wanted.last, one, other) for one, other in zip(last, anywhere, strict=True))
    best = np.arange(len(index)), np.abs(ends - starts - wanted.lengths).argmin(axis=1)
    return starts[best], ends[best]


def _random(documents: Documents, index: Ints, seed: int, dupe: int) -> Floats:
    """Return random numbers for the document and the sentence of each candidate, (n, candidates, 2).

    Those of a document depend only on its own stretches.

    Args:
        index: (n,) the document of each stretch, rising.
    """
    names, counts = np.unique(index, return_counts=True)
    epochs = np.full(len(names), dupe)
    flat = numbers(seed, epochs, documents.document_ids[names], counts * CANDIDATES * 2, SECOND_SEGMENTS)
    return flat.reshape(-1, CANDIDATES, 2)


def _last_stretches(documents: Documents, index: Ints, wanted: _Wanted) -> tuple[Ints, Ints]:
    """Return spans at the end of documents, from the sentence or word that gives the best length: (n, candidates) each."""
    first, finish = documents.document_starts[index], documents.document_starts[index + 1]
    start = np.maximum(first, finish - wanted.lengths)
    if wanted.sentences:
        last = documents.sentence_of[finish - 1]
        start = np.maximum(start, np.where(last > 0, documents.sentence_ends[last - 1], 0))
    # Either the word there, or the nearest start of a sentence, but not the end of the document.
    word = documents.units[documents.unit_of[start]].astype(np.int64)
    sentence = documents.sentence_of[start]
    lower = np.where(sentence > 0, documents.sentence_ends[sentence - 1], 0)
    upper = documents.sentence_ends[sentence]
    nearest = np.where((upper < finish) & (upper - start < start - lower), upper, lower)
    start = np.where(wanted.begins_inside, word, nearest)
    return start, _fit(documents, start, finish, wanted.rooms)


def _any_stretches(documents: Documents, index: Ints, wanted: _Wanted, random: Floats) -> tuple[Ints, Ints]:
    """Return spans from a random sentence or its middle, as long as wanted unless the document ends: (n, candidates) each."""
    first, finish = documents.document_starts[index], documents.document_starts[index + 1]
    first_sentence = documents.sentence_of[first]
    latest = np.maximum(first, finish - wanted.lengths)
    # Not the first sentence: it is never the B of a label 0, and as a title it would reveal the label.
    number = documents.sentence_of[latest] - first_sentence
    sentence = first_sentence + (number > 0) + (random * number).astype(np.int64)
    ends = documents.sentence_ends
    start = np.where(sentence > first_sentence, ends[sentence - 1], first)
    start = np.where(wanted.begins_inside, _middles(documents, start, ends[sentence], wanted.rooms), start)
    # End where the sequence is full, or at the end of the sentence that gives the nearest length.
    reached = np.minimum(start + wanted.lengths, finish)
    later = documents.sentence_of[reached - 1].astype(np.int64)
    lower, upper = ends[np.maximum(later - 1, sentence)], ends[later]
    nearest = np.where(np.abs(lower - start - wanted.lengths) <= np.abs(upper - start - wanted.lengths), lower, upper)
    end = ends[sentence] if wanted.sentences else np.where(wanted.full, finish, nearest)
    return start, _fit(documents, start, end, wanted.rooms)


def _middles(documents: Documents, start: Ints, end: Ints, room: Ints) -> Ints:
    """Return the start of the word nearest to the middle of a sentence, or of the sentence if it is a single word."""
    unit = documents.unit_of[(start + end) // 2]
    lower, upper = documents.units[unit].astype(np.int64), documents.units[unit + 1].astype(np.int64)
    nearer = (upper < end) & ((lower <= start) | (2 * upper - start - end < start + end - 2 * lower))
    middle = np.where(nearer, upper, lower)
    return np.where(middle > start, middle, np.where(end - start > room, (start + end) // 2, start))


def _fit(documents: Documents, start: Ints, end: Ints, room: Ints) -> Ints:
    """Return `end`, or the last end of a word within `room` of the start, or a position inside a word longer than that."""
    full = np.minimum(start + room, end)
    over = np.minimum(full, len(documents.ids) - 1)
    word = documents.units[documents.unit_of[over]].astype(np.int64)
    return np.where(end - start <= room, end, np.where(word > start, word, full))
