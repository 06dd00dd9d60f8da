"""What a plan's prompt asks of networks, put on the model for the rest of the job."""

from contextlib import ExitStack
from dataclasses import replace

from modules.engine.context import Context
from modules.engine.plan import Plan
from modules.engine.toolbox import Toolbox
from modules.families.model import LoadedModel
from modules.networks.extra_networks import Asked, Worn
from modules.requests.events import Warned


def wear(model: LoadedModel, plan: Plan, tools: Toolbox, context: Context) -> Worn:
    """Put them on; they are taken off when the job ends. Raises InputError or ModelFileError."""
    policy = tools.models.policy_of(model)

    def tell(message: str) -> None:
        context.emit(Warned(message=message))

    settle = policy.leave if policy else lambda: None
    return context.undo.enter_context(tools.networks.applied(model, _asked(plan), tell, settle))


class Dress:
    """What one pass over the pictures has its model wear. Of two passes with one model each takes off what the other put on, if that
    is something else; whatever is on goes off when the job ends."""

    def __init__(self, *, model: LoadedModel, plan: Plan, tools: Toolbox, context: Context) -> None:
        self._model = model
        self._plan = plan
        self._tools = tools
        self._context = replace(context, undo=context.undo.enter_context(ExitStack()))
        asked = _asked(plan)
        self._asks = (asked.tags, asked.texts, asked.steps) if tools.networks.asks(asked) or asked.tags else ()
        self._on = False
        self.worn = Worn()

    def put_on(self, after: "Dress | None" = None) -> Worn:
        """Put it on, in place of what the pass before had; raises what `wear` raises."""
        shared = after is not None and after._model is self._model
        if after and shared and after._asks == self._asks:
            self.worn = after.worn
            return self.worn
        if after and shared:
            after.take_off()
        if not self._on:
            self.worn, self._on = wear(self._model, self._plan, self._tools, self._context), True
            self._context = replace(self._context, emit=lambda event: None)  # what was missing is told once
        return self.worn

    def take_off(self) -> None:
        """Take off what this one put on."""
        self._context.undo.close()
        self._on = False

    def stepped(self, step: int) -> None:
        """So many steps are done."""
        self.worn.at(step)


def _asked(plan: Plan) -> Asked:
    prompts = [plan.negative, plan.prompt]  # A1111 encodes the negative prompt first
    for prompt, negative in plan.regions:
        prompts += [negative, prompt]
    parts = (part for prompt in prompts for part in prompt.parts)
    texts = tuple(dict.fromkeys(span.text for spans, _ in parts for span in spans))
    return Asked(tags=plan.prompt.tags, texts=texts, options=plan.options, steps=plan.request.steps)
