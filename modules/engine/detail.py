"""The detail pass over finished pictures: find, mask, draw again at full size, one thing after the other."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image, ImageChops, ImageFilter

from modules.core.errors import AtelierError, Cancelled, NotANumber
from modules.detect.detection import Detection
from modules.detect.detectors import Detectors
from modules.engine.context import Context
from modules.engine.toolbox import Toolbox
from modules.images.encode import encode_image, encode_png
from modules.images.reading import open_picture
from modules.requests.detail import DetailUnit
from modules.requests.events import CopyReady, Done, Event, ImageReady, MapReady, Order, Progress, Warned
from modules.requests.generation import GenerationRequest
from modules.requests.img2img import Img2ImgRequest, make_img2img_request
from modules.requests.pictures import Picture

SEP, SKIP, PROMPT = "[SEP]", "[SKIP]", "[PROMPT]"

SAME_SAMPLER = "Use same sampler"

LOSSLESS = {"samples_format": "png"}
"""How pictures go from one pass to the next, whatever they are saved as."""

Recipe = Callable[[Order, Toolbox, Context], Done]


class Detailing:
    """The units of one job. `recipe` draws an order of image to image; `order` is the job's. Raises UnknownName and ModelFileError for
    detectors that are not there."""

    def __init__(
        self, order: Order, detectors: Detectors, recipe: Callable[[Order, Context], Done], context: Context
    ) -> None:
        self._order = order
        self._request: GenerationRequest = order.request
        self._units = [unit for unit in self._request.detail if unit.active]
        self._found = [
            detectors.get(unit.ad_model) for unit in self._units
        ]  # a wrong name is told before anything is drawn
        self._recipe = recipe
        self._context = context

    def __call__(self, image: Image.Image, seed: int, batch: int) -> Image.Image:
        """An RGB picture with what the units found in it drawn again from seeds that begin with `seed`; on an interrupt what there is."""
        for unit, detector in zip(self._units, self._found, strict=True):
            if self._context.cancel.interrupted:
                return image
            classes = [name.strip() for name in unit.ad_model_classes.split(",") if name.strip()]
            found = detector.find(image, unit.ad_confidence, classes)
            masks = prepared(chosen(found, unit, image.size, self._order.options["ad_bbox_sortby"]), unit, image.size)
            same = self._order.options["ad_same_seed_for_each_tab"]
            for i, mask in enumerate(masks):
                prompts = [prompt_of(text, own, i) for text, own in self._prompts(unit)]
                if prompts[0] is None:
                    continue
                phase = f"detail {i + 1} of {len(masks)}"
                try:
                    image = self._drawn(image, mask, unit, seed if same else seed + i, prompts, batch, phase)
                except Cancelled:
                    return image
        return image

    @property
    def options(self) -> dict[str, Any]:
        """The job's options."""
        return self._order.options

    def original(self, position: int) -> Image.Image | None:
        """The picture that the one at that position was drawn from, if it is to be taken undrawn."""
        request = self._request
        if not isinstance(request, Img2ImgRequest) or not request.detail_only:
            return None
        return open_picture(request.init_images[position % len(request.init_images)], "init_images").convert("RGB")

    def _prompts(self, unit: DetailUnit) -> tuple[tuple[str, str], tuple[str, str]]:
        request = self._request
        return (request.prompt, unit.ad_prompt), (request.negative_prompt, unit.ad_negative_prompt)

    def _drawn(
        self,
        image: Image.Image,
        mask: Image.Image,
        unit: DetailUnit,
        seed: int,
        prompts: Sequence[str | None],
        batch: int,
        phase: str,
    ) -> Image.Image:
        request = again(self._request, unit, image, mask, seed, prompts)
        options = {**changed(self._order.options, unit), **LOSSLESS}
        order = replace(self._order, request=request, seed=seed, done=frozenset(), options=options)
        drawn: list[ImageReady] = []

        def emit(event: Event) -> None:
            if isinstance(event, ImageReady):
                drawn.append(event)
            elif isinstance(event, Progress):  # of the whole job: this batch's steps are done
                outer = self._request
                event = Progress(batch=batch, batches=outer.n_iter, step=outer.steps, steps=outer.steps, phase=phase)
                self._context.emit(event)
            elif not isinstance(event, MapReady | CopyReady):
                self._context.emit(event)

        ended = self._recipe(order, replace(self._context, emit=emit))
        if ended.stopped or not drawn or drawn[0].incomplete:
            raise Cancelled
        with Image.open(io.BytesIO(drawn[0].data)) as picture:
            return picture.convert("RGB")


def with_detail(recipe: Recipe, again: Recipe) -> Recipe:
    """The recipe with the detail passes that its orders ask for after each batch; `again` is that of image to image, which draws them."""

    def drawn(order: Order, tools: Toolbox, context: Context) -> Done:
        request: GenerationRequest = order.request
        if not any(unit.active for unit in request.detail):
            return recipe(order, tools, context)
        detailing = Detailing(order, tools.detectors, lambda order, context: again(order, tools, context), context)
        every = frozenset(range(request.count))
        ended = Done()
        for number in range(request.n_iter):
            batch = frozenset(range(number * request.batch_size, (number + 1) * request.batch_size))
            if number and context.cancel.interrupted:
                return replace(ended, stopped=True)
            if batch <= order.done and number < request.n_iter - 1:
                continue
            held: list[ImageReady] = []

            def emit(event: Event, held: list[ImageReady] = held) -> None:
                if isinstance(event, ImageReady):
                    held.append(event)
                else:
                    context.emit(event)

            alone = replace(_drawing(order), done=order.done | (every - batch))
            ended = recipe(alone, tools, replace(context, emit=emit))
            for picture in held:
                context.emit(_finished(picture, detailing, number, context))
            if ended.stopped:
                return ended
        return ended

    return drawn


def _finished(picture: ImageReady, detailing: Detailing, batch: int, context: Context) -> ImageReady:
    """A drawn picture after the passes, as far as they came; what is wrong with one is told, and the picture is handed over without it."""
    with Image.open(io.BytesIO(picture.data)) as file:
        image = detailing.original(picture.index) or file.convert("RGB")
    try:
        image = detailing(image, picture.seed, batch)
    except NotANumber:
        raise  # the whole order is drawn again, more precisely
    except AtelierError as error:
        context.emit(Warned(message=f"The detail pass was left out: {error.message}"))
    options = detailing.options
    return replace(picture, data=encode_image(image, picture.infotext if options["enable_pnginfo"] else None, options))


def _drawing(order: Order) -> Order:
    """The order as its recipe draws it: in one step that changes nothing, if only the detail pass is asked for."""
    order = replace(order, options={**order.options, **LOSSLESS})
    if not getattr(order.request, "detail_only", False):
        return order
    return replace(order, request=order.request.model_copy(update={"denoising_strength": 0.0}))


def chosen(found: Sequence[Detection], unit: DetailUnit, size: tuple[int, int], order: str) -> list[Detection]:
    """Those within the unit's ratios, the `ad_mask_k` first by its method, in the order that they are drawn in."""
    whole = size[0] * size[1]
    kept = [one for one in found if unit.ad_mask_min_ratio <= one.area / whole <= unit.ad_mask_max_ratio]
    if unit.ad_mask_k:
        by_area = unit.ad_mask_filter_method == "Area"
        kept = sorted(kept, key=lambda one: -(one.area if by_area else one.score))[: unit.ad_mask_k]
    keys: dict[str, Callable[[Detection], Any]] = {
        "Position (left to right)": lambda one: one.box[0],
        "Position (center to edge)": lambda one: _from_middle(one, size),
        "Area (large to small)": lambda one: -one.area,
    }
    return sorted(kept, key=keys[order]) if order in keys else kept


def _from_middle(one: Detection, size: tuple[int, int]) -> float:
    left, top, right, bottom = one.box
    return ((left + right) / 2 - size[0] / 2) ** 2 + ((top + bottom) / 2 - size[1] / 2) ** 2


def prepared(found: Sequence[Detection], unit: DetailUnit, size: tuple[int, int]) -> list[Image.Image]:
    """Masks moved (up by the y offset), grown or shrunk, and merged or turned about as the unit says; empty ones are left out."""
    masks = []
    for one in found:
        mask = Image.new("L", size)
        mask.paste(one.mask, (unit.ad_x_offset, -unit.ad_y_offset))
        masks.append(grown(mask, unit.ad_dilate_erode))
    if unit.ad_mask_merge_invert != "None" and masks:
        merged = masks[0]
        for mask in masks[1:]:
            merged = ImageChops.lighter(merged, mask)
        masks = [ImageChops.invert(merged) if unit.ad_mask_merge_invert == "Merge and Invert" else merged]
    return [mask for mask in masks if mask.getbbox()]


def grown(mask: Image.Image, by: int) -> Image.Image:
    """A mask with a border of `by` / 2 pixels more, or fewer where it is negative: a square kernel of that side."""
    side = abs(by) | 1
    if side == 1:
        return mask
    return mask.filter(ImageFilter.MaxFilter(side) if by > 0 else ImageFilter.MinFilter(side))


def prompt_of(text: str, own: str, i: int) -> str | None:
    """The prompt of thing number i: the unit's part for it, the last one for those after it; None to leave it as it is."""
    parts = own.split(SEP)
    part = parts[min(i, len(parts) - 1)].strip()
    if part == SKIP:
        return None
    return part.replace(PROMPT, text) if part else text


def again(
    request: GenerationRequest,
    unit: DetailUnit,
    image: Image.Image,
    mask: Image.Image,
    seed: int,
    prompts: Sequence[str | None],
) -> Img2ImgRequest:
    """The request that draws what is white in the mask once more. Raises InputError."""
    width, height = request.width, request.height
    if not unit.ad_inpaint_only_masked:
        width, height = (max(side // 8 * 8, 64) for side in image.size)
    if unit.ad_use_inpaint_width_height:
        width, height = unit.ad_inpaint_width, unit.ad_inpaint_height
    same = {name: getattr(request, name) for name in GenerationRequest.model_fields}
    same_sampler = not unit.ad_use_sampler or unit.ad_sampler == SAME_SAMPLER
    sampler = {} if same_sampler else {"sampler_name": unit.ad_sampler}
    if unit.ad_use_sampler and unit.ad_scheduler != "Use same scheduler":
        sampler["scheduler"] = unit.ad_scheduler
    return make_img2img_request(
        {
            **same,
            **sampler,
            "detail": (),
            "control": unit.control(request.control),
            "restore_faces": unit.ad_restore_face,
            "tiled_diffusion": None,
            "n_iter": 1,
            "batch_size": 1,
            "width": width,
            "height": height,
            "seed": seed,
            "prompt": prompts[0],
            "negative_prompt": prompts[1] or "",
            "steps": unit.ad_steps if unit.ad_use_steps else request.steps,
            "cfg_scale": unit.ad_cfg_scale if unit.ad_use_cfg_scale else request.cfg_scale,
            "init_images": (Picture.of(encode_png(image, None)),),
            "mask": Picture.of(encode_png(mask, None)),
            "mask_blur_x": unit.ad_mask_blur,
            "mask_blur_y": unit.ad_mask_blur,
            "inpainting_fill": 1,
            "inpaint_full_res": int(unit.ad_inpaint_only_masked),
            "inpaint_full_res_padding": unit.ad_inpaint_only_masked_padding,
            "denoising_strength": unit.ad_denoising_strength,
            "initial_noise_multiplier": unit.ad_noise_multiplier if unit.ad_use_noise_multiplier else None,
        }
    )


def changed(options: dict[str, Any], unit: DetailUnit) -> dict[str, Any]:
    """The job's options with the unit's own checkpoint, VAE and CLIP skip."""
    found = dict(options)
    if unit.ad_use_checkpoint and unit.ad_checkpoint and unit.ad_checkpoint != "Use same checkpoint":
        found["sd_model_checkpoint"] = unit.ad_checkpoint
    if unit.ad_use_vae and unit.ad_vae and unit.ad_vae != "Use same VAE":
        found["sd_vae"] = unit.ad_vae
    if unit.ad_use_clip_skip:
        found["CLIP_stop_at_last_layers"] = unit.ad_clip_skip
    return found
