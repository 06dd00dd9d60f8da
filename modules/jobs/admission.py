"""Decides whether what is asked for can be worked on: names, sizes and paths, before anything is stored."""

from collections.abc import Callable, Mapping
from typing import Any

from modules.core.paths import Paths
from modules.core.policy import Policy
from modules.core.settings import Settings, SettingsFile
from modules.jobs.checks import check_file, check_size, counted
from modules.jobs.names import check_control, check_detail, check_faces
from modules.jobs.scripts import check_hires, check_script
from modules.jobs.writer import EVERYWHERE, OUTPUTS, gallery_folders, output_folder
from modules.library.checkpoints import Checkpoints
from modules.library.controls import ControlFiles
from modules.library.detectors import DetectorFiles
from modules.library.extras_files import ExtrasFiles
from modules.library.merge_files import MergeFiles
from modules.library.styles import Styles
from modules.library.takeover import roots_of, take_over
from modules.library.wildcards import Wildcards
from modules.requests.catalogue import Catalogue
from modules.requests.extras import ExtrasRequest
from modules.requests.kinds import Request
from modules.requests.merge import FileRequest
from modules.requests.txt2img import Txt2ImgRequest


class Known:
    """The files of all kinds that requests may name."""

    def __init__(self, paths: Paths, checkpoints: Checkpoints) -> None:
        self.paths = paths
        self.checkpoints = checkpoints
        self.files = MergeFiles(paths, checkpoints)
        self.detectors = DetectorFiles(paths)
        self.controls = ControlFiles(paths)
        self.wildcards = Wildcards(paths)
        self.styles = Styles(paths)
        self.extras = ExtrasFiles(paths)


class Admission:
    """All methods raise InputError, UnknownName or ModelFileError. `policy`, `catalogue`: those of now."""

    def __init__(
        self, known: Known, settings: SettingsFile, policy: Callable[[], Policy], catalogue: Callable[[], Catalogue]
    ) -> None:
        self._known = known
        self._settings = settings
        self._policy = policy
        self._catalogue = catalogue

    def counted(self, request: Request) -> Request:
        """The request with as many pictures as its templates have combinations, where it asks for all of them."""
        policy = self._policy()
        most = policy.n_iter * policy.batch
        folder = self._settings.current.dynamic_prompts.wildcard_dir
        return counted(request, self._known.styles, lambda: self._known.wildcards.look(folder), most)

    def settings_for(self, request: Request) -> Settings:
        """The settings that a job is stored with, once the names in its request are found good."""
        if isinstance(request, FileRequest):
            self._known.files.check(request)
            return self._settings.current
        if isinstance(request, ExtrasRequest):
            self._known.extras.check(request)
            output_folder(self._known.paths, request.output_dir, "output_dir")
            return self._settings.current
        catalogue = self._catalogue()
        check_size(request, self._policy())
        check_script(request, catalogue, self._known.extras.upscalers, self.settings_for)
        settings = self._settings.current.changed(self.checked(request.override_settings))
        catalogue.sampler_and_schedule(request.sampler_name, request.scheduler)
        self._known.styles.find(request.styles)
        check_detail(request, self._known.detectors, catalogue)
        check_control(request, self._known.controls, catalogue)
        check_faces(request, settings, self._known.extras)
        checkpoint = self._known.checkpoints.find(settings.stable_diffusion.sd_model_checkpoint)
        check_file(checkpoint, self._policy())
        if isinstance(request, Txt2ImgRequest) and request.enable_hr:
            check_hires(request, catalogue, self._known.checkpoints, self._known.extras.upscalers)
        if request.refiner_checkpoint:
            self._known.checkpoints.find(request.refiner_checkpoint, "refiner_checkpoint")
        return settings.changed({"sd_model_checkpoint": checkpoint.name})

    def checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """`options` with the checkpoint by its own name, once their paths and names are found good."""
        found = dict(options)
        if isinstance(name := found.get("sd_model_checkpoint"), str) and name:
            found["sd_model_checkpoint"] = self._known.checkpoints.find(name).name
        for option in (*OUTPUTS, "outdir_init_images"):
            if isinstance(folder := found.get(option), str) and (folder or option not in EVERYWHERE):
                output_folder(self._known.paths, folder, option)
        if isinstance(upscaler := found.get("upscaler_for_img2img"), str):
            self._known.extras.upscalers.find(upscaler, "upscaler_for_img2img")
        if isinstance(folders := found.get("gallery_folders"), str):
            gallery_folders(self._known.paths, folders)
        if isinstance(roots := found.get("take_over_roots"), str):
            take_over(self._known.paths, roots_of(roots))
        return found
