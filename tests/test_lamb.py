"""LAMB against its formulas in float64 numpy and against timm, and that a saved state goes on bit for bit."""

import copy
import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from model.config import EncoderConfig, OptimizerConfig
from model.heads import PretrainingModel
from model.optimization import lamb
from model.optimization.lamb import Lamb, clip_by_global_norm, parameter_groups
from model.optimization.optimizers import make

Array = npt.NDArray[np.float64]
DECAY, EPSILON, LR = 0.01, 1e-6, 0.02


def by_formula(w: Array, gradients: list[Array], decayed: bool) -> tuple[Array, list[float]]:
    """The 2019 rule in the order of the TensorFlow code: weights at the end, and the trust ratio of each step."""
    m, v, ratios = np.zeros_like(w), np.zeros_like(w), []
    for t, g in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.999**t)
        update = m_hat / (np.sqrt(v_hat) + EPSILON) + (DECAY * w if decayed else 0)
        measured = np.linalg.norm(m_hat / np.sqrt(v_hat + EPSILON) + DECAY * w)
        w_norm, g_norm = np.linalg.norm(w), np.linalg.norm(g)
        ratios.append(float(np.clip(w_norm / measured, 0, 10)) if w_norm > 0 and g_norm > 0 else 1.0)
        w = w - LR * ratios[-1] * update
    return w, ratios


def test_twenty_steps_are_those_of_the_formula() -> None:
    """Big, small (epsilon counts) and zero gradients; a zero bias; a weight so large that the ratio is clipped."""
    rng = np.random.default_rng(5)
    start = {
        "dense": rng.normal(0, 0.02, (8, 6)),
        "LayerNorm": np.ones(8),
        "bias": np.zeros(6),
        "large": np.full((4, 4), 30.0),
        "still": rng.normal(0, 1, 5),
    }
    scale = {"dense": 1e-4, "LayerNorm": 1e-2, "bias": 1e-3, "large": 1.0, "still": 0.0}
    gradients = {name: [rng.normal(0, scale[name], w.shape) for _ in range(20)] for name, w in start.items()}
    gradients["dense"][7][:] = 0
    params = {name: nn.Parameter(torch.tensor(w, dtype=torch.float32)) for name, w in start.items()}
    groups: list[dict[str, Any]] = [
        {"params": [params[name] for name in ("dense", "large", "still")]},
        {"params": [params["LayerNorm"], params["bias"]], "weight_decay": 0.0},
    ]
    optimizer = Lamb(groups, lr=LR, epsilon=EPSILON, weight_decay=DECAY)
    expected = {name: by_formula(w, gradients[name], name not in ("LayerNorm", "bias")) for name, w in start.items()}
    for step in range(20):
        for name, param in params.items():
            param.grad = torch.tensor(gradients[name][step], dtype=torch.float32)
        optimizer.step()
        for name, param in params.items():
            ratio = optimizer.trust_ratios[param].item()
            assert ratio == pytest.approx(expected[name][1][step], rel=2e-5), (name, step)
    for name, param in params.items():
        np.testing.assert_allclose(param.detach().numpy(), expected[name][0], rtol=2e-5, atol=1e-7, err_msg=name)
    assert expected["bias"][1][0] == expected["dense"][1][7] == 1.0 and expected["large"][1][0] == 10.0


def timms_lamb() -> type[torch.optim.Optimizer]:
    """timm.optim.lamb alone: `import timm` needs torchvision, which these tests do not."""
    spec = importlib.util.find_spec("timm")
    if spec is None or spec.origin is None:
        pytest.skip("timm, the other LAMB to compare with, is not installed")
    root = Path(spec.origin).parent
    for name, folder in (("timm", root), ("timm.optim", root / "optim")):
        bare = types.ModuleType(name)
        bare.__path__ = [str(folder)]
        sys.modules[name] = bare
    try:
        lamb: type[torch.optim.Optimizer] = importlib.import_module("timm.optim.lamb").Lamb
        return lamb
    finally:
        for name in [name for name in sys.modules if name == "timm" or name.startswith("timm.")]:
            del sys.modules[name]


@pytest.mark.parametrize("max_grad_norm", [1.0, 1e6])
def test_nvlamb_is_timms_lamb(max_grad_norm: float) -> None:
    """Over 20 steps, clipped and not; one zero bias, one parameter without decay, small and large gradients."""
    theirs_class: Any = timms_lamb()
    torch.manual_seed(7)
    ours = [nn.Parameter(torch.randn(7, 5)), nn.Parameter(torch.full((5,), 30.0)), nn.Parameter(torch.zeros(3))]
    theirs = [nn.Parameter(param.detach().clone()) for param in ours]

    def groups(params: list[nn.Parameter]) -> list[dict[str, Any]]:
        return [{"params": params[:1], "weight_decay": 0.01}, {"params": params[1:], "weight_decay": 0.0}]

    our_optimizer = Lamb(groups(ours), lr=0.01, epsilon=1e-6, weight_decay=0.01, variant="nvlamb")
    their_optimizer = theirs_class(groups(theirs), lr=0.01, eps=1e-6, max_grad_norm=max_grad_norm, always_adapt=True)
    for step in range(20):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a) * 10.0 ** (step % 5 - 4)
            b.grad = a.grad.clone()
        clip_by_global_norm(ours, max_grad_norm)
        our_optimizer.step()
        their_optimizer.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_nvlamb_is_its_formula() -> None:
    """In float64 numpy; the ratio of the large weight goes beyond 10, which only `nezha2019` forbids."""
    rng = np.random.default_rng(8)
    for start, decay in ((rng.normal(0, 0.02, (8, 6)), DECAY), (np.full((4, 4), 30.0), 0.0), (np.zeros(4), 0.0)):
        gradients = [rng.normal(0, 1e-3, start.shape) for _ in range(10)]
        param = nn.Parameter(torch.tensor(start, dtype=torch.float32))
        optimizer = Lamb([param], lr=LR, epsilon=EPSILON, weight_decay=decay, variant="nvlamb")
        w, m, v = start.copy(), np.zeros_like(start), np.zeros_like(start)
        for t, g in enumerate(gradients, start=1):
            param.grad = torch.tensor(g, dtype=torch.float32)
            optimizer.step()
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            u = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + EPSILON) + decay * w
            ratio = np.linalg.norm(w) / np.linalg.norm(u) if np.linalg.norm(w) else 1.0
            assert optimizer.trust_ratios[param].item() == pytest.approx(ratio, rel=2e-5)
            w = w - LR * ratio * u
        np.testing.assert_allclose(param.detach().numpy(), w, rtol=5e-5, atol=1e-7)
        assert (ratio > 10) == (start.ndim == 2 and start[0, 0] == 30)


@pytest.mark.parametrize("variant", ["nezha2019", "nvlamb"])
def test_tensor_by_tensor_and_all_together_are_the_same_bits(variant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a processor does and what a GPU does; tensors of more than one token, and of odd sizes."""
    monkeypatch.setattr(lamb, "CHUNK", 64)
    shapes = [(31, 17), (129,), (3,), (64, 8), ()]

    def run(together: bool) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        generator = torch.Generator().manual_seed(9)
        params = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
        optimizer = Lamb(params, lr=0.01, variant=variant)
        if together:
            monkeypatch.setattr(optimizer, "_update_one_by_one", optimizer._update_together)
        for _ in range(5):
            for param in params:
                param.grad = torch.randn(param.shape, generator=generator) * 1e-3
            optimizer.step()
        return [param.detach() for param in params], list(optimizer.trust_ratios.values())

    for one_by_one, together in zip(run(False), run(True), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one_by_one, together, strict=True))


def test_adamw_is_torchs_with_decay_where_it_belongs() -> None:
    config = EncoderConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    settings = OptimizerConfig(variant="adamw", beta2=0.98, epsilon=1e-5, weight_decay=0.1)
    torch.manual_seed(3)
    ours, theirs = PretrainingModel(config, 50), PretrainingModel(config, 50)
    theirs.load_state_dict(ours.state_dict())
    plain = [p for name, p in theirs.named_parameters() if name.endswith("bias") or "LayerNorm" in name]
    decayed = [p for p in theirs.parameters() if not any(p is one for one in plain)]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.98), eps=1e-5, foreach=False, fused=False)
    optimizer = make(ours, settings)
    for group in optimizer.param_groups:
        group["lr"] = 1e-2
    for _ in range(5):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        optimizer.step()
        reference.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_agrees_with_timm_where_the_rules_meet() -> None:
    """With next to no epsilon, decay on everything and ratios below 10 the 2019 rule is the published one."""
    theirs_class: Any = timms_lamb()
    torch.manual_seed(6)
    ours = [nn.Parameter(torch.randn(7, 5)), nn.Parameter(torch.randn(5)), nn.Parameter(torch.zeros(3))]
    theirs = [nn.Parameter(param.detach().clone()) for param in ours]
    our_optimizer = Lamb(ours, lr=0.01, epsilon=1e-20, weight_decay=0.01)
    their_optimizer = theirs_class(theirs, lr=0.01, eps=1e-20, weight_decay=0.01, max_grad_norm=1.0, always_adapt=True)
    for _ in range(20):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a) + 2
            b.grad = a.grad.clone()
        clip_by_global_norm(ours, 1.0)
        our_optimizer.step()
        their_optimizer.step()
        assert all(ratio < 10 for ratio in our_optimizer.trust_ratios.values())
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_loaded_state_goes_on_bit_for_bit() -> None:
    def gradients(step: int) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(step)
        return [torch.randn(9, 4, generator=generator), torch.randn(4, generator=generator)]

    def run(params: list[nn.Parameter], optimizer: Lamb, steps: range) -> None:
        for step in steps:
            for param, grad in zip(params, gradients(step), strict=True):
                param.grad = grad
            optimizer.step()

    def fresh() -> tuple[list[nn.Parameter], Lamb]:
        params = [nn.Parameter(torch.ones(9, 4)), nn.Parameter(torch.zeros(4))]
        groups: list[dict[str, Any]] = [{"params": params[:1]}, {"params": params[1:], "weight_decay": 0.0}]
        return params, Lamb(groups, lr=0.01)

    through, optimizer = fresh()
    run(through, optimizer, range(12))
    first, first_optimizer = fresh()
    run(first, first_optimizer, range(5))
    second, second_optimizer = fresh()
    for old, new in zip(first, second, strict=True):
        new.data.copy_(old.data)
    second_optimizer.load_state_dict(copy.deepcopy(first_optimizer.state_dict()))
    run(second, second_optimizer, range(5, 12))
    assert all(torch.equal(a, b) for a, b in zip(through, second, strict=True))
    assert [group["step"] for group in second_optimizer.state_dict()["param_groups"]] == [12, 12]


def test_moments_are_float32_and_nothing_else_is_kept() -> None:
    param = nn.Parameter(torch.ones(3))
    param.grad = torch.ones(3)
    optimizer = Lamb([param], lr=0.01)
    optimizer.step()
    state = optimizer.state_dict()["state"][0]
    assert {name: (value.dtype, value.shape) for name, value in state.items()} == {
        "exp_avg": (torch.float32, (3,)),
        "exp_avg_sq": (torch.float32, (3,)),
    }


def test_a_parameter_without_gradient_stays() -> None:
    used, unused = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    used.grad = torch.ones(3)
    Lamb([used, unused], lr=0.01).step()
    assert unused.eq(1).all() and used.ne(1).all()


def test_the_global_norm_is_clipped_once_over_all() -> None:
    params = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))]
    params[0].grad, params[1].grad = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    assert clip_by_global_norm(params, 1.0).item() == pytest.approx(5.0)
    assert params[0].grad.tolist() == pytest.approx([0.6, 0.0]) and params[1].grad.tolist() == pytest.approx([0.0, 0.8])
    assert params[2].grad is None


@pytest.mark.parametrize("values", [[0.3, 0.4], [0.0, 0.0], [float("inf"), 1.0], [float("nan"), 1.0]])
def test_small_zero_and_broken_gradients_are_left_alone(values: list[float]) -> None:
    param = nn.Parameter(torch.zeros(2))
    param.grad = torch.tensor(values)
    norm = clip_by_global_norm([param], 1.0)
    assert param.grad.tolist() == pytest.approx(values, nan_ok=True)
    assert norm.item() == pytest.approx(np.linalg.norm(values), nan_ok=True)


def test_the_loss_scale_is_taken_out_before_the_norm_is_clipped() -> None:
    params = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    params[0].grad, params[1].grad = torch.tensor([3.0, 0.0]) * 2**20, torch.tensor([4.0]) * 2**20
    assert clip_by_global_norm(params, 1.0, loss_scale=2.0**20).item() == 5.0
    assert params[0].grad.tolist() == pytest.approx([0.6, 0.0]) and params[1].grad.tolist() == pytest.approx([0.8])
    params[0].grad, params[1].grad = torch.tensor([0.3, 0.0]) * 2**20, torch.tensor([0.4]) * 2**20
    clip_by_global_norm(params, 1.0, loss_scale=2.0**20)
    assert params[0].grad.tolist() == pytest.approx([0.3, 0.0])


def test_norms_of_foreign_encoders_are_not_decayed_either() -> None:
    """As ALBERT and ModernBERT call them."""
    parts = {"full_layer_layer_norm": nn.LayerNorm(2), "mlp_norm": nn.LayerNorm(2, bias=False), "dense": nn.Linear(2, 2)}
    decayed, plain = parameter_groups(nn.ModuleDict(parts), 0.01)
    assert (len(decayed["params"]), len(plain["params"])) == (1, 4)


def test_biases_and_layer_norms_are_not_decayed() -> None:
    config = EncoderConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    model = PretrainingModel(config, 50)
    names = {parameter: name for name, parameter in model.named_parameters()}
    decayed, plain = parameter_groups(model, 0.01)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.01, 0.0)
    without = {names[parameter] for parameter in plain["params"]}
    assert without == {name for name in names.values() if name.endswith("bias") or "LayerNorm" in name}
    assert {"cls.predictions.bias", "nezha.embeddings.LayerNorm.weight"} <= without
    assert "nezha.embeddings.word_embeddings.weight" in {names[parameter] for parameter in decayed["params"]}
    assert len(decayed["params"]) + len(plain["params"]) == len(names)
