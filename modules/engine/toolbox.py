"""What recipes work with."""

from dataclasses import dataclass, field

from modules.core.registry import Registry
from modules.engine.conditions import Conditions
from modules.engine.models import Models
from modules.engine.preview import Previews
from modules.requests.catalogue import Catalogue
from modules.sampling.sampler import Sampler
from modules.sampling.schedules import Schedule


@dataclass(frozen=True, kw_only=True)
class Toolbox:
    """The registries a recipe draws from, and the conditioning that jobs share, of models and of refiners."""

    models: Models
    samplers: Registry[Sampler]
    schedules: Registry[Schedule]
    catalogue: Catalogue
    conditions: Conditions = field(default_factory=Conditions)
    refining: Conditions = field(default_factory=Conditions)
    previews: Previews = field(default_factory=Previews)
