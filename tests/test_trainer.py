"""What a step decides, in which precision, and what it is made of: loss scale, limits of spikes, skipped ranges, metrics."""

import itertools
import math
import sys
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn

from model import compiling
from model.config import EncoderConfig, OptimizerConfig, TrainingConfig
from model.flops import sequence_flops
from model.heads import PretrainingModel
from model.optimization import spikes
from model.optimization.loss_scale import LossScale
from model.optimization.optimizers import layer, make, trust_ratios
from model.samples.batches import NO_LABEL, Batch
from model.training import metrics
from model.training.outcome import Outcome, Verdict
from model.training.state import State
from model.training.tracking.live import Live
from model.training.trainer import Trainer, token_spread
from pipeline.errors import RecipeError
from tests import tiny

CPU = torch.device("cpu")


def batch(number: int = 0, rows: int = 4, length: int = 16) -> Batch:
    generator = torch.Generator().manual_seed(number)
    ids = torch.randint(5, len(tiny.VOCAB), (rows, length), generator=generator)
    mask = torch.ones(rows, length, dtype=torch.bool)
    mask[0, length - 4 :] = False
    positions = torch.arange(1, rows * length, 7)
    facts = {"example_ids": np.arange(rows, dtype=np.uint64), "lengths": tuple(mask.sum(1).tolist()), "pairs": rows}
    labels = ids.view(-1)[positions]
    types = torch.zeros_like(ids)
    return Batch(number, ids, mask, types, positions, labels, torch.arange(rows) % 2, **facts)  # type: ignore[arg-type]


def trainer(variant: Any = "nezha2019", **settings: Any) -> Trainer:
    torch.manual_seed(1)
    network = PretrainingModel(tiny.ENCODER, len(tiny.VOCAB))
    training = TrainingConfig(**{"precision": "fp32", **settings})
    return Trainer(network, make(network, OptimizerConfig(variant=variant)), training, 1.0, seed=5)


def weights(one: Trainer) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in one.network.parameters()]


def test_a_step_tells_what_it_was() -> None:
    one = trainer()
    batches = [batch(0), batch(1, rows=2, length=8)]
    outcome = one.step(0, batches, 1e-3)
    assert (outcome.verdict, outcome.stop_requested) == (Verdict.UPDATED, False)
    assert outcome.tokens == 3 * 16 + 12 + 8 + 4
    assert outcome.squares == 3 * 16**2 + 12**2 + 8**2 + 4**2
    assert outcome.masked == sum(part.masked for part in batches) > 0
    assert outcome.compute_seconds > 0 and outcome.optimizer_seconds > 0
    assert one.step(1, batches, 1e-3, True).stop_requested


@pytest.mark.parametrize("limits", [spikes.Limits(loss=0.1), spikes.Limits(grad_norm=1e-6)])
def test_a_spike_changes_nothing_and_is_no_step_of_the_optimizer(limits: spikes.Limits) -> None:
    one = trainer()
    before = weights(one)
    outcome = one.step(0, [batch()], 1e-3, limits=limits)
    assert outcome.verdict == "spike"
    assert all(torch.equal(a, b) for a, b in zip(before, weights(one), strict=True))
    assert not one.optimizer.state and one.optimizer.param_groups[0]["step"] == 0
    assert one.step(0, [batch()], 1e-3, limits=spikes.Limits(100, 100)).updated


def test_a_loss_scale_that_is_a_power_of_two_costs_no_bit_in_float32() -> None:
    plain, scaled = trainer(), trainer()
    for number in range(3):
        a = plain.step(number, [batch(number)], 1e-2)
        b = scaled.step(number, [batch(number)], 1e-2, loss_scale=2.0**20)
        assert (a.grad_norm, a.figures) == (b.grad_norm, b.figures)
    assert all(torch.equal(a, b) for a, b in zip(weights(plain), weights(scaled), strict=True))


def test_fp16_overflows_where_the_scale_is_too_large_and_else_computes_what_fp32_does() -> None:
    half, full = trainer(precision="fp16"), trainer()
    before = weights(half)
    outcome = half.step(0, [batch()], 1e-3, loss_scale=2.0**40)
    assert outcome.verdict == "overflow" and outcome.figures["loss"] is not None
    assert all(torch.equal(a, b) for a, b in zip(before, weights(half), strict=True))
    a, b = half.step(0, [batch()], 1e-3, loss_scale=2.0**10), full.step(0, [batch()], 1e-3)
    assert a.updated and a.grad_norm != b.grad_norm and a.grad_norm == pytest.approx(b.grad_norm, rel=0.01)
    assert {parameter.dtype for parameter in half.network.parameters()} == {torch.float32}


def test_a_gradient_that_is_not_finite_at_the_lowest_scale_is_no_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    one = trainer(precision="fp16")
    backward = Trainer._backward

    def broken(self: Trainer, *rest: Any) -> None:
        backward(self, *rest)
        self.gradients.tensor[0] = math.inf

    monkeypatch.setattr(Trainer, "_backward", broken)
    assert one.step(0, [batch()], 1e-3, loss_scale=2.0).verdict == "overflow"
    assert one.step(0, [batch()], 1e-3, loss_scale=1.0).verdict == "not finite"


def test_layer_norm_softmax_and_loss_are_float32_in_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.nn.functional as F

    seen: dict[str, set[torch.dtype]] = {}

    def watched(name: str) -> Any:
        original = getattr(F, name)

        def function(x: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
            result: torch.Tensor = original(x, *rest, **named)
            seen.setdefault(name, set()).add(result.dtype)
            return result

        return function

    for name in ("layer_norm", "cross_entropy", "linear"):
        monkeypatch.setattr(F, name, watched(name))
    assert trainer(precision="bf16").step(0, [batch()], 1e-3).updated
    assert seen["layer_norm"] == seen["cross_entropy"] == {torch.float32} and torch.bfloat16 in seen["linear"]


def test_rows_without_pairs_leave_their_head_without_gradient() -> None:
    one = trainer()
    without = batch()
    fields: dict[str, Any] = {**without.__dict__, "pair_labels": torch.full((4,), NO_LABEL), "pairs": 0}
    outcome = one.step(0, [Batch(**fields)], 1e-3)
    assert outcome.updated and outcome.figures["pair_loss"] is None
    assert one.network.cls.seq_relationship.weight.grad is not None
    assert not one.network.cls.seq_relationship.weight.grad.any()


def test_the_loss_scale_of_torch_is_that_of_its_grad_scaler() -> None:
    """Against torch's own update, through overflows at all distances and a growth after 2,000 good steps."""
    scale, growth = torch.tensor(2.0**16), torch.zeros((), dtype=torch.int32)
    ours = LossScale.of("torch")
    for step in range(4_500):
        overflow = step in (3, 4, 9, 2_500)
        torch._amp_update_scale_(scale, growth, torch.tensor(float(overflow)), 2.0, 0.5, 2_000)
        ours.count(overflow, "torch")
        assert (ours.scale, ours.good) == (scale.item(), growth.item())
    assert ours.scale == 2.0**13


def test_the_loss_scale_of_2019_counts_overflows_also_with_good_steps_between() -> None:
    ours = LossScale.of("2019")
    assert ours.scale == 2.0**32
    ours.count(True, "2019")
    for _ in range(10):
        ours.count(False, "2019")
    assert (ours.scale, ours.good, ours.bad) == (2.0**32, 10, 1)
    ours.count(True, "2019")
    assert (ours.scale, ours.good, ours.bad) == (2.0**31, 0, 0)
    for _ in range(999):
        ours.count(False, "2019")
    assert ours.scale == 2.0**31
    ours.count(False, "2019")
    assert (ours.scale, ours.good) == (2.0**32, 0)
    for _ in range(100):
        ours.count(True, "2019")
    assert ours.scale == 1.0


def test_a_spike_is_beyond_so_many_deviations_of_a_window_half_full() -> None:
    rng = np.random.default_rng(1)
    window = rng.normal(7.0, 0.1, 128).tolist()
    assert spikes.limit(window, 128, 6.0) == pytest.approx(np.mean(window) + 6 * np.std(window), rel=1e-12)
    assert spikes.limit(window[:63], 128, 6.0) == math.inf > spikes.limit(window[:64], 128, 6.0)
    assert spikes.limit(window, 128, 0.0) == math.inf
    assert spikes.limit([2.0] * 128, 128, 6.0) == pytest.approx(2.012)
    spikes.add(window, 9.0, 128)
    assert len(window) == 128 and window[-1] == 9.0


def test_ranges_go_around_what_is_skipped() -> None:
    state = State(phase=1, consumed_samples=0)
    for part in ((1, 8, 12), (0, 0, 100), (1, 22, 30), (1, 12, 16), (1, 30, 31)):
        state.skip(*part)
    assert state.skipped_ranges == [[0, 0, 100], [1, 8, 16], [1, 22, 31]]
    assert state.skipped_samples == 100 + 8 + 9
    assert list(state.sample_ranges(iter([4, 4, 4, 4, 2]))) == [(0, 4), (4, 8), (16, 20), (31, 35), (35, 37)]
    state.begin_phase(2)
    assert list(itertools.islice(state.sample_ranges(itertools.repeat(3)), 2)) == [(0, 3), (3, 6)]


def test_a_state_goes_through_json_with_its_loss_scale() -> None:
    from dataclasses import asdict

    state = State(step=3, losses=[0.1, 1 / 3], loss_scale=LossScale(8.0, 2, 1))
    assert State.from_json(asdict(state)) == state
    assert State.from_json({"phase": 0, "step": 1, "consumed_samples": 2, "skipped_ranges": [], "best": None}) == State(
        0, 1, 2, examples=None
    )


def test_trust_ratios_are_told_by_layer() -> None:
    one = trainer("nvlamb")
    one.step(0, [batch()], 1e-3)
    told = trust_ratios(one.network, one.optimizer)
    assert list(told) == ["embeddings", "encoder.0", "encoder.1", "pooler", "predictions", "seq_relationship"]
    own = [
        ratio.item()
        for name, parameter in one.network.named_parameters()
        if "layer.1." in name
        for ratio in [one.optimizer.trust_ratios[parameter]]  # type: ignore[attr-defined]
    ]
    assert told["encoder.1"] == [min(own), max(own)]
    assert layer("nezha.encoder.layer.11.output.dense.bias") == "encoder.11"


def test_mfu_counts_what_the_sequences_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """One second at the peak of an H100 for as many sequences of 128 and 32 tokens as it would do in half of it."""
    encoder = EncoderConfig()
    seen = metrics.Metrics(10, encoder, 21_128, lambda error: None, Live("", TrainingConfig(), first=False))
    seen.peak = metrics.peak_flops("NVIDIA H100 80GB HBM3")
    assert seen.peak == 989e12 and metrics.peak_flops("NVIDIA H200") == 989e12 and metrics.peak_flops("Apple M3") is None
    count = 4_000
    figures: dict[str, float | None] = {"loss": 1.0}
    tokens, squares = count * 128, count * 128**2
    seen.count(Outcome(figures, 1.0, tokens, squares, round(tokens * 0.15), Verdict.UPDATED, False))
    seen._interval.seconds = 1.0
    row = seen._speeds()
    assert row["mfu"] == pytest.approx(count * sequence_flops(encoder, 128, 21_128, 0.15) / 989e12, rel=1e-6)
    assert 0 < row["mfu_without_relative"] < row["mfu"]
    assert row["tokens_per_second"] == tokens
    lengths = np.array([128] * 500 + [32] * 500)
    seen.count(Outcome(figures, 1.0, int(lengths.sum()), int((lengths**2).sum()), 0, Verdict.UPDATED, False))
    one_by_one = sum(sequence_flops(encoder, int(length), 21_128, 0.0) for length in lengths)
    assert seen._interval.flops == pytest.approx(one_by_one, rel=1e-3)


def test_compiling_is_refused_in_one_line_where_no_compiler_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    network = nn.Linear(2, 2)
    with pytest.raises(RecipeError, match=r"needs a C\+\+ compiler .*on this machine; install it, or set compile") as refused:
        compiling.compile_network(network, "on", CPU)
    assert "\n" not in str(refused.value)
    assert not compiling.compile_network(network, "auto", CPU) and not compiling.compile_network(network, "off", CPU)
    monkeypatch.setattr(sys.modules["importlib.util"], "find_spec", lambda name: None)
    with pytest.raises(RecipeError, match="needs the package triton"):
        compiling.compile_network(network, "on", torch.device("cuda"))


SETTINGS: tuple[Literal["off", "on"], ...] = ("off", "on")


@pytest.mark.slow
def test_compiled_the_network_learns_the_same(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if compiling.missing_compiler(CPU):
        pytest.skip("no C++ compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    encoder = EncoderConfig(**{**tiny.ENCODER.__dict__, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0})
    outcomes = []
    for setting in SETTINGS:
        torch.manual_seed(1)
        network = PretrainingModel(encoder, len(tiny.VOCAB))
        names = list(network.state_dict())
        one = Trainer(network, make(network, OptimizerConfig()), TrainingConfig(precision="fp32"), 1.0, seed=5)
        assert compiling.compile_network(network, setting, CPU) == (setting == "on")
        losses = [one.step(n, [batch(n, rows=3 + n, length=16 + 8 * n)], 1e-3).figures["loss"] for n in range(3)]
        outcomes.append(np.array(losses, np.float64))
        assert list(network.state_dict()) == names
    np.testing.assert_allclose(outcomes[0], outcomes[1], rtol=1e-4)
    assert any((tmp_path / "nezha-pipe" / "torchinductor").iterdir())


def test_the_spread_of_work_is_that_of_the_worker_with_most() -> None:
    assert token_spread([30, 10, 20]) == 1.5
    assert token_spread([7]) == token_spread([5, 5]) == token_spread([0, 0]) == 1.0
    assert token_spread([12, 0, 0]) == 3.0, "two workers have nothing to do"
