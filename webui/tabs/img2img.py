"""The tab img2img: draws on from pictures."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import gradio as gr

from modules.core.errors import AtelierError
from modules.jobs.service import JobService
from modules.jobs.uploads import Uploads
from modules.library.header import read_header
from modules.requests.img2img import Img2ImgRequest
from webui.img2img_form import DIRECTORY, IMG2IMG
from webui.img2img_sources import Sources
from webui.parts.caller import desk_of
from webui.parts.img2img import build_pictures, build_sizes
from webui.parts.script import call
from webui.parts.settings import build_settings
from webui.tabs.generation import SILENT, GenerationTab, is_job_id

FIRST_WEIGHTS = ("model.diffusion_model.input_blocks.0.0.weight", "conv_in.weight")
FOLDERS = ("batch_input_dir", "batch_output_dir", "batch_mask_dir", "batch_png_info_dir")
EDITS = 8  # channels that InstructPix2Pix's U-Net takes (arXiv:2211.09800)


class Img2ImgTab(GenerationTab):
    """Draws on from pictures that the user gives."""

    name = "img2img"
    form = IMG2IMG
    press = "pressImg2img"

    def __init__(
        self,
        service: JobService,
        picker: gr.Dropdown,
        modules: gr.Dropdown,
        refresh: gr.Button,
    ) -> None:
        self.sources = Sources(
            uploads=Uploads(service.paths.cache / "uploads", service.policy.uploads), paths=service.paths
        )
        super().__init__(service, picker, modules, refresh)
        self._wire_sizes()

    def build_controls(self) -> dict[str, Any]:
        """Pictures first, then the settings with their own way of saying sizes."""
        return {**build_pictures(), **build_settings(self.name, build_sizes=build_sizes)}

    # -- handlers --

    def generate(self, job_id: Any, current: Any, *values: Any) -> str:
        """Submit one job, or one for each picture of a batch; answers with their ids, joined by commas."""
        pictures, checkpoint, *rest = values
        if known := self.known(job_id, current):
            return known if known != job_id else ",".join(self._batch_of(job_id))
        self._check_folders(rest)
        requests = self.sources.requests(pictures, self.given(rest), checkpoint)
        return ",".join(self._submit(requests, job_id if is_job_id(job_id) else None))

    def _check_folders(self, values: Sequence[Any]) -> None:
        """Folders of the server's computer are not everyone's to read and write."""
        given = self.given(values)
        from_folder = given.get("batch_source") == DIRECTORY
        for field in FOLDERS:
            if str(given.get(field) or "").strip() and (field != "batch_input_dir" or from_folder):
                desk_of(self.service).check_folders(field)

    def _batch_of(self, job_id: str) -> list[str]:
        """The jobs of the press whose first job is that one."""
        found = [job_id]
        while desk_of(self.service).found(follower := str(_numbered(job_id, len(found)))):
            found.append(follower)
        return found

    def _submit(self, requests: Sequence[Img2ImgRequest], job_id: str | None) -> list[str]:
        """All of them, or none."""
        done: list[str] = []
        try:
            for number, request in enumerate(requests):
                done.append(desk_of(self.service).submit(request, job_id=_numbered(job_id, number)).id)
        except AtelierError:
            for known in done:
                desk_of(self.service).ask("interrupt", known)
            raise
        return done

    def fill(self, memory: Any, *, again: bool = False) -> list[Any]:
        """As in every tab; and whether the checkpoint edits pictures, which has a slider of its own."""
        picker, *menus, values = super().fill(memory, again=again)
        return [picker, *menus, json.dumps({**json.loads(values), "edits": self._edits(picker["value"])})]

    def _edits(self, checkpoint: str | None) -> bool:
        try:
            shapes = read_header(self.service.checkpoints.find(checkpoint or "").path).shapes
        except AtelierError:
            return False
        return any(shapes.get(name, ())[1:2] == (EDITS,) for name in FIRST_WEIGHTS)

    # -- wiring --

    def _carriers(self) -> list[Any]:
        return [self.memory, self.answer, self.values]

    def _wire_sizes(self) -> None:
        sides = [self.fields["width"], self.fields["height"]]
        said = [*sides, self.fields["resize_by"], self.fields["scale"]]
        for component in said:
            component.change(None, inputs=said, js=call("sized"), **SILENT)
        self.controls["detect"].click(None, inputs=sides, outputs=sides, js=call("detectSize", self.name), **SILENT)
        self.fields["batch_source"].change(
            None, inputs=[self.fields["batch_source"]], js=call("chooseSource"), **SILENT
        )


def _numbered(job_id: str | None, number: int) -> str | None:
    """The ids of a batch follow from the first one's, so that the same press is the same jobs."""
    if job_id is None or number == 0:
        return job_id
    return hashlib.sha256(f"{job_id}-{number}".encode()).hexdigest()[:32]
