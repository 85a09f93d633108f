"""Where segments begin and end: a walk through every document, from one sequence to the next.

    sentences    习近平出席会议。 | 会议强调改革。 | 与会者表示赞同。 | 天气晴。
    nsp          习近平出席会议。会议强调改革。 | 与会者表示赞同。天气晴。      label 0: B is what follows
                 习近平出席会议。 | ...                                       label 1: B will be from elsewhere; 会议强调改革。
                                                                             goes into the next sequence
    sop          习近平出席会议。 | 会议强调改革。与会者表示赞同。              label 1: A and B will change places
    none         习近平出席会议。会议强调改革。与会者表示赞同。 | ...           one segment of whole sentences

Sequences of nsp end where they are full, at the end of a word; those of sop and none at the end of a sentence, if one fits.
What is left goes into the next sequence, so no text is lost. (BERT's create_instances_from_document cuts what overflows off.)
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config import PairsConfig
from pipeline.examples.random_streams import PAIRS, generator, numbers
from pipeline.tokenization.encoded import Documents

NO_LABEL = 255
"""Of a sequence without a pair; shards store null."""
_LOST = 254
Stretch = tuple[int, int, int, int, int]
"""Document, where A begins, where A ends and B begins, where B ends (of label 1: the B that would have followed), label."""


@dataclass(slots=True)
class PairCounts:
    """What became of the documents, for the report. `tokens` - `lost_tokens` = tokens that stand in examples, each once."""

    examples: int = 0
    random_next: int = 0
    """Pairs of nsp with label 1."""
    swapped: int = 0
    """Pairs of sop with label 1."""
    single: int = 0
    """Sequences of sop without label: a single sentence, which has no order."""
    tokens: int = 0
    """Of all documents, each repetition counted."""
    borrowed_tokens: int = 0
    """Tokens of the B's of label 1 of nsp."""
    cut_sentences: int = 0
    """Sequences that end inside a sentence; the next one goes on there."""
    lost_tokens: int = 0
    """A last word that could not be made a pair, because there was no other document to pair it with."""


def walk(
    documents: Documents,
    pairs: PairsConfig,
    room: int,
    seed: int,
    dupe: int,
    separators: frozenset[int],
    counts: PairCounts,
) -> NDArray[np.int64]:
    """(n, 5): the stretches of all documents in their order, see `Stretch`.

    The stretches of a document depend on its id, its text, the seed, and whether there are other documents. `separators`: where
    documents that were joined to one are parted; no stretch begins or ends with one of these.
    """
    walker = _Walker(documents, pairs, room, separators)
    found = array("q")
    for index, random in enumerate(_random(documents, room, seed, dupe)):
        if documents.document_starts[index] < documents.document_starts[index + 1]:
            for stretch in walker(index, random):
                found.extend(stretch)
    stretches: NDArray[np.int64] = np.frombuffer(found, np.int64).reshape(-1, 5)
    lost = stretches[:, 4] == _LOST
    counts.lost_tokens += int((stretches[lost, 3] - stretches[lost, 1]).sum())
    return np.asarray(stretches[~lost])


def _random(documents: Documents, room: int, seed: int, dupe: int) -> Iterator[Callable[[], float]]:
    """The numbers of each document, in [0, 1): first some that are drawn for all at once, which are enough for most."""
    most = 6 * np.diff(documents.document_starts) // room + 8
    first = numbers(seed, np.full(len(most), dupe), documents.document_ids, most, PAIRS)
    start = 0
    for document_id, count in zip(documents.document_ids.tolist(), most.tolist(), strict=True):
        yield _endless(first[start : start + count].tolist(), seed, dupe, document_id).__next__
        start += count


def _endless(first: list[float], seed: int, dupe: int, document_id: int) -> Iterator[float]:
    yield from first
    rng = generator(seed, dupe, document_id, PAIRS)
    rng.random(len(first))
    while True:
        yield from rng.random(64).tolist()


class _Walker:
    """Walks through a document. Reads arrays as memoryviews, which give plain integers three times as fast as arrays do."""

    def __init__(self, documents: Documents, pairs: PairsConfig, room: int, separators: frozenset[int]) -> None:
        self.separators = separators
        self.starts = documents.document_starts.data
        self.ends = documents.sentence_ends.data
        self.sentence_of = documents.sentence_of.data
        self.units, self.unit_of = documents.units.data, documents.unit_of.data
        self.room, self.short_seq_prob, self.sentences = room, pairs.short_seq_prob, pairs.layout == "sentences"
        self.alone = int((np.diff(documents.document_starts) > 0).sum()) < 2
        # A function, not a bound method: that would be a cycle, and keep a part's arrays until the collector comes by.
        self.walk = {"nsp": _Walker._nsp, "sop": _Walker._sop, "none": _Walker._none}[pairs.task]

    def __call__(self, index: int, random: Callable[[], float]) -> Iterator[Stretch]:
        return self.walk(self, index, self.starts[index], self.starts[index + 1], random)

    def _nsp(self, index: int, at: int, finish: int, random: Callable[[], float]) -> Iterator[Stretch]:
        while at < finish:
            if self.sentences:
                reached = min(self.ends[self.sentence_of[at]] + 1, finish)
            else:
                reached = min(at + self._target(random), finish)
            end = self._fit(at, self.ends[self.sentence_of[reached - 1]])
            middle = self._middle(at, end, random)
            if not self.alone and (middle == end or random() < 0.5):
                yield index, at, middle, end, 1
                at = middle
            else:
                yield index, at, middle, end, _LOST if middle == end else 0
                at = end

    def _sop(self, index: int, at: int, finish: int, random: Callable[[], float]) -> Iterator[Stretch]:
        while at < finish:
            first = self.sentence_of[at]
            if at == self.starts[index] or at == self.ends[first - 1]:
                end = self._whole_sentences(at, finish, 2 if self.sentences else 0, random)
            else:
                # The rest of a sentence that was cut stands alone: at the head of a pair it would tell the order.
                end = self._fit(at, self.ends[first])
            last = self.sentence_of[end - 1]
            if first < last:
                yield index, at, self.ends[first + int(random() * (last - first))], end, int(random() < 0.5)
            else:
                yield index, at, end, end, NO_LABEL
            at = end

    def _none(self, index: int, at: int, finish: int, random: Callable[[], float]) -> Iterator[Stretch]:
        while at < finish:
            end = self._whole_sentences(at, finish, 1 if self.sentences else 0, random)
            yield index, at, end, end, NO_LABEL
            at = end + (end in self.separators)

    def _target(self, random: Callable[[], float]) -> int:
        """How many tokens the next sequence aims at: all there is room for, or now and then any number from 2 on."""
        return 2 + int(random() * (self.room - 1)) if random() < self.short_seq_prob else self.room

    def _whole_sentences(self, at: int, finish: int, most: int, random: Callable[[], float]) -> int:
        """The end of as many whole sentences as there is room for (at most `most`), or of what fits of a longer one."""
        reached = at + (self.room if most else self._target(random))
        first = self.sentence_of[at]
        last = self.sentence_of[finish - 1] if reached >= finish else self.sentence_of[reached] - 1
        if most:
            last = min(last, first + most - 1)
        return self._fit(at, self.ends[max(first, last)])

    def _fit(self, at: int, end: int) -> int:
        """`end`, or if there is no room for so much, the last end of a word for which there is; inside a longer word."""
        if end - at <= self.room:
            return end
        word = self.units[self.unit_of[at + self.room]]
        return word if word > at else at + self.room

    def _middle(self, at: int, end: int, random: Callable[[], float]) -> int:
        """Where A ends: after a random sentence but the last.

        A single sentence is parted at the word nearest to its middle, so that reviews of one sentence train both labels (BERT
        gives them label 1 always). A single word is not parted: the result is `end`.
        """
        first, last = self.sentence_of[at], self.sentence_of[end - 1]
        if first < last:
            return self.ends[first + int(random() * (last - first))]
        half = (at + end) // 2
        unit = self.unit_of[half]
        words = [word for word in (self.units[unit], self.units[unit + 1]) if at < word < end]
        if words:
            return min(words, key=lambda word: abs(2 * word - at - end))
        # Where a word fills the room, half of it must leave room for B.
        return end if end - at <= self.room // 2 else half
