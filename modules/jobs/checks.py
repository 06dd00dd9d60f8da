"""What requests ask for, before they are stored: no more than this server allows."""

from collections.abc import Callable

from modules.core.errors import Forbidden, InputError, short
from modules.core.policy import MB, Policy
from modules.library.checkpoints import Checkpoint
from modules.library.styles import Styles, with_styles
from modules.library.wildcards import WildcardSet
from modules.requests.generation import GenerationRequest
from modules.requests.hires import target_of
from modules.requests.kinds import Request
from modules.requests.txt2img import Txt2ImgRequest
from modules.templates.resolve import with_combinations

PICKLES = (".ckpt", ".pt", ".pth", ".bin")


def counted(request: Request, styles: Styles, look: Callable[[], WildcardSet], most: int) -> Request:
    """The request with as many pictures as its templates have combinations; raises InputError for more than `most`."""
    if not isinstance(request, GenerationRequest):
        return request
    found = with_combinations(with_styles(request, styles), look, most)
    return request.model_copy(update={"n_iter": found.n_iter, "batch_size": found.batch_size})


def check_file(checkpoint: Checkpoint, policy: Policy) -> None:
    """Raise Forbidden for a kind of file that is not used where strangers may come by."""
    if not policy.pickles and checkpoint.path.suffix.lower() in PICKLES:
        raise Forbidden(
            f"The checkpoint {short(checkpoint.name)} is a pickle: through a tunnel only safetensors and GGUF are used."
        )


def check_size(request: GenerationRequest, policy: Policy) -> None:
    """Raise InputError for a request that is larger than the policy allows."""
    for name in ("batch_size", "n_iter", "steps"):
        most = {"batch_size": policy.batch, "n_iter": policy.n_iter, "steps": policy.steps}[name]
        if getattr(request, name) > most:
            raise InputError(name, f"{name} is {getattr(request, name)}: at most {most} are allowed on this server.")
    for name in ("prompt", "negative_prompt"):
        if len(getattr(request, name)) > policy.prompt:
            letters = len(getattr(request, name))
            raise InputError(name, f"{name} has {letters} letters: at most {policy.prompt} are allowed on this server.")
    width, height = final_size(request)
    if width * height > policy.pixels:
        raise InputError(
            "width",
            f"width x height would be {width} x {height} = {width * height / MB:.1f} megapixels: at most "
            f"{policy.pixels // MB} are allowed on this server (--max-megapixels).",
        )


def final_size(request: GenerationRequest) -> tuple[int, int]:
    """The size in pixels of the finished picture."""
    if isinstance(request, Txt2ImgRequest) and request.enable_hr:
        return target_of(
            width=request.width,
            height=request.height,
            scale=request.hr_scale,
            resize_x=request.hr_resize_x,
            resize_y=request.hr_resize_y,
        ).final()
    return request.width, request.height
