"""The check of a request's script, and of what its second pass names, before its job is stored; and what a try that failed hands on to the next."""

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

from modules.core.errors import UnknownName
from modules.jobs.store import Image
from modules.library.checkpoints import Checkpoints
from modules.library.upscalers import UpscalerFiles
from modules.requests.catalogue import Catalogue
from modules.requests.events import FIRST_WORK, ImageReady, is_picture
from modules.requests.generation import GenerationRequest
from modules.requests.hires import LATENT_MODES, latent_mode
from modules.requests.plot import TITLE as PLOT
from modules.requests.plot import read_plot
from modules.requests.scripts import FIELD
from modules.requests.txt2img import Txt2ImgRequest


def check_script(
    request: GenerationRequest, catalogue: Catalogue, upscalers: UpscalerFiles, check: Callable[[Any], object]
) -> None:
    """Raise InputError for a script that is not known, for wrong arguments, for an upscaler that is not there, and for a plot that is
    too large or names what is not there: `check` looks at requests without scripts."""
    if request.script_name is None:
        return
    entry = catalogue.script(request.script_name)
    tab = "txt2img" if isinstance(request, Txt2ImgRequest) else "img2img"
    values = entry.values(tab, request.script_args)
    for field in entry.fields[tab]:
        if field.kind == "upscaler":
            upscalers.find(upscalers.called(values[field.name], FIELD), FIELD)
    if entry.name == PLOT:
        for one in read_plot(values, request, tab, 0).each():
            check(one)


def check_hires(
    request: Txt2ImgRequest, catalogue: Catalogue, checkpoints: Checkpoints, upscalers: UpscalerFiles
) -> None:
    """Raise UnknownName for a name that only the second pass has."""
    fields = ("hr_sampler_name" if request.hr_sampler_name else "sampler_name", "hr_scheduler")
    catalogue.sampler_and_schedule(request.hr_sampler_name or request.sampler_name, request.hr_scheduler, fields)
    if request.hr_checkpoint_name:
        checkpoints.find(request.hr_checkpoint_name, "hr_checkpoint_name")
    if latent_mode(request.hr_upscaler) is None:
        try:
            upscalers.find(request.hr_upscaler)
        except UnknownName as error:
            known = (*LATENT_MODES, *upscalers.names())
            raise UnknownName.among("hr_upscaler", request.hr_upscaler, known) from error


def kept_pictures(images: Iterable[Image]) -> tuple[ImageReady, ...]:
    """The pictures of an earlier try, for a script that goes on; those whose files are gone are left out."""
    found = []
    for image in images:
        if (is_picture(image.position) or image.position >= FIRST_WORK) and not image.incomplete:
            with contextlib.suppress(OSError):
                data = image.path.read_bytes()
                found.append(ImageReady(index=image.position, data=data, infotext=image.infotext, seed=image.seed))
    return tuple(found)


def shown(images: Iterable[Image], hidden: Iterable[int]) -> list[Image]:
    """Those that belong to the job's results."""
    without = frozenset(hidden)
    return [image for image in images if image.position < FIRST_WORK and image.position not in without]
