"""The encoder: its keys, size and initial weights; padding has no influence."""

import math

import pytest
import torch

from model.config import EncoderConfig
from model.encoder import Encoder, LayerNorm

TINY = EncoderConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)


def ids(*shape: int) -> torch.Tensor:
    return torch.randint(0, 50, shape, generator=torch.Generator().manual_seed(7))


def test_keys_are_those_of_hugging_face_without_the_prefix() -> None:
    layer = [
        f"encoder.layer.{n}.{part}.{leaf}"
        for n in range(2)
        for part in (
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
            "attention.output.LayerNorm",
            "intermediate.dense",
            "output.dense",
            "output.LayerNorm",
        )
        for leaf in ("weight", "bias")
    ]
    assert sorted(Encoder(TINY, 50).state_dict()) == sorted(
        [
            "embeddings.word_embeddings.weight",
            "embeddings.token_type_embeddings.weight",
            "embeddings.LayerNorm.weight",
            "embeddings.LayerNorm.bias",
            *layer,
            "pooler.dense.weight",
            "pooler.dense.bias",
        ]
    )


def test_the_base_model_has_the_size_of_the_release() -> None:
    with torch.device("meta"):
        encoder = Encoder(EncoderConfig(), 21_128)
    assert sum(weight.numel() for weight in encoder.parameters()) == 101_874_432


def test_one_block_is_what_bert_and_the_paper_say() -> None:
    """The whole forward pass in plain float64, with a (L, L, H) table computed here."""
    config = EncoderConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=12)
    encoder = Encoder(config, 50).double().eval()
    w: dict[str, torch.Tensor] = {key: value + 0.3 * torch.randn_like(value) for key, value in encoder.state_dict().items()}
    encoder.load_state_dict(w)
    input_ids, segments = ids(1, 70), (torch.arange(70) > 30).long()[None]

    def dense(name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        x = x - x.mean(-1, keepdim=True)
        return x / (x.square().mean(-1, keepdim=True) + 1e-12).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]

    def gelu(x: torch.Tensor) -> torch.Tensor:
        return x / 2 * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)).tanh())

    index = (torch.arange(70)[None] - torch.arange(70)[:, None]).clamp(-64, 64) + 64
    angle = index[..., None] / 10_000 ** (torch.arange(0, 8, 2, dtype=torch.float64) / 8)
    table = torch.stack((angle.sin(), angle.cos()), -1).flatten(-2)
    x = w["embeddings.word_embeddings.weight"][input_ids] + w["embeddings.token_type_embeddings.weight"][segments]
    x = norm("embeddings.LayerNorm", x)[0]
    layer = "encoder.layer.0"
    q, k, v = (dense(f"{layer}.attention.self.{name}", x) for name in ("query", "key", "value"))
    weights = ((q @ k.T + (table @ q[..., None])[..., 0]) / math.sqrt(8)).softmax(-1)
    context = weights @ v + (weights[..., None] * table).sum(1)
    x = norm(f"{layer}.attention.output.LayerNorm", x + dense(f"{layer}.attention.output.dense", context))
    inner = gelu(dense(f"{layer}.intermediate.dense", x))
    x = norm(f"{layer}.output.LayerNorm", x + dense(f"{layer}.output.dense", inner))

    hidden = encoder(input_ids, None, segments)
    # The difference is the float32 rounding of the table.
    torch.testing.assert_close(hidden[0], x, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(encoder.pool(hidden)[0], dense("pooler.dense", x[0]).tanh(), rtol=1e-5, atol=1e-5)


def test_a_padded_batch_equals_its_rows_alone() -> None:
    encoder = Encoder(TINY, 50).eval()
    batch = ids(3, 90)
    mask = torch.arange(90) < torch.tensor([[90], [70], [5]])
    together = encoder(batch, mask)
    for row, length in enumerate((90, 70, 5)):
        torch.testing.assert_close(together[row, :length], encoder(batch[row : row + 1, :length])[0], rtol=1e-5, atol=1e-5)


def test_order_matters_and_place_does_not() -> None:
    """Positions are relative: [PAD] in front, masked, changes nothing; the order of tokens changes much."""
    encoder = Encoder(TINY, 50).eval()
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.mul_(10 if weight.dim() > 1 else 1)
    batch = ids(1, 12)
    hidden = encoder(batch)
    shifted = encoder(torch.cat((torch.zeros(1, 5, dtype=torch.long), batch), 1), torch.arange(17)[None] >= 5)
    torch.testing.assert_close(shifted[:, 5:], hidden, rtol=1e-4, atol=1e-4)
    assert (encoder(batch.flip(1)).flip(1) - hidden).abs().max() > 0.01


def test_segments_are_seen_and_default_to_the_first() -> None:
    encoder = Encoder(TINY, 50).eval()
    batch = ids(1, 12)
    assert torch.equal(encoder(batch), encoder(batch, None, torch.zeros_like(batch)))
    assert not torch.equal(encoder(batch), encoder(batch, None, torch.ones_like(batch)))


def test_the_two_activations_differ() -> None:
    tanh, erf = (
        Encoder(EncoderConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, hidden_act=act), 50)
        for act in ("gelu_tanh", "gelu")
    )
    x = torch.linspace(-4, 4, 100)
    exact = x / 2 * (1 + torch.erf(x / math.sqrt(2)))
    torch.testing.assert_close(erf.layers()[0].get_submodule("intermediate.activation")(x), exact)
    difference = (tanh.layers()[0].get_submodule("intermediate.activation")(x) - exact).abs().max()
    assert difference == pytest.approx(4.73e-4, rel=0.01)


def test_first_weights_are_truncated_normal() -> None:
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(hidden_size=128, num_hidden_layers=1, num_attention_heads=2), 500)
    for name, weight in encoder.named_parameters():
        if name.endswith("LayerNorm.weight"):
            assert weight.eq(1).all(), name
        elif name.endswith("bias"):
            assert weight.eq(0).all(), name
        else:
            assert weight.abs().max() <= 0.04, name
            if weight.numel() > 10_000:  # a normal distribution cut at two sigma has 0.88 sigma left
                assert weight.std().item() == pytest.approx(0.0176, rel=0.05), name


def test_layer_norm_is_float32_under_bfloat16() -> None:
    norm = LayerNorm(64, eps=1e-12)
    x = (torch.randn(3, 64) + 100).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = norm(x)
    exact = torch.nn.functional.layer_norm(x.double(), (64,), eps=1e-12)
    torch.testing.assert_close(out, exact.bfloat16(), rtol=0, atol=0)


def test_hidden_states_stay_float32_under_bfloat16_and_agree() -> None:
    torch.manual_seed(4)
    encoder = Encoder(TINY, 50).eval()
    batch = ids(2, 40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = encoder(batch)
    assert hidden.dtype == torch.float32
    torch.testing.assert_close(hidden, encoder(batch), rtol=0.1, atol=0.1)
