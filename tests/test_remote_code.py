"""The network that an export carries: initialised whole, masks by query, losses as BERT's, graphs for other lengths."""
# mypy: allow-untyped-calls

from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from model.config import EncoderConfig
from model.remote_code import attention_nezha as attention

pytest.importorskip("transformers")
from model.remote_code import modeling_nezha as modeling
from model.remote_code.configuration_nezha import NezhaPipeConfig

TINY = EncoderConfig(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    max_relative_position=6,
    max_position_embeddings=40,
    hidden_act="gelu",
)
KINDS = {
    "released": TINY,
    "paper": replace(TINY, relative_positions="paper"),
    "relative": replace(TINY, positions="relative"),
    "absolute": replace(TINY, positions="absolute"),
}
CLASSES: tuple[Any, ...] = (
    modeling.NezhaModel,
    modeling.NezhaForPreTraining,
    modeling.NezhaForMaskedLM,
    modeling.NezhaForSequenceClassification,
    modeling.NezhaForTokenClassification,
    modeling.NezhaForQuestionAnswering,
)


def config(kind: str, **settings: Any) -> NezhaPipeConfig:
    shape = asdict(KINDS[kind])
    if kind != "absolute":
        shape["max_position_embeddings"] = None
    return NezhaPipeConfig(vocab_size=30, **{**shape, "initializer_range": 0.2, **settings})


def network(kind: str, implementation: str = "sdpa", which: Any = modeling.NezhaModel, **settings: Any) -> Any:
    torch.manual_seed(3)
    return which(config(kind, attn_implementation=implementation, **settings)).eval()


def ids(length: int, rows: int = 2) -> torch.Tensor:
    return torch.randint(5, 30, (rows, length), generator=torch.Generator().manual_seed(length))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", CLASSES)
def test_every_parameter_is_initialised_whatever_was_in_memory(kind: str, which: Any) -> None:
    model = network(kind, which=which)
    kept = torch.full_like(model.base_model.embeddings.LayerNorm.weight, 0.5)
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(torch.nan)
        loaded = model.base_model.embeddings.LayerNorm.weight
        loaded.copy_(kept)
    loaded._is_hf_initialized = True
    for module in model.modules():
        model._init_weights(module)
    for name, weight in model.named_parameters():
        if weight is loaded:
            assert torch.equal(weight, kept), "what was loaded is kept"
        elif name.endswith("bias"):
            assert bool((weight == 0).all()), name
        elif name.endswith("LayerNorm.weight"):
            assert bool((weight == 1).all()), name
        else:
            assert 0 < float(weight.detach().abs().max()) <= 0.4, name


def test_a_configuration_says_only_what_its_positions_use() -> None:
    for kind in KINDS:
        made = config(kind)
        assert hasattr(made, "max_position_embeddings") is (kind == "absolute"), "programs take the smaller limit"
        assert made.to_dict()["max_position_embeddings"] == (40 if kind == "absolute" else None), "transformers' NEZHA fails"
        again = NezhaPipeConfig.from_dict(made.to_dict())
        assert again.to_dict() == made.to_dict() and hasattr(again, "max_position_embeddings") is (kind == "absolute")


class WithoutFloat64(TorchDispatchMode):
    """Fail as Apple's GPU does, here with the device `meta`."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.device.type == "meta" and result.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return result


@pytest.mark.parametrize("clip", [None, 6])
def test_tables_need_no_float64_on_a_device_without(clip: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    like = torch.empty(1)
    expected = attention.positions(9, 8, clip, like)
    monkeypatch.setattr(attention, "HAVE_FLOAT64", ())
    for table, same in zip(attention.positions(9, 8, clip, like)[1:], expected[1:], strict=True):
        assert (table is None and same is None) or torch.equal(table, same)  # type: ignore[arg-type]
    with WithoutFloat64():
        found = attention.positions(9, 8, clip, torch.empty(1, device="meta"))
    assert {table.device.type for table in found[1:] if table is not None} == {"meta"}


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", ["released", "paper", "relative"])
@pytest.mark.parametrize("length", [5, 150])
def test_a_mask_by_query_separates_texts_in_one_row(kind: str, implementation: str, length: int) -> None:
    model, apart = network(kind, implementation), ids(length)
    text = torch.arange(2 * length) // length
    same = (text[:, None] == text)[None]
    added = torch.zeros(1, 1, *same.shape[1:]).masked_fill(~same, torch.finfo(torch.float32).min)
    with torch.no_grad():
        expected = model(apart).last_hidden_state
        for mask in (same, same.long(), same.float(), same[:, None], same[:, None].expand(-1, 2, -1, -1), added):
            found = model(apart.reshape(1, -1), attention_mask=mask).last_hidden_state
            torch.testing.assert_close(found.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="1 dimensions"):
        model(apart, attention_mask=torch.ones(length))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_a_traced_graph_is_exact_at_other_lengths(kind: str, implementation: str) -> None:
    model = network(kind, implementation, torchscript=True)
    example = (ids(5), torch.ones(2, 5, dtype=torch.long))
    with torch.no_grad():
        graph = torch.jit.trace(model, example, check_trace=False)
        for length in (7, 8, 30) if kind == "absolute" else (7, 8, 150):
            inputs, mask = ids(length, 3), torch.ones(3, length, dtype=torch.long)
            mask[1, length // 2 :] = 0
            torch.testing.assert_close(graph(inputs, mask)[0], model(inputs, mask)[0], rtol=1e-4, atol=1e-5)


def test_an_exported_graph_is_exact_at_other_lengths() -> None:
    model = network("released")
    most = torch.export.Dim("length", min=2, max=512)
    with torch.no_grad():
        graph = torch.export.export(model, (ids(5),), dynamic_shapes=({1: most},)).module()
        for length in (7, 150):
            torch.testing.assert_close(
                graph(ids(length)).last_hidden_state, model(ids(length)).last_hidden_state, rtol=1e-4, atol=1e-5
            )


def test_losses_follow_from_the_labels_as_in_bert() -> None:
    from transformers import BertConfig, BertForSequenceClassification

    sizes: dict[str, Any] = {
        "vocab_size": 30,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 24,
    }
    numbers = torch.tensor([[0.3, -1.0, 2.0], [1.0, 0.5, 0.0]])
    functions = torch.nn.functional
    several = functions.binary_cross_entropy_with_logits
    for labels, settings, expected in (
        (torch.tensor([1, 0]), {"num_labels": 3}, functions.cross_entropy),
        (torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]), {"num_labels": 3}, several),
        (numbers[:, 0], {"num_labels": 1}, lambda logits, given: functions.mse_loss(logits[:, 0], given)),
        (numbers, {"num_labels": 3, "problem_type": "regression"}, functions.mse_loss),
    ):
        ours = network("paper", which=modeling.NezhaForSequenceClassification, **settings)
        theirs = BertForSequenceClassification(BertConfig(**sizes, **settings)).eval()
        with torch.no_grad():
            for model in (ours, theirs):
                output = model(ids(5), labels=labels)
                torch.testing.assert_close(output.loss, expected(output.logits, labels))
        assert ours.config.problem_type == theirs.config.problem_type is not None
