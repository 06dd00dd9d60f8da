"""Damaged and hostile folders of whole pipelines are refused in a sentence."""

import json
import pickle
import shutil

import pytest

from modules.core.errors import ModelFileError
from modules.devices.choice import choose_compute
from modules.families.whole.kinds import load_whole
from tests.families.whole import tiny


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    tiny.write(folder, "unclip", "if")
    return folder


@pytest.fixture
def folder(kept, tmp_path):
    shutil.copytree(kept, tmp_path / "models")
    return tmp_path / "models"


def refused(path):
    with pytest.raises(ModelFileError) as error:
        load_whole(path, choose_compute(use_cpu=True))
    assert "\n" not in error.value.message
    return error.value.message


def rewrite(file, **values):
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize("part", ["unet", "prior", "vae", "text_encoder", "image_normalizer"])
def test_a_part_without_weights(folder, part):
    for file in (folder / "unclip" / part).glob("*.safetensors"):
        file.unlink()
    assert f"{part}" in refused(folder / "unclip")


@pytest.mark.parametrize("part", ["unet", "scheduler", "prior_tokenizer", "text_encoder"])
def test_a_part_that_is_not_there(folder, part):
    shutil.rmtree(folder / "unclip" / part)
    assert f'"unclip/{part}/' in refused(folder / "unclip")


@pytest.mark.parametrize(
    ("file", "values", "words"),
    [
        ("unet/config.json", {"block_out_channels": [64, 64]}, "is needed"),
        ("unet/config.json", {"down_block_types": ["Nothing"]}, '"unclip/unet" is not understood: config.json'),
        ("unet/config.json", {"layers_per_block": "many"}, '"unclip/unet" is not understood: config.json'),
        ("text_encoder/config.json", {"num_attention_heads": 5}, '"unclip/text_encoder" is not understood'),
        ("text_encoder/config.json", {"num_hidden_layers": 3}, "lacks the weights"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 10**12}, "num_train_timesteps 1000000000000"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "none"}, '"unclip/scheduler" is not understood'),
    ],
)
def test_settings_that_do_not_fit(folder, file, values, words):
    rewrite(folder / "unclip" / file, **values)
    assert words in refused(folder / "unclip")


def test_settings_that_are_none(folder):
    for text in ("", "[]", "[" * 100_000, '"x"'):
        (folder / "unclip/unet/config.json").write_text(text)
        assert '"unclip/unet/config.json"' in refused(folder / "unclip")


def test_a_tokenizer_that_is_none(folder):
    for file in (folder / "unclip/tokenizer").glob("*"):
        if file.name != "tokenizer_config.json":
            file.write_text("{")
    assert '"unclip/tokenizer" is not understood' in refused(folder / "unclip")


def test_if_without_its_tokenizer(folder):
    shutil.rmtree(folder / "if/tokenizer")
    assert "holds no tokenizer of t5xxl" in refused(folder / "if")


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_no_code_of_a_folder_is_run(folder, tmp_path):
    part = folder / "unclip/unet"
    (part / "diffusion_pytorch_model.safetensors").unlink()
    (part / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps({"x": Trap(tmp_path / "trapped")}))
    (part / "evil.py").write_text(f"open({str(tmp_path / 'trapped')!r}, 'w')")
    rewrite(folder / "unclip/model_index.json", unet=["evil", "Evil"], _diffusers_version="0")
    rewrite(part / "config.json", _class_name="Evil", auto_map={"AutoModel": "evil.Evil"})
    rewrite(folder / "unclip/tokenizer/tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", None]})
    refused(folder / "unclip")
    assert not (tmp_path / "trapped").exists()
