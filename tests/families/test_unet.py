"""U-Nets of every Stable Diffusion: sizes read off the tensors, the same answers as the module they came from."""

from typing import Any

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_open_clip_checkpoint
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.upsampling import Upsample2D
from torch import nn
from torch.nn import functional
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModelWithProjection

from modules.devices.choice import choose_compute
from modules.families.doubling import double
from modules.families.ldm_keys import UNET, unet_keys, unet_shape
from modules.families.open_clip_keys import to_clip, to_open_clip
from modules.families.unet import build_unet, unet_config
from tests.tiny import unet_tensors

CROSS, PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"
KINDS: dict[str, dict[str, Any]] = {
    "SD 1": {"levels": (True, True, False), "depths": (1, 1, 1), "linear": False},
    "SD 2": {"levels": (True, True, False), "depths": (1, 1, 1), "linear": True},
    "XL": {"levels": (False, True, True), "depths": (1, 2, 3), "linear": True, "vector": 96},
    "XL refiner": {"levels": (False, True, True, False), "depths": (2, 2, 2, 2), "linear": True, "vector": 80},
}


def module_of(levels, depths, linear, vector=0) -> Any:
    torch.manual_seed(0)
    widths = (64, 64, 128, 128)[: len(levels)]
    more: Any = {"class_embed_type": "projection", "projection_class_embeddings_input_dim": vector} if vector else {}
    if linear:
        more["attention_head_dim"] = tuple(w // 64 for w in widths)
    return UNet2DConditionModel(
        block_out_channels=widths,
        layers_per_block=2,
        down_block_types=tuple(CROSS if a else PLAIN for a in levels),
        up_block_types=tuple(("CrossAttnUpBlock2D" if a else "UpBlock2D") for a in reversed(levels)),
        transformer_layers_per_block=depths,
        cross_attention_dim=48,
        use_linear_projection=linear,
        **more,
    ).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_the_module_is_rebuilt_from_its_tensors(kind):
    module = module_of(**KINDS[kind])
    rebuilt: Any = build_unet(unet_tensors(module), choose_compute(use_cpu=True))
    x, t, context = torch.randn(2, 4, 16, 16), torch.tensor([3.0, 700.0]), torch.randn(2, 7, 48)
    vector = torch.randn(2, KINDS[kind]["vector"]) if "vector" in KINDS[kind] else None
    with torch.inference_mode():
        wanted = module(x, t, context, class_labels=vector).sample
        found = rebuilt(x, t, context, class_labels=vector).sample
    assert torch.equal(found, wanted)
    if vector is not None:
        with torch.inference_mode():
            assert not torch.equal(rebuilt(x, t, context, class_labels=vector + 1).sample, wanted)


@pytest.mark.parametrize("kind", ["SD 2", "XL", "XL refiner"])
def test_names_equal_diffusers_own_conversion(kind):
    module = module_of(**KINDS[kind])
    ldm = unet_tensors(module)
    theirs = convert_ldm_unet_checkpoint({UNET + k: v for k, v in ldm.items()}, dict(module.config))
    ours = unet_keys(unet_shape(ldm)).to_module(ldm)
    vector = {name for name in ours if name.startswith("class_embedding.")}  # diffusers has another place for it
    assert set(theirs) - {name for name in theirs if "embedding.linear" in name} <= set(ours) - vector
    assert all(torch.equal(ours[name], theirs[name]) for name in set(ours) & set(theirs))


def test_sizes_of_the_real_ones():
    """SD 2.1's and XL's, told by tensors without memory."""
    for levels, widths, depths, context, vector in (
        ((True, True, True, False), (320, 640, 1280, 1280), (1, 1, 1, 1), 1024, 0),
        ((False, True, True), (320, 640, 1280), (1, 2, 10), 2048, 2816),
        ((False, True, True, False), (384, 768, 1536, 1536), (4, 4, 4, 4), 1280, 2560),
    ):
        more: Any = (
            {"class_embed_type": "projection", "projection_class_embeddings_input_dim": vector} if vector else {}
        )
        more |= {
            "attention_head_dim": tuple(w // 64 for w in widths),
            "transformer_layers_per_block": depths,
        }
        with torch.device("meta"):
            module: Any = UNet2DConditionModel(
                block_out_channels=widths,
                down_block_types=tuple(CROSS if a else PLAIN for a in levels),
                up_block_types=tuple(("CrossAttnUpBlock2D" if a else "UpBlock2D") for a in reversed(levels)),
                cross_attention_dim=context,
                use_linear_projection=True,
                **more,
            )
        config = unet_config(unet_tensors(module))
        assert config["attention_head_dim"] == tuple(w // 64 for w in widths)
        used = [d for d, a in zip(config["transformer_layers_per_block"], levels, strict=True) if a]
        assert used == [d for d, a in zip(depths, levels, strict=True) if a]
        assert config.get("projection_class_embeddings_input_dim", 0) == vector
        assert config["cross_attention_dim"] == context


def test_open_clip_there_and_back():
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=100, hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=1, hidden_act="gelu"
    )  # fmt: skip
    weights = {k.removeprefix("text_model."): v for k, v in CLIPTextModelWithProjection(config).state_dict().items()}
    weights = {k: v for k, v in weights.items() if k.split(".")[0] in ("embeddings", "encoder", "final_layer_norm")}
    open_clip = to_open_clip(weights)
    assert open_clip["transformer.resblocks.2.attn.in_proj_weight"].shape == (192, 64)
    assert open_clip["transformer.resblocks.0.mlp.c_fc.bias"].shape == (128,)
    back = to_clip(open_clip)
    assert back.keys() == {k for k in weights if "position_ids" not in k}
    assert all(torch.equal(back[name], weights[name]) for name in back)
    theirs = convert_open_clip_checkpoint(
        CLIPTextModelWithProjection(config), {f"p.{k}": v for k, v in open_clip.items()}, prefix="p."
    )
    theirs = {k.removeprefix("text_model."): v for k, v in theirs.items()}
    assert all(torch.equal(theirs[name], back[name]) for name in back if name in theirs)
    assert len(set(theirs) & set(back)) > 20


def test_uneven_sides_come_back_as_in_a1111():
    """Doubled, convolved, and cut to the wanted size by its nearest; diffusers goes there before the convolution."""
    torch.manual_seed(0)
    up, x = Upsample2D(8, use_conv=True, out_channels=8), torch.randn(2, 8, 3, 4)
    even, uneven = up(x, output_size=(6, 8)), up(x, output_size=(5, 7))
    double(nn.Sequential(up))
    assert torch.equal(up(x, output_size=(6, 8)), even) and torch.equal(up(x), even)
    wanted = functional.interpolate(even, size=(5, 7), mode="nearest")
    assert torch.equal(up(x, output_size=(5, 7)), wanted)
    assert not torch.allclose(wanted, uneven, atol=1e-2)
