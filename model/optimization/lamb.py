"""LAMB, in the variant of the 2019 release and in NVIDIA's (`nezha2019`, `nvlamb`), and the gradient's global norm.

For each tensor w with gradient g, at step t = 1, 2, ...:

    m = beta1 m + (1 - beta1) g                     v = beta2 v + (1 - beta2) g^2             moments
    m^ = m / (1 - beta1^t)                          v^ = v / (1 - beta2^t)                    bias correction
    u = m^ / (sqrt(v^) + epsilon) + decay w         decay is left out for biases and LayerNorm
    nezha2019   ratio = |w| / |m^ / sqrt(v^ + epsilon) + decay w|, clipped to [0, 10]; 1 where |w| or |g| is 0
    nvlamb      ratio = |w| / |u|; 1 where |w| or |u| is 0
    w = w - lr ratio u

Learning rates do not carry over between the two. In `nezha2019` the root under `ratio` has epsilon inside, and `ratio` always
counts the decay: with the small gradients of a clipped norm its steps are about ten times those of `nvlamb` at one learning
rate. Both adapt every tensor, biases and LayerNorm included (apex: `use_nvlamb`; timm: `always_adapt`).

    optimizer = Lamb(parameter_groups(model, weight_decay=0.01), lr=1.8e-4, weight_decay=0.01)
    norm = clip_by_global_norm(model.parameters(), 1.0)
    optimizer.step()                     # optimizer.trust_ratios[model.cls.predictions.bias] -> tensor(1.)

Sources: Huawei's optimization.py, lines 97-108 and 223-309; apex's fused_lamb.py; LAMB is arXiv 1904.00962.
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

MAX_TRUST_RATIO = 10.0
NO_DECAY = ("LayerNorm", "bias")
CHUNK = 1 << 15
"""Numbers of a tensor that each thread of a processor takes at once: all that an update reads of so many fits into its cache.
Also the least that torch gives to a thread."""


class Lamb(torch.optim.Optimizer):
    """LAMB over float32 parameters. Waits for no device: norms and ratios stay tensors.

    A group's `weight_decay` enters the update; its `ratio_decay`, by default the optimizer's, enters the trust ratio of
    `nezha2019`. `step` in each group counts the steps taken, so a state that is saved and loaded goes on bit for bit.
    Parameters without a gradient (a head whose task is off) stay as they are.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-6,
        weight_decay: float = 0.01,
        variant: Literal["nezha2019", "nvlamb"] = "nezha2019",
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
        self.variant = variant
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
                # Many small calls keep a GPU waiting, and memory a processor: each has its own order of the same arithmetic.
                one_by_one = all(param.device.type == "cpu" for param in params)
                ratios = self._each(params, group) if one_by_one else self._together(params, group)
                self.trust_ratios |= dict(zip(params, ratios.unbind(), strict=True))

    def _together(self, params: list[Tensor], group: dict[str, Any]) -> Tensor:
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
        update = list(torch._foreach_div(m_hat, root))
        torch._foreach_add_(update, params, alpha=group["weight_decay"])

        measured = update
        if self.variant == "nezha2019":
            torch._foreach_add_(v_hat, group["epsilon"])
            torch._foreach_sqrt_(v_hat)
            torch._foreach_div_(m_hat, v_hat)
            torch._foreach_add_(m_hat, params, alpha=group["ratio_decay"])
            measured = m_hat

        ratios = self._ratios(_norms(params), _norms(measured), _norms(grads))
        torch._foreach_mul_(update, list(ratios.unbind()))
        torch._foreach_add_(params, update, alpha=-group["lr"])
        return ratios

    def _each(self, params: list[Tensor], group: dict[str, Any]) -> Tensor:
        """As `_together`, bit for bit: tensor by tensor, in tokens that fit into the cache, without big temporaries."""
        largest = max(param.numel() for param in params)
        update, measured = torch.empty(largest), torch.empty(largest)
        return torch.stack([self._one(param, group, update, measured) for param in params])

    def _one(self, param: Tensor, group: dict[str, Any], update: Tensor, measured: Tensor) -> Tensor:
        """Update one parameter; `update` and `measured` are scratch memory. Gives its trust ratio."""
        assert param.grad is not None
        state, (beta1, beta2), epsilon = self._moments(param), group["betas"], group["epsilon"]
        correction1, correction2 = 1 - beta1 ** group["step"], 1 - beta2 ** group["step"]
        w, g, m, v = (tensor.view(-1) for tensor in (param, param.grad, state["exp_avg"], state["exp_avg_sq"]))
        u, a = update[: w.numel()], measured[: w.numel()]
        size = CHUNK * torch.get_num_threads()
        scratch = torch.empty(min(size, w.numel()))
        for w_, g_, m_, v_, u_, a_ in zip(*(torch.split(x, size) for x in (w, g, m, v, u, a)), strict=True):
            v_hat = scratch[: w_.numel()]
            m_.lerp_(g_, 1 - beta1)
            v_.mul_(beta2).addcmul_(g_, g_, value=1 - beta2)
            torch.div(m_, correction1, out=a_)
            torch.div(v_, correction2, out=v_hat)
            torch.sqrt(v_hat, out=u_).add_(epsilon)
            torch.div(a_, u_, out=u_).add_(w_, alpha=group["weight_decay"])
            if self.variant == "nezha2019":
                a_.div_(v_hat.add_(epsilon).sqrt_()).add_(w_, alpha=group["ratio_decay"])
        ratio = self._ratios(*(torch.linalg.vector_norm(x) for x in (w, a if self.variant == "nezha2019" else u, g)))
        for w_, u_ in zip(torch.split(w, size), torch.split(u, size), strict=True):
            w_.add_(u_.mul_(ratio), alpha=-group["lr"])
        return ratio

    def _ratios(self, weight_norms: Tensor, update_norms: Tensor, gradient_norms: Tensor) -> Tensor:
        """Trust ratios from norms, of one parameter or of several."""
        if self.variant == "nvlamb":
            return torch.where((weight_norms > 0) & (update_norms > 0), weight_norms / update_norms, 1.0)
        moves = (weight_norms > 0) & (gradient_norms > 0)
        return torch.where(moves, (weight_norms / update_norms).clamp(0.0, MAX_TRUST_RATIO), 1.0)

    def _moments(self, param: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[param]
        if not state:
            state["exp_avg"] = torch.zeros_like(param, dtype=torch.float32)
            state["exp_avg_sq"] = torch.zeros_like(param, dtype=torch.float32)
        return state


def clip_by_global_norm(parameters: Iterable[nn.Parameter], max_norm: float, loss_scale: float = 1.0) -> Tensor:
    """Scales all gradients in place so that their common norm is at most `max_norm`; gives the norm before, a 0-d tensor.

    Gradients are those of `loss_scale` times the loss; afterwards, and in the norm, it is taken out. A norm that is not finite
    leaves the gradients alone: look at it, and leave out the step (optimization.py, lines 95-115).
    """
    grads = [param.grad for param in parameters if param.grad is not None]
    if not grads:
        return torch.zeros(())
    norm: Tensor = torch.linalg.vector_norm(_norms(grads)) / loss_scale
    factor = torch.where(norm.isfinite(), (max_norm / norm).clamp(max=1.0) / loss_scale, 1.0)
    torch._foreach_mul_(grads, factor)
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
