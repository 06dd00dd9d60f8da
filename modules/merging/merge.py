"""A1111's three methods of merging checkpoints, one tensor at a time.

Arithmetic is done in the files' own dtype, as in A1111, so that equal inputs give equal bytes; with a precision of its own, in float32.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from modules.core.errors import InputError
from modules.merging.blocks import Multipliers
from modules.merging.casting import cast, computable
from modules.merging.sources import EXTRA_CHANNELS, Source, check_alike, sees_more
from modules.merging.writer import DTYPES, Form
from modules.requests.merge import MergeRequest

POSITIONS = "cond_stage_model.transformer.text_model.embeddings.position_ids"
"""Left as A has it: numbers to count with."""


class Merge:
    """The result of a request, tensor by tensor; nothing is computed before it is asked for.

    Raises InputError for checkpoints that do not fit together, and for a pattern that leaves nothing.
    """

    def __init__(
        self, request: MergeRequest, sources: tuple[Source, ...], vae: Mapping[str, Tensor] | None = None
    ) -> None:
        check_alike(sources)
        self._request = request
        self._sources = sources
        first = sources[0].tensors
        self._vae = {name: tensor for name, tensor in (vae or {}).items() if name in first}
        self._multipliers = Multipliers(request.block_weights, request.multiplier, first)
        self._bare = not any("model" in name for name in first)  # a network alone, without its prefix
        discard = re.compile(request.discard_weights) if request.discard_weights else None
        self.names = [name for name in first if not (discard and discard.search(name))]
        self._check_left(vae)

    @property
    def precision(self) -> str:
        """What fractions are saved in."""
        return "fp16" if self._request.save_as_half else self._request.precision

    @property
    def extra(self) -> str:
        """The words for the channels that A sees and the others do not; "" if there are none."""
        for name in self._sources[0].tensors:
            shapes = [tuple(source.tensors[name].shape) for source in self._sources[:2] if name in source.tensors]
            if len(shapes) == 2 and sees_more(shapes[0], shapes[1]):
                return EXTRA_CHANNELS[shapes[0][1]]
        return ""

    def forms(self) -> dict[str, Form]:
        """What every tensor of the result will be."""
        found = {}
        for name in self.names:
            parts = [source.meta(name) if name in source.tensors else None for source in self._sources]
            baked = self._vae.get(name)
            result = self._value(name, parts, baked.to("meta") if baked is not None else None)
            if result.dtype not in DTYPES:
                raise InputError("primary_model_name", f"{name} is {result.dtype}, which cannot be saved. Discard it.")
            found[name] = (result.dtype, tuple(result.shape))
        return found

    def tensor(self, name: str) -> Tensor:
        """That tensor of the result."""
        parts = [source.tensors.get(name) for source in self._sources]
        return self._value(name, parts, self._vae.get(name))

    def _value(self, name: str, parts: list[Tensor | None], baked: Tensor | None) -> Tensor:
        first = parts[0]
        assert first is not None
        if baked is not None:
            return cast(name, baked, self.precision)
        if len(parts) == 1:
            return cast(name, first, self.precision)
        if name == POSITIONS or parts[1] is None or not self._merged(name):
            # A1111 leaves alone what is no part of the models, in whatever precision the rest is saved
            return cast(name, first, self.precision) if self._merged(name) else first
        return cast(name, self._mixed(name, first, parts[1], parts[2:]), self.precision)

    def _mixed(self, name: str, a: Tensor, b: Tensor, third: list[Tensor | None]) -> Tensor:
        """By the request's method. Where A sees more channels than B, the others stay as they are."""
        m = self._multipliers.of(name)
        a, b = computable(a), computable(b)
        c = computable(third[0]) if third and third[0] is not None else b if third else None
        if self._request.precision != "Automatic" and a.is_floating_point():
            a, b, c = a.float(), b.float(), c.float() if c is not None else None
        part = a[:, : b.shape[1]] if sees_more(tuple(a.shape), tuple(b.shape)) else a
        mixed = (1 - m) * part + m * b if c is None else part + m * (b - c)
        if part is a:
            return mixed
        whole = a.clone()
        whole[:, : b.shape[1]] = mixed
        return whole

    def _merged(self, name: str) -> bool:
        return self._bare or "model" in name

    def _check_left(self, vae: Mapping[str, Tensor] | None) -> None:
        if not self.names:
            raise InputError("discard_weights", "discard_weights matches every weight: nothing would be left.")
        if vae is not None and not self._vae:
            raise InputError("bake_in_vae", "bake_in_vae: model A has no VAE in the usual layout to be replaced.")
        for name, tensor in self._vae.items():
            own = self._sources[0].tensors[name].shape
            if tensor.shape != own:
                raise InputError(
                    "bake_in_vae",
                    f"bake_in_vae: {name} is {tuple(tensor.shape)} in the VAE, {tuple(own)} in model A. Choose a VAE made for it.",
                )
