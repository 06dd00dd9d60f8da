"""Chroma: networks of both layouts and prompts as diffusers has them."""

from typing import Any

import pytest
import torch

from modules.core.errors import ModelFileError
from modules.families import chroma, flux_keys, kinds
from modules.families.packing import unpack
from modules.families.source import BACKBONE
from tests.tiny_flux import flux_parts, original, tiny_chroma
from tests.tiny_modern import source_of, t5_tokenizer, tensors_of, tiny_vae
from tests.tiny_t5 import tiny_t5, write_tokenizer

PROMPT = "a red star, a house"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("chroma") / "t5xxl")


def pipeline(transformer):
    from diffusers.pipelines.chroma.pipeline_chroma import ChromaPipeline
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

    return ChromaPipeline(FlowMatchEulerDiscreteScheduler(), tiny_vae(), tiny_t5(), t5_tokenizer(), transformer)


def test_it_is_found_and_no_other_claims_it():
    for names in (original, dict):
        found = {BACKBONE + name: tuple(t.shape) for name, t in names(tensors_of(tiny_chroma())).items()}
        assert [family for family in kinds.FAMILIES if family.detect(found)] == [chroma]
    radiance = {**found, f"{BACKBONE}x_embedder.weight": (64, 3, 16, 16)}  # it draws pixels, not latents
    assert kinds.family_of(radiance) is None


def test_original_names_are_told_as_diffusers_does():
    """With the real numbers of rows, and one column: diffusers' own function takes no others."""
    from diffusers.loaders.single_file_utils import convert_chroma_transformer_checkpoint_to_diffusers

    rows = {"qkv": 3 * 3072, "linear1": 7 * 3072}
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name in original(tensors_of(tiny_chroma())):
        count = next((number for part, number in rows.items() if part in name), 3072)
        tensors[name] = torch.randn((count, 1) if name.endswith(".weight") else (count,), generator=generator)
    theirs = convert_chroma_transformer_checkpoint_to_diffusers(dict(tensors))
    ours = flux_keys.to_diffusers(tensors)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@torch.inference_mode()
@pytest.mark.parametrize("names", [original, dict])
def test_prompts_and_network_are_diffusers(tokenizer, names):
    """Theirs fills up to 64 tokens and hides all padding but one token; ours leaves the hidden ones out.

    The mask is one of bools here: its pipeline hands on numbers, which attention adds to its scores, so that nothing is hidden.
    """
    theirs: Any = tiny_chroma()
    model = chroma.load(source_of(flux_parts(), names(tensors_of(theirs)), t5xxl=tokenizer))
    assert (model.family, model.distilled, model.chunked) == ("chroma", False, False)
    found: Any = pipeline(theirs).encode_prompt([PROMPT, "star"], ["", ""], max_sequence_length=64)
    embeds, ids, counts = found[:3]
    context = model.prompts.encode([PROMPT, "star"])
    states, _, mask = unpack(context)
    for row in range(2):
        length = int(counts[row].sum())
        assert mask[row].sum() == length
        torch.testing.assert_close(states[row, :length], embeds[row, :length])
    x, t = torch.randn(2, 16, 8, 6), torch.tensor([700.0, 200.0])
    places = torch.tensor([[0.0, row, column] for row in range(4) for column in range(3)])
    packed = x.view(2, 16, 4, 2, 3, 2).permute(0, 2, 4, 1, 3, 5).reshape(2, 12, 64)
    shown = torch.cat([counts, torch.ones(2, 12)], dim=1).bool()
    expected = theirs(packed, embeds, t / 1000, places, ids, shown).sample
    expected = expected.view(2, 4, 3, 16, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(2, 16, 8, 6)
    torch.testing.assert_close(model.network(x, t, context), expected, atol=1e-4, rtol=1e-4)


def test_what_is_missing_is_named(tokenizer):
    network = original(tensors_of(tiny_chroma()))
    for lost, said in (
        ("distilled_guidance_layer.norms.1.scale", "distilled_guidance_layer.norms.1.weight"),
        ("distilled_guidance_layer.in_proj.weight", "distilled_guidance_layer.in_proj.weight"),
    ):
        left = {name: tensor for name, tensor in network.items() if name != lost}
        with pytest.raises(ModelFileError, match=f"lacks the weights {said}"):
            chroma.load(source_of(flux_parts(), left, t5xxl=tokenizer))
    with pytest.raises(ModelFileError, match="t5xxl has no tokenizer"):
        chroma.load(source_of(flux_parts(), network))
