"""Control-LoRA: a ControlNet as what its copy of the U-Net's way down differs by, in few ranks (Stability AI's files).

`x.up` (O, R ...) and `x.down` (R, I ...) are added to the U-Net's own weight x as the product of the matrices that they flatten to; any other
tensor is the ControlNet's own, in place of the U-Net's: the layers that read the picture, the zero convolutions, biases and norms.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from modules.control.building import control_config
from modules.control.control_keys import PREFIX, control_keys
from modules.control.networks import ControlNet
from modules.core.errors import ModelFileError
from modules.devices.choice import Compute
from modules.families.assembly import empty_weights, filled
from modules.families.ldm_keys import unet_shape
from modules.families.model import LoadedModel
from modules.families.source import without_prefix
from modules.networks.original_names import original_places

MARK = "lora_controlnet"
UP, DOWN = ".up", ".down"
FIRST = "input_blocks.0.0.weight"
ENCODER = ("input_blocks.", "middle_block.", "time_embed.", "label_emb.")


def build_control_lora(tensors: Mapping[str, Tensor], compute: Compute, file: Path, model: LoadedModel) -> ControlNet:
    """The ControlNet that it is beside that model's U-Net, whose weights are copied; raises ModelFileError with counts where it fits another."""
    from diffusers.models.controlnets.controlnet import ControlNetModel

    named = without_prefix(tensors, PREFIX) or dict(tensors)
    base = base_weights(model)
    check_fits(named, base, file)
    whole = {**base, **merged(named, base)}
    with empty_weights():
        module = ControlNetModel(**control_config(whole))
    filled(module, control_keys(unet_shape(whole)).to_module(whole), compute.home, compute.dtype)
    return ControlNet(module)


def base_weights(model: LoadedModel) -> dict[str, Tensor]:
    """Copies of the weights of its U-Net on the way down and in the middle, under ldm's names; of a first layer that sees more than
    latents, that of latents."""
    unet = model.backbone
    found = {}
    for theirs, (ours,) in original_places(model.family, unet).items():
        if theirs.startswith(ENCODER):
            for name, value in unet.get_submodule(ours).named_parameters(recurse=False):
                found[f"{theirs}.{name}"] = value.detach().clone()
    found[FIRST] = found[FIRST][:, : unet.config.out_channels]
    return found


def check_fits(named: Mapping[str, Tensor], base: Mapping[str, Tensor], file: Path) -> None:
    """Raise ModelFileError unless every tensor has its place and size in the U-Net."""
    pairs = [name.removesuffix(UP) for name in named if name.endswith(UP)]
    lonely = [name for name in pairs if f"{name}{DOWN}" not in named]
    fit = [name for name in pairs if name not in lonely and _fits(name, named, base)]
    if lonely or len(fit) < len(pairs) or not pairs:
        first = next((name for name in pairs if name not in fit), "none")
        raise ModelFileError(
            f'"{file.name}" is a Control-LoRA of which {len(fit)} of {len(pairs)} layers fit the U-Net of this checkpoint (not {first}); '
            "it was made beside another. Choose one for this checkpoint, or another checkpoint."
        )


def merged(named: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that the ControlNet has of its own, each W + up down worked out."""
    found = {}
    for name, tensor in named.items():
        if name.endswith(UP):
            layer = name.removesuffix(UP)
            weight = base[f"{layer}.weight"]
            change = tensor.flatten(1).float() @ named[f"{layer}{DOWN}"].flatten(1).float()
            found[f"{layer}.weight"] = weight.float() + change.reshape(weight.shape).to(weight.device)
        elif not name.endswith(DOWN) and name != MARK:
            found[name] = tensor
    return found


def _fits(layer: str, named: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> bool:
    weight = base.get(f"{layer}.weight")
    up, down = named[f"{layer}{UP}"], named[f"{layer}{DOWN}"]
    if weight is None or up.shape[0] != weight.shape[0]:
        return False
    return up[0].numel() == down.shape[0] and down[0].numel() == weight[0].numel()
