"""Stable Diffusion 3 and 3.5: networks of both layouts and prompts as diffusers has them."""

import pytest
import torch

from modules.core.errors import InputError, ModelFileError
from modules.families import kinds, sd3
from modules.families.clip_prompts import TextOptions
from modules.families.packing import unpack
from modules.families.source import BACKBONE
from tests.tiny_modern import CLIP_WIDTH, clip_tokenizer, source_of, t5_tokenizer, tiny_clip, tiny_vae
from tests.tiny_sd3 import WIDTH, sd3_named, sd3_original, sd3_parts, tiny_sd3
from tests.tiny_t5 import tiny_t5, write_tokenizer

PROMPT = "a red star, a house"
T5 = TextOptions(t5=True)
KINDS = {"3": {}, "3.5 medium": {"second": (0, 1), "normed": True}, "3.5 large": {"normed": True}}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("sd3") / "t5xxl")


def load(tokenizer, network=None, *, names=sd3_original, t5=True):
    tensors = names(sd3_named(network or tiny_sd3()))
    return sd3.load(source_of(sd3_parts(t5=t5), tensors, t5xxl=tokenizer))


def pipeline(transformer):
    from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import StableDiffusion3Pipeline
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

    first = tiny_clip(projected=True)  # the same weights, and as in the authors' files a projection that does nothing
    first.load_state_dict({**tiny_clip_weights(first), "text_projection.weight": torch.eye(CLIP_WIDTH)})
    vae = tiny_vae()
    vae.register_to_config(scaling_factor=1.5305, shift_factor=0.0609)
    return StableDiffusion3Pipeline(
        transformer,
        FlowMatchEulerDiscreteScheduler(),
        vae,
        first,
        clip_tokenizer(),
        tiny_clip(1, big=True, projected=True),
        clip_tokenizer(zeros=True),
        tiny_t5(width=WIDTH),
        t5_tokenizer(),
    )


def tiny_clip_weights(projected):
    own = tiny_clip().state_dict()
    return {
        name: own.get(name, own.get(name.removeprefix("text_model."), value))
        for name, value in projected.state_dict().items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_found_and_no_other_claims_it(kind):
    network = sd3_named(tiny_sd3(**KINDS[kind]))
    for names in (sd3_original, dict):
        found = {BACKBONE + name: tuple(tensor.shape) for name, tensor in names(network).items()}
        assert [family for family in kinds.FAMILIES if family.detect(found)] == [sd3]
    assert kinds.missing_parts(kinds.FAMILIES[kinds.FAMILIES.index(sd3)], found) == ["vae_kl16", "clip_l", "clip_g"]


@torch.inference_mode()
@pytest.mark.parametrize("names", [sd3_original, dict])
@pytest.mark.parametrize("kind", KINDS)
def test_network_is_diffusers(tokenizer, kind, names):
    theirs = tiny_sd3(**KINDS[kind])
    model = load(tokenizer, theirs, names=names)
    assert (model.family, model.latent_channels, model.prediction) == ("sd3", 16, "flow")
    context = model.prompts.encode([PROMPT, "star"])
    states, vector, _ = unpack(context, vector=2 * CLIP_WIDTH)
    x, t = torch.randn(2, 16, 6, 8), torch.tensor([700.0, 20.0])
    expected = theirs(x, states, vector, t).sample
    torch.testing.assert_close(model.network(x, t, context), expected, atol=1e-4, rtol=1e-4)
    odd = torch.nn.functional.pad(x[..., :5, :7], (0, 1, 0, 1), mode="circular")
    found = model.network(x[..., :5, :7], t, context)
    torch.testing.assert_close(found, theirs(odd, states, vector, t).sample[..., :5, :7], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_prompts_are_diffusers(tokenizer):
    theirs = tiny_sd3()
    embeds, _, pooled, _ = pipeline(theirs).encode_prompt(PROMPT, PROMPT, PROMPT, max_sequence_length=77)
    model = load(tokenizer, theirs)
    states, vector, _ = unpack(model.prompts.encode([PROMPT], T5), vector=2 * CLIP_WIDTH)
    torch.testing.assert_close(states, embeds)
    torch.testing.assert_close(vector, pooled)


@torch.inference_mode()
def test_without_t5_its_states_are_zeros(tokenizer):
    """A1111's default."""
    model = load(tokenizer)
    off, on = (
        unpack(model.prompts.encode([PROMPT], options), vector=2 * CLIP_WIDTH)[0] for options in (TextOptions(), T5)
    )
    assert torch.equal(off[:, :77], on[:, :77])
    assert not off[:, 77:].any()
    assert on[:, 77:].any()
    without = load(None, t5=False)
    assert torch.equal(unpack(without.prompts.encode([PROMPT]), vector=2 * CLIP_WIDTH)[0], off)
    with pytest.raises(InputError, match="sd3_enable_t5 is on, but this checkpoint has no T5"):
        without.prompts.encode([PROMPT], T5)


@torch.inference_mode()
def test_t5_reads_as_many_tokens_as_clip_and_does_not_weigh(tokenizer):
    model = load(tokenizer)
    long = "red star " * 60
    context = model.prompts.encode_together([long, "star"], [1, 1], T5)
    assert context.shape[1] == 2 * 154
    plain, weighed = (model.prompts.encode([text], T5) for text in ("star BREAK house", "(star:1.4) BREAK house"))
    assert torch.equal(plain[:, 154:, :WIDTH], weighed[:, 154:, :WIDTH])
    assert not torch.allclose(plain[:, :154], weighed[:, :154])


@torch.inference_mode()
def test_too_large_is_one_sentence(tokenizer):
    model = load(tokenizer)
    with pytest.raises(InputError, match="width is 144: this model has places for 128 pixels a side"):
        model.network(torch.randn(1, 16, 8, 18), torch.tensor([1.0]), model.prompts.encode([""]))


@torch.inference_mode()
def test_decoding_is_diffusers(tokenizer):
    model, latents = load(tokenizer), torch.randn(1, 16, 8, 8)
    expected = tiny_vae().decode(latents / 1.5305 + 0.0609).sample
    torch.testing.assert_close(model.decode(latents), (expected / 2 + 0.5).clamp(0, 1), atol=1e-5, rtol=1e-5)


def test_what_is_missing_is_named(tokenizer):
    network = sd3_original(sd3_named(tiny_sd3()))
    for lost in ("joint_blocks.1.context_block.attn.qkv.weight", "x_embedder.proj.bias", "pos_embed"):
        left = {name: tensor for name, tensor in network.items() if name != lost}
        with pytest.raises(ModelFileError, match=f"lacks the weights {lost}"):
            sd3.load(source_of(sd3_parts(), left, t5xxl=tokenizer))
    parts = sd3_parts()
    for lost in (
        "clip_g.transformer.text_projection.weight",
        "clip_l.transformer.text_model.embeddings.token_embedding.weight",
    ):
        left = {name: tensor for name, tensor in parts.items() if not name.endswith(lost)}
        with pytest.raises(
            ModelFileError, match=f"lacks the weights {lost.split('text_model.')[-1].split('transformer.')[-1]}"
        ):
            sd3.load(source_of(left, network, t5xxl=tokenizer))
