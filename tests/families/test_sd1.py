"""Loading a Stable Diffusion 1.x file: every weight at its place, and diffusers' own conversion agrees."""

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

from modules.core.errors import ModelFileError
from modules.devices.choice import choose_compute
from modules.families import sd1
from modules.families.clip_prompts import TextOptions
from modules.families.kinds import family_of, missing_parts
from modules.families.ldm_keys import UNET, VAE, unet_keys, unet_shape, vae_keys, vae_shape
from modules.families.source import Source, without_prefix
from modules.library.prediction import Prediction
from modules.prompting.chunks import make_chunks
from modules.prompting.tokenizer import build_tokenizer
from modules.sampling.denoiser import EpsDenoiser, VDenoiser
from modules.sampling.flow import FlowDenoiser
from tests.tiny import ldm_tensors, tiny_parts

CHUNKS = make_chunks("a red star", build_tokenizer(), attention=True, backtrack=20)
COMPUTE = choose_compute(use_cpu=True)


@pytest.fixture(scope="module")
def parts():
    return {name: part.eval().requires_grad_(False) for name, part in tiny_parts().items()}


@pytest.fixture(scope="module")
def tensors(parts):
    return ldm_tensors(parts)


def loaded(tensors):
    return sd1.load(Source(tensors=tensors, name="tiny", native_size=64, compute=COMPUTE))


def test_shapes_are_read_off_the_keys(tensors):
    unet, vae = unet_shape(without_prefix(tensors, UNET)), vae_shape(without_prefix(tensors, VAE))
    assert (unet.levels, unet.blocks, unet.attention) == (2, 1, (True, False))
    assert (vae.levels, vae.blocks) == (4, 1)


def test_full_size_shapes_are_read_off_the_keys():
    # key names of SD 1.5's U-Net: 4 levels of 2 blocks, attention in all but the last
    names = [f"input_blocks.{n}.0.op.weight" for n in (3, 6, 9)]
    names += [f"input_blocks.{n}.1.norm.weight" for n in (1, 2, 4, 5, 7, 8)]
    names += [f"input_blocks.{n}.0.in_layers.0.weight" for n in (1, 2, 4, 5, 7, 8, 10, 11)]
    shape = unet_shape(names)
    assert (shape.levels, shape.blocks, shape.attention) == (4, 2, (True, True, True, False))


def test_keys_go_there_and_back(tensors):
    unet, vae = without_prefix(tensors, UNET), without_prefix(tensors, VAE)
    for ldm, table in ((unet, unet_keys(unet_shape(unet))), (vae, vae_keys(vae_shape(vae)))):
        back = table.to_ldm(table.to_module(ldm))
        assert back.keys() == ldm.keys()
        assert all(torch.equal(back[key], ldm[key]) for key in ldm)


def test_unet_names_equal_diffusers_own_conversion(tensors, parts):
    ldm = without_prefix(tensors, UNET)
    theirs = convert_ldm_unet_checkpoint(dict(tensors), dict(parts["unet"].config))
    ours = unet_keys(unet_shape(ldm)).to_module(ldm)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_vae_names_equal_diffusers_own_conversion(tensors, parts):
    ldm = without_prefix(tensors, VAE)
    theirs = convert_ldm_vae_checkpoint(dict(tensors), dict(parts["vae"].config))
    ours = vae_keys(vae_shape(ldm)).to_module(ldm)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key].reshape(ours[key].shape)) for key in ours)


def test_loaded_parts_compute_what_the_originals_do(tensors, parts):
    model = loaded(tensors)
    x, t, context = torch.randn(2, 4, 8, 8), torch.tensor([3.0, 500.5]), torch.randn(2, 77, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model.backbone(x, t, context).sample, parts["unet"](x, t, context).sample)
        pixels = parts["vae"].decode(x / sd1.LATENT_SCALE).sample.add(1).div(2).clamp(0, 1)
        torch.testing.assert_close(model.decode(x), pixels)
        ids = torch.tensor([chunk.ids for chunk in CHUNKS])
        torch.testing.assert_close(model.prompts.encode(["a red star"]), parts["text"](ids).last_hidden_state)


def test_clip_skip_takes_an_earlier_layer(tensors, parts):
    model = loaded(tensors)
    ids = torch.tensor([chunk.ids for chunk in CHUNKS])
    with torch.inference_mode():
        states = parts["text"](ids, output_hidden_states=True).hidden_states
        expected = parts["text"].final_layer_norm(states[-2])
        torch.testing.assert_close(model.prompts.encode(["a red star"], TextOptions(clip_skip=2)), expected)


def test_missing_and_misshapen_weights_are_named(tensors):
    key = UNET + "out.2.weight"
    with pytest.raises(ModelFileError, match="conv_out.bias"):
        loaded({k: t for k, t in tensors.items() if k != UNET + "out.2.bias"})
    with pytest.raises(ModelFileError, match="conv_norm_out"):
        loaded({**tensors, UNET + "out.0.weight": torch.zeros(7)})
    assert key in tensors


def test_detection(tensors):
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    assert sd1.detect(shapes)
    without_text = {key: shape for key, shape in shapes.items() if not key.startswith("cond_stage_model.")}
    family = family_of(shapes)
    assert family
    assert (missing_parts(family, shapes), missing_parts(family, without_text)) == ([], ["clip_l"])
    for channels, known in ((4, True), (8, True), (9, True), (5, False)):
        assert sd1.detect({**shapes, f"{UNET}input_blocks.0.0.weight": (32, channels, 3, 3)}) == known


@pytest.mark.parametrize(("channels", "extra", "inpainting"), [(4, 0, False), (8, 4, False), (9, 5, True)])
def test_input_channels_beyond_the_latents(channels, extra, inpainting):
    model = loaded(ldm_tensors(tiny_parts(in_channels=channels)))
    assert (model.extra_channels, model.inpainting) == (extra, inpainting)
    assert model.backbone.conv_in.in_channels == channels  # type: ignore[union-attr]


def test_prediction_chooses_denoiser_and_levels(tensors):
    def made(**said):
        return sd1.load(
            Source(tensors=tensors, name="tiny", native_size=64, compute=COMPUTE, prediction=Prediction(**said))
        )

    eps, v, zero, flow = made(), made(kind="v"), made(kind="v", zero_terminal=True), made(kind="flow")
    assert [model.prediction for model in (eps, v, zero, flow)] == ["eps", "v", "v", "flow"]
    assert [type(model.denoiser()) for model in (eps, v, flow)] == [EpsDenoiser, VDenoiser, FlowDenoiser]
    assert v.levels.sigma_max == eps.levels.sigma_max == pytest.approx(14.61, abs=0.01)
    assert zero.levels.sigma_max > 4000
    assert flow.levels.sigma_max == 1


def test_encoding_is_the_autoencoders_own(tensors, parts):
    model = loaded(tensors)
    pictures, noise = torch.rand(2, 3, 64, 64), torch.randn(2, 4, 8, 8)
    with torch.inference_mode():
        posterior = parts["vae"].encode(pictures * 2 - 1).latent_dist
        expected = (posterior.mean + posterior.std * noise) * sd1.LATENT_SCALE
        torch.testing.assert_close(model.encode(pictures, noise), expected, atol=1e-5, rtol=1e-4)
