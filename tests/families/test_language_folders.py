"""Families that read prompts with a language model, as diffusers' folders and as separate files: the same pictures as of one file."""

import json

import numpy as np
import pytest
from safetensors.torch import save_file

from modules.families import qwen_image
from modules.families.folder import read_folder
from modules.families.ldm_keys import VAE
from modules.families.source import BACKBONE, text_prefix, without_prefix
from tests.families import test_cogview4, test_flux2, test_lumina2, test_qwen_image
from tests.families.tiny_language import drawing, picture


def tiny(family, folder):
    if family.startswith("flux2"):
        return test_flux2.Tiny(folder, dev=family == "flux2 dev")
    return {"qwen": test_qwen_image, "lumina2": test_lumina2, "cogview4": test_cogview4}[family].Tiny(folder)


@pytest.mark.parametrize("family", ["qwen", "lumina2", "flux2 dev", "flux2 klein", "cogview4"])
def test_a_folder_draws_the_same_picture(family, tmp_path, monkeypatch):
    parts = tiny(family, tmp_path / "tokenizer")
    folder = tmp_path / "data" / "models" / "Stable-diffusion" / "tiny"
    parts.pipeline().save_pretrained(folder)
    found = picture(drawing(monkeypatch, tmp_path / "data", {}, {})())
    whole = picture(drawing(monkeypatch, tmp_path / "other", parts.tensors, parts.tokenizers)())
    assert np.abs(found - whole).max() <= 1
    assert found.std() > 5


@pytest.mark.parametrize("family", ["qwen", "lumina2", "flux2 dev", "flux2 klein", "cogview4"])
def test_separate_files_draw_the_same_picture(family, tmp_path, monkeypatch):
    """Each part under its own names in its own folder, as ComfyUI's users keep them."""
    parts = tiny(family, tmp_path / "tokenizer")
    (kind,) = parts.tokenizers
    models = tmp_path / "data" / "models"
    for prefix, name in (
        (BACKBONE, "Stable-diffusion/tiny"),
        (VAE, "VAE/own"),
        (text_prefix(kind), "text_encoder/own"),
    ):
        file = models / f"{name}.safetensors"
        file.parent.mkdir(parents=True)
        save_file({key: tensor.clone() for key, tensor in without_prefix(parts.tensors, prefix).items()}, file)
    found = picture(drawing(monkeypatch, tmp_path / "data", {}, parts.tokenizers)())
    whole = picture(drawing(monkeypatch, tmp_path / "other", parts.tensors, parts.tokenizers)())
    assert np.abs(found - whole).max() <= 1


def test_a_folder_says_that_references_are_seen_at_time_zero(tmp_path):
    parts = test_qwen_image.Tiny(tmp_path / "tokenizer")
    folder = tmp_path / "tiny"
    parts.pipeline().save_pretrained(folder)
    assert BACKBONE + qwen_image.TIME_ZERO not in read_folder(folder)
    file = folder / "transformer" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), "zero_cond_t": True}))
    assert BACKBONE + qwen_image.TIME_ZERO in read_folder(folder)
