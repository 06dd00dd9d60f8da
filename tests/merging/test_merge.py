"""A1111's methods on small checkpoints, against the formulas written out."""

import json

import pytest
import torch

from modules.core.errors import AtelierError, InputError, ModelFileError
from modules.library.header import read_header
from modules.merging.recipe import merge_metadata
from modules.merging.sources import open_vae
from modules.requests.merge import MergeRequest, make_file_request
from tests.merging.files import Folder, T, U, V, merged, tensors

IN, OUT = f"{U}input_blocks.3.0.in_layers.2.weight", f"{U}output_blocks.2.0.in_layers.2.weight"
AB = {"primary_model_name": "a", "secondary_model_name": "b"}
ABC = {**AB, "tertiary_model_name": "c", "interp_method": "Add difference"}
ALONE = {"primary_model_name": "a", "interp_method": "No interpolation"}


@pytest.fixture
def folder(tmp_path):
    found = Folder(tmp_path)
    for seed, name in enumerate("abc"):
        found.add(f"{name}.safetensors", tensors(seed), {"note": name, f"of_{name}": "yes"})
    return found


def test_weighted_sum(folder):
    result, a, b = merged(folder.merge(**AB, multiplier=0.25)), tensors(0), tensors(1)
    assert result.keys() == a.keys()
    for name in (IN, OUT, f"{V}decoder.conv_in.weight", f"{T}embeddings.token_embedding.weight"):
        assert torch.equal(result[name], 0.75 * a[name] + 0.25 * b[name])
    assert torch.equal(result["alphas_cumprod"], a["alphas_cumprod"])  # no part of a model: A1111 leaves it
    assert torch.equal(result[f"{T}embeddings.position_ids"], a[f"{T}embeddings.position_ids"])
    assert torch.equal(merged(folder.merge(**AB, multiplier=0))[IN], a[IN])


def test_add_difference_and_what_c_lacks(folder):
    a, b, c = (tensors(seed) for seed in range(3))
    assert torch.equal(merged(folder.merge(**ABC, multiplier=0.5))[IN], a[IN] + 0.5 * (b[IN] - c[IN]))
    del c[IN], b[OUT]
    folder.add("b.safetensors", b)
    folder.add("c.safetensors", c)
    result = merged(folder.merge(**ABC, multiplier=0.5))
    assert torch.equal(result[IN], a[IN])
    assert torch.equal(result[OUT], a[OUT])


def test_precisions(folder):
    a, b = tensors(0), tensors(1)
    exact = 0.7 * a[IN].float() + 0.3 * b[IN].float()
    for precision, dtype in (("fp32", torch.float32), ("fp16", torch.float16), ("bf16", torch.bfloat16)):
        result = merged(folder.merge(**AB, precision=precision))
        assert torch.equal(result[IN], exact.to(dtype))
        assert result["alphas_cumprod"].dtype == torch.float32
    eight = merged(folder.merge(**AB, precision="fp8_e4m3fn"))
    assert torch.equal(eight[IN].float(), exact.to(torch.float8_e4m3fn).float())
    assert {eight[f"{V}decoder.conv_in.weight"].dtype, eight[f"{U}out.2.bias"].dtype} == {torch.float16}
    assert merged(folder.merge(**ALONE, save_as_half=True))["alphas_cumprod"].dtype == torch.float16
    folder.add("a.safetensors", eight)
    again = merged(folder.merge(**AB, multiplier=0))
    assert torch.equal(again[IN].float(), eight[IN].float())
    folder.add("a.safetensors", {IN: torch.tensor([[1e6, -1e6]])})
    huge = merged(folder.merge(**ALONE, precision="fp8_e4m3fn"))
    assert huge[IN].float().tolist() == [[448, -448]]


def test_channels_that_only_a_has(folder):
    first = f"{U}input_blocks.0.0.weight"
    for channels, words in ((9, "inpainting"), (8, "instruct-pix2pix")):
        a, b = tensors(0, channels=channels), tensors(1)
        folder.add("a.safetensors", a)
        merge = folder.merge(**AB)
        assert merge.extra == words
        result = merged(merge)[first]
        assert torch.equal(result[:, :4], 0.7 * a[first][:, :4] + 0.3 * b[first])
        assert torch.equal(result[:, 4:], a[first][:, 4:])
        with pytest.raises(InputError, match=f"only A may be an {words} checkpoint"):
            folder.merge(primary_model_name="b", secondary_model_name="a")
    assert folder.merge(primary_model_name="b", secondary_model_name="c").extra == ""


@pytest.mark.parametrize("inputs", [12, 9])
def test_block_weights(folder, inputs):
    for seed, name in enumerate("ab"):
        folder.add(f"{name}.safetensors", tensors(seed, inputs=inputs))
    a, b, count = tensors(0, inputs=inputs), tensors(1, inputs=inputs), 2 * inputs + 1
    weights = [i / 100 for i in range(count)]
    places = {
        f"{U}time_embed.0.weight": 0,
        f"{U}input_blocks.0.0.weight": 0,
        IN: 3,
        f"{U}middle_block.1.proj_in.weight": inputs,
        OUT: inputs + 3,
        f"{U}out.2.bias": count - 1,
    }
    text = ",".join(map(str, weights))
    for given, base in ((text, 0.3), (f"0.9,{text}", 0.9)):
        result = merged(folder.merge(**AB, block_weights=given))
        for name, place in places.items():
            w = weights[place]
            assert torch.equal(result[name], (1 - w) * a[name] + w * b[name]), name
        name = f"{T}embeddings.token_embedding.weight"
        assert torch.equal(result[name], (1 - base) * a[name] + base * b[name])
    result = merged(folder.merge(**AB, block_weights="grad_v"))
    middle = f"{U}middle_block.1.proj_in.weight"
    assert torch.equal(result[middle], a[middle])
    assert torch.equal(result[f"{U}out.2.bias"], b[f"{U}out.2.bias"])
    with pytest.raises(InputError, match=f"have {count} blocks"):
        folder.merge(**AB, block_weights=",".join(["0"] * (44 - count)))


def test_vae_is_baked_and_weights_discarded(folder):
    name = f"{V}decoder.conv_in.weight"
    vae = {
        name.removeprefix(V): torch.full((4, 4), 2.0),
        "post_quant_conv.weight": torch.ones(4, 4, 1, 1),
        "loss": torch.ones(1),
    }
    path = folder.add("good.safetensors", vae, kind="VAE")
    result = merged(
        folder.merge(open_vae(path), **AB, save_as_half=True, discard_weights=r"^cond_|output_blocks\.[1-9]")
    )
    assert torch.equal(result[name], torch.full((4, 4), 2.0).half())
    assert not any(key.startswith("cond_") or key == OUT for key in result)
    assert f"{V}loss" not in result
    assert folder.merge(open_vae(path), **ALONE, discard_weights="").names
    wrong = folder.add("wrong.safetensors", {**vae, name.removeprefix(V): torch.ones(5, 4)}, kind="VAE")
    with pytest.raises(InputError, match=r"is \(5, 4\) in the VAE"):
        folder.merge(open_vae(wrong), **AB)
    with pytest.raises(ModelFileError, match=r'"b.safetensors" is no VAE|no VAE'):
        open_vae(folder.add("lora.safetensors", {"lora_x.alpha": torch.ones(1)}, kind="VAE"))
    with pytest.raises(InputError, match="nothing would be left"):
        folder.merge(**AB, discard_weights=".")


def test_pickles_and_early_names_are_read(folder):
    old = {name.replace("text_model.", ""): tensor for name, tensor in tensors(0).items()}
    folder.add("old.ckpt", old)
    result = merged(folder.merge(primary_model_name="old", secondary_model_name="b", multiplier=0))
    assert result.keys() == tensors(0).keys()
    assert torch.equal(result[IN], tensors(0)[IN])


def wrong_sources(folder):
    folder.add("small.safetensors", {**tensors(1), IN: torch.ones(2, 2)})
    folder.add("lora.safetensors", {"lora_unet_x.lora_up.weight": torch.ones(2, 2)})
    xl = tensors(3)
    del xl[f"{T}embeddings.token_embedding.weight"]
    xl |= {f"{U}label_emb.0.0.weight": torch.ones(2), "conditioner.embedders.0.model.ln_final.weight": torch.ones(2)}
    folder.add("xl.safetensors", xl)
    folder.add("half.safetensors", tensors(0)).write_bytes(b"\x00" * 100)
    folder.add("page.ckpt", {}).write_bytes(b"<html>login</html>")
    return {
        "small": "do not fit together: model.diffusion_model.input_blocks.3",
        "lora": "of different families, Stable Diffusion 1.x and something else",
        "xl": "of different families, Stable Diffusion 1.x and Stable Diffusion XL",
        "half": "half.safetensors",
        "page": "is a web page, not a model",
    }


def test_what_does_not_fit_is_refused_in_a_sentence(folder):
    for name, words in wrong_sources(folder).items():
        with pytest.raises(AtelierError) as caught:
            folder.merge(primary_model_name="a", secondary_model_name=name)
        assert words in caught.value.message
        assert caught.value.message.endswith(".")
        assert "\n" not in caught.value.message


def test_metadata_of_merges_of_merges(folder):
    def metadata(**values):
        request = make_file_request(MergeRequest, values)
        sources = tuple(folder.source(name) for name in request.names)
        return merge_metadata(request, sources, folder.merge(**values))

    first = metadata(**AB, metadata_json='{"mine": [1, 2], "format": "x", "text": "t"}')
    assert {**first, "sd_merge_recipe": "", "sd_merge_models": ""} == {
        "note": "b",
        "of_a": "yes",
        "of_b": "yes",
        "mine": "[1, 2]",
        "text": "t",
        "format": "pt",
        "sd_merge_recipe": "",
        "sd_merge_models": "",
    }
    assert metadata(**AB, copy_metadata_fields=False, add_merge_recipe=False) == {"format": "pt"}
    assert metadata(**AB, save_metadata=False, metadata_json="no json") == {"format": "pt"}
    path = folder.add("d.safetensors", tensors(4), first)
    assert read_header(path).metadata["sd_merge_recipe"] == first["sd_merge_recipe"]
    second = metadata(primary_model_name="d", secondary_model_name="c", block_weights="GRAD_A", precision="bf16")
    assert folder.source("d").metadata["note"] == "b"
    recipe, models = json.loads(second["sd_merge_recipe"]), json.loads(second["sd_merge_models"])
    assert (recipe["block_weights"], recipe["precision"], recipe["type"]) == ("GRAD_A", "bf16", "webui")
    assert sorted(entry["name"][0] for entry in models.values()) == ["a", "b", "c", "d"]
    own = next(entry for entry in models.values() if entry["name"] == "d.safetensors")
    assert own["sd_merge_recipe"] == json.loads(first["sd_merge_recipe"])
