"""Segments A and B for "does B follow A?": label 0, B is what follows; label 1, B is from another document.

    习近平出席会议。会议强调改革。 | 与会者表示赞同。      0
    习近平出席会议。会议强调改革。 | 这本书很好看。        1, and 与会者表示赞同。 goes into the next pair

As in BERT's create_pretraining_data.py (create_instances_from_document; labels as in Huawei's run_pretraining.py), but without
its losses and its hints. BERT cuts what overflows off the longer segment; here a sequence ends where it is full, at the end of
a word, and the next one goes on from there. In BERT, pairs from short documents are longer if they have label 1, and single
sentences have label 1 always; here B of label 1 is made like the B that it replaces: as long, and beginning and ending at the
same kind of place.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pipeline.pairs import DocumentPieces, PairCounts

_CANDIDATES = 4
"""Places looked at for a random B; the one that gives the most fitting length is taken."""


@dataclass(frozen=True, slots=True)
class Draws:
    """The random decisions for one document."""

    rng: np.random.Generator
    room: int
    """Most pieces of a sequence, without specials."""
    short_seq_prob: float

    def below(self, number: int) -> int:
        """0 <= result < number."""
        return int(self.rng.random() * number)  # a tenth of the time of rng.integers, and the same in every version of numpy

    def target(self) -> int:
        """How many pieces the next sequence aims at: all there is room for, or now and then any number from 2 on."""
        short = self.rng.random() < self.short_seq_prob
        return 2 + self.below(self.room - 1) if short else self.room


class Stretch(NamedTuple):
    """Pieces `start` to `end` of a document."""

    document: "DocumentPieces"
    start: int
    end: int


class _Place(NamedTuple):
    """What is known of the B that follows, for another to be like it."""

    length: int
    room: int
    """Most pieces that B may have."""
    begins_inside: bool
    """It begins inside a sentence."""
    full: bool
    """It ends where the sequence is full, inside a sentence."""
    last: bool
    """It ends where its document ends."""


def pairs(
    documents: Sequence["DocumentPieces"], index: int, draws: Draws, counts: "PairCounts"
) -> Iterator[tuple[Stretch, Stretch, int]]:
    """A, B and label, for all of document `index`: pieces that stand in no A, and in no B of label 0, are counted as lost."""
    document = documents[index]
    at, ends = 0, document.sentence_ends
    while at < ends[-1]:
        sentence_end = ends[min(bisect_left(ends, at + draws.target()), len(ends) - 1)]
        end = fit(document, at, sentence_end, draws.room)
        full = end < sentence_end
        middle, begins_inside = _middle(document, at, end, draws)
        one_word = middle == end
        if len(documents) > 1 and (one_word or draws.below(2)):
            length = end - at if one_word else end - middle
            place = _Place(length, draws.room - (middle - at), begins_inside, full, end == ends[-1])
            second = _random_next(documents, index, place, draws)
            counts.random_next += 1
            counts.borrowed_pieces += second.end - second.start
            yield Stretch(document, at, middle), second, 1
            at = middle
        elif one_word:
            counts.lost_pieces += end - at
            at = end
        else:
            counts.cut_sentences += full
            yield Stretch(document, at, middle), Stretch(document, middle, end), 0
            at = end


def fit(document: "DocumentPieces", at: int, end: int, room: int) -> int:
    """`end`, or if that is more than `room` pieces after `at`, the last end of a word that is not; inside a longer word."""
    if end - at <= room:
        return end
    words = np.flatnonzero(document.unit_starts[at + 1 : at + room + 1])
    return at + 1 + int(words[-1]) if len(words) else at + room


def _middle(document: "DocumentPieces", at: int, end: int, draws: Draws) -> tuple[int, bool]:
    """Where A ends, and whether that is inside a sentence.

    After a random sentence but the last. A single sentence is parted at the word nearest to its middle, so that reviews of one
    sentence train both labels (BERT gives them label 1 always). A single word is not parted: the result is `end`.
    """
    ends = document.sentence_ends
    first, last = bisect_right(ends, at), bisect_left(ends, end)
    if first < last:
        return ends[first + draws.below(last - first)], False
    words = at + 1 + np.flatnonzero(document.unit_starts[at + 1 : end])
    if len(words):
        return int(words[np.abs(2 * words - at - end).argmin()]), True
    # Where a word fills the room, half of it must leave room for B.
    return (end, False) if end - at <= draws.room // 2 else ((at + end) // 2, True)


def _random_next(documents: Sequence["DocumentPieces"], index: int, place: _Place, draws: Draws) -> Stretch:
    """A B from any document but `index`."""
    candidates = []
    for _ in range(_CANDIDATES):
        other = documents[(index + 1 + draws.below(len(documents) - 1)) % len(documents)]
        assert other.document_id != documents[index].document_id, f"document {other.document_id} is there twice"
        candidates.append(_last_stretch(other, place) if place.last else _any_stretch(other, place, draws))
    return min(candidates, key=lambda stretch: abs(stretch.end - stretch.start - place.length))


def _last_stretch(document: "DocumentPieces", place: _Place) -> Stretch:
    """The end of a document, from the sentence or word on that gives the length best."""
    ends = document.sentence_ends
    start = max(0, ends[-1] - place.length)
    if place.begins_inside:
        start -= int(document.unit_starts[: start + 1][::-1].argmax())
    else:
        after = bisect_left(ends, start, hi=len(ends) - 1)
        starts = (0, *ends[max(0, after - 1) : min(after + 1, len(ends) - 1)])
        start = min(starts, key=lambda candidate: abs(candidate - start))
    return Stretch(document, start, fit(document, start, ends[-1], place.room))


def _any_stretch(document: "DocumentPieces", place: _Place, draws: Draws) -> Stretch:
    """From a random sentence on, or from its middle, as long as wanted if the document reaches so far."""
    ends = document.sentence_ends
    sentence = draws.below(1 + bisect_right(ends, ends[-1] - place.length))
    start = ends[sentence - 1] if sentence else 0
    if place.begins_inside:
        middle, _ = _middle(document, start, ends[sentence], draws)
        start = middle if middle < ends[sentence] else start
    if place.full:
        end = ends[-1]
    else:
        later = bisect_left(ends, start + place.length, lo=sentence)
        end = min(ends[sentence : later + 1], key=lambda candidate: abs(candidate - start - place.length))
    return Stretch(document, start, fit(document, start, end, place.room))
