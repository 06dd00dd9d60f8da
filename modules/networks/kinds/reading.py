"""Which kind of change the tensors of one layer are."""

from modules.networks.kinds import full, glora, ia3, loha, lokr, lora, oft, peft_oft
from modules.networks.kinds.change import Change, Parts
from modules.networks.kinds.dora import Dora


def read_change(parts: Parts) -> Change | None:
    """The change, or None for tensors that make up none of a known kind."""
    change = _read(parts)
    magnitudes = parts.get("dora_scale", parts.get("magnitude"))
    return change if change is None or magnitudes is None else Dora(inner=change, magnitudes=magnitudes)


def _read(parts: Parts) -> Change | None:
    names = parts.keys()
    for kind in (lora, loha, ia3, glora, oft):
        if names >= kind.NEEDS:
            return kind.read(parts)
    if ia3.PEFT in names:
        return ia3.read(parts)
    if any(names >= needs for needs in peft_oft.NEEDS):
        return peft_oft.read(parts)
    if names >= oft.READY:
        return oft.read(parts)
    if lokr.fitting(parts):
        return lokr.read(parts)
    return full.read(parts) if full.fitting(parts) else None
