"""Masks: 15 % of the tokens, 80/10/10, whole words of any length, never a special token, reproducible everywhere."""

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.arrays import TokenIds
from pipeline.config import MaskingConfig, MaskingPolicy, PairsConfig
from pipeline.examples.masking import MaskingRules, Masks, draw, replacement_ids, static_masks
from pipeline.examples.masking_units import SPAN_LENGTHS, Units
from pipeline.examples.random_streams import generator, numbers
from pipeline.examples.sequences import Sequences
from pipeline.tokenization.vocab import SPECIALS, Vocab
from tests import demo_text, parts
from tests.parts import Example
from tests.single_masks import Draw, single_mask

CLS, SEP, MASK = 2, 3, 4
RULES = MaskingRules(MASK, np.arange(100, 200))


def example(lengths: list[int], second: list[int] | None = None) -> tuple[TokenIds, NDArray[np.bool_], int]:
    """Return a sequence of units of these lengths; ids count from 1,000."""
    first_end = 1 + sum(lengths)
    units = [1, *lengths, 1, *([*second, 1] if second else [])]
    starts = np.zeros(sum(units), np.bool_)
    starts[np.cumsum([0, *units[:-1]])] = True
    ids = np.arange(1_000, 1_000 + len(starts), dtype=np.uint16)
    ids[[0, first_end, -1]] = CLS, SEP, SEP
    return ids, starts, first_end + 1 if second else 0


def of_vocabulary() -> MaskingRules:
    return MaskingRules.of(demo_text.vocabulary(), MaskingConfig(), PairsConfig())


def specials(ids: TokenIds, second_start: int) -> set[int]:
    return {0, len(ids) - 1} | ({second_start - 1} if second_start else set())


def whole_units(starts: NDArray[np.bool_], one: Draw) -> bool:
    unit_of_token = np.cumsum(starts)
    hidden = set(unit_of_token[one.positions].tolist())
    return bool(np.array_equal(one.positions, np.flatnonzero(np.isin(unit_of_token, list(hidden)))))


@pytest.fixture(scope="module")
def news() -> list[Example]:
    """Examples of real news: more than 100,000 tokens."""
    return parts.build(demo_text.article_documents(), length=128, vocab=demo_text.vocabulary())


def joined(layouts: list[tuple[TokenIds, NDArray[np.bool_], int]]) -> Sequences:
    """Sequences with the ids 0, 1, 2..."""
    ids, starts, second_starts = zip(*layouts, strict=True)
    return Sequences.join(range(len(layouts)), ids, starts, second_starts)


def single(masks: Masks) -> list[Draw]:
    """The first draw of every sequence, the only one."""
    assert masks.lengths.shape[1] == 1
    ends = masks.lengths[:, 0].cumsum()[:-1]
    return [Draw(*one) for one in zip(np.split(masks.positions, ends), np.split(masks.replacements, ends), strict=True)]


def mask_one(seed: int, ids: TokenIds, starts: NDArray[np.bool_], second_start: int, rules: MaskingRules) -> Draw:
    return single(draw(seed, np.zeros((1, 1), np.int64), joined([(ids, starts, second_start)]), rules))[0]


def masks(examples: list[Example], rules: MaskingRules) -> list[Draw]:
    columns = zip(*((one.example_id, one.input_ids, one.unit_starts, one.second_start) for one in examples), strict=True)
    return single(static_masks(1, 1, Sequences.join(*columns), rules))


def test_the_golden_random_numbers_of_an_example() -> None:
    """Never changes: epochs resumed on another machine must draw the same masks."""
    assert generator(seed=12_345, epoch=3, number=0xFEDC_BA98_7654_3210).random(3).tolist() == GOLDEN_NUMBERS


GOLDEN_NUMBERS = [0.34422019924102887, 0.18676122063407208, 0.4094592307836511]


def test_every_argument_of_the_generator_matters() -> None:
    arguments = [(1, 0, 5, 0), (2, 0, 5, 0), (1, 1, 5, 0), (1, 0, 6, 0), (1, 0, 5, 1), (5, 0, 1, 0)]
    assert len({generator(*one).random() for one in arguments}) == len(arguments)
    assert generator(1, 0, 5).random() == generator(1, 0, 5).random()


def test_a_negative_seed_is_a_seed() -> None:
    assert generator(-1, 0, 5).random() != generator(1, 0, 5).random()


@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_the_share_of_real_news_is_what_was_asked_for(news: list[Example], rate: float) -> None:
    tokens = sum(len(one.input_ids) for one in news)
    hidden = sum(len(one.positions) for one in masks(news, replace(of_vocabulary(), rate=rate)))
    assert tokens > 100_000
    assert hidden / tokens == pytest.approx(rate, abs=0.002)


def test_eight_of_ten_are_masked_one_kept_one_swapped(news: list[Example]) -> None:
    vocab = demo_text.vocabulary()
    drawn = masks(news, of_vocabulary())
    labels = np.concatenate([one.input_ids[mask.positions] for one, mask in zip(news, drawn, strict=True)])
    shown = np.concatenate([mask.replacements for mask in drawn])
    assert np.mean(shown == vocab.mask_id) == pytest.approx(0.8, abs=0.01)
    assert np.mean(shown == labels) == pytest.approx(0.1, abs=0.01)
    swapped = shown[(shown != vocab.mask_id) & (shown != labels)]
    assert len(swapped) / len(shown) == pytest.approx(0.1, abs=0.01)
    assert set(swapped.tolist()) <= set(replacement_ids(vocab).tolist())


def test_real_words_are_hidden_whole_and_specials_never(news: list[Example]) -> None:
    for one, mask in zip(news, masks(news, of_vocabulary()), strict=True):
        assert whole_units(one.unit_starts, mask)
        assert not specials(one.input_ids, one.second_start) & set(mask.positions.tolist())


def test_long_words_are_hidden_as_often_as_short_ones() -> None:
    ids, starts, _ = example([1, 2, 3, 4, 1, 6] * 7)
    firsts, lengths = np.flatnonzero(starts)[1:-1], np.tile([1, 2, 3, 4, 1, 6], 7)
    number = 4_000
    drawn = static_masks(1, 1, joined([(ids, starts, 0)] * number), RULES)
    hidden = np.bincount(drawn.positions, minlength=len(ids))[firsts]
    expected = 0.15 * len(ids) / lengths.sum()  # other tokens make up for the special tokens
    for length in (1, 2, 3, 4, 6):
        assert (hidden[lengths == length] / number).mean() == pytest.approx(expected, abs=0.006)


def test_single_tokens_are_hidden_by_the_budget() -> None:
    ids, starts, _ = example([1] * 126)
    drawn = static_masks(1, 1, joined([(ids, starts, 0)] * 100), RULES)
    assert set(drawn.lengths[:, 0].tolist()) == {19, 20}  # 0.15 x 128 = 19.2


LAYOUTS = st.lists(st.integers(1, 16), min_size=1, max_size=40)


@settings(deadline=None)
@given(LAYOUTS, st.none() | LAYOUTS, st.integers(0, 2**63), st.sampled_from([0.15, 0.01, 0.99]), st.sampled_from([0, 1, 20]))
def test_what_holds_for_every_mask(
    first: list[int], second: list[int] | None, seed: int, rate: float, max_predictions: int
) -> None:
    ids, starts, second_start = example(first, second)
    before = ids.copy()
    mask = mask_one(seed, ids, starts, second_start, MaskingRules(MASK, RULES.replacements, rate, max_predictions))
    assert whole_units(starts, mask)
    assert not specials(ids, second_start) & set(mask.positions.tolist())
    assert len(mask.positions) >= 1 or max_predictions == 1  # no word of one token may have come up
    assert len(mask.positions) <= (max_predictions or len(ids))
    assert mask.positions.dtype == np.uint16 and mask.replacements.dtype == ids.dtype
    seen = ids.copy()
    seen[mask.positions] = mask.replacements
    seen[mask.positions] = ids[mask.positions]
    assert seen.tolist() == before.tolist() == ids.tolist()


def test_specials_are_known_by_place_not_by_id() -> None:
    ids, starts, second_start = example([1] * 6, [1] * 6)
    ids[1:7] = CLS, SEP, MASK, SEP, CLS, MASK
    everything = MaskingRules(MASK, RULES.replacements, rate=0.999)
    assert mask_one(1, ids, starts, second_start, everything).positions.tolist() == [*range(1, 7), *range(8, 14)]


def test_every_replacement_can_come_up_and_no_other() -> None:
    ids, starts, _ = example([1] * 100)
    rules = MaskingRules(MASK, np.array([7, 8, 9]), rate=0.5)
    shown = static_masks(1, 1, joined([(ids, starts, 0)] * 100), rules).replacements
    swapped, numbers = np.unique(shown[(shown < 1_000) & (shown != MASK)], return_counts=True)
    assert swapped.tolist() == [7, 8, 9]
    assert numbers.min() > 0.8 * numbers.max()


def test_replacements_can_begin_a_word() -> None:
    vocab = Vocab((*SPECIALS, "[unused1]", "<S>", "##文", "##s", "中", "[", "<", "#", "##", "bert"))
    assert [vocab.tokens[number] for number in replacement_ids(vocab)] == ["中", "[", "<", "#", "bert"]


@settings(deadline=None)
@given(
    st.lists(st.tuples(LAYOUTS, st.none() | LAYOUTS), min_size=1, max_size=8),
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from([0.15, 0.01, 0.99]),
    st.sampled_from([0, 1, 5, 20]),
    st.sampled_from([(), SPAN_LENGTHS["span"]]),
    st.sampled_from([-1, 1_003]),
)
def test_many_masks_at_once_are_those_drawn_one_by_one(
    layouts: list[tuple[list[int], list[int] | None]],
    seed: int,
    rate: float,
    max_predictions: int,
    spans: tuple[float, ...],
    separator: int,
) -> None:
    layouts = [layout for layout in layouts if separator < 0 or layout[0][:4] == [1] * 4] or [([1] * 4, None)]
    sequences = joined([example(*layout) for layout in layouts])
    rules = MaskingRules(MASK, RULES.replacements, rate, max_predictions, spans, separator)
    epochs = np.array([[0, 7, 1 << 40]] * len(sequences))
    many = draw(seed, epochs, sequences, rules)
    singles = []
    for number, layout in enumerate(layouts):
        ids, starts, second_start = example(*layout)
        singles += [single_mask(seed, epoch, number, ids, starts, second_start, rules) for epoch in epochs[number].tolist()]
    assert many.lengths.tolist() == np.reshape([len(one.positions) for one in singles], epochs.shape).tolist()
    assert many.positions.tolist() == [place for one in singles for place in one.positions.tolist()]
    assert many.replacements.tolist() == [token for one in singles for token in one.replacements.tolist()]


def test_real_masks_are_those_drawn_one_by_one(news: list[Example]) -> None:
    """More sequences than are masked at once, of all lengths."""
    rules = replace(of_vocabulary(), max_predictions=20)
    for one, mask in zip(news, masks(news, rules), strict=True):
        other = single_mask(1, 0, one.example_id, one.input_ids, one.unit_starts, one.second_start, rules)
        assert mask.positions.tolist() == other.positions.tolist()
        assert mask.replacements.tolist() == other.replacements.tolist()


def test_a_very_long_sequence_is_masked_as_any_other() -> None:
    ids, starts, second_start = example([1, 2, 1] * 2_000, [1] * 300)
    mask, other = mask_one(3, ids, starts, second_start, RULES), single_mask(3, 0, 0, ids, starts, second_start, RULES)
    assert mask.positions.tolist() == other.positions.tolist()
    assert len(mask.positions) == pytest.approx(0.15 * len(ids), abs=2)


def test_streams_read_together_are_the_same_streams() -> None:
    epochs, names, counts = np.array([0, 3, 3]), np.array([5, 5, 2**64 - 1], np.uint64), np.array([4, 0, 7])
    together = numbers(-1, epochs, names, counts, 2)
    parts = zip(epochs.tolist(), names.tolist(), counts.tolist(), strict=True)
    assert together.tolist() == [
        x for epoch, name, count in parts for x in generator(-1, epoch, name, 2).random(count).tolist()
    ]


def test_static_draws_are_the_masks_of_the_first_epochs() -> None:
    sequences = joined([example([2, 1, 3] * 8, [2] * 8), example([1] * 40)])
    static = static_masks(3, 1, sequences, RULES)
    ends = static.lengths.ravel().cumsum().tolist()
    assert ends[-1] == len(static.positions) == len(static.replacements)
    parts = np.split(static.positions, ends[:-1])
    for epoch in range(3):
        fresh = single(draw(1, np.full((2, 1), epoch), sequences, RULES))
        assert [parts[epoch].tolist(), parts[3 + epoch].tolist()] == [one.positions.tolist() for one in fresh]
    assert len({tuple(part.tolist()) for part in parts}) == 6


def test_no_static_draw_is_an_empty_row() -> None:
    none = static_masks(0, 1, joined([example([1, 2])] * 2), RULES)
    assert (len(none.positions), len(none.replacements), none.lengths.shape) == (0, 0, (2, 0))
    assert none.replacements.dtype == np.uint16


def test_no_sequences_have_no_masks() -> None:
    nothing = Sequences(
        np.empty(0, np.uint64), np.empty(0, np.uint16), np.empty(0, np.bool_), np.zeros(1, np.int64), np.empty(0, np.int64)
    )
    none = static_masks(2, 1, nothing, RULES)
    assert (len(none.positions), none.lengths.shape) == (0, (0, 2))


@pytest.mark.parametrize("policy", [policy for policy in get_args(MaskingPolicy) if policy != "entity"])
@pytest.mark.parametrize("max_predictions", [0, 20])
def test_the_share_hidden_by_each_policy(news: list[Example], policy: MaskingPolicy, max_predictions: int) -> None:
    """BERT's script masks fewer tokens if words are long, since it skips a word that exceeds the budget."""
    if policy == "token":
        news = [one._replace(unit_starts=np.ones(len(one.input_ids), np.bool_)) for one in news]
    settings = MaskingConfig(policy=policy, max_predictions_per_seq=max_predictions)
    rules = MaskingRules.of(demo_text.vocabulary(), settings, PairsConfig())
    drawn = masks(news, rules)
    ratio = sum(len(one.positions) for one in drawn) / sum(len(one.input_ids) for one in news)
    assert ratio == pytest.approx(0.15, abs=0.002 if not max_predictions else 0.004)
    labels = np.concatenate([one.input_ids[mask.positions] for one, mask in zip(news, drawn, strict=True)])
    shown = np.concatenate([mask.replacements for mask in drawn])
    assert np.mean(shown == demo_text.vocabulary().mask_id) == pytest.approx(0.8, abs=0.015)
    assert np.mean(shown == labels) == pytest.approx(0.1, abs=0.012)


def test_spans_are_spans_of_words_as_long_as_in_spanbert() -> None:
    ids, starts, _ = example([2, 1, 3] * 100)
    rules = replace(RULES, spans=SPAN_LENGTHS["span"])
    drawn = single(static_masks(1, 1, joined([(ids, starts, 0)] * 300), rules))
    words = []
    for mask in drawn:
        assert whole_units(starts, mask)
        hidden = np.isin(np.flatnonzero(starts)[1:-1], mask.positions)  # a flag a word
        edges = np.flatnonzero(np.diff(hidden, prepend=False, append=False))
        words += np.diff(edges.reshape(-1, 2), axis=1)[:, 0].tolist()
    # 3.8 words a span; some lie side by side, the last one is cut by the budget. Single words would give 1.2.
    assert 3.4 < np.mean(words) < 4.6
    assert np.mean(np.array(words) == 1) == pytest.approx(0.22, abs=0.06)  # 0.224 of the distribution


def test_a_span_ends_with_its_segment() -> None:
    """Spans of A and B are replaced independently, though only [SEP] separates them."""
    random = np.full((1, 6), 0.99)  # as long as can be
    units = Units.of(joined([example([1, 1, 1], [1, 1])]))
    assert units.lengths.tolist() == [[1, 1, 1, 0, 1, 1]]
    assert units.spans(random, SPAN_LENGTHS["span"]).tolist() == [[0, 0, 0, 3, 4, 4]]
    units = Units.of(joined([example([1] * 14)]))
    assert units.spans(np.full((1, 14), 0.99), SPAN_LENGTHS["span"]).tolist() == [[0] * 10 + [10] * 4]


def test_a_span_has_one_fate() -> None:
    ids, starts, _ = example([1] * 60)
    rules = MaskingRules(MASK, np.arange(100, 200), rate=0.05, spans=SPAN_LENGTHS["span"])  # 3.1 tokens: mostly of one span
    fates = []
    for mask in single(static_masks(1, 1, joined([(ids, starts, 0)] * 500), rules)):
        if len(mask.positions) == 3 and mask.positions[2] == mask.positions[0] + 2:
            kinds = [
                "mask" if p == MASK else "same" if p == q else "other"
                for p, q in zip(mask.replacements, ids[mask.positions], strict=True)
            ]
            fates.append(len(set(kinds)) == 1)
    assert len(fates) > 100
    assert np.mean(fates) > 0.9  # a few are two spans side by side; of tokens by themselves half would be


def test_separators_of_documents_are_never_hidden() -> None:
    vocab = demo_text.vocabulary()
    pairs = PairsConfig(task="none", layout="full_sentences")
    rules = MaskingRules.of(vocab, MaskingConfig(masked_lm_prob=0.9), pairs)
    examples = parts.build(demo_text.review_documents(), length=128, vocab=vocab, task="none", layout="full_sentences")
    labels = [one.input_ids[mask.positions] for one, mask in zip(examples, masks(examples, rules), strict=True)]
    inside = sum(int((one.input_ids[1:-1] == vocab.sep_id).sum()) for one in examples)
    assert inside > 200
    assert vocab.sep_id not in np.concatenate(labels)
    assert len(np.concatenate(labels)) / sum(len(one.input_ids) for one in examples) == pytest.approx(0.9, abs=0.02)


def test_an_entity_is_hidden_whole() -> None:
    """Units are whatever the unit starts say: a phrase of several words is one unit."""
    ids, starts, second_start = example([7, 1, 1, 1] * 10, [9, 1] * 4)
    for mask in single(static_masks(1, 1, joined([(ids, starts, second_start)] * 50), RULES)):
        assert whole_units(starts, mask)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"masked_lm_prob": 0.0}, "masked_lm_prob 0.0 is not between 0 and 1"),
        ({"max_predictions_per_seq": -1}, "max_predictions_per_seq -1 is below 0"),
        ({"static_draws": -2}, "static_draws -2 is not between 0 and 100"),
        ({"policy": "entity"}, "policy 'entity' needs phrases"),
        ({"phrases": "names.txt"}, "phrases are only used by policy 'entity', not by 'word'"),
    ],
)
def test_settings_that_cannot_be_are_refused(field: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaskingConfig(**field)


GOLDEN_FRACTIONS = [
    "0x1.cadef26681c8bp-3",
    "0x1.9cfbda290e67dp-2",
    "0x1.17e9471073022p-1",
    "0x1.52a58f0d2fa71p-1",
    "0x1.81a29570f9c4ap-1",
    "0x1.a739cdc0cea91p-1",
    "0x1.c54c6133df5fdp-1",
    "0x1.dd5b3d8fecbedp-1",
    "0x1.f09a543ff7714p-1",
    "0x1.0000000000000p+0",
]


def test_shares_of_spans_are_the_same_numbers_on_every_processor() -> None:
    """Only IEEE 754 products and sums in a fixed order, exact to the last bit."""
    assert [float(fraction).hex() for fraction in SPAN_LENGTHS["span"]] == GOLDEN_FRACTIONS


def test_every_policy_of_spans_can_be_chosen_and_its_lengths_add_up() -> None:
    assert SPAN_LENGTHS.keys() <= set(get_args(MaskingPolicy))
    for lengths in SPAN_LENGTHS.values():
        assert lengths == tuple(sorted(lengths)) and lengths[-1] == 1
