"""Whole-word masking: which tokens are hidden, and what the network sees in their place.

    words          |     | 北京    | 大学    | 的 | 图书馆       |
    tokens         [CLS]   北   京   大   学   的   图   书   馆   [SEP]     input_ids, what shards hold
    units            1     1    0    1    0    1    1    0    0    1         1 = a unit begins (a jieba word; specials alone)
    positions                                       6    7    8              whole units, 15 % of all tokens
    replacements                                  [MASK] 书  [MASK]          each 80 % [MASK], 10 % itself, 10 % any token
    labels                                          图   书   馆             input_ids[positions]

The same function draws the static masks of shards and the fresh masks of a training epoch. Imports numpy only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import TokenIds
from pipeline.config import MaskingConfig, PairsConfig
from pipeline.examples import random_streams
from pipeline.examples.masking_units import SPAN_LENGTHS, Units, units_of_spans, units_on_a_circle
from pipeline.examples.sequences import Sequences

if TYPE_CHECKING:
    from pipeline.tokenization.vocab import Vocab

CHUNK_TOKENS = 1 << 15
"""Sequences are masked by so many tokens at a time: the arrays then stay in the processor's cache."""


@dataclass(frozen=True, eq=False)
class MaskingRules:
    """How masks are drawn; the same for every example of a corpus."""

    mask_id: int
    replacements: NDArray[np.int64]
    """Ids that a random replacement may have: see `replacement_ids`."""
    rate: float = 0.15
    """Share of tokens, [CLS] and [SEP] counted (as BERT counts), that are predicted."""
    max_predictions: int = 0
    """Most tokens predicted in an example; 0 = no limit."""
    spans: tuple[float, ...] = ()
    """Which fraction of the spans has up to 1, 2, 3, ... words (masking_units.SPAN_LENGTHS). A span is drawn and replaced as a
    whole, as in SpanBERT. Empty: each unit is drawn by itself."""
    separator: int = -1
    """The token that parts documents inside a sequence, if they are parted; it is never hidden."""

    @classmethod
    def of(cls, vocab: "Vocab", masking: MaskingConfig, pairs: PairsConfig) -> "MaskingRules":
        """The rules of a recipe, or of the manifest of shards."""
        separator = vocab.sep_id if pairs.layout == "full_sentences" else -1
        spans, most = SPAN_LENGTHS.get(masking.policy, ()), masking.max_predictions_per_seq
        return cls(vocab.mask_id, replacement_ids(vocab), masking.masked_lm_prob, most, spans, separator)


def replacement_ids(vocab: "Vocab") -> NDArray[np.int64]:
    """Ids of tokens that can begin a word of a text.

    Not the special tokens, [unused7] and <S>, which no text contains, and not `##` tokens: Google's Chinese vocabulary has
    7,322 of `##` + ideograph that its tokenizer never makes; shown to the network, their rows would be learnt from noise
    alone. BERT's script (create_masked_lm_predictions) draws from all of them.
    """
    usable = [
        number for number, token in enumerate(vocab.tokens) if not (len(token) > 1 and (token[0] in "[<" or token[:2] == "##"))
    ]
    return np.array(usable, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Masks:
    """Masks laid end to end, draw after draw, sequence after sequence. Labels are `input_ids` at the positions."""

    positions: NDArray[np.uint16]
    """(predictions,) rising places of the hidden tokens in their sequence."""
    replacements: TokenIds
    """(predictions,) what stands there instead, in the type of `input_ids`."""
    lengths: NDArray[np.int64]
    """(n, draws) how many predictions belong to each draw of each sequence."""


def static_masks(number: int, seed: int, sequences: Sequences, rules: MaskingRules) -> Masks:
    """`number` draws for every sequence, as shards hold them: draw d is the mask of epoch d, were it drawn while training."""
    return draw(seed, np.broadcast_to(np.arange(number), (len(sequences), number)), sequences, rules)


def draw(seed: int, epochs: NDArray[np.int64], sequences: Sequences, rules: MaskingRules) -> Masks:
    """Draws masks.

    Every unit, long or short, is hidden with the same probability, and the expected number of hidden tokens is exactly
    `rate` x the length: the units are laid on a circle in random order, and those that begin within a window of that many
    tokens, put down at random, are taken. (BERT takes units until one overflows the budget, and skips that: words of three
    tokens are then hidden less often than single ones.) The number hidden so varies by a word's length around the budget.
    Where no unit begins in the window, the unit in which it lies is taken, so that every example has something to predict.
    `max_predictions` is a hard limit: the unit that overflows it is left out.

    Specials are never hidden, whatever ids they have: they are known by position.

    Args:
        epochs: (n, draws) the epochs for which each sequence is masked: draws of a sequence differ only by these.
    """
    rows = max(1, CHUNK_TOKENS * len(sequences) // max(1, len(sequences.input_ids) * max(1, epochs.shape[1])))
    parts = [
        _draw(seed, epochs[start : start + rows], sequences.slice(start, min(start + rows, len(sequences))), rules)
        for start in range(0, len(sequences) if epochs.shape[1] else 0, rows)
    ]
    return Masks(
        np.concatenate([part.positions for part in parts] or [np.empty(0, np.uint16)]),
        np.concatenate([part.replacements for part in parts] or [sequences.input_ids[:0]]),
        np.concatenate([part.lengths for part in parts] or [np.empty(epochs.shape, np.int64)]),
    )


def _draw(seed: int, epochs: NDArray[np.int64], sequences: Sequences, rules: MaskingRules) -> Masks:
    """`draw` for as many sequences as fit in the processor's cache."""
    rows = np.repeat(np.arange(len(sequences)), epochs.shape[1])  # one a draw from here on
    names, epoch = sequences.example_ids[rows], epochs.ravel()
    units = Units.of(sequences, rules.separator).take(rows)
    budgets = rules.rate * np.diff(sequences.offsets)[rows]
    if rules.max_predictions:
        budgets = np.minimum(budgets, rules.max_predictions)
    windows = np.minimum(budgets, units.lengths.sum(axis=1))
    most = windows.astype(np.int64) + 1 + units.lengths.max(axis=1)  # tokens that may be hidden, each of which needs a number
    counts = units.counts + 1 + most
    random, at = random_streams.numbers(seed, epoch, names, counts), np.cumsum(counts) - counts
    order = _rows(random, at, units)
    if rules.spans:
        spans, fate_of_span = _spans(seed, epoch, names, units, rules.spans)
        order = np.take_along_axis(order, spans, axis=1)
    choose = units_of_spans if rules.spans else units_on_a_circle
    hidden = choose(order, random[at + units.counts], units.lengths, windows, rules.max_predictions)
    row, column = np.nonzero(hidden)
    taken = units.lengths[row, column]
    places = ranges(units.firsts[row, column], taken)
    number = np.bincount(row, weights=taken, minlength=len(rows)).astype(np.int64)
    own = random.take(ranges(at + units.counts + 1, number))
    if rules.spans:
        fates = np.repeat(fate_of_span[row, spans[row, column]], taken)
        choices = own * len(rules.replacements)
    else:
        # The same number again: given that it is in [0.9, 1), it is as random as a new one.
        fates, choices = own, (own - 0.9) * (10 * len(rules.replacements))
    replacements = _replace(fates, choices, sequences.input_ids.take(places), rules)
    positions = (places - np.repeat(sequences.offsets[rows[row]], taken)).astype(np.uint16)
    return Masks(positions, replacements, number.reshape(epochs.shape))


def _rows(random: NDArray[np.float64], at: NDArray[np.int64], units: Units) -> NDArray[np.float64]:
    """(n, most) the numbers of each row from `at` on, one a unit; 1.0 where there is none."""
    column = np.arange(units.lengths.shape[1])
    numbers = random.take(at[:, None] + column, mode="clip")
    return np.where(column < units.counts[:, None], numbers, 1.0)


def _spans(
    seed: int, epoch: NDArray[np.int64], names: NDArray[np.uint64], units: Units, lengths: Sequence[float]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(n, most) the first word of each word's span, and (n, most) numbers for the fates of spans."""
    counts = 2 * units.counts
    random, at = random_streams.numbers(seed, epoch, names, counts, random_streams.SPANS), np.cumsum(counts) - counts
    return units.spans(_rows(random, at, units), lengths), _rows(random, at + units.counts, units)


def ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Whole numbers from each start on, so many: starts 5 9, lengths 2 3 -> 5 6 9 10 11."""
    shifts = starts - np.cumsum(lengths) + lengths
    return np.repeat(shifts, lengths) + np.arange(int(lengths.sum()))


def _replace(fates: NDArray[np.float64], choices: NDArray[np.float64], labels: TokenIds, rules: MaskingRules) -> TokenIds:
    """80 % [MASK], 10 % the token itself, 10 % a random token (BERT paper, section 3.1): by the fate of each token.

    `choices`: which of the replacements it would be, 0 <= choice <= their number.
    """
    replacements = np.where(fates < 0.8, labels.dtype.type(rules.mask_id), labels)
    swapped = np.flatnonzero(fates >= 0.9)
    places = np.minimum(choices[swapped].astype(np.int64), len(rules.replacements) - 1)
    replacements[swapped] = rules.replacements[places]
    return replacements
