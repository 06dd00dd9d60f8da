"""Tiled diffusion in a run: tiles around the denoiser, regions around guidance, seeds of regions in the first noise."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from modules.core.errors import InputError
from modules.engine.conditions import Guides
from modules.engine.plan import Plan
from modules.requests.tiled import TiledDiffusion
from modules.sampling.denoiser import ContextDenoiser
from modules.sampling.guidance import Guided
from modules.sampling.noise import NoiseSource
from modules.sampling.tiles import Regional, RegionDenoiser, Tiled, even, gaussian
from modules.sampling.view import Box, View

Both = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

ALONE = ("deep_cache", "first_block_cache", "self_attention_guidance", "perturbed_attention_guidance")
"""What keeps features or attention of the whole picture, which is never computed at once here."""


def check_tiled(plan: Plan) -> None:
    """Raise InputError for what cannot be had together with tiles."""
    if plan.request.tiled_diffusion:
        for field in ALONE:
            if getattr(plan.request, field):
                raise InputError(
                    "tiled_diffusion",
                    f"tiled_diffusion computes a picture in parts, and {field} works on the whole of it. Turn one of them off.",
                )


def tiled(denoiser: ContextDenoiser, asked: TiledDiffusion | None, view: View | None = None) -> ContextDenoiser:
    """The denoiser, in tiles if they are asked for."""
    if asked is None:
        return denoiser
    return Tiled(
        denoiser,
        tile=(asked.tile_height, asked.tile_width),
        overlap=asked.overlap,
        batch=asked.tile_batch_size,
        weights=gaussian if asked.method == "Mixture of Diffusers" else even,
        view=view,
    )


def regional(
    base: Guided,
    guided: Callable[[Guides, Tensor | None], Guided],
    guides: Guides,
    plan: Plan,
    extra: Tensor | None,
    view: View,
) -> Guided | Regional:
    """`base` with the plan's regions, each guided by what `guided` makes of its prompts and its part of `extra`."""
    asked, factor = plan.request.tiled_diffusion, guides.cells
    if asked is None or not guides.regions:
        return base
    height, width = plan.request.height // factor, plan.request.width // factor
    drawn = []
    for region, own in zip(asked.places, guides.regions, strict=True):
        box = Box(*region.box(height, width))
        part = None if extra is None else extra[(..., *box.of)]
        over = region.feather if region.mode == "Foreground" else None
        drawn.append(RegionDenoiser(box=box, d=partial(_in, view, box, guided(own, part).both), feather=over))
    return Regional(base.both, drawn, background=asked.draw_background)


def _in(view: View, box: Box, d: Both, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """What `d` says of that part of the picture."""
    with view.within(box):
        return d(x, sigma)


def seeded(
    noise: Tensor, asked: TiledDiffusion | None, source: Callable[[Sequence[int], tuple[int, int, int]], NoiseSource]
) -> Tensor:
    """The first noise (B, C, h, w), with that of their own seeds in regions that have one; each picture's is one more."""
    for region in asked.places if asked else ():
        if region.seed >= 0:
            box = Box(*region.box(*noise.shape[2:]))
            seeds = [region.seed + i for i in range(len(noise))]
            noise[(..., *box.of)] = source(seeds, (noise.shape[1], box.height, box.width)).first()
    return noise
