"""Module hooks that are taken off again, and the two things most of them want to know."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

Before = Callable[[tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]] | None]
After = Callable[[Any], Any]
Around = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


class Hooks:
    """Hooks set within one patch."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def before(self, module: nn.Module, see: Before, *, first: bool = False) -> None:
        """Call `see(args, kwargs)` before the module computes; what it returns, if anything, replaces them. `first`: before
        all hooks that are there already."""
        handle = module.register_forward_pre_hook(
            lambda _, args, kwargs: see(args, kwargs), with_kwargs=True, prepend=first
        )
        self._stack.callback(handle.remove)

    def after(self, module: nn.Module, change: After) -> None:
        """Replace the module's output by `change(output)`."""
        self._stack.callback(module.register_forward_hook(lambda _, __, output: change(output)).remove)

    def around(self, module: nn.Module, compute: Around) -> None:
        """The module answers `compute(forward, args, kwargs)`, where `forward` is what it would do."""
        own, forward = vars(module).get("forward"), module.forward

        def restore() -> None:
            if own is None:
                del module.forward
            else:
                module.forward = own

        module.forward = lambda *args, **kwargs: compute(forward, args, kwargs)
        self._stack.callback(restore)


@contextmanager
def hooks() -> Iterator[Hooks]:
    """Hooks that are gone when the block ends, however it ends."""
    with ExitStack() as stack:
        yield Hooks(stack)


def argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], position: int, name: str) -> Tensor:
    """The argument of that position or name."""
    return args[position] if len(args) > position else kwargs[name]
