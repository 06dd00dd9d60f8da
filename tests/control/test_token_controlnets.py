"""ControlNets of transformers give what diffusers' own modules give, and their residuals stand where its pipelines put them."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from modules.control.kinds import TRANSFORMER, kind_of
from modules.control.models import TOKEN_BUILDERS, LoadedControl, check_family, check_sizes
from modules.control.networks import Residuals
from modules.control.turns import Clock
from modules.control.units import TokenUnits, WorkingUnit
from modules.core.errors import InputError, ModelFileError
from modules.families.flux_network import from_tokens, to_tokens, token_places
from modules.families.packing import text_rows, unpack
from modules.families.weights import read_weights, shapes_of
from modules.requests.control import ControlUnit
from modules.sampling.view import View
from tests.control.test_controlnet import CPU
from tests.families import test_flux, test_qwen_image, test_sd3, test_z_image
from tests.tiny_flux import tiny_flux
from tests.tiny_modern import CLIP_WIDTH, tensors_of
from tests.tiny_sd3 import tiny_sd3
from tests.tiny_t5 import write_tokenizer
from tests.tiny_token_control import (
    flux_control,
    qwen_control,
    sd3_control,
    sd3_control_named,
    stability,
    xlabs,
    z_image_control,
)

T = torch.tensor([700.0, 20.0])
TEXTS = ["a red star", "a star, a house"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A loaded model of each family, and diffusers' transformer of the same weights."""
    t5 = write_tokenizer(tmp_path_factory.mktemp("tokens") / "t5xxl")
    qwen = test_qwen_image.Tiny(tmp_path_factory.mktemp("qwen"))
    z_image = test_z_image.Tiny(tmp_path_factory.mktemp("z"))
    return {
        "sd3": (test_sd3.load(t5), tiny_sd3()),
        "flux": (test_flux.load(t5), tiny_flux()),
        "qwen-image": (qwen.load(), qwen.network),
        "z-image": (z_image.load(), z_image.network),
    }


def built(tensors, folder, family, name="control"):
    """The network of a file, recognised by its tensors alone."""
    path = folder / f"{name}.safetensors"
    save_file({key: value.contiguous() for key, value in tensors.items()}, path)
    kind = kind_of(shapes_of(path).shapes, path)
    assert (kind.name, kind.family) == (TRANSFORMER, family)
    return TOKEN_BUILDERS[family](read_weights(path), CPU, path)


def controlled(model, network, hints, x, context, weight=1.0, told="Unknown", **values):
    """What the model's network gives with the unit at work."""
    network = network.told(told, "union_control_type").beside(model)
    unit = ControlUnit.model_validate({"model": "x", "weight": weight})
    working = WorkingUnit(unit=unit, network=network, hints=network.prepared(hints, model), cell=network.cell, **values)
    with model.network.adding(TokenUnits([working], View(), Clock(), 8)):
        return model.network(x, T[: len(x)], context)


def some(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def latents(model, pictures, shift=0.0):
    return model.encode(pictures, torch.zeros(len(pictures), 16, *(side // 8 for side in pictures.shape[-2:]))) + shift


def numbers(placed):
    return [None if one is None else float(one) for one in placed.blocks]


def close(found, expected, plain):
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert (found - plain).abs().max() > 1e-3


@pytest.mark.parametrize("layout", ["instantx", "inpaint", "large", "blur", "canny", "depth"])
@torch.inference_mode()
def test_sd3_gives_what_diffusers_gives(models, tmp_path, layout):
    model, theirs = models["sd3"]
    large = layout not in ("instantx", "inpaint")
    module = sd3_control(large=large, inpaint=layout == "inpaint")
    tensors = sd3_control_named(module)
    if layout in ("blur", "canny", "depth"):
        tensors = stability(tensors, ("blur", "canny", "depth").index(layout))
    network = built(tensors, tmp_path, "sd3")
    x, hints = some(2, 16, 6, 8), torch.rand(1, 3, 48, 64)
    if layout == "inpaint":
        hints[:, :, 8:24, 8:24] = -1
    context = model.prompts.encode(TEXTS)
    states, vector, _ = unpack(context, vector=2 * CLIP_WIDTH)
    seen = hints.clamp(min=0)
    if layout == "canny":
        seen = (127.5 * seen + 0.5 + 1) / 2
    if layout == "depth":
        seen = 1 - seen
    shown = latents(model, seen, 1.5305 * 0.0609 if layout == "instantx" else 0.0)
    if layout == "inpaint":
        kept = torch.ones(1, 1, 6, 8)
        kept[:, :, 1:3, 1:3] = 0
        shown = torch.cat([shown, kept], 1)
    blocks = module(
        theirs.pos_embed(x) if large else x,
        shown.expand(2, -1, -1, -1),
        0.7,
        None if large else states,
        torch.zeros_like(vector) if layout == "instantx" else vector,
        T,
        return_dict=False,
    )[0]
    expected = theirs(x, states, vector, T, block_controlnet_hidden_states=blocks).sample
    close(controlled(model, network, hints, x, context, 0.7), expected, model.network(x, T, context))


@torch.inference_mode()
def test_stabilitys_are_known_by_name_where_no_tensor_tells(models, tmp_path):
    model, _ = models["sd3"]
    tensors, hints = sd3_control_named(sd3_control(large=True)), torch.rand(1, 3, 48, 64)
    plain, canny = (built(tensors, tmp_path, "sd3", name).prepared(hints, model) for name in ("x", "sd35_canny"))
    told = built(stability(tensors, 1), tmp_path, "sd3").prepared(hints, model)
    assert torch.equal(canny, told)
    assert not torch.allclose(canny, plain, atol=1e-2)


@torch.inference_mode()
def test_sd3_says_where_it_has_no_places(models, tmp_path):
    model, _ = models["sd3"]
    module = sd3_control()
    tensors = {**sd3_control_named(module), "pos_embed.pos_embed": module.pos_embed.pos_embed[:, :4]}
    network = built(tensors, tmp_path, "sd3")
    with pytest.raises(InputError, match="height is 48: this ControlNet has places for 32 pixels"):
        controlled(model, network, torch.rand(1, 3, 48, 32), some(1, 16, 6, 4), model.prompts.encode(TEXTS[:1]))


@pytest.mark.parametrize("layout", ["instantx", "pro 2", "union", "xlabs", "xlabs diffusers"])
@torch.inference_mode()
def test_flux_gives_what_diffusers_gives(models, tmp_path, layout):
    model, theirs = models["flux"]
    pixels = layout.startswith("xlabs")
    module = flux_control(modes=7 if layout == "union" else None, xlabs=pixels, singles=0 if layout == "pro 2" else 1)
    tensors = tensors_of(module)
    network = built(xlabs(tensors) if layout == "xlabs" else tensors, tmp_path, "flux")
    assert model.distilled
    x, hints = some(1, 16, 6, 8), torch.rand(1, 3, 48, 64)
    context = model.prompts.encode(TEXTS[:1])
    states, vector, mask = unpack(context, vector=CLIP_WIDTH)
    states, places = states[mask][None], token_places(x)
    shown = hints * 2 - 1 if pixels else to_tokens(latents(model, hints))
    given: dict[str, Any] = {
        "encoder_hidden_states": states,
        "pooled_projections": vector,
        "timestep": T[:1] / 1000,
        "guidance": torch.tensor([3.5]),
        "img_ids": places,
        "txt_ids": torch.zeros(states.shape[1], 3),
    }
    mode = torch.tensor([[2]]) if layout == "union" else None
    blocks, singles = module(to_tokens(x), shown, mode, 0.7, **given, return_dict=False)
    found = theirs(
        to_tokens(x),
        **given,
        controlnet_block_samples=blocks,
        controlnet_single_block_samples=singles,
        controlnet_blocks_repeat=pixels,
    ).sample
    told = "Depth" if layout == "union" else "Unknown"
    close(
        controlled(model, network, hints, x, context, 0.7, told),
        from_tokens(found, 3),
        model.network(x, T[:1], context),
    )


def test_a_union_of_flux_must_be_told(tmp_path):
    network = built(tensors_of(flux_control(modes=7)), tmp_path, "flux")
    for kind in ("Unknown", "Normal Map"):
        with pytest.raises(
            InputError, match=f"union_control_type is {kind}, .* Choose one of Hard Edge, .* Low Quality"
        ):
            network.told(kind, "union_control_type")
    assert network.by_type["Canny"] == "Hard Edge" and network.by_type["Recolor"] == "Gray"


@torch.inference_mode()
def test_xlabs_residuals_take_turns(models, tmp_path):
    model, _ = models["flux"]
    network = built(xlabs(tensors_of(flux_control(xlabs=True))), tmp_path, "flux").beside(model)
    runs = built(tensors_of(flux_control()), tmp_path, "flux").beside(model)
    a, b, c = (torch.ones(1, 1, 1) * value for value in (1, 2, 3))
    network.backbone = runs.backbone = type(
        "Six", (), {"transformer_blocks": range(5), "single_transformer_blocks": ()}
    )
    assert numbers(network.placed(Residuals(blocks=(a, b)))) == [1, 2, 1, 2, 1]
    assert numbers(runs.placed(Residuals(blocks=(a, b, c)))) == [1, 1, 2, 2, 3]


@torch.inference_mode()
def test_flux_leaves_pictures_to_go_by_alone(models, tmp_path):
    model, _ = models["flux"]
    network = built(tensors_of(flux_control()), tmp_path, "flux").beside(model)
    x, hints, reference = some(1, 16, 6, 8), torch.rand(1, 3, 48, 64), some(1, 16, 4, 4, seed=2)
    told = model.network.told(guidance=3.5, references=[reference])
    context = model.prompts.encode(TEXTS[:1])
    unit = WorkingUnit(
        unit=ControlUnit.model_validate({"model": "x"}), network=network, hints=network.prepared(hints, model), cell=1
    )
    plain = told(x, T[:1], context)
    with model.network.adding(TokenUnits([unit], View(), Clock(), 8)):  # told's copy heeds what is added to the first
        found = told(x, T[:1], context)
    assert (found - plain).abs().max() > 1e-3
    assert torch.equal(told(x, T[:1], context), plain)


@pytest.mark.parametrize("inpaint", [False, True])
@torch.inference_mode()
def test_qwen_image_gives_what_diffusers_gives(models, tmp_path, inpaint):
    model, theirs = models["qwen-image"]
    module = qwen_control(inpaint=inpaint)
    network = built(tensors_of(module), tmp_path, "qwen-image")
    x, hints = some(1, 16, 6, 8), torch.rand(1, 3, 48, 64)
    hints[:, :, :8, :8] = -1 if inpaint else 0.5
    context = model.prompts.encode(TEXTS[:1])
    shown = latents(model, hints.clamp(min=0))
    if inpaint:
        kept = torch.ones(1, 1, 6, 8)
        kept[:, :, 0, 0] = 0
        shown = torch.cat([shown, kept], 1)
    given: dict[str, Any] = {
        "encoder_hidden_states": text_rows(context)[0][None],
        "timestep": T[:1] / 1000,
        "img_shapes": [[(1, 3, 4)]],
    }
    blocks = module(to_tokens(x), to_tokens(shown), 0.7, **given, return_dict=False)
    found = theirs(to_tokens(x), **given, controlnet_block_samples=blocks).sample
    close(controlled(model, network, hints, x, context, 0.7), from_tokens(found, 3), model.network(x, T[:1], context))


@pytest.mark.parametrize("version", ["1", "2.0", "2.0 file", "2.1", "2.1 masked"])
@torch.inference_mode()
def test_z_image_gives_what_diffusers_gives(models, tmp_path, version):
    """Two texts of unequal length. The file of 2.0 holds refiners that were never trained."""
    model, theirs = models["z-image"]
    module = z_image_control(version[:3].strip())
    tensors = tensors_of(module)
    if version == "2.0 file":
        refiners = tensors_of(z_image_control("2.1").control_noise_refiner)
        zero = {"0.before_proj.weight": torch.zeros(256, 256), "0.before_proj.bias": torch.zeros(256)}
        tensors |= {f"control_noise_refiner.{name}": value for name, value in {**refiners, **zero}.items()}
    network = built(tensors, tmp_path, "z-image")
    x, hints = some(2, 16, 6, 8), torch.rand(1, 3, 48, 64)
    context = model.prompts.encode(["a star", "a red fox in the snow, and more"])
    rows = [*text_rows(context)]
    shown = latents(model, hints)
    if version == "2.1 masked":
        hints[:, :, :8, :8] = -1
        grey = hints.clone()
        grey[:, :, :8, :8] = 0.5
        kept = torch.ones(1, 1, 6, 8)
        kept[:, :, 0, 0] = 0
        shown = torch.cat([torch.zeros(1, 16, 6, 8), kept, latents(model, grey)], 1)
    elif version != "1":
        shown = torch.cat([shown, torch.zeros(1, 17, 6, 8)], 1)
    module = type(module).from_transformer(module, theirs)
    images = [*x[:, :, None]]
    blocks = module(images, 1 - T / 1000, rows, [shown[0, :, None]] * 2, conditioning_scale=0.7)
    found = theirs(images, 1 - T / 1000, rows, controlnet_block_samples=blocks).sample
    expected = -torch.stack([*found])[:, :, 0]
    close(controlled(model, network, hints, x, context, 0.7), expected, model.network(x, T, context))
    assert not any("t_embedder" in name for name, _ in network.module.named_parameters())
    assert network.module.t_embedder is None


def test_layers_of_z_image_are_told_by_their_number(models, tmp_path):
    network = built(tensors_of(z_image_control("1")), tmp_path, "z-image")
    six: Any = SimpleNamespace(backbone=SimpleNamespace(layers=range(6)))
    placed = network.beside(six).placed(Residuals(blocks=(torch.ones(1), torch.zeros(1))))
    assert numbers(placed) == [1, None, None, 0, None, None]
    (tmp_path / "config.json").write_text('{"_class_name": "ZImageControlNetModel", "control_layers_places": [0, 4]}')
    told = built(tensors_of(z_image_control("1")), tmp_path, "z-image").beside(six)
    assert told.placed(Residuals(blocks=(torch.ones(1), torch.zeros(1)))).blocks[4] is not None


def parts(family):
    return {
        "sd3": lambda: sd3_control_named(sd3_control()),
        "flux": lambda: tensors_of(flux_control()),
        "qwen-image": lambda: tensors_of(qwen_control()),
        "z-image": lambda: tensors_of(z_image_control("1")),
    }[family]()


@pytest.mark.parametrize("family", ["sd3", "flux", "qwen-image", "z-image"])
@torch.inference_mode()
def test_odd_sizes_regions_and_several(models, tmp_path, family):
    """Sides that are no whole tokens; a mask of nothing adds nothing, of everything all, of half something else; two units add up."""
    model, _ = models[family]
    network = built(parts(family), tmp_path, family).beside(model)
    x, hints = some(1, 16, 5, 7), torch.rand(1, 3, 40, 56)
    context, t = model.prompts.encode(TEXTS[:1]), T[:1]
    half = torch.zeros(1, 1, 40, 56)
    half[..., :28] = 1

    def masked(mask):
        return controlled(model, network, hints, x, context, mask=mask)

    plain, whole = model.network(x, t, context), controlled(model, network, hints, x, context)
    assert torch.equal(masked(torch.ones_like(half)), whole)
    assert torch.equal(masked(torch.zeros_like(half)), plain)
    assert all((masked(half) - other).abs().max() > 1e-4 for other in (plain, whole))
    unit = ControlUnit.model_validate({"model": "x", "weight": 0.5})
    shown = network.prepared(hints, model)
    two = [WorkingUnit(unit=unit, network=network, hints=shown, cell=network.cell)] * 2
    with model.network.adding(TokenUnits(two, View(), Clock(), 8)):
        torch.testing.assert_close(model.network(x, t, context), whole, atol=1e-4, rtol=1e-4)
    assert torch.equal(model.network(x, t, context), plain)


@torch.inference_mode()
def test_where_the_control_is_more_important_it_leaves_the_negative_prompt_alone(models, tmp_path):
    model, _ = models["qwen-image"]
    network = built(parts("qwen-image"), tmp_path, "qwen-image").beside(model)
    x, hints, context = some(2, 16, 6, 8), torch.rand(1, 3, 48, 64), model.prompts.encode(TEXTS)
    unit = ControlUnit.model_validate({"model": "x", "control_mode": 2})
    working = WorkingUnit(unit=unit, network=network, hints=network.prepared(hints, model), cell=1)
    view, plain = View(), model.network(x, T, context)
    view.tell([0, 0], guided=1)
    with model.network.adding(TokenUnits([working], view, Clock(), 8)):
        found = model.network(x, T, context)
    assert torch.equal(found[1], plain[1])
    assert (found[0] - plain[0]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("family", "change", "said"),
    [
        ("sd3", "context_embedder", "joint_attention_dim is 8; that of .* has 160"),
        ("flux", "context_embedder", "joint_attention_dim is 8; that of .* has 32"),
        ("qwen-image", "txt_in", "joint_attention_dim is 8; that of .* has 256"),
    ],
)
def test_another_size_is_refused(models, tmp_path, family, change, said):
    tensors = parts(family)
    tensors[f"{change}.weight"] = tensors[f"{change}.weight"][:, :8]
    if family == "qwen-image":
        tensors["txt_norm.weight"] = tensors["txt_norm.weight"][:8]
    network = built(tensors, tmp_path, family)
    path = tmp_path / "control.safetensors"
    control = LoadedControl(name="small", kind=kind_of(shapes_of(path).shapes, path), network=network)
    with pytest.raises(InputError, match=f'"small", made beside a transformer whose {said}'):
        check_sizes(control, "control.0.model", models[family][0])
    check_sizes(
        LoadedControl(name="x", kind=control.kind, network=built(parts(family), tmp_path, family)),
        "m",
        models[family][0],
    )


def test_what_does_not_fit_is_named(models, tmp_path):
    for family in TOKEN_BUILDERS:
        tensors = parts(family)
        gone = next(name for name in tensors if "attn" in name or "attention" in name)
        with pytest.raises(ModelFileError, match=f"lacks the weights {gone}"):
            built({name: value for name, value in tensors.items() if name != gone}, tmp_path, family)
        path = tmp_path / "control.safetensors"
        others = [other for other in models if other != family]
        with pytest.raises(InputError, match="is of the family"):
            check_family("x", kind_of(shapes_of(path).shapes, path), "control.0.model", models[others[0]][0])
    save_file({"controlnet_blocks.0.x_rms.weight": torch.ones(4), "img_in.weight": torch.ones(4, 4)}, path)
    with pytest.raises(ModelFileError, match="DiffSynth's block-wise layout"):
        kind_of(shapes_of(path).shapes, path)
