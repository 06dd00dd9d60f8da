"""Other programs' installations: recognised by their folders, read, never written to."""

import os
from pathlib import Path

import pytest

from modules.core.errors import InputError
from modules.core.flags import FOLDERS, parse_flags
from modules.core.paths import KINDS, ROOT, Paths
from modules.library.takeover import MAX_CONFIG, read_config, roots_of, take_over, take_over_each


@pytest.fixture
def own(tmp_path):
    return Paths(data=tmp_path / "data")


def made(*folders: Path) -> None:
    for folder in folders:
        folder.mkdir(parents=True)


def test_own_folders_have_a1111s_names(own):
    for kind, names in KINDS.items():
        folders = own.folders(kind)
        assert own.own(kind) == folders[0]
        assert {root / name for root in (own.data / "models", ROOT / "models") for name in names} <= set(folders)
    assert own.folders("embeddings")[0] == own.data / "embeddings"
    assert own.folders("diffusion_models")[-2:] == own.folders("Stable-diffusion")


def test_flags_come_before_our_own_and_may_be_repeated(tmp_path):
    made(tmp_path / "a", tmp_path / "b", tmp_path / "models")
    for flag, (kind, _) in FOLDERS.items():
        given = [flag, str(tmp_path / "a"), flag, str(tmp_path / "b"), "--models-dir", str(tmp_path / "models")]
        paths = parse_flags([*given, "--data-dir", str(tmp_path / "data")]).paths
        assert paths.folders(kind)[:2] == (tmp_path / "a", tmp_path / "b")
        assert tmp_path / "models" / KINDS[kind][0] in paths.folders(kind)
        assert tmp_path / "data" / "models" / KINDS[kind][0] not in paths.folders(kind)
    assert paths.own("VAE") == tmp_path / "models" / "VAE"


@pytest.mark.parametrize("inside", ["", "webui"])
def test_a1111(tmp_path, own, inside):
    home = tmp_path / "there" / inside
    made(home / "models" / "Stable-diffusion")
    paths = take_over(own, [tmp_path / "there"])
    assert paths.checkpoints[-1] == home / "models" / "Stable-diffusion"
    assert paths.folders("Lora")[-2:] == (home / "models" / "Lora", home / "models" / "LyCORIS")
    assert home / "embeddings" in paths.folders("embeddings")
    assert paths.folders("ControlNet")[-1] == home / "extensions" / "sd-webui-controlnet" / "models"
    downloads = home / "extensions" / "sd-webui-controlnet" / "annotator" / "downloads"
    assert downloads in paths.folders("ControlNetPreprocessor")
    assert paths.own("Lora") == own.data / "models" / "Lora"
    assert [p.relative_to(home).as_posix() for p in sorted(home.rglob("*"))] == ["models", "models/Stable-diffusion"]


@pytest.mark.parametrize("inside", ["", "ComfyUI"])
def test_comfyui(tmp_path, own, inside):
    home = tmp_path / "there" / inside
    made(home / "models" / "checkpoints", tmp_path / "more")
    (home / "extra_model_paths.yaml").write_text(f"x:\n  base_path: {tmp_path}\n  loras: more\n")
    paths = take_over(own, [tmp_path / "there"])
    assert paths.checkpoints[-1] == home / "models" / "checkpoints"
    assert paths.folders("Lora")[-2:] == (home / "models" / "loras", tmp_path / "more")
    assert {home / "models" / "unet", home / "models" / "diffusion_models"} <= set(paths.folders("diffusion_models"))
    assert paths.folders("text_encoder")[-2:] == (home / "models" / "text_encoders", home / "models" / "clip")
    assert paths.folders("ESRGAN")[-1] == home / "models" / "upscale_models"


def test_a_bare_folder_of_models(tmp_path, own):
    made(tmp_path / "m" / "checkpoints", tmp_path / "n" / "Stable-diffusion")
    paths = take_over(own, [tmp_path / "m", tmp_path / "n"])
    assert paths.checkpoints[-2:] == (tmp_path / "m" / "checkpoints", tmp_path / "n" / "Stable-diffusion")


def test_what_is_none_is_told(tmp_path, own, caplog):
    with pytest.raises(InputError, match="no A1111, Forge or ComfyUI") as caught:
        take_over(own, [tmp_path])
    assert caught.value.field == "--take-over"
    made(tmp_path / "good" / "models" / "checkpoints")
    paths = take_over_each(own, roots_of(f"{tmp_path}/none\n\n  {tmp_path}/good  \n"))
    assert paths.checkpoints[-1] == tmp_path / "good" / "models" / "checkpoints"
    assert "none" in caplog.text


EXAMPLE = """
# ComfyUI's own example, shortened
a1111:
    base_path: $HOME_OF_IT/webui/
    checkpoints: models/Stable-diffusion
    configs: models/Stable-diffusion
    loras: |
         models/Lora
         models/LyCORIS
    upscale_models: |
                  models/ESRGAN

                  models/RealESRGAN
    controlnet: models/ControlNet
comfyui:
    is_default: true
    checkpoints: near/checkpoints/
    custom_nodes: nodes
    ipadapter: near/ipadapter
    vae: /far/vae
empty:
"""


def test_extra_model_paths(tmp_path, own, monkeypatch, caplog):
    monkeypatch.setenv("HOME_OF_IT", "/srv")
    file = tmp_path / "extra_model_paths.yaml"
    file.write_text(EXAMPLE)
    paths = take_over(own, [], [file])
    assert paths.checkpoints[-2:] == (tmp_path / "near" / "checkpoints", Path("/srv/webui/models/Stable-diffusion"))
    assert paths.folders("Lora")[-2:] == (Path("/srv/webui/models/Lora"), Path("/srv/webui/models/LyCORIS"))
    assert paths.folders("ESRGAN")[-2:] == (Path("/srv/webui/models/ESRGAN"), Path("/srv/webui/models/RealESRGAN"))
    assert paths.folders("VAE")[-1] == Path("/far/vae")
    assert "comfyui.ipadapter" in caplog.text
    assert "custom_nodes" not in caplog.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"a: [", "no valid YAML at line 1"),
        (b"a: \x00", "no valid YAML"),
        (b"\xff\xfe\xff", "no valid YAML"),
        (b"[" * 100_000, "nested"),
        (b"- a\n- b\n", "sections"),
        (b"a: b\n", 'under "a"'),
        (b"a: !!python/object/apply:os.system [id]\n", "no valid YAML"),
        (b"a: &a {loras: x}\nb: *a\n", "refers to parts of itself"),
        (b"#" * (MAX_CONFIG + 1), "larger than"),
    ],
    ids=range(9),
)
def test_wrong_yaml(tmp_path, text, words):
    file = tmp_path / "extra.yaml"
    file.write_bytes(text)
    with pytest.raises(InputError, match=words) as caught:
        read_config(file)
    assert caught.value.message.count(". ") == 1


@pytest.mark.parametrize("what", ["nothing", "a folder", "a pipe"])
def test_no_yaml_at_all(tmp_path, what):
    file = tmp_path / "extra.yaml"
    if what == "a folder":
        file.mkdir()
    elif what == "a pipe":
        os.mkfifo(file)
    with pytest.raises(InputError, match="not there or no file"):
        read_config(file)


def test_odd_values_are_left_out(tmp_path):
    file = tmp_path / "extra.yaml"
    file.write_text('a: {base_path: 7, loras: [x, y], vae: 3, checkpoints: "a\\0b", 5: x, clip: "ok"}\n')
    assert read_config(file) == [(False, ("text_encoder", tmp_path / "ok"))]
    file.write_text("")
    assert read_config(file) == []
