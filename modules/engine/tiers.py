"""How much of a model is on the GPU at a time, by what it needs and what is free."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from modules.devices.residence import Elsewhere, Meter, OneAtATime, Policy, Streamed, Unit
from modules.engine.room import gigabytes, modules_of
from modules.families.autoencoders import Autoencoder
from modules.families.ldm_keys import VAE as VAE_PREFIX
from modules.families.model import LoadedModel
from modules.families.source import BACKBONE, Parts

Key = tuple[str | int, ...]

log = logging.getLogger(__name__)

SDXL = "Stable Diffusion XL"

TIERS = ("all of it", OneAtATime.label, Streamed.label)
"""From the quickest to the one that needs least."""

RESIDENT, ONE, STREAMED = range(3)

PER_PIXEL = 5 * 1024
"""Bytes that decoding needs of the device for each pixel of a picture, in float32: some maps of 128 to 256 channels. The
denoising network, at an eighth of the side, needs less up to batches of 4."""

SLACK = 300 * 2**20
"""Bytes that CUDA itself and its libraries take."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Bytes of a model's weights: the whole, its largest network, and a layer of which there is hardly a larger one."""

    whole: int
    largest: int
    layer: int = 256 * 2**20

    def on_device(self, tier: int) -> int:
        """Bytes on the device under a tier."""
        return (self.whole, self.largest, 2 * self.layer)[tier]


def tier_for(needs: Needs, *, pixels: int, free: int) -> int:
    """The quickest tier that such a model should fit into with pictures of that size."""
    work = PER_PIXEL * pixels + SLACK
    if needs.whole + work <= free:
        return RESIDENT
    return ONE if needs.largest + work <= free else STREAMED


def flagged_tier(flags: Sequence[str], family: str) -> int | None:
    """The tier that A1111's flags ask for; None leaves the choice."""
    if "lowvram" in flags:
        return STREAMED
    if "medvram" in flags or ("medvram_sdxl" in flags and family == SDXL):
        return ONE
    return None


def explained(tier: int, needs: Needs, *, pixels: int, free: int, name: str) -> str:
    """One line of why."""
    wanted = needs.whole + PER_PIXEL * pixels + SLACK
    return (
        f"{name} keeps {TIERS[tier]} on the GPU: it would take {gigabytes(wanted)} in all with pictures of "
        f"{pixels / 1e6:.1f} megapixels, {gigabytes(free)} are free."
    )


UNET, TEXT, VAE = "unet", "te", "vae"
ROLES = {UNET: UNET, TEXT: TEXT, "clip": TEXT, VAE: VAE}
"""What the parts of a model are called in `--use-cpu`; TEXT is all text encoders."""


def units_of(model: LoadedModel) -> dict[str, list[Unit]]:
    """The networks of a model by their roles, as a policy takes charge of them."""
    backbone, vae = model.backbone, model.autoencoder.module
    texts: list[Unit] = [[module] for module in modules_of(model) if module is not vae and module is not backbone]
    return {TEXT: texts, UNET: [[backbone]], VAE: [vae_unit(model.autoencoder)]}


def vae_unit(autoencoder: Autoencoder) -> Unit:
    """The parts of an autoencoder, whose methods are called."""
    return list(autoencoder.module.children())


class Tiers:
    """Chooses a model's tier, and takes charge of its weights. `flags` are A1111's: "medvram", "medvram_sdxl", "lowvram".

    `on_cpu`: names of ROLES that compute on the CPU, whatever the tier.
    """

    def __init__(self, device: torch.device, flags: Sequence[str] = (), on_cpu: Sequence[str] = ()) -> None:
        self._device = device
        self._flags = flags
        self._on_cpu = frozenset(ROLES[name] for name in on_cpu)
        self._least: dict[Key, int] = {}
        self.meter = Meter()

    def elsewhere(self, parts: Parts) -> tuple[str, ...]:
        """The prefixes of those of a checkpoint's parts that take nothing of the device."""
        roles = {BACKBONE: UNET, **{prefix: VAE if prefix == VAE_PREFIX else TEXT for prefix in parts.values()}}
        return tuple(prefix for prefix, role in roles.items() if role in self._on_cpu)

    def choose(self, name: str, key: Key, family: str, needs: Needs, *, pixels: int, free: int) -> int:
        """The tier for that file: what the flags ask for, or what fits; never one that it was too large for before."""
        if self._device.type == "cpu":
            return RESIDENT  # there is nowhere else
        flagged = flagged_tier(self._flags, family)
        chosen = tier_for(needs, pixels=pixels, free=free) if flagged is None else flagged
        tier = max(chosen, self._least.get(key, 0))
        if flagged is None:
            log.info("%s", explained(tier, needs, pixels=pixels, free=free, name=name))
        return tier

    def lower(self, key: Key, tier: int) -> bool:
        """That file did not fit with that tier; is there one that needs less?"""
        if self._device.type == "cpu" or tier >= STREAMED:
            return False
        self._least[key] = tier + 1
        return True

    def policy_for(self, model: LoadedModel, tier: int) -> Policy | None:
        """What takes charge of a model whose weights are on the CPU; None where they are all on the device."""
        if tier == RESIDENT and not self._on_cpu:
            return None
        units = units_of(model)
        Elsewhere(self._device).attach([unit for role in self._on_cpu for unit in units[role]])
        here = [unit for role in units if role not in self._on_cpu for unit in units[role]]
        policy = (Streamed if tier == STREAMED else OneAtATime)(self._device, self.meter)
        policy.attach([[module for unit in here for module in unit]] if tier == RESIDENT else here)
        return policy

    def take_vae(self, policy: Policy, autoencoder: Autoencoder) -> None:
        """The policy has charge of one more autoencoder, whose weights are on the CPU."""
        unit = vae_unit(autoencoder)
        (Elsewhere(self._device) if VAE in self._on_cpu else policy).attach([unit])
