"""LoRAs extracted from, merged into and merged with checkpoints of tiny true models, SD 1.x and XL."""

import pytest
import torch
from safetensors.torch import save_file

from modules.core.errors import InputError, ModelFileError
from modules.families import sdxl
from modules.families.ldm_keys import UNET
from modules.merging.extract import Extraction
from modules.merging.lora import Lora, Module, read_lora
from modules.merging.lora_keys import Places
from modules.merging.lora_sum import Baked, LoraSum
from modules.requests.merge import ExtractLoraRequest, make_file_request
from tests.families.test_sdxl import Parts
from tests.merging.files import Folder
from tests.tiny import ldm_tensors, tiny_parts

CPU = torch.device("cpu")
FULL = {"rank": 2048, "conv_rank": 2048, "precision": "fp32"}


@pytest.fixture(scope="module")
def kinds():
    """The tensors of a tiny model of each family."""
    return {"sd1": ldm_tensors(tiny_parts()), "xl": dict(Parts(refiner=False).tensors)}


@pytest.fixture
def folder(tmp_path, kinds):
    """base and tuned of each family: tuned differs in all that a LoRA can hold, and `odd` in a norm besides."""
    found = Folder(tmp_path)
    generator = torch.Generator().manual_seed(7)
    for kind, base in kinds.items():
        tuned = dict(base)
        for place in Places(base, kind).written.values():
            value = tuned[place.key]
            noise = torch.randn(value.shape, generator=generator)
            tuned[place.key] = value + 0.05 * value.std() * noise
        odd = {**tuned, f"{UNET}out.0.weight": tuned[f"{UNET}out.0.weight"] + 1}
        for name, tensors in (("base", base), ("tuned", tuned), ("odd", odd)):
            found.add(f"{kind}-{name}.safetensors", {n: t.contiguous() for n, t in tensors.items()})
    return found


def extracted(folder, kind, tuned="tuned", **values):
    names = {"tuned_model_name": f"{kind}-{tuned}", "base_model_name": f"{kind}-base"}
    request = make_file_request(ExtractLoraRequest, {**names, **FULL, **values})
    return Extraction(request, folder.source(f"{kind}-{tuned}"), folder.source(f"{kind}-base"), CPU)


def written(folder, name, made, metadata):
    forms = made.forms()
    tensors = {key: made.tensor(key) for key in forms}
    assert {key: (tensor.dtype, tuple(tensor.shape)) for key, tensor in tensors.items()} == forms
    path = folder.add(f"{name}.safetensors", {k: t.contiguous() for k, t in tensors.items()}, metadata, kind="Lora")
    return read_lora(path, name)


def result(baked):
    assert all(baked.tensor(key).dtype == form[0] for key, form in baked.forms().items())
    return {key: baked.tensor(key) for key in baked.forms()}


def far(a, b):
    """The largest difference, relative to each tensor's size."""
    assert a.keys() == b.keys()
    return max(float((a[n] - b[n]).abs().max() / b[n].abs().max().clamp(min=1e-6)) for n in a if b[n].numel())


@pytest.mark.parametrize("kind", ["sd1", "xl"])
def test_extracted_whole_and_merged_back_is_the_tuned_checkpoint(folder, kind):
    found = extracted(folder, kind)
    assert found.others == 0
    lora = written(folder, "x", found, found.metadata("x"))
    base, tuned = folder.source(f"{kind}-base"), folder.source(f"{kind}-tuned")
    baked = Baked(base, [(lora, 1.0)])
    assert baked.left_out == []
    assert far(result(baked), tuned.tensors) < 1e-3
    assert far(base.tensors, tuned.tensors) > 0.02
    assert far(result(Baked(tuned, [(lora, -1.0)])), base.tensors) < 1e-3
    half = extracted(folder, kind, precision="fp16")
    assert far(result(Baked(base, [(written(folder, "h", half, None), 1.0)])), tuned.tensors) < 1e-3


def test_names_and_metadata_are_kohyas(folder):
    found = extracted(folder, "sd1", rank=3, conv_rank=2)
    lora = written(folder, "x", found, found.metadata("x"))
    one = lora.modules["lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"]
    assert (one.rank, one.scale, one.up.shape, one.down.shape) == (3, 1.0, (32, 3), (3, 32))
    conv = lora.modules["lora_unet_down_blocks_0_resnets_0_conv1"]
    assert (conv.up.shape, conv.down.shape) == ((32, 2, 1, 1), (2, 32, 3, 3))
    assert "lora_te_text_model_encoder_layers_1_mlp_fc2" in lora.modules
    assert lora.metadata.items() >= {
        "ss_network_module": "networks.lora", "ss_network_dim": "3", "ss_network_alpha": "3.0",
        "ss_base_model_version": "sd_v1", "ss_network_args": '{"conv_dim": "2", "conv_alpha": "2.0"}',
    }.items()  # fmt: skip
    plain = extracted(folder, "sd1", conv_rank=0, text_encoder=False)
    assert plain.others > 0
    assert {key.split("_")[1] for key in plain.forms()} == {"unet"}
    assert not any("resnets" in key for key in plain.forms())
    xl = extracted(folder, "xl").forms()
    for name in (
        "lora_te1_text_model_encoder_layers_0_mlp_fc1",
        "lora_te2_text_model_encoder_layers_0_self_attn_v_proj",
    ):
        assert f"{name}.alpha" in xl
    assert "lora_unet_input_blocks_3_1_transformer_blocks_1_attn1_to_out_0.alpha" in xl
    assert extracted(folder, "xl").metadata("x")["ss_base_model_version"] == "sdxl_base_v1-0"


def test_what_a_lora_cannot_hold_is_counted(folder):
    assert extracted(folder, "sd1", tuned="odd").others == 1
    with pytest.raises(InputError, match="do not differ in what a LoRA"):
        extracted(folder, "sd1", tuned="base")
    tuned = folder.source("sd1-tuned").tensors
    folder.add("sd1-half.safetensors", {n: t.half().contiguous() for n, t in tuned.items()})
    assert extracted(folder, "sd1", tuned="half").forms().keys() == extracted(folder, "sd1").forms().keys()
    with pytest.raises(InputError, match="of different families"):
        request = make_file_request(ExtractLoraRequest, {"tuned_model_name": "a", "base_model_name": "b"})
        Extraction(request, folder.source("sd1-tuned"), folder.source("xl-base"), CPU)


def two(folder, kind):
    """Two LoRAs of different ranks, layers and scales."""
    first = extracted(folder, kind, rank=4, conv_rank=3)
    a = written(folder, "a", first, first.metadata("a"))
    generator = torch.Generator().manual_seed(5)
    modules = {}
    for name, module in list(a.modules.items())[::2]:
        out, *into = module.shape
        down = torch.randn((2, *into), generator=generator) / 10
        up = torch.randn((out, 2, *(1,) * (len(into) - 1)), generator=generator) / 10
        modules[name] = Module(up=up, down=down, middle=None, scale=0.5)
    return a, Lora(name="b", modules=modules, metadata={})


@pytest.mark.parametrize("kind", ["sd1", "xl"])
def test_two_into_a_checkpoint_is_their_sum_into_it(folder, kind):
    pair = list(zip(two(folder, kind), (0.7, -0.4), strict=True))
    base = folder.source(f"{kind}-base")
    summed = LoraSum(pair, 0, "fp32")
    lora = written(folder, "sum", summed, summed.metadata("sum"))
    expected = result(Baked(base, pair))
    assert far(result(Baked(base, [(lora, 1.0)])), expected) < 1e-5
    assert far(expected, base.tensors) > 1e-2
    whole = LoraSum(pair, 2048, "fp16")
    assert far(result(Baked(base, [(written(folder, "w", whole, None), 1.0)])), expected) < 1e-3
    ranks = {m.rank for m in written(folder, "s", LoraSum(pair, 2, "fp32"), None).modules.values()}
    assert ranks == {2}
    assert lora.metadata["ss_network_dim"] == "6"


def test_a_shrunk_sum_is_the_nearest(folder):
    pair = [(lora, 1.0) for lora in two(folder, "sd1")]
    name = next(iter(pair[1][0].modules))
    exact, small = (written(folder, str(rank), LoraSum(pair, rank, "fp32"), None).modules[name] for rank in (0, 2))
    weight = [torch.mm(up, down.flatten(1)) * m.scale for m in (exact, small) for up, down in [m.factors()]]
    s = torch.linalg.svdvals(weight[0])
    torch.testing.assert_close((weight[0] - weight[1]).norm(), s[2:].norm(), rtol=1e-3, atol=1e-6)


def test_tucker_cores_and_queries_within_one_matrix():
    generator = torch.Generator().manual_seed(3)
    up, core, down = (torch.randn(s, generator=generator) for s in ((6, 2, 1, 1), (2, 2, 3, 3), (2, 5, 1, 1)))
    module = Module(up=up, down=down, middle=core, scale=0.5)
    b, a = module.factors()
    assert module.shape == (6, 5, 3, 3)
    x = torch.randn(1, 5, 7, 7, generator=generator)
    f = torch.nn.functional
    inner = f.conv2d(f.conv2d(f.conv2d(x, down), core), up)
    torch.testing.assert_close(f.conv2d(x, (b @ a.flatten(1)).reshape(module.shape)), inner, atol=1e-4, rtol=1e-4)


def test_open_clips_queries_keys_and_values_stand_in_one_matrix(kinds, folder):
    lora = written(folder, "x", extracted(folder, "xl"), None)
    key = f"{sdxl.BIG_G}transformer.resblocks.0.attn.in_proj_weight"
    alone = {n: m for n, m in lora.modules.items() if n == "lora_te2_text_model_encoder_layers_0_self_attn_k_proj"}
    base, tuned = folder.source("xl-base"), folder.source("xl-tuned")
    changed = Baked(base, [(Lora(name="k", modules=alone, metadata={}), 1.0)]).tensor(key).chunk(3)
    before, after = base.tensors[key].chunk(3), tuned.tensors[key].chunk(3)
    assert torch.equal(changed[0], before[0])
    assert torch.equal(changed[2], before[2])
    torch.testing.assert_close(changed[1], after[1], atol=1e-4, rtol=1e-4)


OTHERS = {
    "x.hada_w1_a": "a LoHa",
    "x.lokr_w1": "a LoKr",
    "x.oft_blocks": "an OFT network",
    "x.on_input": r"an \(IA\)3 network",
    "x.diff": "a network of full differences",
    "unet.x.lora_A.weight": "a LoRA in diffusers' form",
    "bundle_emb.x.string_to_param.*": "a bundle with a textual inversion",
    "model.weight": "no LoRA",
}


def test_other_kinds_are_refused_by_name(tmp_path):
    plain = {"x.lora_up.weight": torch.ones(4, 2), "x.lora_down.weight": torch.ones(2, 4)}
    path = tmp_path / "l.safetensors"
    for key, words in {**OTHERS, "x.dora_scale": "a DoRA"}.items():
        save_file({key: torch.ones(2, 2), **(plain if "dora" in key else {})}, path)
        with pytest.raises(ModelFileError, match=f'"l.safetensors" is {words} '):
            read_lora(path, "l")
    for tensors, words in (
        ({"x.lora_up.weight": torch.ones(4, 2)}, "lacks a part of x"),
        ({**plain, "x.lora_up.weight": torch.ones(4, 3)}, "do not fit together"),
        ({**plain, "x.lora_mid.weight": torch.ones(3, 3, 3, 3)}, "do not fit together"),
    ):
        save_file(tensors, path)
        with pytest.raises(ModelFileError, match=words):
            read_lora(path, "l")


def test_loras_for_another_model_are_refused(folder):
    (sd1, _), (xl, _) = two(folder, "sd1"), two(folder, "xl")
    with pytest.raises(InputError, match='"a" is for sd_v1 and "a" for sdxl_base_v1-0'):
        LoraSum([(sd1, 1.0), (xl, 1.0)], 0, "fp16")
    with pytest.raises(InputError, match='"a" has no layer that "sd1-base.safetensors" has'):
        Baked(folder.source("sd1-base"), [(xl, 1.0)])
    name = next(iter(sd1.modules))
    wrong = Lora(
        name="w", modules={name: Module(up=torch.ones(5, 1), down=torch.ones(1, 4), middle=None, scale=1)}, metadata={}
    )
    with pytest.raises(InputError, match=r'"w" does not fit "sd1-base.safetensors"'):
        Baked(folder.source("sd1-base"), [(wrong, 1.0)])
    with pytest.raises(ModelFileError, match="has different sizes"):
        LoraSum([(sd1, 1.0), (wrong, 1.0)], 0, "fp16")
    folder.add("net.safetensors", {"double_blocks.0.weight": torch.ones(2, 2)})
    with pytest.raises(ModelFileError, match="has no U-Net of Stable Diffusion"):
        Baked(folder.source("net"), [(sd1, 1.0)])
    more = Lora(name="m", modules={**sd1.modules, "lora_unet_elsewhere": sd1.modules[name]}, metadata={})
    assert Baked(folder.source("sd1-base"), [(more, 1.0)]).left_out == ["lora_unet_elsewhere"]
