"""Small checkpoints of Stable Diffusion's names, and the engine's view of a folder of them."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from modules.core.paths import Paths
from modules.library.checkpoints import Checkpoints
from modules.library.hashes import HashCache
from modules.library.merge_files import MergeFiles
from modules.merging.merge import Merge
from modules.merging.sources import Source, open_source
from modules.requests.merge import MergeRequest, make_file_request

U, V, T = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.text_model."


def tensors(seed: int, *, channels: int = 4, inputs: int = 12, dtype: torch.dtype = torch.float16) -> dict[str, Tensor]:
    """One small tensor a block, with what tells the family; `inputs` 12 as in SD 1.x, 9 as in XL."""
    shapes = {
        f"{U}input_blocks.0.0.weight": (6, channels, 3, 3),
        **{f"{U}input_blocks.{i}.0.in_layers.2.weight": (5, 3) for i in range(1, inputs)},
        f"{U}time_embed.0.weight": (4, 4),
        f"{U}middle_block.1.proj_in.weight": (5, 3, 1, 1),
        **{f"{U}output_blocks.{i}.0.in_layers.2.weight": (5, 3) for i in range(inputs)},
        f"{U}out.2.bias": (4,),
        f"{V}decoder.conv_in.weight": (4, 4),
        f"{V}post_quant_conv.weight": (4, 4, 1, 1),
        f"{T}embeddings.token_embedding.weight": (7, 4),
    }
    generator = torch.Generator().manual_seed(seed)
    found = {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}
    found[f"{T}embeddings.position_ids"] = torch.arange(7)[None]
    found["alphas_cumprod"] = torch.rand(10, generator=generator)
    return found


class Folder:
    """A data folder with checkpoints in it."""

    def __init__(self, data: Path) -> None:
        self.paths = Paths(data=data)
        self.checkpoints = Checkpoints(self.paths.checkpoints, HashCache(self.paths.cache))
        self.files = MergeFiles(self.paths, self.checkpoints)

    def add(
        self,
        name: str,
        values: dict[str, Tensor],
        metadata: dict[str, str] | None = None,
        kind: str = "Stable-diffusion",
    ) -> Path:
        """Write a model file."""
        path = self.paths.data / "models" / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".ckpt":
            torch.save({"state_dict": values}, path)
        else:
            save_file(values, path, metadata)
        return path

    def source(self, name: str) -> Source:
        """A checkpoint as it is merged."""
        return open_source(self.checkpoints.identify(self.checkpoints.find(name)))

    def merge(self, vae: dict[str, Tensor] | None = None, **values: Any) -> Merge:
        """The merge that a request of these values asks for."""
        request = make_file_request(MergeRequest, values)
        return Merge(request, tuple(self.source(name) for name in request.names), vae)


def merged(merge: Merge) -> dict[str, Tensor]:
    """The whole result; every tensor is what was said of it."""
    forms = merge.forms()
    found = {name: merge.tensor(name) for name in merge.names}
    assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in found.items()} == forms
    return found
