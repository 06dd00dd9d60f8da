"""The composition root of the engine process."""

import logging
from dataclasses import replace
from pathlib import Path

from modules.core.paths import Paths
from modules.devices.choice import choose_compute, xformers_trouble
from modules.engine.engine import Engine
from modules.engine.models import Models
from modules.engine.toolbox import Toolbox
from modules.library.checkpoints import Checkpoints
from modules.library.hashes import HashCache
from modules.library.vaes import Vaes
from modules.requests.catalogue import Catalogue
from modules.sampling.registry import build_samplers
from modules.sampling.schedules import build_schedules

log = logging.getLogger(__name__)


def build_engine(
    *, paths: Paths, warm: str | None = None, use_cpu: bool = False, no_half: bool = False, xformers: bool = False
) -> Engine:
    """An engine over these folders; `warm` names a checkpoint to load at once ("" is the first one)."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    compute = choose_compute(use_cpu=use_cpu, no_half=no_half)
    if xformers:
        trouble = xformers_trouble(compute.device)
        compute = replace(compute, xformers=trouble is None)
        log.warning("%s", trouble) if trouble else log.info("xformers attention is used.")
    samplers, schedules = build_samplers(), build_schedules()
    catalogue = Catalogue(
        samplers=tuple(s.entry for _, s in samplers.items()), schedules=tuple(s.entry for _, s in schedules.items())
    )
    hashes = HashCache(Path(paths.cache))
    models = Models(Checkpoints(paths.checkpoints, hashes), compute, Vaes(paths.vaes, hashes))
    engine = Engine(Toolbox(models=models, samplers=samplers, schedules=schedules, catalogue=catalogue))
    if warm is not None:
        engine.warm(warm)
    return engine
