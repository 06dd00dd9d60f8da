"""Live previews by every method, from files as they are downloaded."""

import io

import pytest
import torch
from diffusers.models.autoencoders.vae import DecoderTiny, EncoderTiny
from PIL import Image
from safetensors.torch import save_file

from modules.core.errors import InputError, ModelFileError
from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.families.small_decoders import APPROX, FILES, TAESD, file_name, find, read_decoder, read_encoder
from modules.jobs.executors.base import Cancel
from modules.requests.events import Done, Failed, ImageReady, Order, Preview, Warned
from modules.requests.img2img import make_img2img_request
from modules.requests.pictures import Picture
from modules.requests.txt2img import make_request
from tests.tiny import write_tiny

CPU = torch.device("cpu")


def tiny_decoder(channels=4, width=8):
    torch.manual_seed(1)
    return DecoderTiny(
        channels, 3, (3, 3, 3, 1), (width,) * 4, upsampling_scaling_factor=2, act_fn="relu", upsample_fn="nearest"
    )


def original(decoder):
    """Its weights under the names of its authors' files."""
    tensors = {name.removeprefix("layers."): tensor.detach() for name, tensor in decoder.named_parameters()}
    return {f"{int(name.split('.')[0]) + 1}.{name.split('.', 1)[1]}": tensor for name, tensor in tensors.items()}


def approx(channels=4):
    """A1111's decoder: convolutions of 7, 5 and 3."""
    torch.manual_seed(2)
    widths, kernels = (channels, 8, 16, 32, 64, 32, 16, 8, 3), (7, 5, 3, 3, 3, 3, 3, 3)
    found = {}
    for i, kernel in enumerate(kernels):
        found[f"conv{i + 1}.weight"] = torch.randn(widths[i + 1], widths[i], kernel, kernel) * 0.2
        found[f"conv{i + 1}.bias"] = torch.randn(widths[i + 1]) * 0.1
    return found


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("names", ["original", "diffusers"])
def test_taesd_is_the_decoder_of_the_file(tmp_path, suffix, names):
    decoder = tiny_decoder()
    tensors = original(decoder)
    if names == "diffusers":
        tensors = {f"decoder.{name}": tensor.detach() for name, tensor in decoder.named_parameters()}
    file = tmp_path / f"taesd_decoder{suffix}"
    torch.save(tensors, file) if suffix == ".pth" else save_file(tensors, file)
    latents = torch.randn(2, 4, 5, 7)
    found = read_decoder(TAESD, file, 4, CPU, torch.float32)
    assert torch.equal(found(latents), decoder(latents))
    assert find([tmp_path / "no", tmp_path], "taesd_decoder") == file


def test_approx_is_eight_convolutions(tmp_path):
    file = tmp_path / "model.pt"
    torch.save(approx(), file)
    pixels = read_decoder(APPROX, file, 4, CPU, torch.float32)(torch.randn(2, 4, 6, 5))
    assert pixels.shape == (2, 3, 12, 10)
    flat = read_decoder(APPROX, file, 4, CPU, torch.float32)(torch.ones(1, 4, 30, 30))[0, :, 30, 30]
    tensors, x = approx(), torch.ones(4)
    for i in range(1, 9):  # in the middle of a constant picture a convolution is the sum of its weights
        x = tensors[f"conv{i}.weight"].sum(dim=(2, 3)) @ x + tensors[f"conv{i}.bias"]
        x = torch.where(x < 0, 0.1 * x, x)
    torch.testing.assert_close(flat, x, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("method", "tensors"),
    [
        (TAESD, {"x": torch.ones(1)}),
        (TAESD, {"1.weight": torch.ones(3)}),
        (TAESD, {"1.weight": torch.ones(8, 4, 3, 3)}),
        (TAESD, original(tiny_decoder(16))),
        (APPROX, {"conv1.weight": torch.ones(8, 4, 7, 7)}),
        (APPROX, {**approx(), "conv3.weight": torch.ones(8)}),
        (APPROX, {**approx(), "conv3.weight": torch.ones(32, 5, 3, 3)}),
        (APPROX, approx(16)),
    ],
)
def test_files_that_are_none(tmp_path, method, tensors):
    save_file(tensors, tmp_path / "it.safetensors")
    with pytest.raises(ModelFileError, match=r'^"it.safetensors" '):
        read_decoder(method, tmp_path / "it.safetensors", 4, CPU, torch.float32)


def test_which_file_is_for_which_latents():
    assert file_name(TAESD, (4, 8, 0.18215, 0.0)) == "taesd_decoder"
    assert file_name(TAESD, (16, 8, 0.3611, 0.1159)) == "taef1_decoder"
    assert file_name(APPROX, (4, 8, 0.13025, 0.0)) == "vaeapprox-sdxl"
    assert file_name(APPROX, (16, 8, 0.3611, 0.1159)) is None
    assert file_name(TAESD, (16, 8, "qwen")) is None
    assert file_name(TAESD, ("dc", 32, 32)) is None


@pytest.fixture
def draw(tmp_path):
    write_tiny(tmp_path / "models" / "Stable-diffusion" / "tiny.safetensors")
    folder = tmp_path / "models" / "VAE-approx"
    folder.mkdir()
    engines = []

    def run(method, width=64, **options):
        if not engines:
            engines.append(build_engine(paths=Paths(data=tmp_path), use_cpu=True))
            engines[0]._tools.previews._folders = (folder,)  # without what lies in this checkout
        changed = {"show_progress_type": method, "show_progress_every_n_steps": 1, **options}
        settings = Settings().changed({"sd_model_checkpoint": "tiny", **changed})
        request = make_request({"prompt": "x", "width": width, "height": 64, "steps": 3, "batch_size": 2})
        events = list(engines[0].run(Order(job="t", request=request, seed=1, options=settings.flat()), Cancel()))
        assert isinstance(events[-1], Done)
        previews = [Image.open(io.BytesIO(e.data)) for e in events if isinstance(e, Preview)]
        return previews, [e.message for e in events if isinstance(e, Warned)]

    return folder, run


@pytest.mark.parametrize("method", ["Full", "Approx NN", "Approx cheap", "TAESD"])
@pytest.mark.parametrize("together", [True, False])
def test_every_method_shows_the_batch_or_its_first(draw, method, together):
    folder, run = draw
    save_file(original(tiny_decoder()), folder / "taesd_decoder.safetensors")
    torch.save(approx(), folder / "model.pt")
    previews, warnings = run(method, width=72, show_progress_grid=together)
    assert previews[0].size == ((144, 64) if together else (72, 64))
    assert warnings == []


@pytest.mark.parametrize(("method", "name"), [("TAESD", "taesd_decoder"), ("Approx NN", "model")])
def test_without_its_file_the_cheap_one_is_shown(draw, method, name):
    folder, run = draw
    previews, warnings = run(method)
    assert len(previews) >= 1
    assert warnings == [
        f"{method} previews need the file {name} in models/VAE-approx: cheap ones are shown until it is there."
    ]
    assert run(method)[1] == []


def test_a_damaged_file_is_told_once(draw):
    folder, run = draw
    (folder / "taesd_decoder.pth").write_bytes(b"nothing")
    previews, warnings = run("TAESD")
    assert len(previews) >= 1
    assert len(warnings) == 1
    assert warnings[0].startswith('"taesd_decoder.pth" ')
    assert run("TAESD")[1] == []


def test_methods_that_are_none():
    assert set(FILES) == {TAESD, APPROX}
    with pytest.raises(InputError, match="show_progress_type"):
        Settings().changed({"show_progress_type": "Approx"})


def tiny_encoder(channels=4, width=8):
    torch.manual_seed(3)
    return EncoderTiny(3, channels, num_blocks=(1, 3, 3, 3), block_out_channels=(width,) * 4, act_fn="relu")


@pytest.mark.parametrize("prefix", ["", "encoder.layers."])
def test_taesd_encodes_as_the_encoder_of_the_file(tmp_path, prefix):
    encoder = tiny_encoder()
    named = {name.removeprefix("layers."): tensor.detach() for name, tensor in encoder.named_parameters()}
    save_file({f"{prefix}{name}": tensor for name, tensor in named.items()}, tmp_path / "taesd_encoder.safetensors")
    pixels = torch.rand(2, 3, 64, 48)
    found = read_encoder(tmp_path / "taesd_encoder.safetensors", 4, CPU, torch.float32)
    assert torch.equal(found(pixels), encoder(pixels))
    with pytest.raises(ModelFileError, match="no TAESD encoder for latents of 16 channels"):
        read_encoder(tmp_path / "taesd_encoder.safetensors", 16, CPU, torch.float32)


def test_taesd_instead_of_the_autoencoder(tmp_path):
    write_tiny(tmp_path / "models" / "Stable-diffusion" / "tiny.safetensors")
    folder = tmp_path / "models" / "VAE-approx"
    folder.mkdir(parents=True)
    engine = build_engine(paths=Paths(data=tmp_path), use_cpu=True)
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 40, 30)).save(buffer, format="PNG")

    def events(**options):
        chosen = {"sd_model_checkpoint": "tiny", "live_previews_enable": False, **options}
        values = {"width": 64, "height": 64, "steps": 2, "init_images": (Picture.of(buffer.getvalue()),)}
        request = make_img2img_request({**values, "sampler_name": "Euler"})
        return [
            *engine.run(Order(job="x", request=request, seed=1, options=Settings().changed(chosen).flat()), Cancel())
        ]

    plain = next(e for e in events() if isinstance(e, ImageReady))
    for option, file in (("sd_vae_encode_method", "taesd_encoder"), ("sd_vae_decode_method", "taesd_decoder")):
        ended = events(**{option: "TAESD"})[-1]
        assert isinstance(ended, Failed) and f"the file {file} in models/VAE-approx" in ended.message
    save_file(original(tiny_decoder()), folder / "taesd_decoder.safetensors")
    named = {name.removeprefix("layers."): tensor.detach() for name, tensor in tiny_encoder().named_parameters()}
    save_file(named, folder / "taesd_encoder.safetensors")
    pictures = {}
    for option, key in (("sd_vae_encode_method", "VAE Encoder"), ("sd_vae_decode_method", "VAE Decoder")):
        found = next(e for e in events(**{option: "TAESD"}) if isinstance(e, ImageReady))
        assert f"{key}: TAESD" in found.infotext
        pictures[key] = found.data
    assert len({plain.data, *pictures.values()}) == 3
