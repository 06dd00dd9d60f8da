"""What the tab's handlers answer."""

import json
import subprocess
import sys
import uuid

import gradio as gr
import pytest
from PIL import Image

from modules.core.errors import InputError, NotFound
from modules.core.paths import ROOT
from modules.images.encode import encode_png
from modules.jobs.service import JobService
from modules.requests.generation import limits
from modules.requests.guidance import PerturbedAttentionGuidance
from tests.jobs.helpers import play
from tests.server import until
from tests.webui.conftest import LARGE, SMALL, built
from webui.blocks import build_page
from webui.detail_form import packed
from webui.form import starting_values, to_request
from webui.parts.notices import shows_errors
from webui.tabs.txt2img import Txt2ImgTab


def press(tab: Txt2ImgTab, job: str, current: str = "", **values) -> str:
    given = {"prompt": "{}", "steps": 1, "width": 64, "height": 64, "sampler_name": "Euler", "scheduler": "Automatic"}
    given |= {"negative_prompt": "", "n_iter": 1, "batch_size": 1, "cfg_scale": 7, "seed": "-1"}
    given = {**starting_values(None, tab.service.checkpoints, tab.service.catalogue), **given, **values}
    return tab.generate(job, current, "small.safetensors", *(packed(given)[name] for name in tab.names))


def filled(tab: Txt2ImgTab, checkpoint: str | None, **touched) -> dict:
    picker, *_, values = tab.fill(json.dumps({"checkpoint": checkpoint, "touched": touched}))
    return {"checkpoint": picker["value"], **json.loads(values)}


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was shown to the user, as gradio got it."""
    shown: list[str] = []
    monkeypatch.setattr(gr, "Warning", shown.append)
    return shown


def test_generate_submits_under_the_pages_id(tab: Txt2ImgTab, service: JobService):
    job_id = uuid.uuid4().hex
    assert press(tab, job_id, prompt='{"pause": 0}', seed="12") == job_id
    job = service.wait(job_id, 30)
    assert (job.state, job.seed) == ("done", 12)
    assert job.options["sd_model_checkpoint"] == "small.safetensors"


def test_the_same_press_twice_is_one_job(tab: Txt2ImgTab, service: JobService):
    job_id = uuid.uuid4().hex
    assert press(tab, job_id) == press(tab, job_id) == job_id
    assert len(service.store.recent(10)) == 1


def test_a_press_while_the_pages_job_runs_starts_nothing(tab: Txt2ImgTab, service: JobService):
    current = service.submit(play(wait="interrupt")).id
    assert press(tab, uuid.uuid4().hex, current) == current
    assert len(service.store.recent(10)) == 1
    tab.interrupt(current)
    assert service.wait(current, 30).state == "stopped"
    again = uuid.uuid4().hex
    assert press(tab, again, current) == again


def test_another_page_queues_behind(tab: Txt2ImgTab, service: JobService):
    first = service.submit(play(wait="interrupt")).id
    until(lambda: service.job(first).state == "running", 30)
    second = press(tab, uuid.uuid4().hex, "")
    assert service.position(second) == 1
    tab.interrupt(second)  # only this one
    assert service.job(second).state == "stopped"
    assert service.job(first).state == "running"
    tab.interrupt(first)
    service.wait(first, 30)


def test_skip_goes_on_to_the_next_batch(tab: Txt2ImgTab, service: JobService):
    job = service.submit(play(wait="skip", n_iter=2)).id
    while service.job(job).state not in ("done", "failed"):
        tab.skip(job)
        service.wait(job, 0.05)
    assert service.job(job).state == "done"
    assert service.images(job) == []


@pytest.mark.parametrize("job_id", [None, "", "x" * 32, "../../etc", 5, ["a"], "A" * 32])
def test_ids_that_are_none_do_no_harm(job_id, tab: Txt2ImgTab, service: JobService):
    running = service.submit(play(wait="interrupt")).id
    tab.interrupt(job_id)
    tab.skip(job_id)
    made = press(tab, job_id)
    assert made != job_id
    assert service.job(running).state in ("queued", "running")
    tab.interrupt(running)
    assert service.wait(made, 30).state == "done"


def test_fields_follow_the_checkpoint_until_touched(tab: Txt2ImgTab):
    assert filled(tab, "small.safetensors").items() >= SMALL.items()
    assert filled(tab, "large.safetensors").items() >= LARGE.items()
    touched = {"steps": 7, "prompt": "mine", "width": 128}
    for checkpoint, defaults in (("small.safetensors", SMALL), ("large.safetensors", LARGE)):
        values = filled(tab, checkpoint, **touched)
        assert values.items() >= touched.items()
        assert (values["height"], values["cfg_scale"]) == (defaults["height"], defaults["cfg_scale"])


def test_touched_fields_are_not_sent_again_when_the_checkpoint_changes(tab: Txt2ImgTab):
    memory = json.dumps({"checkpoint": "large.safetensors", "touched": {"steps": 7, "prompt": "mine", "seed": "half"}})
    picker, *_, text = tab.follow(memory)
    sent = json.loads(text)
    assert picker["value"] == "large.safetensors"
    assert set(tab.names) - set(sent) == {"steps", "prompt", "seed"}
    assert (sent["width"], sent["cfg_scale"]) == (LARGE["width"], LARGE["cfg_scale"])


def test_an_empty_prompt_of_the_user_stays_empty(tab: Txt2ImgTab):
    assert filled(tab, "small.safetensors", prompt="")["prompt"] == ""


def test_a_page_without_memory_starts_from_the_settings(tab: Txt2ImgTab):
    assert filled(tab, None)["checkpoint"] == "small.safetensors"
    assert filled(tab, "deleted.safetensors")["checkpoint"] == "large.safetensors"  # the first there is


def test_menus_come_from_the_catalogue(tab: Txt2ImgTab, service: JobService):
    picker, samplers, schedules, *_ = tab.fill(None)
    assert samplers["choices"] == [s.name for s in service.catalogue.samplers]
    assert schedules["choices"] == [s.label for s in service.catalogue.schedules]
    names = [name for _, name in picker["choices"]]
    assert names == ["large.safetensors", "small.safetensors", "starter.safetensors"]  # the bundled one is always there


def test_hidden_samplers_are_in_no_menu_but_work(tab: Txt2ImgTab, service: JobService):
    service.change_options({"hide_samplers": ["Euler", "no such"]})
    _, samplers, *_ = tab.fill(None)
    assert samplers["choices"] == [s.name for s in service.catalogue.samplers if s.name != "Euler"]
    assert all("Euler" not in choices for name, choices in tab.menus([]).items() if name.endswith("sampler_name"))
    assert to_request({"prompt": "a", "sampler_name": "Euler"}, None).sampler_name == "Euler"


def test_the_pages_script_is_told_what_to_show(tab: Txt2ImgTab, service: JobService):
    assert json.loads(tab.fill(None)[-1])["shown"] == {"title": True, "pictures": True, "batch": 32}
    service.change_options(
        {"show_progress_in_title": False, "do_not_show_images": True, "img2img_batch_show_results_limit": -1}
    )
    assert json.loads(tab.fill(None)[-1])["shown"] == {"title": False, "pictures": False, "batch": -1}


def test_tabs_stand_as_the_settings_say(service: JobService):
    def tabs() -> list[tuple[str, bool]]:
        page = built(lambda: build_page(service))
        (found,) = [block for block in page.blocks.values() if block.elem_id == "tabs"]
        return [(tab.label, tab.visible) for tab in found.children]  # type: ignore[attr-defined]

    plain = tabs()
    assert plain[0] == ("txt2img", True)
    service.change_options({"ui_tab_order": ["Gallery", "nothing", "img2img"], "hidden_tabs": ["Extras"]})
    arranged = tabs()
    assert [name for name, _ in arranged][:3] == ["Gallery", "img2img", "txt2img"]
    assert sorted(name for name, _ in arranged) == sorted(name for name, _ in plain)
    assert [name for name, visible in arranged if not visible] == ["Extras"]
    with pytest.raises(InputError, match="hidden_tabs.*must not name Settings"):
        service.change_options({"hidden_tabs": ["Settings"]})


def test_errors_become_sentences_in_the_pages_words(tab: Txt2ImgTab, notices: list[str]):
    handler = shows_errors(lambda: "")(lambda *_: press(tab, uuid.uuid4().hex, n_iter=0))
    assert handler() == ""
    assert notices == ["Batch count is 0: it must be at least 1."]


def test_notices_are_escaped(tab: Txt2ImgTab, notices: list[str]):
    shows_errors(lambda: "")(lambda: press(tab, uuid.uuid4().hex, seed="<img src=x onerror=alert(1)>"))()
    assert "&lt;img" in notices[0]
    assert "<" not in notices[0]


def test_a_mistake_of_the_program_shows_no_traceback(notices: list[str], caplog: pytest.LogCaptureFixture):
    def broken():
        raise ZeroDivisionError("secret detail")

    assert shows_errors(lambda: 7)(broken)() == 7
    assert "secret" not in notices[0]
    assert "secret detail" in caplog.text


def test_paste_fills_what_is_there(tab: Txt2ImgTab):
    *updates, names = tab.paste("a cat\nSteps: 9, Sampler: Euler a, Seed: 3, Size: 128x64", None)
    values = {name: update.get("value") for name, update in zip(tab.names, updates, strict=True)}
    assert (values["prompt"], values["steps"], values["width"], values["height"]) == ("a cat", 9, 128, 64)
    assert values["cfg_scale"] is None
    assert set(json.loads(names)) == {name for name, value in values.items() if value is not None}


def test_paste_switches_techniques_off_that_the_text_does_not_tell_of(tab: Txt2ImgTab):
    *updates, _ = tab.paste("a cat\nSteps: 9, Sampler: Euler a, Seed: 3, pag_enabled: True, pag_scale: 2.5", None)
    values = {name: update.get("value") for name, update in zip(tab.names, updates, strict=True)}
    assert (values["pag_enabled"], values["pag_scale"], values["freeu_enabled"]) == (True, 2.5, False)
    assert (values["tiling"], values["cfg_rescale"], values["freeu_b1"]) == (False, 0.0, None)


def test_techniques_reach_the_job(tab: Txt2ImgTab, service: JobService):
    job_id = press(tab, uuid.uuid4().hex, pag_enabled=True, pag_scale=2.5, tiling=True)
    request = service.wait(job_id, 30).request
    assert request.perturbed_attention_guidance == PerturbedAttentionGuidance(scale=2.5)
    assert (request.tiling, request.freeu) == (True, None)


def test_a_wrong_technique_is_told_in_the_pages_words(tab: Txt2ImgTab, notices: list[str]):
    shows_errors(lambda: "")(lambda: press(tab, uuid.uuid4().hex, freeu_enabled=True, freeu_b1=3))()
    assert notices == ["FreeU: B1 is 3: it must be at most 2.0."]


def test_techniques_have_their_limits_and_start_switched_off(tab: Txt2ImgTab):
    assert (tab.fields["freeu_b1"].minimum, tab.fields["freeu_b1"].maximum) == (0, 2)
    assert (tab.fields["sag_scale"].minimum, tab.fields["sag_scale"].maximum) == (-2, 5)
    values = filled(tab, "small.safetensors")
    assert not any(values[name] for name in tab.names if name.endswith("_enabled"))
    assert (values["freeu_b1"], values["sag_blur_sigma"], values["pag_scale"], values["tiling"]) == (
        1.01,
        2.0,
        3.0,
        False,
    )


def test_the_refiner_is_chosen_among_the_checkpoints(tab: Txt2ImgTab, service: JobService):
    menus = tab.fill("")
    assert menus[3]["choices"] == ["None", *menus[0]["choices"]]
    values = filled(tab, "small.safetensors")
    assert (values["refiner_checkpoint"], values["refiner_switch_at"]) == ("None", 0.8)
    plain = service.wait(press(tab, uuid.uuid4().hex), 30).request
    assert plain.refiner_checkpoint is None
    chosen = press(tab, uuid.uuid4().hex, refiner_checkpoint="large.safetensors", refiner_switch_at=0.6)
    request = service.wait(chosen, 30).request
    assert (request.refiner_checkpoint, request.refiner_switch_at) == ("large.safetensors", 0.6)


def test_paste_finds_the_refiner(tab: Txt2ImgTab, notices: list[str]):
    def refiner(text):
        *updates, _ = tab.paste(f"a cat\nSteps: 9, Sampler: Euler a, Seed: 3{text}", None)
        return dict(zip(tab.names, updates, strict=True))["refiner_checkpoint"].get("value")

    assert refiner("") == "None"
    assert refiner(", Refiner: large [0123456789], Refiner switch at: 0.6") == "large.safetensors"
    assert notices == []
    assert refiner(", Refiner: nowhere, Refiner switch at: 0.6") is None
    assert notices[0].startswith("Checkpoint &quot;nowhere&quot; is not known.")


def test_paste_overrides_settings(tab: Txt2ImgTab, service: JobService, notices: list[str]):
    def entries(text):
        *updates, names = tab.paste(f"a cat\nSteps: 9, Sampler: Euler a, Seed: 3{text}", "small.safetensors")
        assert "override_settings" in json.loads(names)
        return dict(zip(tab.names, updates, strict=True))["override_settings"]["value"]

    assert entries("") == []
    assert entries(", Clip skip: 2, ENSD: 31337, Model: large") == ["Model: large", "Clip skip: 2", "ENSD: 31337"]
    assert notices == []
    assert entries(", Clip skip: 2, Model: <b>") == ["Clip skip: 2"]
    assert notices == [
        "The checkpoint &quot;&lt;b&gt;&quot; is not here: &quot;small.safetensors&quot; is used instead."
    ]
    service.change_options({"CLIP_stop_at_last_layers": 2})
    assert entries(", Clip skip: 2") == []
    assert entries("") == ["Clip skip: 1"]


def test_overridden_settings_reach_the_job(tab: Txt2ImgTab, service: JobService):
    job = service.wait(press(tab, uuid.uuid4().hex, override_settings=["ENSD: 31337", "Model: large"]), 30)
    assert (job.options["eta_noise_seed_delta"], job.options["sd_model_checkpoint"]) == (31337, "large.safetensors")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("Clip", "Override settings hold &quot;Clip&quot;: it must look like &quot;Clip skip: 2&quot;."),
        ("Clip skip: 13", "Clip skip is &quot;13&quot;: it must be at most 12."),
        ("Model hash: 0123456789", "Stable Diffusion checkpoint &quot;0123456789&quot; is not known. "),
    ],
)
def test_a_wrong_entry_is_told(entry: str, message: str, tab: Txt2ImgTab, notices: list[str]):
    shows_errors(lambda: "")(lambda: press(tab, uuid.uuid4().hex, override_settings=[entry]))()
    assert notices[0].startswith(message)


def test_overridden_settings_outlive_another_checkpoint(tab: Txt2ImgTab):
    assert filled(tab, "small.safetensors")["override_settings"] == []
    touched = {"override_settings": ["Clip skip: 2"]}
    assert filled(tab, "large.safetensors", **touched)["override_settings"] == ["Clip skip: 2"]
    *_, sent = tab.follow(json.dumps({"checkpoint": "large.safetensors", "touched": touched}))
    assert "override_settings" not in json.loads(sent)


def test_controls_have_the_requests_limits(tab: Txt2ImgTab):
    for name in ("width", "height"):
        assert (tab.fields[name].minimum, tab.fields[name].maximum) == (64, 2048)  # the API takes more
    for name in ("steps", "n_iter", "batch_size", "cfg_scale"):
        component, bounds = tab.fields[name], limits(name)
        assert (component.minimum, component.maximum) == (bounds["minimum"], bounds["maximum"])
    assert tab.fields["width"].step == limits("width")["step"]


def test_the_page_has_a1111s_names(service: JobService):
    config = built(lambda: build_page(service).get_config_file())
    props = {c["props"].get("elem_id"): c["props"] for c in config["components"]}
    wanted = (
        "prompt neg_prompt generate interrupt skip paste sampling scheduler steps width height batch_count batch_size"
    )
    assert {f"txt2img_{name}" for name in f"{wanted} cfg_scale seed random_seed reuse_seed".split()} <= set(props)
    assert props["txt2img_steps"]["label"] == "Sampling steps"
    assert props["setting_sd_model_checkpoint"]["label"] == "Stable Diffusion checkpoint"
    assert props["txt2img_prompt"]["placeholder"].startswith("Prompt\n(Press Ctrl+Enter to generate")
    assert len(config["components"]) < 800  # gradio's work before the page can be used grows with their square
    assert not config["connect_heartbeat"]  # an open connection a tab would use up the browser's six


def test_the_page_is_imported_without_torch_and_without_a_connection():
    program = (
        "import socket, sys\n"
        "def refused(*a): raise AssertionError(f'connects to {a}')\n"
        "socket.socket.connect = refused\n"
        "import webui.blocks\n"
        "assert 'torch' not in sys.modules, 'torch'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_separate_files_are_listed_and_pasted_by_name(tab, service):
    for folder, name in (("VAE", "ae.safetensors"), ("text_encoder", "t5xxl.safetensors")):
        (service.paths.models[0] / folder).mkdir(parents=True)
        (service.paths.models[0] / folder / name).write_bytes(b"")
    service.settings.update({"forge_additional_modules": ["ae.safetensors"]})
    *_, modules, values = tab.fill(None)
    assert modules["choices"] == ["ae.safetensors", "t5xxl.safetensors"]
    assert json.loads(values)["forge_additional_modules"] == ["ae.safetensors"]
    text = "a fox\nSteps: 4, Sampler: Euler, Seed: 1, Size: 64x64, Module 1: t5xxl, Module 2: gone"
    *updates, _ = tab.paste(text, "small.safetensors")
    pasted = dict(zip(tab.names, updates, strict=True))["forge_additional_modules"]
    assert pasted["value"] == ["t5xxl.safetensors", "gone"]


HIRES = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Lanczos", "hr_prompt": "a blue ball", "hr_cfg": 0}


def test_hires_fix_reaches_the_job(tab: Txt2ImgTab, service: JobService):
    job = service.job(press(tab, uuid.uuid4().hex, **HIRES))
    assert (job.request.enable_hr, job.request.target.final(), job.request.hr_cfg) == (True, (96, 96), None)
    assert (job.request.hr_sampler_name, job.request.hr_prompt) == (None, "a blue ball")
    assert not service.job(press(tab, uuid.uuid4().hex)).request.enable_hr


def test_menus_of_hires_fix(tab: Txt2ImgTab):
    menus = dict(zip(tab.menus([]), tab.fill(None)[1:-1], strict=True))
    assert menus["hr_upscaler"]["choices"][0] == "Latent"
    assert {"Lanczos", "Nearest"} < set(menus["hr_upscaler"]["choices"])
    assert menus["hr_sampler_name"]["choices"][:2] == ["Use same sampler", menus["sampler_name"]["choices"][0]]
    assert "Use same checkpoint" in menus["hr_checkpoint_name"]["choices"]
    assert filled(tab, None)["hires_rows"] == [False, False]


def test_a_picture_of_the_gallery_is_made_larger_with_its_own_seed(tab: Txt2ImgTab, service: JobService):
    first = press(tab, uuid.uuid4().hex, prompt='{"pause": 0}', seed="12", n_iter=2)
    service.wait(first, 30)
    picture = service.images(first)[1]
    picture.path.write_bytes(encode_png(Image.new("RGB", (64, 64)), None))
    given = {**starting_values(None, service.checkpoints, service.catalogue), "seed": "-1", "n_iter": 4}
    values = [packed(given)[name] for name in tab.names]
    job = service.job(tab.upscale(uuid.uuid4().hex, first, str(picture.id), "small.safetensors", *values))
    request = job.request
    assert (request.enable_hr, request.seed, request.n_iter, request.batch_size) == (True, 13, 1, 1)
    assert (request.width, request.height) == (64, 64)
    assert service.store.whole_request(job).firstpass_image.data == picture.path.read_bytes()
    for wrong in ("", "0", "x", None):
        with pytest.raises(NotFound):
            tab.upscale(uuid.uuid4().hex, "", wrong, "small.safetensors", *values)
