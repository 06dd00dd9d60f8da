"""What preprocessors work with: their weights, and the networks that are in memory."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import torch

from modules.core.errors import AtelierError, ModelFileError
from modules.detect.detectors import Detectors
from modules.devices.choice import Compute
from modules.devices.memory import out_of_memory
from modules.library.preprocessors import PreprocessorFiles
from modules.requests.preprocessors import WeightFile

KEPT = 2
"""Networks in memory: a pose is found by as many."""


class Tools:
    """Networks by what they are made of; a file that has changed is read again. Not for several threads at once."""

    def __init__(self, files: PreprocessorFiles, compute: Compute, detectors: Detectors) -> None:
        self.files = files
        self.compute = compute
        self.detectors = detectors
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    @property
    def device(self) -> torch.device:
        """Where networks compute; all of them in float32."""
        return self.compute.device

    def network(self, who: str, weights: Sequence[WeightFile], build: Callable[..., Any]) -> Any:
        """What `build(*paths)` makes of the weights, kept for the next picture. `who`: the preprocessor, for sentences.

        Raises ModelFileError for missing weights, and for those that `build` makes nothing of.
        """
        return self.opened(who, [self.files.get(weight, who) for weight in weights], build)

    def opened(self, who: str, paths: Sequence[Path], build: Callable[..., Any]) -> Any:
        """The same of files and folders that were found; raises ModelFileError."""
        key = (build, *(self.files.state(path) for path in paths))
        if key not in self._kept:
            while len(self._kept) >= KEPT:
                self._kept.popitem(last=False)
            self._kept[key] = self._built(who, paths, build)
        self._kept.move_to_end(key)
        return self._kept[key]

    def unload(self) -> None:
        """Let go of all of them."""
        self._kept.clear()

    def _built(self, who: str, paths: Sequence[Path], build: Callable[..., Any]) -> Any:
        try:
            found = build(*paths)
        except AtelierError:
            raise
        except Exception as error:  # libraries raise whatever a damaged or foreign file leads them to
            if out_of_memory(error):
                raise
            names = " and ".join(f'"{path.name}"' for path in paths)
            raise ModelFileError(
                f"{names}: not what {who} is made of ({type(error).__name__}). Download it again."
            ) from error
        if isinstance(found, torch.nn.Module):
            return found.eval().requires_grad_(False).to(self.device)
        return found
