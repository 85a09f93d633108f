"""Documents to training examples: which sentences stand together in one sequence.

    document     习近平出席会议。 | 会议强调改革。 | 与会者表示赞同。 | 天气晴。            (sentences)
    nsp          [CLS] 习近平出席会议。会议强调改革。 [SEP] 与会者表示赞同。天气晴。 [SEP]     label 0: B follows A
                 [CLS] 习近平出席会议。 [SEP] 这本书很好看。 [SEP]                           label 1: B is from elsewhere
    none         [CLS] 习近平出席会议。会议强调改革。与会者表示赞同。天气晴。 [SEP]             no label

Pairs follow BERT's create_pretraining_data.py (create_instances_from_document; labels as in Huawei's run_pretraining.py), but
lose no text. There, what overflows is cut off the longer segment. Here a sequence ends where it is full, at the end of a word,
and the next one goes on from there. The labels are made alike in what could give them away: B of label 1 is about as long as
the B that it replaces, and begins and ends inside a sentence where that one would have.
"""

import hashlib
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.masking import generator
from pipeline.sentences import split_sentences
from pipeline.vocab import Vocab
from pipeline.words import Segmenter, unit_starts

if TYPE_CHECKING:
    from pipeline.pieces import PieceEncoder

_PURPOSE = 1  # of random numbers; masks have 0

Ids = NDArray[np.unsignedinteger[Any]]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class DocumentPieces:
    """A document as pieces, all its sentences in a row: a sequence of sentences is then a slice."""

    document_id: int
    """uint64"""
    ids: Ids
    """(pieces,)"""
    unit_starts: Flags
    """(pieces,) True where a masking unit begins; every sentence begins one."""
    sentence_ends: list[int]
    """Rising; where each sentence ends in `ids`. The last is the number of pieces."""


def document_pieces(
    document_id: int, text: str, encoder: "PieceEncoder", segmenter: Segmenter, policy: Literal["word", "piece"] = "word"
) -> DocumentPieces:
    """Splits a document into sentences, words and pieces. A document without a single piece has no sentences."""
    sentences = split_sentences(text)
    # One call for all sentences. A line break is a boundary for jieba and WordPiece alike, so this is as if one by one.
    joined = "\n".join(sentences)
    encoded = encoder.encode(joined)
    starts = encoded.offsets[:, 0]
    words = segmenter.word_starts(joined) if policy == "word" else np.empty(0, np.bool_)
    breaks = np.cumsum([len(sentence) + 1 for sentence in sentences])
    ends = np.unique(np.searchsorted(starts, breaks))  # unique: some sentences have no pieces
    return DocumentPieces(document_id, encoded.ids, unit_starts(starts, words, policy), ends[ends > 0].tolist())


@dataclass(frozen=True, slots=True)
class Example:
    """One sequence, unpadded."""

    document_id: int
    ordinal: int
    """Counts the examples of a document, over all its repetitions."""
    example_id: int
    """uint64, made of the document, the ordinal and the seed: the shuffle key and the mask key."""
    input_ids: Ids
    """(pieces,) with [CLS] and [SEP]."""
    unit_starts: Flags
    """(pieces,) specials are units of their own."""
    second_start: int
    """Where segment B begins, just after its [SEP]; 0 = one segment."""
    pair_label: int | None
    """0 = B follows A, 1 = B is from another document, None = no pairs."""


@dataclass(slots=True)
class PairCounts:
    """What became of the documents, for the report. `pieces` - `lost_pieces` = pieces that stand in examples, each once."""

    examples: int = 0
    random_next: int = 0
    """Examples with label 1."""
    pieces: int = 0
    """Of all documents, each repetition counted."""
    borrowed_pieces: int = 0
    """Pieces of the B's of label 1."""
    cut_sentences: int = 0
    """Sequences that end inside a sentence; the next one goes on there."""
    lost_pieces: int = 0
    """A last word that could not be made a pair, because there was no other document to pair it with."""


def build_examples(
    documents: Sequence[DocumentPieces],
    *,
    length: int,
    task: Literal["nsp", "none"],
    short_seq_prob: float,
    seed: int,
    vocab: Vocab,
    dupe_factor: int = 1,
    counts: PairCounts | None = None,
) -> Iterator[Example]:
    """All examples of some documents, `dupe_factor` times over, each time paired anew.

    The examples of a document depend on the list (the other documents for label 1 come from it) and the seed, on nothing else.

    Args:
        documents: with different ids; those without pieces are passed over.
        length: most pieces of an example, [CLS] and [SEP] counted; at least 8.
        task: `nsp`: two segments, half of them with label 1 if there are two documents. `none`: whole sentences, one segment.
        short_seq_prob: share of sequences that aim at a random shorter length. Drawn for each sequence (BERT draws it for a
            document, which makes all sequences of a long one short).
        counts: added to.
    """
    assert length >= 8, f"length {length} has no room for pairs"
    counts = counts if counts is not None else PairCounts()
    full = [document for document in documents if document.sentence_ends]
    for index, document in enumerate(full):
        ordinal = 0
        for dupe in range(dupe_factor):
            draw = _Draws(
                generator(seed, dupe, document.document_id, _PURPOSE), length - (3 if task == "nsp" else 2), short_seq_prob
            )
            counts.pieces += len(document.ids)
            segments = _pairs(full, index, draw, counts) if task == "nsp" else _singles(document, draw, counts)
            for first, second, label in segments:
                counts.examples += 1
                yield _example(document.document_id, ordinal, seed, vocab, first, second, label)
                ordinal += 1


Segment = tuple[Ids, Flags]


@dataclass(frozen=True, slots=True)
class _Draws:
    """The random decisions for one document."""

    rng: np.random.Generator
    room: int
    """Most pieces of a sequence, without specials."""
    short_seq_prob: float

    def below(self, number: int) -> int:
        return int(self.rng.random() * number)  # a tenth of the time of rng.integers, and the same in every version of numpy

    def target(self) -> int:
        """How many pieces the next sequence aims at."""
        short = self.rng.random() < self.short_seq_prob
        return 2 + self.below(self.room - 1) if short else self.room


def _singles(document: DocumentPieces, draw: _Draws, counts: PairCounts) -> Iterator[tuple[Segment, None, None]]:
    """As many whole sentences as there is room for; a longer sentence is cut into several examples."""
    at, ends = 0, document.sentence_ends
    while at < ends[-1]:
        last = bisect_right(ends, at + draw.target()) - 1
        end = ends[last] if last >= 0 and ends[last] > at else ends[bisect_right(ends, at)]
        if end - at > draw.room:
            end = _fit(document, at, draw.room)
            counts.cut_sentences += 1
        yield (document.ids[at:end], document.unit_starts[at:end]), None, None
        at = end


def _pairs(
    documents: Sequence[DocumentPieces], index: int, draw: _Draws, counts: PairCounts
) -> Iterator[tuple[Segment, Segment, int]]:
    document = documents[index]
    at, ends = 0, document.sentence_ends
    while at < ends[-1]:
        end = ends[min(bisect_left(ends, at + draw.target()), len(ends) - 1)]
        if full := end - at > draw.room:
            end = _fit(document, at, draw.room)
        middle, inside = _middle(document, at, end, draw)
        one_word = middle == end
        other = _other(documents, index, draw) if draw.below(2) or one_word else None
        first = document.ids[at:middle], document.unit_starts[at:middle]
        if other is not None:
            room = draw.room - (middle - at)
            second = _borrow(other, room if full else min(room, (end - middle) or (end - at)), room, inside, draw)
            counts.random_next += 1
            counts.borrowed_pieces += len(second[0])
            yield first, second, 1
            at = middle  # what would have been B is put back
        elif one_word:
            counts.lost_pieces += end - at
            at = end
        else:
            counts.cut_sentences += full
            yield first, (document.ids[middle:end], document.unit_starts[middle:end]), 0
            at = end


def _middle(document: DocumentPieces, at: int, end: int, draw: _Draws) -> tuple[int, bool]:
    """Where A ends: after a random sentence but the last. A single sentence is parted near its middle, at a word (second result
    True), so that short reviews learn both labels; BERT gives them only label 1. `end` if there is a single word."""
    ends = document.sentence_ends
    first, last = bisect_right(ends, at), bisect_left(ends, end)
    if first < last:
        return ends[first + draw.below(last - first)], False
    words = at + 1 + np.flatnonzero(document.unit_starts[at + 1 : end])
    if len(words):
        return int(words[np.abs(2 * words - at - end).argmin()]), True
    return (end, False) if end - at <= draw.room // 2 else ((at + end) // 2, True)


def _other(documents: Sequence[DocumentPieces], index: int, draw: _Draws) -> DocumentPieces | None:
    """Any document but this one; None if there is no other."""
    number = len(documents)
    if number == 1:
        return None
    other = documents[(index + 1 + draw.below(number - 1)) % number]
    assert other.document_id != documents[index].document_id, f"document {other.document_id} is there twice"
    return other


def _borrow(document: DocumentPieces, wanted: int, room: int, inside: bool, draw: _Draws) -> Segment:
    """About `wanted` and at most `room` pieces from a random sentence on, or from inside it; less if the document is short.

    `wanted` == `room` fills the room, else the last sentence is whole, if it fits: as the B ends that is replaced.
    """
    ends = document.sentence_ends
    sentence = draw.below(1 + bisect_right(ends, ends[-1] - wanted))
    start = ends[sentence - 1] if sentence else 0
    if inside:
        middle, _ = _middle(document, start, ends[sentence], draw)
        start = middle if middle < ends[sentence] else start
    if wanted == room:
        end = ends[-1]
    else:
        later = max(bisect_left(ends, start + wanted), sentence)
        end = min(ends[sentence : later + 1], key=lambda end: abs(end - start - wanted))
    if end - start > room:
        end = _fit(document, start, room)
    return document.ids[start:end], document.unit_starts[start:end]


def _fit(document: DocumentPieces, at: int, room: int) -> int:
    """The last end of a word that leaves at most `room` pieces after `at`; inside a word only if it is longer than that."""
    words = np.flatnonzero(document.unit_starts[at + 1 : at + room + 1])
    return at + 1 + int(words[-1]) if len(words) else at + room


def _example(
    document_id: int, ordinal: int, seed: int, vocab: Vocab, first: Segment, second: Segment | None, label: int | None
) -> Example:
    """[CLS] A [SEP], or [CLS] A [SEP] B [SEP]."""
    second_start = len(first[0]) + 2
    length = second_start + (len(second[0]) + 1 if second else 0)
    ids = np.full(length, vocab.sep_id, dtype=first[0].dtype)
    units = np.ones(length, dtype=np.bool_)
    ids[0] = vocab.cls_id
    ids[1 : second_start - 1], units[1 : second_start - 1] = first
    units[1] = True  # A may go on inside a word that is longer than a whole sequence
    if second:
        ids[second_start:-1], units[second_start:-1] = second
        units[second_start] = True
    return Example(
        document_id, ordinal, _example_id(document_id, ordinal, seed), ids, units, second_start if second else 0, label
    )


def _example_id(document_id: int, ordinal: int, seed: int) -> int:
    content = struct.pack("<QQQ", document_id, ordinal, seed & ((1 << 64) - 1))
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
