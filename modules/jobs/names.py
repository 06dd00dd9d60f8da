"""Names of files in a request's units, looked up before the job is stored."""

from modules.library.controls import ControlFiles
from modules.library.detectors import DetectorFiles
from modules.requests.catalogue import Catalogue
from modules.requests.control import NONE
from modules.requests.generation import GenerationRequest


def check_detail(request: GenerationRequest, detectors: DetectorFiles, catalogue: Catalogue) -> None:
    """Raise InputError for what a detail pass names and is not here."""
    for number, unit in enumerate(request.detail):
        if unit.active:
            detectors.find(unit.ad_model, f"detail.{number}.ad_model")
            if unit.ad_use_sampler:
                same = unit.ad_scheduler == "Use same scheduler"
                catalogue.sampler_and_schedule(unit.ad_sampler, None if same else unit.ad_scheduler)


def check_control(request: GenerationRequest, controls: ControlFiles, catalogue: Catalogue) -> None:
    """Raise UnknownName for a control model or a preprocessor that is not here."""
    for number, unit in enumerate(request.control):
        if unit.active:
            catalogue.preprocessor(unit.module, f"control.{number}.module")
        if unit.active and unit.model.strip() not in ("", NONE):
            controls.find(unit.model, f"control.{number}.model")
