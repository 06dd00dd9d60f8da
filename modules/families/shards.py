"""The files that the weights of one part of a diffusers folder are in: one, or several that an index lists."""

import json
from pathlib import Path

from modules.core.errors import ModelFileError, short

NAMES = ("diffusion_pytorch_model", "model", "pytorch_model")
VARIANTS = ("", ".fp16", ".bf16", ".non_ema")
SUFFIXES = (".safetensors", ".bin")
MAX_INDEX = 32 * 2**20
MAX_FILES = 1000


def part_files(path: Path, part: str) -> list[tuple[Path, tuple[str, ...]]]:
    """(file, names of the tensors that its index says are in it) of the part: safetensors if there are any, else .bin.

    Raises ModelFileError for a part without weights, a shard that is missing, and an index that leaves its folder.
    """
    folder = path / part
    for suffix in SUFFIXES:
        for name in NAMES:
            for variant in VARIANTS:
                file = folder / f"{name}{variant}{suffix}"
                if file.is_file():
                    return [(file, ())]
                for index in (folder / f"{name}{suffix}.index{variant}.json", Path(f"{file}.index.json")):
                    if index.is_file():
                        return _shards(path, index)
    raise ModelFileError(f'"{path.name}" has no weights in {part}/. Download the model folder whole.')


def _shards(path: Path, index: Path) -> list[tuple[Path, tuple[str, ...]]]:
    said = f"{path.name}/{index.parent.name}/{index.name}"
    try:
        if index.stat().st_size > MAX_INDEX:
            raise ValueError("it is too large")
        weights = json.loads(index.read_text("utf-8"))["weight_map"]
        files: dict[str, list[str]] = {}
        for name, file in weights.items():
            files.setdefault(file, []).append(name)
        if not files or len(files) > MAX_FILES:
            raise ValueError("it lists no weights, or too many files")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelFileError(f'"{said}" cannot be read. Download the model folder whole.') from error
    for file in files:
        if not isinstance(file, str) or "/" in file or "\\" in file or "\0" in file or not file.endswith(SUFFIXES):
            raise ModelFileError(
                f'"{said}" names {short(file)}, which is no weight file beside it. Download the model folder again.'
            )
        if not (index.parent / file).is_file():
            raise ModelFileError(
                f'"{path.name}/{index.parent.name}" lacks {short(file)}, one of {len(files)} files. '
                "Download the model folder whole."
            )
    return [(index.parent / file, tuple(names)) for file, names in sorted(files.items())]
