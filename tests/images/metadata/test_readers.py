"""What other programs write, said in A1111's names; and whatever anyone may write, without an error."""

import html
import json
import random

import pytest

from modules.images.infotext import parse_infotext
from modules.images.metadata.read import READERS, Metadata, read_metadata
from modules.images.metadata.reading import Carried
from tests.images.metadata.pictures import exif, png


def fields(found: Metadata) -> dict[str, str]:
    return parse_infotext(found.infotext).fields


@pytest.mark.parametrize(
    ("version", "program"),
    [
        ("v1.10.1", "AUTOMATIC1111"),
        ("f2.0.1v1.10.1-previous-313", "Forge"),
        ("neo", "Forge Neo"),
        ("Fooocus v2.5.5", "Fooocus"),
        ("Atelier 0.1.0", "Atelier"),
        ("ComfyUI", "ComfyUI"),
        ("1234567", "a program that writes as A1111 does"),
    ],
)
def test_a1111s_format_tells_who_wrote_it(version, program):
    text = f"a fox\nSteps: 20, Sampler: Euler, Seed: 5, Version: {version}"
    found = read_metadata(png(parameters=text))
    assert (found.program, found.infotext, found.unmapped) == (program, text, ())


def test_sdnext_and_keys_that_nothing_takes():
    text = "a fox\nSteps: 20, Sampler: Euler a, Seed: 5, App: SD.Next, Pipeline: StableDiffusionPipeline, Operations: txt2img"
    found = read_metadata(png(parameters=text))
    assert (found.program, found.unmapped) == ("SD.Next", ("Nothing here takes: Pipeline.",))


def test_what_img2img_and_hires_fix_write_is_taken():
    text = (
        "a fox\nSteps: 20, Sampler: Euler a, Seed: 5, Denoising strength: 0.5, Mask blur: 4, Inpaint area: Only masked, "
        "Masked area padding: 32, Soft inpainting enabled: True, Hires upscale: 2, Hires upscaler: Latent, Version: v1.10.1"
    )
    assert read_metadata(png(parameters=text)).unmapped == ()


def test_names_of_comfyui_in_a1111s_format():
    text = "a fox\nSteps: 20, Sampler: dpmpp_2m_sde_gpu, Scheduler: karras, Seed: 5, Version: Fooocus v2.5.5"
    found = fields(read_metadata(png(parameters=text, fooocus_scheme="a1111")))
    assert (found["Sampler"], found["Schedule type"]) == ("DPM++ 2M SDE", "Karras")


def test_a_prompt_alone():
    found = read_metadata(png(parameters="only words"))
    assert (found.infotext, found.others) == ("only words", {})


NOVELAI = {
    "prompt": "{{masterpiece}}, fox (red), [blurry sky], 1.5::moon::, -1::cars::",
    "steps": 28, "height": 1216, "width": 832, "scale": 5.0, "uncond_scale": 0.0, "cfg_rescale": 0.2, "seed": 1016281108,
    "n_samples": 1, "noise_schedule": "karras", "sampler": "k_dpmpp_2s_ancestral", "sm": True, "sm_dyn": False,
    "request_type": "PromptGenerateRequest", "uc": "lowres, {bad}", "dynamic_thresholding": False,
}  # fmt: skip


def test_novelai():
    chunks = {
        "Title": "AI generated image",
        "Description": NOVELAI["prompt"],
        "Software": "NovelAI",
        "Source": "Stable Diffusion XL C1E1DE52",
    }
    found = read_metadata(png(**chunks, Comment=NOVELAI))
    assert found.program == "NovelAI"
    parsed = parse_infotext(found.infotext)
    assert parsed.prompt == r"(masterpiece:1.1025), fox \(red\), (blurry sky:0.9524), (moon:1.5), (cars:-1)"
    assert parsed.negative_prompt == "lowres, (bad:1.05)"
    assert parsed.fields == {
        "Steps": "28", "Sampler": "DPM++ 2S a", "Schedule type": "Karras", "CFG scale": "5", "Seed": "1016281108",
        "Size": "832x1216", "Clip skip": "2", "ENSD": "31337", "CFG Rescale phi": "0.2",
    }  # fmt: skip
    assert [sentence.split()[0] for sentence in found.unmapped] == ["SMEA", "Its"]
    webp = read_metadata(
        exif("WEBP", t37510=b"ASCII\0\0\0" + json.dumps({"Comment": json.dumps(NOVELAI), "Description": "x"}).encode())
    )
    assert parse_infotext(webp.infotext) == parsed


def test_novelai_of_the_fourth_version_has_characters():
    people = [{"char_caption": "girl, {hat}", "centers": [{"x": 0.5, "y": 0.5}]}, {"char_caption": "boy"}]
    caption = {"caption": {"base_caption": "two people", "char_captions": people}, "use_coords": False}
    found = read_metadata(png(Software="NovelAI", Comment={**NOVELAI, "sampler": "k_new", "v4_prompt": caption}))
    parsed = parse_infotext(found.infotext)
    assert parsed.prompt == "two people, girl, (hat:1.05), boy"
    assert parsed.fields["Sampler"] == "Euler a"
    assert 'Its sampler "k_new" is not known here: Euler a is taken, as A1111 does.' in found.unmapped


def test_novelai_without_settings():
    found = read_metadata(png(Software="NovelAI", Description="{a fox}", Comment="{broken"))
    assert found.infotext.startswith("(a fox:1.05)\nClip skip: 2, ENSD: 31337, Size: 32x32")
    assert found.unmapped == ("Its Comment holds no valid JSON.",)


INVOKE = {
    "generation_mode": "txt2img", "positive_prompt": "a (red fox)1.3 in snow++, sky- and (tree (old)1.2)-", "negative_prompt": "blurry",
    "width": 512, "height": 768, "seed": 42, "rand_device": "cpu", "cfg_scale": 7.5, "steps": 30, "scheduler": "dpmpp_2m_k",
    "clip_skip": 1, "app_version": "5.4.2", "model": {"key": "x", "hash": "blake3:1", "name": "dreamshaper.safetensors", "base": "sd-1"},
    "loras": [{"model": {"name": "detail"}, "weight": 0.75}, {"lora": {"model_name": "old"}, "weight": "1"}],
}  # fmt: skip


def test_invokeai():
    found = read_metadata(png(invokeai_metadata=INVOKE, invokeai_graph="{}"))
    parsed = parse_infotext(found.infotext)
    assert found.program == "InvokeAI"
    assert parsed.prompt == (
        "a (red fox:1.3) in (snow:1.21), (sky:0.9) and (tree:0.9) (old:1.08) <lora:detail:0.75> <lora:old:1>"
    )
    assert parsed.fields == {
        "Steps": "30", "Sampler": "DPM++ 2M", "Schedule type": "Karras", "CFG scale": "7.5", "Seed": "42", "Size": "512x768",
        "Model": "dreamshaper", "Clip skip": "2", "RNG": "CPU", "Version": "InvokeAI 5.4.2",
    }  # fmt: skip
    assert found.unmapped == ()


def test_invokeai_says_what_it_cannot():
    extra = {
        "controlnets": [{}],
        "scheduler": "new",
        "refiner_model": {"name": "refine"},
        "positive_prompt": '("a", "b").blend(1, 1)',
    }
    found = read_metadata(png(invokeai_metadata={**INVOKE, **extra}))
    assert [sentence.split(" ", 3)[1] for sentence in found.unmapped] == ["was", "scheduler", "refiner", "in"]


OLD_INVOKE = {
    "model": "stable diffusion", "model_weights": "stable-diffusion-1.5", "app_version": "2.3.0",
    "image": {"prompt": [{"prompt": "a fox [ugly] in snow", "weight": 1.0}], "steps": 50, "cfg_scale": 7.5, "height": 512, "width": 640,
              "seed": 9, "type": "txt2img", "sampler": "k_euler_a"},
}  # fmt: skip


def test_old_invokeai():
    for chunks in ({"sd__metadata": OLD_INVOKE}, {"Dream": '"a fox [ugly] in snow" -s 50 -S 9 -W 640 -H 512 -C 7.5 -A k_euler_a'},
                   {"sd__metadata": "{", "Dream": '"a fox [ugly] in snow" -s50 -S9 -W640 -H512 -C7.5 -A k_euler_a'}):  # fmt: skip
        parsed = parse_infotext(read_metadata(png(**chunks)).infotext)
        assert (parsed.prompt, parsed.negative_prompt) == ("a fox in snow", "ugly")
        said = {key: parsed.fields.get(key) for key in ("Steps", "Sampler", "CFG scale", "Seed", "Size", "RNG")}
        assert said == {
            "Steps": "50",
            "Sampler": "Euler a",
            "CFG scale": "7.5",
            "Seed": "9",
            "Size": "640x512",
            "RNG": "CPU",
        }


FOOOCUS = {
    "adm_guidance": "(1.5, 0.8, 0.3)", "base_model": "juggernautXL_v8.safetensors", "base_model_hash": "aeb7e9e689aabbcc", "clip_skip": 2,
    "full_prompt": ["a fox, cinematic"], "guidance_scale": 4, "loras": [["offset.safetensors", 0.1, "abc"]], "metadata_scheme": "fooocus",
    "negative_prompt": "ugly", "performance": "Speed", "prompt": "a fox", "refiner_model": "None", "refiner_switch": 0.5,
    "resolution": "(1152, 896)", "sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras", "seed": "12345", "sharpness": 2, "steps": 30,
    "styles": "['Fooocus V2']", "vae": "Default (model)", "version": "Fooocus v2.5.5",
}  # fmt: skip


def test_fooocus():
    text = json.dumps(FOOOCUS)
    for data in (png(parameters=text, fooocus_scheme="fooocus"), exif("JPEG", t37510=text.encode(), t37500=b"fooocus"),
                 exif("WEBP", t37510=text.encode())):  # fmt: skip
        found = read_metadata(data)
        parsed = parse_infotext(found.infotext)
        assert (found.program, parsed.prompt, parsed.negative_prompt) == ("Fooocus", "a fox <lora:offset:0.1>", "ugly")
        assert parsed.fields == {
            "Steps": "30", "Sampler": "DPM++ 2M SDE", "Schedule type": "Karras", "CFG scale": "4", "Seed": "12345",
            "Size": "1152x896", "Model hash": "aeb7e9e689", "Model": "juggernautXL_v8", "Clip skip": "2", "RNG": "CPU",
            "Version": "Fooocus v2.5.5",
        }  # fmt: skip
        assert "Styles: ['Fooocus V2'] has no counterpart here." in found.unmapped


SWARM = {
    "sui_image_params": {
        "prompt": "a fox", "negativeprompt": "dog", "model": "sub/sd_xl_base_1.0", "seed": 1, "steps": 20, "cfgscale": 7.0,
        "width": 1024, "height": 768, "sampler": "dpmpp_2m", "scheduler": "karras", "loras": ["a", "b.safetensors"],
        "loraweights": ["0.5"], "clipstopatlayer": -2, "initimage": "data", "swarm_version": "0.9.3.1",
    },
    "sui_extra_data": {"date": "2025-01-25"},
}  # fmt: skip


def test_swarmui():
    for data in (png(parameters=SWARM), exif("JPEG", t37510=b"ASCII\0\0\0" + json.dumps(SWARM).encode())):
        found = read_metadata(data)
        parsed = parse_infotext(found.infotext)
        assert (found.program, parsed.prompt) == ("SwarmUI", "a fox <lora:a:0.5> <lora:b:1>")
        assert parsed.negative_prompt == "dog"
        assert parsed.fields == {
            "Steps": "20", "Sampler": "DPM++ 2M", "Schedule type": "Karras", "CFG scale": "7", "Seed": "1", "Size": "1024x768",
            "Model": "sd_xl_base_1.0", "Clip skip": "2", "RNG": "CPU", "Version": "SwarmUI 0.9.3.1",
        }  # fmt: skip
        assert found.unmapped == ("It was made from a first picture, which the file does not hold.",)


DRAW_THINGS = {
    "c": "a fox", "uc": "blurry", "seed": 5, "steps": 8, "scale": 2, "sampler": "DPM++ 2M Karras", "size": "512x768", "strength": 1,
    "model": "sd_v1.5_f16.ckpt", "lora": [{"model": "hyper.ckpt", "weight": 0.5}], "v2": {"seedMode": 2},
}  # fmt: skip


def test_draw_things():
    text = html.escape(json.dumps(DRAW_THINGS))
    xmp = f'<x:xmpmeta><exif:UserComment><rdf:Alt><rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt></exif:UserComment></x:xmpmeta>'
    for data in (png(**{"XML:com.adobe.xmp": xmp}), exif("JPEG", t37510=json.dumps(DRAW_THINGS).encode())):
        found = read_metadata(data)
        parsed = parse_infotext(found.infotext)
        assert (found.program, parsed.prompt, parsed.negative_prompt) == (
            "Draw Things",
            "a fox <lora:hyper:0.5>",
            "blurry",
        )
        assert parsed.fields == {
            "Steps": "8", "Sampler": "DPM++ 2M", "Schedule type": "Karras", "CFG scale": "2", "Seed": "5", "Size": "512x768",
            "Model": "sd_v1.5_f16", "Version": "Draw Things",
        }  # fmt: skip
        assert len(found.unmapped) == 1


def test_json_that_is_nobodys():
    found = read_metadata(png(parameters='{"hello": 1}', prompt="just words"))
    assert (found.program, found.infotext) == ("", "")


PLACES = ("parameters", "prompt", "workflow", "Comment", "Description", "Software", "invokeai_metadata", "sd-metadata", "Dream",
          "fooocus_scheme", "xmp comment", "exif comment", "exif Make", "exif Model", "comment", "Source")  # fmt: skip
PIECES = ["{", "}", "[", "]", '"', ",", ":", "NovelAI", "fooocus", "prompt:", "Steps: 1, Seed: 2, Sampler: x", "null", "1e999", "NaN",
          "-S", "\\", "(", ")", "++", "::", "1.5::", "漢", " ", "\n"]  # fmt: skip
KEYS = ("class_type", "inputs", "image", "prompt", "seed", "model", "positive", "text", "nodes", "links", "loras", "sampler", "uc",
        "scale", "resolution", "width", "height", "steps", "latent_image", "samples", "clip", "1", "2", "v4_prompt", "performance",
        "styles", "c", "sampler", "sui_image_params", "lora", "type", "id", "widgets_values")  # fmt: skip


def some_json(source: random.Random, depth: int = 0):
    match source.randrange(9 if depth < 5 else 7):
        case 0:
            return source.choice([None, True, False])
        case 1:
            return source.choice([0, -1, 10**400, 1.5, float("nan"), float("inf"), -(2**63)])
        case 2 | 3:
            return "".join(source.choices(PIECES, k=source.randrange(6)))
        case 4:
            return [source.choice(["1", "2", 1]), 0]
        case 5:
            return source.choice(
                [
                    "KSampler",
                    "SaveImage",
                    "CLIPTextEncode",
                    "LoraLoader",
                    "SamplerCustomAdvanced",
                    "ConditioningCombine",
                ]
            )
        case 6:
            return ""
        case 7:
            return [some_json(source, depth + 1) for _ in range(source.randrange(4))]
    return {source.choice(KEYS): some_json(source, depth + 1) for _ in range(source.randrange(8))}


def test_no_reader_raises_on_any_text():
    source = random.Random(11)
    for number in range(3000):
        make = (
            (lambda: json.dumps(some_json(source)))
            if number % 2
            else (lambda: "".join(source.choices(PIECES, k=source.randrange(30))))
        )
        carried = Carried(format="PNG", width=64, height=64, texts={source.choice(PLACES): make() for _ in range(4)})
        for reader in READERS:
            found = reader(carried)
            assert found is None or isinstance(found.infotext, str)


LONG = ("[", "{", '{"a":', "(", "a+", "{}", "1.5::", "9", 'a: "')


@pytest.mark.parametrize("piece", LONG)
def test_long_hostile_texts(piece):
    text = piece * (90_000 // len(piece)) + "+"
    for place in PLACES:
        for reader in READERS:
            reader(Carried(format="PNG", width=64, height=64, texts={place: piece * 200_000, "Software": "x"}))
    read_metadata(png(Software="NovelAI", Comment={**NOVELAI, "prompt": text}))
    read_metadata(png(invokeai_metadata={**INVOKE, "positive_prompt": text}))
    read_metadata(png(invokeai_metadata={**INVOKE, "positive_prompt": text * 20}))
