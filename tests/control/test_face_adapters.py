"""IP-Adapter Face ID, its plus and Instant-ID's: words as their formulas give them, and what diffusers' own U-Net makes of them."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import gelu, layer_norm, linear

from modules.control.face_adapter import FACE_ID, FACE_ID_PLUS, INSTANT_ID, OWN_LORA, FaceAdapter, FacePrompt
from modules.control.ip_adapter import Words
from modules.control.ip_building import build_ip_adapter
from modules.control.networks import ControlNet
from modules.control.preprocessors.registry import Preprocessors
from modules.control.preprocessors.tools import Tools
from modules.control.turns import Moment
from modules.control.units import WorkingUnit
from modules.core.errors import InputError, ModelFileError
from modules.core.paths import Paths
from modules.detect.detectors import Detectors
from modules.detect.faces import five_points
from modules.devices.choice import choose_compute
from modules.families.weights import read_weights
from modules.library.detectors import DetectorFiles
from modules.library.preprocessors import PreprocessorFiles
from modules.patches.hooks import hooks
from modules.sampling.view import Row
from tests.control.test_controlnet import CPU, call_of
from tests.control.test_kinds import UNIT, saved
from tests.tiny import tiny_parts
from tests.tiny_control import tiny_controlnet
from tests.tiny_faces import TOKENS, face_adapter_tensors, photograph, write_reader

KINDS = {"id": FACE_ID, "plus": FACE_ID_PLUS, "instant": INSTANT_ID}


def built(tmp_path, unet, kind, name="x") -> tuple[FaceAdapter, dict[str, torch.Tensor]]:
    tensors = face_adapter_tensors(unet, kind)
    path = saved(tensors, tmp_path / f"{name}.safetensors")
    adapter = build_ip_adapter(read_weights(path), CPU, path)
    assert isinstance(adapter, FaceAdapter) and adapter.kind == KINDS[kind]
    return adapter, {name.removeprefix("image_proj."): one for name, one in tensors.items()}


def of_the_face(t, faces):
    """The two layers that all have: tokens (P, 4, D)."""
    hidden = gelu(linear(faces, t["proj.0.weight"], t["proj.0.bias"]))
    tokens = linear(hidden, t["proj.2.weight"], t["proj.2.bias"]).unflatten(1, (TOKENS, -1))
    return layer_norm(tokens, tokens.shape[-1:], t["norm.weight"], t["norm.bias"])


def perceived(t, latents, seen):
    """The resampler: latents (P, T, D) look at what is seen (P, N, C) and at themselves, four times."""
    x = linear(seen, t["proj_in.weight"], t["proj_in.bias"])
    norm = lambda v, name: layer_norm(v, v.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"])  # noqa: E731
    for n in range(4):
        at, feed = f"layers.{n}.0", f"layers.{n}.1"
        told, own = norm(x, f"{at}.norm1"), norm(latents, f"{at}.norm2")
        q = linear(own, t[f"{at}.to_q.weight"])
        k, v = linear(torch.cat([told, own], dim=1), t[f"{at}.to_kv.weight"]).chunk(2, dim=-1)
        q, k, v = (one.unflatten(2, (-1, 64)).transpose(1, 2) for one in (q, k, v))
        weights = (q @ k.transpose(2, 3) / 8).softmax(dim=-1)
        latents = linear((weights @ v).transpose(1, 2).flatten(2), t[f"{at}.to_out.weight"]) + latents
        latents = (
            linear(gelu(linear(norm(latents, f"{feed}.0"), t[f"{feed}.1.weight"])), t[f"{feed}.3.weight"]) + latents
        )
    return norm(linear(latents, t["proj_out.weight"], t["proj_out.bias"]), "norm_out")


@torch.inference_mode()
def test_words_of_a_face(tmp_path):
    adapter, t = built(tmp_path, tiny_parts()["unet"], "id")
    faces = torch.randn(2, 512)
    words = adapter.of_faces(faces)
    assert torch.allclose(words.shown, of_the_face(t, faces), atol=1e-5) and words.shown.shape == (2, 4, 64)
    assert torch.allclose(words.nothing, of_the_face(t, torch.zeros(1, 512)), atol=1e-5)


@pytest.mark.parametrize(("name", "second"), [("ip-adapter-faceid-plus_sd15", 0), ("ip-adapter-faceid-plusv2_sd15", 1)])
@torch.inference_mode()
def test_words_of_a_face_and_its_picture(tmp_path, name, second):
    adapter, t = built(tmp_path, tiny_parts()["unet"], "plus", name)
    assert adapter.embedded == 64 and adapter.whole
    part = {key.removeprefix("perceiver_resampler."): one for key, one in t.items() if key.startswith("perceiver")}
    faces, seen, none = torch.randn(2, 512), torch.randn(2, 17, 64), torch.randn(1, 17, 64)
    words = adapter.of_faces(faces, (seen, none))
    for found, face, view in ((words.shown, faces, seen), (words.nothing, torch.zeros(1, 512), none)):
        own = of_the_face(t, face)
        assert torch.allclose(found, perceived(part, own, view) + second * own, atol=1e-4)


@torch.inference_mode()
def test_words_of_instant_id(tmp_path):
    adapter, t = built(tmp_path, tiny_parts()["unet"], "instant")
    faces = torch.randn(2, 512)
    found = adapter.of_faces(faces).shown
    expected = perceived(t, t["latents"].repeat(2, 1, 1), faces[:, None])
    assert torch.allclose(found, expected, atol=1e-4) and found.shape == (2, 4, 64)


@torch.inference_mode()
def test_in_a_u_net_with_the_lora_of_the_file_as_diffusers_has_it(tmp_path):
    unet: Any = tiny_parts()["unet"].eval()
    tensors = face_adapter_tensors(unet, "id")
    path = saved(tensors, tmp_path / "x.safetensors")
    adapter: Any = build_ip_adapter(read_weights(path), CPU, path)
    faces = torch.randn(1, 512)
    words, call = adapter.of_faces(faces), call_of()
    moment = Moment(cell=8, rows=[Row(0, True), Row(0, False)])
    plain = unet(*call[:3]).sample

    def drawn(bare):
        with hooks() as hook:
            unit = UNIT.model_copy(update={"weight": 0.7})
            FacePrompt(unit=unit, adapter=adapter, words=words, bare=bare).attach(unet, hook, moment)
            return unet(*call[:3]).sample

    whole, bare = drawn(False), drawn(True)
    assert torch.equal(unet(*call[:3]).sample, plain) and not torch.allclose(whole, bare, atol=1e-3)
    parts = {part: {k.removeprefix(f"{part}."): v for k, v in tensors.items() if k.startswith(part)}
             for part in ("image_proj", "ip_adapter")}  # fmt: skip
    for name, processor in zip([*unet.attn_processors], [*unet.attn_processors], strict=True):
        number = [*unet.attn_processors].index(processor)
        attention = unet.get_submodule(name.removesuffix(".processor"))
        layers = {"q": attention.to_q, "k": attention.to_k, "v": attention.to_v, "out": attention.to_out[0]}
        for part, layer in layers.items():
            down, up = (parts["ip_adapter"][f"{number}.to_{part}_lora.{way}.weight"] for way in ("down", "up"))
            layer.weight.data += up @ down
    unet._load_ip_adapter_weights([parts], low_cpu_mem_usage=False)
    for processor in unet.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [0.7]
    both = torch.stack([faces, torch.zeros(1, 512)])
    expected = unet(*call[:3], added_cond_kwargs={"image_embeds": [both]}).sample
    assert torch.allclose(whole, expected, atol=1e-4)


def test_half_a_pair_is_told(tmp_path):
    tensors = face_adapter_tensors(tiny_parts()["unet"], "id")
    tensors.pop("ip_adapter.0.to_q_lora.up.weight")
    path = saved(tensors, tmp_path / "x.safetensors")
    with pytest.raises(ModelFileError, match=r'"x.safetensors" lacks half of what a layer needs'):
        build_ip_adapter(read_weights(path), CPU, path)


@pytest.fixture
def preprocessors(tmp_path):
    paths = Paths(data=tmp_path)
    tools = Tools(PreprocessorFiles(paths), choose_compute(use_cpu=True), Detectors(DetectorFiles(paths)))
    return Preprocessors(tools)


def test_a_face_of_length_one_for_face_id_and_as_it_is_for_instant_id(tmp_path, preprocessors):
    picture = photograph()
    with pytest.raises(ModelFileError, match=r"ip-adapter_face_id needs w600k_r50.onnx \(174 MB, https://huggingface"):
        preprocessors.get("ip-adapter_face_id").run(picture)
    home = tmp_path / "models" / "insightface" / "models"
    write_reader(home / "buffalo_l" / "w600k_r50.xml")
    write_reader(home / "antelopev2" / "glintr100.xml")
    unit = preprocessors.get("ip-adapter_face_id").run(picture)["face"]
    plain = preprocessors.get("instant_id_face_embedding").run(picture)["face"]
    assert unit.shape == plain.shape == (1, 512) and unit.norm() == pytest.approx(1, abs=1e-5) and plain.norm() > 2
    assert torch.allclose(plain / plain.norm(), unit, atol=1e-5)
    with pytest.raises(InputError, match="There is no face in the unit's picture"):
        preprocessors.get("ip-adapter_face_id").run(np.zeros((64, 64, 3), np.uint8))


def test_keypoints_are_drawn_where_they_are(preprocessors):
    picture = photograph()
    drawn = preprocessors.get("instant_id_face_keypoints").run(picture)
    (mesh,) = preprocessors.tools.detectors.get("mediapipe_face_mesh").meshes(Image.fromarray(picture), 0.5)
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255)]
    for (x, y), colour in zip(five_points(mesh).astype(int), colours, strict=True):
        assert tuple(drawn[y, x]) == colour
    assert set(map(tuple, drawn.reshape(-1, 3))) - set(colours) - {(0, 0, 0)} == {
        (153, 0, 0), (0, 153, 0), (153, 153, 0), (153, 0, 153)
    }  # fmt: skip


@torch.inference_mode()
def test_instant_ids_controlnet_reads_the_face_instead_of_the_prompt():
    network = ControlNet(tiny_controlnet(1))
    words = Words(shown=torch.randn(1, 4, 64), nothing=torch.randn(1, 4, 64))
    call = call_of()
    hints = torch.rand(1, 3, *(8 * side for side in call.x.shape[-2:]))
    rows = [Row(0, True), Row(0, False)]
    unit = WorkingUnit(unit=UNIT, network=network, hints=hints, words=words)
    found = unit.residuals(call, rows, 8)
    told = call._replace(context=torch.cat([words.shown, words.nothing]))
    expected = network.residuals(told, hints.repeat(2, 1, 1, 1))
    assert all(torch.equal(a, b) for a, b in zip(found.all, expected.all, strict=True))


@pytest.mark.parametrize(
    ("prompt", "brings"),
    [
        ("a man <lora:ip-adapter-faceid-plusv2_sd15_lora:0.6>", True),
        ("<lora:Face_ID:1>", True),
        ("a man <lora:style:0.6> with a faceid", False),
        ("a man", False),
    ],
)
def test_a_prompt_may_bring_the_lora(prompt, brings):
    assert bool(OWN_LORA.search(prompt)) == brings
