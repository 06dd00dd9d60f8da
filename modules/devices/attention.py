"""Which attention kernel the networks of a model use: a registry in A1111's names, and how one is put to work."""

import copy
import functools
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from modules.core.registry import Registry
from modules.devices import kernels
from modules.devices.kernels import Kernel

log = logging.getLogger(__name__)

SDP = "sdp - scaled dot product"
AUTOMATIC = "Automatic"


@dataclass(frozen=True, kw_only=True)
class Attention:
    """`make` imports what the kernel needs. `gpu`: it needs an NVIDIA GPU. `loss`: how far a result may be from PyTorch's."""

    make: Callable[[], Kernel]
    gpu: bool = False
    loss: float = 1e-2


def build_attentions() -> Registry[Attention]:
    """The kernels under the names that A1111's setting has, with Forge's two more, and its flags' words as aliases."""
    registry: Registry[Attention] = Registry("cross_attention_optimization")
    registry.add("xformers", Attention(make=kernels.xformers_kernel, gpu=True))
    registry.add(SDP, Attention(make=lambda: scaled_dot_product_attention), ["sdp", "pytorch"])
    registry.add(
        "sdp-no-mem - scaled dot product without memory efficient attention",
        Attention(make=lambda: kernels.without_memory_efficient),
        ["sdp-no-mem"],
    )
    registry.add("sub-quadratic", Attention(make=lambda: kernels.chunked), ["quad"])
    for name, alias in (("V1 - original v1", "v1"), ("InvokeAI", "invoke"), ("Doggettx", "split")):
        registry.add(name, Attention(make=lambda: kernels.split), [alias])
    registry.add("flash", Attention(make=kernels.flash_kernel, gpu=True))
    registry.add("sage", Attention(make=kernels.sage_kernel, gpu=True, loss=0.1))
    registry.add("None", Attention(make=lambda: kernels.plain))
    return registry.freeze()


class Attentions:
    """The kernels that work on a device, each tried once; `automatic` names the one for that setting."""

    def __init__(
        self, device: torch.device, automatic: str | None = None, registry: Registry[Attention] | None = None
    ) -> None:
        self._device = device
        self._registry = registry or build_attentions()
        self._automatic = self._registry.name_of(automatic or SDP)
        self._tried: dict[str, Kernel | str] = {}

    def put(self, networks: Iterable[Any], options: Mapping[str, Any]) -> str | None:
        """Networks use the kernel that these settings ask for; says why, if it is another one than they ask for.

        Raises UnknownName for a setting that names none.
        """
        wanted = options["cross_attention_optimization"]
        name = self._automatic if wanted == AUTOMATIC else self._registry.name_of(wanted)
        found = self._try(name)
        trouble = found if isinstance(found, str) else None
        kernel = scaled_dot_product_attention if isinstance(found, str) else found
        if options["upcast_attn"]:
            kernel = kernels.upcast(kernel)
        for network in networks:
            if isinstance(network, nn.Module):
                route(network, kernel)
        return trouble

    def trouble(self, name: str) -> str | None:
        """Why the kernel of that name does not work here; None when it does."""
        found = self._try(self._registry.name_of(name))
        return found if isinstance(found, str) else None

    def _try(self, name: str) -> Kernel | str:
        if name not in self._tried:
            self._tried[name] = tried(name, self._registry.get(name), self._device)
            log.info("Attention: %s.", name) if callable(self._tried[name]) else log.warning("%s", self._tried[name])
        return self._tried[name]


def tried(name: str, attention: Attention, device: torch.device) -> Kernel | str:
    """The kernel, if a small input through it comes out as PyTorch's; else a sentence."""
    if attention.gpu and device.type != "cuda":
        return f'The attention "{name}" needs an NVIDIA GPU; PyTorch\'s own is used.'
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 4, 80, 64, generator=generator).to(device, dtype) for _ in range(3))
    try:
        kernel = attention.make()
        worst = (kernel(q, k, v) - scaled_dot_product_attention(q, k, v)).abs().max().item()
    except ImportError:
        return f'The attention "{name}" is not installed, or its build is for another torch than {torch.__version__}; PyTorch\'s own is used.'
    except Exception as error:  # kernels fail in many ways on hardware they were not built for
        return f'The attention "{name}" does not work here ({type(error).__name__}); PyTorch\'s own is used.'
    if not worst <= attention.loss:
        return f'The attention "{name}" computes wrongly here (off by {worst:.2g}); PyTorch\'s own is used.'
    return kernel


def route(network: nn.Module, kernel: Kernel) -> None:
    """All attention in a diffusers network goes through that kernel from now on.

    Its processors, each written for its model, stay; what they ask PyTorch's function for is answered by the kernel.
    """
    kinds: dict[type, type] = {}
    for module in network.modules():
        processor = getattr(module, "processor", None)
        if processor is None or not callable(processor):
            continue
        own = getattr(processor, "unrouted", processor)
        module.processor = own if kernel is scaled_dot_product_attention else _routed(own, kernel, kinds)  # pyright: ignore


def _routed(own: Any, kernel: Kernel, kinds: dict[type, type]) -> Any:
    """A copy of that processor whose calls are answered by the kernel; diffusers looks at its class, name and signature."""
    kind = type(own)
    if kind not in kinds:
        original = kind.__call__

        @functools.wraps(original)
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            with _Answering(kernel):
                return original(self, *args, **kwargs)

        kinds[kind] = type(kind.__name__, (kind,), {"__call__": call})
    made = copy.copy(own)
    made.__class__ = kinds[kind]
    made.unrouted = own
    return made


class _Answering(TorchFunctionMode):
    """Answers calls of PyTorch's attention by a kernel."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self._kernel = kernel

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not scaled_dot_product_attention:
            return func(*args, **kwargs)
        named = [kwargs.pop(name) for name in ("query", "key", "value")[len(args) :]]
        return self._kernel(*args, *named, **kwargs)
