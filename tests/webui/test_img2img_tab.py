"""What the img2img tab's handlers answer."""

import io
import json
import uuid
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image, PngImagePlugin

from modules.core.errors import InputError
from modules.images.reading import open_picture
from modules.jobs.service import JobService
from modules.requests.img2img import SoftInpainting
from tests.jobs.helpers import play, write_checkpoint
from tests.server import until
from tests.webui.conftest import built
from webui.blocks import build_page
from webui.detail_form import packed
from webui.form import starting_values
from webui.img2img_form import IMG2IMG
from webui.parts.notices import sentence
from webui.parts.quicksettings import build_quicksettings
from webui.tabs.img2img import Img2ImgTab


def png(colour: Any = "red", size: tuple[int, int] = (96, 64), mode: str = "RGB", text: str = "") -> bytes:
    info = PngImagePlugin.PngInfo()
    if text:
        info.add_text("parameters", text)
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


@pytest.fixture
def tab(service: JobService) -> Img2ImgTab:
    def build() -> Img2ImgTab:
        with gr.Blocks(analytics_enabled=False):
            return Img2ImgTab(service, *build_quicksettings())

    return built(build)


def press(tab: Img2ImgTab, said: Any, job: str = "", current: str = "", **values: Any) -> str:
    given = starting_values(None, tab.service.checkpoints, tab.service.catalogue, IMG2IMG)
    given |= {"prompt": "{}", "steps": 1, "width": 64, "height": 64, "sampler_name": "Euler", **values}
    said = said if isinstance(said, str) else json.dumps(said)
    return tab.generate(
        job or uuid.uuid4().hex, current, said, "small.safetensors", *(packed(given)[n] for n in tab.names)
    )


def sent(tab: Img2ImgTab, data: bytes) -> str:
    return tab.sources.uploads.keep(data).sha256


def request(tab: Img2ImgTab, said: Any, **values: Any) -> Any:
    service = tab.service
    return service.store.whole_request(service.job(press(tab, said, **values)))


def test_a_picture_and_the_forms_values_make_a_job(tab: Img2ImgTab):
    found = request(
        tab,
        {"mode": "img2img", "image": sent(tab, png())},
        denoising_strength=0.4,
        resize_mode="Resize and fill",
        n_iter=2,
    )
    assert found.init_images[0].data == png()
    assert (found.denoising_strength, found.resize_mode, found.n_iter, found.mask) == (0.4, 2, 2, None)


def test_the_passes_may_be_all_that_changes_a_picture(tab: Img2ImgTab):
    said = {"mode": "img2img", "image": sent(tab, png())}
    assert not request(tab, said, ad_model_1="mediapipe_face_full").detail_only
    assert request(tab, said, ad_model_1="mediapipe_face_full", detail_only=True).detail_only
    larger = {**said, "mode": "inpaint", "outpaint": {"by": {"left": 0, "right": 32, "up": 0, "down": 0}}}
    assert not request(tab, larger, detail_only=True).detail_only
    with pytest.raises(InputError, match="detail_only is 3: it must be true or false"):
        press(tab, said, detail_only=3)


def test_resize_by_follows_the_picture(tab: Img2ImgTab):
    said = {"mode": "img2img", "image": sent(tab, png(size=(100, 80)))}
    found = request(tab, said, resize_by="Resize by", scale=1.5)
    assert (found.width, found.height) == (144, 120)


def test_a_sketch_is_laid_into_the_picture(tab: Img2ImgTab):
    said = {
        "mode": "img2img_sketch",
        "image": sent(tab, png()),
        "drawing": sent(tab, png((0, 0, 255, 255), mode="RGBA")),
    }
    assert open_picture(request(tab, said).init_images[0]).getpixel((5, 5)) == (0, 0, 255)


def test_a_mask_travels_with_the_inpaint_values(tab: Img2ImgTab):
    said = {"mode": "inpaint", "image": sent(tab, png()), "drawing": sent(tab, png(255, (48, 32), "L"))}
    found = request(
        tab,
        said,
        mask_blur=7,
        inpainting_fill="latent noise",
        inpaint_full_res="Only masked",
        inpaint_full_res_padding=16,
        inpainting_mask_invert="Inpaint not masked",
        soft_inpainting=True,
        mask_blend_power=2.0,
    )
    assert open_picture(found.mask).size == (96, 64)
    assert (found.mask_blur_x, found.mask_blur_y, found.inpainting_fill) == (7, 7, 2)
    assert (found.inpaint_full_res, found.inpaint_full_res_padding, found.inpainting_mask_invert) == (1, 16, 1)
    assert found.soft_inpainting == SoftInpainting.model_validate({"mask_blend_power": 2.0})


def test_inpaint_sketch_takes_colours_and_masks_them(tab: Img2ImgTab):
    said = {
        "mode": "inpaint_sketch",
        "image": sent(tab, png()),
        "drawing": sent(tab, png((0, 0, 255, 255), mode="RGBA")),
    }
    found = request(tab, said, mask_blur=0, mask_alpha=100)
    assert open_picture(found.init_images[0]).getpixel((5, 5)) == (255, 0, 0)  # wholly transparent
    assert open_picture(request(tab, said, mask_blur=0).mask).getextrema() == (255, 255)


def test_an_uploaded_mask_stays_as_it_is(tab: Img2ImgTab):
    mask = png(200, mode="L")
    found = request(tab, {"mode": "inpaint_upload", "image": sent(tab, png()), "mask": sent(tab, mask)})
    assert found.mask.data == mask


MISSING: list[tuple[Any, str]] = [
    ("", "The page did not say what to begin with."),
    ('{"mode": "else"}', "The page did not say what to begin with."),
    ('{"mode": "batch", "files": 5}', "The page did not say which pictures"),
    ('{"refused": "The server took a nap."}', "The server took a nap."),
    ({"mode": "img2img"}, "There is no picture to begin with."),
    ({"mode": "img2img", "image": "../x"}, 'picture "../x" is no picture\'s hash.'),
    ({"mode": "img2img", "image": "0" * 64}, "picture is no longer kept here."),
    ({"mode": "batch", "files": []}, "There are no pictures."),
]


def test_what_is_missing_is_told(tab: Img2ImgTab):
    for said, message in MISSING:
        with pytest.raises(InputError) as caught:
            press(tab, said)
        assert caught.value.message.startswith(message)
    assert tab.service.store.recent(1) == []


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"denoising_strength": 2}, "Denoising strength is 2: it must be at most 1."),
    ({"mask_blur": 3.5}, "Mask blur is 3.5: it must be a whole number from 0 to 64."),
    ({"mask_blur": "wide"}, 'Mask blur is "wide": it must be a number.'),
    ({"resize_mode": "Stretch"}, 'Resize mode is "Stretch": it must be one of Just resize, '),
    ({"resize_by": "Resize by", "scale": 0.1}, "Scale is 0.1 and the picture 96 x 64: the result would be 8 x 0"),
    ({"soft_inpainting": "yes"}, 'Soft inpainting is "yes": it must be true or false.'),
    ({"batch_input_dir": 5}, "Input directory is 5: it must be a text of at most 1000 characters."),
]


def test_wrong_values_are_told_in_the_pages_words(tab: Img2ImgTab):
    for values, message in WRONG:
        with pytest.raises(InputError) as caught:
            press(tab, {"mode": "img2img", "image": sent(tab, png())}, **values)
        assert sentence(caught.value).startswith(message)


# -- batches --


def test_a_batch_is_one_job_a_picture_and_one_press(tab: Img2ImgTab, service: JobService):
    said = {"mode": "batch", "files": [["a.png", sent(tab, png("red"))], ["b.png", sent(tab, png("blue"))]]}
    job = uuid.uuid4().hex
    answer = press(tab, said, job)
    ids = answer.split(",")
    assert (len(ids), ids[0]) == (2, job)
    assert press(tab, said, job) == answer  # the same press, arrived twice
    assert len(service.store.recent(10)) == 2
    for part in ids:
        service.wait(part, 30)
    colours = [
        open_picture(service.store.whole_request(service.job(part)).init_images[0]).getpixel((0, 0)) for part in ids
    ]
    assert colours == [(255, 0, 0), (0, 0, 255)]


def test_a_running_batch_is_stopped_whole(tab: Img2ImgTab, service: JobService):
    said = {"mode": "batch", "files": [[f"{i}.png", sent(tab, png())] for i in range(3)]}
    answer = press(tab, said, prompt=play(wait="interrupt").prompt)
    assert press(tab, said, current=answer) == answer  # a press while it runs starts nothing
    until(lambda: service.live(answer.split(",")[0]), 30)
    tab.interrupt(answer)  # the picture in work would be finished
    tab.interrupt(answer)
    assert [service.wait(part, 30).state for part in answer.split(",")] == ["stopped"] * 3


def test_a_folder_is_a_batch_with_masks_and_png_info(tab: Img2ImgTab, tmp_path: Path):
    pictures, masks = tmp_path / "in", tmp_path / "masks"
    for folder, name, data in (
        (pictures, "one.png", png(text="a cat\nNegative prompt: dogs\nSteps: 9, Sampler: Euler a, Seed: 77")),
        (pictures, "two.png", png()),
        (pictures, "notes.txt", b"no picture"),
        (masks, "one.png", png(255, mode="L")),
        (masks, "two.png", png(0, mode="L")),
    ):
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    values: dict[str, Any] = {
        "batch_source": "From directory",
        "batch_input_dir": str(pictures),
        "batch_mask_dir": str(masks),
    }
    values |= {"batch_use_png_info": True, "batch_png_info_props": ["Prompt", "Negative prompt", "Seed", "Steps"]}
    service = tab.service
    jobs = [service.job(part) for part in press(tab, {"mode": "batch"}, prompt="", **values).split(",")]
    one, two = (service.store.whole_request(job) for job in jobs)
    assert (one.prompt, one.negative_prompt, one.seed, one.steps) == ("a cat", "dogs", 77, 9)
    assert (two.prompt, two.seed, two.steps) == ("", -1, 1)
    assert [open_picture(part.mask).getpixel((0, 0)) for part in (one, two)] == [255, 0]
    for job in jobs:
        service.wait(job.id, 30)


FOLDERS: list[tuple[dict[str, Any], str]] = [
    ({"batch_input_dir": ""}, "Input directory is empty."),
    ({"batch_input_dir": "nowhere"}, 'Input directory "nowhere" is no folder that can be read.'),
    ({"batch_input_dir": "~nobody-of-this-name"}, 'Input directory "~nobody-of-this-name" is no folder'),
    ({"batch_input_dir": "."}, 'Input directory "." holds no pictures:'),
    ({"batch_input_dir": "in", "batch_mask_dir": "masks"}, "Inpaint batch mask directory (required for inpaint"),
]


def test_wrong_folders_are_told(tab: Img2ImgTab, tmp_path: Path):
    for name in ("in/one.png", "masks/x.png", "masks/y.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png())
    for values, message in FOLDERS:
        with pytest.raises(InputError) as caught:
            press(tab, {"mode": "batch"}, batch_source="From directory", **values)
        assert sentence(caught.value).startswith(message)
    assert tab.service.store.recent(1) == []


# -- the form --


def test_the_form_begins_as_a1111s(tab: Img2ImgTab):
    *_, text = tab.fill("")
    values = json.loads(text)
    wanted = {"resize_mode": "Just resize", "denoising_strength": 0.75, "mask_blur": 4, "inpainting_fill": "original"}
    wanted |= {"inpaint_full_res": "Whole picture", "inpaint_full_res_padding": 32, "edits": False, "scale": 1.0}
    assert values.items() >= wanted.items()


def test_touched_values_come_back_and_wrong_ones_do_not(tab: Img2ImgTab):
    touched = {
        "scale": 2,
        "resize_by": "Resize by",
        "mask_blur": "x",
        "batch_png_info_props": ["Seed"],
        "batch_source": 7,
    }
    *_, text = tab.fill(json.dumps({"checkpoint": None, "touched": touched}))
    values = json.loads(text)
    assert (values["scale"], values["resize_by"], values["batch_png_info_props"]) == (2.0, "Resize by", ["Seed"])
    assert (values["mask_blur"], values["batch_source"]) == (4, "Upload")


def test_paste_takes_what_this_tab_has(tab: Img2ImgTab):
    text = "a cat\nSteps: 9, Sampler: Euler a, Seed: 3, Size: 128x64, Denoising strength: 0.35, Mask blur: 9"
    *updates, names = tab.paste(text, None)
    values = {name: update.get("value") for name, update in zip(tab.names, updates, strict=True)}
    assert (values["prompt"], values["steps"], values["width"], values["soft_inpainting"]) == ("a cat", 9, 128, False)
    assert "steps" in json.loads(names)


def test_edit_models_have_a_slider_of_their_own(tab: Img2ImgTab, service: JobService):
    path = service.paths.models[0] / "Stable-diffusion" / "edits.safetensors"
    write_checkpoint(path)
    header = json.dumps(
        {
            "model.diffusion_model.input_blocks.0.0.weight": {
                "dtype": "F16",
                "shape": [1, 8, 1, 1],
                "data_offsets": [0, 16],
            }
        }
    ).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 16)
    *_, text = tab.fill(json.dumps({"checkpoint": "edits.safetensors", "touched": {}}))
    assert json.loads(text)["edits"] is True


def test_the_page_has_a1111s_names(service: JobService):
    config = built(lambda: build_page(service).get_config_file())
    props = {c["props"].get("elem_id"): c["props"] for c in config["components"]}
    wanted = (
        "prompt neg_prompt generate sampling steps width height scale denoising_strength image_cfg_scale mask_blur "
    )
    wanted += "mask_alpha mask_mode inpainting_fill inpaint_full_res inpaint_full_res_padding batch_input_dir"
    assert {f"img2img_{name}" for name in wanted.split()} <= set(props)
    assert props["img2img_inpaint_full_res_padding"]["label"] == "Only masked padding, pixels"
    assert [choice[0] for choice in props["resize_mode"]["choices"]][-1] == "Just resize (latent upscale)"


# -- larger pictures --


def test_outpainting_enlarges_masks_and_matches(tab: Img2ImgTab):
    by = {"left": 0, "right": 32, "up": 0, "down": 8}
    said = {"mode": "inpaint", "image": sent(tab, png()), "outpaint": {"by": by, "denoising": 0.85}}
    found = request(tab, said, mask_blur=9, inpainting_fill="latent noise", resize_mode="Crop and resize")
    assert (found.width, found.height, found.denoising_strength, found.match_seams) == (128, 72, 0.85, True)
    assert (found.mask_blur_x, found.inpainting_fill, found.inpaint_full_res, found.resize_mode) == (0, 1, 0, 0)
    first, mask = open_picture(found.init_images[0]), open_picture(found.mask)
    assert (first.size, mask.size) == ((128, 72), (128, 72))
    assert (first.getpixel((5, 5)), mask.getpixel((5, 5)), mask.getpixel((120, 5))) == ((255, 0, 0), 0, 255)


def test_the_canvas_draws_what_is_empty_in_its_frame(tab: Img2ImgTab):
    frame = Image.new("RGBA", (128, 64))
    frame.paste((0, 0, 255, 255), (0, 0, 64, 64))
    buffer = io.BytesIO()
    frame.save(buffer, "PNG")
    found = request(tab, {"mode": "canvas", "image": sent(tab, buffer.getvalue()), "denoising": 0.8})
    assert (found.width, found.height, found.denoising_strength, found.match_seams) == (128, 64, 0.8, True)
    assert open_picture(found.mask).getbbox() == (64, 0, 128, 64)
    with pytest.raises(InputError, match=r"^Nothing in the frame is empty\."):
        press(tab, {"mode": "canvas", "image": sent(tab, png(size=(128, 64)))})
    nothing = request(tab, {"mode": "canvas", "image": sent(tab, png((0, 0, 0, 0), (64, 64), "RGBA"))})
    assert nothing.denoising_strength == 1.0
