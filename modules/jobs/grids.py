"""The grid of a job's pictures, as A1111 puts it before them."""

from collections.abc import Sequence

from modules.core.errors import InputError, NotFound
from modules.core.settings import Settings
from modules.images.encode import encode_image, grid_format
from modules.images.grids import columns_of, make_grid
from modules.images.reading import decoded
from modules.jobs.store import Image, Job
from modules.requests.events import FIRST_GRID, ImageReady
from modules.requests.generation import MAX_SIDE, GenerationRequest


def plain_grid(job: Job, settings: Settings, images: Sequence[Image]) -> ImageReady | None:
    """The grid of these pictures, if the settings want one: scripts make their own. Raises InputError, NotFound with the reason why
    there is none."""
    request, grids = job.request, settings.grids
    if not isinstance(request, GenerationRequest) or request.script_name or not images:
        return None
    if request.do_not_save_grid or not request.save_images or not (grids.grid_save or grids.return_grid):
        return None
    if grids.grid_only_if_multiple and len(images) < 2:
        return None
    columns = columns_of(
        len(images), rows=grids.n_rows, batch_size=request.batch_size, no_gaps=grids.grid_prevent_empty_spots
    )
    try:
        pictures = [decoded("image", image.path.read_bytes()) for image in images]
    except OSError as error:
        raise NotFound(f'The grid is not made: "{error.filename}" is not there any more.') from error
    except InputError as error:
        raise InputError("grid_save", f"The grid is not made: {error.message}") from error
    width, height = (max(sides) for sides in zip(*(picture.size for picture in pictures), strict=True))
    across, down = columns * width, -(-len(images) // columns) * height
    if max(across, down) > MAX_SIDE:
        raise InputError(
            "n_rows",
            f"The grid is not made: it would be {across} x {down} pixels, at most {MAX_SIDE} a side are possible.",
        )
    sheet = make_grid(pictures, columns, background=grids.grid_background_color)
    infotext = images[0].infotext
    fields = {"seed": images[0].seed, "prompt": request.prompt}
    data = encode_image(sheet, infotext if settings.infotext.enable_pnginfo else None, grid_format(settings.flat()))
    return ImageReady(index=FIRST_GRID, data=data, infotext=infotext, seed=job.seed, fields=fields, grid="grid")
