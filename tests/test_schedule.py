"""Learning rate and batch of a step: the table of the docstring, both ends, and that nothing jumps."""

import itertools
import math
from typing import Any

import pytest

from model.config import PhaseConfig
from model.optimization.schedule import batch_size, learning_rate, sequences

PHASE = PhaseConfig(sequence_length=128, batch_size=1, steps=12, learning_rate=1.0, warmup_steps=4)


def test_linear_rates_are_those_of_the_docstring() -> None:
    rates = [learning_rate(step, PHASE) for step in (0, 1, 2, 3, 4, 5, 11, 12)]
    assert rates == pytest.approx([0, 0.25, 0.5, 0.75, 1.0, 0.875, 0.125, 0])


def test_without_warmup_the_first_step_has_the_peak() -> None:
    phase = PhaseConfig(sequence_length=128, batch_size=1, steps=10, learning_rate=1.8e-4)
    assert learning_rate(0, phase) == 1.8e-4
    assert learning_rate(5, phase) == pytest.approx(0.9e-4)


def test_polynomial_bends_the_decay_only() -> None:
    phase = PhaseConfig(
        sequence_length=128, batch_size=1, steps=12, learning_rate=1.0, warmup_steps=4, schedule="polynomial", power=0.5
    )
    assert learning_rate(2, phase) == 0.5
    assert learning_rate(10, phase) == pytest.approx(0.25**0.5)


def test_linear_ignores_the_power() -> None:
    phase = PhaseConfig(sequence_length=128, batch_size=1, steps=10, learning_rate=1.0, power=3.0)
    assert learning_rate(5, phase) == pytest.approx(0.5)


def test_a_phase_that_only_warms_up_ends_at_zero() -> None:
    phase = PhaseConfig(sequence_length=128, batch_size=1, steps=4, learning_rate=1.0, warmup_steps=4)
    assert [learning_rate(step, phase) for step in range(6)] == [0, 0.25, 0.5, 0.75, 0, 0]


def test_nothing_jumps_or_goes_below_zero() -> None:
    phase = PhaseConfig(sequence_length=128, batch_size=1, steps=10_000, learning_rate=1.8e-4, warmup_steps=1_800)
    rates = [learning_rate(step, phase) for step in range(10_100)]
    assert max(abs(b - a) for a, b in itertools.pairwise(rates)) < 1.01 * 1.8e-4 / 1_800
    assert max(rates) == rates[1_800] == 1.8e-4 and min(rates) == 0 == rates[-1]


def phase(**settings: Any) -> PhaseConfig:
    given = {"sequence_length": 128, "batch_size": 256, "steps": 12, "learning_rate": 1.0, "warmup_steps": 4}
    return PhaseConfig(**{**given, **settings})


def test_wsd_stays_and_falls_by_a_root_at_the_end() -> None:
    rates = [learning_rate(step, phase(schedule="wsd", decay_steps=4)) for step in range(14)]
    fall = [1 - math.sqrt(left) for left in (0, 0.25, 0.5, 0.75)]
    assert rates == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1, 1, 1, *fall, 0, 0])


def test_wsd_may_decay_from_the_warmup_on() -> None:
    rates = [learning_rate(step, phase(schedule="wsd", decay_steps=8)) for step in (3, 4, 6, 12)]
    assert rates == pytest.approx([0.75, 1, 0.5, 0])


def test_a_constant_rate_stays_to_the_last_step() -> None:
    rates = [learning_rate(step, phase(schedule="constant")) for step in (0, 2, 4, 11, 12)]
    assert rates == [0, 0.5, 1, 1, 0]


def test_a_batch_grows_in_stairs_of_equal_width() -> None:
    growing = phase(ramp_batch_size=64, ramp_steps=6)
    assert [batch_size(step, growing) for step in range(9)] == [64, 64, 128, 128, 192, 192, 256, 256, 256]
    assert sequences(growing) == sum(batch_size(step, growing) for step in range(12)) == 2 * (64 + 128 + 192) + 6 * 256


def test_a_batch_without_a_ramp_is_constant() -> None:
    assert {batch_size(step, phase()) for step in range(12)} == {256}
    assert sequences(phase()) == 12 * 256


def test_every_batch_of_a_ramp_is_a_multiple_of_the_first_and_none_is_smaller_than_the_one_before() -> None:
    growing = phase(batch_size=4_608, ramp_batch_size=768, ramp_steps=1_000, steps=1_001)  # steps that stairs do not divide
    sizes = [batch_size(step, growing) for step in range(1_001)]
    assert sizes == sorted(sizes) and {*sizes} == {768 * stair for stair in range(1, 7)}
    assert sizes.count(768) == 200 and sizes[-1] == 4_608 > sizes[-2]


def test_a_ramp_may_take_fewer_steps_than_it_has_stairs() -> None:
    growing = phase(batch_size=8_192, ramp_batch_size=64, ramp_steps=2)
    assert [batch_size(step, growing) for step in range(3)] == [64, 64 * 64, 8_192]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "wsd"}, "decay_steps 0 is not between 1 and the 8 steps after the warm-up"),
        ({"schedule": "wsd", "decay_steps": 9}, "9 is not between 1 and the 8 steps"),
        ({"decay_steps": 3}, "decay_steps 3 needs schedule 'wsd', not 'linear'"),
        ({"ramp_batch_size": 64}, "go together"),
        ({"ramp_steps": 3}, "go together"),
        ({"ramp_batch_size": 100, "ramp_steps": 3}, "batch_size 256 is not a larger multiple of ramp_batch_size 100"),
        ({"ramp_batch_size": 256, "ramp_steps": 3}, "ramp_batch_size 256"),
        ({"ramp_batch_size": 0, "ramp_steps": 3}, "ramp_batch_size 0"),
        ({"ramp_batch_size": 64, "ramp_steps": 13}, "ramp_steps 13 is not between 1 and steps 12"),
        ({"ramp_batch_size": 64, "ramp_steps": -1}, "ramp_steps -1"),
    ],
)
def test_a_phase_that_contradicts_itself_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        phase(**settings)
