"""What Ultimate SD upscale asks, in the extension's words and order."""

from typing import Any

from modules.requests.scripts import ScriptField

TITLE = "Ultimate SD upscale"
SETTINGS, CUSTOM, IMAGE = TARGETS = ("From img2img2 settings", "Custom size", "Scale from image size")
MODES = ("Linear", "Chess", "None")
TYPES = ("None", "Band pass", "Half tile offset pass", "Half tile offset pass + intersections")


def _whole(name: str, label: str, default: int, low: int, high: int, step: int = 1) -> ScriptField:
    return ScriptField(name=name, label=label, kind="whole", default=default, minimum=low, maximum=high, step=step)


def _number(name: str, label: str, default: float, low: float, high: float) -> ScriptField:
    return ScriptField(name=name, label=label, kind="number", default=default, minimum=low, maximum=high, step=0.01)


def _other(name: str, label: str, kind: Any, default: Any = None, choices: tuple[str, ...] = ()) -> ScriptField:
    return ScriptField(name=name, label=label, kind=kind, default=default, choices=choices)


FIELDS = (
    _other("info", "Will upscale the image depending on the selected target size type", "note"),
    _whole("tile_width", "Tile width", 512, 0, 2048, 64),
    _whole("tile_height", "Tile height", 0, 0, 2048, 64),
    _whole("mask_blur", "Mask blur", 8, 0, 64),
    _whole("padding", "Padding", 32, 0, 512),
    _whole("seams_fix_width", "Seams fix: Width", 64, 0, 128),
    _number("seams_fix_denoise", "Seams fix: Denoise", 0.35, 0, 1),
    _whole("seams_fix_padding", "Seams fix: Padding", 16, 0, 128),
    _other("upscaler_index", "Upscaler", "upscaler", "None"),
    _other("save_upscaled_image", "Save: Upscaled", "switch", True),
    _other("redraw_mode", "Type", "choice", "Linear", MODES),
    _other("save_seams_fix_image", "Save: Seams fix", "switch", False),
    _whole("seams_fix_mask_blur", "Seams fix: Mask blur", 4, 0, 64),
    _other("seams_fix_type", "Seams fix: Type", "choice", "None", TYPES),
    _other("target_size_type", "Target size type", "choice", SETTINGS, TARGETS),
    _whole("custom_width", "Custom width", 2048, 64, 8192, 8),
    _whole("custom_height", "Custom height", 2048, 64, 8192, 8),
    _number("custom_scale", "Scale", 2, 1, 16),
)
