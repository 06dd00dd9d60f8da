"""FLUX.1: networks of both layouts, prompts and pictures as diffusers has them."""

import math

import pytest
import torch

from modules.core.errors import ModelFileError
from modules.families import flux, flux_keys, kinds
from modules.families.packing import unpack
from modules.families.source import BACKBONE
from tests.tiny_flux import flux_parts, original, tiny_flux, whole_flux
from tests.tiny_modern import CLIP_WIDTH, clip_tokenizer, source_of, t5_tokenizer, tensors_of, tiny_clip, tiny_vae
from tests.tiny_t5 import tiny_t5, write_tokenizer

PROMPT = "a red star, a house"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("flux") / "t5xxl")


def load(tokenizer, network=None, *, names=original):
    network = network or tiny_flux()
    return flux.load(source_of(flux_parts(), names(tensors_of(network)), t5xxl=tokenizer))


def pipeline(transformer):
    from diffusers.pipelines.flux.pipeline_flux import FluxPipeline
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

    vae = tiny_vae()
    vae.register_to_config(scaling_factor=0.3611, shift_factor=0.1159)
    return FluxPipeline(
        FlowMatchEulerDiscreteScheduler(), vae, tiny_clip(), clip_tokenizer(), tiny_t5(), t5_tokenizer(), transformer
    )


def shapes(tensors):
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def test_it_is_found_and_no_other_claims_it():
    for guidance in (True, False):
        network = tensors_of(tiny_flux(guidance=guidance))
        for names in (original, dict):
            found = shapes({BACKBONE + name: tensor for name, tensor in names(network).items()})
            assert [family for family in kinds.FAMILIES if family.detect(found)] == [flux]
    family = kinds.family_of(shapes(whole_flux()))
    assert family is flux
    assert family and kinds.missing_parts(family, shapes(whole_flux())) == []


def test_original_names_are_told_as_diffusers_does():
    """With the real numbers of rows, and one column: diffusers' own function takes no others."""
    from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers

    rows = {"qkv": 3 * 3072, "linear1": 7 * 3072, "adaLN_modulation": 2 * 3072}
    names = original(tensors_of(tiny_flux()))
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name in names:
        count = next((number for part, number in rows.items() if part in name), 3072)
        shape = (count, 1) if name.endswith(".weight") else (count,)
        tensors[name] = torch.randn(shape, generator=generator)
    theirs = convert_flux_transformer_checkpoint_to_diffusers(dict(tensors))
    ours = flux_keys.to_diffusers(tensors)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@torch.inference_mode()
@pytest.mark.parametrize("names", [original, dict])
def test_prompts_and_network_are_diffusers(tokenizer, names):
    theirs = tiny_flux()
    model = load(tokenizer, theirs, names=names)
    assert (model.family, model.latent_channels, model.downscale, model.distilled) == ("flux", 16, 8, True)
    context = model.prompts.encode([PROMPT])
    embeds, pooled, ids = pipeline(theirs).encode_prompt(PROMPT, None, max_sequence_length=256)
    states, vector, mask = unpack(context, vector=CLIP_WIDTH)
    torch.testing.assert_close(states[:, :256], embeds)
    torch.testing.assert_close(vector, pooled)
    assert mask.sum() == 256
    x, t = torch.randn(1, 16, 8, 6), torch.tensor([700.0])
    places = torch.tensor([[0.0, row, column] for row in range(4) for column in range(3)])
    packed = x.view(1, 16, 4, 2, 3, 2).permute(0, 2, 4, 1, 3, 5).reshape(1, 12, 64)
    for guidance in (3.5, 1.0):
        expected = theirs(packed, embeds, pooled, t / 1000, places, ids, torch.tensor([guidance])).sample
        expected = expected.view(1, 4, 3, 16, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(1, 16, 8, 6)
        sigma = torch.tensor([0.7])
        found = model.denoiser(guidance=guidance)(x, sigma, context=context)
        torch.testing.assert_close(found, x - 0.7 * expected, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_a_batch_of_unequal_texts_is_each_alone(tokenizer):
    model = load(tokenizer)
    context = model.prompts.encode([PROMPT, "red star " * 160])
    assert unpack(context, vector=CLIP_WIDTH)[2].sum(dim=1).tolist() == [256, 321]
    x, t = torch.randn(2, 16, 6, 6), torch.tensor([500.0, 300.0])
    together = model.network(x, t, context)
    for i in range(2):
        torch.testing.assert_close(together[i : i + 1], model.network(x[i : i + 1], t[i : i + 1], context[i : i + 1]))


@torch.inference_mode()
def test_odd_sides_go_on_around(tokenizer):
    model = load(tokenizer)
    context, t = model.prompts.encode([PROMPT]), torch.tensor([500.0])
    x = torch.randn(1, 16, 5, 7)
    whole = torch.nn.functional.pad(x, (0, 1, 0, 1), mode="circular")
    torch.testing.assert_close(model.network(x, t, context), model.network(whole, t, context)[..., :5, :7])


@torch.inference_mode()
def test_kontext_is_shown_a_picture(tokenizer):
    """As diffusers' FluxKontextPipeline: its tokens stand behind the others, as number 1."""
    theirs = tiny_flux()
    model = load(tokenizer, theirs)
    assert model.referring
    context = model.prompts.encode([PROMPT])
    states, pooled, _ = unpack(context, vector=CLIP_WIDTH)
    x, shown = torch.randn(1, 16, 4, 4), torch.randn(1, 16, 2, 6)

    def tokens(latents, number):
        rows, columns = (side // 2 for side in latents.shape[-2:])
        packed = latents.view(1, 16, rows, 2, columns, 2).permute(0, 2, 4, 1, 3, 5).reshape(1, rows * columns, 64)
        return packed, [[number, row, column] for row in range(rows) for column in range(columns)]

    (first, places), (second, others) = tokens(x, 0), tokens(shown, 1)
    images, ids = torch.cat([first, second], dim=1), torch.tensor([*places, *others]).float()
    guidance = torch.tensor([2.5])
    found = theirs(images, states[:, :256], pooled, torch.tensor([0.7]), ids, torch.zeros(256, 3), guidance).sample
    v = found[:, :4].view(1, 2, 2, 16, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(1, 16, 4, 4)
    denoise = model.denoiser(guidance=2.5, references=[shown])
    torch.testing.assert_close(denoise(x, torch.tensor([0.7]), context=context), x - 0.7 * v, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_fill_sees_a_mask_and_a_picture(tokenizer):
    """As diffusers' FluxFillPipeline: the picture's latents first, then the mask of each latent's 64 pixels."""
    theirs = tiny_flux(in_channels=384)
    model = load(tokenizer, theirs)
    assert (model.extra_channels, model.inpainting, model.referring) == (17, True, False)
    context, t = model.prompts.encode([PROMPT]), torch.tensor([700.0])
    x, mask, picture = torch.randn(1, 16, 4, 4), torch.rand(1, 1, 4, 4).round(), torch.randn(1, 16, 4, 4)

    def packed(latents):
        return latents.view(1, -1, 2, 2, 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(1, 4, -1)

    pixels = mask.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)  # as prepare_mask_latents has them
    pixels = pixels[:, 0].view(1, 4, 8, 4, 8).permute(0, 2, 4, 1, 3).reshape(1, 64, 4, 4)
    images = torch.cat([packed(x), packed(picture), packed(pixels)], dim=2)
    states, pooled, _ = unpack(context, vector=CLIP_WIDTH)
    places = torch.tensor([[0.0, row, column] for row in range(2) for column in range(2)])
    found = theirs(images, states[:, :256], pooled, t / 1000, places, torch.zeros(256, 3), torch.tensor([3.5])).sample
    expected = found.view(1, 2, 2, 16, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(1, 16, 4, 4)
    torch.testing.assert_close(
        model.network(torch.cat([x, mask, picture], dim=1), t, context), expected, atol=1e-4, rtol=1e-4
    )


@torch.inference_mode()
def test_schnell_takes_no_guidance_and_no_shift(tokenizer):
    schnell, dev = load(tokenizer, tiny_flux(guidance=False)), load(tokenizer)
    assert not schnell.distilled
    assert schnell.levels.sigmas[499] == 0.5
    assert dev.levels.sigmas[499] == pytest.approx(1 / (1 + math.exp(-1.15)))
    x, context = torch.randn(1, 16, 4, 4), schnell.prompts.encode([PROMPT])
    one, other = (schnell.denoiser(guidance=g)(x, torch.tensor([0.5]), context=context) for g in (1.0, 5.0))
    assert torch.equal(one, other)


@torch.inference_mode()
def test_decoding_is_diffusers(tokenizer):
    model, latents = load(tokenizer), torch.randn(1, 16, 8, 8)
    expected = tiny_vae().decode(latents / 0.3611 + 0.1159).sample
    torch.testing.assert_close(model.decode(latents), (expected / 2 + 0.5).clamp(0, 1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("double_blocks.1.img_attn.qkv.weight", "transformer_blocks.1.attn.to_q.weight"),
        ("vector_in.in_layer.weight", "time_text_embed.text_embedder.linear_1.weight"),
        ("single_blocks.0.norm.query_norm.scale", "single_transformer_blocks.0.attn.norm_q.weight"),
    ],
)
def test_a_missing_tensor_is_named(tokenizer, lost, said):
    network = original(tensors_of(tiny_flux()))
    del network[lost]
    with pytest.raises(ModelFileError, match=f"lacks the weights {said}"):
        flux.load(source_of(flux_parts(), network, t5xxl=tokenizer))


def test_missing_parts_are_named(tokenizer):
    whole = shapes(whole_flux())
    left = {name: shape for name, shape in whole.items() if "t5xxl" not in name and "first_stage" not in name}
    assert kinds.missing_parts(kinds.FAMILIES[kinds.FAMILIES.index(flux)], left) == ["vae_kl16", "t5xxl"]
    with pytest.raises(ModelFileError, match="t5xxl has no tokenizer"):
        load(None)
    with pytest.raises(ModelFileError, match="sees 80 channels"):
        load(tokenizer, tiny_flux(in_channels=80))
