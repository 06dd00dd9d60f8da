"""What a checkpoint's network predicts, as its file or the YAML beside it tells."""

import re
from dataclasses import dataclass
from pathlib import Path

from modules.core.errors import ModelFileError, short
from modules.library.header import Header

MAX_YAML = 2**20
_PARAMETERIZATION = re.compile(r"""^[ \t]*parameterization[ \t]*:[ \t]*["']?([\w-]+)""", re.MULTILINE)

_KINDS = {
    **dict.fromkeys(("eps", "epsilon"), "eps"),
    **dict.fromkeys(("v", "v_prediction", "velocity"), "v"),
    **dict.fromkeys(("flow", "rectified_flow", "flow_matching"), "flow"),
}


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """`kind`: "eps", "v" or "flow". `zero_terminal`: it was trained down to a signal-to-noise ratio of 0."""

    kind: str = "eps"
    zero_terminal: bool = False


def read_prediction(path: Path, header: Header) -> Prediction | None:
    """What the file at `path` with that header says, in this order: the keys `v_pred` and `ztsnr` among its tensors,
    `parameterization` in the .yaml of the same name (A1111's way), `modelspec.prediction_type` in its metadata; None if nothing does.

    Raises ModelFileError for a kind that is not known and a YAML file that cannot be read.
    """
    zero_terminal = "ztsnr" in header.shapes
    if "v_pred" in header.shapes:
        return Prediction(kind="v", zero_terminal=zero_terminal)
    said = _beside(path.with_suffix(".yaml")) or header.metadata.get("modelspec.prediction_type", "")
    if not said.strip():
        return Prediction(zero_terminal=True) if zero_terminal else None
    kind = _KINDS.get(said.strip().casefold().replace("-", "_"))
    if kind is None:
        raise ModelFileError(
            f'"{path.name}" is said to predict {short(said)}: this version knows epsilon, v and flow. Choose another checkpoint.'
        )
    return Prediction(kind=kind, zero_terminal=zero_terminal)


def yaml_time(path: Path) -> int:
    """When the .yaml of a checkpoint was last changed, in ns; 0 if it has none."""
    try:
        return path.with_suffix(".yaml").stat().st_mtime_ns
    except OSError:
        return 0


def _beside(path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_YAML).decode(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ModelFileError(
            f'"{path.name}" cannot be read: {error.strerror}. Mend it or remove it from beside the checkpoint.'
        ) from error
    found = _PARAMETERIZATION.search(text)
    return found[1] if found else ""
