"""What each kind adds to a weight, against its formula written out."""

import pytest
import torch

from modules.networks.kinds.reading import read_change
from modules.networks.patch import Patched, Use
from modules.networks.targets import Target

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


def test_ia3_of_peft():
    """What its layers answer: x l W^T + b, and (x W^T + b) l."""
    x, into, out, bias = rand(5, IN), rand(1, IN), rand(OUT, 1), rand(OUT)
    torch.testing.assert_close(x @ (W + added({"ia3": into})).T, (x * into) @ W.T)
    torch.testing.assert_close(x @ (W + added({"ia3": out})).T + bias * out[:, 0], (x @ W.T + bias) * out.T)
    kernels = W + 0, rand(1, IN, 1, 1)
    torch.testing.assert_close(K + added({"ia3": kernels[1]}, K), K * kernels[1])
    torch.testing.assert_close(K + added({"ia3": rand(1, OUT, 1, 1)}, K), K * rand(OUT, 1, 1, 1).reshape(OUT, 1, 1, 1))
    square = rand(IN, IN)
    torch.testing.assert_close(square + added({"ia3": into}, square), square * into)
    torch.testing.assert_close(square + added({"ia3": into.T}, square), square * into.T)


def quarter(q):
    """By hand: of Q = [[0, q], [-q, 0]], (I - Q)(I + Q)^-1 = [[1 - q^2, -2 q], [2 q, 1 - q^2]] / (1 + q^2)."""
    return torch.tensor([[1 - q * q, -2 * q], [2 * q, 1 - q * q]]) / (1 + q * q)


def test_oft_of_peft_turns_inputs():
    """Of blocks of two R is told by one number; PEFT's series is I + 2 Q + 2 Q^2 + 2 Q^3 + Q^4, with Q^2 = -q^2 I."""
    numbers = torch.tensor([[0.1], [0.2], [0.3], [0.4]])
    exact = torch.block_diag(*(quarter(float(q)) for q in numbers))
    of = W + added({"oft_upper": numbers, "oft_terms": torch.tensor(0)})
    torch.testing.assert_close(of, W @ exact.T)
    series = torch.block_diag(
        *(
            torch.tensor([[1 - 2 * q**2 + q**4, 2 * q - 2 * q**3], [-2 * q + 2 * q**3, 1 - 2 * q**2 + q**4]])
            for q in map(float, numbers)
        )
    )
    torch.testing.assert_close(W + added({"oft_upper": numbers}), W @ series.T)
    shared = torch.block_diag(*[quarter(0.2)] * 4)
    torch.testing.assert_close(
        W + added({"oft_upper": torch.tensor([[0.2]]), "oft_terms": torch.tensor(0)}), W @ shared.T
    )
    flat = torch.block_diag(*[quarter(0.2)] * (IN * 9 // 2))
    kernels = K + added({"oft_upper": torch.tensor([[0.2]]), "oft_terms": torch.tensor(0)}, K)
    torch.testing.assert_close(kernels.flatten(1), K.flatten(1) @ flat.T)


@pytest.mark.parametrize(
    ("terms", "expected"), [(1, [1, 0]), (2, [1, 2]), (3, [1 - 2 / 4, 2 / 2 - 1 / 8]), (4, [1 - 2 / 4, 2 / 2 - 1 / 8])]
)
def test_series_of_peft(terms, expected):
    """With q = 1/2: the first row of I + 2 Q, of I + 2 Q + 2 Q^2 + Q^3."""
    one, weight = torch.tensor([[0.5]]), torch.eye(2)
    found = weight + added({"oft_upper": one, "oft_terms": torch.tensor(terms)}, weight)
    first = [expected[0], expected[1] / 2 * 2 if terms > 2 else expected[1] / 2]
    torch.testing.assert_close(found.T[0], torch.tensor(first))


def test_older_oft_of_peft():
    """Whole blocks, Q = (A - A^T) / 2: of the outputs, or with scales of the inputs."""
    blocks = torch.tensor([[[9.0, 0.5], [0.1, 9.0]]])  # q = 0.2
    turned = torch.block_diag(*[quarter(0.2)] * 6)
    torch.testing.assert_close(W + added({"oft_whole": blocks}), turned.T @ W)
    odd = rand(5, IN)
    cut = torch.block_diag(*[quarter(0.2)] * 3)[:5, :5]
    torch.testing.assert_close(odd + added({"oft_whole": blocks.expand(3, 2, 2)}, odd), cut.T @ odd)
    scales, turned = rand(OUT, 1), torch.block_diag(*[quarter(0.2)] * 4)
    torch.testing.assert_close(W + added({"oft_whole": blocks, "oft_scales": scales}), W @ turned.T * scales)


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
        {"ia3": rand(OUT + 1, 1)},
        {"oft_upper": rand(4, 3)},
        {"oft_upper": rand(3, 1)},
        {"oft_upper": rand(4, 2)},
        {"oft_whole": rand(2, 5, 5)},
        {"oft_whole": rand(4, 2, 2), "oft_scales": rand(3, 1)},
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


def test_ia3_of_peft_scales_the_bias_of_outputs_and_leaves_it_again():
    layer = torch.nn.Linear(IN, OUT).requires_grad_(False)
    before, scales = (layer.weight.clone(), layer.bias.clone()), rand(OUT, 1)
    change = read_change({"ia3": scales})
    assert change is not None
    target = Target(role="unet", path="x", modules=(layer,))
    patched = Patched([Use(target=target, change=change, amount=0.5)], torch.device("cpu"))
    patched.put_in()
    half = 1 + 0.5 * (scales - 1)
    torch.testing.assert_close(layer.weight, before[0] * half)
    torch.testing.assert_close(layer.bias, before[1] * half[:, 0])
    patched.take_out()
    assert torch.equal(layer.weight, before[0]) and torch.equal(layer.bias, before[1])
