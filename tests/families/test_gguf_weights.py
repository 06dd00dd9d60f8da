"""Packed weights: unpacked as ggml's own reference does, kept packed in linear layers, drawn with through the whole engine."""

from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from modules.core.errors import ModelFileError
from modules.families import z_image
from modules.families.assembly import filled
from modules.families.gguf_weights import GgmlCodec, read_gguf_weights
from modules.families.ldm_keys import VAE
from modules.families.packed import PackedTensor
from modules.families.source import BACKBONE, text_prefix
from modules.families.weights import read_weights, shapes_of
from modules.library.gguf import TYPES
from tests.families.test_z_image import Tiny
from tests.families.tiny_language import COMPUTE, drawing, ldm_vae, named, picture, source
from tests.library.test_gguf import values, write
from tests.tiny_t5 import t5_tensors, tiny_t5

KIND = gguf.GGMLQuantizationType
CPU = torch.device("cpu")
PACKED = [number for number, (_, block, _) in TYPES.items() if block > 1]
T5_NAMES = {
    "shared.": "token_embd.",
    "encoder.final_layer_norm.": "enc.output_norm.",
    "encoder.block.": "enc.blk.",
    ".layer.0.SelfAttention.relative_attention_bias.": ".attn_rel_b.",
    ".layer.0.SelfAttention.": ".attn_",
    ".layer.0.layer_norm.": ".attn_norm.",
    ".layer.1.DenseReluDense.wi_0.": ".ffn_gate.",
    ".layer.1.DenseReluDense.wi_1.": ".ffn_up.",
    ".layer.1.DenseReluDense.wo.": ".ffn_down.",
    ".layer.1.layer_norm.": ".ffn_norm.",
}
QWEN_NAMES = {
    "model.embed_tokens.": "token_embd.",
    "model.norm.": "output_norm.",
    "model.layers.": "blk.",
    ".self_attn.q_proj.": ".attn_q.",
    ".self_attn.k_proj.": ".attn_k.",
    ".self_attn.v_proj.": ".attn_v.",
    ".self_attn.o_proj.": ".attn_output.",
    ".self_attn.q_norm.": ".attn_q_norm.",
    ".self_attn.k_norm.": ".attn_k_norm.",
    ".input_layernorm.": ".attn_norm.",
    ".post_attention_layernorm.": ".ffn_norm.",
    ".mlp.gate_proj.": ".ffn_gate.",
    ".mlp.up_proj.": ".ffn_up.",
    ".mlp.down_proj.": ".ffn_down.",
}


def foreign(tensors, table):
    found = {}
    for name, tensor in tensors.items():
        for ours, theirs in table.items():
            name = name.replace(ours, theirs)
        found[name] = tensor
    return found


def written(path, tensors, kind=KIND.Q8_0, architecture="flux"):
    """A GGUF of these weights: matrices packed where they fill blocks, the rest as it is."""
    block = gguf.GGML_QUANT_SIZES[kind][0]
    packs = {n: t.ndim == 2 and t.shape[1] % block == 0 and min(t.shape) > 1 for n, t in tensors.items()}
    write(path, {n: (t.float().numpy(), kind if packs[n] else KIND.F32) for n, t in tensors.items()}, architecture)
    return path


def random_rows(number, rows=4, columns=512):
    """Packed rows of random bits whose float16 factors are small numbers."""
    _, block, size = TYPES[number]
    data = np.random.default_rng(number).integers(0, 256, (rows, columns // block, size), dtype=np.uint8)
    data[..., 1::2] &= 0x3B if size < 40 else 0xFF
    places = {10: (80, 82), 11: (108,), 12: (0, 2), 13: (0, 2), 14: (208,), 23: (0,)}.get(number, (0, 2))
    for place in places:
        data[..., place : place + 2] = np.frombuffer(np.float16(0.25).tobytes(), np.uint8)
    return data.reshape(rows, -1)


@pytest.mark.parametrize("number", PACKED, ids=lambda number: TYPES[number][0])
def test_unpacked_as_ggmls_reference_does(number):
    rows = random_rows(number)
    wanted = gguf.dequantize(rows, KIND(number))
    found = GgmlCodec(number).unpack(torch.from_numpy(rows), 512)
    assert np.isfinite(wanted).all()
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6, atol=1e-6)


@pytest.fixture(params=[True, False], ids=["inference", "plain"])
def packed(request):
    rows = torch.from_numpy(random_rows(8, rows=12, columns=64))
    with torch.inference_mode(request.param):
        yield PackedTensor(rows, GgmlCodec(8), 64, torch.float32)


def test_rows_stay_packed_and_the_rest_unpacks(packed):
    plain = packed.unpacked()
    parts = [*packed.chunk(3), *packed.split([3, 9]), packed[2:5], torch.cat([packed[:4], packed[8:]]), packed.detach()]
    wanted = [*plain.chunk(3), *plain.split([3, 9]), plain[2:5], torch.cat([plain[:4], plain[8:]]), plain]
    for part, right in zip(parts, wanted, strict=True):
        assert isinstance(part, PackedTensor)
        assert part.shape == right.shape
        assert torch.equal(part.unpacked(), right)
    half = packed.to(torch.float16)
    assert (type(half), half.dtype) == (PackedTensor, torch.float16)
    for found, right in (
        (packed.T, plain.T),
        (packed[:, :5], plain[:, :5]),
        (packed + 1, plain + 1),
        (torch.cat([packed, packed], 1), torch.cat([plain, plain], 1)),
        (packed.reshape(3, 4, 64), plain.reshape(3, 4, 64)),
    ):
        assert not isinstance(found, PackedTensor)
        assert torch.equal(found, right)


def test_linear_layers_keep_them_packed(packed):
    module = nn.Sequential(nn.Linear(64, 12, device="meta"), nn.Embedding(12, 64, device="meta"))
    bias = torch.ones(12)
    found: Any = filled(module, {"0.weight": packed, "0.bias": bias, "1.weight": packed}, CPU, torch.float32)
    assert isinstance(found[0].weight, PackedTensor)
    assert not isinstance(found[1].weight, PackedTensor)
    x = torch.randn(2, 64)
    torch.testing.assert_close(found[0](x), nn.functional.linear(x, packed.unpacked(), bias))
    torch.testing.assert_close(found[1](torch.tensor([3])), packed.unpacked()[[3]])
    assert isinstance(module.to(torch.float32)[0].weight, PackedTensor)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return Tiny(tmp_path_factory.mktemp("tokenizer"))


def backbone(tiny):
    return {n.removeprefix(BACKBONE): t for n, t in tiny.tensors.items() if n.startswith(BACKBONE)}


@pytest.mark.parametrize(
    "kind", [KIND.Q8_0, KIND.Q5_0, KIND.Q5_1, KIND.Q4_0, KIND.Q4_1, KIND.BF16], ids=lambda k: k.name
)
@torch.inference_mode()
def test_a_network_is_the_one_of_its_unpacked_weights(tiny, tmp_path, kind):
    weights = read_weights(written(tmp_path / "x.gguf", backbone(tiny), kind))
    plain = {n: t.unpacked() if isinstance(t, PackedTensor) else t for n, t in weights.items()}
    ours, theirs = (z_image.build_backbone(tensors, COMPUTE) for tensors in (weights, plain))
    held = [type(module.weight) for module in ours.modules() if isinstance(module, nn.Linear)]
    assert (PackedTensor in held) == (kind != KIND.BF16)
    x, t, context = torch.randn(1, 16, 8, 8), torch.tensor([500.0]), torch.randn(1, 5, 33)
    context[..., -1] = 1
    found, wanted = (z_image.Network(network)(x, t, context) for network in (ours, theirs))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_text_encoders_of_llama_cpp(tmp_path):
    text = tiny_t5(width=32)
    path = written(tmp_path / "t5.gguf", foreign(t5_tensors(text), T5_NAMES), architecture="t5encoder")
    weights = read_gguf_weights(path)
    assert weights.keys() == t5_tensors(text).keys()
    assert isinstance(weights["encoder.block.0.layer.0.SelfAttention.q.weight"], PackedTensor)
    other = written(tmp_path / "llama.gguf", {"blk.0.attn_q.weight": torch.zeros(4, 4)}, architecture="llama")
    with pytest.raises(ModelFileError, match='language model "llama"'):
        shapes_of(other)


def test_a_picture_of_three_files(tiny, tmp_path, monkeypatch):
    models = tmp_path / "two" / "models"
    for folder in ("unet", "VAE", "text_encoder"):
        (models / folder).mkdir(parents=True)
    written(models / "unet/tiny.gguf", backbone(tiny), KIND.Q8_0)
    save_file(ldm_vae(tiny.vae), models / "VAE/ae.safetensors")
    text = {f"model.{name}": value for name, value in named(tiny.text).items()}
    written(models / "text_encoder/qwen_3_4b.gguf", foreign(text, QWEN_NAMES), KIND.Q8_0, "qwen3")
    found = picture(drawing(monkeypatch, tmp_path / "two", {}, tiny.tokenizers)())
    plain = {n: t for n, t in tiny.tensors.items() if n.startswith(VAE)}
    files = {BACKBONE: models / "unet/tiny.gguf", text_prefix("qwen3_4b"): models / "text_encoder/qwen_3_4b.gguf"}
    for prefix, file in files.items():
        plain |= {prefix + n: t + 0 for n, t in read_weights(file).items()}
    wanted = picture(drawing(monkeypatch, tmp_path / "one", plain, tiny.tokenizers)())
    assert np.abs(found - wanted).max() <= 1


def test_load_takes_the_shapes_it_stands_for(tiny, tmp_path):
    path = written(tmp_path / "x.gguf", backbone(tiny), KIND.Q4_0)
    weights = read_weights(path)
    assert shapes_of(path).shapes == {name: tuple(tensor.shape) for name, tensor in weights.items()}
    rest = {name: tensor for name, tensor in tiny.tensors.items() if not name.startswith(BACKBONE)}
    whole = {**{BACKBONE + name: tensor for name, tensor in weights.items()}, **rest}
    assert z_image.load(source(whole, **tiny.tokenizers)).family == "z-image"


def test_values(tmp_path):
    """Numbers that are no matrices come out as they went in."""
    tensors = {"a": (values(3, 4, 2), KIND.F16), "b": (values(5), KIND.F32), "c": (values(2, 64), KIND.Q8_0)}
    found = read_gguf_weights(write(tmp_path / "x.gguf", tensors))
    assert np.array_equal(found["a"].float().numpy(), tensors["a"][0].astype(np.float16).astype(np.float32))
    assert np.array_equal(found["b"].numpy(), tensors["b"][0])
    assert np.abs((found["c"] + 0).numpy() - tensors["c"][0]).max() < 0.05
