"""What img2img begins with: latents of its pictures, masks in latent space, and what a network wants to see beside them."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from modules.engine.denoise import Start
from modules.engine.drawing import Sitting
from modules.engine.inversion import search_of
from modules.engine.masking import Masking
from modules.engine.small_coding import ENCODE
from modules.families.model import LoadedModel
from modules.families.small_decoders import TAESD
from modules.images.canvas import Canvas, Sheet
from modules.requests.img2img import Img2ImgRequest
from modules.sampling.noise import NoiseSource

LATENT_NOISE, LATENT_NOTHING = 2, 3
EDITORS = ("kontext", "edit")
"""What stands in the names of networks that are trained to change pictures they are shown; their kin of the same shape are not."""


class Starts:
    """Makes the Start of each batch of a request; all batches have the same.

    Latents are drawn from what the autoencoder gives with noise of the first seed, picture after picture, which is where A1111's
    generator stands after a picture of the same seed.
    """

    def __init__(self, sitting: Sitting, canvas: Canvas, request: Img2ImgRequest) -> None:
        self._model = sitting.model
        self._plan = sitting.plan
        self._small = sitting.tools.small
        self._request = request
        self._seeds = sitting.plan.seeds[: request.batch_size]
        self._draws = torch.Generator().manual_seed(self._seeds[0])
        self._shown = canvas.sheets if goes_by_pictures(self._model) else ()
        self._sheets = [canvas.sheets[i % len(canvas.sheets)] for i in range(request.batch_size)]
        self._size = (request.height // self._model.downscale, request.width // self._model.downscale)

    def make(self) -> Start:
        """Latents, mask and conditioning of one batch."""
        request, options = self._request, self._plan.options
        pictures = [_pixels(sheet.picture) for sheet in self._sheets]
        latents = torch.cat([self._begun(picture) for picture in pictures])
        masking = self._masking(latents)
        if masking and request.inpainting_fill == LATENT_NOISE:
            latents = latents * (1 - masking.changing) + self._noise() * masking.changing
        elif masking and request.inpainting_fill == LATENT_NOTHING:
            latents = latents * (1 - masking.changing)
        multiplier = request.initial_noise_multiplier
        return Start(
            latents=latents,
            strength=request.denoising_strength,
            steps=request.steps if options["img2img_fix_steps"] else None,
            multiplier=options["initial_noise_multiplier"] if multiplier is None else multiplier,
            extra=options["img2img_extra_noise"],
            masking=Masking(original=latents, changing=masking.changing, soft=masking.soft) if masking else None,
            beside=self._beside(pictures),
            references=tuple(self._plain(_pixels(sheet.picture)) for sheet in self._shown),
            image_scale=image_scale(self._model, request),
            search=search_of(request, self._sheets[0].picture, self._size),
        )

    def _begun(self, picture: Tensor) -> Tensor:
        """What drawing begins with, (1, C, h, w): by TAESD where the settings want it."""
        if self._plan.options[ENCODE] != TAESD:
            return self._encoded(picture)
        step = self._model.downscale
        height, width = (side // step * step for side in picture.shape[-2:])
        return self._sized(self._small.encode(self._model, picture[..., :height, :width]))

    def _encoded(self, picture: Tensor) -> Tensor:
        """(1, 3, H, W) -> latents (1, C, h, w) of the request's size."""
        step = self._model.downscale
        height, width = (side // step for side in picture.shape[-2:])
        noise = torch.randn(1, self._model.latent_channels, height, width, generator=self._draws)
        return self._sized(self._model.encode(picture[..., : height * step, : width * step], noise))

    def _sized(self, latents: Tensor) -> Tensor:
        """On the model's device, of the request's size."""
        latents = latents.to(self._model.compute.device)
        return latents if latents.shape[-2:] == self._size else interpolate(latents, size=self._size, mode="bilinear")

    def _masking(self, latents: Tensor) -> Masking | None:
        """What changes, in latent space; rounded to all or nothing unless the request keeps greys."""
        request = self._request
        masks = [sheet.changing for sheet in self._sheets if sheet.changing]
        if not masks:
            return None
        height, width = self._size
        small = [mask.resize((width, height), Image.Resampling.BICUBIC) for mask in masks]
        changing = torch.stack([torch.from_numpy(np.array(mask, np.float32) / 255)[None] for mask in small])
        if request.mask_round and not request.soft_inpainting:
            changing = changing.round()
        return Masking(original=latents, changing=changing.to(latents.device), soft=request.soft_inpainting)

    def _noise(self) -> Tensor:
        """The first noise of the batch's seeds, (B, C, h, w); the network's own pictures are encoded from the last seed after it."""
        self._draws = torch.Generator().manual_seed(self._seeds[-1])
        return NoiseSource(
            self._seeds,
            (self._model.latent_channels, *self._size),
            device=self._model.compute.device,
            source=self._plan.options["randn_source"],
        ).first()

    def _beside(self, pictures: Sequence[Tensor]) -> Tensor | None:
        """What the network sees beside the latents, (B, E, h, w): the mask and the picture without what it covers, or the picture."""
        model = self._model
        if not model.extra_channels:
            return None
        if not model.inpainting:
            return torch.cat([self._plain(picture) for picture in pictures])
        masks = [self._network_mask(sheet) for sheet in self._sheets]
        weight = self._plan.options["inpainting_mask_weight"]
        # grey, the middle of [0, 1], stands for nothing
        hidden = [(p - 0.5) * (1 - weight * m) + 0.5 for p, m in zip(pictures, masks, strict=True)]
        latents = torch.cat([self._encoded(picture) for picture in hidden])
        small = torch.cat([interpolate(mask, size=self._size) for mask in masks]).to(latents.device)
        return torch.cat([small, latents], dim=1)

    def _network_mask(self, sheet: Sheet) -> Tensor:
        """(1, 1, H, W) over the sheet's picture, 1 where to paint; without a mask everywhere."""
        width, height = sheet.picture.size
        if sheet.mask is None:
            return torch.ones(1, 1, height, width)
        mask = sheet.mask if sheet.mask.size == sheet.picture.size else sheet.mask.resize(sheet.picture.size)
        values = torch.from_numpy(np.array(mask, np.float32) / 255)[None, None]
        keeps_greys = self._request.soft_inpainting or not self._request.mask_round
        return values if keeps_greys else values.round()

    def _plain(self, picture: Tensor) -> Tensor:
        """The mean of the picture's latents, not scaled for InstructPix2Pix, which was trained so; (1, C, h, w)."""
        model, step = self._model, self._model.downscale
        height, width = (side // step for side in picture.shape[-2:])
        zeros = torch.zeros(1, model.latent_channels, height, width)
        found = self._sized(model.encode(picture[..., : height * step, : width * step], zeros))
        return found if model.prediction == "flow" else unscaled(model, found)


def goes_by_pictures(model: LoadedModel) -> bool:
    """Is it made to change pictures it is shown (FLUX.1 Kontext, Qwen-Image-Edit, FLUX.2)?"""
    return model.referring and (model.family == "flux2" or any(word in model.name.lower() for word in EDITORS))


def image_scale(model: LoadedModel, request: Img2ImgRequest) -> float | None:
    """The scale of the picture's own guidance: InstructPix2Pix has one, and at 1 it is without effect."""
    editing = model.extra_channels == model.latent_channels and model.prediction != "flow"
    return request.image_cfg_scale if editing and request.image_cfg_scale not in (None, 1) else None


def unscaled(model: LoadedModel, latents: Tensor) -> Tensor:
    """Latents as its autoencoder gave them, before the network's shift and scale."""
    _, _, scale, shift = (*model.autoencoder.space, 0.0)[:4]
    return latents / float(str(scale)) + float(str(shift))


def _pixels(picture: Image.Image) -> Tensor:
    """(1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(picture, np.float32) / 255).permute(2, 0, 1)[None]
