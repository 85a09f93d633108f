"""The learning rate: the table of the docstring, both ends, and that nothing jumps."""

import itertools

import pytest

from model.config import PhaseConfig
from model.schedule import learning_rate

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
