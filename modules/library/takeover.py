"""The models of another program's installation, found where it keeps them: A1111, Forge, ComfyUI. Nothing is written there."""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modules.core.errors import InputError, short
from modules.core.paths import CHECKPOINT, DIFFUSION_MODEL, EMBEDDING, KINDS, LORA, TEXT_ENCODER, VAE, Paths

log = logging.getLogger(__name__)

COMFY: dict[str, str] = {
    "checkpoints": CHECKPOINT,
    "vae": VAE,
    "loras": LORA,
    "diffusion_models": DIFFUSION_MODEL,
    "unet": DIFFUSION_MODEL,
    "text_encoders": TEXT_ENCODER,
    "clip": TEXT_ENCODER,
    "controlnet": "ControlNet",
    "t2i_adapter": "ControlNet",
    "upscale_models": "ESRGAN",
    "embeddings": EMBEDDING,
    "hypernetworks": "hypernetworks",
    "clip_vision": "clip_vision",
    "vae_approx": "VAE-approx",
}
"""ComfyUI's names of folders, and the kind that each holds."""

WITHOUT_MODELS = ("configs", "custom_nodes", "download_model_base")
CONFIG = "extra_model_paths.yaml"
MAX_CONFIG = 2**18
MAX_FOLDERS = 1000
MAX_DEPTH = 8

Folders = list[tuple[str, Path]]


def take_over(paths: Paths, roots: Iterable[Path], configs: Iterable[Path] = ()) -> Paths:
    """`paths` with the folders of those installations and of those ComfyUI files added; raises InputError for a wrong one."""
    first: Folders = []
    then: Folders = []
    for root in roots:
        for default, pair in _of_root(root):
            (first if default else then).append(pair)
    for config in configs:
        for default, pair in read_config(config):
            (first if default else then).append(pair)
    return replace(paths, taken_over=tuple(dict.fromkeys((*paths.taken_over, *first, *then))))


def _of_root(root: Path) -> Iterator[tuple[bool, tuple[str, Path]]]:
    """The folders of the installation at `root`, or in the one folder of it that portable packages have."""
    for home in (root, root / "webui", root / "ComfyUI"):
        for models in (home / "models", home):
            if (models / CHECKPOINT).is_dir():
                yield from ((False, pair) for pair in _of_a1111(home, models))
                return
            if (models / "checkpoints").is_dir():
                yield from ((False, (kind, models / name)) for name, kind in COMFY.items())
                if (home / CONFIG).is_file():
                    yield from read_config(home / CONFIG)
                return
    raise InputError(
        "--take-over",
        f"{short(str(root), 300)} is no A1111, Forge or ComfyUI: there is neither models/{CHECKPOINT} nor "
        "models/checkpoints in it. Name the folder that holds its models folder.",
    )


def _of_a1111(home: Path, models: Path) -> Iterator[tuple[str, Path]]:
    for kind, names in KINDS.items():
        if kind == EMBEDDING:
            yield kind, home / EMBEDDING
        yield from ((kind, models / name) for name in names)
    extension = home / "extensions" / "sd-webui-controlnet"
    yield "ControlNet", extension / "models"
    yield "ControlNetPreprocessor", extension / "annotator" / "downloads"


def roots_of(text: str) -> tuple[Path, ...]:
    """The installations that the setting `take_over_roots` names, one a line."""
    return tuple(Path(_expanded(line)).absolute() for line in filter(None, map(str.strip, text.split("\n"))))


def take_over_each(paths: Paths, roots: Iterable[Path]) -> Paths:
    """As `take_over`, but a root that is none (any more) is told in the log and left out: the start goes on."""
    for root in roots:
        try:
            paths = take_over(paths, (root,))
        except InputError as error:
            log.warning("%s", error.message)
    return paths


def read_config(file: Path) -> list[tuple[bool, tuple[str, Path]]]:
    """(is default, (kind, folder)) of ComfyUI's `extra_model_paths.yaml`; raises InputError for one that cannot be read.

    What holds no models that are known here is told in the log and left out.
    """
    found: list[tuple[bool, tuple[str, Path]]] = []
    unknown: list[str] = []
    for section, values in _sections(file):
        base, default = _base(file, values), values.get("is_default") is True
        for name, lines in values.items():
            if name in ("base_path", "is_default", *WITHOUT_MODELS):
                continue
            if name not in COMFY or not isinstance(lines, str):
                unknown.append(f"{section}.{name}")
                continue
            for line in filter(None, (line.strip() for line in lines.split("\n"))):
                folder = Path(os.path.normpath(base / _expanded(line)))
                if _is_name(str(folder)) and len(found) < MAX_FOLDERS:
                    found.append((default, (COMFY[name], folder)))
    if unknown:
        log.warning(
            "%s names folders of kinds that are not known here: %s. They are left out.",
            short(str(file), 300),
            short(", ".join(unknown), 300),
        )
    return found


def _sections(file: Path) -> list[tuple[str, Mapping[str, Any]]]:
    import yaml

    said = short(str(file), 300)
    try:
        if not file.is_file():
            raise InputError(CONFIG, f"{said} is not there or no file. Name ComfyUI's {CONFIG}.")
        with file.open("rb") as stream:
            text = stream.read(MAX_CONFIG + 1)
        if len(text) > MAX_CONFIG:
            raise InputError(CONFIG, f"{said} is larger than {MAX_CONFIG // 2**10} KB. Name ComfyUI's {CONFIG}.")
        _check_plain(said, text)
        stored = yaml.safe_load(text) or {}
    except OSError as error:
        raise InputError(CONFIG, f"{said} cannot be read: {error.strerror}. Check its permissions.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise InputError(CONFIG, f"{said} is no valid YAML{line}. Mend it, or leave it out.") from error
    if not isinstance(stored, dict):
        raise InputError(CONFIG, f"{said} must hold sections of names and folders. Compare with ComfyUI's example.")
    wrong = [str(name) for name, values in stored.items() if values is not None and not isinstance(values, dict)]
    if wrong:
        raise InputError(
            CONFIG, f"{said} holds no folders under {short(wrong[0])}. Write them as names and folders, or remove it."
        )
    return [(str(name), values) for name, values in stored.items() if values]


def _check_plain(said: str, text: bytes) -> None:
    """Read no deeper and no further than ComfyUI's files go: references and deep nesting cost time without end."""
    import yaml

    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise InputError(CONFIG, f"{said} refers to parts of itself (*name). Write them out.")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise InputError(CONFIG, f"{said} is nested more than {MAX_DEPTH} deep. Compare with ComfyUI's example.")


def _base(file: Path, values: Mapping[str, Any]) -> Path:
    base = values.get("base_path")
    return file.parent.absolute() / _expanded(base if isinstance(base, str) else "")


def _expanded(text: str) -> str:
    return os.path.expanduser(os.path.expandvars(text))  # noqa: PTH111  # never raises


def _is_name(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)
