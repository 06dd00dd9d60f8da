"""Scripts of img2img on a tiny model of random weights: what they draw, what they hand over, how they go on and stop."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.images.infotext import parse_infotext
from modules.jobs.executors.base import Cancel, Wish
from modules.requests.events import FIRST_WORK, Done, Failed, ImageReady, Order, Progress, Warned
from modules.requests.img2img import make_img2img_request
from modules.requests.txt2img import make_request
from modules.scripts.build import build_engine
from modules.scripts.pictures import as_picture
from modules.scripts.ultimate import factors
from tests.tiny import write_tiny

SMALL = {
    "prompt": "a red star",
    "width": 64,
    "height": 64,
    "steps": 2,
    "sampler_name": "Euler",
    "denoising_strength": 0.5,
}
LOOPBACK, MK2, POOR, UPSCALE, ULTIMATE = (
    *("Loopback", "Outpainting mk2", "Poor man's outpainting"),
    *("SD upscale", "Ultimate SD upscale"),
)


def gradient(width=64, height=64):
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, 0 * x + 90], axis=-1).astype(np.uint8))


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    data = tmp_path_factory.mktemp("scripts")
    write_tiny(data / "models" / "Stable-diffusion" / "tiny.safetensors")
    return build_engine(paths=Paths(data=data), use_cpu=True)


@pytest.fixture(scope="module")
def run(engine):
    """A function that does a job over SMALL, and gives its events."""

    def run(name=None, *args, cancel=None, kept=(), options=None, on_event=lambda event: None, seed=11, **values):
        values.setdefault("init_images", (as_picture(gradient()),))
        request = make_img2img_request({**SMALL, **values, "script_name": name, "script_args": args})
        chosen = {"sd_model_checkpoint": "tiny", "live_previews_enable": False, **(options or {})}
        done = frozenset(event.index for event in kept)
        settings = Settings().changed(chosen).flat()
        order = Order(job="test", request=request, seed=seed, options=settings, done=done, kept=tuple(kept))
        found = []
        for event in engine.run(order, cancel or Cancel()):
            found.append(event)
            on_event(event)
        return found

    return run


def made(events):
    return [event for event in events if isinstance(event, ImageReady)]


def shown(events):
    return [event for event in made(events) if 0 <= event.index < FIRST_WORK]


def works(events):
    return [event for event in made(events) if event.index >= FIRST_WORK]


def grids(events):
    return [event for event in made(events) if event.grid]


def opened(event):
    return Image.open(io.BytesIO(event.data)).convert("RGB")


def told(event):
    return parse_infotext(event.infotext).fields


def stopping(count, wish: Wish = "interrupt"):
    """A wish to stop once so many pictures are there, and what watches for it."""
    cancel, seen = Cancel(), []

    def watch(event):
        if isinstance(event, ImageReady):
            seen.append(event)
            if len(seen) == count:
                cancel.ask(wish)

    return {"cancel": cancel, "on_event": watch}


def test_loopback_draws_on_from_what_it_drew(run):
    events = run(LOOPBACK, 3, 0.2, "Linear", "None", denoising_strength=0.6)
    found = shown(events)
    assert [one.seed for one in found] == [11, 12, 13]
    assert [told(one)["Denoising strength"] for one in found] == ["0.6", "0.4", "0.2"]
    assert told(found[2])["Denoising curve"] == "Linear"
    assert told(found[2])["Final denoising strength"] == "0.2"
    alone = shown(run(init_images=(as_picture(opened(found[1])),), denoising_strength=0.2, seed=13))[0]
    assert opened(alone).tobytes() == opened(found[2]).tobytes()
    (grid,) = grids(events)
    assert opened(grid).size == (192, 64)
    assert [(e.batch, e.batches) for e in events if isinstance(e, Progress)][-1] == (2, 3)


def test_loopback_of_several_rounds_shows_the_last_of_each(run):
    events = run(LOOPBACK, 2, 0.9, "Lazy", n_iter=2)
    assert [one.seed for one in shown(events)] == [11, 12, 13, 14]
    assert events[-1].info["hidden"] == [0, 2]
    assert opened(grids(events)[0]).size == (128, 64)


@pytest.mark.parametrize(("curve", "middle"), [("Aggressive", "0.78284"), ("Linear", "0.7"), ("Lazy", "0.61716")])
def test_curves(run, curve, middle):
    strengths = [told(one)["Denoising strength"] for one in shown(run(LOOPBACK, 3, 0.9, curve))]
    assert strengths[0] == "0.5"
    assert float(strengths[1]) == pytest.approx(float(middle), abs=1e-4)
    assert float(strengths[2]) == pytest.approx(0.9)


def test_loopback_goes_on_where_another_try_ended(run):
    whole = run(LOOPBACK, 3)
    again = run(LOOPBACK, 3, kept=shown(whole)[:2])
    assert [one.index for one in shown(again)] == [2]
    assert shown(again)[0].data == shown(whole)[2].data
    assert grids(again)[0].data == grids(whole)[0].data


def test_loopback_keeps_to_the_colours_of_the_first_picture(run):
    grey = (as_picture(Image.new("RGB", (64, 64), (60, 60, 60))),)
    found = shown(run(LOOPBACK, 2, init_images=grey, options={"img2img_color_correction": True}))
    assert opened(found[1]).convert("L").getextrema() != (60, 60)
    assert np.ptp(np.asarray(opened(found[1])).astype(int), axis=2).max() <= 3


def test_sd_upscale_draws_each_tile_as_it_would_be_drawn_alone(run):
    picture = gradient(64, 64)
    events = run(UPSCALE, None, 16, "Lanczos", 2, init_images=(as_picture(picture),), batch_size=2)
    large = picture.resize((128, 128), Image.Resampling.LANCZOS)
    tiles = works(events)
    assert len(tiles) == 9
    places = [(x, y) for y in (0, 32, 64) for x in (0, 32, 64)]
    for i in (0, 4, 8):  # each the first of its batch, which begins with a seed one higher than the last
        x, y = places[i]
        seed = 11 + i // 2
        alone = shown(run(init_images=(as_picture(large.crop((x, y, x + 64, y + 64))),), seed=seed))[0]
        assert np.abs(np.asarray(opened(alone)).astype(int) - np.asarray(opened(tiles[i]))).max() <= 1
    (result,) = shown(events)
    assert opened(result).size == (128, 128)
    assert opened(result).getpixel((3, 3)) == opened(tiles[0]).getpixel((3, 3))
    assert opened(result).getpixel((124, 124)) == opened(tiles[8]).getpixel((60, 60))
    said = told(result)
    assert (said["SD upscale overlap"], said["SD upscale upscaler"], said["Size"]) == ("16", "Lanczos", "64x64")
    assert isinstance(events[-1], Done)


def test_a_batch_count_draws_large_pictures_of_other_seeds(run):
    events = run(UPSCALE, None, 16, 1, 1.5, n_iter=2)
    assert [one.seed for one in shown(events)] == [11, 12]
    assert [one.index for one in shown(events)] == [0, 1]


def test_sd_upscale_goes_on_where_another_try_ended(run):
    whole = run(UPSCALE, None, 0, "Lanczos", 2)
    assert [one.keep for one in works(whole)] == [False] * 4
    again = run(UPSCALE, None, 0, "Lanczos", 2, kept=works(whole)[:3])
    assert [one.index for one in works(again)] == [FIRST_WORK + 3]
    assert opened(shown(again)[0]).tobytes() == opened(shown(whole)[0]).tobytes()
    last = run(UPSCALE, None, 0, "Lanczos", 2, kept=made(whole))
    assert not made(last)


def test_an_interrupted_upscale_hands_over_what_there_is(run):
    events = run(UPSCALE, None, 0, "Lanczos", 2, **stopping(2))
    (result,) = shown(events)
    assert result.incomplete
    assert events[-1].stopped
    corner = np.asarray(opened(result))[64:, 64:]
    large = gradient().resize((128, 128), Image.Resampling.LANCZOS)
    assert (corner == np.asarray(large)[64:, 64:]).all(), "what is not drawn is as the upscaler left it"


@pytest.mark.parametrize("script", [(UPSCALE, None, 0, "Lanczos", 2), (MK2, None, 64, 4, ["right", "down"], 1, 0.05)])
def test_finishing_makes_the_picture_in_work_whole(run, script):
    events = run(*script, n_iter=3, **stopping(1, "finish"))
    (result,) = shown(events)
    assert opened(result).size == (128, 128) and not result.incomplete
    assert events[-1].stopped


def test_poor_mans_outpainting(run):
    events = run(POOR, 32, 4, "fill", ["left"], denoising_strength=0.9)
    (result,) = shown(events)
    assert opened(result).size == (128, 64)
    assert len(works(events)) == 2
    kept = np.asarray(opened(result)).astype(int)[:, 64 + 24 :] - np.asarray(gradient())[:, 24:]
    assert np.abs(kept).max() <= 1, "what was there stays"
    new = np.asarray(opened(result))[:, :40]
    assert new.std() > 1


def test_poor_mans_outpainting_of_all_sides_with_less_than_a_tile(run):
    events = run(POOR, 32, 0, 2, ["left", "right", "up", "down"], init_images=(as_picture(gradient(72, 64)),))
    assert opened(shown(events)[0]).size == (192, 128)


def test_outpainting_mk2(run):
    events = run(MK2, None, 64, 4, ["right", "down"], 1, 0.05, denoising_strength=0.8, batch_size=2)
    first, second = shown(events)
    assert opened(first).size == (128, 128)
    assert len(works(events)) == 4
    assert [one.seed for one in (first, second)] == [11, 12]
    assert first.data != second.data
    kept = np.asarray(opened(first)).astype(int)[:40, :40] - np.asarray(gradient())[:40, :40]
    assert np.abs(kept).max() <= 1, "what was there stays"
    assert opened(grids(events)[0]).size == (256, 128)
    assert not grids(run(MK2, None, 64, 4, ["up"]))


def test_outpainting_mk2_of_odd_sizes(run):
    events = run(MK2, None, 8, 0, ["left", "right", "up"], init_images=(as_picture(gradient(75, 66)),))
    assert opened(shown(events)[0]).size == (128, 128)


ULTIMATE_ARGS = {
    "tile_width": 64, "tile_height": 64, "mask_blur": 4, "padding": 16, "seams_fix_width": 32, "seams_fix_denoise": 0.5,
    "seams_fix_padding": 8, "upscaler_index": "Lanczos", "save_upscaled_image": True, "redraw_mode": "Linear",
    "save_seams_fix_image": False, "seams_fix_mask_blur": 2, "seams_fix_type": "None", "target_size_type": 2,
    "custom_width": 128, "custom_height": 64, "custom_scale": 2,
}  # fmt: skip


def ultimate(run, *, more=None, **changed):
    return run(ULTIMATE, None, *{**ULTIMATE_ARGS, **changed}.values(), **(more or {}))


def test_ultimate_upscale_is_inpainting_of_the_whole_picture_tile_by_tile(run):
    events = ultimate(run)
    (result,) = shown(events)
    assert len(works(events)) == 4
    whole = gradient().resize((128, 128), Image.Resampling.LANCZOS)
    for x, y in ((0, 0), (64, 0), (0, 64), (64, 64)):
        mask = Image.new("L", (128, 128))
        mask.paste(255, (x, y, x + 65, y + 65))
        asked = {
            "init_images": (as_picture(whole),), "mask": as_picture(mask), "mask_blur_x": 4, "mask_blur_y": 4, "width": 128,
            "height": 128, "inpainting_fill": 1, "inpaint_full_res": 1, "inpaint_full_res_padding": 16,
        }  # fmt: skip
        (whole,) = (opened(one) for one in shown(run(**asked)))
    assert opened(result).tobytes() == whole.tobytes()
    said = told(result)
    assert (said["Size"], said["Mask blur"], said["Inpaint area"]) == ("128x128", "4", "Only masked")
    names = ("upscaler", "tile_width", "tile_height", "mask_blur", "padding")
    assert [said[f"Ultimate SD upscale {name}"] for name in names] == ["Lanczos", "64", "64", "4", "16"]


@pytest.mark.parametrize(
    ("kind", "patches"), [("Band pass", 2), ("Half tile offset pass", 4), ("Half tile offset pass + intersections", 5)]
)
def test_seams_are_drawn_once_more(run, kind, patches):
    events = ultimate(run, seams_fix_type=kind)
    redrawn, mended = shown(events)
    assert len(works(events)) == 4 + patches
    assert (redrawn.keep, mended.keep) == (True, False)
    change = np.abs(np.asarray(opened(redrawn)).astype(int) - np.asarray(opened(mended))).max(axis=2)
    assert change[58:70].max() > 1
    assert change[:20, :20].max() <= 1, "what is far from a seam stays"
    assert told(mended)["Denoising strength"] == "0.5"


def test_chess_draws_fields_of_one_colour_first(run):
    linear, chess = (shown(ultimate(run, redraw_mode=mode))[0] for mode in ("Linear", "Chess"))
    assert linear.data != chess.data
    assert not works(ultimate(run, redraw_mode="None"))


def test_ultimate_upscale_leaves_a_picture_that_is_large_enough(run):
    noise = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    given = {"init_images": (as_picture(Image.fromarray(noise)),)}
    same = {"upscaler_index": "Nearest", "redraw_mode": "None", "target_size_type": 1, "custom_width": 64}
    (result,) = shown(ultimate(run, more=given, **same))
    assert opened(result).tobytes() == noise.tobytes()
    assert told(result)["Ultimate SD upscale upscaler"] == "Nearest"
    given = {"init_images": (as_picture(Image.fromarray(noise).resize((128, 128))),)}
    assert opened(shown(ultimate(run, more=given, **same))[0]).size == (64, 64)
    assert [factors(scale) for scale in (1, 2, 3, 4, 5)] == [[], [2], [3], [4], [3, 2]]


def test_ultimate_upscale_goes_on_where_another_try_ended(run):
    whole = ultimate(run, seams_fix_type="Band pass")
    again = ultimate(run, seams_fix_type="Band pass", more={"kept": made(whole)[:6]})
    assert [one.index for one in works(again)] == [FIRST_WORK + 5]
    assert [one.index for one in shown(again)] == [1]
    assert shown(again)[0].data == shown(whole)[1].data


def test_an_interrupted_ultimate_upscale_hands_over_what_there_is(run):
    events = ultimate(run, seams_fix_type="Band pass", more=stopping(2))
    (result,) = shown(events)
    assert result.incomplete
    assert events[-1].stopped


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        (LOOPBACK, [99], '"Loops" of Loopback is 99'),
        (LOOPBACK, [2, 0.5, "Linear", "DeepBooru"], "models/torch_deepdanbooru"),
        (LOOPBACK, [2, 0.5, "Linear", "CLIP"], "needs a model"),
        (UPSCALE, [None, 64, "Lanczos", 2], "tiles of 64 x 64 pixels that overlap by 64"),
        (UPSCALE, [None, 0, "nowhere", 2], "nowhere"),
        (UPSCALE, [None, 0, 999, 2], "999"),
        (POOR, [64, 4, "fill", []], "no direction to expand into"),
        (POOR, [64, 4, "fill", ["north"]], "a list of names, of left, right, up, down"),
        (MK2, [None, 64, 4, []], "no direction to expand into"),
        (ULTIMATE, [None, 0, 0], "tiles of 0 x 0 pixels"),
    ],
)
def test_wrong_arguments_fail_with_a_sentence(run, name, args, words):
    events = run(name, *args)
    assert isinstance(events[-1], Failed)
    assert events[-1].kind != "EngineError"
    assert re.search(words, events[-1].message), events[-1].message
    assert not made(events)


def test_too_large_pictures_are_refused(run):
    events = run(
        ULTIMATE, None, *{**ULTIMATE_ARGS, "custom_scale": 16}.values(), init_images=(as_picture(gradient(2000, 64)),)
    )
    assert "32000 x 1024 pixels: at most 16384" in events[-1].message


def alternative(run, text="a red star", st=4, more=None, **changed):
    plain = {"sampler": True, "prompt": True, "text": text, "negative": "", "steps": True, "st": st, "strength": True}
    args = {**plain, "cfg": 1, "randomness": 0, "adjusted": True, **changed}
    return run("img2img alternative test", None, *args.values(), cfg_scale=1, **(more or {}))


def apart(one, other):
    return np.abs(np.asarray(opened(one)).astype(float) - np.asarray(opened(other))).max()


def test_the_alternative_test_with_nothing_but_the_seeds_noise_is_text_to_image(run, engine):
    request = make_request({**SMALL, "denoising_strength": 0.75, "steps": 4, "cfg_scale": 1})
    options = Settings().changed({"sd_model_checkpoint": "tiny", "live_previews_enable": False}).flat()
    (plain,) = made([*engine.run(Order(job="test", request=request, seed=11, options=options), Cancel())])
    (noisy,) = shown(alternative(run, randomness=1))
    assert apart(noisy, plain) <= 1
    (found,) = shown(alternative(run))
    (half,) = shown(alternative(run, randomness=0.5))
    assert min(apart(found, noisy), apart(found, half), apart(half, noisy)) > 1
    (other,) = shown(alternative(run, adjusted=False))
    assert apart(other, found) > 1
    said = told(found)
    assert (said["Decode steps"], said["Randomness"], said["Sigma Adjustment"]) == ("4", "0.0", "True")
    assert (said["Steps"], said["Denoising strength"], said["Decode prompt"]) == ("4", "1.0", "a red star")


def test_the_alternative_test_takes_its_overrides(run):
    (drawn,) = shown(alternative(run, "a blue moon", st=3, more={"sampler_name": "Heun"}, adjusted=False))
    assert parse_infotext(drawn.infotext).prompt == "a blue moon"
    assert told(drawn)["Sampler"] == "Euler"
    kept = alternative(
        run, "a moon", sampler=False, prompt=False, steps=False, strength=False, st=3, more={"sampler_name": "Heun"}
    )
    assert [told(shown(kept)[0])[key] for key in ("Sampler", "Steps", "Denoising strength")] == ["Heun", "2", "0.5"]
    assert parse_infotext(shown(kept)[0].infotext).prompt == "a red star"
    assert any(event.phase == "finding noise, 3 of 3" for event in kept if isinstance(event, Progress))


def test_the_search_for_noise_can_be_stopped(run):
    cancel = Cancel()

    def watch(event):
        if isinstance(event, Progress) and event.phase == "finding noise, 2 of 4":
            cancel.ask("interrupt")

    events = alternative(run, more={"cancel": cancel, "on_event": watch})
    assert events[-1].stopped
    assert not made(events)


def test_tiled_diffusion_inverts_noise(run):
    tiles = {"tile_width": 16, "tile_height": 16, "overlap": 8, "noise_inverse": True, "noise_inverse_steps": 3}
    same = {"init_images": (as_picture(gradient(192, 64)),), "width": 192, "denoising_strength": 0.9}

    def of(**changed):
        return shown(run(**same, tiled_diffusion={**tiles, **changed}))[0]

    kept = of(noise_inverse_renoise_strength=0)
    others = [of(noise_inverse=False), of(), of(noise_inverse_renoise_strength=0, noise_inverse_retouch=5)]
    assert min(apart(kept, other) for other in others) > 1
    heun = run(**same, tiled_diffusion=tiles, sampler_name="Heun")
    assert told(shown(heun)[0])["Sampler"] == "Euler"
    assert any("draws with Euler instead of Heun" in event.message for event in heun if isinstance(event, Warned))
