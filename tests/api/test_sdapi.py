"""A1111's routes, held against what A1111 itself answered (tests/data/a1111_api.json)."""

import base64
import io
import json
import threading
from pathlib import Path

import pytest
from PIL import Image

from modules.api.bodies import NOT_YET, Txt2ImgBody
from modules.images.encode import encode_png, read_infotext
from modules.images.infotext import parse_infotext
from modules.requests.guidance import TECHNIQUES
from tests.jobs.runners import noise
from tests.server import until

RECORDED = json.loads(Path(__file__).parents[1].joinpath("data", "a1111_api.json").read_text())


OURS = {
    "control",
    "cfg_rescale",
    "distilled_cfg_scale",
    "hr_cfg",
    "hr_distilled_cfg",
    "detail",
    *("dynamic_prompts", "dp_combinatorial", "dp_combinatorial_batches", "dp_max_generations"),
    *("dp_fixed_seed", "dp_unlink_seed"),
    *TECHNIQUES,
}  # no such fields in A1111


def decoded(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def pixels(answer: dict, index: int = 0) -> bytes:
    return decoded(answer["images"][index]).tobytes()


def test_a_picture(draw, service):
    answer = draw(seed=42, cfg_scale=5, negative_prompt="blue", sampler_name="Euler a", scheduler="Karras")
    assert set(answer) == {"images", "parameters", "info"}
    data, info = base64.b64decode(answer["images"][0]), json.loads(answer["info"])
    assert decoded(answer["images"][0]).size == (64, 64)
    assert info["infotexts"] == [read_infotext(data)]
    fields = parse_infotext(info["infotexts"][0]).fields
    assert (fields["Sampler"], fields["Schedule type"], fields["Seed"]) == ("Euler a", "Karras", "42")
    assert info["all_seeds"] == [42]
    assert (info["sampler_name"], info["negative_prompt"], info["cfg_scale"]) == ("Euler a", "blue", 5)
    assert info["sd_model_name"] == "tiny"


def test_info_has_the_fields_of_a1111(draw):
    info = json.loads(draw(n_iter=2, batch_size=2, seed=1)["info"])
    assert set(RECORDED["info"]) <= set(info)
    assert [info[f"all_{name}"] for name in ("seeds", "prompts")] == [[1, 2, 3, 4], ["a red star"] * 4]
    assert info["all_subseeds"] == [info["subseed"] + i for i in range(4)]


def test_variation_seeds(draw):
    answer = draw(n_iter=2, seed=7, subseed=99, subseed_strength=0.5, seed_resize_from_w=128, seed_resize_from_h=64)
    info = json.loads(answer["info"])
    assert (info["all_seeds"], info["all_subseeds"]) == ([7, 7], [99, 100])
    fields = parse_infotext(info["infotexts"][1]).fields
    keys = ("Seed", "Variation seed", "Variation seed strength", "Seed resize from")
    assert [fields[key] for key in keys] == ["7", "100", "0.5", "128x64"]
    assert pixels(answer, 0) != pixels(answer, 1)
    plain = pixels(draw(seed=7))
    assert plain != pixels(draw(seed=7, subseed=99, subseed_strength=0.5))
    assert plain == pixels(draw(seed=7, subseed=99))


def test_sampler_settings_and_fields_change_the_picture(draw):
    plain = pixels(draw(seed=7))
    for change in (
        {"s_churn": 20.0},
        {"s_min_uncond": 15.0, "override_settings": {"s_min_uncond_all": True}},
        {"override_settings": {"sgm_noise_multiplier": True}},
        {"override_settings": {"always_discard_next_to_last_sigma": True}},
        {"override_settings": {"sd_noise_schedule": "Zero Terminal SNR"}},
        {"override_settings": {"randn_source": "NV"}},
    ):
        assert pixels(draw(seed=7, **change)) != plain, change


def test_body_has_the_fields_and_defaults_of_a1111():
    defaults = Txt2ImgBody().model_dump()
    assert set(RECORDED["txt2img_fields"]) == set(defaults) - OURS
    for name, default in RECORDED["txt2img_fields"].items():
        assert defaults[name] == default, name


def test_parameters_are_the_body(draw):
    assert set(RECORDED["txt2img_fields"]) == set(draw(seed=3)["parameters"]) - OURS


def test_same_seed_same_picture(draw):
    one, two, other = draw(seed=5), draw(seed=5), draw(seed=6)
    assert one["images"] == two["images"]
    assert one["images"] != other["images"]


def test_send_images_and_save_images(draw, service):
    answer = draw(send_images=False, save_images=True)
    assert answer["images"] == []
    job = service.store.recent(1)[0]
    assert [image.kept for image in service.images(job.id)] == [True]
    draw(save_images=True, do_not_save_samples=True)
    assert [image.kept for image in service.images(service.store.recent(1)[0].id)] == [False]


def test_saved_file_is_the_answer(draw, service):
    answer = draw(save_images=True)
    image = service.images(service.store.recent(1)[0].id)[0]
    assert base64.b64decode(answer["images"][0]) == image.path.read_bytes()


def test_sampler_index_and_old_combined_names(draw):
    assert json.loads(draw()["info"])["sampler_name"] == "Euler"
    assert json.loads(draw(sampler_index="Heun")["info"])["sampler_name"] == "Heun"
    fields = parse_infotext(json.loads(draw(sampler_name="DPM++ 2M Karras")["info"])["infotexts"][0]).fields
    assert fields["Sampler"] == "DPM++ 2M"


def test_eta_and_override_settings_hold_for_this_job_only(draw, client):
    before = client.get("/sdapi/v1/options").json()
    answer = draw(eta=0.5, sampler_name="Euler a", override_settings={"sd_model_checkpoint": "other"})
    fields = parse_infotext(json.loads(answer["info"])["infotexts"][0]).fields
    assert (fields["Eta"], fields["Model"]) == ("0.5", "sub_other")
    assert {**client.get("/sdapi/v1/options").json()} == before


def test_unknown_fields_are_ignored_and_named(draw):
    assert json.loads(draw(clip_skip=2, nope=None)["info"])["ignored_fields"] == ["clip_skip", "nope"]


def test_force_task_id(draw, service, client):
    draw(force_task_id="task(abc)")
    assert service.job("task(abc)").state == "done"
    again = client.post("/sdapi/v1/txt2img", json={"force_task_id": "task(abc)"})
    assert again.status_code == 422
    assert "task(abc)" in again.json()["detail"]


@pytest.mark.parametrize("name", sorted(NOT_YET))
def test_what_is_not_there_yet_is_refused_by_name(client, service, name):
    wrong = {
        "override_settings_restore_afterwards": False,
        **dict.fromkeys(("script_name", "infotext"), "x"),
    }.get(name, 0.5)
    before = service.store.recent(1)
    answer = client.post("/sdapi/v1/txt2img", json={"prompt": "x", name: wrong})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(f"{name} is ")
    assert "not part of this version" in answer.json()["detail"]
    assert service.store.recent(1) == before


def test_helpers_of_what_is_not_used_are_accepted(draw):
    draw(
        hr_scale=3, hr_upscaler="Latent", refiner_switch_at=0.8, subseed=7, denoising_strength=0.7, restore_faces=False
    )


def test_hires_fix(draw, service):
    answer = draw(enable_hr=True, hr_scale=1.5, hr_second_pass_steps=1, denoising_strength=0.5, hr_prompt="a blue star")
    info = json.loads(answer["info"])
    fields = parse_infotext(info["infotexts"][0]).fields
    assert (fields["Hires upscale"], fields["Hires upscaler"], fields["Hires steps"]) == ("1.5", "Latent", "1")
    assert (info["denoising_strength"], fields["Hires prompt"], info["width"]) == (0.5, "a blue star", 64)
    assert decoded(answer["images"][0]).size == (96, 96)

    copies = {"save_images_before_highres_fix": True}
    draw(enable_hr=True, hr_second_pass_steps=1, seed=77, save_images=True, override_settings=copies)
    kept = sorted(path.name.partition("-")[2] for path in service.paths.outputs.rglob("*-77*"))
    assert kept == ["77-before-highres-fix.png", "77.png"]

    first = draw()["images"][0]
    again = draw(enable_hr=True, firstpass_image=first, hr_upscaler="Lanczos", hr_resize_x=128)
    assert decoded(again["images"][0]).size == (128, 128)


def test_old_names_of_the_first_passs_size():
    body = {"enable_hr": True, "width": 1024, "height": 768}
    request = Txt2ImgBody(**body, firstphase_width=512, firstphase_height=0).to_request()
    assert (request.width, request.height, request.target.final()) == (512, 384, (1024, 768))
    plain = Txt2ImgBody(**{**body, "enable_hr": False}, firstphase_width=512).to_request()
    assert (plain.width, plain.enable_hr) == (1024, False)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"hr_upscaler": "Latnt"}, 'hr_upscaler "Latnt" is not known. Nearest: Latent'),
        ({"hr_sampler_name": "Eulr"}, 'hr_sampler_name "Eulr" is not known. '),
        ({"hr_scheduler": "Karas"}, 'hr_scheduler "Karas" is not known. '),
        ({"hr_checkpoint_name": "nowhere"}, 'hr_checkpoint_name "nowhere" is not known. '),
        ({"hr_resize_x": 100_000}, "hr_resize_x is 100000"),
        ({"hr_scale": 0}, "hr_scale is 0"),
        ({"firstpass_image": "x"}, "firstpass_image is not valid base64"),
        ({"firstpass_image": "eHh4"}, "firstpass_image is no whole picture"),
    ],
)
def test_what_is_wrong_with_hires_fix_is_named(client, service, values, words):
    before = service.store.recent(1)
    answer = client.post("/sdapi/v1/txt2img", json={"prompt": "x", "enable_hr": True, **values})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(words)
    assert service.store.recent(1) == before


def test_an_unknown_refiner_is_named(client, service):
    before = service.store.recent(1)
    answer = client.post("/sdapi/v1/txt2img", json={"prompt": "x", "refiner_checkpoint": "nowhere"})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith('refiner_checkpoint "nowhere" is not known. ')
    assert service.store.recent(1) == before


def test_lists_have_the_shapes_of_a1111(client):
    for route, key in (("samplers", "name"), ("schedulers", "name"), ("sd-models", "title")):
        ours = client.get(f"/sdapi/v1/{route}").json()
        theirs = RECORDED[route]
        assert set(ours[0]) == set(theirs[0])
        assert ours[0][key]
    known = {entry["name"]: entry for entry in RECORDED["samplers"]}
    ours = client.get("/sdapi/v1/samplers").json()
    assert any(entry["name"] in known for entry in ours)
    for entry in ours:
        if entry["name"] in known:
            assert set(known[entry["name"]]["aliases"]) <= set(entry["aliases"])
    labels = {entry["name"]: entry["label"] for entry in RECORDED["schedulers"]}
    for entry in client.get("/sdapi/v1/schedulers").json():
        assert labels.get(entry["name"], entry["label"]) == entry["label"]


def test_models(client, draw):
    draw()
    found = {entry["model_name"]: entry for entry in client.get("/sdapi/v1/sd-models").json()}
    tiny = found["tiny"]
    assert tiny["title"] == f"tiny.safetensors [{tiny['hash']}]"
    assert tiny["sha256"].startswith(tiny["hash"])
    assert Path(tiny["filename"]).is_file()
    assert found["sub_other"]["title"].startswith("sub/other.safetensors")
    assert client.post("/sdapi/v1/refresh-checkpoints").status_code == 200


def test_separate_parts_are_listed_as_forge_does(client, service):
    path = service.paths.models[0] / "VAE" / "ae.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    found = client.get("/sdapi/v1/sd-modules").json()
    path.unlink()
    assert {"model_name": "ae.safetensors", "filename": str(path)} in found


def test_unload_and_reload(client, service, draw):
    picture = pixels(draw(seed=3))
    kept = service._executor._runner._tools.models._kept
    assert kept._all
    assert client.post("/sdapi/v1/unload-checkpoint").json() == {}
    assert not kept._all
    assert pixels(draw(seed=3)) == picture  # loaded again by itself
    assert client.post("/sdapi/v1/unload-checkpoint").json() == {}
    assert client.post("/sdapi/v1/reload-checkpoint").json() == {}
    assert [one.model.name for one in kept._all] == ["tiny"]


def test_reload_of_a_checkpoint_that_is_gone(client, service, draw):
    draw()
    file = service.paths.data / "models" / "Stable-diffusion" / "tiny.safetensors"
    file.rename(file.with_suffix(".moved"))
    try:
        answer = client.post("/sdapi/v1/reload-checkpoint")
        assert answer.status_code == 422
        assert 'sd_model_checkpoint "tiny" is not known' in answer.json()["detail"]
        assert draw(override_settings={"sd_model_checkpoint": "other"})["images"]
    finally:
        file.with_suffix(".moved").rename(file)
    assert client.post("/sdapi/v1/reload-checkpoint").status_code == 200


def test_options(client, service):
    options = client.get("/sdapi/v1/options").json()
    ours = {
        "engine_stall_seconds",
        "forge_additional_modules",
        *("downloads_at_once", "huggingface_endpoint", "civitai_endpoint", "sd3_enable_t5"),
        *("results_keep_days", "results_keep_gb"),
        *("restart_noise", "gallery_folders", "gallery_trash_days", "gallery_by_meaning"),
        *("SCUNET_tile", "SCUNET_tile_overlap", "SWIN_tile", "SWIN_tile_overlap"),  # of A1111's own extensions
        *("ad_bbox_sortby", "ad_same_seed_for_each_tab"),
        *("wildcard_dir", "dp_ignore_whitespace", "dp_write_raw_template", "prompt_notes"),
        *("tac_active", "tac_maxResults", "tac_replaceUnderscores", "tac_escapeParentheses", "tac_appendComma"),
        "take_over_roots",
        "tcd_gamma",
        "unload_idle_minutes",
        "webhook_url",
    }  # no such things in A1111
    unrecorded = (
        "grid_format",
        "save_images_before_face_restoration",
        "grid_zip_filename_pattern",
        "fp8_storage",
        *("quicksettings_list", "disabled_extensions", "disable_all_extensions"),
        "localization",
        "gradio_theme",
        "idempotency_hours",
        "interrogate_",
        "deepbooru_",
        "code_former_weight",
        "face_restoration",
        "sd_vae_",
        "infotext_styles",
        "extra_networks_",
        "lora_preferred_name",
        "control_net_",
        "keyedit_",
        "notification_",
        "disable_token_counters",
        "include_styles_into_token_counters",
        "save_txt",
        "save_mask",
        "save_mask_composite",
        "return_mask",
        "return_mask_composite",
        "save_images_before_color_correction",
        "save_init_img",
        "outdir_init_images",
        "add_user_name_to_info",
        "disable_weights_auto_swap",
        "infotext_skip_pasting",
        "auto_backcompat",
        "send_seed",
        "send_size",
        "export_for_4chan",
        "img_downscale_threshold",
        "target_side_length",
        "img_max_size_mp",
        "use_upscaler_name_as_suffix",
        "outdir_samples",
        "outdir_grids",
        "directories_max_prompt_words",
        "outdir_save",
        "use_save_to_dirs_for_ui",
        "save_selected_only",
        "save_write_log_csv",
        "hide_samplers",
        "interrupt_after_current",
        "hidden_tabs",
        "ui_tab_order",
        "show_progress_in_title",
        "do_not_show_images",
        "sd_checkpoint_dropdown_use_short",
        "postprocessing_operation_order",
        "postprocessing_existing_caption_action",
        "img2img_batch_show_results_limit",
        "postprocessing_disable_in_extras",
    )
    for name, value in options.items():  # A1111 has the unrecorded ones, too
        assert name in RECORDED["options"] or name in ours or name.startswith(unrecorded), name
        if RECORDED["options"].get(name) is not None:
            assert isinstance(value, (type(RECORDED["options"][name]), float | int)), name
    assert (
        client.post("/sdapi/v1/options", json={"eta_ancestral": 0.25, "sd_model_checkpoint": "other"}).status_code
        == 200
    )
    changed = client.get("/sdapi/v1/options").json()
    assert changed["eta_ancestral"] == 0.25
    assert changed["sd_model_checkpoint"].startswith("sub/other.safetensors")
    title = options["sd_model_checkpoint"]
    assert client.post("/sdapi/v1/options", json={"eta_ancestral": 1, "sd_model_checkpoint": title}).status_code == 200
    assert client.get("/sdapi/v1/options").json() == options
    assert json.loads(service.paths.settings.read_text())["sd_model_checkpoint"] == "tiny.safetensors"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"eta_ancestral": 7}, "eta_ancestral"),
        ({"eta_ancestral": 0.5, "nope": 1}, "nope"),
        ({"sd_model_checkpoint": "nope"}, "nope"),
        ({"sd_model_checkpoint": 7}, "sd_model_checkpoint"),
        ({"samples_save": "perhaps"}, "samples_save"),
        ({"CLIP_stop_at_last_layers": True}, "CLIP_stop_at_last_layers"),
        ({"randn_source": "NV?"}, "randn_source"),
        ({"samples_filename_pattern": "\ud800"}, "samples_filename_pattern"),
        ({"outdir_txt2img_samples": str(Path(__file__).parents[2] / "webui")}, "holds the program"),
        ({"\ud800": 1}, "option"),
        ({"take_over_roots": "/nonexistent"}, "/nonexistent"),
    ],
)
def test_wrong_options_change_nothing(client, options, named):
    before = client.get("/sdapi/v1/options").json()
    answer = client.post("/sdapi/v1/options", content=json.dumps(options), headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert named in answer.json()["detail"]
    assert client.get("/sdapi/v1/options").json() == before


def test_progress_of_nothing(client):
    theirs = RECORDED["progress"]
    ours = client.get("/sdapi/v1/progress", params={"skip_current_image": True}).json()
    assert {**ours, "current_task": None} == {**theirs, "current_task": None}


def test_progress_and_interrupt(puppet):
    service, client = puppet
    answers = []
    body = {"prompt": '{"wait": "interrupt"}', "n_iter": 3, "steps": 4}
    thread = threading.Thread(target=lambda: answers.append(client.post("/sdapi/v1/txt2img", json=body)))
    thread.start()
    until(lambda: service.live() and service.live().progress, 60)
    waiting = service.submit(service.store.recent(1)[0].request)
    found = client.get("/sdapi/v1/progress").json()
    assert found["state"] == {**found["state"], "job_count": 3, "job_no": 0, "sampling_steps": 4, "interrupted": False}
    assert found["current_task"] == service.store.recent(2)[1].id
    assert client.get("/internal/pending-tasks").json() == {"size": 1, "tasks": [waiting.id]}
    service.ask("interrupt", waiting.id)
    assert found["state"]["stopping_generation"] is False
    client.post(f"/atelier/jobs/{found['current_task']}/interrupt?after_current=true")
    state = client.get("/sdapi/v1/progress").json()["state"]
    assert (state["stopping_generation"], state["interrupted"]) == (True, False)
    assert client.post("/sdapi/v1/interrupt").json() == {}
    thread.join(60)
    assert answers[0].status_code == 200
    assert answers[0].json()["images"] == []


def test_preview_in_progress_and_skip(puppet):
    service, client = puppet
    answers = []
    body = {"prompt": '{"pause": 0.02}', "n_iter": 2, "steps": 150, "force_task_id": "task1"}
    thread = threading.Thread(target=lambda: answers.append(client.post("/sdapi/v1/txt2img", json=body)))
    thread.start()
    until(lambda: service.live() and service.live().preview, 60)
    assert base64.b64decode(client.get("/sdapi/v1/progress").json()["current_image"]) == b"preview"
    assert client.get("/sdapi/v1/progress?skip_current_image=true").json()["current_image"] is None
    shown = client.get("/atelier/preview/task1")
    assert (shown.content, shown.headers["cache-control"]) == (b"preview", "no-store")
    for batch in range(2):
        until(lambda batch=batch: service.live() and service.live().progress.batch == batch, 60)
        client.post("/sdapi/v1/skip")
    thread.join(60)
    assert answers[0].status_code == 200
    assert answers[0].json()["images"] == []
    assert client.get("/atelier/preview/task1").status_code == 404


def test_failed_job_answers_with_its_sentence(puppet):
    _, client = puppet
    answer = client.post("/sdapi/v1/txt2img", json={"prompt": '{"fail": "The file is broken."}'})
    assert answer.status_code == 422
    assert answer.json() == {
        "error": "ModelFileError",
        "detail": "The file is broken.",
        "body": "",
        "errors": "",
        "hint": "",
    }


def test_engine_that_dies_twice_is_a_sentence(puppet):
    _, client = puppet
    answer = client.post("/sdapi/v1/txt2img", json={"prompt": '{"die": 0}'})
    assert answer.status_code == 500
    assert answer.json()["error"] == "EngineDied"
    assert "SIGKILL" in answer.json()["detail"]


def test_many_waiting_requests_do_not_block_the_server(puppet):
    service, client = puppet
    answers = []
    bodies = [{"prompt": '{"wait": "interrupt"}'}, *[{"prompt": "{}"}] * 59]
    threads = [
        threading.Thread(
            target=lambda body=body: answers.append(client.post("/sdapi/v1/txt2img", json=body).status_code)
        )
        for body in bodies
    ]
    threads[0].start()
    until(lambda: service.live() and service.live().progress, 60)
    for thread in threads[1:]:
        thread.start()
    until(lambda: len(service.store.unfinished()) == 60, 120)
    assert client.get("/internal/ping").json() == {}  # more are waiting than the server has threads
    assert client.get("/sdapi/v1/options").status_code == 200
    client.post("/sdapi/v1/interrupt")
    for thread in threads:
        thread.join(120)
    assert answers == [200] * 60


def test_png_info(client, draw):
    answer = draw(seed=8, negative_prompt="blue")
    for image in (answer["images"][0], "data:image/png;base64," + answer["images"][0]):
        found = client.post("/sdapi/v1/png-info", json={"image": image}).json()
        assert found["info"] == json.loads(answer["info"])["infotexts"][0]
        parameters = found["parameters"]
        assert (parameters["Prompt"], parameters["Negative prompt"]) == ("a red star", "blue")
        assert (parameters["Seed"], parameters["Size-1"], parameters["Size-2"]) == ("8", "64", "64")


def png(size: tuple[int, int], mode: str = "1") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("!!", "base64"),
        ("", "empty"),
        (base64.b64encode(b"<svg/>").decode(), "PNG"),
        (base64.b64encode(encode_png(noise(1, 900), None)[:400]).decode(), "PNG"),
        (base64.b64encode(png((9000, 9000))).decode(), "megapixels"),
        (None, "image"),
        (7, "image"),
    ],
)
def test_png_info_of_something_else(client, image, words):
    answer = client.post("/sdapi/v1/png-info", json={"image": image})
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_png_without_infotext(client):
    answer = client.post("/sdapi/v1/png-info", json={"image": base64.b64encode(png((8, 8))).decode()})
    assert answer.json() == {"info": "", "items": {}, "parameters": {}}


def test_health(client, service):
    assert client.get("/internal/ping").json() == {}
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").status_code == 200
    service.engine_ready = False
    answer = client.get("/readyz")
    service.engine_ready = True
    assert answer.status_code == 503
    assert "starting" in answer.json()["detail"]


def test_no_get_changes_anything(client, service):
    def state() -> list:
        return [service.store.recent(1000), service.settings.current, sorted(service.paths.data.rglob("*.png"))]

    before = state()
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        if "get" in methods:
            client.get(path.replace("{image_id}", "1").replace("{job_id}", "x"))
    assert state() == before
