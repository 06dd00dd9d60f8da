"""Hypernetworks as A1111 trains them: small networks before the keys and values of attention, x + m H(x).

Their files hold a pair of them, for keys and for values, by the width of what the attention reads.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from modules.core.errors import ModelFileError, short
from modules.devices.compiled import fingerprint
from modules.families.alterable import Alterable
from modules.families.weights import read_pickled
from modules.patches.hooks import hooks

ACTIVATIONS: Mapping[str, str] = {
    "linear": "Identity",
    **{
        name.lower(): name
        for name in (
            *(
                "ReLU",
                "LeakyReLU",
                "ELU",
                "Tanh",
                "Sigmoid",
                "Hardswish",
                "Hardsigmoid",
                "Hardtanh",
                "Hardshrink",
                "SELU",
            ),
            *(
                "CELU",
                "GELU",
                "Mish",
                "SiLU",
                "Softplus",
                "Softshrink",
                "Softsign",
                "Tanhshrink",
                "ReLU6",
                "LogSigmoid",
            ),
            *("RReLU", "Softmax", "Softmin", "LogSoftmax"),
        )
    },
    "swish": "Hardswish",
}
"""A1111's names of activation functions, and torch.nn's classes."""

_LAYER = re.compile(r"linear\.?(\d+)\.(weight|bias)")
_OLD = {"linear1": "linear.0", "linear2": "linear.1"}


@dataclass(frozen=True, kw_only=True)
class Hypernetwork:
    """`pairs`: those for keys and values, by width."""

    name: str
    pairs: Mapping[int, tuple[nn.Module, nn.Module]]


def read_hypernetwork(path: Path, name: str) -> Hypernetwork:
    """The hypernetwork in that file; raises ModelFileError."""
    content = read_pickled(path)
    pairs = {}
    if isinstance(content, Mapping):
        for width, pair in content.items():
            if isinstance(width, int) and isinstance(pair, tuple | list) and len(pair) >= 2:
                keys, values = (_network(path, width, part, content) for part in pair[:2])
                pairs[width] = (keys, values)
    if not pairs:
        raise ModelFileError(f'"{path.name}" is no hypernetwork. Remove its tag.')
    return Hypernetwork(name=name, pairs=pairs)


def _network(path: Path, width: int, tensors: Any, told: Mapping[Any, Any]) -> nn.Module:
    """Linear layers with the activation after each but the last, and layer norms where the file has them; dropout does nothing."""
    layers = _layers(tensors)
    activation = _activation(path, told.get("activation_func"))
    matrices = sum(weight.ndim == 2 for weight, _ in layers)
    last = matrices if told.get("activate_output", True) else matrices - 1
    found: list[nn.Module] = []
    size, number = width, 0
    for weight, bias in layers:
        if weight.ndim == 2:
            _check(path, weight.shape[1] == size and len(bias) == len(weight))
            size, number = len(weight), number + 1
            found.append(_Linear(weight, bias))
            found += [activation()] if number <= last else []
        else:
            _check(path, weight.shape == bias.shape == (size,))
            found.append(_Norm(weight, bias))
    _check(path, bool(found) and size == width)
    return nn.Sequential(*found).requires_grad_(False).eval()


def _layers(tensors: Any) -> list[tuple[Tensor, Tensor]]:
    """Weights and biases in their order."""
    found: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items() if isinstance(tensors, Mapping) else ():
        for old, new in _OLD.items():
            key = str(key).replace(f"{old}.", f"{new}.")
        if (match := _LAYER.fullmatch(key)) and isinstance(tensor, Tensor):
            found.setdefault(int(match[1]), {})[match[2]] = tensor.detach().float()
    return [(parts["weight"], parts["bias"]) for _, parts in sorted(found.items()) if len(parts) == 2]


def _activation(path: Path, name: Any) -> type[nn.Module]:
    known = ACTIVATIONS.get(str(name or "linear").lower())
    if known is None:
        raise ModelFileError(
            f'"{path.name}" wants the activation function {short(name)}, which is not known. Remove its tag.'
        )
    return getattr(nn, known)


def _check(path: Path, fits: bool) -> None:
    if not fits:
        raise ModelFileError(f'"{path.name}" has layers that do not fit together; it is damaged. Download it again.')


class _Linear(nn.Module):
    """x W^T + b."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight.to(x), self.bias.to(x))


class _Norm(nn.Module):
    """A layer norm."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self.weight.shape, self.weight.to(x), self.bias.to(x))


@contextmanager
def attached(unet: Any, networks: Sequence[tuple[Hypernetwork, float]]) -> Iterator[int]:
    """The hypernetworks, one after the other, before every attention's keys and values; gives how many layers they reach."""
    if not networks:
        yield 0
        return
    chains = dict(_chains(unet.skeleton if isinstance(unet, Alterable) else unet, networks))
    reached = len(chains) // 2
    if isinstance(unet, Alterable):
        key = tuple((_fingerprint(network), amount) for network, amount in networks)
        unet.alter("hypernetworks", key, before=chains)
        try:
            yield reached
        finally:
            unet.restore("hypernetworks")
        return
    with hooks() as hook:
        for path, chain in chains.items():
            hook.before(unet.get_submodule(path), chain.before, first=True)
        yield reached


def _chains(unet: nn.Module, networks: Sequence[tuple[Hypernetwork, float]]) -> Iterator[tuple[str, "_Chain"]]:
    """What stands before each projection that is reached, by its path: of an attention its keys' and its values'."""
    for path, module in unet.named_modules():
        keys, values = getattr(module, "to_k", None), getattr(module, "to_v", None)
        if not isinstance(keys, nn.Linear) or not isinstance(values, nn.Linear):
            continue
        width = keys.in_features
        for number, name in enumerate(("to_k", "to_v")):
            chain = [(network.pairs[width][number], amount) for network, amount in networks if width in network.pairs]
            if chain:
                yield f"{path}.{name}", _Chain(chain)


def _fingerprint(network: Hypernetwork) -> str:
    pairs = ((f"{width} {n}", part) for width, pair in network.pairs.items() for n, part in enumerate(pair))
    return fingerprint(
        {f"{place} {name}": tensor for place, part in pairs for name, tensor in part.state_dict().items()}
    )


class _Chain(nn.Module):
    """x + m H(x), of one network after the other."""

    def __init__(self, chain: Sequence[tuple[nn.Module, float]]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(network for network, _ in chain)
        self._amounts = [amount for _, amount in chain]

    def forward(self, x: Tensor) -> Tensor:
        for network, amount in zip(self.networks, self._amounts, strict=True):
            x = x + amount * network(x)
        return x

    def before(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What a projection is given, changed."""
        x, *rest = args
        return (self.to(x.device)(x), *rest), kwargs
