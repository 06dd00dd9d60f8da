"""References in a tiny U-Net: what layers take over of them, and that nothing stays behind."""

from typing import Any

import pytest
import torch

from modules.control.reference import Reference, References, adapted_layers, self_attending
from modules.control.turns import Clock, Moment
from modules.patches.hooks import hooks
from modules.requests.control import ControlUnit
from modules.sampling.denoiser import NoiseLevels, scaled_linear_alphas_cumprod
from modules.sampling.view import Row
from tests.control.test_controlnet import call_of
from tests.tiny import tiny_parts

LEVELS = NoiseLevels(scaled_linear_alphas_cumprod())
ROWS = [Row(0, True), Row(0, False)]


@pytest.fixture
def unet() -> Any:
    return tiny_parts()["unet"].eval().requires_grad_(False)


def reference(module="reference_only", fidelity=0.0, **values):
    unit = ControlUnit.model_validate({"module": module, "threshold_a": fidelity, **values.pop("unit", {})})
    torch.manual_seed(9)
    return Reference(unit=unit, latents=torch.randn(1, 4, 8, 12), seeds=(3,), **values)


@torch.inference_mode()
def answered(unet, *units, call=None, inspect=lambda unet, hook: None, clock=None):
    """What the U-Net says with those references shown."""
    call = call or call_of()
    moment = Moment(cell=8, rows=ROWS)
    shown = References(units, unet, clock or Clock(), moment, LEVELS.sigma, inpainting=False)
    with hooks() as hook:
        shown.attach(hook)
        shown.look(call)
        assert moment.rows is ROWS and not moment.aside
        inspect(unet, hook)
        return unet(*call[:3]).sample


@torch.inference_mode()
def plain(unet):
    return unet(*call_of()[:3]).sample


@pytest.mark.parametrize("module", ["reference_only", "reference_adain", "reference_adain+attn"])
def test_a_reference_changes_what_the_u_net_says_and_leaves_nothing_behind(unet, module):
    before, weights = plain(unet), {name: value.clone() for name, value in unet.state_dict().items()}
    one = reference(module, unit={"weight": 2})
    found = answered(unet, one)
    assert not torch.allclose(found, before, atol=1e-3)
    assert torch.equal(found, answered(unet, reference(module, unit={"weight": 2})))
    assert torch.equal(plain(unet), before)
    assert all(torch.equal(value, weights[name]) for name, value in unet.state_dict().items())
    assert not [m for m in unet.modules() if m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m)]


def test_fidelity_leaves_the_negative_prompt_alone(unet):
    before = plain(unet)
    none, half, whole = (answered(unet, reference(fidelity=f)) for f in (0.0, 0.5, 1.0))
    assert torch.allclose(whole[1], before[1], atol=1e-6)
    assert torch.allclose(whole[0], none[0], atol=1e-6)
    near, far = ((one[1] - before[1]).abs().mean() for one in (half, none))
    assert 0 < near < far
    controlled = reference(unit={"control_mode": 2})
    prompted = reference(fidelity=1.0, unit={"control_mode": 1})
    assert torch.equal(answered(unet, controlled), whole)
    assert torch.equal(answered(unet, prompted), none)
    assert reference(fidelity=0.7, hires=True).fidelity == 0


def test_keys_and_values_are_the_references_too(unet):
    """Of one layer its answer is diffusers' own attention over both."""
    one = reference()
    layer = self_attending(unet)[0].attn1
    seen: dict[str, Any] = {}

    def watch(_, hook):
        hook.before(layer, lambda args, kwargs: seen.update(own=args[0]))
        hook.after(layer, lambda output: seen.update(output=output) or output)

    answered(unet, one, inspect=watch)
    both = torch.cat([seen["own"], one.seen[layer]], dim=1)
    assert torch.allclose(layer(seen["own"], encoder_hidden_states=both), seen["output"], atol=1e-5)


def test_features_take_over_mean_and_deviation(unet):
    one = reference("reference_adain", unit={"weight": 2})
    layers = [layer for layer, least in adapted_layers(unet) if least < 2]
    found: dict[Any, Any] = {}

    def watch(_, hook):
        for layer in layers:
            hook.after(layer, lambda output, layer=layer: found.update({layer: output}) or output)

    answered(unet, one, inspect=watch)
    for layer in layers:
        features = found[layer][0] if isinstance(found[layer], tuple) else found[layer]
        mean, deviation = one.seen[layer]
        assert torch.allclose(features.mean(dim=(2, 3), keepdim=True), mean, atol=1e-4)
        assert torch.allclose(features.std(dim=(2, 3), keepdim=True, correction=0), deviation, atol=1e-3)


def test_the_weight_says_how_many_layers(unet):
    count = len(self_attending(unet))
    some, every = (reference(unit={"weight": weight}) for weight in (0.4, 1.0))
    answered(unet, some)
    answered(unet, every)
    assert len(every.seen) == count
    assert len(some.seen) == len([i for i in range(count) if i / count < 0.4])


def test_regions_and_turns(unet):
    before = plain(unet)
    mask = torch.zeros(1, 1, 64, 96)
    assert torch.equal(answered(unet, reference(mask=mask)), before)
    mask[..., :48] = 1
    layer = unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1
    halves: list[Any] = []

    def watch(_, hook):
        hook.after(layer, lambda output: halves.append(output) or output)

    answered(unet, reference(mask=mask), inspect=watch)
    answered(unet, reference(mask=mask * 0), inspect=watch)
    change = (halves[0] - halves[1]).abs().sum(dim=2).unflatten(1, (8, 12))
    assert change[..., :6].min() > 0
    assert change[..., 6:].max() == 0
    late = reference(unit={"guidance_start": 0.5})
    assert torch.equal(answered(unet, late), before)


def test_noise_is_of_the_seed_and_the_step(unet):
    first, second = (answered(unet, reference(), clock=Clock(step=step, steps=4)) for step in (1, 2))
    assert not torch.allclose(first, second, atol=1e-4)
    other = reference()
    assert not torch.allclose(first, answered(unet, Reference(unit=other.unit, latents=other.latents, seeds=(4,))))


def test_of_two_references_the_mean_counts(unet):
    one = answered(unet, reference())
    assert torch.allclose(answered(unet, reference(), reference()), one, atol=1e-5)
