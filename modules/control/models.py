"""Control models by name, read once each and kept, the last ones used."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from weakref import ref

from modules.control.building import build_adapter, build_controlnet, build_union
from modules.control.control_lora import build_control_lora
from modules.control.ip_adapter import IPAdapter
from modules.control.ip_building import build_ip_adapter
from modules.control.kinds import (
    CONTROL_LORA,
    CONTROLNET,
    IP_ADAPTER,
    LABELS,
    LLLITE,
    T2I,
    T2I_STYLE,
    TRANSFORMER,
    UNETS,
    UNION,
    Kind,
    kind_of,
)
from modules.control.lllite import LLLite, build_lllite
from modules.control.networks import ControlNetwork
from modules.control.t2i_style import StyleAdapter, build_style
from modules.control.transformers.flux import build_flux
from modules.control.transformers.network import TokenNetwork
from modules.control.transformers.qwen_image import build_qwen_image
from modules.control.transformers.sd3 import build_sd3
from modules.control.transformers.z_image import build_z_image
from modules.control.vision import find_vision, open_vision
from modules.core.errors import InputError, ModelFileError
from modules.core.paths import Paths
from modules.devices.choice import Compute
from modules.devices.residence import Meter, OneAtATime
from modules.families.model import LoadedModel
from modules.families.weights import read_weights, shapes_of
from modules.library.controls import ControlFiles

Network = ControlNetwork | TokenNetwork | IPAdapter | LLLite | StyleAdapter

TOKEN_BUILDERS: dict[str, Callable[..., TokenNetwork]] = {
    "sd3": build_sd3,
    "flux": build_flux,
    "qwen-image": build_qwen_image,
    "z-image": build_z_image,
}

BUILDERS: dict[str, Callable[..., Network]] = {
    CONTROLNET: build_controlnet,
    UNION: build_union,
    T2I: build_adapter,
    IP_ADAPTER: build_ip_adapter,
    LLLITE: build_lllite,
    T2I_STYLE: build_style,
}


def _none() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class LoadedControl:
    """A control model in memory. `settle()` lets the device go of its weights, where these only visit it. `base()`: the U-Net that it is made
    of besides, if it is and that one is still there."""

    name: str
    kind: Kind
    network: Network
    settle: Callable[[], None] = field(default=lambda: None)
    base: Callable[[], Any] = _none


class ControlModels:
    """Loads them. Not for several threads at once."""

    def __init__(self, files: ControlFiles, compute: Compute, paths: Paths) -> None:
        self.files = files
        self._paths = paths
        self._vision: tuple[Path, Any] | None = None
        self._compute = compute.plain
        self._kept: OrderedDict[Hashable, LoadedControl] = OrderedDict()

    def kind(self, name: str, field: str) -> Kind:
        """What the file of that name is, from its header alone; raises UnknownName, ModelFileError."""
        path = self.files.find(name, field).path
        return kind_of(shapes_of(path).shapes, path)

    def load(
        self,
        name: str,
        field: str,
        model: LoadedModel,
        *,
        low_vram: bool = False,
        limit: int = 2,
        on_read: Callable[[str], None] = lambda _: None,
    ) -> LoadedControl:
        """The control model of that name for that model, `limit` of which stay in memory.

        Raises UnknownName, ModelFileError, or InputError naming both families where the two do not go together.
        """
        file = self.files.find(name, field)
        kind = kind_of(shapes_of(file.path).shapes, file.path)
        check_family(file.name, kind, field, model)
        status = file.path.stat()
        base = model.backbone if kind.name == CONTROL_LORA else None
        runs = model.compute.dtype, model.compute.compiled
        key = (str(file.path), status.st_size, status.st_mtime_ns, low_vram, *runs, id(base))
        if key not in self._kept or self._kept[key].base() is not base:
            on_read(file.name)
            self._kept[key] = self._built(file.path, file.name, kind, low_vram, model, on_read)
            while len(self._kept) > max(limit, 1):
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        found = self._kept[key]
        check_sizes(found, field, model)
        return found

    def vision(self, width: int, who: str, *, whole: bool) -> Any:
        """The vision network whose vectors, or of all places whose features, are that wide; the last one is kept. Raises ModelFileError."""
        path = find_vision(self._paths, width, whole=whole, who=who)
        if self._vision is None or self._vision[0] != path:
            self._vision = path, open_vision(path, self._compute.device)
        return self._vision[1]

    def unload(self) -> None:
        """Let go of all of them."""
        self._kept.clear()
        self._vision = None

    def _built(
        self, path: Path, name: str, kind: Kind, low_vram: bool, model: LoadedModel, tell: Callable[[str], None]
    ) -> LoadedControl:
        base: Callable[[], Any] = _none
        build = TOKEN_BUILDERS[kind.family] if kind.name == TRANSFORMER else BUILDERS.get(kind.name)
        if kind.name == CONTROL_LORA:
            build, base = partial(build_control_lora, model=model), ref(model.backbone)
        if build is None:
            raise ModelFileError(f'"{name}" is of the kind {kind.name}, which this version cannot work with yet.')
        visits = low_vram and self._compute.device.type != "cpu"
        compute = replace(self._compute, dtype=model.compute.dtype, lent=visits)
        if kind.name in (CONTROLNET, UNION):
            build, compute = partial(build, tell=tell), replace(compute, compiled=model.compute.compiled)
        network = build(read_weights(path), compute, path)
        if not visits:
            return LoadedControl(name=name, kind=kind, network=network, base=base)
        policy = OneAtATime(self._compute.device, Meter())
        policy.attach([[network.module]])
        return LoadedControl(name=name, kind=kind, network=network, settle=policy.leave, base=base)


def check_family(name: str, kind: Kind, field: str, model: LoadedModel) -> None:
    """Raise InputError naming both families unless they are the same."""
    fits = kind.family == model.family or (not kind.family and model.family in UNETS)
    if not fits or model.family not in LABELS:
        label = LABELS.get(model.family, model.family)
        raise InputError(
            field,
            f'{field} is "{name}", a {kind.name} for {kind.label}; the checkpoint "{model.name}" is of the family {label}. '
            "Choose a model for that family, or another checkpoint.",
        )


SIZES = ("block_out_channels", "cross_attention_dim", "layers_per_block")


def check_sizes(control: LoadedControl, field: str, model: LoadedModel) -> None:
    """Raise InputError if the network is a copy of another U-Net, or transformer, than the model's, or belongs beside another."""
    network, what = control.network, "U-Net"
    if isinstance(network, LLLite):
        network.places(model, control.name, field)
        return
    if isinstance(network, StyleAdapter):
        _check_words(control, network, field, model)
        return
    if isinstance(network, TokenNetwork):
        found, what = network.sizes(model.backbone), "transformer"
    else:
        own, other = getattr(network.module, "config", None), getattr(model.backbone, "config", None)
        if own is None or other is None or control.kind.name not in (CONTROLNET, UNION):
            return
        found = [(name, _plain(own, name), _plain(other, name)) for name in SIZES]
    for name, ours, theirs in found:
        if ours != theirs:
            raise InputError(
                field,
                f'{field} is "{control.name}", made beside a {what} whose {name} is {ours}; that of "{model.name}" has '
                f"{theirs}. Choose a control model for this checkpoint.",
            )


def _check_words(control: LoadedControl, adapter: StyleAdapter, field: str, model: LoadedModel) -> None:
    width = model.backbone.config.cross_attention_dim
    if adapter.context != width:
        raise InputError(
            field,
            f'{field} is "{control.name}", whose words are {adapter.context} wide; the U-Net of "{model.name}" reads words of {width}. '
            "Choose a control model for this checkpoint.",
        )


def _plain(config: Any, name: str) -> Any:
    value = getattr(config, name, None)
    return tuple(value) if isinstance(value, list | tuple) else value
