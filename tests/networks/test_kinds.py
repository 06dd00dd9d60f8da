"""What each kind adds to a weight, against its formula written out."""

import pytest
import torch

from modules.networks.kinds.reading import read_change

OUT, IN, R = 12, 8, 2
CONV = (OUT, IN, 3, 3)


def rand(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape) + len(shape)))


W, K = rand(OUT, IN), rand(*CONV)


def added(parts, weight=W, rank=None):
    change = read_change(parts)
    assert change is not None
    assert change.fits(weight.shape)
    return change.difference(weight, rank).reshape(weight.shape)


def test_lora_and_its_rank():
    up, down = rand(OUT, R), rand(R, IN)
    parts = {"up": up, "down": down, "alpha": torch.tensor(4.0)}
    torch.testing.assert_close(added(parts), 2 * up @ down)
    torch.testing.assert_close(added(parts, rank=1), 2 * up[:, :1] @ down[:1])
    torch.testing.assert_close(added({"up": up, "down": down}), up @ down)
    torch.testing.assert_close(added({"up": up.half(), "down": down.half()}), up.half().float() @ down.half().float())


def test_loras_of_convolutions():
    up, down, mid = rand(OUT, R, 1, 1), rand(R, IN, 3, 3), rand(R, R, 3, 3)
    x = rand(1, IN, 5, 5)
    conv = torch.nn.functional.conv2d
    of = added({"up": up, "down": down}, K)
    torch.testing.assert_close(conv(x, of), conv(conv(x, down), up))
    first = rand(R, IN, 1, 1)
    of = added({"up": up, "down": first, "mid": mid}, K)
    torch.testing.assert_close(conv(x, of), conv(conv(conv(x, first), mid), up))


def test_loha():
    a, b, c, d = rand(OUT, R), rand(R, IN), rand(OUT, R) + 1, rand(R, IN) - 1
    parts = {"hada_w1_a": a, "hada_w1_b": b, "hada_w2_a": c, "hada_w2_b": d, "alpha": torch.tensor(1.0)}
    torch.testing.assert_close(added(parts), 0.5 * (a @ b) * (c @ d))
    core = rand(R, R, 3, 3)
    tucker = {"hada_w1_a": a.T, "hada_w1_b": b, "hada_w2_a": c.T, "hada_w2_b": d, "hada_t1": core, "hada_t2": core + 1}
    expected = 1.0
    for one, two, t in ((a, b, core), (c, d, core + 1)):
        expected = expected * torch.einsum("or,rshw,si->oihw", one, t, two)
    torch.testing.assert_close(added(tucker, K), expected, rtol=1e-4, atol=1e-5)


def test_lokr():
    first, second = rand(3, 2), rand(4, 4)
    torch.testing.assert_close(
        added({"lokr_w1": first, "lokr_w2": second, "alpha": torch.tensor(9.0)}), torch.kron(first, second)
    )
    a, b = rand(4, R), rand(R, 4)
    parts = {"lokr_w1": first, "lokr_w2_a": a, "lokr_w2_b": b, "alpha": torch.tensor(1.0)}
    torch.testing.assert_close(added(parts), torch.kron(first, 0.5 * a @ b))
    kernels = rand(4, 4, 3, 3)
    of = added({"lokr_w1": first, "lokr_w2": kernels}, K)
    for row in range(3):
        block = of[row * 4 : row * 4 + 4, 4:]
        torch.testing.assert_close(block, first[row, 1] * kernels)
    low = rand(R, 4 * 9)
    of = added({"lokr_w1": first, "lokr_w2_a": a, "lokr_w2_b": low}, K)
    torch.testing.assert_close(of[:4, :4], first[0, 0] * (a @ low).reshape(4, 4, 3, 3))
    core = rand(R, R, 3, 3)
    of = added({"lokr_w1_a": rand(3, R), "lokr_w1_b": rand(R, 2), "lokr_w2_a": a.T, "lokr_w2_b": b, "lokr_t2": core}, K)
    scale = (rand(3, R) @ rand(R, 2))[0, 0]
    torch.testing.assert_close(of[:4, :4], scale * torch.einsum("or,rshw,si->oihw", a, core, b))


def test_ia3():
    x, into, out = rand(5, IN), rand(IN), rand(OUT, 1)
    of = added({"weight": into, "on_input": torch.tensor(True)})
    torch.testing.assert_close(x @ (W + of).T, (x * (1 + into)) @ W.T)
    of = added({"weight": out, "on_input": torch.tensor(False)})
    torch.testing.assert_close(x @ (W + of).T, (x @ W.T) * (1 + out.T))


def test_differences():
    diff, bias = rand(OUT, IN), rand(OUT)
    change = read_change({"diff": diff, "diff_b": bias})
    assert change is not None
    assert change.bias is bias
    torch.testing.assert_close(added({"diff": diff}), diff)
    norm = read_change({"w_norm": bias, "b_norm": bias})
    assert norm is not None
    assert norm.fits(torch.Size([OUT]))
    torch.testing.assert_close(norm.difference(torch.ones(OUT), None), bias)
    assert added({"diff_b": bias}).abs().max() == 0


def test_glora_in_both_orders():
    a1, a2, b1, b2 = rand(IN, R), rand(R, IN), rand(OUT, R), rand(R, IN)
    expected = W @ a1 @ a2 + b1 @ b2
    torch.testing.assert_close(added({"a1": a1, "a2": a2, "b1": b1, "b2": b2}), expected)
    torch.testing.assert_close(added({"a1": a2, "a2": a1, "b1": b2, "b2": b1}), expected)


@pytest.mark.parametrize("blocks", [rand(3, 4, 4), rand(2, 6, 2, 2)], ids=["oft", "boft"])
def test_oft_turns_outputs(blocks):
    """An orthogonal R keeps all products of inputs: (R W)^T R W = W^T W."""
    turned = W + added({"oft_blocks": blocks})
    torch.testing.assert_close(turned.T @ turned, W.T @ W, rtol=1e-4, atol=1e-4)
    assert (turned - W).abs().max() > 0.1
    assert added({"oft_blocks": blocks * 0}).abs().max() < 1e-6
    near = added({"oft_blocks": blocks, "alpha": torch.tensor(1e-4)})
    assert near.norm() < 0.1 * added({"oft_blocks": blocks}).norm()


def test_oft_of_ready_blocks():
    angle = torch.tensor(0.3)
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    of = W + added({"oft_diag": turn.expand(6, 2, 2)})
    torch.testing.assert_close(of[:2], turn.T @ W[:2])
    scaled = W + added({"oft_diag": turn.expand(6, 2, 2), "rescale": torch.full((OUT, 1), 2.0)})
    torch.testing.assert_close(scaled, 2 * of)


@pytest.mark.parametrize("weight", [W, K], ids=["matrix", "kernel"])
def test_dora(weight):
    down = rand(R, *weight.shape[1:])
    parts = {"up": rand(OUT, R), "down": down}
    moved = weight + added(parts, weight)
    of_inputs = torch.rand(1, IN, *[1] * (weight.ndim - 2)) + 1
    result = weight + added({**parts, "dora_scale": of_inputs}, weight)
    torch.testing.assert_close(result.transpose(0, 1).flatten(1).norm(dim=1), of_inputs.flatten())
    torch.testing.assert_close(result / moved, (result / moved)[:1].expand_as(result))
    of_outputs = torch.rand(OUT) + 1
    for name, magnitudes in (
        ("magnitude", of_outputs),
        ("dora_scale", of_outputs.reshape(-1, *[1] * (weight.ndim - 1))),
    ):
        result = weight + added({**parts, name: magnitudes}, weight)
        torch.testing.assert_close(result.flatten(1).norm(dim=1), of_outputs)


@pytest.mark.parametrize(
    "parts",
    [
        {"up": rand(OUT, R), "down": rand(R, IN + 1)},
        {"up": rand(OUT, R), "down": rand(R + 1, IN)},
        {"lokr_w1": rand(3, 2), "lokr_w2": rand(4, 5)},
        {"weight": rand(IN + 1), "on_input": torch.tensor(True)},
        {"oft_blocks": rand(3, 5, 5)},
        {"oft_blocks": rand(2, 3, 4, 4)},
        {"diff": rand(OUT + 1, IN)},
        {"a1": rand(IN + 1, R), "a2": rand(R, IN + 1), "b1": rand(OUT, R), "b2": rand(R, IN + 1)},
        {"hada_w1_a": rand(OUT, R), "hada_w1_b": rand(R, IN), "hada_w2_a": rand(OUT, R), "hada_w2_b": rand(R, IN + 2)},
    ],
    ids=lambda parts: next(iter(parts)),
)
def test_other_shapes_do_not_fit(parts):
    change = read_change(parts)
    assert change is not None
    assert not change.fits(W.shape)


def test_tensors_of_no_kind():
    assert read_change({"up": rand(OUT, R)}) is None
    assert read_change({"alpha": torch.tensor(1.0)}) is None
