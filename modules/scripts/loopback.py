"""Loopback: each picture is drawn on from the one before, with more or less freedom each time."""

import math
from collections.abc import Callable

from PIL import Image

from modules.engine.scripts import Drawn, EngineAPI, Script, Values
from modules.images.reading import open_picture
from modules.requests.axes import remade
from modules.requests.generation import MAX_SEED, GenerationRequest
from modules.requests.img2img import Img2ImgRequest
from modules.requests.pictures import Picture
from modules.requests.scripts import ScriptField
from modules.scripts.pictures import give_grid

CURVES: dict[str, Callable[[float], float]] = {
    "Aggressive": lambda part: math.sin(part * math.pi / 2),
    "Linear": lambda part: part,
    "Lazy": lambda part: 1 - math.cos(part * math.pi / 2),
}
ORIGINAL = 1
"""Masked content from the second loop on."""


class Loopback(Script):
    """A1111's loopback."""

    title = "Loopback"
    tabs = ("img2img",)

    def fields(self, tab: str) -> tuple[ScriptField, ...]:
        """A1111's arguments in their order."""
        return (
            ScriptField(name="loops", label="Loops", kind="whole", default=4, minimum=1, maximum=32),
            ScriptField(
                name="final_denoising_strength",
                label="Final denoising strength",
                kind="number",
                default=0.5,
                minimum=0,
                maximum=1,
                step=0.01,
            ),
            ScriptField(
                name="denoising_curve",
                label="Denoising strength curve",
                kind="choice",
                default="Linear",
                choices=tuple(CURVES),
            ),
            ScriptField(
                name="append_interrogation",
                label="Append interrogated prompt at each iteration",
                kind="choice",
                default="None",
                choices=("None", "CLIP", "DeepBooru"),
                tooltip="CLIP: a caption by the model in models/BLIP; DeepBooru: tags by that in models/torch_deepdanbooru.",
            ),
        )

    def run(self, request: GenerationRequest, values: Values, api: EngineAPI) -> None:
        """Draw loop after loop, as often as the batch count says; of several rounds the last pictures are shown."""
        assert isinstance(request, Img2ImgRequest)
        loops, rounds = values["loops"], request.n_iter
        api.expect(loops * rounds)
        history: list[Drawn] = []
        for number in range(rounds):
            drawn = self._round(request, values, api, number * loops)
            if rounds > 1:
                api.hide(drawn[:-1])
                drawn = drawn[-1:]
            history += drawn
            if api.stopped:
                break
        if history:
            give_grid(api, [one.image for one in history], history[0].infotext, one_row=True)

    def _round(self, request: Img2ImgRequest, values: Values, api: EngineAPI, first: int) -> list[Drawn]:
        """One picture after the other, the first being number `first` of the job."""
        loops = values["loops"]
        notes = {
            "Final denoising strength": values["final_denoising_strength"],
            "Denoising curve": values["denoising_curve"],
        }
        found: list[Drawn] = []
        changed = {"n_iter": 1, "batch_size": 1, "colours_of": request.init_images[0]}
        for loop in range(loops):
            seed = min(api.seed + first + loop, MAX_SEED)
            changed |= {"seed": seed, "denoising_strength": strength(request, values, loop)}
            one = remade(request, changed)
            if values["append_interrogation"] != "None":
                one = remade(one, {"prompt": _with_caption(request.prompt, one.init_images[0], values, api)})
            drawn = api.draw(one, at=first + loop, notes=notes)
            found += drawn
            if api.stopped or not drawn or drawn[0].event.incomplete:
                break
            changed |= {"init_images": (Picture.of(drawn[0].event.data),), "inpainting_fill": ORIGINAL}
        return found


def strength(request: Img2ImgRequest, values: Values, loop: int) -> float:
    """The denoising strength of that loop, from 0: from the request's to the final one along the curve."""
    begin, end, loops = request.denoising_strength, values["final_denoising_strength"], values["loops"]
    if loops == 1:
        return begin
    part = CURVES[values["denoising_curve"]](loop / (loops - 1))
    return min(max(begin + (end - begin) * part, 0.0), 1.0)


def _with_caption(prompt: str, picture: Picture, values: Values, api: EngineAPI) -> str:
    image: Image.Image = open_picture(picture, "init_images").convert("RGB")
    caption = api.caption(image, tags=values["append_interrogation"] == "DeepBooru")
    return f"{prompt}, {caption}" if prompt else caption
