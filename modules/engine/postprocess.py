"""What Extras does to one picture: each operation takes pieces and gives pieces, and notes in A1111's words what it did."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from modules.engine.context import Context
from modules.engine.toolbox import Toolbox
from modules.images import crops
from modules.library.extras_files import ExtrasFiles
from modules.requests.events import Loading
from modules.requests.extras import ExtrasRequest
from modules.upscale.faces import find_faces, restore_faces
from modules.upscale.upscaler import Check, Tell, Upscaler


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One picture on its way. `name` is the source's, for messages; `suffix` goes behind it in file names; `debug`: a drawing about
    the work, which is not worked on."""

    image: Image.Image
    name: str
    target: tuple[int, int]
    info: dict[str, Any] = field(default_factory=dict)
    suffix: str = ""
    caption: str | None = None
    debug: bool = False

    def noting(self, image: Image.Image, **changes: Any) -> "Piece":
        """The piece with another picture; `info` among the changes is added."""
        info = {**self.info, **changes.pop("info", {})}
        return replace(self, image=image, info=info, **changes)


@dataclass(frozen=True, kw_only=True)
class Work:
    """One order's operations. `warn` hears sentences about pictures that could not be helped."""

    request: ExtrasRequest
    tools: Toolbox
    options: dict[str, Any]
    context: Context
    check: Check
    tell: Tell
    files: ExtrasFiles
    warn: Callable[[str], None]

    def begin(self, image: Image.Image, name: str) -> Piece:
        """A source as the first piece; its target is what training crops cut to."""
        request = self.request
        if request.resize_mode == 1:
            target = request.upscaling_resize_w, request.upscaling_resize_h
        else:
            target = tuple(max(int(side * request.upscaling_resize), 1) for side in image.size)
        return Piece(image=image, name=name, target=(target[0], target[1]))

    def done_to(self, piece: Piece) -> list[Piece]:
        """What becomes of a piece."""
        pieces = [piece]
        for operation in self._operations():
            pieces = [made for one in pieces for made in ([one] if one.debug else operation(one))]
            self.check()
        return pieces

    def _operations(self) -> list[Callable[[Piece], list[Piece]]]:
        """What is asked for: first what the setting names, in its order, then the rest in ours."""
        order = list(dict.fromkeys(self.options.get("postprocessing_operation_order", ())))
        asked = list(self._asked())
        asked.sort(key=lambda one: order.index(one[0]) if one[0] in order else len(order))
        return [operation for _, operation in asked]

    def _asked(self) -> Iterator[tuple[str, Callable[[Piece], list[Piece]]]]:
        """The operations by the names that A1111 gives them."""
        request = self.request
        faces = [("GFPGAN", self._gfpgan)] * (request.gfpgan_visibility > 0)
        faces += [("CodeFormer", self._codeformer)] * (request.codeformer_visibility > 0)
        larger = [("Upscale", self._upscaled)] * bool(request.upscalers)
        yield from (*larger, *faces) if request.upscale_first else (*faces, *larger)
        if request.remove_background:
            yield "Remove background", self._cut_out
        if request.split_oversized:
            yield "Split oversized images", self._split
        if request.focal_crop:
            yield "Auto focal point crop", self._focal
        if request.autosized_crop:
            yield "Auto-sized crop", self._autosized
        if request.flipped_copies:
            yield "Create flipped copies", self._flipped
        if request.caption or request.tags:
            yield "Caption", self._captioned

    # -- larger --

    def _upscaled(self, piece: Piece) -> list[Piece]:
        request, names = self.request, self.request.upscalers
        first = self.tools.upscalers.get(names["upscaler_1"], self.options, "upscaler_1")
        made, info = self._larger(piece.image, first)
        info["Postprocess upscaler"] = first.name
        if "upscaler_2" in names:
            second = self.tools.upscalers.get(names["upscaler_2"], self.options, "upscaler_2")
            other, _ = self._larger(piece.image, second)
            mode = "RGBA" if "RGBA" in (made.mode, other.mode) else "RGB"
            made = Image.blend(made.convert(mode), other.convert(mode), request.extras_upscaler_2_visibility)
            info["Postprocess upscaler 2"] = second.name
        return [piece.noting(made, info=info)]

    def _larger(self, image: Image.Image, upscaler: Upscaler) -> tuple[Image.Image, dict[str, Any]]:
        request = self.request
        width, height = request.upscaling_resize_w, request.upscaling_resize_h
        if request.resize_mode == 1:
            info: dict[str, Any] = {"Postprocess upscale to": f"{width}x{height}"}
            scale = max(width / image.width, height / image.height)
        else:
            scale = request.upscaling_resize
            info = {"Postprocess upscale by": int(scale) if scale == int(scale) else scale}
            limit = request.max_side_length
            if limit and max(image.size) * scale > limit:
                info["Max side length"] = limit
                scale = limit / max(image.size)
        made = upscaler.upscale(image, scale, check=self.check, tell=self.tell)
        if request.resize_mode == 1 and request.upscaling_crop:
            made = _centred(made, width, height)
            info["Postprocess crop to"] = f"{width}x{height}"
        return made, info

    # -- faces --

    def _gfpgan(self, piece: Piece) -> list[Piece]:
        visibility = self.request.gfpgan_visibility
        image = self._with_faces(piece, "GFPGAN", visibility, None)
        return [piece.noting(image, info={"GFPGAN visibility": round(visibility, 3)})]

    def _codeformer(self, piece: Piece) -> list[Piece]:
        visibility, weight = self.request.codeformer_visibility, self.request.codeformer_weight
        image = self._with_faces(piece, "CodeFormer", visibility, weight)
        info = {"CodeFormer visibility": round(visibility, 3), "CodeFormer weight": weight}
        return [piece.noting(image, info=info)]

    def _with_faces(self, piece: Piece, name: str, visibility: float, weight: float | None) -> Image.Image:
        path = self.files.face_model(name)
        self.context.emit(Loading(name=path.name))
        network = self.tools.upscalers.networks.open(path, faces=True)
        restored, count = restore_faces(piece.image, network, check=self.check, weight=weight)
        if not count:
            self.warn(f'{name} found no face in "{piece.name}": it stays as it is.')
            return piece.image
        return Image.blend(piece.image.convert(restored.mode), restored, visibility)

    # -- what is seen --

    def _cut_out(self, piece: Piece) -> list[Piece]:
        path = self.files.cutter()
        image = self.tools.upscalers.networks.cutter(path).cut(piece.image)
        return [piece.noting(image, info={"Background removed": path.stem})]

    def _captioned(self, piece: Piece) -> list[Piece]:
        networks, found = self.tools.upscalers.networks, []
        if self.request.tags:
            found.append(networks.tagger(self.files.tagger()).tell(piece.image, self.options))
        if self.request.caption:
            found.append(networks.captioner(self.files.captioner()).tell(piece.image, self.options))
        return [replace(piece, caption=", ".join(found))]

    # -- training sets --

    def _split(self, piece: Piece) -> list[Piece]:
        wish = self.request.split_oversized
        assert wish
        parts = crops.split(piece.image, *piece.target, threshold=wish.threshold, overlap_ratio=wish.overlap_ratio)
        if parts is None:
            return [piece]
        return [piece.noting(part, suffix=f"{piece.suffix}.{i}") for i, part in enumerate(parts)]

    def _focal(self, piece: Piece) -> list[Piece]:
        wish = self.request.focal_crop
        assert wish
        faces = [face.box for face in find_faces(piece.image)] if wish.face_weight > 0 else []
        cut, drawing = crops.focal(piece.image, *piece.target, wish, faces)
        made = [piece.noting(cut)]
        return [*made, piece.noting(drawing, suffix=f"{piece.suffix}.debug", debug=True)] if wish.debug else made

    def _autosized(self, piece: Piece) -> list[Piece]:
        wish = self.request.autosized_crop
        assert wish
        cut = crops.autosized(piece.image, wish)
        if cut is None:
            words = f'"{piece.name}" is {piece.image.width} x {piece.image.height}: no size within the bounds of autosized_crop suits it.'
            self.warn(words)
            return [piece]
        return [piece.noting(cut)]

    def _flipped(self, piece: Piece) -> list[Piece]:
        copies = [
            piece.noting(crops.flipped(piece.image, how), suffix=f"{piece.suffix}.{how.lower()}")
            for how in dict.fromkeys(self.request.flipped_copies)
        ]
        return [piece, *copies]


def _centred(image: Image.Image, width: int, height: int) -> Image.Image:
    """The middle of it in exactly that size, on black where it is smaller, as A1111 does."""
    canvas = Image.new("RGBA" if image.has_transparency_data else "RGB", (width, height))
    canvas.paste(image, (width // 2 - image.width // 2, height // 2 - image.height // 2))
    return canvas
