"""What the page starts from for a family, by the names of its tensors."""

import pytest

from modules.library.natives import native

FLUX = "model.diffusion_model.double_blocks.0.img_attn.qkv.weight"


@pytest.mark.parametrize(
    ("names", "file", "wanted"),
    [
        ([FLUX], "schnell.safetensors", (1024, 4, 1.0)),
        ([FLUX, "model.diffusion_model.guidance_in.in_layer.weight"], "dev.safetensors", (1024, 20, 1.0)),
        ([FLUX, "distilled_guidance_layer.in_proj.weight"], "chroma.safetensors", (1024, 35, 5.0)),
        ([FLUX, "double_stream_modulation_img.lin.weight"], "flux2-klein-4b.gguf", (1024, 4, 1.0)),
        ([FLUX, "double_stream_modulation_img.lin.weight"], "flux2-klein-base-4b.gguf", (1024, 50, 4.0)),
        ([FLUX, "double_stream_modulation_img.lin.weight"], "flux2-dev.gguf", (1024, 28, 1.0)),
        (["joint_blocks.0.x_block.attn.qkv.weight"], "sd3.5_large_turbo.safetensors", (1024, 4, 1.0)),
        (["joint_blocks.0.x_block.attn.qkv.weight"], "sd3.5_large.safetensors", (1024, 28, 4.5)),
        (["cap_pad_token", "noise_refiner.0.x"], "z_image_turbo.safetensors", (1024, 8, 1.0)),
        (["transformer_blocks.0.img_mlp.net.0.proj.weight"], "q.safetensors", (1328, 50, 4.0)),
        (["noise_refiner.0.x"], "lumina.safetensors", (1024, 30, 4.0)),
    ],
)
def test_later_families_start_from_their_authors_values(names, file, wanted):
    found = native(names, file)
    assert (found["width"], found["steps"], found["cfg_scale"]) == wanted
    assert (found["height"], found["sampler_name"], found["scheduler"]) == (found["width"], "Euler", "Simple")


def test_earlier_families_and_others_tell_nothing():
    assert (
        native(["model.diffusion_model.input_blocks.0.0.weight", "down_blocks.0.attn2.to_k.weight"], "flux turbo") == {}
    )
