"""The body of `POST /sdapi/v1/img2img`, in A1111's names and with its defaults."""

from typing import Any

from typing_extensions import Self

from modules.api.always_on import FIELD
from modules.api.bodies import GenerationBody
from modules.api.encoded import decode_base64
from modules.api.tiled_args import read_growth
from modules.core.errors import NotFound
from modules.core.validation import Number, Text, Whole
from modules.images.reading import open_picture, take_picture
from modules.requests.img2img import Img2ImgRequest, make_img2img_request
from modules.requests.pictures import Picture

SAME = (
    "resize_mode",
    "denoising_strength",
    "image_cfg_scale",
    "mask_round",
    "inpainting_fill",
    "inpaint_full_res_padding",
    "inpainting_mask_invert",
    "initial_noise_multiplier",
    "match_seams",
    "include_init_images",
)
PICTURES = ("init_images", "mask")
"""What the answer does not repeat unless it is asked to."""


class Img2ImgBody(GenerationBody):
    """Pictures are in base64, bare or as data URLs. `mask_blur`, where given, is that of x and y."""

    denoising_strength: Number = 0.75  # type: ignore[assignment]
    init_images: list[Text | None] | None = None
    resize_mode: Whole = 0
    image_cfg_scale: Number | None = None
    mask: Text | None = None
    mask_blur_x: Whole = 4
    mask_blur_y: Whole = 4
    mask_blur: Whole | None = None
    mask_round: bool = True
    inpainting_fill: Whole = 0
    inpaint_full_res: bool = True
    inpaint_full_res_padding: Whole = 0
    inpainting_mask_invert: Whole = 0
    initial_noise_multiplier: Number | None = None
    latent_mask: Text | None = None
    match_seams: bool = False
    detail_only: bool = False
    soft_inpainting: dict[str, Any] | None = None
    include_init_images: bool = False

    def to_request(self) -> Img2ImgRequest:
        """The request; raises InputError for a wrong value and a feature that is not there, NotFound without pictures."""
        if not self.init_images or not all(self.init_images):
            raise NotFound("init_images hold no picture to draw on from. Send at least one, in base64.")
        x, y = (self.mask_blur_x, self.mask_blur_y) if self.mask_blur is None else (self.mask_blur, self.mask_blur)
        pictures = tuple(_picture("init_images", image) for image in self.init_images if image)
        return make_img2img_request(
            {
                **self._grown(self.values(img2img=True), pictures[0]),
                **{name: getattr(self, name) for name in SAME},
                **({"soft_inpainting": self.soft_inpainting} if self.soft_inpainting is not None else {}),
                **({"detail_only": True} if self.detail_only else {}),
                "init_images": pictures,
                "mask": _picture("mask", self.mask) if self.mask else None,
                "latent_mask": _picture("latent_mask", self.latent_mask) if self.latent_mask else None,
                "mask_blur_x": x,
                "mask_blur_y": y,
                "inpaint_full_res": int(self.inpaint_full_res),
            }
        )

    def _grown(self, values: dict[str, Any], picture: Picture) -> dict[str, Any]:
        """The values with the size, and the upscaler, that tiled diffusion's own arguments ask for."""
        size = open_picture(picture, "init_images").size
        grown = read_growth(FIELD, self.alwayson_scripts or {}, (self.width, self.height), size)
        if upscaler := grown.pop("upscaler", None):
            values["override_settings"].setdefault("upscaler_for_img2img", upscaler)
        return {**values, **grown}

    def repeated(self) -> Self:
        """Without its pictures, unless it wants them."""
        return self if self.include_init_images else self.model_copy(update=dict.fromkeys(PICTURES))


def _picture(field: str, text: str) -> Picture:
    return take_picture(field, decode_base64(field, text))
