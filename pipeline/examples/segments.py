"""Divide documents into segments: a walk through each document, from one sequence to the next.

    sentences    习近平出席会议。 | 会议强调改革。 | 与会者表示赞同。 | 天气晴。
    nsp          习近平出席会议。会议强调改革。 | 与会者表示赞同。天气晴。      label 0: B is what follows
                 习近平出席会议。 | ...                                       label 1: B will be from another document;
                                                                             会议强调改革。 goes into the next sequence
    sop          习近平出席会议。 | 会议强调改革。与会者表示赞同。              label 1: A and B will be swapped
    none         习近平出席会议。会议强调改革。与会者表示赞同。 | ...           one segment of whole sentences

Sequences of nsp end when they are full, at the end of a word; those of sop and none at the end of a sentence, if one fits. The
rest goes into the next sequence, so no text is lost. (BERT's create_instances_from_document truncates sequences.)
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Ints
from pipeline.config import PairsConfig
from pipeline.examples.random_streams import PAIRS, generator, numbers
from pipeline.tokenization.encoded import Documents

NO_LABEL = 255
"""Label of a sequence without a pair; shards store null."""
_LOST = 254
Stretch = tuple[int, int, int, int, int]
"""Document, start of A, end of A and start of B, end of B (for label 1: of the B that would have followed), label."""


@dataclass(slots=True)
class PairCounts:
    """Counts for the report. `tokens` - `lost_tokens` is the number of tokens in examples, each counted once."""

    examples: int = 0
    random_next: int = 0
    """Pairs of nsp with label 1."""
    swapped: int = 0
    """Pairs of sop with label 1."""
    single: int = 0
    """Sequences of sop without a label: a single sentence, which has no order."""
    tokens: int = 0
    """Tokens of all documents, over all repetitions."""
    borrowed_tokens: int = 0
    """Tokens of the B's of label 1 of nsp."""
    cut_sentences: int = 0
    """Sequences that end inside a sentence, where the next one continues."""
    lost_tokens: int = 0
    """Tokens of a last word that could not be paired, because there was no other document."""


def walk(
    documents: Documents,
    pairs: PairsConfig,
    room: int,
    seed: int,
    dupe: int,
    separators: frozenset[int],
    counts: PairCounts,
) -> Ints:
    """Return the stretches of all documents, (n, 5), in order; columns as in `Stretch`.

    The stretches of a document depend on its id, its text, the seed, and whether there are other documents.

    Args:
        room: maximum number of tokens of a sequence, without special tokens.
        dupe: number of the repetition.
        separators: positions of the separators of joined documents, at which no stretch starts or ends.
        counts: `lost_tokens` is added to.
    """
    walker = _Walker(documents, pairs, room, separators)
    found = array("q")
    for index, random in enumerate(_random(documents, room, seed, dupe)):
        if documents.document_starts[index] < documents.document_starts[index + 1]:
            for stretch in walker(index, random):
                found.extend(stretch)
    stretches: Ints = np.frombuffer(found, np.int64).reshape(-1, 5)
    lost = stretches[:, 4] == _LOST
    counts.lost_tokens += int((stretches[lost, 3] - stretches[lost, 1]).sum())
    return np.asarray(stretches[~lost])


def _random(documents: Documents, room: int, seed: int, dupe: int) -> Iterator[Callable[[], float]]:
    """Yield for each document a function that returns random numbers in [0, 1).

    The first numbers of all documents are drawn at once; most documents need no more.
    """
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
    """Walks through a document. Reads single integers from memoryviews, which are three times as fast as arrays."""

    def __init__(self, documents: Documents, pairs: PairsConfig, room: int, separators: frozenset[int]) -> None:
        self.separators = separators
        self.starts = documents.document_starts.data
        self.ends = documents.sentence_ends.data
        self.sentence_of = documents.sentence_of.data
        self.units, self.unit_of = documents.units.data, documents.unit_of.data
        self.room, self.short_seq_prob, self.sentences = room, pairs.short_seq_prob, pairs.layout == "sentences"
        self.alone = int((np.diff(documents.document_starts) > 0).sum()) < 2
        # A plain function: a bound method would make a cycle, which keeps a part's arrays until garbage is collected.
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
                # The rest of a cut sentence is a sequence of its own: at the start of a pair it would reveal the order.
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
        """Return the target length of the next sequence: the maximum, or with short_seq_prob a random one from 2 on."""
        return 2 + int(random() * (self.room - 1)) if random() < self.short_seq_prob else self.room

    def _whole_sentences(self, at: int, finish: int, most: int, random: Callable[[], float]) -> int:
        """Return the end of the whole sentences that fit (at most `most`, if not 0), or of what fits of a longer one."""
        reached = at + (self.room if most else self._target(random))
        first = self.sentence_of[at]
        last = self.sentence_of[finish - 1] if reached >= finish else self.sentence_of[reached] - 1
        if most:
            last = min(last, first + most - 1)
        return self._fit(at, self.ends[max(first, last)])

    def _fit(self, at: int, end: int) -> int:
        """Return `end`, or the last end of a word that fits, or a position inside a word that does not fit at all."""
        if end - at <= self.room:
            return end
        word = self.units[self.unit_of[at + self.room]]
        return word if word > at else at + self.room

    def _middle(self, at: int, end: int, random: Callable[[], float]) -> int:
        """Return the end of A: after a random sentence, but not the last.

        A single sentence is split at the word nearest to its middle, so that reviews of one sentence have both labels (in BERT
        they always have label 1). A single word is not split: the result is `end`.
        """
        first, last = self.sentence_of[at], self.sentence_of[end - 1]
        if first < last:
            return self.ends[first + int(random() * (last - first))]
        half = (at + end) // 2
        unit = self.unit_of[half]
        words = [word for word in (self.units[unit], self.units[unit + 1]) if at < word < end]
        if words:
            return min(words, key=lambda word: abs(2 * word - at - end))
        # If a word fills the sequence, split it, to leave room for B.
        return end if end - at <= self.room // 2 else half
