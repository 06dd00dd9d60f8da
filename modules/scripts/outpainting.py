"""Poor man's outpainting: the picture on a larger sheet, whose tiles are drawn where they are empty."""

from PIL import Image, ImageDraw

from modules.engine.scripts import EngineAPI, Script, Values
from modules.requests.axes import remade
from modules.requests.generation import MAX_SEED, GenerationRequest
from modules.requests.img2img import MASKED_CONTENT, Img2ImgRequest
from modules.requests.scripts import ScriptField
from modules.scripts.pictures import (
    as_picture,
    blur_field,
    check_size,
    direction_field,
    first_picture,
    margins,
    pixels_field,
)
from modules.scripts.sd_upscale import tiles_for

TITLE = "Poor man's outpainting"


class PoorMansOutpainting(Script):
    """A1111's poor man's outpainting; the request's width and height are the tiles'."""

    title = TITLE
    tabs = ("img2img",)

    def fields(self, tab: str) -> tuple[ScriptField, ...]:
        """A1111's arguments in their order."""
        return (
            pixels_field(),
            blur_field(4),
            ScriptField(
                name="inpainting_fill", label="Masked content", kind="choice", default="fill", choices=MASKED_CONTENT
            ),
            direction_field(),
        )

    def run(self, request: GenerationRequest, values: Values, api: EngineAPI) -> None:
        """Draw every tile that holds something empty, and hand over the whole."""
        assert isinstance(request, Img2ImgRequest)
        old, blur = first_picture(request, api), values["mask_blur"]
        added = margins(old.size, values, TITLE)
        size = old.width + added["left"] + added["right"], old.height + added["up"] + added["down"]
        check_size(size, TITLE)
        sheet = Image.new("RGB", size)
        sheet.paste(old, (added["left"], added["up"]))
        mask, changing = frame(size, added, 2 * blur), frame(size, added, blur // 2)
        laid = tiles_for(sheet, request, values["pixels"], TITLE)
        tiles = [sheet.crop(box) for box in laid.boxes]
        inner = added["left"], added["up"], size[0] - added["right"], size[1] - added["down"]
        todo = [i for i, box in enumerate(laid.boxes) if not _inside(box, inner)]
        api.expect(len(todo))
        infotext, drawn = "", 0
        for number, i in enumerate(todo):
            box = laid.boxes[i]
            changed = {
                "init_images": (as_picture(tiles[i]),),
                "mask": as_picture(mask.crop(box)),
                "latent_mask": as_picture(changing.crop(box)),
                "mask_blur_x": 2 * blur,
                "mask_blur_y": 2 * blur,
                "inpainting_fill": MASKED_CONTENT.index(values["inpainting_fill"]),
                "inpaint_full_res": 0,
                "inpainting_mask_invert": 0,
                "n_iter": 1,
                "batch_size": 1,
                "seed": min(api.seed + number, MAX_SEED),
                "width": laid.tile[0],
                "height": laid.tile[1],
            }
            for one in api.sketch(remade(request, changed)):
                tiles[i] = one.image
                infotext = infotext or one.infotext
                drawn += 1
        if drawn:
            api.hand_over(laid.joined(tiles), infotext, incomplete=drawn < len(todo))


def frame(size: tuple[int, int], added: dict[str, int], more: int) -> Image.Image:
    """A mask (L) over what was added, and `more` pixels over the old picture there."""
    left, up, right, down = (added[side] + (more if added[side] else 0) for side in ("left", "up", "right", "down"))
    mask = Image.new("L", size, "white")
    box = left, up, size[0] - right, size[1] - down
    if box[2] > box[0] and box[3] > box[1]:
        ImageDraw.Draw(mask).rectangle(box, fill="black")
    return mask


def _inside(box: tuple[int, int, int, int], outer: tuple[int, int, int, int]) -> bool:
    return box[0] >= outer[0] and box[1] >= outer[1] and box[2] <= outer[2] and box[3] <= outer[3]
