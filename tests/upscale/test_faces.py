"""Faces: found where they are, put back where they were; and what removes backgrounds and writes captions."""

from typing import Any

import numpy as np
import openvino
import pytest
import torch
from openvino import opset8 as ops
from PIL import Image
from skimage.data import astronaut

from modules.core.errors import InputError, ModelFileError
from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.detect.caption import Captioner
from modules.detect.tags import Tagger
from modules.library.extras_files import ExtrasFiles
from modules.upscale.cutout import Cutter
from modules.upscale.faces import Face, find_faces, restore_faces
from modules.upscale.network import open_network
from modules.upscale.upscaler import nothing
from tests.upscale.tiny_upscalers import COMPUTE, CPU, write_compact


class Negative:
    """Stands for a network: gives the negative of a face."""

    def raw(self, pixels: torch.Tensor, **options: Any) -> torch.Tensor:
        assert pixels.shape == (1, 3, 512, 512) and options == {"weight": 0.5}
        return -pixels


def test_a_face_is_found_with_its_eyes_where_the_networks_want_them():
    image = Image.fromarray(astronaut())
    (face,) = find_faces(image)
    left, top, side = face.crop
    eyes = [((193 + 319) / 2 / 512 * side + left), (240 / 512 * side + top)]
    assert abs(eyes[0] - 227) < 8 and abs(eyes[1] - 104) < 8  # between her eyes
    assert find_faces(Image.new("RGB", (300, 200), "grey")) == find_faces(Image.new("RGB", (5, 400))) == []


def test_only_the_face_changes():
    image = Image.fromarray(astronaut()).convert("RGBA")
    made, count = restore_faces(image, Negative(), check=nothing, weight=0.5)  # type: ignore[arg-type]
    assert count == 1 and made.mode == "RGBA"
    left, top, side = find_faces(image)[0].crop
    old, new = np.asarray(image.convert("RGB"), int), np.asarray(made.convert("RGB"), int)
    outside = np.ones(old.shape[:2], bool)
    outside[max(top, 0) : top + side, left : left + side] = False
    assert (old[outside] == new[outside]).all()
    inner = slice(top + side // 3, top + side // 2), slice(left + side // 3, left + side // 2)
    assert np.abs(old[inner] + new[inner] - 255).mean() < 12
    assert Face(left=0, top=0, side=100).box == (0, 0, 100, 100)


def test_upscalers_restore_no_faces(tmp_path):
    with pytest.raises(ModelFileError, match="models/ESRGAN"):
        open_network(write_compact(tmp_path, "a.safetensors"), COMPUTE, faces=True)


def write_cutter(folder, name: str = "u2net.xml"):
    """A network whose mask is the first channel."""
    folder.mkdir(parents=True)
    picture = ops.parameter([1, 3, 32, 32], np.float32)
    first = ops.slice(picture, [0], [1], [1], [1])
    model: Any = openvino.Model([ops.result(first)], [picture], "mask")  # pyright: ignore[reportGeneralTypeIssues]
    openvino.save_model(model, folder / name, compress_to_fp16=False)
    return folder / name


def test_the_background_becomes_transparent(tmp_path):
    cutter = Cutter(write_cutter(tmp_path / "models" / "rembg"))
    image = Image.new("RGB", (64, 32), "black")
    image.paste((255, 0, 0), (32, 0, 64, 32))
    cut = cutter.cut(image)
    assert cut.size == (64, 32) and cut.mode == "RGBA"
    assert cut.getpixel((60, 16)) == (255, 0, 0, 255) and cut.getpixel((4, 16)) == (0, 0, 0, 0)
    assert ExtrasFiles(Paths(data=tmp_path)).cutter().name == "u2net.xml"


def test_what_is_missing_or_damaged_is_told(tmp_path):
    files = ExtrasFiles(Paths(data=tmp_path))
    for find, words in (
        (files.cutter, "models/rembg"),
        (files.captioner, "models/BLIP"),
        (files.tagger, "models/torch_deepdanbooru"),
    ):
        with pytest.raises(InputError, match=words):
            find()
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelFileError, match="bad.onnx"):
        Cutter(tmp_path / "bad.onnx")
    folder = tmp_path / "models" / "BLIP" / "mine"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert files.captioner() == folder
    with pytest.raises(ModelFileError, match='"mine" is no captioning model'):
        Captioner(folder, CPU)


def test_a_caption(tmp_path):
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "cat", "[DEC]", "[ENC]"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {
        **small,
        "vocab_size": len(words),
        "encoder_hidden_size": 32,
        "bos_token_id": 8,
        "sep_token_id": 3,
        "eos_token_id": 3,
        "pad_token_id": 0,
    }
    torch.manual_seed(0)
    config = BlipConfig(
        text_config=text, vision_config={**small, "image_size": 32, "patch_size": 16}, projection_dim=32
    )
    BlipForConditionalGeneration(config).save_pretrained(tmp_path / "blip")
    images = BlipImageProcessor(size={"height": 32, "width": 32})
    BlipProcessor(images, BertTokenizer(str(tmp_path / "vocab.txt"))).save_pretrained(tmp_path / "blip")
    caption = Captioner(tmp_path / "blip", CPU).tell(Image.new("RGB", (40, 30), "red"), Settings().flat())
    assert set(caption.split()) <= {*words, "[unk]"}


def options(**changed):
    return {**Settings().flat(), **changed}


def write_tagger(folder, tags: int = 4):
    """A tagger whose probabilities are the means of blue, green, red, and 1 for a rating."""
    folder.mkdir(parents=True)
    picture = ops.parameter([-1, 16, 16, 3], np.float32)
    means = ops.divide(ops.reduce_mean(picture, [1, 2]), np.float32(255))
    one = ops.add(ops.multiply(ops.slice(means, [0], [1], [1], [1]), np.float32(0)), np.float32(1))
    model: Any = openvino.Model([ops.result(ops.concat([means, one], 1))], [picture], "tags")  # pyright: ignore[reportGeneralTypeIssues]
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    rows = ["1,very_blue_(sky),0,9", "2,green,0,9", "3,red_hair,4,9", "4,general,9,9"][:tags]
    (folder / "selected_tags.csv").write_text("\n".join(["tag_id,name,category,count", *rows]))
    return folder


def test_tags_by_a_network_and_its_list(tmp_path):
    folder = write_tagger(tmp_path / "models" / "torch_deepdanbooru" / "wd")
    assert ExtrasFiles(Paths(data=tmp_path)).tagger() == folder
    tagger = Tagger(folder, CPU)
    image = Image.new("RGB", (40, 20), (255, 0, 204))  # on white: half of each is 255
    assert tagger.tell(image, options()) == "green, red hair, very blue \\(sky\\)"
    plain = {"deepbooru_use_spaces": False, "deepbooru_escape": False, "deepbooru_sort_alpha": False}
    assert tagger.tell(image, options(**plain)) == "red_hair, very_blue_(sky), green"
    ranks = {"interrogate_return_ranks": True, "interrogate_deepbooru_score_threshold": 0.95}
    assert tagger.tell(image, options(**ranks)) == "(red hair:1.0)"
    assert tagger.tell(image, options(deepbooru_filter_tags="red hair, very_blue_(sky)")) == "green"
    assert tagger.tell(Image.new("RGBA", (9, 9)), options()).startswith("green"), "what is transparent is white"
    with pytest.raises(ModelFileError, match="gives 4 values, selected_tags.csv has 3 tags"):
        Tagger(write_tagger(tmp_path / "short", tags=3), CPU).tell(image, options())
    (folder / "selected_tags.csv").unlink()
    with pytest.raises(ModelFileError, match='"wd" needs its list of tags'):
        Tagger(folder, CPU)


def test_tags_by_a_classifier(tmp_path):
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    names = {0: "rating:safe", 1: "long_hair", 2: "smile"}
    small: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    torch.manual_seed(0)
    config = ViTConfig(**small, image_size=32, patch_size=16, id2label=names, label2id={n: i for i, n in names.items()})
    model = ViTForImageClassification(config)
    model.classifier.bias.data = torch.tensor([9.0, 9.0, -9.0])
    model.save_pretrained(tmp_path / "vit")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "vit")
    assert Tagger(tmp_path / "vit", CPU).tell(Image.new("L", (9, 50)), options()) == "long hair"
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text("{}")
    with pytest.raises(ModelFileError, match='"bad" is no tagger'):
        Tagger(tmp_path / "bad", CPU)
