"""Conditioning in one tensor."""

import torch

from modules.families.packing import by_length, pack, pack_rows, padded, text_rows, unpack, whole_patches


def test_there_and_back():
    rows = [torch.randn(5, 8), torch.randn(3, 8)]
    states, mask = padded(rows)
    vector = torch.randn(2, 4)
    found, told, counts = unpack(pack(states, vector=vector, mask=mask), vector=4)
    assert torch.equal(found, states)
    assert torch.equal(told, vector)
    assert torch.equal(counts, mask)
    assert mask.tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    assert torch.equal(found[1, :3], rows[1])
    assert not found[1, 3:].any()


def test_without_vector_and_mask():
    states = torch.randn(1, 4, 8)
    found, told, counts = unpack(pack(states))
    assert torch.equal(found, states)
    assert told.shape == (1, 0)
    assert counts.all()


def test_rows_of_unequal_length_there_and_back():
    rows = [torch.randn(5, 8), torch.randn(3, 8), torch.randn(5, 8)]
    context = pack_rows(rows)
    assert context.shape == (3, 6, 9)
    longer = torch.cat([context, context[:, -1:].expand(-1, 4, -1)], dim=1)
    assert all(torch.equal(found, row) for found, row in zip(text_rows(longer), rows, strict=True))
    (two, first), (one, second) = by_length(rows)
    assert (two, one) == ([0, 2], [1])
    assert torch.equal(first, torch.stack([rows[0], rows[2]]))
    assert torch.equal(second, rows[1][None])


def test_sides_become_whole_patches():
    x = torch.arange(6.0).view(1, 1, 2, 3)
    assert whole_patches(x, 2).tolist() == [[[[0, 1, 2, 0], [3, 4, 5, 3]]]]
    assert whole_patches(x, 1) is x
