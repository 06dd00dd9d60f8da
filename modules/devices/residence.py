"""Where a model's weights are while it computes: all on the device, a network at a time, or a layer at a time.

Policies hang on to modules by PyTorch's own hooks, so that nothing else has to know of them. Weights keep their home in the CPU's
memory; what goes to the device is a copy, and is dropped there when it has served. Results are the same under every policy.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Meter:
    """Bytes of weights on the device, now and at most."""

    def __init__(self) -> None:
        self.now = 0
        self.peak = 0

    def add(self, count: int) -> None:
        """So many more, or fewer."""
        self.now += count
        self.peak = max(self.peak, self.now)


Unit = Sequence[nn.Module]
"""Modules that are called for one purpose, and are on the device together: a network, or an autoencoder's halves."""


class Policy(Protocol):
    """What decides where weights are."""

    label: str

    def attach(self, units: Sequence[Unit]) -> None:
        """Take charge of networks that are called one after the other; their weights are in the CPU's memory."""
        ...

    def leave(self) -> None:
        """The device is free of their weights until one is called again."""
        ...


class Weights:
    """The tensors of some modules, at home on the CPU, and their copies on a device while they are lent to it."""

    def __init__(self, modules: Sequence[nn.Module], *, recurse: bool, pinned: bool) -> None:
        self._homes: list[tuple[Tensor, Tensor]] = []
        for module in modules:
            for tensor in (*module.parameters(recurse=recurse), *module.buffers(recurse=recurse)):
                if pinned:
                    _hold(tensor, _held(tensor).pin_memory())
                self._homes.append((tensor, _held(tensor)))
        self.size = sum(home.nbytes for _, home in self._homes)
        self._copies: list[Tensor] = []

    def lend(self, device: torch.device) -> None:
        """Begin to copy them to the device."""
        if not self._copies:
            self._homes = [(tensor, self._home(tensor, home)) for tensor, home in self._homes]
            self._copies = [home.to(device, non_blocking=True, copy=True) for _, home in self._homes]

    @staticmethod
    def _home(tensor: Tensor, home: Tensor) -> Tensor:
        """What the tensor is at home: networks may have put in another one since."""
        now = _held(tensor)
        return now if now.device == home.device else home

    def use(self) -> None:
        """From now on the copies count."""
        for (tensor, _), copy in zip(self._homes, self._copies, strict=True):
            _hold(tensor, copy)

    def take_back(self) -> None:
        """From now on those at home count; the copies are dropped."""
        for tensor, home in self._homes:
            _hold(tensor, home)
        self._copies = []


def _held(tensor: Any) -> Tensor:
    """The ordinary tensor that holds the numbers; that of a packed one is smaller than what it stands for."""
    return getattr(tensor, "packed", tensor.data)


def _hold(tensor: Any, held: Tensor) -> None:
    """From now on compute with these numbers, wherever they are. A packed tensor is unpacked where they are."""
    if hasattr(tensor, "packed"):
        tensor.packed = held
    else:
        tensor.data = held


class OneAtATime:
    """The network that is being called is on the device, the others are not (A1111's `--medvram`)."""

    label = "one network at a time"

    def __init__(self, device: torch.device, meter: Meter) -> None:
        self._device = device
        self._meter = meter
        self._here: Weights | None = None

    def attach(self, units: Sequence[Unit]) -> None:
        """As Policy's."""
        for unit in units:
            weights = Weights(unit, recurse=True, pinned=self._device.type == "cuda")
            for module in unit:
                module.register_forward_pre_hook(partial(_before, self._bring, weights))

    def _bring(self, weights: Weights) -> None:
        if self._here is weights:
            return
        self.leave()
        weights.lend(self._device)
        weights.use()
        self._meter.add(weights.size)
        self._here = weights

    def leave(self) -> None:
        """As Policy's."""
        if self._here:
            self._here.take_back()
            self._meter.add(-self._here.size)
            self._here = None


class Streamed:
    """The layer that is being called is on the device, and the next one on its way (A1111's `--lowvram`).

    The order of the first call is that of the next ones; what comes in another order is fetched when it is called.
    """

    label = "one layer at a time"

    def __init__(self, device: torch.device, meter: Meter) -> None:
        self._device = device
        self._meter = meter
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._next: dict[Weights, Weights] = {}
        self._last: Weights | None = None
        self._under_way: set[Weights] = set()

    def attach(self, units: Sequence[Unit]) -> None:
        """As Policy's."""
        for module in (module for unit in units for module in unit):
            for layer in layers(module):
                weights = Weights([layer], recurse=is_leaf(layer), pinned=self._stream is not None)
                if weights.size:
                    # before hooks that read the weights
                    layer.register_forward_pre_hook(partial(_before, self._bring, weights), prepend=True)
                    layer.register_forward_hook(partial(_after, self._drop, weights), always_call=True)

    def leave(self) -> None:
        """As Policy's: of those that were fetched ahead."""
        for weights in self._under_way:
            weights.take_back()
            self._meter.add(-weights.size)
        self._under_way = set()

    def _bring(self, weights: Weights) -> None:
        self._fetch(weights)
        if self._stream:
            torch.cuda.current_stream(self._device).wait_stream(self._stream)
        self._under_way.discard(weights)
        weights.use()
        if self._last:
            self._next[self._last] = weights
        self._last = weights
        if following := self._next.get(weights):
            self._fetch(following)

    def _fetch(self, weights: Weights) -> None:
        if weights in self._under_way:
            return
        if self._stream:
            with torch.cuda.stream(self._stream):
                weights.lend(self._device)
        else:
            weights.lend(self._device)
        self._under_way.add(weights)
        self._meter.add(weights.size)

    def _drop(self, weights: Weights) -> None:
        if weights in self._under_way:  # called for a second time before the first is over: not of its own tensors
            return
        if self._stream:
            torch.cuda.current_stream(self._device).synchronize()  # what it computes must have read them
        weights.take_back()
        self._meter.add(-weights.size)


class Elsewhere:
    """Networks that compute on the CPU, in float32, whatever device the rest is on (A1111's `--use-cpu` with names).

    Whoever calls them, or a part of them right below, gives tensors of its own device and gets such, in the type they had.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def attach(self, units: Sequence[Unit]) -> None:
        """As Policy's."""
        for module in (module for unit in units for module in unit):
            dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
            module.to(torch.device("cpu"), torch.float32)
            border = _Border(self._device, dtype)
            for part in (module, *module.children()):
                part.register_forward_pre_hook(border.enter, with_kwargs=True)
                part.register_forward_hook(border.leave, always_call=True)


class _Border:
    """Carries tensors to the CPU when a network is entered, and back when it is left; within it nothing moves."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device = device
        self._dtype = dtype
        self._depth = 0

    def enter(self, module: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        self._depth += 1
        if self._depth > 1:
            return None
        cpu = torch.device("cpu")
        return _moved(args, cpu, torch.float32), _moved(kwargs, cpu, torch.float32)

    def leave(self, module: nn.Module, args: Any, out: Any) -> Any:
        self._depth -= 1
        return None if self._depth else _moved(out, self._device, self._dtype)


def _before(act: Callable[[Weights], None], weights: Weights, module: nn.Module, inputs: Any) -> None:
    act(weights)


def _after(act: Callable[[Weights], None], weights: Weights, module: nn.Module, inputs: Any, outputs: Any) -> None:
    act(weights)


def is_leaf(module: nn.Module) -> bool:
    """Is it called as a whole? Attention of PyTorch's own reads its parts' weights itself."""
    return isinstance(module, nn.MultiheadAttention) or not any(module.children())


def layers(unit: nn.Module) -> Iterator[nn.Module]:
    """The modules of a network that have weights of their own, each once."""
    waiting: list[nn.Module] = [unit]
    while waiting:
        module = waiting.pop()
        if any(True for _ in module.parameters(recurse=is_leaf(module))):
            yield module
        if not is_leaf(module):
            waiting.extend(module.children())


def _moved(value: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """The value, the tensors in its tuples, lists and tables on that device, floating ones in that type."""
    move: Callable[[Any], Any] = lambda one: _moved(one, device, dtype)  # noqa: E731
    if isinstance(value, Tensor):
        return value.to(device, dtype if value.is_floating_point() else value.dtype)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(move, value))
    if isinstance(value, tuple | list):
        return type(value)(map(move, value))
    if isinstance(value, dict):
        moved = {key: move(one) for key, one in value.items()}
        return moved if type(value) is dict else type(value)(**moved)
    return value
