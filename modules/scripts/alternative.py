"""img2img alternative test: the noise that the picture would be drawn from is found, and drawn from with another prompt."""

from modules.engine.scripts import EngineAPI, Script, Values
from modules.requests.axes import remade
from modules.requests.generation import GenerationRequest
from modules.requests.img2img import Img2ImgRequest, Inversion
from modules.requests.scripts import ScriptField


class Alternative(Script):
    """A1111's img2img alternative test."""

    title = "img2img alternative test"
    tabs = ("img2img",)

    def fields(self, tab: str) -> tuple[ScriptField, ...]:
        """A1111's arguments in their order."""

        def switch(name: str, label: str, on: bool) -> ScriptField:
            return ScriptField(name=name, label=label, kind="switch", default=on)

        def text(name: str, label: str) -> ScriptField:
            return ScriptField(name=name, label=label, kind="text", default="")

        def number(name: str, label: str, default: float, high: float, step: float) -> ScriptField:
            return ScriptField(
                name=name, label=label, kind="number", default=default, minimum=0, maximum=high, step=step
            )

        return (
            ScriptField(name="info", label="* `CFG Scale` should be 2 or lower.", kind="note"),
            switch("override_sampler", "Override `Sampling method` to Euler?(this method is built for it)", True),
            switch(
                "override_prompt",
                "Override `prompt` to the same value as `original prompt`?(and `negative prompt`)",
                True,
            ),
            text("original_prompt", "Original prompt"),
            text("original_negative_prompt", "Original negative prompt"),
            switch("override_steps", "Override `Sampling Steps` to the same value as `Decode steps`?", True),
            ScriptField(name="st", label="Decode steps", kind="whole", default=50, minimum=1, maximum=150),
            switch("override_strength", "Override `Denoising strength` to 1?", True),
            number("cfg", "Decode CFG scale", 1, 15, 0.1),
            number("randomness", "Randomness", 0, 1, 0.01),
            switch("sigma_adjustment", "Sigma adjustment for finding noise for image", False),
        )

    def plan(self, request: GenerationRequest, values: Values) -> GenerationRequest:
        """The request with its overrides, and how its noise is found."""
        prompts = {"prompt": values["original_prompt"], "negative_prompt": values["original_negative_prompt"]}
        inversion = Inversion(
            **prompts,
            steps=values["st"],
            cfg_scale=values["cfg"],
            randomness=values["randomness"],
            adjusted=values["sigma_adjustment"],
        )
        overrides = {
            "override_sampler": {"sampler_name": "Euler"},
            "override_prompt": prompts,
            "override_steps": {"steps": values["st"]},
            "override_strength": {"denoising_strength": 1.0},
        }
        changed = {key: value for name, chosen in overrides.items() if values[name] for key, value in chosen.items()}
        return remade(request, {**changed, "inversion": inversion})

    def run(self, request: GenerationRequest, values: Values, api: EngineAPI) -> None:
        """Draw it, and tell of the search in A1111's words."""
        assert isinstance(request, Img2ImgRequest)
        notes = {
            "Decode prompt": values["original_prompt"],
            "Decode negative prompt": values["original_negative_prompt"],
            "Decode CFG scale": values["cfg"],
            "Decode steps": values["st"],
            "Randomness": values["randomness"],
            "Sigma Adjustment": values["sigma_adjustment"],
        }
        api.draw(request, notes=notes)
