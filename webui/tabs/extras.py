"""The tab Extras: what is done to finished pictures."""

from typing import Any

import gradio as gr

from modules.core.errors import InputError
from modules.jobs.service import JobService
from modules.jobs.store import ENDED
from modules.jobs.uploads import Uploads
from webui.extras_form import FIELDS, MODES, labelled, to_extras_request
from webui.parts.caller import desk_of
from webui.parts.extras import build_faces, build_sources, build_training, build_upscaling
from webui.parts.notices import shows_errors
from webui.parts.results import build_results
from webui.parts.script import call
from webui.tabs.generation import QUIET, SILENT, is_job_id

NAME = "extras"


class ExtrasTab:
    """Built inside gr.Blocks."""

    def __init__(self, service: JobService) -> None:
        self.service = service
        self.uploads = Uploads(service.paths.cache / "uploads", service.policy.uploads)
        with gr.Tab("Extras", id=NAME, elem_id="tab_extras") as self.tab:
            with gr.Row(elem_classes="body"):
                with gr.Column(elem_id="extras_settings", min_width=320):
                    self.controls = build_sources()
                    with gr.Row(elem_classes="generate-box"):
                        self._build_buttons()
                    hidden = service.settings.current.postprocessing.postprocessing_disable_in_extras
                    for build in (build_upscaling, build_faces, build_training):
                        self.controls |= build(hidden)
                with gr.Column(elem_id="extras_output", elem_classes="output", min_width=320):
                    build_results(NAME)
            self.told = gr.Textbox(visible="hidden", elem_id="extras_told")
            self.current = gr.Textbox(visible="hidden", elem_id="extras_current")
            self.job = gr.Textbox(visible="hidden", elem_id="extras_job")
        self._wire()

    def _build_buttons(self) -> None:
        self.generate = gr.Button(
            "Generate", variant="primary", elem_id="extras_generate", elem_classes="generate", min_width=120
        )
        self.interrupt = gr.Button("Interrupt", elem_id="extras_interrupt", elem_classes="interrupt", min_width=60)
        self.skip = gr.Button("Skip", elem_id="extras_skip", elem_classes="skip", min_width=60)

    # -- handlers --

    def submit(self, job_id: Any, current: Any, told: Any, *values: Any) -> str:
        """Submit a job under the id the page chose, unless the page's own job is still at work; answers with its id."""
        for known in (current, job_id):
            job = desk_of(self.service).found(known) if is_job_id(known) else None
            if job and (known == job_id or job.state not in ENDED):
                return job.id
        request = to_extras_request(told, values, self.uploads)
        try:
            return desk_of(self.service).submit(request, job_id=job_id if is_job_id(job_id) else None).id
        except InputError as error:
            raise InputError(error.field, labelled(error.field, error.message)) from error

    def ask(self, wish: Any, job_id: Any) -> None:
        """Interrupt the page's job, or skip its picture in work."""
        desk = desk_of(self.service)
        if is_job_id(job_id) and desk.found(job_id):
            desk.stop([job_id]) if wish == "interrupt" else desk.ask(wish, job_id)

    def menus(self) -> list[Any]:
        """The upscalers, as they are on disk now."""
        names = list(self.service.extras.upscalers.names())
        return [gr.update(choices=names)] * 2

    # -- wiring --

    def _wire(self) -> None:
        found = self.controls
        press = self.generate.click(
            shows_errors(lambda: "")(self.submit),
            inputs=[self.job, self.current, self.told, *(found[name] for name in FIELDS)],
            outputs=[self.job],
            js=call("pressExtras"),
            concurrency_limit=1,  # of two presses with one id the second finds the job of the first
            **QUIET,
        )
        press.then(None, inputs=[self.job], js=call("pressed", NAME), **SILENT)
        for wish, button in (("interrupt", self.interrupt), ("skip", self.skip)):

            def ask(job_id: Any, wish: str = wish) -> None:
                self.ask(wish, job_id)

            handler = shows_errors(lambda: None)(ask)
            button.click(handler, inputs=[self.current], js=call("stopping", NAME, wish), **QUIET)
        menus = [found["upscaler_1"], found["upscaler_2"]]
        filled = shows_errors(lambda: [gr.skip()] * 2)(self.menus)
        for event in (self.tab.select, found["refresh"].click):
            event(filled, outputs=menus, **QUIET)
        for mode in MODES:
            found["modes"][mode].select(None, js=call("chooseExtras", "mode", mode), **SILENT)
        for number, tab in enumerate(found["scales"]):
            tab.select(None, js=call("chooseExtras", "resize_mode", number), **SILENT)
        sides = [found["upscaling_resize_w"], found["upscaling_resize_h"]]
        found["swap"].click(None, inputs=sides, outputs=sides, js="(width, height) => [height, width]", **SILENT)
