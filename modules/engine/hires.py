"""Hires fix: a picture is drawn, enlarged, and drawn on at the larger size."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from modules.core.errors import Cancelled, InputError
from modules.engine.denoise import Interrupted, Leg, Start
from modules.engine.drawing import Sitting, prepare
from modules.engine.plan import Batch
from modules.engine.preview import to_images
from modules.engine.small_coding import ENCODE
from modules.engine.techniques import decode, tiled
from modules.families.small_decoders import TAESD
from modules.images.encode import encode_image
from modules.images.reading import open_picture
from modules.requests.events import CopyReady, Order
from modules.requests.hires import LATENT_MODES, latent_mode
from modules.requests.txt2img import Txt2ImgRequest
from modules.upscale.upscaler import Upscaler

PHASE = "hires"
BEFORE = "-before-highres-fix"
"""How the names of pictures end that are saved before they are enlarged."""

CALLED = {"sampler_name": "hr_sampler_name", "scheduler": "hr_scheduler", "sd_model_checkpoint": "hr_checkpoint_name"}
"""What the second pass's values are called in the request, where they differ from the first's."""


class TwoPasses:
    """Draws batches in two passes, of the two sittings. `at`: the one whose latents there are."""

    def __init__(self, request: Txt2ImgRequest, first: Sitting, second: Sitting) -> None:
        self.at = first
        self._request = request
        self._first = first
        self._second = second
        self._mode = latent_mode(request.hr_upscaler)
        self._upscaler = upscaler_of(request, first)
        self._target = request.target.in_steps(second.model.downscale)

    @property
    def told(self) -> Mapping[str, Any]:
        """What the infotext says of the second pass: A1111's keys in its order, and Forge's."""
        request, first, second = self._request, self._first.plan, self._second.plan
        one, two = first.request, second.request
        resized = request.hr_resize_x or request.hr_resize_y
        other = self._second.model is not self._first.model
        found = {
            "Denoising strength": request.denoising_strength,
            "Token merging ratio hr": first.options["token_merging_ratio_hr"] or None,
            "Hires checkpoint": f"{second.model_name} [{self._second.model.sha256()[:10]}]" if other else None,
            "Hires sampler": second.sampler.name if second.sampler.name != first.sampler.name else None,
            "Hires prompt": two.prompt if two.prompt != one.prompt else None,
            "Hires negative prompt": two.negative_prompt if two.negative_prompt != one.negative_prompt else None,
            "Hires schedule type": second.schedule.label if second.schedule.label != first.schedule.label else None,
            "Hires upscale": None if resized else request.hr_scale,
            "Hires resize": f"{request.hr_resize_x}x{request.hr_resize_y}" if resized else None,
            "Hires steps": request.hr_second_pass_steps or None,
            "Hires upscaler": self._upscaler.name if self._upscaler else self._mode,
            "Hires CFG Scale": two.cfg_scale if two.cfg_scale != one.cfg_scale else None,
        }
        if second.distilled and two.distilled_cfg_scale != one.distilled_cfg_scale:
            found["Hires Distilled CFG Scale"] = two.distilled_cfg_scale
        return {key: value for key, value in found.items() if value is not None}

    @property
    def fields(self) -> Mapping[str, Any]:
        """What it says of the prompts and the refiners of both."""
        first, second = self._first.fields, self._second.fields if self.at is self._second else {}
        both = {key: joined(first[key], second[key]) for key in HASHES if key in first and key in second}
        return {**first, **second, **both}

    def draw(self, batch: Batch) -> Tensor:
        """The latents (B, C, h, w) of a batch at the larger size; raises Interrupted with what there is at either."""
        self.at = first = self._first
        first.dress.put_on(self._second.dress)
        latents = None if self._request.firstpass_image else first.denoise(batch)
        try:
            first.context.check()
            large = self._enlarged(latents, batch)
        except Cancelled as stop:
            raise Interrupted(latents) from stop
        self.at = second = self._second
        strength = self._request.denoising_strength
        if not strength:
            return large
        second.dress.put_on(first.dress)
        extra = second.plan.options.get("img2img_extra_noise", 0.0)
        return second.denoise(
            batch, Start(latents=large, strength=strength, steps=second.plan.request.steps, extra=extra)
        )

    def _enlarged(self, latents: Tensor | None, batch: Batch) -> Tensor:
        """The latents at the larger size, cut to what is drawn on; None stands for those of the picture that was given."""
        if self._upscaler:
            images = self._given(batch) if latents is None else self._decoded(latents)
            found = self._by_pixels(self._upscaler, images, batch)
        else:
            found = self._by_latents(self._given_latents(batch) if latents is None else latents, batch)
        columns, rows = self._target.cut(self._second.model.downscale)
        height, width = found.shape[-2:]
        return found[..., rows // 2 : height - (rows + 1) // 2, columns // 2 : width - (columns + 1) // 2].contiguous()

    def _by_latents(self, latents: Tensor, batch: Batch) -> Tensor:
        """(B, C, h, w) -> (B, C, H, W)."""
        if self._copies:
            self._copy(self._decoded(latents), batch)
        mode, antialias = LATENT_MODES[self._mode or ""]
        columns, rows = self._target.latents(self._second.model.downscale)
        return interpolate(latents, size=(rows, columns), mode=mode, antialias=antialias)

    def _by_pixels(self, upscaler: Upscaler, images: list[Image.Image], batch: Batch) -> Tensor:
        """Pictures -> latents (B, C, H, W) of them at the larger size."""
        if self._copies:
            self._copy(images, batch)
        size, check = (self._target.width, self._target.height), self._first.context.check
        large = [upscaler.to(image, *size, check=check) for image in images]
        return self._encoded(large, self._second, batch)

    def _decoded(self, latents: Tensor) -> list[Image.Image]:
        first = self._first
        return to_images(decode(first.last, first.plan, latents, first.tools.small))

    def _given(self, batch: Batch) -> list[Image.Image]:
        """The picture that came instead of a first pass, for each of the batch."""
        assert self._request.firstpass_image
        image = open_picture(self._request.firstpass_image, "firstpass_image").convert("RGB")
        return [image] * len(batch.seeds)

    def _given_latents(self, batch: Batch) -> Tensor:
        size = (self._request.width, self._request.height)
        images = [image if image.size == size else image.resize(size, LANCZOS) for image in self._given(batch)]
        return self._encoded(images, self._first, batch)

    def _encoded(self, images: list[Image.Image], sitting: Sitting, batch: Batch) -> Tensor:
        """Their latents (B, C, h, w), with A1111's noise: of torch's own generator, which the batch's last seed was given to."""
        model = sitting.model
        arrays = [np.asarray(image.convert("RGB"), dtype=np.float32) / 255.0 for image in images]
        pixels = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)
        if sitting.plan.options[ENCODE] == TAESD:
            return sitting.tools.small.encode(model, pixels)
        shape = (1, model.latent_channels, *(side // model.downscale for side in pixels.shape[-2:]))
        generator = torch.Generator().manual_seed(batch.seeds[-1])
        noise = torch.cat([torch.randn(shape, generator=generator) for _ in images])
        with tiled(model, sitting.plan):
            return model.encode(pixels, noise)

    @property
    def _copies(self) -> bool:
        return self._first.plan.options["save_images_before_highres_fix"] and not self._request.firstpass_image

    def _copy(self, images: list[Image.Image], batch: Batch) -> None:
        """Hand over the pictures as they were before they are enlarged, but for those that an earlier try has delivered."""
        first, options = self._first, self._first.plan.options
        plan = replace(first.plan, model_hash=first.model.sha256(), fields=self.told)
        for image, position, seed, subseed in zip(images, batch.positions, batch.seeds, batch.subseeds, strict=True):
            if position in first.order.done:
                continue
            infotext = plan.infotext(seed, subseed, first.fields)
            data = encode_image(image, infotext if options["enable_pnginfo"] else None, options)
            fields = plan.pattern_fields(position, seed)
            first.context.emit(CopyReady(suffix=BEFORE, data=data, infotext=infotext, fields=fields))


HASHES = ("Lora hashes", "TI hashes")


def joined(first: str, second: str) -> str:
    """What both passes tell of their networks, each once."""
    return ", ".join(dict.fromkeys((*first.split(", "), *second.split(", "))))


LANCZOS = Image.Resampling.LANCZOS


def in_two_passes(first: Sitting, request: Txt2ImgRequest) -> TwoPasses:
    """The second pass made ready beside the first; raises InputError and its kin, fields by their names in the request."""
    steps = request.hr_second_pass_steps or request.steps
    before = 0 if request.firstpass_image else request.steps
    sitting = replace(first, leg=replace(first.leg, after=steps))
    order = second_order(first, request)
    refined = first.plan.options["hires_fix_refiner_pass"] != "first pass"
    try:
        leg = Leg(before=before, phase=PHASE)
        second = prepare(order, first.tools, first.context, leg=leg, after=first, refined=refined)
    except InputError as error:
        raise called(error, request) from error
    check_spaces(first, second, request)
    return TwoPasses(request, sitting, second)


def upscaler_of(request: Txt2ImgRequest, first: Sitting) -> Upscaler | None:
    """What enlarges pictures, unless latents are enlarged; raises UnknownName."""
    if latent_mode(request.hr_upscaler):
        return None
    return first.tools.upscalers.get(request.hr_upscaler, first.plan.options, "hr_upscaler")


def second_order(first: Sitting, request: Txt2ImgRequest) -> Order:
    """What the second pass is to draw, as an order of its own."""
    entry, schedule = first.tools.catalogue.sampler_and_schedule(request.sampler_name, request.scheduler)
    width, height = request.target.in_steps(first.model.downscale).final(first.model.downscale)
    changed = request.model_copy(
        update={
            "prompt": request.hr_prompt or request.prompt,
            "negative_prompt": request.hr_negative_prompt or request.negative_prompt,
            "sampler_name": request.hr_sampler_name or entry.name,
            "scheduler": request.hr_scheduler or schedule.label,
            "steps": request.hr_second_pass_steps or request.steps,
            "cfg_scale": request.cfg_scale if request.hr_cfg is None else request.hr_cfg,
            "distilled_cfg_scale": request.distilled_cfg_scale
            if request.hr_distilled_cfg is None
            else request.hr_distilled_cfg,
            "width": width,
            "height": height,
        }
    )
    options = dict(first.order.options)
    options["token_merging_ratio"] = options["token_merging_ratio_hr"] or options["token_merging_ratio"]
    options["sd_model_checkpoint"] = request.hr_checkpoint_name or options["sd_model_checkpoint"]
    return replace(first.order, request=changed, options=options)


def called(error: InputError, request: Txt2ImgRequest) -> InputError:
    """An error of the second pass, with its field as the request calls it."""
    resized = "hr_resize_x" if request.hr_resize_x else "hr_resize_y" if request.hr_resize_y else "hr_scale"
    field = {**CALLED, "width": resized, "height": resized}.get(error.field, error.field)
    if field in CALLED.values() and not getattr(request, field):
        return error
    said = (
        error.message.replace(error.field, field, 1) if error.field in CALLED else f"In the hires pass {error.message}"
    )
    return InputError(field, said)


def check_spaces(first: Sitting, second: Sitting, request: Txt2ImgRequest) -> None:
    """Raise InputError if latents are to go from one model to another that does not understand them."""
    if latent_mode(request.hr_upscaler) and first.model.autoencoder.space != second.model.autoencoder.space:
        raise InputError(
            "hr_upscaler",
            f'hr_upscaler is "{request.hr_upscaler}": "{second.model.name}" cannot go on with the latents of '
            f'"{first.model.name}". Choose an upscaler that is not latent, or another hr_checkpoint_name.',
        )
