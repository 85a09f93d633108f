"""LAMB as the code of the 2019 release has it (variant `nezha2019`).

For each tensor w with gradient g, at step t = 1, 2, ...:

    m = beta1 m + (1 - beta1) g                     v = beta2 v + (1 - beta2) g^2             moments
    m^ = m / (1 - beta1^t)                          v^ = v / (1 - beta2^t)                    bias correction
    u = m^ / (sqrt(v^) + epsilon) + decay w         decay is left out for biases and LayerNorm
    ratio = |w| / |m^ / sqrt(v^ + epsilon) + decay w|, clipped to [0, 10]; 1 where |w| or |g| is 0
    w = w - lr ratio u

Three things set it apart from other LAMBs, so learning rates do not carry over: the root under `ratio` has epsilon inside,
`ratio` always counts the decay, and it applies to every tensor, biases and LayerNorm included. With the small gradients of a
clipped norm, epsilon 1e-6 inside the root makes steps about ten times those of NVIDIA's LAMB at the same learning rate.

    optimizer = Lamb(parameter_groups(model, weight_decay=0.01), lr=1.8e-4, weight_decay=0.01)
    norm = clip_by_global_norm(model.parameters(), 1.0)
    optimizer.step()                     # optimizer.trust_ratios[model.cls.predictions.bias] -> tensor(1.)

Sources: Huawei's optimization.py, lines 97-108 and 223-309; LAMB is arXiv 1904.00962.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

MAX_TRUST_RATIO = 10.0
NO_DECAY = ("LayerNorm", "bias")


class Lamb(torch.optim.Optimizer):
    """LAMB over float32 parameters. Waits for no device: norms and ratios stay tensors.

    A group's `weight_decay` enters the update; its `ratio_decay`, by default the optimizer's, enters the trust ratio. `step` in
    each group counts the steps taken, so a state that is saved and loaded goes on bit for bit. Parameters without a gradient
    (a head whose task is off) stay as they are.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-6,
        weight_decay: float = 0.01,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "epsilon": epsilon,
            "weight_decay": weight_decay,
            "ratio_decay": weight_decay,
            "step": 0,
        }
        super().__init__(params, defaults)
        self.trust_ratios: dict[Tensor, Tensor] = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of all parameters that have gradients; clip these before. `trust_ratios` then holds this step's."""
        assert closure is None, "the loss is computed before the step"
        self.trust_ratios = {}
        for group in self.param_groups:
            group["step"] += 1
            params: list[Tensor] = [param for param in group["params"] if param.grad is not None]
            if params:
                ratios = self._update(params, group)
                self.trust_ratios |= dict(zip(params, ratios.unbind(), strict=True))

    def _update(self, params: list[Tensor], group: dict[str, Any]) -> Tensor:
        """The formulas above for the parameters of one group; gives their trust ratios (one a parameter)."""
        grads = [param.grad for param in params if param.grad is not None]
        beta1, beta2 = group["betas"]
        states = [self._moments(param) for param in params]
        m, v = [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states]

        torch._foreach_lerp_(m, grads, 1 - beta1)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, grads, grads, 1 - beta2)
        m_hat = list(torch._foreach_div(m, 1 - beta1 ** group["step"]))
        v_hat = list(torch._foreach_div(v, 1 - beta2 ** group["step"]))

        root = torch._foreach_sqrt(v_hat)
        torch._foreach_add_(root, group["epsilon"])
        update = torch._foreach_div(m_hat, root)
        torch._foreach_add_(update, params, alpha=group["weight_decay"])

        torch._foreach_add_(v_hat, group["epsilon"])
        torch._foreach_sqrt_(v_hat)
        torch._foreach_div_(m_hat, v_hat)  # m_hat is what the ratio measures from here on
        torch._foreach_add_(m_hat, params, alpha=group["ratio_decay"])

        ratios = _trust_ratios(_norms(params), _norms(m_hat), _norms(grads))
        torch._foreach_mul_(update, list(ratios.unbind()))
        torch._foreach_add_(params, update, alpha=-group["lr"])
        return ratios

    def _moments(self, param: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[param]
        if not state:
            state["exp_avg"] = torch.zeros_like(param, dtype=torch.float32)
            state["exp_avg_sq"] = torch.zeros_like(param, dtype=torch.float32)
        return state


def clip_by_global_norm(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scales all gradients in place so that their common norm is at most `max_norm`; gives the norm before, a 0-d tensor.

    A norm that is not finite leaves the gradients alone: look at it, and leave out the step (optimization.py, lines 95-115).
    """
    grads = [param.grad for param in parameters if param.grad is not None]
    if not grads:
        return torch.zeros(())
    norm: Tensor = torch.linalg.vector_norm(_norms(grads))
    scale = torch.where(norm.isfinite(), (max_norm / norm).clamp(max=1.0), 1.0)
    torch._foreach_mul_(grads, scale)
    return norm


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups, each in the model's order: everything with `weight_decay`, but for LayerNorm and biases, which have none."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (plain if any(word in name for word in NO_DECAY) else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def _norms(tensors: list[Tensor]) -> Tensor:
    return torch.stack(list(torch._foreach_norm(tensors)))


def _trust_ratios(weight_norms: Tensor, update_norms: Tensor, gradient_norms: Tensor) -> Tensor:
    moves = (weight_norms > 0) & (gradient_norms > 0)
    return torch.where(moves, (weight_norms / update_norms).clamp(0.0, MAX_TRUST_RATIO), 1.0)
