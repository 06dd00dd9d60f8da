"""Pictures drawn by the engine itself, with what their parts took, and their latents."""

import io
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from modules.bench.subject import Subject
from modules.core.errors import AtelierError
from modules.core.registry import Registry
from modules.core.settings import Settings
from modules.devices.choice import Compute
from modules.engine.build import build_tools
from modules.engine.context import Context
from modules.engine.engine import Engine
from modules.engine.quantising import quantised
from modules.engine.speeding import Speeding
from modules.engine.tiers import Tiers
from modules.families.model import LoadedModel
from modules.jobs.executors.base import Cancel
from modules.requests.events import Event, Failed, ImageReady, Order, Warned
from modules.requests.generation import GenerationRequest
from modules.requests.txt2img import make_request
from modules.sampling.sampler import Sampler
from modules.scripts.build import built_in


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """One picture: seconds of the whole job, of sampling, and of the guided calls of the network in it; latents (1, C, h, w) as the
    sampler left them, and pixels (3, H, W) in [0, 1]. `used`: of sampling, the processors' time on a CPU, else that of a clock."""

    whole: float
    sampling: float
    used: float
    calls: float
    latents: Tensor
    pixels: Tensor


class Drawing:
    """An engine for the subject on that device, whose samplers are watched. `tiers`: as Models has it; `compiles`, `fuses`: as Flags.

    `said`: what the engine warned of.
    """

    def __init__(
        self,
        subject: Subject,
        compute: Compute,
        tiers: Tiers | None = None,
        *,
        compiles: bool = False,
        fuses: bool = False,
    ) -> None:
        self.said: list[str] = []
        self._subject = subject
        self._watch = Watch(compute.device)
        speeding = Speeding(subject.paths.cache / "inductor", compiles=compiles, fuses=fuses)
        tools = build_tools(subject.paths, compute, tiers=tiers, speeding=speeding, scripts=built_in())
        self.tools = replace(tools, samplers=self._watch.samplers(tools.samplers))
        self._engine = Engine(self.tools)

    def load(self) -> LoadedModel:
        """The model as the engine uses it; raises ModelFileError."""
        with torch.inference_mode():
            model = quantised(
                self.tools.models.load(self._subject.checkpoint.name), lambda words: None, self.said.append
            )
        streamed = self.tools.models.policy_of(model) is not None
        self.tools.speeding.put(model.backbone, Context(emit=self._hear, cancel=Cancel()), streamed=streamed)
        return model

    def _hear(self, event: Event) -> None:
        if isinstance(event, Warned):
            self.said.append(event.message)

    def draw(self, number: int, values: Mapping[str, Any] | None = None) -> Drawn:
        """Picture of that number, with more `values` of the request; raises AtelierError with what the engine says."""
        return self.run(make_request(self._subject.values(number, values)), number)

    def run(self, request: GenerationRequest, number: int = 0) -> Drawn:
        """What that request comes to: its last picture; times are those of all its runs together. Raises AtelierError."""
        self._watch.begin()
        wishes = {"live_previews_enable": False, **request.override_settings}
        options = Settings().changed({**wishes, "sd_model_checkpoint": self._subject.checkpoint.name}).flat()
        began, data = time.perf_counter(), b""
        for event in self._engine.run(
            Order(job="bench", request=request, seed=100 + number, options=options), Cancel()
        ):
            if isinstance(event, ImageReady) and not event.grid:
                data = event.data
            elif isinstance(event, Failed):
                raise AtelierError(event.message)
        whole = time.perf_counter() - began
        watch = self._watch
        return Drawn(
            whole=whole,
            sampling=watch.seconds,
            used=watch.used,
            calls=watch.calls(),
            latents=watch.latents,
            pixels=pixels_of(data),
        )

    def unload(self) -> None:
        """Give its memory back."""
        self.tools.models.unload()


class Watch:
    """Looks at the runs of samplers on a device: how long they took, and the last one's latents."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._clock = time.process_time if device.type == "cpu" else time.perf_counter
        self._spans: list[Callable[[], float]] = []
        self.seconds = self.used = 0.0
        self.latents = torch.empty(0)

    def begin(self) -> None:
        """Forget what was measured."""
        self._spans = []
        self.seconds = self.used = 0.0

    def samplers(self, known: Registry[Sampler]) -> Registry[Sampler]:
        """All of them, watched."""
        registry: Registry[Sampler] = Registry(known.kind)
        for name, one in known.items():
            flow = one.on_flow and self._around(one.on_flow)
            registry.add(name, replace(one, sample=self._around(one.sample), on_flow=flow), one.entry.aliases)
        return registry.freeze()

    def calls(self) -> float:
        """Seconds that the network's guided calls took."""
        return sum(span() for span in self._spans)

    def call(self, work: Callable[..., Any], *given: Any, **more: Any) -> Any:
        """One call of the network. A GPU is not waited for: it takes down the time itself."""
        if self._device.type != "cuda":
            began = time.perf_counter()
            found = work(*given, **more)
            seconds = time.perf_counter() - began
            self._spans.append(lambda: seconds)
            return found
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        found = work(*given, **more)
        end.record()
        self._spans.append(lambda: start.elapsed_time(end) / 1000)
        return found

    def _around(self, sample: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def watched(model: Any, *given: Any, **more: Any) -> Tensor:
            began, used = time.perf_counter(), self._clock()
            latents = sample(_Watched(model, self), *given, **more)
            self.latents = latents.float().cpu()  # waits for the device
            self.seconds += time.perf_counter() - began
            self.used += self._clock() - used
            return latents

        return watched


class _Watched:
    """The guided model as samplers ask it."""

    def __init__(self, model: Any, watch: Watch) -> None:
        self._model = model
        self._watch = watch

    def __call__(self, *given: Any, **more: Any) -> Any:
        return self._watch.call(self._model, *given, **more)

    def both(self, *given: Any, **more: Any) -> Any:
        return self._watch.call(self._model.both, *given, **more)


def pixels_of(data: bytes) -> Tensor:
    """A file's picture: (3, H, W) in [0, 1]."""
    with Image.open(io.BytesIO(data)) as image:
        array = np.asarray(image.convert("RGB"), dtype=np.float32)
    return torch.from_numpy(array / 255).permute(2, 0, 1)


def in_turn(
    first: Callable[[int], Drawn], second: Callable[[int], Drawn], pictures: int
) -> Iterator[tuple[Drawn, Drawn]]:
    """Both of each picture, one after the other, so that a busy machine slows both; one pair before, which does not count."""
    for number in range(-1, pictures):
        pair = first(number), second(number)
        if number >= 0:
            yield pair


def apart(pairs: list[tuple[Drawn, Drawn]]) -> float:
    """The mean relative L2 distance of the first ones' latents from the second ones'."""
    distances = [(ours.latents - base.latents).norm() / base.latents.norm() for ours, base in pairs]
    return sum(distance.item() for distance in distances) / len(pairs)


def decibels(pairs: list[tuple[Drawn, Drawn]]) -> float | None:
    """PSNR of the first ones' pixels against the second ones', of the mean error of all; None where all are the same."""
    errors = [(ours.pixels - base.pixels).square().mean() for ours, base in pairs]
    mean = torch.stack(errors).mean()
    return -10 * mean.log10().item() if mean else None
