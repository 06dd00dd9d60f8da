"""Face restoration of what was drawn, as A1111 does it: before anything else is done to a picture."""

from PIL import Image

from modules.engine.context import Context
from modules.engine.plan import Plan
from modules.engine.toolbox import Toolbox
from modules.images.encode import encode_image
from modules.library.extras_files import ExtrasFiles
from modules.requests.events import CopyReady, Loading
from modules.upscale.faces import restore_faces

FIELD = "restore_faces"
BEFORE = "-before-face-restoration"


class Restorer:
    """The network that a plan's faces are restored by. Raises InputError where its file is not there, ModelFileError."""

    def __init__(self, name: str, plan: Plan, tools: Toolbox, context: Context) -> None:
        self._plan, self._context = plan, context
        self._path = ExtrasFiles(tools.upscalers.files.paths).face_model(name, FIELD)
        self._networks = tools.upscalers.networks
        self._weight = plan.options["code_former_weight"] if name == "CodeFormer" else None

    def restore(self, image: Image.Image, position: int, infotext: str, seed: int) -> Image.Image:
        """An RGB picture with its faces restored; the one before is handed over too where a setting asks for it."""
        options = self._plan.options
        if options["save_images_before_face_restoration"]:
            data = encode_image(image, infotext if options["enable_pnginfo"] else None, options)
            fields = self._plan.pattern_fields(position, seed)
            self._context.emit(CopyReady(suffix=BEFORE, data=data, infotext=infotext, fields=fields))
        self._context.emit(Loading(name=self._path.name))
        network = self._networks.open(self._path, faces=True)
        return restore_faces(image, network, check=self._context.check_interrupted, weight=self._weight)[0]


def restorer_of(plan: Plan, tools: Toolbox, context: Context) -> Restorer | None:
    """What restores the faces of that plan's pictures; None if nothing is to. Raises InputError."""
    return Restorer(plan.faces, plan, tools, context) if plan.faces else None
