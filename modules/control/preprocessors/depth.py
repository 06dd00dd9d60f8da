"""How near things are (white is near) by networks in single files: MiDaS (arXiv:1907.01341), LeReS (arXiv:2012.09365), ZoeDepth
(arXiv:2302.12288); and surface normals from MiDaS."""

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from modules.control.preprocessors.networks import annotator, batch_of, filled, from_aux, normalised, spread
from modules.control.preprocessors.pixels import Pixels, on_grid, to_bytes
from modules.control.preprocessors.preprocessor import Look, Work
from modules.core.errors import ModelFileError
from modules.families.weights import read_pickled
from modules.requests.preprocessors import RESOLUTION, PreprocessorEntry, Slider

MIDAS = annotator("dpt_hybrid-midas-501f0c75.pt", 493_000_000)
LERES = annotator("res101.pth", 531_000_000)
ZOE = annotator("ZoeD_M12_N.pt", 1_440_000_000)

UPRIGHT = 2 * np.pi
"""How long a normal's part towards the viewer is, beside slopes of MiDaS's map."""

FARTHEST, NEAREST = 85, 2
"""Percentiles of ZoeDepth's metres that become black and white."""


def _open_midas(path: Path) -> Any:
    network = from_aux("midas.midas.dpt_depth").DPTDepthModel
    return filled(partial(network, path=None, backbone="vitb_rn50_384", non_negative=True), path)


def _open_leres(path: Path) -> Any:
    content = read_pickled(path)
    if not isinstance(content, dict) or not isinstance(content.get("depth_model"), dict):
        raise ModelFileError(f'"{path.name}" is no LeReS: it holds no "depth_model". Download it again.')
    network = from_aux("leres.leres.multi_depth_model_woauxi").RelDepthModel
    return filled(partial(network, backbone="resnext101"), path, content["depth_model"])


def _open_zoe(path: Path) -> Any:
    module = from_aux("zoe")
    return filled(lambda: module.ZoeDepth.build_from_config(module.get_config("zoedepth", "infer")), path)


def _midas_map(work: Work, pixels: Pixels) -> np.ndarray:
    network = work.tools.network("depth_midas", [MIDAS], _open_midas)
    return np.asarray(network(batch_of(pixels, work.tools.device) / 127.5 - 1)[0].float().cpu().numpy())


def midas(work: Work) -> Pixels:
    """Inverse depth."""
    return on_grid(work.image, work.resolution, lambda pixels: to_bytes(spread(_midas_map(work, pixels)) * 255))


def normals(work: Work) -> Pixels:
    """Which way surfaces look, from the slopes of MiDaS's map; what is farther than the threshold looks at the viewer."""

    def look(pixels: Pixels) -> Pixels:
        depth = _midas_map(work, pixels)
        far = spread(depth) < work.values.a
        slopes = [np.asarray(cv2.Sobel(depth, cv2.CV_32F, *way, ksize=3)) for way in ((1, 0), (0, 1))]
        x, y = (np.where(far, 0, slope) for slope in slopes)
        found = np.stack([x, y, np.full_like(x, UPRIGHT)], axis=2)
        return to_bytes(found / np.linalg.norm(found, axis=2, keepdims=True) * 127.5 + 127.5)

    return on_grid(work.image, work.resolution, look)


def leres(work: Work) -> Pixels:
    """Depth; what is nearer or farther than so many percent is black."""

    def look(pixels: Pixels) -> Pixels:
        network = work.tools.network("depth_leres", [LERES], _open_leres)
        seen = normalised(batch_of(pixels[:, :, ::-1], work.tools.device))
        found = spread(network.depth_model(seen)[0, 0].float().cpu().numpy()) * 255
        near, background = (round(percent / 100 * 255) for percent in (work.values.a, work.values.b))
        found = 255 - np.where(found > near, found, 0).round() if near else 255 - found.round()
        return to_bytes(np.where(found > background, found, 0) if background else found)

    return on_grid(work.image, work.resolution, look)


def zoe(work: Work) -> Pixels:
    """Metres, from the nearest ones to the farthest."""

    def look(pixels: Pixels) -> Pixels:
        network = work.tools.network("depth_zoe", [ZOE], _open_zoe)
        metres = network.infer(batch_of(pixels, work.tools.device) / 255)[0, 0].float().cpu().numpy()
        nearest, farthest = np.percentile(metres, (NEAREST, FARTHEST))
        return to_bytes((1 - (metres - nearest) / max(farthest - nearest, 1e-6)) * 255)

    return on_grid(work.image, work.resolution, look)


PERCENT = {"minimum": 0, "maximum": 100, "default": 0, "step": 0.1}
PREPROCESSORS: tuple[tuple[PreprocessorEntry, Look], ...] = (
    (
        PreprocessorEntry(
            name="depth",
            label="depth_midas",
            types=("Depth",),
            first_in=("Depth",),
            resolution=RESOLUTION,
            weights=(MIDAS,),
        ),
        midas,
    ),
    (PreprocessorEntry(name="depth_zoe", label="depth_zoe", types=("Depth",), weights=(ZOE,)), zoe),
    (
        PreprocessorEntry(
            name="depth_leres",
            label="depth_leres",
            types=("Depth",),
            resolution=RESOLUTION,
            threshold_a=Slider(label="Remove Near %", **PERCENT),
            threshold_b=Slider(label="Remove Background %", **PERCENT),
            weights=(LERES,),
        ),
        leres,
    ),
    (
        PreprocessorEntry(
            name="normal_map",
            label="normal_midas",
            types=("NormalMap",),
            resolution=RESOLUTION,
            threshold_a=Slider(label="Normal Background Threshold", minimum=0, maximum=1, default=0.4, step=0.01),
            weights=(MIDAS,),
        ),
        normals,
    ),
    (
        PreprocessorEntry(
            name="composer_depth", label="composer_depth", types=("Depth",), resolution=RESOLUTION, weights=(MIDAS,)
        ),
        midas,
    ),
)
