"""What a prompt tells a network, in the one tensor that schedules and guidance carry.

States (B, T, D), a vector (B, P) repeated at every position, and last one channel that is 1 where a position counts.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def pack(states: Tensor, *, vector: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
    """States (B, T, D), vector (B, P), mask (B, T), all true by default -> (B, T, D + P + 1), float32."""
    told = [] if vector is None else [vector.float()[:, None].expand(-1, states.shape[1], -1)]
    counts = torch.ones_like(states[..., :1]) if mask is None else mask[..., None].to(states)
    return torch.cat([states.float(), *told, counts.float()], dim=2)


def unpack(context: Tensor, *, vector: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """(B, T, D + P + 1) -> states (B, T, D), the vector (B, P) of P = `vector` channels, and the mask (B, T) of bools."""
    states, told, counts = context.split([context.shape[2] - vector - 1, vector, 1], dim=2)
    return states, told[:, 0], counts[..., 0] > 0.5


def pack_rows(rows: Sequence[Tensor]) -> Tensor:
    """States (T_i, D) of several texts -> (B, T + 1, D + 1), T the longest.

    The last position counts in none, so that what is held at it to reach the length of another text stays as it was.
    """
    states, mask = padded([*rows])
    return pack(torch.nn.functional.pad(states, (0, 0, 0, 1)), mask=torch.nn.functional.pad(mask, (0, 1)))


def text_rows(context: Tensor) -> list[Tensor]:
    """What pack_rows was given, as far as it counts: B states (T_i, D)."""
    states, _, mask = unpack(context)
    return [row[counts] for row, counts in zip(states, mask, strict=True)]


def by_length(rows: Sequence[Tensor]) -> list[tuple[list[int], Tensor]]:
    """Rows (T_i, D) stacked with those as long as they: their numbers and (n, T, D). A network needs no mask of them."""
    lengths = [len(row) for row in rows]
    groups = ([i for i, own in enumerate(lengths) if own == length] for length in dict.fromkeys(lengths))
    return [(group, torch.stack([rows[i] for i in group])) for group in groups]


def whole_patches(x: Tensor, patch: int) -> Tensor:
    """(B, C, h, w) with sides made multiples of `patch` at the bottom and right, the picture going on there as ComfyUI lets it."""
    height, width = (-side % patch for side in x.shape[-2:])
    return torch.nn.functional.pad(x, (0, width, 0, height), mode="circular") if height or width else x


def padded(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """States (T_i, D) of several texts -> (B, T, D) with zeros at their ends, and the mask (B, T)."""
    states = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    lengths = torch.tensor([len(row) for row in rows], device=states.device)
    return states, torch.arange(states.shape[1], device=states.device) < lengths[:, None]
