"""Token merging against the same thing done token by token."""

import pytest
import torch

from modules.patches.token_merging import match, token_merging
from tests.patches.unets import ask, inputs, small_unet


def slow(x, height, width, ratio):
    """The tokens of one picture (N, C) in merged form, as {target or own position: mean}, and where each token went."""
    targets = [r * width + c for r in range(0, height // 2 * 2, 2) for c in range(0, width // 2 * 2, 2)]
    sources = [i for i in range(height * width) if i not in targets]

    def cosine(i, j):
        return float(x[i] @ x[j] / x[i].norm() / x[j].norm())

    nearest = {i: max(targets, key=lambda j: cosine(i, j)) for i in sources}
    ranked = sorted(sources, key=lambda i: -cosine(i, nearest[i]))
    went = {i: i for i in range(height * width)}
    went.update({i: nearest[i] for i in ranked[: min(len(sources), int(height * width * ratio))]})
    groups = {to: [i for i in went if went[i] == to] for to in set(went.values())}
    return {to: x[members].mean(dim=0) for to, members in groups.items()}, went


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 4), (2, 3)])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_equals_merging_one_by_one(height, width, ratio):
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(2, height * width, 5, generator=draw)
    matching = match(x, (height, width), ratio)
    merged = matching.merge(x)
    back = matching.unmerge(merged)
    for picture, found, result in zip(x, merged, back, strict=True):
        means, went = slow(picture, height, width, ratio)
        assert len(found) == len(means)
        expected = torch.stack([means[went[i]] for i in range(height * width)])
        assert torch.allclose(result, expected, atol=1e-6)
        assert torch.allclose(found.sum(dim=0), torch.stack(list(means.values())).sum(dim=0), atol=1e-5)


def test_tokens_that_do_not_merge_come_back_untouched():
    x = torch.randn(1, 64, 3)
    matching = match(x, (8, 8), 0.0)
    assert torch.equal(matching.unmerge(matching.merge(x)), x)


def test_merges_at_full_size_alone():
    unet = small_unet()
    queries = []
    for module in unet.modules():
        if hasattr(module, "attn1"):
            module.attn1.to_q.register_forward_pre_hook(lambda _, args: queries.append(args[0].shape[1]))
    x, context = inputs(1, 16, 16)
    ask(unet, x, context)
    plain, queries[:] = list(queries), []
    with token_merging(unet, 0.5):
        ask(unet, x, context)
    assert set(plain) == {256, 64, 16}
    assert queries == [128 if n == 256 else n for n in plain]
