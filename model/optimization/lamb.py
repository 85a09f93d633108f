"""LAMB, as in the 2019 release (`nezha2019`) and as NVIDIA has it (`nvlamb`), and clipping by the global norm.

For each tensor w with gradient g, at step t = 1, 2, ...:

    m = beta1 m + (1 - beta1) g                     v = beta2 v + (1 - beta2) g^2             moments
    m^ = m / (1 - beta1^t)                          v^ = v / (1 - beta2^t)                    bias correction
    u = m^ / (sqrt(v^) + epsilon) + decay w         decay is 0 for biases and LayerNorm
    nezha2019   ratio = |w| / |m^ / sqrt(v^ + epsilon) + decay w|, clipped to [0, 10]; 1 where |w| or |g| is 0
    nvlamb      ratio = |w| / |u|; 1 where |w| or |u| is 0
    w = w - lr ratio u

Learning rates do not carry over from one to the other. In the `ratio` of `nezha2019`, epsilon is inside the root and decay is
never left out: as clipping makes gradients small, its steps are about ten times those of `nvlamb` at the same learning rate.
Both adapt every tensor, biases and LayerNorm included (apex: `use_nvlamb`; timm: `always_adapt`).

Written out here because the ratio of `nezha2019` is neither in apex nor in timm.

    optimizer = Lamb(parameter_groups(model, weight_decay=0.01), lr=1.8e-4, weight_decay=0.01)
    norm = clip_by_global_norm(model.parameters(), 1.0)
    optimizer.step()                     # optimizer.trust_ratios[model.cls.predictions.bias] -> tensor(1.)

Sources: Huawei's optimization.py, lines 97-108 and 223-309; apex's fused_lamb.py; LAMB is arXiv 1904.00962.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

MAX_TRUST_RATIO = 10.0
"""Upper bound of the ratio in `nezha2019`."""
NO_DECAY = ("norm", "bias")
"""Parts of the names, in lower case, of parameters without weight decay. Foreign encoders have layer_norm or mlp_norm, too."""
CHUNK = 1 << 15
"""Elements of a tensor that each CPU thread updates at once: everything that their update reads fits into its cache. Also the
fewest that torch gives to a thread."""


class Lamb(torch.optim.Optimizer):
    """LAMB for float32 parameters. Norms and ratios stay tensors, so the host never waits for the device.

    A group's `weight_decay` enters the update; its `ratio_decay`, by default the optimizer's, enters the trust ratio of
    `nezha2019`. `step` in each group counts the steps taken, so a saved and restored optimizer continues bit for bit.
    Parameters without a gradient (a head whose task is off) stay as they are.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    """Torch's own, without the decorator that imports the compiler at the first call: a second of each start."""

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
        """Update all parameters that have gradients, clipped before. `trust_ratios` then holds those of this step."""
        assert closure is None, "the loss is computed before the step"
        self.trust_ratios = {}
        for group in self.param_groups:
            group["step"] += 1
            params: list[Tensor] = [param for param in group["params"] if param.grad is not None]
            if params:
                # The same arithmetic in two orders: many small kernels keep a GPU waiting, large temporaries a CPU.
                on_cpu = all(param.device.type == "cpu" for param in params)
                ratios = self._update_one_by_one(params, group) if on_cpu else self._update_together(params, group)
                self.trust_ratios |= dict(zip(params, ratios.unbind(), strict=True))

    def _update_together(self, params: list[Tensor], group: dict[str, Any]) -> Tensor:
        """Apply the formulas above to the P parameters of a group; returns their trust ratios (P,)."""
        grads = [param.grad for param in params if param.grad is not None]
        beta1, beta2 = group["betas"]
        states = [self._moments(param) for param in params]
        m, v = [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states]

        # Moments, and their bias correction.
        torch._foreach_lerp_(m, grads, 1 - beta1)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, grads, grads, 1 - beta2)
        m_hat = list(torch._foreach_div(m, 1 - beta1 ** group["step"]))
        v_hat = list(torch._foreach_div(v, 1 - beta2 ** group["step"]))

        # u, the update.
        root = torch._foreach_sqrt(v_hat)
        torch._foreach_add_(root, group["epsilon"])
        update = list(torch._foreach_div(m_hat, root))
        torch._foreach_add_(update, params, alpha=group["weight_decay"])

        # The tensor whose norm is the denominator of the trust ratio.
        measured = update
        if self.variant == "nezha2019":
            torch._foreach_add_(v_hat, group["epsilon"])
            torch._foreach_sqrt_(v_hat)
            torch._foreach_div_(m_hat, v_hat)
            torch._foreach_add_(m_hat, params, alpha=group["ratio_decay"])
            measured = m_hat

        # Trust ratios, then the new weights.
        ratios = self._ratios(_norms(params), _norms(measured), _norms(grads))
        torch._foreach_mul_(update, list(ratios.unbind()))
        torch._foreach_add_(params, update, alpha=-group["lr"])
        return ratios

    def _update_one_by_one(self, params: list[Tensor], group: dict[str, Any]) -> Tensor:
        """The same as `_update_together`, bit for bit: tensor by tensor, in chunks that fit into the cache."""
        largest = max(param.numel() for param in params)
        update, measured = torch.empty(largest), torch.empty(largest)
        return torch.stack([self._update_one(param, group, update, measured) for param in params])

    def _update_one(self, param: Tensor, group: dict[str, Any], update: Tensor, measured: Tensor) -> Tensor:
        """Update one parameter; returns its trust ratio (). `update` and `measured` are scratch memory, (largest numel,)."""
        assert param.grad is not None
        state, (beta1, beta2), epsilon = self._moments(param), group["betas"], group["epsilon"]
        correction1, correction2 = 1 - beta1 ** group["step"], 1 - beta2 ** group["step"]
        # All tensors flat: weight, gradient, moments, update u, and a, the tensor whose norm divides the weight's.
        w, g, m, v = (tensor.view(-1) for tensor in (param, param.grad, state["exp_avg"], state["exp_avg_sq"]))
        u, a = update[: w.numel()], measured[: w.numel()]
        size = CHUNK * torch.get_num_threads()
        scratch = torch.empty(min(size, w.numel()))
        # Chunk by chunk: moments, u, and a.
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
        # The trust ratio needs the whole of each; then the new weights.
        ratio = self._ratios(*(torch.linalg.vector_norm(x) for x in (w, a if self.variant == "nezha2019" else u, g)))
        for w_, u_ in zip(torch.split(w, size), torch.split(u, size), strict=True):
            w_.add_(u_.mul_(ratio), alpha=-group["lr"])
        return ratio

    def _ratios(self, weight_norms: Tensor, update_norms: Tensor, gradient_norms: Tensor) -> Tensor:
        """Trust ratios from norms, all () for one parameter or (P,) for several."""
        if self.variant == "nvlamb":
            return torch.where((weight_norms > 0) & (update_norms > 0), weight_norms / update_norms, 1.0)
        moves = (weight_norms > 0) & (gradient_norms > 0)
        return torch.where(moves, (weight_norms / update_norms).clamp(0.0, MAX_TRUST_RATIO), 1.0)

    def _moments(self, param: Tensor) -> dict[str, Tensor]:
        """The moments of a parameter, zeros before its first update."""
        state: dict[str, Tensor] = self.state[param]
        if not state:
            state["exp_avg"] = torch.zeros_like(param, dtype=torch.float32)
            state["exp_avg_sq"] = torch.zeros_like(param, dtype=torch.float32)
        return state


def clip_by_global_norm(parameters: Iterable[nn.Parameter], max_norm: float, loss_scale: float = 1.0) -> Tensor:
    """Scale all gradients in place so that their global norm is at most `max_norm`; returns the norm before, ().

    Gradients are those of `loss_scale` times the loss; the scale is divided out of them, and of the norm. If the norm is not
    finite the gradients are left alone: check it, and skip the step (optimization.py, lines 95-115).
    """
    grads = [param.grad for param in parameters if param.grad is not None]
    if not grads:
        return torch.zeros(())
    norm: Tensor = torch.linalg.vector_norm(_norms(grads)) / loss_scale
    factor = torch.where(norm.isfinite(), (max_norm / norm).clamp(max=1.0) / loss_scale, 1.0)
    torch._foreach_mul_(grads, factor)
    return norm


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups, each in the model's order: parameters with `weight_decay`, then LayerNorm and biases, without."""
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (undecayed if any(word in name.lower() for word in NO_DECAY) else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": undecayed, "weight_decay": 0.0}]


def _norms(tensors: list[Tensor]) -> Tensor:
    """The Euclidean norm of each of P tensors, (P,)."""
    return torch.stack(list(torch._foreach_norm(tensors)))
