"""The tab Checkpoint Merger: A1111's form, extracting and merging LoRAs, and the one result that a page follows."""

from typing import Any

import gradio as gr

from modules.core.errors import InputError
from modules.jobs.service import JobService
from webui.merge_form import FORMS, labelled, metadata_of, to_file_request
from webui.parts.caller import desk_of
from webui.parts.merging import (
    build_extract_form,
    build_loras_form,
    build_merge_form,
    build_merging_panel,
    words_of,
)
from webui.parts.notices import shows_errors
from webui.parts.quicksettings import checkpoint_choices
from webui.parts.script import call
from webui.tabs.generation import QUIET, SILENT, is_job_id


class MergerTab:
    """Built inside gr.Blocks."""

    def __init__(self, service: JobService) -> None:
        self.service = service
        with gr.Tab(
            "Checkpoint Merger", id="modelmerger", elem_id="tab_modelmerger", elem_classes="admins"
        ) as self.tab:
            with gr.Row(elem_classes="body"):
                with gr.Column(min_width=320, scale=3):
                    self.controls = build_merge_form()
                    self.extraction = build_extract_form()
                    self.joining = build_loras_form()
                with gr.Column(elem_id="modelmerger_results_container", min_width=320, scale=2):
                    build_merging_panel()
            self.job = gr.Textbox(visible="hidden", elem_id="modelmerger_job")
        self._wire_menus()
        self._wire_form("merge", self.controls, self.controls["merge"])
        self._wire_form("extract", self.extraction, self.extraction["extract"])
        self._wire_form("loras", self.joining, self.joining["join"])
        self._wire_rest()

    # -- handlers --

    def submit(self, form: str, job_id: Any, *values: Any) -> str:
        """Submit that form's values under the id the page chose; answers with the job's id."""
        if is_job_id(job_id) and (known := desk_of(self.service).found(job_id)):
            return known.id  # a press that arrived twice
        request = to_file_request(form, values)
        try:
            return desk_of(self.service).submit(request, job_id=job_id if is_job_id(job_id) else None).id
        except InputError as error:
            raise InputError(error.field, labelled(form, error.field, error.message)) from error

    def fill(self) -> list[Any]:
        """The menus of model files, as they are on disk now."""
        choices = checkpoint_choices(self.service.library)
        vaes = [vae.name for vae in self.service.files.vaes.list()]
        loras = [lora.name for lora in self.service.files.loras()]
        one = gr.update(choices=choices)
        return [
            *(one, one, one, gr.update(choices=["None", *vaes])),
            *(one, one, gr.update(choices=loras), gr.update(choices=["None", *choices])),
        ]

    def read_metadata(self, *names: Any) -> str:
        """The metadata of the chosen checkpoints, to be edited."""
        return metadata_of(names, self.service.checkpoints)

    # -- wiring --

    def _wire_menus(self) -> None:
        names = ("primary_model_name", "secondary_model_name", "tertiary_model_name", "bake_in_vae")
        menus = [
            *(self.controls[name] for name in names),
            *(self.extraction["tuned_model_name"], self.extraction["base_model_name"]),
            *(self.joining["loras"], self.joining["checkpoint"]),
        ]
        filled = shows_errors(lambda: [gr.skip()] * len(menus))(self.fill)
        for event in (self.tab.select, *(button.click for button in self.controls["refresh"])):
            event(filled, outputs=menus, **QUIET)

    def _wire_form(self, form: str, components: dict[str, Any], button: gr.Button) -> None:
        def submit(*values: Any) -> str:
            return self.submit(form, *values)

        fields = [components[name] for name in FORMS[form][1]]
        button.click(
            shows_errors(lambda: "")(submit),
            inputs=[self.job, *fields],
            outputs=[self.job],
            js=call("pressMerging"),
            concurrency_limit=1,
            **QUIET,
        ).then(None, inputs=[self.job], js=call("pressedMerging"), **SILENT)

    def _wire_rest(self) -> None:
        found = self.controls
        found["interp_method"].change(
            words_of, inputs=[found["interp_method"]], outputs=[found["method_words"]], **SILENT
        )
        found["checkpoint_format"].change(
            lambda chosen: gr.update(visible=chosen == "safetensors"),
            inputs=[found["checkpoint_format"]],
            outputs=[found["metadata"]],
            **SILENT,
        )
        found["read_metadata"].click(
            shows_errors(gr.skip)(self.read_metadata),
            inputs=[found[name] for name in ("primary_model_name", "secondary_model_name", "tertiary_model_name")],
            outputs=[found["metadata_json"]],
            **QUIET,
        )
