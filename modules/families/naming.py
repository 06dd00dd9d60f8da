"""From the names that files have to those of a single file: networks, VAEs and text encoders of any program, folders' parts.

Everything here works on tensors without memory too ("meta"), so that headers alone can be named.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from modules.core.errors import ModelFileError
from modules.families import ldm_keys, open_clip_keys
from modules.families.pieces import bare_name
from modules.families.source import BACKBONE, Shapes

Tensors = Mapping[str, Tensor]

WRAPPERS = ("diffusion_model.", "transformer.", "unet.", "model.", "net.")
"""What programs put before the names of a network in a file of its own."""


def weightless(shapes: Shapes) -> dict[str, Tensor]:
    """Tensors of those shapes that take no memory."""
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def shapes_of(tensors: Tensors) -> dict[str, tuple[int, ...]]:
    """Their shapes."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def checkpoint_named(tensors: Tensors) -> dict[str, Tensor]:
    """A file's tensors under a single file's names: a whole checkpoint's, or those of a network alone behind BACKBONE.

    Raises ModelFileError for a U-Net in diffusers' names that no Stable Diffusion has.
    """
    if any(name.startswith(BACKBONE) for name in tensors):
        return {_renamed(name): tensor for name, tensor in tensors.items()}
    wrapper = next((w for w in WRAPPERS if tensors and all(name.startswith(w) for name in tensors)), "")
    return prefixed(BACKBONE, network_named({name.removeprefix(wrapper): t for name, t in tensors.items()}))


def _renamed(name: str) -> str:
    """ComfyUI's prefix of a VAE, and CLIP's names before transformers 4, as checkpoints have them."""
    if name.startswith("vae."):
        return ldm_keys.VAE + name[4:]
    old = re.match(r"cond_stage_model\.transformer\.(?=embeddings\.|encoder\.|final_layer_norm\.)", name)
    return ldm_keys.TEXT + name[old.end() :] if old else name


def network_named(tensors: Tensors) -> dict[str, Tensor]:
    """A network's tensors: a U-Net in diffusers' names gets ldm's; any other network keeps the names it has."""
    if "conv_in.weight" not in tensors or "down_blocks.0.resnets.0.conv1.weight" not in tensors:
        return dict(tensors)
    levels = 1 + max(int(m[1]) for name in tensors if (m := re.match(r"down_blocks\.(\d+)\.", name)))
    attention = tuple(f"down_blocks.{level}.attentions.0.norm.weight" in tensors for level in range(levels))
    blocks = 1 + max(int(m[1]) for name in tensors if (m := re.match(r"down_blocks\.0\.resnets\.(\d+)\.", name)))
    shape = ldm_keys.UNetShape(levels=levels, blocks=blocks, attention=attention)
    renamed = {name.replace("add_embedding.", "class_embedding."): tensor for name, tensor in tensors.items()}
    return _to_ldm(ldm_keys.unet_keys(shape), renamed, "U-Net")


def vae_named(tensors: Tensors) -> dict[str, Tensor]:
    """A VAE's tensors under bare names: KL autoencoders' as ldm has them, others as they are."""
    bare = {bare_name(name): tensor for name, tensor in tensors.items()}
    first = bare.get("decoder.conv_in.weight")
    if "encoder.conv_norm_out.weight" not in bare or first is None or first.ndim != 4:
        return bare
    pattern = r"encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\."
    places = [(int(m[1]), int(m[2])) for name in bare if (m := re.match(pattern, name))]
    if not places:
        return bare
    shape = ldm_keys.VaeShape(levels=1 + max(p[0] for p in places), blocks=1 + max(p[1] for p in places))
    extra = {name: tensor for name, tensor in bare.items() if name.startswith("bn.")}
    modern = {_modern(name): tensor for name, tensor in bare.items() if name not in extra}
    return {**_to_ldm(ldm_keys.vae_keys(shape), modern, "VAE"), **extra}


def text_named(kind: str, tensors: Tensors) -> dict[str, Tensor]:
    """A text encoder's tensors under transformers' names: CLIP's with "text_model.", language models' with "model."."""
    bare = {bare_name(name): tensor for name, tensor in tensors.items()}
    if kind.startswith("clip_"):
        return _clip_named(bare)
    if kind.startswith(("t5", "umt5", "pile")):
        if "shared.weight" not in bare and "encoder.embed_tokens.weight" in bare:
            bare["shared.weight"] = bare["encoder.embed_tokens.weight"]
        return bare
    top = ("layers.", "embed_tokens.", "norm.")
    return {f"model.{name}" if name.startswith(top) else name: tensor for name, tensor in bare.items()}


def part_named(kind: str, tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    """A part's tensors as a family wants them behind `prefix`; of CLIP that is OpenCLIP's names where it ends in ".model."."""
    if kind.startswith("vae"):
        return prefixed(prefix, vae_named(tensors))
    named = text_named(kind, tensors)
    if not kind.startswith("clip_"):
        return prefixed(prefix, named)
    inner = {name.removeprefix("text_model."): t for name, t in named.items() if name.startswith("text_model.")}
    if prefix.endswith("text_model."):
        return prefixed(prefix, inner)
    if not prefix.endswith(".model."):
        return prefixed(prefix, named)
    found = open_clip_keys.to_open_clip(inner)
    if "text_projection.weight" in named:
        found["text_projection"] = named["text_projection.weight"].T.contiguous()
    return prefixed(prefix, found)


def prefixed(prefix: str, tensors: Tensors) -> dict[str, Tensor]:
    """The tensors with `prefix` before their names."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _clip_named(bare: Tensors) -> dict[str, Tensor]:
    if "token_embedding.weight" in bare:
        found = prefixed("text_model.", open_clip_keys.to_clip(bare))
        if "text_projection" in bare:
            found["text_projection.weight"] = bare["text_projection"].T.contiguous()
        return found
    top = ("embeddings.", "encoder.", "final_layer_norm.")
    named = {f"text_model.{name}" if name.startswith(top) else name: tensor for name, tensor in bare.items()}
    kept = {name: tensor for name, tensor in named.items() if name.startswith(("text_model.", "text_projection"))}
    return {name: tensor for name, tensor in kept.items() if not name.endswith("position_ids")}


def _to_ldm(keys: ldm_keys.KeyMap, tensors: Tensors, what: str) -> dict[str, Tensor]:
    try:
        return keys.to_ldm(tensors)
    except KeyError as error:
        raise ModelFileError(
            f"The {what} has the weights {error.args[0]}, which no Stable Diffusion has. Choose another model."
        ) from error


def _modern(name: str) -> str:
    """Attention of old diffusers autoencoders (query, key, value, proj_attn) under today's names."""
    old = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
    return re.sub(r"(attentions\.0)\.(query|key|value|proj_attn)\.", lambda m: f"{m[1]}.{old[m[2]]}.", name)
