"""The B of label 1 in "does B follow A?": a stretch of another document that looks like the B whose place it takes.

    习近平出席会议。会议强调改革。 | 与会者表示赞同。      0
    习近平出席会议。会议强调改革。 | 这本书很好看。        1, and 与会者表示赞同。 goes into the next pair

In BERT's create_pretraining_data.py (create_instances_from_document; labels as in Huawei's run_pretraining.py) pairs from short
documents are longer if they have label 1, and single sentences have label 1 always. Here nothing but the text tells the labels:
B of label 1 is as long as the B that it replaces, and begins and ends at the same kind of place.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Flags, Ints
from pipeline.examples.random_streams import SECOND_SEGMENTS, numbers
from pipeline.tokenization.encoded import Documents

CANDIDATES = 4
"""Places looked at for a random B; the one that gives the most fitting length is taken."""


@dataclass(frozen=True, eq=False)
class _Wanted:
    """What is known of the B's that would have followed, for others to be like them; a column each."""

    lengths: Ints
    rooms: Ints
    """Most tokens that B may have."""
    begins_inside: Flags
    """It begins inside a sentence."""
    full: Flags
    """It ends where the sequence is full, inside a sentence."""
    last: Flags
    """It ends where its document ends."""
    sentences: bool
    """It is a single sentence."""


def second_segments(
    documents: Documents, stretches: Ints, room: int, sentences: bool, seed: int, dupe: int
) -> tuple[Ints, Ints]:
    """(n,) and (n,): where the B of each stretch of label 1 begins and ends in the tokens of all documents.

    Args:
        stretches: (n, 5) as `segments.walk` gives them, those of label 1.
        room: most tokens of a sequence, without specials.
        sentences: B is a single sentence, as A is.
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
    random = _random(documents, index, seed, dupe)
    full = np.flatnonzero(np.diff(documents.document_starts))
    places = np.searchsorted(full, index)[:, None] + 1 + (random[..., 0] * (len(full) - 1)).astype(np.int64)
    others = full[places % len(full)]
    last, anywhere = _last_stretches(documents, others, wanted), _any_stretches(documents, others, wanted, random[..., 1])
    starts, ends = (np.where(wanted.last, one, other) for one, other in zip(last, anywhere, strict=True))
    best = np.arange(len(index)), np.abs(ends - starts - wanted.lengths).argmin(axis=1)
    return starts[best], ends[best]


def _random(documents: Documents, index: Ints, seed: int, dupe: int) -> NDArray[np.float64]:
    """(n, candidates, 2): a document and a sentence for each; those of a document depend on its stretches only."""
    names, counts = np.unique(index, return_counts=True)  # stretches come in the order of documents
    epochs = np.full(len(names), dupe)
    flat = numbers(seed, epochs, documents.document_ids[names], counts * CANDIDATES * 2, SECOND_SEGMENTS)
    return flat.reshape(-1, CANDIDATES, 2)


def _last_stretches(documents: Documents, index: Ints, wanted: _Wanted) -> tuple[Ints, Ints]:
    """The ends of documents, from the sentence or word on that gives the length best."""
    first, finish = documents.document_starts[index], documents.document_starts[index + 1]
    start = np.maximum(first, finish - wanted.lengths)
    if wanted.sentences:
        last = documents.sentence_of[finish - 1]
        start = np.maximum(start, np.where(last > 0, documents.sentence_ends[last - 1], 0))
    word = documents.units[documents.unit_of[start]].astype(np.int64)
    sentence = documents.sentence_of[start]
    lower = np.where(sentence > 0, documents.sentence_ends[sentence - 1], 0)
    upper = documents.sentence_ends[sentence]
    nearest = np.where((upper < finish) & (upper - start < start - lower), upper, lower)
    start = np.where(wanted.begins_inside, word, nearest)
    return start, _fit(documents, start, finish, wanted.rooms)


def _any_stretches(documents: Documents, index: Ints, wanted: _Wanted, random: NDArray[np.float64]) -> tuple[Ints, Ints]:
    """From a random sentence on, or from its middle, as long as wanted if the document reaches so far."""
    first, finish = documents.document_starts[index], documents.document_starts[index + 1]
    first_sentence = documents.sentence_of[first]
    latest = np.maximum(first, finish - wanted.lengths)
    # Any sentence but the first: no B of label 0 is that, and where it is a title it would tell the label.
    number = documents.sentence_of[latest] - first_sentence
    sentence = first_sentence + (number > 0) + (random * number).astype(np.int64)
    ends = documents.sentence_ends
    start = np.where(sentence > first_sentence, ends[sentence - 1], first)
    start = np.where(wanted.begins_inside, _middles(documents, start, ends[sentence], wanted.rooms), start)
    reached = np.minimum(start + wanted.lengths, finish)
    later = documents.sentence_of[reached - 1].astype(np.int64)
    lower, upper = ends[np.maximum(later - 1, sentence)], ends[later]
    nearest = np.where(np.abs(lower - start - wanted.lengths) <= np.abs(upper - start - wanted.lengths), lower, upper)
    end = ends[sentence] if wanted.sentences else np.where(wanted.full, finish, nearest)
    return start, _fit(documents, start, end, wanted.rooms)


def _middles(documents: Documents, start: Ints, end: Ints, room: Ints) -> Ints:
    """The word nearest to the middle of a sentence, or its start where it is a single word."""
    unit = documents.unit_of[(start + end) // 2]
    lower, upper = documents.units[unit].astype(np.int64), documents.units[unit + 1].astype(np.int64)
    nearer = (upper < end) & ((lower <= start) | (2 * upper - start - end < start + end - 2 * lower))
    middle = np.where(nearer, upper, lower)
    return np.where(middle > start, middle, np.where(end - start > room, (start + end) // 2, start))


def _fit(documents: Documents, start: Ints, end: Ints, room: Ints) -> Ints:
    """`end`, or if there is no room for so much, the last end of a word for which there is; inside a longer word."""
    full = np.minimum(start + room, end)
    over = np.minimum(full, len(documents.ids) - 1)
    word = documents.units[documents.unit_of[over]].astype(np.int64)
    return np.where(end - start <= room, end, np.where(word > start, word, full))
