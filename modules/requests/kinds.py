"""The kinds of request there are, as jobs are stored under them."""

from pydantic import BaseModel

from modules.requests.extras import ExtrasRequest
from modules.requests.img2img import Img2ImgRequest
from modules.requests.merge import ExtractLoraRequest, MergeLorasRequest, MergeRequest
from modules.requests.txt2img import Txt2ImgRequest

Request = Txt2ImgRequest | Img2ImgRequest | MergeRequest | ExtractLoraRequest | MergeLorasRequest | ExtrasRequest

KINDS: dict[str, type[BaseModel]] = {
    "txt2img": Txt2ImgRequest,
    "img2img": Img2ImgRequest,
    "extras": ExtrasRequest,
    "merge": MergeRequest,
    "extract-lora": ExtractLoraRequest,
    "merge-loras": MergeLorasRequest,
}


def kind_of(request: Request) -> str:
    """The kind of that request."""
    return next(kind for kind, cls in KINDS.items() if type(request) is cls)
