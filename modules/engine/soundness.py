"""NaN in what networks compute: found, told, and mended by computing more precisely."""

import weakref
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from modules.core.errors import NotANumber
from modules.engine.context import Context
from modules.engine.models import Models
from modules.families.model import LoadedModel
from modules.requests.events import Warned


class StepCheck:
    """Looks at what each step gives, one step late, so that the GPU is not waited for."""

    def __init__(self, models: Models, steps: int) -> None:
        self._models = models
        self._steps = steps
        self._waiting: tuple[int, Tensor, LoadedModel] | None = None

    def look(self, step: int, denoised: Tensor, model: LoadedModel) -> None:
        """Take in what that step gave, (B, C, h, w); raises NotANumber for the step before."""
        self.close()
        self._waiting = step, denoised.sum(), model

    @property
    def sound(self) -> bool:
        """Are there numbers in what was looked at last?"""
        return not self._waiting or bool(self._waiting[1].isfinite())

    def close(self) -> None:
        """Raise NotANumber for the last step that was looked at."""
        if self._waiting and not self.sound:
            step, _, model = self._waiting
            raise self._trouble(f"Step {step} of {self._steps}", model)
        self._waiting = None

    def end(self, latents: Tensor, model: LoadedModel) -> None:
        """Raise NotANumber for what the sampler ended with, where all steps were sound too."""
        self.close()
        if not latents.sum().isfinite():
            raise self._trouble(f"The end of {self._steps} steps", model)

    def _trouble(self, where: str, model: LoadedModel) -> NotANumber:
        told = f'{where} of "{model.name}" gave NaN in {model.compute.words}'
        return NotANumber(
            f"{told}; no picture is saved. The checkpoint may be damaged, or a value extreme: "
            "lower cfg_scale, or choose another sampler or checkpoint.",
            partial(_again, told, self._models, model),
        )


def watch_vae(model: LoadedModel, models: Models, options: Mapping[str, Any], context: Context) -> None:
    """From now on the model's autoencoder goes on in a finer type when it gives NaN, as the settings allow; that is told."""
    name = model.vae_file[0] if model.vae_file else f"that of {model.name}"
    held = weakref.ref(model)  # its own autoencoder must not keep it in memory
    compiled = not isinstance(model.autoencoder.module, nn.Module)

    def finer(dtype: torch.dtype) -> torch.dtype:
        model = held()
        if model is None:
            raise NotANumber(f'The VAE "{name}" gave NaN in {_name(dtype)}; its checkpoint is unloaded.')
        said = model.compute.words if compiled else _name(dtype)
        told = f'The VAE "{name}" gave NaN in {said}'
        if compiled:
            raise NotANumber(_hopeless(told, dtype, options), partial(_again, told, models, model))
        found = next_vae_type(dtype, options, bfloat16=model.compute.bfloat16)
        if found is None:
            raise NotANumber(_hopeless(told, dtype, options))
        decoding = f"{told}; it computes in {_name(found)} from now on."
        if not models.keep_vae_type(model, found):
            raise NotANumber(_hopeless(told, dtype, options), lambda: f"{decoding} The batch is drawn again.")
        context.emit(Warned(message=decoding))
        return found

    model.autoencoder.finer = finer


def next_vae_type(dtype: torch.dtype, options: Mapping[str, Any], *, bfloat16: bool) -> torch.dtype | None:
    """What a VAE computes in after that type gave NaN; None where A1111's settings, or precision, end."""
    if dtype is torch.float16 and bfloat16 and options["auto_vae_precision_bfloat16"]:
        return torch.bfloat16
    return torch.float32 if dtype is not torch.float32 and options["auto_vae_precision"] else None


def _hopeless(told: str, dtype: torch.dtype, options: Mapping[str, Any]) -> str:
    if dtype is not torch.float32 and not options["auto_vae_precision"]:
        return (
            f'{told}; no picture is saved. Turn on "Automatically revert VAE to 32-bit floats", or choose another VAE.'
        )
    return f"{told}; no picture is saved. Its file may be damaged: choose another VAE."


def _again(told: str, models: Models, model: LoadedModel) -> str | None:
    """Make the model compute more precisely when it is loaded next; says so, or None where it cannot."""
    words = models.finer(model)
    return words and f"{told}; the batch is drawn again in {words}."


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
