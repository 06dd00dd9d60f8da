"""What pictures and words mean: by a small model of open-clip with random weights, and by the starter's own."""

import json
import random

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from modules.core.errors import ModelFileError
from modules.core.paths import OPEN_CLIP, Paths
from modules.detect.meaning import Meanings
from modules.library.meaning_files import MeaningFiles
from modules.starter.draw import draw
from modules.starter.scene import test_scene as unseen_scene

MODEL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}
PREPROCESS = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


@pytest.fixture
def paths(tmp_path) -> Paths:
    return Paths(data=tmp_path)


def meanings(paths: Paths) -> Meanings:
    return Meanings(MeaningFiles(paths), torch.device("cpu"))


@pytest.fixture
def scenes(tmp_path):
    """Pictures of the starter's world that nobody learnt from, and what each shows."""
    found = []
    for number in range(24):
        scene = unseen_scene(random.Random(f"meaning {number}"), count=1)
        path = tmp_path / f"{number}.png"
        draw(scene).save(path)
        found.append((str(path), scene))
    return found


def test_the_starters_own_finds_what_is_told(paths, scenes):
    """A thing's colour and kind are nearer to its picture than to most others."""
    found = meanings(paths)
    vectors = []
    for start in range(0, len(scenes), 8):
        name, some = found.pictures([path for path, _ in scenes[start : start + 8]])
        vectors += [one for one in some if one is not None]
    assert name.startswith("starter")
    pictures = torch.stack(vectors)
    assert torch.allclose(pictures.norm(dim=1), torch.ones(len(scenes)), atol=1e-3)
    ranks = []
    for number, (_, scene) in enumerate(scenes):
        (thing,) = scene.things
        near = pictures @ found.text(f"a {thing.colour} {thing.kind}")[1]
        ranks.append(int((near > near[number]).sum()))
    assert sum(rank < 3 for rank in ranks) >= 0.8 * len(ranks)  # an eighth of them by chance


def test_what_is_no_picture_has_no_vector(paths, scenes, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    files = [str(tmp_path / "broken.png"), scenes[0][0], str(tmp_path / "gone.png")]
    vectors = meanings(paths).pictures(files)[1]
    assert [one is None for one in vectors] == [True, False, True]
    assert meanings(paths).text("qwertz £ 魚")[1].isfinite().all()  # words it never heard


def test_a_model_of_open_clip_comes_first(paths, scenes):
    import open_clip

    folder = paths.own(OPEN_CLIP) / "tiny"
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": MODEL, "preprocess_cfg": PREPROCESS}))
    torch.manual_seed(0)
    model = open_clip.CLIP(**MODEL).eval()
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    found = meanings(paths)
    name, (vector,) = found.pictures([scenes[0][0]])
    assert vector is not None
    assert name.startswith("tiny ") and vector.shape == (16,)
    with Image.open(scenes[0][0]) as image:
        small = np.array(image.convert("RGB").resize((32, 32), Image.Resampling.BICUBIC))
    pixels = torch.from_numpy(small).permute(2, 0, 1)[None] / 255 * 2 - 1
    with torch.no_grad():
        wanted = model.encode_image(pixels, normalize=True)[0]
        words = model.encode_text(open_clip.tokenize(["a fox"]), normalize=True)[0]
    assert torch.allclose(vector, wanted, atol=0.02)
    assert torch.allclose(found.text("a fox")[1], words, atol=1e-5)


def test_a_folder_that_open_clip_cannot_read_is_named(paths):
    folder = paths.own(OPEN_CLIP) / "odd"
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text("{}")
    with pytest.raises(ModelFileError, match='"odd" is no model that open-clip reads'):
        meanings(paths).text("a fox")
