"""What recipes work with."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from modules.control.models import ControlModels
from modules.control.preprocessors.registry import Preprocessors
from modules.core.paths import Paths
from modules.core.registry import Registry
from modules.detect.detectors import Detectors
from modules.detect.meaning import Meanings
from modules.devices.attention import Attentions
from modules.engine.conditions import Conditions
from modules.engine.hooks import Hooks
from modules.engine.models import Models
from modules.engine.preview import Previews
from modules.engine.scripts import Script
from modules.engine.small_coding import SmallCoding
from modules.engine.speeding import Speeding
from modules.library.meaning_files import MeaningFiles
from modules.library.merge_files import MergeFiles
from modules.library.segmenters import Segmenters
from modules.library.styles import Styles
from modules.library.wildcards import Wildcards
from modules.networks.extra_networks import ExtraNetworks
from modules.requests.catalogue import Catalogue
from modules.sampling.sampler import Sampler
from modules.sampling.schedules import Schedule
from modules.upscale.upscalers import Upscalers


@dataclass(frozen=True, kw_only=True)
class Toolbox:
    """The registries a recipe draws from, and the conditioning that jobs share, of models and of refiners.

    `nan_check`: what networks compute is looked at for NaN.
    """

    models: Models
    attentions: Attentions
    files: MergeFiles
    wildcards: Wildcards
    styles: Styles
    networks: ExtraNetworks
    samplers: Registry[Sampler]
    schedules: Registry[Schedule]
    upscalers: Upscalers
    detectors: Detectors
    controls: ControlModels
    catalogue: Catalogue
    scripts: Registry[Script] = field(default_factory=lambda: Registry[Script]("script_name"))
    nan_check: bool = True
    conditions: Conditions = field(default_factory=Conditions)
    refining: Conditions = field(default_factory=Conditions)
    previews: Previews = field(default_factory=Previews)
    preprocessors: Preprocessors = field(default_factory=Preprocessors)
    meanings: Meanings = field(default_factory=lambda: Meanings(MeaningFiles(Paths()), torch.device("cpu")))
    segmenters: Segmenters = field(default_factory=lambda: Segmenters(Paths()))
    small: SmallCoding = field(default_factory=SmallCoding)
    speeding: Speeding = field(default_factory=lambda: Speeding(Path()))
    hooks: Hooks = field(default_factory=Hooks)
