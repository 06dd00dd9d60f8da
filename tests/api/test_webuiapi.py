"""What the PyPI client webuiapi offers, against a running server with the bundled model; A1111 itself has no `artists` any more,
and `promptgen` is an extension that is not here."""

from collections.abc import Iterator

import pytest
import webuiapi
from PIL import Image

from tests.server import Server

SMALL = {"width": 64, "height": 64, "steps": 2, "cfg_scale": 3}


@pytest.fixture(scope="module")
def api(server: Server) -> Iterator[webuiapi.WebUIApi]:
    found = webuiapi.WebUIApi(port=server.port)
    yield found
    found.session.close()


def test_lists(api):
    assert api.util_get_model_names() and api.util_get_current_model() == api.util_get_model_names()[0]
    assert "Euler a" in api.util_get_sampler_names() and "karras" in [n.lower() for n in api.util_get_scheduler_names()]
    assert {"name", "label"} <= set(api.get_schedulers()[0]) and {"name", "aliases", "options"} <= set(
        api.get_samplers()[0]
    )
    for name in ("upscalers", "latent_upscale_modes", "face_restorers", "realesrgan_models", "prompt_styles"):
        assert isinstance(getattr(api, f"get_{name}")(), list), name
    for name in ("hypernetworks", "loras", "sd_vae", "sd_models"):
        assert isinstance(getattr(api, f"get_{name}")(), list), name
    assert set(api.get_embeddings()) == {"loaded", "skipped"}
    assert set(api.get_memory()) == {"ram", "cuda"} and "port" in api.get_cmd_flags()
    assert "prompt matrix" in api.get_scripts()["txt2img"]
    api.refresh_checkpoints()


def test_pictures(api):
    drawn = api.txt2img(prompt="a red star", seed=7, n_iter=2, **SMALL)
    assert len(drawn.images) == 2 and drawn.image.size == (64, 64) and drawn.info["all_seeds"] == [7, 8]
    assert drawn.parameters["prompt"] == "a red star"
    larger = api.txt2img(prompt="x", enable_hr=True, hr_scale=2, hr_upscaler=webuiapi.HiResUpscaler.Latent, **SMALL)
    assert larger.image.size == (128, 128)
    mask = Image.new("L", (64, 64), 255)
    again = api.img2img(images=[drawn.image], mask_image=mask, prompt="a house", denoising_strength=0.5, **SMALL)
    assert again.image.size == (64, 64)
    assert isinstance(api.png_info(drawn.image).info, str)
    single = api.extra_single_image(image=drawn.image, upscaler_1="Lanczos", upscaling_resize=2)
    assert single.image.size == (128, 128)
    batch = api.extra_batch_images(images=drawn.images, upscaler_1=webuiapi.Upscaler.none, upscaling_resize=1)
    assert len(batch.images) == 2
    matrix = api.txt2img(
        prompt="a|b", script_name="Prompt matrix", script_args=[False, False, "positive", "comma", 0], **SMALL
    )
    assert len(matrix.images) >= 2


def test_settings_and_wishes(api):
    api.set_options({"CLIP_stop_at_last_layers": 2})
    assert api.get_options()["CLIP_stop_at_last_layers"] == 2
    api.set_options({"CLIP_stop_at_last_layers": 1})
    api.util_set_model(api.util_get_model_names()[0])
    assert api.get_progress()["progress"] == 0.0
    api.util_wait_for_ready(check_interval=0.1)
    api.interrupt()
    api.skip()
    assert api.custom_get("sdapi/v1/samplers") == api.get_samplers()
    assert (
        api.controlnet_version() >= 2 and api.controlnet_module_list() and isinstance(api.controlnet_model_list(), list)
    )


def test_what_it_cannot_do_is_an_error_of_its_own(api):
    for words in ({"sampler_name": "Eular"}, {"width": 7}):
        with pytest.raises(RuntimeError, match="422"):
            api.txt2img(prompt="x", **{**SMALL, **words})


def test_a_password_is_taken(tmp_path):
    with Server(tmp_path / "data", "--nowebui", "--auth", "ann:first secret") as server:
        api = webuiapi.WebUIApi(port=server.port)
        api.set_auth("ann", "wrong")
        assert "detail" in api.get_samplers()
        api.set_auth("ann", "first secret")
        assert "Euler a" in api.util_get_sampler_names()
        api.session.close()
