"""What a checkpoint predicts: said by keys, by a YAML file beside it or in its metadata."""

import os

import pytest

from modules.core.errors import ModelFileError
from modules.library.header import Header
from modules.library.prediction import Prediction, read_prediction, yaml_time

V = 'model:\n  params:\n    parameterization: "v"\n    linear_start: 0.00085\n'


def header(*keys, **metadata):
    return Header(shapes=dict.fromkeys(keys, (0,)), metadata={f"modelspec.{k}": v for k, v in metadata.items()})


def kind_of(path, header) -> str | None:
    found = read_prediction(path, header)
    return found.kind if found else None


def test_without_a_word_there_is_none(tmp_path):
    assert read_prediction(tmp_path / "a.safetensors", header()) is None


def test_keys(tmp_path):
    path = tmp_path / "a.safetensors"
    assert read_prediction(path, header("v_pred")) == Prediction(kind="v")
    assert read_prediction(path, header("v_pred", "ztsnr")) == Prediction(kind="v", zero_terminal=True)
    assert read_prediction(path, header("ztsnr")) == Prediction(kind="eps", zero_terminal=True)


@pytest.mark.parametrize(
    ("said", "kind"), [("epsilon", "eps"), ("v", "v"), ("V-Prediction", "v"), ("flow", "flow"), (" ", None)]
)
def test_metadata(tmp_path, said, kind):
    assert kind_of(tmp_path / "a.safetensors", header(prediction_type=said)) == kind


def test_unknown_kind_is_named(tmp_path):
    with pytest.raises(ModelFileError, match=r'"a.safetensors" is said to predict "sample"'):
        read_prediction(tmp_path / "a.safetensors", header(prediction_type="sample"))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (V, "v"),
        (V.replace('"', "'"), "v"),
        (V.replace('"', "") + "# note", "v"),
        (V.replace('"v"', "eps"), "eps"),
        ("# parameterization: v\n", None),
        ("\xff\x00" * 10, None),
    ],
)
def test_yaml_beside_it(tmp_path, text, kind):
    (tmp_path / "a.yaml").write_bytes(text.encode("latin-1"))
    assert kind_of(tmp_path / "a.safetensors", header()) == kind


def test_order(tmp_path):
    (tmp_path / "a.yaml").write_text(V.replace('"v"', "eps"))
    path = tmp_path / "a.safetensors"
    assert kind_of(path, header("v_pred")) == "v"  # the tensors before the YAML
    assert kind_of(path, header(prediction_type="v")) == "eps"  # the YAML before the metadata


def test_yaml_that_cannot_be_read(tmp_path):
    (tmp_path / "a.yaml").mkdir()
    with pytest.raises(ModelFileError, match=r'"a.yaml" cannot be read'):
        read_prediction(tmp_path / "a.safetensors", header())


def test_a_changed_yaml_is_noticed(tmp_path):
    path = tmp_path / "a.safetensors"
    assert yaml_time(path) == 0
    (tmp_path / "a.yaml").write_text(V)
    os.utime(tmp_path / "a.yaml", ns=(5, 7))
    assert yaml_time(path) == 7
