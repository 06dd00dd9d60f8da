"""T2I style adapters and Revision: what they tell a U-Net in place of the prompt, or beside it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.functional import layer_norm, linear, scaled_dot_product_attention

from modules.control.kinds import T2I_STYLE, Kind, kind_of
from modules.control.models import check_family
from modules.control.revision import Revision, Revisions, augmented, pooled_width
from modules.control.t2i_style import StyleWords, build_style
from modules.control.turns import Clock, Moment
from modules.control.units import Units
from modules.core.errors import InputError, ModelFileError
from modules.families.unet import Call
from modules.requests.control import ControlUnit
from modules.sampling.view import Row, View
from tests.control.test_controlnet import CPU, call_of
from tests.tiny_control import style_tensors

FILE = Path("style.safetensors")


def said(tensors, features):
    """The adapter's formula, written out: CLIP's transformer over features and style words, the words' places projected."""

    def norm(name, x):
        return layer_norm(x, x.shape[-1:], tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    words = tensors["style_embedding"]
    x = norm("ln_pre", torch.cat([features, words], dim=1))
    for n in range(2):
        block = f"transformer_layes.{n}"
        given = norm(f"{block}.ln_1", x)
        projected = linear(given, tensors[f"{block}.attn.in_proj_weight"], tensors[f"{block}.attn.in_proj_bias"])
        q, k, v = (part.unflatten(2, (8, -1)).transpose(1, 2) for part in projected.chunk(3, dim=2))
        seen = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + linear(seen, tensors[f"{block}.attn.out_proj.weight"], tensors[f"{block}.attn.out_proj.bias"])
        inner = linear(norm(f"{block}.ln_2", x), tensors[f"{block}.mlp.c_fc.weight"], tensors[f"{block}.mlp.c_fc.bias"])
        inner = inner * torch.sigmoid(1.702 * inner)
        x = x + linear(inner, tensors[f"{block}.mlp.c_proj.weight"], tensors[f"{block}.mlp.c_proj.bias"])
    return norm("ln_post", x[:, -words.shape[1] :]) @ tensors["proj"]


@torch.inference_mode()
def test_a_style_adapter_gives_words():
    tensors, features = style_tensors(), torch.randn(1, 17, 64)
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    assert kind_of(shapes, FILE).name == T2I_STYLE
    assert kind_of({**shapes, "proj": (1024, 768)}, FILE).family == "sd1"
    adapter = build_style(tensors, CPU, FILE)
    assert (adapter.embedded, adapter.context) == (64, 64)
    assert torch.allclose(adapter.words(features), said(tensors, features), atol=1e-5)
    tensors.pop("transformer_layes.1.ln_2.bias")
    with pytest.raises(ModelFileError, match=r"lacks the weights transformer_layes.1.ln_2.bias"):
        build_style(tensors, CPU, FILE)


def unit(**values):
    return ControlUnit.model_validate({"model": "x", **values})


def told(call, guided=1, part=0.0, **units: Any):
    """What units make of a call, with `guided` of its rows under the prompt."""
    view = View()
    view.tell([0] * len(call.x), guided)
    clock = Clock(step=round(part * 10) + 1, steps=10)
    return Units((), view, clock, Moment(cell=8), **units)(call)


def test_style_words_stand_behind_the_prompt():
    call, words = call_of(), torch.randn(1, 4, 64)
    found = told(call, styles=[StyleWords(unit=unit(weight=0.5), words=words)])["encoder_hidden_states"]
    assert torch.equal(found[:, :77], call.context)
    assert torch.equal(found[0, 77:], words[0] * 0.5)
    assert found[1, 77:].abs().max() == 0
    late = StyleWords(unit=unit(guidance_start=0.5), words=words)
    assert told(call, styles=[late]) == {}
    assert told(call, part=0.6, styles=[late])["encoder_hidden_states"].shape[1] == 81


def xl_call():
    return call_of(torch.arange(20.0).expand(2, -1).clone())


def test_revision_stands_for_the_pooled_text():
    call, vectors = xl_call(), torch.randn(1, 8)
    one = Revision(unit=unit(module="revision_clipvision", weight=0.5), vectors=vectors)
    found = told(call, revisions=Revisions([one]))
    assert torch.equal(found["class_labels"][0, :8], vectors[0] * 0.5)
    assert found["class_labels"][1, :8].abs().max() == 0
    assert torch.equal(found["class_labels"][:, 8:], call.labels[:, 8:])
    assert torch.equal(found["encoder_hidden_states"], call.context)
    other = Revision(unit=unit(module="revision_ignore_prompt"), vectors=vectors)
    both = told(call, revisions=Revisions([one, other]))
    assert torch.allclose(both["class_labels"][0, :8], vectors[0] * 1.5)
    assert both["encoder_hidden_states"].abs().max() == 0
    late = Revision(unit=unit(module="revision_clipvision", guidance_start=0.5), vectors=vectors)
    assert told(call, revisions=Revisions([late])) == {}


def test_each_picture_of_a_batch_has_its_own():
    vectors = torch.randn(2, 8)
    one = Revision(unit=unit(module="revision_clipvision"), vectors=vectors)
    moment = Moment(cell=8, rows=[Row(0, True), Row(1, True)])
    labels = Revisions([one]).changed(xl_call(), moment).labels
    assert labels is not None
    assert torch.equal(labels[:, :8], vectors)


def test_noise_augmentation():
    vectors = torch.randn(4, 512)
    assert augmented(vectors, 0, 1) is vectors
    little, much = augmented(vectors, 0.1, 1), augmented(vectors, 1, 1)
    assert torch.equal(little, augmented(vectors, 0.1, 1))

    def related(x):
        return torch.corrcoef(torch.stack([x.flatten(), vectors.flatten()]))[0, 1].item()

    assert related(little) > 0.9
    assert abs(related(much)) < 0.2


def test_revision_is_for_xl_alone():
    model: Any = SimpleNamespace(
        family="sdxl", backbone=SimpleNamespace(config=SimpleNamespace(projection_class_embeddings_input_dim=2816))
    )
    assert pooled_width("f", "revision_clipvision", model) == 1280
    other: Any = SimpleNamespace(family="sd1", name="x")
    with pytest.raises(InputError, match="for Stable Diffusion XL; .* family Stable Diffusion 1.x"):
        pooled_width("f", "revision_clipvision", other)


def test_what_fits_any_u_net_fits_no_transformer():
    model: Any = SimpleNamespace(family="flux", name="x")
    with pytest.raises(InputError, match="1.x or Stable Diffusion 2.x or Stable Diffusion XL; .* of the family FLUX"):
        check_family("sketch", Kind(name="T2I-Adapter"), "control.0.model", model)
    check_family("sketch", Kind(name="T2I-Adapter"), "control.0.model", SimpleNamespace(family="sd2"))  # type: ignore[arg-type]


def test_nothing_is_told_without_units():
    assert isinstance(call_of(), Call)
    assert told(call_of()) == {}
