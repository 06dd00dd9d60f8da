"""The tab txt2img: its layout, and what its controls do."""

import json
import re
from collections.abc import Callable
from typing import Any

import gradio as gr

from modules.core.errors import AtelierError
from modules.jobs.service import JobService
from modules.jobs.store import ENDED
from webui.form import FIELDS, from_infotext, overriding, remembered, starting_values, to_request, usable
from webui.parts.notices import notice, sentence, shows_errors
from webui.parts.quicksettings import checkpoint_choices, chosen
from webui.parts.results import build_results
from webui.parts.script import call
from webui.parts.settings import build_settings
from webui.parts.toprow import build_toprow

JOB_ID = re.compile(r"[0-9a-f]{32}")


class Txt2ImgTab:
    """Built inside gr.Blocks. `picker` is the checkpoint dropdown above the tabs, `refresh` its button."""

    def __init__(self, service: JobService, picker: gr.Dropdown, refresh: gr.Button) -> None:
        self.service = service
        self.picker = picker
        with gr.Tab("txt2img", id="txt2img", elem_id="tab_txt2img"):
            self.top = build_toprow("txt2img")
            with gr.Row(elem_id="txt2img_body", elem_classes="body"):
                with gr.Column(elem_id="txt2img_settings", min_width=320):
                    self.controls = build_settings("txt2img")
                with gr.Column(elem_id="txt2img_output", min_width=320):
                    build_results("txt2img")
            self.memory = gr.Textbox(visible="hidden", elem_id="txt2img_memory")
            self.answer = gr.Textbox(visible="hidden", elem_id="txt2img_answer")
            self.values = gr.Textbox(visible="hidden", elem_id="txt2img_values")
        found = {**self.controls, "prompt": self.top.prompt, "negative_prompt": self.top.negative_prompt}
        self.fields = {name: found[name] for name in FIELDS}
        self._wire_jobs()
        self._wire_values(refresh)

    def on_load(self, page: gr.Blocks) -> None:
        """Whenever a browser loads the page: fill the form from what it kept, and take its job up again."""
        self._fills(page.load, self.fill, [self.memory], "memory").then(None, js=call("resume"), **SILENT)

    # -- handlers --

    def generate(self, job_id: Any, current: Any, checkpoint: Any, *values: Any) -> str:
        """Submit a job under the id the page chose, unless the page's own job is still at work; answers with its id."""
        for known in (current, job_id):
            job = self.service.store.get(known) if is_job_id(known) else None
            if job and (known == job_id or job.state not in ENDED):
                return job.id
        request = to_request(dict(zip(self.fields, values, strict=True)), checkpoint)
        return self.service.submit(request, job_id=job_id if is_job_id(job_id) else None).id

    def interrupt(self, job_id: Any) -> None:
        """Stop the page's job."""
        if is_job_id(job_id):
            self.service.ask("interrupt", job_id)

    def skip(self, job_id: Any) -> None:
        """Go on to the next batch of the page's job."""
        if is_job_id(job_id):
            self.service.ask("skip", job_id)

    def fill(self, memory: Any, *, again: bool = False) -> list[Any]:
        """The four menus; and for every field, as JSON, the value the user gave it, else the checkpoint's default.

        `again`: another checkpoint was chosen, or files came; the values that the user gave are in their fields already.
        """
        service, catalogue = self.service, self.service.catalogue
        wanted, touched = remembered(memory)
        choices = checkpoint_choices(service.checkpoints)
        checkpoint = chosen(wanted or service.settings.current.stable_diffusion.sd_model_checkpoint, choices)
        values = starting_values(checkpoint, service.checkpoints, catalogue) | usable(touched, catalogue)
        if again:
            values = {name: value for name, value in values.items() if name not in touched}
        return [
            gr.update(choices=choices, value=checkpoint),
            gr.update(choices=[s.name for s in catalogue.samplers]),
            gr.update(choices=[s.label for s in catalogue.schedules]),
            gr.update(choices=["None", *choices]),
            json.dumps(values),
        ]

    def follow(self, memory: Any) -> list[Any]:
        """`fill`, again."""
        return self.fill(memory, again=True)

    def paste(self, text: Any, checkpoint: Any) -> list[Any]:
        """Field updates from the infotext in the prompt, and the names of the fields it set, for the page's memory."""
        text = text if isinstance(text, str) else ""
        values, wrong = from_infotext(text, self.service.catalogue)
        values["override_settings"], missing = overriding(
            text, self.service.settings.current, checkpoint, self.service.checkpoints
        )
        if missing:
            notice(missing)
        if (name := values.get("refiner_checkpoint", "None")) != "None":
            try:
                values["refiner_checkpoint"] = self.service.checkpoints.find(name, "refiner_checkpoint").name
            except AtelierError as error:
                del values["refiner_checkpoint"]
                notice(sentence(error))
        for error in wrong:
            notice(sentence(error))
        updates = [gr.update(value=values[name]) if name in values else gr.skip() for name in FIELDS]
        return [*updates, json.dumps([name for name in FIELDS if name in values])]

    # -- wiring --

    def _wire_jobs(self) -> None:
        ids = [self.memory, self.answer]
        press = self.top.generate.click(
            shows_errors(lambda: "")(self.generate),
            inputs=[*ids, self.picker, *self.fields.values()],
            outputs=[self.answer],
            js=call("press"),
            concurrency_limit=1,  # of two presses with one id the second finds the job of the first
            **QUIET,
        )
        press.then(None, inputs=[self.answer], js=call("pressed"), **SILENT)
        for name, button in (("interrupt", self.top.interrupt), ("skip", self.top.skip)):
            handler = shows_errors(lambda: None)(getattr(self, name))
            button.click(handler, inputs=[self.memory], js=call("stopping", name), **QUIET)

    def _wire_values(self, refresh: gr.Button) -> None:
        for name, component in self.fields.items():
            if name == "override_settings":  # entries that are typed, or all removed, are told by `change` alone
                component.change(None, inputs=[component], js=call("changed", name), **SILENT)
            elif not isinstance(component, gr.Textbox):  # their own event misses what is not typed; see assets/page.js
                component.input(None, inputs=[component], js=call("touch", name), **SILENT)
        self._fills(self.picker.input, self.follow, [self.picker], "choose")
        self._fills(refresh.click, self.follow, [self.memory], "memory")
        self.top.paste.click(
            shows_errors(lambda: [*(gr.skip() for _ in FIELDS), "[]"])(self.paste),
            inputs=[self.top.prompt, self.picker],
            outputs=[*self.fields.values(), self.answer],
            js=call("infotext"),
            **QUIET,
        ).then(None, inputs=[self.answer, *self.fields.values()], js=call("pasted", FIELDS), **SILENT)
        sides = [self.fields["width"], self.fields["height"]]
        self.controls["swap"].click(None, inputs=sides, outputs=sides, js=call("swap"), **SILENT)
        seed = [self.fields["seed"]]
        self.controls["random_seed"].click(None, outputs=seed, js=call("randomSeed"), **SILENT)
        self.controls["reuse_seed"].click(None, inputs=seed, outputs=seed, js=call("reuseSeed"), **SILENT)

    def _fills(self, event: Any, handler: Callable[..., Any], inputs: list[Any], script: str) -> Any:
        """Fill the form on that event. The script at the end leaves out what the user has touched in the meantime."""
        menus = [self.picker, *(self.fields[name] for name in ("sampler_name", "scheduler", "refiner_checkpoint"))]
        handled = shows_errors(lambda: [gr.skip()] * 4 + ["{}"])(handler)
        filled = event(handled, inputs=inputs, outputs=[*menus, self.values], js=call(script), **QUIET)
        fields = list(self.fields.values())
        return filled.then(None, inputs=[self.values, *fields], outputs=fields, js=call("apply", FIELDS), **SILENT)


# Values reach handlers as the browser sent them: the request's own checks answer with sentences.
SILENT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
QUIET: dict[str, Any] = {**SILENT, "queue": True, "preprocess": False}


def is_job_id(text: Any) -> bool:
    """Whether `text` has the form of a job's id."""
    return isinstance(text, str) and JOB_ID.fullmatch(text) is not None
