"""Encoders of the papers' comparisons as settings of one code; packed and padded, plain and checkpointed, they are the same."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.attention.packing import Packing
from model.config import EncoderConfig
from model.heads import PretrainingModel
from model.training.loop import train
from pipeline.errors import RecipeError
from tests import tiny

Positions = Literal["functional", "relative", "absolute"]
POSITIONS: tuple[Positions, ...] = ("functional", "relative", "absolute")
SMALL = EncoderConfig(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=64,
    max_relative_position=8,
    max_position_embeddings=40,
)


def network(positions: Positions, **changed: Any) -> PretrainingModel:
    torch.manual_seed(1)
    return PretrainingModel(replace(SMALL, positions=positions, **changed), 50)


def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ids, mask, segments (3, 40) of lengths 40, 23 and 9, and masked places in the first and the last."""
    torch.manual_seed(2)
    mask = torch.arange(40) < torch.tensor([[40], [23], [9]])
    segments = (torch.arange(40) > torch.tensor([[20], [11], [5]])).long()
    return torch.randint(50, (3, 40)), mask, segments, torch.tensor([3, 39, 83, 85])


def padded(model: PretrainingModel, ids: Tensor, mask: Tensor, segments: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Every layer on every place, padding too, and attention by the definition with a mask."""
    everywhere = replace(Packing.full(*ids.shape, ids.device), gaps=mask)  # type: ignore[call-arg]
    hidden = model.nezha.packed(ids, segments, everywhere)
    words = model.nezha.embeddings.word_embeddings.weight
    scores = F.linear(model.cls.predictions.transform(hidden[places]), words, model.cls.predictions.bias)
    return scores, model.cls.seq_relationship(model.nezha.pooler(hidden.view(3, 40, -1)[:, 0]))


@pytest.mark.parametrize("positions", POSITIONS)
def test_packed_and_padded_are_equal(positions: Positions) -> None:
    model = network(positions).double().eval()
    inputs = batch()
    packed = [*model(*inputs)]
    model.nezha.use_attention("eager")
    expected = [*padded(model, *inputs)]

    def gradients(scores: list[Tensor]) -> list[Tensor]:
        return list(torch.autograd.grad(scores[0].pow(2).sum() + scores[1].sum(), list(model.parameters())))

    for ours, theirs in zip(packed, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-6, atol=1e-6)
    for ours, theirs in zip(gradients(packed), gradients(expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_linear_layers_see_tokens_alone_and_the_head_masked_ones_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[tuple[int, ...], int]] = []
    linear = F.linear

    def noticed(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        seen.append((tuple(x.shape[:-1]), len(weight)))
        return linear(x, weight, bias)

    monkeypatch.setattr(F, "linear", noticed)
    scores, pairs = network("functional")(*batch())
    assert {shape for shape, _ in seen[:-4]} == {(72,)}  # 40 + 23 + 9
    # The head's own layer and the vocabulary, which is scored as 64 tokens and shown as 50; the pooler and the pair.
    assert sorted(seen[-4:]) == [((3,), 2), ((3,), 32), ((4,), 32), ((4,), 64)]
    assert scores.shape == (4, 50) and pairs.shape == (3, 2)


@pytest.mark.parametrize("positions", POSITIONS)
def test_no_sequence_sees_another(positions: Positions) -> None:
    model = network(positions).eval()
    ids, mask, segments, _ = batch()
    together = model.nezha(ids, mask, segments)
    for row, length in enumerate((40, 23, 9)):
        alone = model.nezha(ids[row : row + 1, :length], None, segments[row : row + 1, :length])
        torch.testing.assert_close(together[row, :length], alone[0], rtol=1e-5, atol=1e-5)
        assert not together[row, length:].any()


@pytest.mark.parametrize("positions", POSITIONS)
def test_checkpointed_activations_change_no_gradient(positions: Positions) -> None:
    model = network(positions).train()  # with dropout: the second forward must draw as the first
    found = []
    for on in (False, True):
        model.nezha.checkpoint_activations(on)
        torch.manual_seed(3)
        model.zero_grad()
        scores, pairs = model(*batch())
        torch.autograd.backward(scores.sum() + pairs.sum())
        found.append([parameter.grad for parameter in model.parameters()])
    for plain, checkpointed in zip(*found, strict=True):
        assert plain is not None and torch.equal(plain, checkpointed)


def test_names_of_position_tables_are_those_of_bert_and_of_the_layers() -> None:
    functional = set(network("functional").state_dict())
    assert set(network("absolute").state_dict()) - functional == {"nezha.embeddings.position_embeddings.weight"}
    layers = {f"nezha.encoder.layer.{number}.attention.self" for number in range(2)}
    tables = {f"{layer}.relative_{side}.weight" for layer in layers for side in ("keys", "values")}
    assert set(network("relative").state_dict()) - functional == tables


def test_a_sequence_that_absolute_positions_do_not_reach_is_refused() -> None:
    with pytest.raises(RecipeError, match="41 tokens is longer than max_position_embeddings 40"):
        network("absolute").nezha(torch.zeros(1, 41, dtype=torch.int64))
    network("functional").nezha(torch.zeros(1, 41, dtype=torch.int64))


def test_attention_is_asked_for_by_name() -> None:
    model = network("relative").eval()
    model.nezha.use_attention("sdpa")
    with pytest.raises(RecipeError, match="not a rotation"):
        model(*batch())
    with pytest.raises(RecipeError, match="unknown attention 'flash'"):
        model.nezha.use_attention("flash")


@pytest.mark.parametrize("positions", POSITIONS)
def test_each_trains_with_sentence_order_prediction(positions: Positions, tmp_path: Path) -> None:
    corpus = tiny.prepare(tmp_path / "corpus", rows=60, validation_rows=8, task="sop")
    run = tiny.pretrain_run(corpus, tmp_path / "run", checkpoint_every=100, validate_every=100)
    phases = (replace(run.config.phases[0], steps=6),)
    encoder = replace(run.config.encoder, positions=positions)
    result = train(replace(run, config=replace(run.config, phases=phases, encoder=encoder)))
    assert result.finished
    lines = [json.loads(line) for file in (tmp_path / "run").glob("attempt-*/metrics*.jsonl") for line in file.open()]
    losses = [(line["mlm_loss"], line["pair_loss"]) for line in lines if line.get("kind") == "train"]
    assert len(losses) == 6 and all(mlm > 0 and pair > 0 for mlm, pair in losses)
