"""Surface normals by the network of Bae et al. (arXiv:2109.09881), trained on ScanNet."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from modules.control.preprocessors.networks import annotator, batch_of, filled, from_aux, normalised
from modules.control.preprocessors.pixels import Pixels, on_grid, to_bytes
from modules.control.preprocessors.preprocessor import Look, Work
from modules.requests.preprocessors import PreprocessorEntry

WEIGHTS = annotator("scannet.pt", 291_000_000)


def _open(path: Path) -> Any:
    network = from_aux("normalbae.nets.NNET").NNET
    choice = SimpleNamespace(architecture="BN", sampling_ratio=0.4, importance_ratio=0.7)
    return filled(lambda: network(choice), path)


def normals(work: Work) -> Pixels:
    """x, y and z as red, green and blue."""

    def look(pixels: Pixels) -> Pixels:
        network = work.tools.network("normal_bae", [WEIGHTS], _open)
        found = network(normalised(batch_of(pixels, work.tools.device)))[0][-1][0, :3]
        return to_bytes(((found + 1) / 2 * 255).float().permute(1, 2, 0).cpu().numpy())

    return on_grid(work.image, work.resolution, look)


PREPROCESSORS: tuple[tuple[PreprocessorEntry, Look], ...] = (
    (
        PreprocessorEntry(
            name="normal_bae",
            label="normal_bae",
            aliases=("normalbae",),
            types=("NormalMap",),
            first_in=("NormalMap",),
            weights=(WEIGHTS,),
        ),
        normals,
    ),
)
