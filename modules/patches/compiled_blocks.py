"""The repeated blocks of a network, compiled by torch.compile: one compilation for all blocks of a kind and size.

A block that something else has a hand in (a hook, a weight streamed in, a patch) computes as it is: what was compiled would not
see that. So does every block from the first one on that cannot be compiled, be it for want of a C++ compiler.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from modules.devices.memory import out_of_memory
from modules.patches.fused_projections import astray
from modules.patches.hooks import Hooks

KINDS = ("ResnetBlock2D",)
"""Blocks that are compiled beside those that diffusers calls a network's repeated ones."""

LIMIT = 256
"""Sizes that one kind of block is compiled for."""

Size = tuple[tuple[int, ...], ...]


class CompiledBlocks:
    """A network's blocks, compiled until `close`. `tell` is called with a size that is new before it is compiled, `warn` with what
    was raised when that failed; results are PyTorch's but for rounding."""

    def __init__(self, network: nn.Module, tell: Callable[[], None], warn: Callable[[Exception], None]) -> None:
        self.tell, self.warn = tell, warn
        self.gave_up = False
        self._seen: set[Size] = set()
        self._blocks = list(blocks_of(network))
        self._parts = {block: list(block.modules())[1:] for block in self._blocks}
        cuda = any(parameter.device.type == "cuda" for parameter in network.parameters())
        self._cuda = cuda
        kinds: set[Any] = {type(block) for block in self._blocks}
        compiler: Any = torch.compile  # whose overloads know nothing of partial
        compile_kind = partial(compiler, dynamic=False, recompile_limit=LIMIT, mode="reduce-overhead" if cuda else None)
        self._compiled: dict[type, Callable[..., Any]] = {kind: compile_kind(kind.forward) for kind in kinds}
        self._stack = ExitStack()
        hook = Hooks(self._stack)
        hook.before(network, self._look, first=True)
        for block in self._blocks:
            if "forward" not in vars(block):
                hook.around(block, partial(self._compute, block))

    @property
    def useful(self) -> bool:
        """Is there a block that is compiled?"""
        return not self.gave_up and any(map(self._untouched, self._blocks))

    def close(self) -> None:
        """The network is as it was."""
        self._stack.close()

    def _look(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before the network: is it a new size?"""
        size = tuple(tuple(one.shape) for one in (*args, *kwargs.values()) if isinstance(one, Tensor))
        if size not in self._seen and self.useful:
            self._seen.add(size)
            self.tell()
        if self._cuda:
            torch.compiler.cudagraph_mark_step_begin()

    def _untouched(self, block: nn.Module) -> bool:
        """Does the block compute what its classes say, with no hand in it?"""
        return not any(
            part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part) or astray(part)
            for part in self._parts[block]
        )

    def _compute(
        self, block: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if self.gave_up or not self._untouched(block):
            return forward(*args, **kwargs)
        try:
            found = self._compiled[type(block)](block, *args, **kwargs)
        except Exception as error:  # compilers fail in many ways
            if out_of_memory(error):
                raise
            found = forward(*args, **kwargs)  # raises again what is not the compiler's fault
            self.gave_up = True
            self.warn(error)
        # a CUDA graph's output is overwritten when the graph runs again
        return found.clone() if self._cuda and isinstance(found, Tensor) and not self.gave_up else found


def blocks_of(network: nn.Module) -> Iterator[nn.Module]:
    """The blocks of a network of diffusers that are alike."""
    kinds = {*KINDS, *(getattr(network, "_repeated_blocks", None) or ())}
    return (module for module in network.modules() if type(module).__name__ in kinds)
