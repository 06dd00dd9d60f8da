"""Muon (Jordan et al., 2024): momentum made orthogonal for matrices, AdamW for the rest. It halves the steps small networks need."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def orthogonal(g: Tensor, steps: int = 5) -> Tensor:
    """The nearest orthogonal matrix, roughly, by a quintic Newton-Schulz iteration, in bfloat16 where the CPU multiplies such; (rows, columns)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.bfloat16() if torch.cpu._is_avx512_bf16_supported() else g.float()
    if tall := x.shape[0] > x.shape[1]:
        x = x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        s = x @ x.T
        x = a * x + (b * s + c * s @ s) @ x
    return (x.T if tall else x).float()


class Muon(torch.optim.Optimizer):
    """For weights of two and more axes, flattened to (out, rest); its steps have AdamW's size (arXiv:2502.16982, eq. 4)."""

    def __init__(
        self, params: Iterable[nn.Parameter], *, lr: float, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None) -> None:  # noqa: ARG002
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                buffer = state.setdefault("momentum_buffer", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                g = p.grad.lerp(buffer, group["momentum"]).flatten(1)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(orthogonal(g).view_as(p), alpha=-group["lr"] * 0.2 * max(g.shape) ** 0.5)


def optimisers(module: nn.Module, *, rate: float, beta2: float, decay: float) -> list[torch.optim.Optimizer]:
    """Muon for the inner matrices, AdamW for embeddings, norms, biases and thin layers."""
    embeddings = {id(p) for part in module.modules() if isinstance(part, nn.Embedding) for p in part.parameters()}
    inner = [p for p in module.parameters() if p.ndim > 1 and id(p) not in embeddings and min(p.flatten(1).shape) >= 16]
    chosen = {id(p) for p in inner}
    rest = [p for p in module.parameters() if id(p) not in chosen]
    found: list[torch.optim.Optimizer] = [Muon(inner, lr=rate, weight_decay=decay)] if inner else []
    return [*found, torch.optim.AdamW(rest, lr=rate, betas=(0.9, beta2), weight_decay=decay)] if rest else found
