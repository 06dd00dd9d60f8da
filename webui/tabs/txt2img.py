"""The tab txt2img."""

from types import MappingProxyType
from typing import Any

import gradio as gr

from modules.api.pictures import read_picture
from modules.images.infotext import parse_infotext, to_request_values
from modules.images.reading import open_picture, take_picture
from modules.jobs.service import JobService
from modules.requests.txt2img import SAME, make_request
from webui import hires_form
from webui.form import MODULES, TXT2IMG, to_request
from webui.parts.caller import desk_of
from webui.parts.hires import build_hires
from webui.parts.notices import shows_errors
from webui.parts.quicksettings import Choices
from webui.parts.script import call
from webui.parts.settings import build_settings
from webui.tabs.generation import QUIET, SILENT, GenerationTab, is_job_id

VARIATION = ("subseed", "subseed_strength")
SIZES = ("enable_hr", "width", "height", "hr_scale", "hr_resize_x", "hr_resize_y")


class Txt2ImgTab(GenerationTab):
    """Draws from the prompt alone."""

    name = "txt2img"
    form = TXT2IMG
    checkpoints = MappingProxyType({"refiner_checkpoint": "None", "hr_checkpoint_name": SAME["hr_checkpoint_name"]})

    def __init__(self, service: JobService, picker: gr.Dropdown, modules: gr.Dropdown, refresh: gr.Button) -> None:
        super().__init__(service, picker, modules, refresh)
        self._wire_hires()
        self._wire_upscale()

    def build_controls(self) -> dict[str, Any]:
        """As of all tabs, with hires fix."""
        return build_settings(self.name, build_first=build_hires)

    # -- handlers --

    def menus(self, checkpoints: Choices) -> dict[str, list[Any]]:
        """As of all tabs, with those of hires fix."""
        found = super().menus(checkpoints)
        modules = found.pop(MODULES)
        return {
            **found,
            "hr_upscaler": hires_form.upscaler_choices(self.service.extras.upscalers.names()),
            "hr_checkpoint_name": [SAME["hr_checkpoint_name"], *checkpoints],
            "hr_sampler_name": [SAME["hr_sampler_name"], *found["sampler_name"]],
            "hr_scheduler": [SAME["hr_scheduler"], *found["scheduler"]],
            MODULES: modules,
        }

    def shows(self) -> dict[str, Any]:
        """Which rows of hires fix are seen though they say nothing."""
        settings = self.service.settings.current.alternatives
        return {
            **super().shows(),
            "hires_rows": [settings.hires_fix_show_sampler, settings.hires_fix_show_prompts],
        }

    def upscale(self, job_id: Any, current: Any, picture: Any, checkpoint: Any, *values: Any) -> str:
        """Submit a job that makes a picture of the gallery larger, with its own seed; answers with the job's id."""
        if known := self.known(job_id, current):
            return known
        desk = desk_of(self.service)
        found = desk.image(str(picture))
        first = take_picture("firstpass_image", read_picture(found))
        width, height = open_picture(first).size
        told = to_request_values(parse_infotext(found.infotext))
        varied = make_request({name: told[name] for name in VARIATION if name in told})
        asked = {"enable_hr": True, "n_iter": 1, "batch_size": 1, "width": width, "height": height, "seed": found.seed}
        given = self.given(values)
        own = {"firstpass_image": first, **{name: getattr(varied, name) for name in VARIATION}}
        request = to_request({**given, **asked}, checkpoint, self.form).model_copy(update=own)
        return desk.submit(request, job_id=job_id if is_job_id(job_id) else None).id

    # -- wiring --

    def _wire_hires(self) -> None:
        """What the page tells of the sizes, and which rows are seen."""
        fields = [self.fields[name] for name in (*SIZES, *hires_form.SAMPLING, *hires_form.PROMPTS)]
        tells = {"inputs": fields, "outputs": [self.controls["hr_line"]], "js": call("hires", hires_form.STARTS)}
        gr.on([component.change for component in fields], None, **tells, **SILENT)

    def _wire_upscale(self) -> None:
        with self.tab:
            button = gr.Button("✨", elem_id="txt2img_upscale_run", elem_classes="unseen")
        press = button.click(
            shows_errors(lambda: "")(self.upscale),
            inputs=[self.memory, self.answer, self.values, self.picker, *self.fields.values()],
            outputs=[self.answer],
            js=call("pressUpscale", self.name),
            concurrency_limit=1,
            **QUIET,
        )
        press.then(None, inputs=[self.answer], js=call("pressed", self.name), **SILENT)
