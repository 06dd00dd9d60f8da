"""The composition root of the engine process."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from modules.control.models import ControlModels
from modules.control.preprocessors.registry import Preprocessors
from modules.control.preprocessors.tools import Tools
from modules.core.logs import log_to_stderr
from modules.core.paths import Paths
from modules.core.registry import Registry
from modules.detect.detectors import Detectors
from modules.detect.meaning import Meanings
from modules.devices.attention import Attentions
from modules.devices.choice import Compute, choose_compute, quick_cpu
from modules.engine.engine import Engine
from modules.engine.hooks import Hooks
from modules.engine.models import Models
from modules.engine.preview import Previews
from modules.engine.scripts import Script
from modules.engine.small_coding import SmallCoding
from modules.engine.speeding import Speeding
from modules.engine.tiers import ROLES, Tiers
from modules.engine.toolbox import Toolbox
from modules.library.checkpoints import Checkpoints
from modules.library.controls import ControlFiles
from modules.library.detectors import DetectorFiles
from modules.library.hashes import HashCache
from modules.library.meaning_files import MeaningFiles
from modules.library.merge_files import MergeFiles
from modules.library.preprocessors import PreprocessorFiles
from modules.library.segmenters import Segmenters
from modules.library.shelf import Shelf
from modules.library.styles import Styles
from modules.library.upscalers import UpscalerFiles
from modules.library.vaes import Vaes
from modules.library.wildcards import Wildcards
from modules.networks.extra_networks import ExtraNetworks
from modules.networks.finder import Finder
from modules.requests.catalogue import Catalogue, HardwareEntry
from modules.sampling.registry import build_samplers
from modules.sampling.schedules import build_schedules
from modules.upscale.upscaler import plain_upscalers
from modules.upscale.upscalers import Networks, Upscalers

log = logging.getLogger(__name__)


def build_engine(
    *,
    paths: Paths,
    warm: str | None = None,
    use_cpu: bool = False,
    on_cpu: Sequence[str] = (),
    precision: Sequence[str] = (),
    nan_check: bool = True,
    cpu_precision: str | None = None,
    memory: Sequence[str] = (),
    attention: str | None = None,
    compiles: bool = False,
    fuses: bool = False,
    scripts: Sequence[Script] = (),
    hooks: Hooks | None = None,
) -> Engine:
    """An engine over these folders; `warm` names a checkpoint to load at once ("" is the first one).

    `cpu_precision`: as the flag; None is PyTorch in float32, whose numbers are A1111's. `precision`, `memory`, `on_cpu`,
    `attention`, `compiles`, `fuses`: as Flags has them. `scripts`, `hooks`: those it has.
    """
    log_to_stderr()
    compute = choose_compute(use_cpu=use_cpu, precision=precision)
    if cpu_precision and compute.device.type == "cpu":
        compute = quick_cpu(compute, cpu_precision, paths.cache / "openvino")
    tiers = Tiers(compute.device, memory, _placed(on_cpu, compute.device))
    if compiles and compute.compiled:
        log.warning("--compile has no effect where OpenVINO computes. Start with --no-half as well.")
    speeding = Speeding(paths.cache / "inductor", compiles=compiles, fuses=fuses)
    tools = build_tools(
        paths,
        compute,
        tiers=tiers,
        attention=attention,
        nan_check=nan_check,
        speeding=speeding,
        scripts=scripts,
        hooks=hooks,
    )
    engine = Engine(tools)
    if warm is not None:
        engine.warm(warm)
    return engine


def build_tools(
    paths: Paths,
    compute: Compute,
    *,
    tiers: Tiers | None = None,
    attention: str | None = None,
    nan_check: bool = True,
    speeding: Speeding | None = None,
    scripts: Sequence[Script] = (),
    hooks: Hooks | None = None,
) -> Toolbox:
    """What an engine over these folders works with."""
    attentions = Attentions(compute.device, attention)
    samplers, schedules = build_samplers(), build_schedules()
    detectors = Detectors(DetectorFiles(paths))
    preprocessors = Preprocessors(Tools(PreprocessorFiles(paths), compute, detectors))
    catalogue = Catalogue(
        samplers=tuple(s.entry for _, s in samplers.items()),
        schedules=tuple(s.entry for _, s in schedules.items()),
        upscalers=tuple(plain_upscalers()),
        scripts=tuple(script.entry() for script in scripts),
        preprocessors=tuple(p.entry for _, p in preprocessors.items()),
        hardware=hardware_of(compute),
    )
    hashes = HashCache(Path(paths.cache))
    checkpoints = Checkpoints(paths.networks, hashes)
    models = Models(checkpoints, compute, Vaes(paths.vaes, hashes), Shelf(paths), tiers=tiers)
    files = MergeFiles(paths, checkpoints)
    return Toolbox(
        models=models,
        attentions=attentions,
        nan_check=nan_check,
        files=files,
        wildcards=Wildcards(paths),
        styles=Styles(paths),
        networks=ExtraNetworks(Finder(paths, hashes)),
        samplers=samplers,
        schedules=schedules,
        upscalers=Upscalers(UpscalerFiles(paths), Networks(compute)),
        detectors=detectors,
        preprocessors=preprocessors,
        segmenters=Segmenters(paths),
        meanings=Meanings(MeaningFiles(paths), compute.device),
        controls=ControlModels(ControlFiles(paths), compute, paths),
        catalogue=catalogue,
        previews=Previews(paths.folders("VAE-approx")),
        small=SmallCoding(paths.folders("VAE-approx")),
        speeding=speeding or Speeding(paths.cache / "inductor"),
        scripts=_registered(scripts),
        hooks=hooks or Hooks(),
    )


def hardware_of(compute: Compute) -> HardwareEntry:
    """What is told of the device to those who start the program."""
    precision = compute.compiled.precision if compute.compiled else compute.words
    if compute.device.type == "cpu":
        return HardwareEntry(openvino=compute.compiled is not None, precision=precision)
    found = torch.cuda.get_device_properties(compute.device)
    return HardwareEntry(gpu=found.name, memory=found.total_memory, precision=precision)


def _placed(names: Sequence[str], device: torch.device) -> list[str]:
    """Those of the parts that can be placed on the CPU, where there is another device; the others are told of."""
    for name in sorted(set(names) - ROLES.keys()):
        log.warning("--use-cpu %s has no effect: this version has no such part yet.", name)
    return [name for name in names if name in ROLES and device.type != "cpu"]


def _registered(scripts: Sequence[Script]) -> Registry[Script]:
    found: Registry[Script] = Registry("script_name")
    for script in scripts:
        found.add(script.title, script)
    return found.freeze()
