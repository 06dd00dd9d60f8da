"""What makes PyTorch's networks quicker at the price of a warm-up or of rounding: compiled blocks and fused projections."""

import contextlib
import logging
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from modules.engine.context import Context
from modules.patches.compiled_blocks import CompiledBlocks
from modules.patches.fused_projections import fuse
from modules.requests.events import Loading, Warned

log = logging.getLogger(__name__)

COMPILING = "the network, compiled for this size (once)"
USELESS = (
    "--compile has no effect on this model: its layers are streamed to the GPU, or none of its blocks is like another."
)
FAILED = "torch.compile does not work here ({}); PyTorch computes as without --compile."

KEPT_BYTES = 5 * 2**30


class Speeding:
    """What `--compile` and `--fuse-projections` ask for, put to work on networks; nothing with neither.

    `folder`: where Inductor keeps what it makes, for the next start; `most`: bytes that are left there when a network is new.
    """

    def __init__(self, folder: Path, *, compiles: bool = False, fuses: bool = False, most: int = KEPT_BYTES) -> None:
        self._folder = folder
        self._most = most
        self._compiles = compiles
        self._fuses = fuses
        self._compiled: weakref.WeakKeyDictionary[nn.Module, CompiledBlocks] = weakref.WeakKeyDictionary()
        self._useless: weakref.WeakSet[nn.Module] = weakref.WeakSet()

    def put(self, network: Any, context: Context, *, streamed: bool = False) -> None:
        """Make a network quicker; from now on the context is told of what takes long, and once of what is not possible.

        `streamed`: a policy is in charge of its weights, which are not fused then. What runs through OpenVINO stays as it is.
        """
        if not isinstance(network, nn.Module):
            return
        if self._fuses and not streamed and (count := fuse(network)):
            log.info("The projections of %d attentions are fused.", count)
        if self._compiles:
            self._compile(network, context)

    def _compile(self, network: nn.Module, context: Context) -> None:
        tell: Callable[[], None] = lambda: context.emit(Loading(name=COMPILING))  # noqa: E731

        def warn(error: Exception) -> None:
            log.warning("torch.compile failed.", exc_info=error)
            self._compiles = False
            context.emit(Warned(message=FAILED.format(reason_of(error))))

        found = self._compiled.get(network)
        if found is None:
            tidy(self._folder, self._most)
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(self._folder)  # Inductor knows no other way
            found = self._compiled[network] = CompiledBlocks(network, tell, warn)
        found.tell, found.warn = tell, warn
        if not found.useful and network not in self._useless:
            self._useless.add(network)
            context.emit(Warned(message=USELESS))


def tidy(folder: Path, most: int) -> None:
    """Delete the files below `folder` that were used longest ago while there are more than `most` bytes: Inductor makes again what it
    misses. Times of reading are as exact as the disk keeps them, often to a day. Raises nothing."""
    files = []
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                status = (path := Path(place, name)).lstat()
                files.append((max(status.st_atime, status.st_mtime), status.st_size, path))
    total = 0
    for _, size, path in sorted(files, reverse=True):
        total += size
        if total > most:
            with contextlib.suppress(OSError):
                path.unlink()


def reason_of(error: BaseException) -> str:
    """What the error of a compiler comes from, in a word."""
    while inner := error.__cause__ or getattr(error, "inner_exception", None):
        error = inner
    return type(error).__name__
