"""Faces in pictures: found by the cascade that scikit-image brings, restored by GFPGAN or CodeFormer, put back."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter

from modules.upscale.network import Network
from modules.upscale.upscaler import Check

SIDE = 512
"""Of the square that the networks take, in pixels; faces stand in it as in FFHQ (arXiv:1812.04948)."""

CROP, ABOVE = 1.625, 0.381
"""Side of that square, and how much of it is above the found box, in sides of the box: it puts eyes and mouth where FFHQ has them."""

LARGEST = 1024
"""Faces are looked for in a copy whose longer side is at most so many pixels."""

SMALLEST = 24
FEATHER = 0.06


@dataclass(frozen=True, kw_only=True)
class Face:
    """A square around a face, in pixels of the picture."""

    left: float
    top: float
    side: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        return self.left, self.top, self.left + self.side, self.top + self.side

    @property
    def crop(self) -> tuple[int, int, int]:
        """Left, top and side of the square that a network is given."""
        side = round(self.side * CROP)
        return round(self.left + self.side / 2 - side / 2), round(self.top - self.side * ABOVE), max(side, 1)


def find_faces(image: Image.Image) -> list[Face]:
    """Upright faces that look this way, the largest first."""
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade

    small = image.convert("RGB")
    small.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    factor = image.width / small.width
    shortest = min(small.size)
    if shortest < SMALLEST:
        return []
    found = Cascade(lbp_frontal_face_cascade_filename()).detect_multi_scale(
        img=np.asarray(small),
        scale_factor=1.1,
        step_ratio=1.3,
        min_size=(max(SMALLEST, shortest // 12),) * 2,
        max_size=(shortest, shortest),
        min_neighbor_number=4,
    )
    faces = [Face(left=f["c"] * factor, top=f["r"] * factor, side=f["width"] * factor) for f in found]
    return sorted(faces, key=lambda face: -face.side)


def restore_faces(
    image: Image.Image, network: Network, *, check: Check, weight: float | None = None
) -> tuple[Image.Image, int]:
    """The picture with its faces restored, and how many there were. `weight`: CodeFormer's, 0 the strongest effect."""
    faces = find_faces(image)
    if not faces:
        return image, 0
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    whole = image.convert("RGB")
    for face in faces:
        check()
        left, top, side = face.crop
        square = whole.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        options: dict[str, object] = {"weight": weight} if weight is not None else {"randomize_noise": False}
        restored = _restored(square, network, options).resize((side, side), Image.Resampling.LANCZOS)
        whole.paste(restored, (left, top), _mask(side))
    if alpha is not None:
        whole.putalpha(alpha)
    return whole, len(faces)


def _restored(square: Image.Image, network: Network, options: dict[str, object]) -> Image.Image:
    """What the network makes of a face; it works in [-1, 1]."""
    pixels = torch.from_numpy(np.array(square)).permute(2, 0, 1)[None].float() / 127.5 - 1
    found = network.raw(pixels, **options)[0].clamp(-1, 1)
    return Image.fromarray(((found + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy())


def _mask(side: int) -> Image.Image:
    """White where the restored face is seen; it goes over into the picture towards the edges."""
    edge = max(round(side * FEATHER), 1)
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).rounded_rectangle((2 * edge, 2 * edge, side - 2 * edge, side - 2 * edge), 4 * edge, fill=255)
    return mask.filter(ImageFilter.GaussianBlur(edge))
