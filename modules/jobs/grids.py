"""The grid of a job's pictures, as A1111 puts it before them."""

from collections.abc import Sequence
from dataclasses import replace

from modules.core.errors import AtelierError, InputError, NotFound
from modules.core.settings import Settings
from modules.images.encode import encode_image, grid_format
from modules.images.grids import columns_of, make_grid
from modules.images.reading import decoded
from modules.jobs.store import Image, Job, JobStore
from modules.jobs.writer import Writer
from modules.requests.events import FIRST_GRID, Done, ImageReady, is_picture
from modules.requests.generation import MAX_SIDE, GenerationRequest


def with_grid(done: Done, job: Job, settings: Settings, store: JobStore, writer: Writer) -> tuple[Done, str | None]:
    """Save the grid of the job's pictures, and tell in its info where these begin; and why the grid could not be saved, if so."""
    hidden, trouble = [*done.info.get("hidden", ())], None
    try:
        grid = plain_grid(job, settings, [image for image in store.images(job.id) if is_picture(image.position)])
        trouble = writer.save(job, settings, grid) if grid else None
        if grid and not settings.grids.return_grid:
            hidden.append(grid.index)
    except AtelierError as error:
        trouble = error.message
    grids = [image for image in store.images(job.id) if image.position < 0 and image.position not in hidden]
    return replace(done, info={**done.info, "hidden": hidden, "index_of_first_image": len(grids)}), trouble


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
    if across * down > grids.img_max_size_mp * 1e6:
        raise InputError(
            "img_max_size_mp",
            f"The grid is not made: it would have {across * down / 1e6:.1f} megapixels, and img_max_size_mp is "
            f"{grids.img_max_size_mp:g}. Raise that setting.",
        )
    sheet = make_grid(pictures, columns, background=grids.grid_background_color)
    infotext = images[0].infotext
    fields = {"seed": images[0].seed, "prompt": request.prompt}
    data = encode_image(sheet, infotext if settings.infotext.enable_pnginfo else None, grid_format(settings.flat()))
    return ImageReady(index=FIRST_GRID, data=data, infotext=infotext, seed=job.seed, fields=fields, grid="grid")
