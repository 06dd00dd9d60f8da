"""Network files: the changes they hold, layer by layer, and the textual inversions some bring along."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from modules.core.errors import ModelFileError, short
from modules.families.weights import read_weights
from modules.library.header import read_header
from modules.library.signs import LORA, family_of, family_said
from modules.networks.kinds.change import Change
from modules.networks.kinds.peft_oft import TERMS, UPPER
from modules.networks.kinds.reading import read_change
from modules.networks.naming import BUNDLED, read_layer, read_name

Layer = tuple[str, str]
"""A role and a flat path, as naming.py has them."""

_BUNDLE_END = ".string_to_param.*"


@dataclass(frozen=True, kw_only=True)
class NetworkFile:
    """One file. `odd`: names of tensors that are none of a known network's. `family`: as the library calls it, "" if nothing tells.

    `bundled`: vectors (n, D) of the textual inversions in it, by name.
    """

    name: str
    changes: Mapping[Layer, Change]
    odd: tuple[str, ...] = ()
    family: str = ""
    bundled: Mapping[str, Tensor] = field(default_factory=dict)


def read_network(path: Path, name: str) -> NetworkFile:
    """The network in that file; raises ModelFileError for one that is damaged, or that holds none."""
    tensors = read_weights(path)
    headed = path.suffix.lower() in (".safetensors", ".sft")
    metadata = read_header(path).metadata if headed else {}
    parts, odd, bundled = _grouped(tensors)
    alphas = _alphas(metadata)
    terms = _terms(path)
    changes: dict[Layer, Change] = {}
    for layer, found in parts.items():
        if UPPER in found and terms is not None:
            found[TERMS] = torch.tensor(terms)
        if (alpha := alphas.get(layer[0])) is not None and "alpha" not in found:
            found["alpha"] = torch.tensor(alpha)
        change = read_change(found)
        if change is None:
            odd.append(f"{layer[1]}.{next(iter(found))}")
        else:
            changes[layer] = change
    if not changes and not bundled:
        held = f" (it holds {short(next(iter(tensors), ''))})" if tensors else ""
        raise ModelFileError(
            f'"{path.name}" is no LoRA nor any other network that is known here{held}. Remove its tag.'
        )
    family = family_said(metadata.get("modelspec.architecture", "") or metadata.get("ss_base_model_version", ""))
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    return NetworkFile(
        name=name, changes=changes, odd=tuple(odd), family=family or family_of(shapes, LORA), bundled=bundled
    )


def _grouped(tensors: Mapping[str, Tensor]) -> tuple[dict[Layer, dict[str, Tensor]], list[str], dict[str, Tensor]]:
    """The tensors by layer and part, the names of those that are neither, and bundled vectors by name."""
    parts: dict[Layer, dict[str, Tensor]] = {}
    odd: list[str] = []
    bundled: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if key.startswith(BUNDLED):
            if key.endswith(_BUNDLE_END):
                bundled[key[len(BUNDLED) : -len(_BUNDLE_END)]] = tensor
            continue
        found = read_name(key)
        if found is None:
            odd.append(key)
        else:
            parts.setdefault((found.role, found.layer), {})[found.part] = tensor
    return parts, odd, bundled


def _terms(path: Path) -> int | None:
    """How many terms of Cayley's series PEFT's configuration beside the file asks of OFT, 0 for all; None if there is none."""
    try:
        told = json.loads((path.parent / "adapter_config.json").read_text("utf-8"))
        if not isinstance(told, dict) or told.get("peft_type") != "OFT":
            return None
        return int(told.get("num_cayley_neumann_terms", 5)) if told.get("use_cayley_neumann", True) else 0
    except (OSError, ValueError, TypeError):
        return None


def _alphas(metadata: Mapping[str, str]) -> dict[str, float]:
    """alpha of each role, where diffusers wrote it into the metadata alone; its files hold r without it."""
    try:
        told = json.loads(metadata.get("lora_adapter_metadata", "{}"))
        pairs = [(key.removesuffix(".lora_alpha"), value) for key, value in told.items() if key.endswith(".lora_alpha")]
    except (ValueError, AttributeError):
        return {}
    return {read_layer(f"{network}.")[0]: float(value) for network, value in pairs if isinstance(value, int | float)}
