"""What tabs that draw have in common: the form that a browser remembers, the job that it follows."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import gradio as gr

from modules.core.errors import AtelierError
from modules.jobs.service import JobService
from modules.jobs.store import ENDED
from modules.jobs.uploads import Uploads
from modules.library.shelf import Shelf
from modules.requests.detail import NONE, PASSTHROUGH
from webui.control_form import CONTROL, gathered_control
from webui.defaults import Defaults
from webui.detail_form import LABELS as DETAIL_LABELS
from webui.detail_form import SAME, packed, page_fields, unpacked
from webui.form import (
    MODULES,
    Form,
    from_infotext,
    overriding,
    plain_values,
    remembered,
    starting_values,
    to_request,
    usable,
)
from webui.groups import applied, as_wanted, chosen_entries, limited, read_sent
from webui.parts.caller import desk_of
from webui.parts.cards import build_cards
from webui.parts.detail import described
from webui.parts.notices import notice, sentence, shows_errors
from webui.parts.quicksettings import Choices, checkpoint_choices, chosen, module_choices, module_names
from webui.parts.results import build_results
from webui.parts.script import call
from webui.parts.scripts import ScriptPanel
from webui.parts.settings import build_settings
from webui.parts.styles import FIELDS as STYLED
from webui.parts.styles import StyleEditor, pasted_styles
from webui.parts.toprow import build_toprow

IN_BAR = ("sd_model_checkpoint", MODULES)
"""Settings that the bar has components of its own for."""

JOB_ID = re.compile(r"[0-9a-f]{32}")


class GenerationTab:
    """Built inside gr.Blocks. `picker` and `modules` are the dropdowns of checkpoints and separate parts above the tabs, `refresh` their button.

    A kind of tab says its `name` (which begins its elements' ids) and its `form`; its `build_controls` makes the components.
    """

    name: str
    form: Form
    press = "press"  # what assets/page.js does at a press of Generate
    checkpoints: Mapping[str, str] = MappingProxyType({"refiner_checkpoint": "None"})  # fields, and what they call none

    def __init__(self, service: JobService, picker: gr.Dropdown, modules: gr.Dropdown, refresh: gr.Button) -> None:
        self.service = service
        self.shelf = Shelf(service.paths)
        self.uploads = Uploads(service.paths.cache / "uploads", service.policy.uploads)
        self.picker = picker
        with gr.Tab(self.name, id=self.name, elem_id=f"tab_{self.name}") as self.tab:
            self.top = build_toprow(self.name)
            with gr.Tabs(elem_id=f"{self.name}_extra_tabs", elem_classes="extra-tabs"):
                with gr.Tab("Generation", id=f"{self.name}_generation", elem_id=f"{self.name}_generation"):
                    self._build_body()
                build_cards(self.name)
            self.mark = gr.Textbox(
                "new", elem_id=f"{self.name}_mark", elem_classes="mark", show_label=False, container=False
            )
            self.memory = gr.Textbox(visible="hidden", elem_id=f"{self.name}_memory")
            self.answer = gr.Textbox(visible="hidden", elem_id=f"{self.name}_answer")
            self.values = gr.Textbox(visible="hidden", elem_id=f"{self.name}_values")
            self.message = gr.Textbox(visible="hidden", elem_id=f"{self.name}_message")
            self.take = gr.Button(visible="hidden", elem_id=f"{self.name}_receive")
        found = {
            **self.controls,
            "prompt": self.top.prompt,
            "negative_prompt": self.top.negative_prompt,
            "styles": self.top.styles.styles,
            MODULES: modules,
        }
        self.names = page_fields(self.form.names)
        self.fields = {name: found[name] for name in self.names}
        plain = plain_values(service.catalogue, self.form)
        shown = {name: one for name, one in self.fields.items() if name != MODULES}
        held = {name: label for name, label in DETAIL_LABELS.items() if name in self.form.names}
        self.defaults = Defaults(service.paths.ui_config, self.name, self.form, shown, plain, held)
        self.defaults.values(service.catalogue, tell=True)
        self._wire_jobs()
        self._wire_values(refresh)
        self._wire_received()
        self._wire_styles()

    def _build_body(self) -> None:
        with gr.Row(elem_id=f"{self.name}_body", elem_classes="body"):
            with gr.Column(elem_id=f"{self.name}_settings", min_width=320):
                self.controls = self.build_controls()
                self.scripts = ScriptPanel(self.name, self.service)
            with gr.Column(elem_id=f"{self.name}_output", elem_classes="output", min_width=320):
                build_results(self.name)

    def build_controls(self) -> dict[str, Any]:
        """The components at the left by their fields' names, and the buttons swap, random_seed and reuse_seed."""
        return build_settings(self.name)

    def on_load(self, event: Any) -> Any:
        """Whenever a browser has loaded the page: fill the form from what it kept, and take its job up again. Gives the event of its end."""
        filled = self._fills(event, self.fill, [self.memory], "memory", queue=False)
        return filled.then(None, js=call("resume", self.name), **SILENT)

    # -- handlers --

    def generate(self, job_id: Any, current: Any, checkpoint: Any, *values: Any) -> str:
        """Submit a job under the id the page chose, unless the page's own job is still at work; answers with its id."""
        if known := self.known(job_id, current):
            return known
        request = to_request(self.given(values), checkpoint, self.form)
        return desk_of(self.service).submit(request, job_id=job_id if is_job_id(job_id) else None).id

    def enqueue(self, job_id: Any, _current: Any, *values: Any) -> str:
        """As `generate`, whatever the page's own job does."""
        return self.generate(job_id, "", *values)

    def given(self, values: Sequence[Any]) -> dict[str, Any]:
        """The values of the form and of its script by name, as they come with a press of Generate."""
        count = len(self.fields)
        found = unpacked(dict(zip(self.fields, values[:count], strict=True)))
        found |= self.scripts.request_values(values[count:])
        return {**found, CONTROL: gathered_control(found[CONTROL], self.uploads)}

    def known(self, job_id: Any, current: Any) -> str:
        """What is answered without a new job: the page's own one (or ones) while at work, that of this very press; else ""."""
        for ids in (current, job_id):
            jobs = [desk_of(self.service).found(part) for part in ids_of(ids)]
            if any(job and (ids == job_id or job.state not in ENDED) for job in jobs):
                return ids
        return ""

    def interrupt(self, jobs: Any) -> None:
        """Stop the page's job, or all of a batch."""
        desk_of(self.service).stop(ids_of(jobs))

    def skip(self, jobs: Any) -> None:
        """Go on to the next batch of the page's job."""
        desk = desk_of(self.service)
        for job_id in ids_of(jobs):
            if desk.live(job_id):
                desk.ask("skip", job_id)

    def fill(self, memory: Any, *, again: bool = False) -> list[Any]:
        """The menus; and for every field, as JSON, the value the user gave it, else the checkpoint's default.

        `again`: another checkpoint was chosen, or files came; the values that the user gave are in their fields already.
        """
        service, catalogue = self.service, self.service.catalogue
        wanted, touched = remembered(memory)
        choices = checkpoint_choices(
            service.library, short=service.settings.current.alternatives.sd_checkpoint_dropdown_use_short
        )
        checkpoint = chosen(wanted or service.settings.current.stable_diffusion.sd_model_checkpoint, choices)
        values = starting_values(checkpoint, service.checkpoints, catalogue, self.form, self.defaults.values(catalogue))
        values |= usable(unpacked(touched), catalogue, self.form)
        if MODULES not in touched:
            values[MODULES] = [*service.settings.current.stable_diffusion.forge_additional_modules]
        if "styles" in values:  # one that was deleted would be sent though no menu shows it
            known = service.styles.all()
            values["styles"] = [name for name in values["styles"] if name in known]
        values = packed(values)
        if again:
            values = {name: value for name, value in values.items() if name not in touched}
        return [
            gr.update(choices=choices, value=checkpoint),
            *(gr.update(choices=found) for found in self.menus(choices).values()),
            json.dumps({**values, **self.shows(), "detail_fields": described(self._detail_menus(choices))}),
        ]

    def menus(self, checkpoints: Choices) -> dict[str, list[Any]]:
        """What there is to choose from in the fields that are menus."""
        catalogue = self.service.catalogue
        hidden = self.service.settings.current.sampler_parameters.hide_samplers
        return {
            "sampler_name": [s.name for s in catalogue.samplers if s.name not in hidden],
            "scheduler": [s.label for s in catalogue.schedules],
            "refiner_checkpoint": ["None", *checkpoints],
            "styles": list(self.service.styles.all()),
            MODULES: module_choices(self.shelf),
        }

    def _detail_menus(self, checkpoints: Choices) -> dict[str, list[Any]]:
        """What there is to choose from in the units of the detail pass, by their parts."""
        service, catalogue = self.service, self.service.catalogue
        return {
            "ad_model": [NONE, *service.detectors.names()],
            "ad_checkpoint": [SAME["ad_checkpoint"], *checkpoints],
            "ad_vae": [SAME["ad_vae"], "Automatic", NONE, *(vae.name for vae in service.library.vaes.list())],
            "ad_sampler": ["Use same sampler", *(s.name for s in catalogue.samplers)],
            "ad_scheduler": ["Use same scheduler", *(s.label for s in catalogue.schedules)],
            "ad_controlnet_model": [NONE, PASSTHROUGH, *service.controls.titles()],
            "ad_controlnet_module": [NONE, *(entry.name for entry in catalogue.preprocessors)],
        }

    def shows(self) -> dict[str, Any]:
        """What the page's script is told beside the fields' values."""
        settings = self.service.settings.current
        return {
            "notify": settings.notifications.model_dump(),
            "keyedit": settings.prompt_editing.model_dump(),
            "completion": settings.prompt_completion.model_dump(),
            "shown": {
                "title": settings.user_interface.show_progress_in_title,
                "batch": settings.image_to_image.img2img_batch_show_results_limit,
                "pictures": not settings.gallery.do_not_show_images,
            },
            "quick": [name for name in settings.user_interface.quicksettings_list if name not in IN_BAR],
        }

    def follow(self, memory: Any) -> list[Any]:
        """`fill`, again."""
        return self.fill(memory, again=True)

    def paste(self, text: Any, checkpoint: Any) -> list[Any]:
        """Field updates from the infotext in the prompt, and the names of the fields it set, for the page's memory."""
        text = text if isinstance(text, str) else ""
        asked = self.service.settings.current.infotext
        values, wrong = from_infotext(text, self.service.catalogue, self.form, asked.infotext_skip_pasting)
        values = pasted_styles(values, self.service.styles, asked.infotext_styles)
        values[MODULES] = module_names(values.get(MODULES, []), self.shelf)
        values["override_settings"], missing = overriding(
            text, self.service.settings.current, checkpoint, self.service.checkpoints
        )
        if missing:
            notice(missing)
        for field, none in self.checkpoints.items():
            if (name := values.get(field, none)) != none:
                try:
                    values[field] = self.service.checkpoints.find(name, field).name
                except AtelierError as error:
                    del values[field]
                    notice(sentence(error))
        for error in wrong:
            notice(sentence(error))
        values = packed(values)
        updates = [gr.update(value=values[name]) if name in values else gr.skip() for name in self.names]
        return [*updates, json.dumps([name for name in self.names if name in values])]

    def receive(self, message: Any, entries: Any, prompt: Any, checkpoint: Any) -> list[Any]:
        """`paste`, for settings that another tab sent: those of the groups that the user chose."""
        sent = as_wanted(read_sent(message), self.service.settings.current.user_interface)
        *updates, names = self.paste(limited(sent), checkpoint)
        wanted = applied(sent, self.names)
        found = dict(zip(self.names, updates, strict=True))
        before = [entry for entry in entries if isinstance(entry, str)] if isinstance(entries, list) else []
        found["override_settings"] = gr.update(value=chosen_entries(sent, found["override_settings"]["value"], before))
        updates = [update if name in wanted else gr.skip() for name, update in found.items()]
        return [*updates, json.dumps([name for name in json.loads(names) if name in wanted])]

    # -- wiring --

    def _wire_jobs(self) -> None:
        press = self.top.generate.click(
            shows_errors(lambda: "")(self.generate),
            inputs=[*self._carriers(), self.picker, *self.fields.values(), *self.scripts.components],
            outputs=[self.answer],
            js=call(self.press, self.name),
            concurrency_limit=1,  # of two presses with one id the second finds the job of the first
            **QUIET,
        )
        press.then(None, inputs=[self.answer], js=call("pressed", self.name), **SILENT)
        add = self.top.enqueue.click(
            shows_errors(lambda: "")(self.enqueue),
            inputs=[*self._carriers(), self.picker, *self.fields.values(), *self.scripts.components],
            outputs=[self.answer],
            js=call("enqueue", self.press, self.name),
            concurrency_limit=1,
            **QUIET,
        )
        add.then(None, inputs=[self.answer], js=call("enqueued", self.name), **SILENT)
        for name, button in (("interrupt", self.top.interrupt), ("skip", self.top.skip)):
            handler = shows_errors(lambda: None)(getattr(self, name))
            button.click(handler, inputs=[self.memory], js=call("stopping", self.name, name), **QUIET)

    def _carriers(self) -> list[Any]:
        """Hidden fields whose values at a press are the script's: the new job's id, the page's own job."""
        return [self.memory, self.answer]

    def _wire_values(self, refresh: gr.Button) -> None:
        for name, component in self.fields.items():
            if name == "override_settings":  # entries that are typed, or all removed, are told by `change` alone
                component.change(None, inputs=[component], js=call("changed", self.name, name), **SILENT)
            elif not isinstance(component, gr.Textbox):  # their own event misses what is not typed; see assets/page.js
                component.input(None, inputs=[component], js=call("touch", self.name, name), **SILENT)
        self.mark.change(
            None,
            inputs=[self.mark],
            outputs=list(self.fields.values()),
            js=call("drawn", self.name, self.names),
            **SILENT,
        )
        self._fills(self.picker.input, self.follow, [self.picker], "choose")
        self._fills(refresh.click, self.follow, [self.memory], "memory")
        names = self.names
        self.top.paste.click(
            shows_errors(lambda: [*(gr.skip() for _ in names), "[]"])(self.paste),
            inputs=[self.top.prompt, self.picker],
            outputs=[*self.fields.values(), self.answer],
            js=call("infotext", self.name),
            **QUIET,
        ).then(None, inputs=[self.answer, *self.fields.values()], js=call("pasted", self.name, names), **SILENT)
        sides = [self.fields["width"], self.fields["height"]]
        self.controls["swap"].click(None, inputs=sides, outputs=sides, js=call("swap", self.name), **SILENT)
        seed = [self.fields["seed"]]
        self.controls["random_seed"].click(None, outputs=seed, js=call("randomSeed", self.name), **SILENT)
        self.controls["reuse_seed"].click(None, inputs=seed, outputs=seed, js=call("reuseSeed", self.name), **SILENT)
        varied = [self.fields["subseed"]]
        self.controls["random_subseed"].click(None, outputs=varied, js=call("randomSubseed", self.name), **SILENT)
        reused = {"inputs": varied, "outputs": varied, "js": call("reuseSubseed", self.name)}
        self.controls["reuse_subseed"].click(None, **reused, **SILENT)

    def _wire_received(self) -> None:
        names = self.names
        self.take.click(
            shows_errors(lambda: [*(gr.skip() for _ in names), "[]"])(self.receive),
            inputs=[self.message, self.fields["override_settings"], self.top.prompt, self.picker],
            outputs=[*self.fields.values(), self.answer],
            js=call("receiving", self.name),
            **QUIET,
        ).then(None, inputs=[self.answer, *self.fields.values()], js=call("pasted", self.name, names), **SILENT)

    def _wire_styles(self) -> None:
        row, editor, given = self.top.styles, StyleEditor(self.service), [self.fields[name] for name in STYLED]
        texts, menus = [row.prompt, row.negative_prompt], [row.name, row.styles]
        row.apply.click(shows_errors(lambda: [gr.skip()] * 3)(editor.apply), inputs=given, outputs=given, **QUIET).then(
            None, inputs=given, js=call("pasted", self.name, STYLED, json.dumps(STYLED)), **SILENT
        )
        opened = [row.editor, row.name, *texts]
        row.edit.click(shows_errors(lambda: [gr.skip()] * 4)(editor.open), inputs=[row.styles], outputs=opened, **QUIET)
        row.name.select(shows_errors(lambda: [gr.skip()] * 2)(editor.show), inputs=[row.name], outputs=texts, **QUIET)
        failed = shows_errors(lambda: [gr.skip()] * 2)
        row.save.click(failed(editor.save), inputs=[row.name, *texts], outputs=menus, **QUIET)
        gone = row.delete.click(failed(editor.delete), inputs=[row.name, row.styles], outputs=menus, **QUIET)
        gone.then(None, inputs=[row.styles], js=call("pasted", self.name, ["styles"], '["styles"]'), **SILENT)
        row.copy.click(lambda *prompts: prompts, inputs=given[:2], outputs=texts, **QUIET)
        row.close.click(lambda: gr.update(visible=False), outputs=[row.editor], **QUIET)

    def _fills(
        self, event: Any, handler: Callable[..., Any], inputs: list[Any], script: str, queue: bool = True
    ) -> Any:
        """Fill the form on that event. The script at the end leaves out what the user has touched in the meantime."""
        menus = [self.picker, *(self.fields[name] for name in self.menus([]))]
        handled = shows_errors(lambda: [gr.skip() for _ in menus] + ["{}"])(handler)
        how = {**QUIET, "queue": queue}
        filled = event(handled, inputs=inputs, outputs=[*menus, self.values], js=call(script, self.name), **how)
        fields, names = list(self.fields.values()), self.names
        apply = call("apply", self.name, names)
        return filled.then(None, inputs=[self.values, *fields], outputs=fields, js=apply, **SILENT)


# Values reach handlers as the browser sent them: the request's own checks answer with sentences.
SILENT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
QUIET: dict[str, Any] = {**SILENT, "queue": True, "preprocess": False}


def ids_of(text: Any) -> list[str]:
    """The ids of jobs in a text that holds nothing but them, joined by commas."""
    parts = text.split(",") if isinstance(text, str) else []
    return parts if all(is_job_id(part) for part in parts) else []


def is_job_id(text: Any) -> bool:
    """Whether `text` has the form of a job's id."""
    return isinstance(text, str) and JOB_ID.fullmatch(text) is not None
