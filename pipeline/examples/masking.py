"""Whole-word masking: which tokens are masked, and what the network sees in their place.

    words          |     | 北京    | 大学    | 的 | 图书馆       |
    tokens         [CLS]   北   京   大   学   的   图   书   馆   [SEP]     input_ids, as in shards
    units            1     1    0    1    0    1    1    0    0    1         1 = a unit starts (a jieba word, or [CLS] or [SEP])
    positions                                       6    7    8              whole units, 15 % of all tokens
    replacements                                  [MASK] 书  [MASK]          each 80 % [MASK], 10 % itself, 10 % any token
    labels                                          图   书   馆             input_ids[positions]

The same function draws the static masks of shards and the new masks of a training epoch. Imports numpy only.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Floats, Hashes, Ints, TokenIds, ranges
from pipeline.config import MaskingConfig, PairsConfig
from pipeline.examples import random_streams
from pipeline.examples.masking_units import SPAN_LENGTHS, Units, units_of_spans, units_on_a_circle
from pipeline.examples.sequences import Sequences

if TYPE_CHECKING:
    from pipeline.tokenization.vocab import Vocab

CHUNK_TOKENS = 1 << 15
"""Tokens that are masked at once: the arrays then stay in the processor's cache."""


@dataclass(frozen=True, eq=False)
class MaskingRules:
    """How masks are drawn, the same for all examples of a corpus."""

    mask_id: int
    replacements: Ints
    """Ids to choose random replacements from: see `replacement_ids`."""
    rate: float = 0.15
    """Ratio of tokens to predict, with [CLS] and [SEP] counted as in BERT."""
    max_predictions: int = 0
    """Maximum number of predicted tokens per example; 0 = no limit."""
    spans: tuple[float, ...] = ()
    """The fractions of spans with up to 1, 2, 3, ... words (masking_units.SPAN_LENGTHS). A span is drawn and replaced as a
    whole, as in SpanBERT. Empty: each unit is drawn by itself."""
    separator: int = -1
    """The token between documents within a sequence, which is never masked; -1 if there is none."""

    @classmethod
    def of(cls, vocab: "Vocab", masking: MaskingConfig, pairs: PairsConfig) -> "MaskingRules":
        """Return the rules of a recipe, or of the manifest of shards."""
        separator = vocab.sep_id if pairs.layout == "full_sentences" else -1
        spans, most = SPAN_LENGTHS.get(masking.policy, ()), masking.max_predictions_per_seq
        return cls(vocab.mask_id, replacement_ids(vocab), masking.masked_lm_prob, most, spans, separator)


def replacement_ids(vocab: "Vocab") -> Ints:
    """Return the ids of tokens that can start a word of a text.

    Excluded are tokens that no text contains (special tokens, [unused7], <S>) and `##` tokens: Google's Chinese vocabulary has
    7,322 of `##` + ideograph which its tokenizer never produces, so their embeddings would be trained on noise alone. BERT's
    script (create_masked_lm_predictions) draws from all tokens.
    """
    usable = [
        number for number, token in enumerate(vocab.tokens) if not (len(token) > 1 and (token[0] in "[<" or token[:2] == "##"))
    ]
    return np.array(usable, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Masks:
    """Concatenated masks: sequence after sequence, draw after draw. Labels are `input_ids` at the positions."""

    positions: NDArray[np.uint16]
    """(predictions,) position of each masked token in its sequence, rising."""
    replacements: TokenIds
    """(predictions,) what replaces each token, in the type of `input_ids`."""
    lengths: Ints
    """(n, draws) number of predictions of each draw of each sequence."""


def static_masks(number: int, seed: int, sequences: Sequences, rules: MaskingRules) -> Masks:
    """Draw `number` masks per sequence, as stored in shards. Draw d is the mask that training would draw in epoch d."""
    return draw(seed, np.broadcast_to(np.arange(number), (len(sequences), number)), sequences, rules)


def draw(seed: int, epochs: Ints, sequences: Sequences, rules: MaskingRules) -> Masks:
    """Draw masks.

    Every unit, long or short, is masked with the same probability, and the expected number of masked tokens is exactly
    `rate` x the length. For this the units are put on a circle in random order, and those that start within a randomly placed
    window of that many tokens are masked. (BERT takes units until one exceeds the budget and skips that one, so words of three
    tokens are masked less often than words of one.) The number of masked tokens varies around the budget by the length of a
    word. If no unit starts in the window, the unit that contains it is masked, so every example has a prediction.
    `max_predictions` is a hard limit: a unit that exceeds it is left out.

    Special tokens are never masked. They are recognised by position, not by id.

    Args:
        epochs: (n, draws) the epoch of each draw, the only thing in which the draws of a sequence differ.
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


def _draw(seed: int, epochs: Ints, sequences: Sequences, rules: MaskingRules) -> Masks:
    """Draw masks for as many sequences as fit in the processor's cache."""
    # From here on there is a row per draw: n is the number of draws of all sequences.
    rows = np.repeat(np.arange(len(sequences)), epochs.shape[1])
    names, epoch = sequences.example_ids[rows], epochs.ravel()
    units = Units.of(sequences, rules.separator).take(rows)

    # (n,) tokens to mask.
    budgets = rules.rate * np.diff(sequences.offsets)[rows]
    if rules.max_predictions:
        budgets = np.minimum(budgets, rules.max_predictions)
    windows = np.minimum(budgets, units.lengths.sum(axis=1))

    # Random numbers of a row: one per unit, for the order; one for the start of the window; one per token that may be masked.
    most = windows.astype(np.int64) + 1 + units.lengths.max(axis=1)
    counts = units.counts + 1 + most
    random, at = random_streams.numbers(seed, epoch, names, counts), np.cumsum(counts) - counts
    order = _per_unit(random, at, units)
    if rules.spans:
        # All words of a span get the number of its first word.
        spans, fate_of_span = _spans(seed, epoch, names, units, rules.spans)
        order = np.take_along_axis(order, spans, axis=1)

    # Choose units, then list their tokens: `places` (predictions,) in the flat arrays.
    choose = units_of_spans if rules.spans else units_on_a_circle
    masked = choose(order, random[at + units.counts], units.lengths, windows, rules.max_predictions)
    row, column = np.nonzero(masked)
    taken = units.lengths[row, column]
    places = ranges(units.firsts[row, column], taken)
    number = np.bincount(row, weights=taken, minlength=len(rows)).astype(np.int64)

    # Choose replacements.
    own = random.take(ranges(at + units.counts + 1, number))
    if rules.spans:
        fates = np.repeat(fate_of_span[row, spans[row, column]], taken)
        choices = own * len(rules.replacements)
    else:
        # The same number serves twice: given that it is in [0.9, 1), its position there is uniform.
        fates, choices = own, (own - 0.9) * (10 * len(rules.replacements))
    replacements = _replace(fates, choices, sequences.input_ids.take(places), rules)
    positions = (places - np.repeat(sequences.offsets[rows[row]], taken)).astype(np.uint16)
    return Masks(positions, replacements, number.reshape(epochs.shape))


def _per_unit(random: Floats, at: Ints, units: Units) -> Floats:
    """Return the numbers of each row from `at` (n,) on, one per unit, 1.0 after the last: (n, units)."""
    column = np.arange(units.lengths.shape[1])
    numbers = random.take(at[:, None] + column, mode="clip")
    return np.where(column < units.counts[:, None], numbers, 1.0)


def _spans(seed: int, epoch: Ints, names: Hashes, units: Units, lengths: tuple[float, ...]) -> tuple[Ints, Floats]:
    """Return the first word of each word's span, (n, units), and a random number for the replacement of each, (n, units)."""
    counts = 2 * units.counts
    random, at = random_streams.numbers(seed, epoch, names, counts, random_streams.SPANS), np.cumsum(counts) - counts
    return units.spans(_per_unit(random, at, units), lengths), _per_unit(random, at + units.counts, units)


def _replace(fates: Floats, choices: Floats, labels: TokenIds, rules: MaskingRules) -> TokenIds:
    """Replace 80 % of tokens by [MASK] and 10 % by a random token, keep 10 % (BERT paper, section 3.1).

    Args:
        fates: (predictions,) in [0, 1): decides which of the three.
        choices: (predictions,) index of the random token, 0 <= choice <= their number.
        labels: (predictions,) the original tokens.
    """
    replacements = np.where(fates < 0.8, labels.dtype.type(rules.mask_id), labels)
    swapped = np.flatnonzero(fates >= 0.9)
    chosen = np.minimum(choices[swapped].astype(np.int64), len(rules.replacements) - 1)
    replacements[swapped] = rules.replacements[chosen]
    return replacements
