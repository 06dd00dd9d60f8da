"""Role and family of a file by its header."""

import json
import os
import struct
import zipfile

import pytest

from modules.library.signs import family_of, family_said, read_signs, role_of
from tests.library.files import lora_shapes, write_model

UNET = "model.diffusion_model."
K = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


def whole(width):
    return {
        f"{UNET}{K}": (320, width),
        "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
        "cond_stage_model.transformer.x": (1,),
    }


@pytest.mark.parametrize(
    ("shapes", "role", "family"),
    [
        (whole(768), "checkpoint", "SD1"),
        (whole(1024), "checkpoint", "SD2"),
        (whole(2048), "checkpoint", "SDXL"),
        (whole(1280), "checkpoint", "SDXL refiner"),
        ({f"{UNET}{K}": (320, 768)}, "diffusion model", "SD1"),
        ({f"{UNET}double_blocks.0.img_attn.qkv.weight": (1, 1)}, "diffusion model", "FLUX"),
        ({"double_blocks.0.img_attn.qkv.weight": (1, 1)}, "diffusion model", "FLUX"),
        ({"model.diffusion_model.joint_blocks.0.x.weight": (1, 1)}, "diffusion model", "SD3"),
        (lora_shapes(768), "LoRA", "SD1"),
        (lora_shapes(2048), "LoRA", "SDXL"),
        ({"lora_te2_text_model_x.hada_w1_a": (4, 4)}, "LoRA", "SDXL"),
        ({"lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight": (4, 4)}, "LoRA", "FLUX"),
        ({"transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight": (4, 4)}, "LoRA", "FLUX"),
        ({"control_model.input_blocks.0.0.weight": (320, 4, 3, 3)}, "ControlNet", ""),
        ({"emb_params": (8, 768)}, "embedding", "SD1"),
        ({"clip_l": (8, 768), "clip_g": (8, 1280)}, "embedding", "SDXL"),
        ({"decoder.conv_in.weight": (512, 4, 3, 3)}, "VAE", "SD"),
        ({"decoder.conv_in.weight": (512, 16, 3, 3)}, "VAE", "FLUX or SD3"),
        ({"text_model.embeddings.token_embedding.weight": (49408, 768)}, "text encoder", ""),
        ({"encoder.block.0.layer.0.SelfAttention.q.weight": (4096, 4096)}, "text encoder", ""),
        ({"model.0.weight": (64, 3, 3, 3)}, "upscaler", ""),
        ({"conv_first.weight": (64, 3, 3, 3)}, "upscaler", ""),
        ({"what.is.this": (1,)}, "", ""),
        ({}, "", ""),
    ],
)
def test_guess(shapes, role, family):
    assert role_of(shapes) == role
    assert family_of(shapes, role) == family


@pytest.mark.parametrize(
    ("said", "family"),
    [
        ("sdxl_base_v1-0", "SDXL"),
        ("stable-diffusion-v1/lora", "SD1"),
        ("stable-diffusion-xl-v1-base/lora", "SDXL"),
        ("stable-diffusion-xl-v1-refiner", "SDXL refiner"),
        ("SD 1.5", "SD1"),
        ("SD 2.1 768", "SD2"),
        ("Pony", "SDXL"),
        ("Illustrious", "SDXL"),
        ("Flux.1 D", "FLUX"),
        ("SD 3.5 Medium", "SD3"),
        ("", ""),
        ("another", ""),
    ],
)
def test_words_of_trainers_and_web_sites(said, family):
    assert family_said(said) == family


def test_a_trainers_word_counts_more_than_the_guess(tmp_path):
    path = write_model(
        tmp_path / "a.safetensors", {"x.lora_up.weight": (4, 4)}, {"ss_base_model_version": "sdxl_base_v1-0"}
    )
    assert (read_signs(path).role, read_signs(path).family) == ("LoRA", "SDXL")


@pytest.mark.parametrize(
    ("architecture", "role", "family"),
    [
        ("flux", "diffusion model", "FLUX"),
        ("sd3", "diffusion model", "SD3"),
        ("t5encoder", "text encoder", ""),
        ("?", "diffusion model", ""),
    ],
)
def test_gguf(tmp_path, architecture, role, family):
    field = b"general.architecture"
    text = struct.pack("<Q", len(field)) + field + struct.pack("<IQ", 8, len(architecture)) + architecture.encode()
    (tmp_path / "a.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text)
    signs = read_signs(tmp_path / "a.gguf")
    assert (signs.role, signs.family, signs.trouble) == (role, family, "")


def broken(folder):
    good = write_model(folder / "good.safetensors", lora_shapes()).read_bytes()
    header = json.dumps({"a": {"dtype": "F16", "shape": [-1], "data_offsets": [0, 4]}}).encode()
    with zipfile.ZipFile(folder / "good.pt", "w") as archive:
        archive.writestr("data.pkl", b"x" * 5000)
    zipped = (folder / "good.pt").read_bytes()
    page = b"\n <!DOCTYPE html><html>Log in</html>"
    return {
        **{f"cut{n}.safetensors": (good[:n], "incomplete") for n in (0, 7, 100, len(good) // 2, len(good) - 1)},
        "page.safetensors": (page, "web page"),
        "page.pt": (page, "web page"),
        "header.safetensors": (struct.pack("<Q", len(header)) + header + bytes(4), "damaged"),
        "huge.safetensors": (b"\xff" * 100, "not a valid"),
        "pickle.safetensors": (zipped, "pickle"),
        "half.pt": (zipped[: len(zipped) // 2], "incomplete"),
        "page.gguf": (page, "web page"),
        "noise.gguf": (b"noise", "no GGUF"),
        "empty.ckpt": (b"", "0 bytes"),
        "noise.pth": (b"noise" * 50, "no tensors"),
    }


def test_what_is_wrong_with_a_file_is_one_sentence(tmp_path):
    for name, (data, words) in broken(tmp_path).items():
        (tmp_path / name).write_bytes(data)
        signs = read_signs(tmp_path / name)
        assert words in signs.trouble, name
        assert f'"{name}"' in signs.trouble
    assert read_signs(tmp_path / "good.safetensors").trouble == read_signs(tmp_path / "good.pt").trouble == ""


def test_what_cannot_be_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    os.mkfifo(tmp_path / "pipe.safetensors")
    for name, words in (("gone.pt", "not there"), ("pipe.pt", "regular file"), ("pipe.safetensors", "regular file")):
        assert words in read_signs(tmp_path / name).trouble
