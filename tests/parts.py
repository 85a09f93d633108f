"""Single documents and examples for tests: joined to parts for pipeline.examples.pairs, whose results are split again."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.config import CorpusConfig, PairsConfig
from pipeline.examples import pairs
from pipeline.examples.pairs import Documents, PairCounts
from pipeline.tokenization.encoder import TextEncoder
from pipeline.tokenization.sentences import LIMIT, sentence_ends
from pipeline.tokenization.vocab import Vocab


class Document(NamedTuple):
    """A document as tokens. Sentence ends count from its own start."""

    document_id: int
    ids: NDArray[Any]
    unit_starts: NDArray[np.bool_]
    sentence_ends: list[int]


class Example(NamedTuple):
    """One sequence, unpadded."""

    document_id: int
    ordinal: int
    example_id: int
    input_ids: NDArray[Any]
    unit_starts: NDArray[np.bool_]
    second_start: int
    pair_label: int | None


def encode(texts: list[str], vocab: Vocab) -> list[Document]:
    """Encode texts, numbered from 0; words are masking units."""
    config = CorpusConfig(sources=(), sequence_lengths=(128,))
    encoded = TextEncoder(vocab, config).encode(texts)
    result = []
    for number, (start, end) in enumerate(itertools.pairwise(encoded.document_starts.tolist())):
        ends = encoded.sentence_ends[(encoded.sentence_ends > start) & (encoded.sentence_ends <= end)] - start
        result.append(Document(number, encoded.ids[start:end], encoded.unit_starts[start:end], ends.tolist()))
    return result


def join(documents: Sequence[Document]) -> Documents:
    """Concatenate documents."""
    starts = np.zeros(len(documents) + 1, np.int64)
    np.cumsum([len(one.ids) for one in documents], out=starts[1:])
    ends = [np.array(one.sentence_ends, np.int64) + start for one, start in zip(documents, starts[:-1], strict=True)]
    return Documents(
        np.concatenate([np.empty(0, np.uint16), *(one.ids for one in documents)]),
        np.concatenate([np.empty(0, np.bool_), *(one.unit_starts for one in documents)]),
        np.concatenate([np.empty(0, np.int64), *ends]),
        starts,
        np.array([one.document_id for one in documents], np.uint64),
    )


def build(
    documents: Sequence[Document],
    *,
    length: int,
    vocab: Vocab,
    seed: int = 1,
    counts: PairCounts | None = None,
    **settings: Any,
) -> list[Example]:
    """Build the examples of documents; `settings` are those of `[pairs]`."""
    config = PairsConfig(**settings)
    result = []
    counts = counts if counts is not None else PairCounts()
    for many in pairs.build(join(documents), length=length, pairs=config, seed=seed, vocab=vocab, counts=counts):
        sequences = many.sequences
        for i, (start, end) in enumerate(itertools.pairwise(sequences.offsets.tolist())):
            label = int(many.pair_labels[i])
            result.append(
                Example(
                    int(many.document_ids[i]),
                    int(many.ordinals[i]),
                    int(sequences.example_ids[i]),
                    sequences.input_ids[start:end],
                    sequences.unit_starts[start:end],
                    int(sequences.second_starts[i]),
                    None if label == pairs.NO_LABEL else label,
                )
            )
    return result


def split_sentences(text: str, limit: int = LIMIT) -> list[str]:
    """Return the sentences of a text, stripped, without empty ones; see `sentence_ends`.

    Joined and freed of white space, the sentences are the text freed of white space.
    """
    ends = sentence_ends(text, limit).tolist()
    sentences = (text[start:end].strip() for start, end in itertools.pairwise([0, *ends]))
    return [sentence for sentence in sentences if sentence]
