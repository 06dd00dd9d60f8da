"""AuraFlow: networks of both layouts and prompts as diffusers has them."""

import pytest
import torch

from modules.core.errors import InputError, ModelFileError
from modules.families import aura_flow, kinds
from modules.families.packing import unpack
from modules.families.source import BACKBONE
from tests.tiny_modern import source_of, t5_tokenizer, tensors_of, tiny_vae
from tests.tiny_sd3 import aura_original, aura_parts, tiny_aura
from tests.tiny_t5 import tiny_t5, write_tokenizer

PROMPT = "a red star, a house"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("aura") / "pile_t5xl")


def load(tokenizer, network=None, *, names=aura_original):
    tensors = names(tensors_of(network or tiny_aura()))
    return aura_flow.load(source_of(aura_parts(), tensors, pile_t5xl=tokenizer))


def test_it_is_found_and_no_other_claims_it():
    for names in (aura_original, dict):
        found = {BACKBONE + name: tuple(t.shape) for name, t in names(tensors_of(tiny_aura())).items()}
        assert [family for family in kinds.FAMILIES if family.detect(found)] == [aura_flow]
    assert kinds.missing_parts(kinds.FAMILIES[kinds.FAMILIES.index(aura_flow)], found) == ["vae_kl4", "pile_t5xl"]


@torch.inference_mode()
@pytest.mark.parametrize("names", [aura_original, dict])
def test_prompts_and_network_are_diffusers(tokenizer, names):
    from diffusers.pipelines.aura_flow.pipeline_aura_flow import AuraFlowPipeline
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

    theirs = tiny_aura()
    pipeline = AuraFlowPipeline(
        t5_tokenizer(), tiny_t5(pile=True), tiny_vae(channels=4), theirs, FlowMatchEulerDiscreteScheduler()
    )
    model = load(tokenizer, theirs, names=names)
    assert (model.family, model.latent_channels) == ("aura-flow", 4)
    embeds = pipeline.encode_prompt(PROMPT, do_classifier_free_guidance=False)[0]
    context = model.prompts.encode([PROMPT])
    states, _, mask = unpack(context)
    assert mask.sum() == 256
    torch.testing.assert_close(states[:, :256], embeds)
    x, t = torch.randn(1, 4, 6, 8), torch.tensor([700.0])
    torch.testing.assert_close(model.network(x, t, context), theirs(x, embeds, t / 1000).sample, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_bad_values_are_one_sentence(tokenizer):
    model = load(tokenizer)
    with pytest.raises(InputError, match="height is 136: this AuraFlow has places for 128 pixels a side"):
        model.network(torch.randn(1, 4, 17, 8), torch.tensor([1.0]), model.prompts.encode([""]))
    network = aura_original(tensors_of(tiny_aura()))
    for lost, said in (("positional_encoding", "positional_encoding"), ("final_linear.weight", "proj_out.weight")):
        left = {name: tensor for name, tensor in network.items() if name != lost}
        with pytest.raises(ModelFileError, match=f"lacks the weights {said}"):
            aura_flow.load(source_of(aura_parts(), left, pile_t5xl=tokenizer))
    with pytest.raises(ModelFileError, match="pile_t5xl has no tokenizer"):
        load(None)
