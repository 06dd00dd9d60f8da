"""From what the page says of its pictures to the requests of one press: hashes of uploads, drawings, folders of a batch."""

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from modules.core.errors import InputError, short
from modules.core.paths import Paths
from modules.images.drawings import painted, repainted, scaled
from modules.images.filenames import sanitize
from modules.images.infotext import parse_infotext, to_request_values
from modules.images.metadata.read import read_metadata
from modules.images.outpainting import begun, emptied, enlarged, margins_of
from modules.images.reading import decoded, open_picture, take_picture
from modules.jobs.uploads import Uploads
from modules.jobs.writer import output_folder
from modules.requests.img2img import Img2ImgRequest
from modules.requests.pictures import Picture
from webui.form import to_request
from webui.img2img_form import DIRECTORY, IMG2IMG, RESIZE_BY, RESIZE_TO, own_values

MASKED = ("inpaint", "inpaint_sketch", "inpaint_upload")
MODES = ("img2img", "img2img_sketch", *MASKED, "batch", "canvas")
WHOLE = {
    "resize_mode": "Just resize",
    "resize_by": RESIZE_TO,
    "mask_blur": 0,
    "inpainting_mask_invert": "Inpaint masked",
    "inpainting_fill": "original",
    "inpaint_full_res": "Whole picture",
    "soft_inpainting": False,
}
"""With which only what is empty is drawn, and the rest stays as it is."""
MOST = 500  # pictures of one batch
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".avif")
TAKEN = {
    "Negative prompt": "negative_prompt",
    "Seed": "seed",
    "CFG scale": "cfg_scale",
    "Sampler": "sampler_name",
    "Steps": "steps",
}


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Makes requests; `uploads` holds what the page sent, `paths` say where pictures may be written."""

    uploads: Uploads
    paths: Paths

    def requests(self, said: Any, values: Mapping[str, Any], checkpoint: str | None) -> list[Img2ImgRequest]:
        """One request, or one for each picture of a batch. `said`: JSON of assets/pictures.js. Raises InputError."""
        told = _object(said)
        if told["mode"] == "batch":
            return [*self._batch(told, values, checkpoint)]
        if told["mode"] == "canvas":
            return [self._request(*self._framed(told, values), checkpoint)]
        pictures, given = self._pictures(told, values), values
        if isinstance(told.get("outpaint"), dict):
            pictures, given = self._outpainted(told, pictures["init_images"][0], values)
        return [self._request(pictures, given, checkpoint)]

    def _framed(self, told: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[dict[str, Any], Mapping[str, Any]]:
        """What lies in the canvas's frame, what is empty there masked; and the values for that."""
        frame = open_picture(self.uploads.find(told.get("image")))
        first, mask = begun(frame)
        if not mask.getbbox():
            raise InputError(
                "init_images",
                "Nothing in the frame is empty. Move it over an empty place, or rub out what is to change.",
            )
        strength = 1.0 if mask.getextrema() == (255, 255) else told.get("denoising", 0.9)
        given = {**values, **WHOLE, "denoising_strength": strength}
        given["width"], given["height"] = frame.size
        return {"init_images": (_kept(first),), "mask": _kept(mask), "match_seams": True, "detail_only": False}, given

    def _outpainted(
        self, told: Mapping[str, Any], picture: Picture, values: Mapping[str, Any]
    ) -> tuple[dict[str, Any], Mapping[str, Any]]:
        """The picture made larger by what is asked for, what is new masked; and the values for that."""
        by = margins_of(told["outpaint"])
        larger = enlarged(open_picture(picture), **by)
        if told.get("drawing"):
            drawing = open_picture(self.uploads.find(told["drawing"], "drawing")).convert("L")
            size = open_picture(picture).size
            larger = emptied(larger, enlarged(drawing.resize(size), **by).getchannel(0))
        first, mask = begun(larger)
        given = {**values, **WHOLE, "denoising_strength": told["outpaint"].get("denoising", 0.9)}
        given["width"], given["height"] = larger.size
        return {"init_images": (_kept(first),), "mask": _kept(mask), "match_seams": True, "detail_only": False}, given

    def _request(self, pictures: dict[str, Any], values: Mapping[str, Any], checkpoint: str | None) -> Img2ImgRequest:
        own = own_values(values)
        given = {**values, **pictures}
        first = open_picture(pictures["init_images"][0])
        if own["resize_by"] == RESIZE_BY:
            given["width"], given["height"] = scaled(first.size, own["scale"])
        request = to_request(given, checkpoint, IMG2IMG)
        assert isinstance(request, Img2ImgRequest)
        return request.model_copy(update=pictures)

    def _pictures(self, told: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """`init_images`, and `mask` where only a part is to change."""
        mode = told["mode"]
        if not told.get("image"):
            raise InputError("init_images", "There is no picture to begin with. Drop one into the field at the left.")
        picture = self.uploads.find(told["image"])
        drawing = self.uploads.find(told["drawing"], "drawing") if told.get("drawing") else None
        if mode == "img2img_sketch" and drawing:
            picture = _kept(painted(open_picture(picture), open_picture(drawing)))
        if mode not in MASKED:
            return {"init_images": (picture,)}
        if mode == "inpaint_upload":
            if not told.get("mask"):
                raise InputError("mask", "There is no mask. Drop one into its field: white is redrawn.")
            return {"init_images": (picture,), "mask": self.uploads.find(told["mask"], "mask")}
        size = open_picture(picture).size
        if drawing is None:
            return {"init_images": (picture,), "mask": _kept(Image.new("L", size))}
        if mode == "inpaint":
            return {"init_images": (picture,), "mask": _kept(open_picture(drawing).convert("L").resize(size))}
        own = own_values(values)
        blended, mask = repainted(
            open_picture(picture), open_picture(drawing), transparency=own["mask_alpha"], blur=own["mask_blur"]
        )
        return {"init_images": (_kept(blended),), "mask": _kept(mask)}

    # -- batches --

    def _batch(
        self, told: Mapping[str, Any], values: Mapping[str, Any], checkpoint: str | None
    ) -> Iterator[Img2ImgRequest]:
        own = own_values(values)
        named = self._batch_pictures(told, own)
        masks = self._folder_files("batch_mask_dir", own["batch_mask_dir"]) if own["batch_mask_dir"] else {}
        output = own["batch_output_dir"].strip()
        if output:
            output_folder(self.paths, output, "batch_output_dir")
        for name, picture in named:
            pictures: dict[str, Any] = {"init_images": (picture,)}
            if masks:
                pictures["mask"] = _mask_for(name, masks)
            given = self._with_png_info(name, picture, values, own)
            request = self._request(pictures, given, checkpoint)
            if output:
                said = {**request.override_settings, **_saved_as(output, name)}
                request = request.model_copy(update={"override_settings": said})
            yield request

    def _batch_pictures(self, told: Mapping[str, Any], own: Mapping[str, Any]) -> list[tuple[str, Picture]]:
        if own["batch_source"] == DIRECTORY:
            files = self._folder_files("batch_input_dir", own["batch_input_dir"])
            return [(path.name, _read(path)) for path in _few(list(files.values()))]
        files = told.get("files") or []
        if not files:
            raise InputError("init_images", "There are no pictures. Choose some, or take them from a directory.")
        return [(str(name), self.uploads.find(sha, str(name))) for name, sha in _few(files)]

    def _folder_files(self, field: str, text: str) -> dict[str, Path]:
        """The pictures of a folder by their stems; raises InputError when it is none, or holds none."""
        if not text.strip():
            raise InputError(field, f"{field} is empty. Give a folder of this computer.")
        try:
            folder = (self.paths.outputs / Path(text.strip()).expanduser()).resolve()
            found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(field, f"{field} {short(text)} is no folder that can be read. Check the path.") from error
        if not found:
            raise InputError(
                field, f"{field} {short(text)} holds no pictures: PNG, JPEG, WEBP, GIF, BMP or AVIF files."
            )
        return {path.stem: path for path in found}

    def _with_png_info(
        self, name: str, picture: Picture, values: Mapping[str, Any], own: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The values with what the picture's own infotext (or that of its namesake in another folder) adds."""
        if not own["batch_use_png_info"]:
            return values
        if own["batch_png_info_dir"].strip():
            namesakes = self._folder_files("batch_png_info_dir", own["batch_png_info_dir"])
            if Path(name).stem not in namesakes:
                return values
            picture = _read(namesakes[Path(name).stem])
        parsed = parse_infotext(read_metadata(picture.data, name).infotext)
        said, props = to_request_values(parsed), own["batch_png_info_props"]
        found = {field: said[field] for prop, field in TAKEN.items() if prop in props and said.get(field)}
        if "Prompt" in props and said["prompt"]:
            found["prompt"] = f"{values.get('prompt', '')} {said['prompt']}".strip()
        if "negative_prompt" in found:
            found["negative_prompt"] = f"{values.get('negative_prompt', '')} {found['negative_prompt']}".strip()
        if "Model hash" in props and parsed.fields.get("Model hash"):
            entries = [*(values.get("override_settings") or []), f"Model hash: {parsed.fields['Model hash']}"]
            found["override_settings"] = entries
        return {**values, **found}


def _object(said: Any) -> dict[str, Any]:
    try:
        told = json.loads(said)
    except (TypeError, ValueError):
        told = None
    if isinstance(told, dict) and isinstance(told.get("refused"), str):
        raise InputError("init_images", told["refused"][:300])  # the page could not send a picture
    if not isinstance(told, dict) or told.get("mode") not in MODES:
        raise InputError("init_images", "The page did not say what to begin with. Load it again.")
    files = told.get("files") or []
    if not isinstance(files, list) or not all(isinstance(file, list) and len(file) == 2 for file in files):
        raise InputError("init_images", "The page did not say which pictures to begin with. Load it again.")
    return told


def _few(files: list[Any]) -> list[Any]:
    if len(files) > MOST:
        raise InputError(
            "init_images", f"The batch has {len(files)} pictures: at most {MOST} fit one press. Divide it."
        )
    return files


def _kept(image: Image.Image) -> Picture:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return Picture.of(buffer.getvalue())


def _read(path: Path) -> Picture:
    try:
        return take_picture(path.name, path.read_bytes())
    except OSError as error:
        raise InputError("init_images", f'"{path.name}" cannot be read: {error.strerror}. Check the file.') from error


def _mask_for(name: str, masks: Mapping[str, Path]) -> Picture:
    """That of the same name; a single one is for all."""
    path = masks.get(Path(name).stem) or (next(iter(masks.values())) if len(masks) == 1 else None)
    if path is None:
        raise InputError("batch_mask_dir", f"batch_mask_dir holds no mask named {short(Path(name).stem)}. Add it.")
    picture = _read(path)
    decoded(path.name, picture.data)
    return picture


def _saved_as(folder: str, name: str) -> dict[str, Any]:
    """Settings with which the results lie in that folder under the picture's own name."""
    stem = sanitize(Path(name).stem).replace("[", "(").replace("]", ")") or "picture"
    return {
        "outdir_samples": folder,
        "save_to_dirs": False,
        "save_images_add_number": False,
        "samples_filename_pattern": stem,
    }
