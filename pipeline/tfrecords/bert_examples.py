"""Convert the pretraining examples of BERT's create_pretraining_data.py (and of NEZHA's and ALBERT's) to shards and back.

    input_ids             [CLS] 他 出 生 在 [MASK] [MASK] 。 [SEP] 0 0 ...      padded; masked tokens are already replaced
    input_mask              1   1  1  1  1    1      1    1    1   0 0 ...
    segment_ids             0   0  0  0  0    0      0    0    0   0 0 ...      1 in segment B
    masked_lm_positions     5   6  0 0 ...                                      padded to max_predictions_per_seq
    masked_lm_ids           北  京 0 0 ...                                      the labels, from which the text is restored
    masked_lm_weights      1.0 1.0 0.0 0.0 ...
    next_sentence_labels    0

These files have no word or document boundaries: every token becomes a masking unit, and the document id is a hash of the text.
"""

import hashlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from pipeline.arrays import Array, Ints
from pipeline.errors import CorpusError
from pipeline.examples.masking import Masks
from pipeline.examples.pairs import Examples
from pipeline.examples.segments import NO_LABEL
from pipeline.examples.sequences import Sequences
from pipeline.examples.shards import Row
from pipeline.tfrecords.tfrecord import decode, encode, read_records
from pipeline.tokenization import encoded
from pipeline.tokenization.vocab import Vocab

TOKENS = ("input_ids", "input_mask", "segment_ids")
PREDICTIONS = ("masked_lm_positions", "masked_lm_ids", "masked_lm_weights")
NEEDED = (*TOKENS, *PREDICTIONS)
LABEL = "next_sentence_labels"

RECORDS_AT_A_TIME = 512

Columns = dict[str, Array]
"""Features of some records by name: arrays (records, values)."""


def read_examples(url: str) -> Iterator[Columns]:
    """Yield the features of the records of a file, RECORDS_AT_A_TIME records at a time.

    Raises: CorpusError for a damaged file, and for records that are not pretraining examples or differ in length.
    """
    records, number = read_records(url), 0
    while some := [_features(url, number + i, one) for i, one in enumerate(islice(records, RECORDS_AT_A_TIME))]:
        names = [name for name in (*NEEDED, LABEL) if name in some[0]]
        for name in names:
            for i, features in enumerate(some):
                if len(features.get(name, ())) != len(some[0][name]):
                    raise CorpusError(
                        f"{url}: record {number + i} has a different number of {name} than the others; create the file again"
                    )
        columns = {name: np.array([features[name] for features in some]) for name in names}
        _check_kinds(columns, f"{url}: records from {number} on")
        yield columns
        number += len(some)


def _features(url: str, number: int, record: bytes) -> dict[str, list[Any]]:
    try:
        features = decode(record)
    except ValueError as error:
        raise CorpusError(f"{url}: record {number} is not a tf.train.Example ({error})") from error
    if missing := [name for name in NEEDED if name not in features]:
        raise CorpusError(f"{url}: record {number} lacks {', '.join(missing)}; was it made by create_pretraining_data?")
    return features


def _check_kinds(columns: Columns, where: str) -> None:
    """Check that features are numbers, and that those of one thing have as many values."""
    for name, values in columns.items():
        if values.dtype.kind not in ("if" if name == "masked_lm_weights" else "i"):
            raise CorpusError(f"{where}: {name} are not numbers of the right type; were they made by create_pretraining_data?")
    for names in (TOKENS, PREDICTIONS):
        if len({columns[name].shape for name in names}) > 1:
            raise CorpusError(f"{where} have different numbers of {', '.join(names)}; create the file again")


def restore(columns: Columns, vocab: Vocab, where: str) -> tuple[Examples, Masks]:
    """Restore the original tokens of some examples, and the one mask that they came with.

    Args:
        where: the place named in error messages.

    Raises: CorpusError for features that contradict each other or were made with another vocabulary.
    """
    # What the network sees, (n, padded length), and the number of tokens of each example, (n,).
    shown, lengths = columns["input_ids"], columns["input_mask"].sum(axis=1)
    # Where segment B starts, (n,); 0 = one segment.
    segment = columns["segment_ids"]
    second = np.where(segment.any(axis=1), segment.argmax(axis=1), 0)
    # One entry per prediction: its example and its position.
    row, column = np.nonzero(columns["masked_lm_weights"] > 0)
    positions = columns["masked_lm_positions"][row, column]
    _check_places(columns, lengths, second, row, positions, where)
    # Put the labels back in the place of [MASK].
    original = shown.copy()
    original[row, positions] = columns["masked_lm_ids"][row, column]
    _check_ids(original, shown, lengths, second, vocab, where)

    # Masks need rising positions, which files do not promise.
    order = np.lexsort((positions, row))
    row, positions = row[order], positions[order]
    number = len(shown)
    kind = np.dtype(str(encoded.id_type(len(vocab))))
    labels = columns[LABEL][:, 0] if LABEL in columns else np.full(number, NO_LABEL)
    predictions = np.bincount(row, minlength=number)[:, None]
    masks = Masks(positions.astype(np.uint16), shown[row, positions].astype(kind), predictions)
    # Document ids hash the text alone, so copies with other masks stay together; example ids hash everything.
    texts = [_hash(ids[:length]) for ids, length in zip(original, lengths.tolist(), strict=True)]
    names = [_hash(ids) for ids in np.concatenate((original, shown, labels[:, None]), axis=1)]
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    tokens = original[np.arange(shown.shape[1]) < lengths[:, None]].astype(kind)
    sequences = Sequences(np.array(names, np.uint64), tokens, np.ones(len(tokens), np.bool_), offsets, second)
    return Examples(sequences, np.array(texts, np.uint64), np.zeros(number, np.int64), labels.astype(np.uint8)), masks


def _check_places(columns: Columns, lengths: Ints, second: Ints, row: Ints, positions: Ints, where: str) -> None:
    """Check lengths (n,), starts of B (n,), and the masked places: `row` and `positions`, both (predictions,)."""
    place = np.arange(columns["input_ids"].shape[1])
    inside = place < lengths[:, None]
    _require(where, "input_mask is 1 up to the end of the text", np.nonzero(columns["input_mask"] != inside)[0])
    in_second = inside & (place >= second[:, None]) & (second > 0)[:, None]
    _require(where, "segment_ids are 0 in A and 1 in B", np.nonzero(columns["segment_ids"] != in_second)[0])
    outside = (positions < 1) | (positions >= lengths[row] - 1) | (positions == second[row] - 1)
    _require(where, "only text is masked", row[outside])


def _check_ids(original: Ints, shown: Ints, lengths: Ints, second: Ints, vocab: Vocab, where: str) -> None:
    """Check the ids of `original` and `shown`, both (n, padded length), against the vocabulary."""
    strange = (np.maximum(original, shown) >= len(vocab)) | (np.minimum(original, shown) < 0)
    _require(where, f"ids are below {len(vocab)}, the size of this vocabulary", np.nonzero(strange)[0])
    rows = np.arange(len(original))
    ends = np.stack((original[:, 0], original[rows, lengths - 1], original[rows, np.maximum(second - 1, 0)]))
    middle = np.where(second, vocab.sep_id, vocab.cls_id)  # with one segment, `ends` has its first token here again
    specials = np.stack((np.full_like(rows, vocab.cls_id), np.full_like(rows, vocab.sep_id), middle))
    _require(where, "[CLS] and [SEP] of this vocabulary are at their places", np.nonzero(ends != specials)[1])


def _require(where: str, rule: str, broken: Ints) -> None:
    """Raise CorpusError unless `broken`, the numbers of records that break a rule, is empty."""
    if len(broken):
        raise CorpusError(
            f"{where}: record {broken[0]} breaks the rule that {rule}; was it made with this vocabulary, and by BERT's script?"
        )


def _hash(numbers: Array) -> int:
    return int.from_bytes(hashlib.blake2b(numbers.tobytes(), digest_size=8).digest(), "little")


def record(row: Row, draw: int, sequence_length: int, max_predictions: int, pad_id: int) -> bytes:
    """Return a row with one of its masks as a padded tf.train.Example.

    Raises: CorpusError for a mask of more than `max_predictions`.
    """
    positions, replacements = row.draws[draw]
    length, number = len(row.input_ids), len(positions)
    if number > max_predictions:
        raise CorpusError(
            f"a row has {number} predictions, more than {max_predictions}; raise max_predictions, or set 0 for no limit"
        )
    padding, rest = sequence_length - length, max_predictions - number
    shown = row.input_ids.astype(np.int64)
    shown[positions] = replacements
    second = row.second_start or length
    return encode(
        {
            "input_ids": shown.tolist() + [pad_id] * padding,
            "input_mask": [1] * length + [0] * padding,
            "segment_ids": [0] * second + [1] * (length - second) + [0] * padding,
            "masked_lm_positions": positions.tolist() + [0] * rest,
            "masked_lm_ids": row.input_ids[positions].tolist() + [0] * rest,
            "masked_lm_weights": [1.0] * number + [0.0] * rest,
            LABEL: [row.pair_label or 0],
        }
    )
