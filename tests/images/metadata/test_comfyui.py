"""ComfyUI's graphs: the usual ones of each kind, the editor's file, and graphs that go in circles."""

import json
from typing import Any

import pytest

from modules.images.infotext import parse_infotext
from modules.images.metadata.read import Metadata, read_metadata
from tests.images.metadata.pictures import exif, png


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


PLAIN = {
    "3": node("KSampler", seed=8566257, steps=20, cfg=8, sampler_name="euler", scheduler="normal", denoise=1, model=["4", 0],
              positive=["6", 0], negative=["7", 0], latent_image=["5", 0]),
    "4": node("CheckpointLoaderSimple", ckpt_name="sub/v1-5.safetensors"),
    "5": node("EmptyLatentImage", width=512, height=768, batch_size=1),
    "6": node("CLIPTextEncode", text="a fox", clip=["4", 1]),
    "7": node("CLIPTextEncode", text="blurry", clip=["4", 1]),
    "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
    "9": node("SaveImage", filename_prefix="x", images=["8", 0]),
}  # fmt: skip


def read(graph: Any, **changed: Any) -> Metadata:
    return read_metadata(png(prompt={**graph, **changed}))


def told(graph: Any, **changed: Any) -> tuple[str, str, dict[str, str]]:
    parsed = parse_infotext(read(graph, **changed).infotext)
    return parsed.prompt, parsed.negative_prompt, parsed.fields


def test_the_plain_graph():
    found = read(PLAIN)
    assert (found.program, found.unmapped) == ("ComfyUI", ())
    assert told(PLAIN) == (
        "a fox",
        "blurry",
        {"Steps": "20", "Sampler": "Euler", "Schedule type": "Normal", "CFG scale": "8", "Seed": "8566257", "Size": "512x768",
         "Model": "v1-5", "RNG": "CPU", "Version": "ComfyUI"},
    )  # fmt: skip


def test_places():
    text = json.dumps(PLAIN)
    plain = read(PLAIN).infotext
    assert read_metadata(exif("WEBP", t272=f"prompt:{text}", t271='workflow:{"nodes": []}')).infotext == plain
    assert read_metadata(png(prompt=text.replace("1}", "NaN}", 1), workflow="{}")).infotext


def test_loras_clip_skip_and_vae():
    loras = {
        "10": node("LoraLoader", lora_name="a\\one.safetensors", strength_model=0.8, strength_clip=0.8, model=["4", 0], clip=["11", 0]),
        "11": node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["4", 1]),
        "12": node("LoraLoader", lora_name="two.safetensors", strength_model=1, strength_clip=0.5, model=["10", 0], clip=["10", 1]),
        "13": node("Power Lora Loader (rgthree)", lora_1={"on": True, "lora": "three.safetensors", "strength": 0.3},
                   lora_2={"on": False, "lora": "off.safetensors", "strength": 1}, model=["12", 0], clip=["12", 1]),
        "14": node("VAELoader", vae_name="ema.safetensors"),
        "15": node("FreeU_V2", b1=1.3, b2=1.4, s1=0.9, s2=0.2, model=["13", 0]),
    }  # fmt: skip
    sampler = {**PLAIN["3"]["inputs"], "model": ["15", 0], "sampler_name": "dpmpp_2m_sde_gpu", "scheduler": "karras"}
    prompt, _, fields = told(
        {**PLAIN, **loras},
        **{"3": node("KSampler", **sampler), "6": node("CLIPTextEncode", text="a fox", clip=["13", 1])},
    )
    assert prompt == "a fox <lora:one:0.8> <lora:two:0.5:1> <lora:three:0.3>"
    assert (fields["Clip skip"], fields["VAE"], fields["Sampler"]) == ("2", "ema.safetensors", "DPM++ 2M SDE")
    assert (fields["Schedule type"], fields["Restarted noise"], fields["Model"]) == ("Karras", "True", "v1-5")
    assert (fields["freeu_enabled"], fields["freeu_b1"], fields["freeu_version"]) == ("True", "1.3", "2")


FLUX = {
    "6": node("CLIPTextEncode", text=["50", 0], clip=["11", 0]),
    "8": node("VAEDecode", samples=["13", 0], vae=["10", 0]),
    "9": node("SaveImage", images=["8", 0]),
    "10": node("VAELoader", vae_name="ae.safetensors"),
    "11": node("DualCLIPLoader", clip_name1="t5xxl_fp16.safetensors", clip_name2="clip_l.safetensors", type="flux"),
    "12": node("UNETLoader", unet_name="flux1-dev.safetensors", weight_dtype="default"),
    "13": node("SamplerCustomAdvanced", noise=["25", 0], guider=["22", 0], sampler=["16", 0], sigmas=["17", 0], latent_image=["27", 0]),
    "16": node("KSamplerSelect", sampler_name="euler"),
    "17": node("BasicScheduler", scheduler="simple", steps=20, denoise=1, model=["30", 0]),
    "22": node("BasicGuider", model=["30", 0], conditioning=["26", 0]),
    "25": node("RandomNoise", noise_seed=["51", 0]),
    "26": node("FluxGuidance", guidance=3.5, conditioning=["6", 0]),
    "27": node("EmptySD3LatentImage", width=["52", 0], height=1024, batch_size=2),
    "30": node("ModelSamplingFlux", max_shift=1.15, base_shift=0.5, width=1024, height=1024, model=["12", 0]),
    "50": node("StringConcatenate", string_a="a fox", string_b=["53", 0], delimiter=", "),
    "51": node("PrimitiveInt", value=219670278747233),
    "52": node("PrimitiveInt", value=1344),
    "53": node("PrimitiveStringMultiline", value="in snow"),
}  # fmt: skip


def test_flux():
    prompt, negative, fields = told(FLUX)
    assert (prompt, negative) == ("a fox, in snow", "")
    assert fields == {
        "Steps": "20", "Sampler": "Euler", "Schedule type": "Simple", "CFG scale": "1", "Distilled CFG Scale": "3.5",
        "Seed": "219670278747233", "Size": "1344x1024", "Model": "flux1-dev", "Module 1": "ae.safetensors",
        "Module 2": "t5xxl_fp16.safetensors", "Module 3": "clip_l.safetensors", "Batch size": "2", "RNG": "CPU", "Version": "ComfyUI",
    }  # fmt: skip
    assert read(FLUX).unmapped == (
        "ModelSamplingFlux (max_shift 1.15, base_shift 0.5) has no counterpart here: the model's own shift is used.",
    )


def test_sdxl_with_its_refiner():
    refined = {
        "10": node("KSamplerAdvanced", add_noise="enable", noise_seed=7, steps=25, cfg=8, sampler_name="dpmpp_2m", scheduler="karras",
                   start_at_step=0, end_at_step=20, return_with_leftover_noise="enable", model=["4", 0], positive=["6", 0],
                   negative=["7", 0], latent_image=["5", 0]),
        "11": node("KSamplerAdvanced", add_noise="disable", noise_seed=0, steps=25, cfg=8, sampler_name="dpmpp_2m", scheduler="karras",
                   start_at_step=20, end_at_step=10000, return_with_leftover_noise="disable", model=["12", 0], positive=["6", 0],
                   negative=["7", 0], latent_image=["10", 0]),
        "12": node("CheckpointLoaderSimple", ckpt_name="refiner.safetensors"),
        "6": node("CLIPTextEncodeSDXL", text_g="a fox", text_l="red fur", width=1024, height=1024, clip=["4", 1]),
        "8": node("VAEDecode", samples=["11", 0], vae=["4", 2]),
    }  # fmt: skip
    prompt, _, fields = told(PLAIN, **refined)
    assert prompt == "a fox\nred fur"
    assert (fields["Refiner"], fields["Refiner switch at"], fields["Seed"], fields["Model"]) == (
        "refiner",
        "0.8",
        "7",
        "v1-5",
    )


def test_hires_fix():
    sampler = PLAIN["3"]["inputs"]
    later = {
        "10": node("LatentUpscaleBy", samples=["3", 0], upscale_method="nearest-exact", scale_by=1.5),
        "11": node("KSampler", **{**sampler, "seed": 9, "steps": 12, "denoise": 0.55, "latent_image": ["10", 0]}),
        "8": node("VAEDecode", samples=["11", 0], vae=["4", 2]),
    }
    _, _, fields = told(PLAIN, **later)
    assert (fields["Seed"], fields["Steps"], fields["Size"], fields["Hires upscale"]) == (
        "8566257",
        "20",
        "512x768",
        "1.5",
    )
    assert (fields["Hires steps"], fields["Denoising strength"], fields["Hires upscaler"]) == (
        "12",
        "0.55",
        "Latent (nearest-exact)",
    )
    model = {
        "10": node("VAEEncode", pixels=["12", 0], vae=["4", 2]),
        "12": node("ImageScale", image=["13", 0], upscale_method="bicubic", width=1024, height=1536, crop="disabled"),
        "13": node("ImageUpscaleWithModel", upscale_model=["14", 0], image=["15", 0]),
        "14": node("UpscaleModelLoader", model_name="4x-UltraSharp.pth"),
        "15": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
    }
    _, _, fields = told(PLAIN, **{**later, **model})
    assert (fields["Hires upscaler"], fields["Size"]) == ("4x-UltraSharp", "512x768")


def test_controlnet_combined_prompts_and_a_first_picture():
    more = {
        "10": node("ControlNetApplyAdvanced", positive=["12", 0], negative=["7", 0], control_net=["11", 0], image=["20", 0], strength=0.7,
                   start_percent=0, end_percent=0.6),
        "11": node("ControlNetLoader", control_net_name="canny.safetensors"),
        "12": node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["13", 0]),
        "13": node("CLIPTextEncode", text="a (moon:1.2)", clip=["4", 1]),
        "20": node("LoadImage", image="photo.png"),
        "21": node("VAEEncode", pixels=["20", 0], vae=["4", 2]),
        "3": node("KSampler", **{**PLAIN["3"]["inputs"], "positive": ["10", 0], "negative": ["10", 1], "latent_image": ["21", 0],
                                 "denoise": 0.6}),
    }  # fmt: skip
    found = read(PLAIN, **more)
    parsed = parse_infotext(found.infotext)
    assert (parsed.prompt, parsed.negative_prompt) == ("a fox AND a (moon:1.2)", "blurry")
    assert (
        parsed.fields["ControlNet 0"] == "Module: none, Model: canny, Weight: 0.7, Guidance Start: 0, Guidance End: 0.6"
    )
    assert (parsed.fields["Denoising strength"], parsed.fields["Size"]) == ("0.6", "32x32")
    assert [sentence.split("'")[0].split(",")[0][:20] for sentence in found.unmapped[:3]] == [
        "It was made from a f", "Its ControlNets", "ComfyUI weighs (word",
    ]  # fmt: skip


def test_names_that_are_not_known_and_patches():
    sampler = {**PLAIN["3"]["inputs"], "sampler_name": "new_one", "scheduler": "odd", "model": ["10", 0]}
    found = read(PLAIN, **{"3": node("KSampler", **sampler), "10": node("IPAdapterApply", model=["4", 0], weight=1)})
    assert found.unmapped == (
        'The node "IPAdapterApply" changes the model in a way that has no counterpart here.',
        'Its sampler "new_one" is not known here.',
        'Its scheduler "odd" is not known here.',
    )


WORKFLOW = {
    "nodes": [
        {"id": 3, "type": "KSampler", "widgets_values": [5, "randomize", 20, 7.5, "heun", "karras", 1],
         "inputs": [{"name": "model", "link": 1}, {"name": "positive", "link": 2}, {"name": "negative", "link": 3},
                    {"name": "latent_image", "link": 4}]},
        {"id": 4, "type": "CheckpointLoaderSimple", "widgets_values": ["sd.safetensors"]},
        {"id": 5, "type": "EmptyLatentImage", "widgets_values": [640, 512, 1]},
        {"id": 6, "type": "CLIPTextEncode", "widgets_values": ["a fox"], "inputs": [{"name": "clip", "link": 5}]},
        {"id": 7, "type": "CLIPTextEncode", "widgets_values": ["bad"], "inputs": [{"name": "clip", "link": 5}]},
        {"id": 8, "type": "VAEDecode", "inputs": [{"name": "samples", "link": 7}]},
        {"id": 9, "type": "SaveImage", "inputs": [{"name": "images", "link": 8}]},
    ],
    "links": [[1, 4, 0, 3, 0, "MODEL"], [2, 6, 0, 3, 1, "C"], [3, 7, 0, 3, 2, "C"], [4, 5, 0, 3, 3, "L"], [5, 4, 1, 6, 0, "CLIP"],
              [7, 3, 0, 8, 0, "L"], [8, 8, 0, 9, 0, "I"]],
}  # fmt: skip


def test_the_editors_file_alone():
    parsed = parse_infotext(read_metadata(png(workflow=WORKFLOW)).infotext)
    assert (parsed.prompt, parsed.negative_prompt) == ("a fox", "bad")
    said = {
        key: parsed.fields[key] for key in ("Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model")
    }
    assert said == {"Steps": "20", "Sampler": "Heun", "Schedule type": "Karras", "CFG scale": "7.5", "Seed": "5", "Size": "640x512",
                    "Model": "sd"}  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"prompt": "{broken"}, 'Its text "prompt" holds no valid graph.'),
        ({"prompt": "{}"}, 'Its text "prompt" holds no valid graph.'),
        ({"workflow": '{"nodes": 5}'}, 'Its text "workflow" holds no valid graph.'),
        ({"prompt": {"1": node("LoadImage", image="x")}}, "Its graph has no sampler that is known here."),
    ],
)
def test_graphs_that_are_none(texts, words):
    found = read_metadata(png(**texts))
    assert (found.program, found.infotext, found.unmapped) == ("ComfyUI", "", (words,))
    assert read_metadata(png(prompt="a fox, not JSON")).program == ""


def test_circles_and_crowds_come_to_an_end():
    circle = {key: {**value, "inputs": {name: ["3", 0] for name in ("model", "positive", "negative", "latent_image", "text", "clip",
              "seed", "steps", "cfg", "images", "samples", "sampler_name", "scheduler")}} for key, value in PLAIN.items()}  # fmt: skip
    assert read(circle).program == "ComfyUI"
    texts = {str(n): node("Text Concatenate", text_a=[str(n + 1), 0], text_b=[str(n + 1), 0]) for n in range(100, 400)}
    crowd = {
        **PLAIN,
        **texts,
        "400": node("Text", text="x" * 100),
        "6": node("CLIPTextEncode", text=["100", 0], clip=["4", 1]),
    }
    assert len(told(crowd)[0]) <= 100_000
    chain = {str(n): node("Reroute", x=[str(n + 1), 0]) for n in range(100, 4900)}
    assert read(PLAIN, **chain, **{"8": node("VAEDecode", samples=["100", 0])}).program == "ComfyUI"
