"""Networks of controlnet_aux and transformers with weights from files: nothing is fetched, and no code of a file is run."""

import contextlib
import importlib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modules.control.preprocessors.pixels import Pixels
from modules.families.weights import read_weights
from modules.requests.preprocessors import WeightFile

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and deviation of its pictures, RGB."""


def annotator(file: str, size: int) -> WeightFile:
    """A file of the collection that the ControlNet extension fetches most of its weights from."""
    return WeightFile(file=file, size=size, repo="lllyasviel/Annotators", path=file)


def from_aux(module: str) -> Any:
    """A module of controlnet_aux. Importing it warns of packages that are not needed here, and prints."""
    with quiet():
        return importlib.import_module(f"controlnet_aux.{module}")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what libraries print and warn of while their networks are made."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def filled(make: Callable[[], Any], path: Path, tensors: Mapping[str, Tensor] | None = None) -> Any:
    """The network that `make` makes, with the file's weights, every one of them, in float32; raises RuntimeError where the layouts
    differ. It is made without memory first, so that nothing is drawn at random only to be thrown away."""
    found = tensors if tensors is not None else read_weights(path)
    named = {name.removeprefix("module."): _plain(tensor) for name, tensor in found.items()}
    network = without_memory(make)
    if network is not None:
        network.load_state_dict(named, assign=True)
        if not any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers())):
            return network
    with quiet():  # what the file does not hold has to be computed
        network = make()
    network.load_state_dict(named)
    return network


def without_memory(make: Callable[[], Any]) -> Any | None:
    """The network with shapes alone; None for one that computes while it is made."""
    try:
        with quiet(), torch.device("meta"):
            return make()
    except (RuntimeError, NotImplementedError):
        return None


def _plain(tensor: Tensor) -> Tensor:
    return (tensor.float() if tensor.is_floating_point() else tensor).contiguous()


def batch_of(pixels: Pixels, device: torch.device) -> Tensor:
    """(H, W, 3) bytes as (1, 3, H, W) float32, 0 to 255."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).to(device).float().permute(2, 0, 1)[None]


def normalised(batch: Tensor) -> Tensor:
    """0 to 255, as networks see pictures that were trained on ImageNet."""
    mean, deviation = (torch.tensor(values, device=batch.device).view(1, 3, 1, 1) for values in IMAGENET)
    return (batch / 255 - mean) / deviation


def spread(values: np.ndarray) -> np.ndarray:
    """Float values, spread over 0 to 1; all 0 where they are equal."""
    values = np.nan_to_num(values.astype(np.float64))
    return (values - values.min()) / max(float(np.ptp(values)), 1e-12)


def stepped(values: np.ndarray, steps: int) -> np.ndarray:
    """0 to 1 in so many steps, so that faint lines of the picture's content go ("safe")."""
    return (values.astype(np.float32) * (steps + 1)).astype(np.int32).astype(np.float32) / steps
