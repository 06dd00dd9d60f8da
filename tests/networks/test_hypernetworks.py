"""Hypernetworks as A1111 builds them: read, run before keys and values, taken off."""

from typing import Any

import pytest
import torch
from torch import nn

from modules.core.errors import ModelFileError
from modules.networks.hypernetworks import attached, read_hypernetwork
from tests.tiny import tiny_parts


def layers(width, *, norm=False, hidden=2, dropout=False):
    """The modules that A1111 makes of layer_structure 1, hidden, 1 with ReLU."""
    found: list[nn.Module] = [nn.Linear(width, width * hidden), nn.ReLU()]
    found += [nn.LayerNorm(width * hidden)] if norm else []
    found += [nn.Dropout(0.3)] if dropout else []
    found += [nn.Linear(width * hidden, width)]
    found += [nn.LayerNorm(width)] if norm else []
    return nn.Sequential(*found).eval()


def saved(path, pairs, **told):
    content = {"activation_func": "relu", "activate_output": False, **told}
    for width, pair in pairs.items():
        content[width] = tuple({f"linear.{key}": value for key, value in net.state_dict().items()} for net in pair)
    torch.save(content, path)
    return path


@pytest.mark.parametrize("options", [{}, {"norm": True}, {"norm": True, "dropout": True}, {"dropout": True}])
def test_networks_are_those_that_were_trained(options, tmp_path):
    torch.manual_seed(0)
    pair = (layers(64, **options), layers(64, **options))
    found = read_hypernetwork(saved(tmp_path / "h.pt", {64: pair}), "h")
    x = torch.randn(2, 5, 64)
    for ours, theirs in zip(found.pairs[64], pair, strict=True):
        torch.testing.assert_close(ours(x), theirs(x))


def test_output_activation_and_the_first_names(tmp_path):
    pair = (layers(64), layers(64))
    found = read_hypernetwork(saved(tmp_path / "h.pt", {64: pair}, activate_output=True), "h")
    x = torch.randn(3, 64)
    torch.testing.assert_close(found.pairs[64][0](x), pair[0](x).relu())
    old = {"linear1.weight": pair[0][0].weight, "linear1.bias": pair[0][0].bias}
    old |= {"linear2.weight": pair[0][2].weight, "linear2.bias": pair[0][2].bias}
    torch.save({64: (old, old)}, tmp_path / "old.pt")
    linear = read_hypernetwork(tmp_path / "old.pt", "old").pairs[64][0]
    torch.testing.assert_close(linear(x), pair[0][2](pair[0][0](x)))


def test_they_stand_before_keys_and_values(tmp_path):
    torch.manual_seed(0)
    unet: Any = tiny_parts()["unet"]
    pair = (layers(64), layers(64))
    network = read_hypernetwork(saved(tmp_path / "h.pt", {64: pair}), "h")
    name, attention = next((n, m) for n, m in unet.named_modules() if n.endswith("attn2"))
    context = torch.randn(1, 7, 64)
    before = attention.to_k(context), attention.to_v(context)
    with attached(unet, [(network, 0.5), (network, 1.0)]) as reached:
        assert reached > 0, name
        first = context + 0.5 * pair[0](context)
        torch.testing.assert_close(
            attention.to_k(context), nn.functional.linear(first + pair[0](first), attention.to_k.weight)
        )
        assert not torch.equal(attention.to_v(context), before[1])
    assert torch.equal(attention.to_k(context), before[0])
    assert torch.equal(attention.to_v(context), before[1])
    with attached(unet, []) as reached:
        assert reached == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"step": 1}, "is no hypernetwork"),
        ([1], "is no hypernetwork"),
        ({64: ({}, {})}, "do not fit together"),
        ({64: ({"linear.0.weight": torch.ones(64, 32), "linear.0.bias": torch.ones(64)},) * 2}, "do not fit together"),
        ({"activation_func": "evil", 64: ({}, {})}, 'wants the activation function "evil"'),
    ],
)
def test_files_that_are_none(content, words, tmp_path):
    torch.save(content, tmp_path / "h.pt")
    with pytest.raises(ModelFileError, match=words):
        read_hypernetwork(tmp_path / "h.pt", "h")
