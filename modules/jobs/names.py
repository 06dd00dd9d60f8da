"""Names of files in a request's units, looked up before the job is stored."""

from modules.core.settings import Settings
from modules.library.controls import ControlFiles
from modules.library.detectors import DetectorFiles
from modules.library.extras_files import ExtrasFiles
from modules.requests.catalogue import Catalogue
from modules.requests.control import NONE, ControlUnit
from modules.requests.generation import GenerationRequest

SAME_SAMPLER = "Use same sampler"


def check_detail(request: GenerationRequest, detectors: DetectorFiles, catalogue: Catalogue) -> None:
    """Raise InputError for what a detail pass names and is not here."""
    for number, unit in enumerate(request.detail):
        if unit.active:
            detectors.find(unit.ad_model, f"detail.{number}.ad_model")
            if unit.ad_use_sampler:
                same = unit.ad_scheduler == "Use same scheduler"
                sampler = request.sampler_name if unit.ad_sampler == SAME_SAMPLER else unit.ad_sampler
                catalogue.sampler_and_schedule(sampler, None if same else unit.ad_scheduler)


def check_faces(request: GenerationRequest, settings: Settings, files: ExtrasFiles) -> None:
    """Raise InputError where faces are to be restored and the model for it is not here."""
    how = settings.faces
    wanted = how.face_restoration if request.restore_faces is None else request.restore_faces
    if wanted or any(unit.active and unit.ad_restore_face for unit in request.detail):
        files.face_model(how.face_restoration_model, "restore_faces")


def check_control(request: GenerationRequest, controls: ControlFiles, catalogue: Catalogue) -> None:
    """Raise UnknownName for a control model or a preprocessor that is not here."""
    for number, unit in enumerate(request.control):
        _check_unit(unit, (f"control.{number}.module", f"control.{number}.model"), controls, catalogue)
    for number, detail in enumerate(request.detail):
        fields = (f"detail.{number}.ad_controlnet_module", f"detail.{number}.ad_controlnet_model")
        for unit in detail.control(()) if detail.active else ():
            _check_unit(unit, fields, controls, catalogue)


def _check_unit(unit: ControlUnit, fields: tuple[str, str], controls: ControlFiles, catalogue: Catalogue) -> None:
    if unit.active:
        catalogue.preprocessor(unit.module, fields[0])
    if unit.active and unit.model.strip() not in ("", NONE):
        controls.find(unit.model, fields[1])
