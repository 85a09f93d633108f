"""Documents to training examples: which sentences stand together in one sequence.

    document     习近平出席会议。 | 会议强调改革。 | 与会者表示赞同。 | 天气晴。            (sentences)
    nsp          [CLS] 习近平出席会议。会议强调改革。 [SEP] 与会者表示赞同。天气晴。 [SEP]     label 0: B follows A
                 [CLS] 习近平出席会议。 [SEP] 这本书很好看。 [SEP]                           label 1: B is from elsewhere
    none         [CLS] 习近平出席会议。会议强调改革。与会者表示赞同。天气晴。 [SEP]             no label

No text is lost: what does not fit goes into the next sequence. How pairs are made is in next_sentence.py.
"""

import hashlib
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.next_sentence import Draws, Stretch, fit, pairs
from pipeline.sentences import split_sentences
from pipeline.streams import generator
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
            rng = generator(seed, dupe, document.document_id, _PURPOSE)
            draws = Draws(rng, length - (3 if task == "nsp" else 2), short_seq_prob)
            counts.pieces += len(document.ids)
            segments = pairs(full, index, draws, counts) if task == "nsp" else _singles(document, draws, counts)
            for first, second, label in segments:
                counts.examples += 1
                yield _example(ordinal, seed, vocab, first, second, label)
                ordinal += 1


def _singles(document: DocumentPieces, draws: Draws, counts: PairCounts) -> Iterator[tuple[Stretch, None, None]]:
    """As many whole sentences as there is room for; a longer sentence is cut into several examples."""
    at, ends = 0, document.sentence_ends
    while at < ends[-1]:
        last = bisect_right(ends, at + draws.target()) - 1
        sentence_end = ends[last] if last >= 0 and ends[last] > at else ends[bisect_right(ends, at)]
        end = fit(document, at, sentence_end, draws.room)
        counts.cut_sentences += end < sentence_end
        yield Stretch(document, at, end), None, None
        at = end


def _example(ordinal: int, seed: int, vocab: Vocab, first: Stretch, second: Stretch | None, label: int | None) -> Example:
    """[CLS] A [SEP], or [CLS] A [SEP] B [SEP]."""
    document = first.document
    second_start = first.end - first.start + 2
    length = second_start + (second.end - second.start + 1 if second else 0)
    ids = np.full(length, vocab.sep_id, dtype=document.ids.dtype)
    units = np.ones(length, dtype=np.bool_)
    ids[0] = vocab.cls_id
    for start, stretch in ((1, first), (second_start, second)):
        if stretch is not None:
            end = start + stretch.end - stretch.start
            ids[start:end] = stretch.document.ids[stretch.start : stretch.end]
            units[start:end] = stretch.document.unit_starts[stretch.start : stretch.end]
            units[start] = True  # it may go on inside a word that is longer than a whole sequence
    example_id = _example_id(document.document_id, ordinal, seed)
    return Example(document.document_id, ordinal, example_id, ids, units, second_start if second else 0, label)


def _example_id(document_id: int, ordinal: int, seed: int) -> int:
    content = struct.pack("<QQQ", document_id, ordinal, seed & ((1 << 64) - 1))
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
