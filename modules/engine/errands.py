"""Recipes that draw nothing: what is done to the models between two jobs."""

from modules.engine.context import Context
from modules.engine.kept import keeping_of
from modules.engine.toolbox import Toolbox
from modules.requests.events import Done, Order


def unload_models(order: Order, tools: Toolbox, context: Context) -> Done:
    """Give the memory of all models back."""
    tools.upscalers.unload()
    tools.preprocessors.unload()
    tools.controls.unload()
    tools.meanings.unload()
    tools.models.unload()
    return Done()


def load_model(order: Order, tools: Toolbox, context: Context) -> Done:
    """Load the checkpoint of the settings; raises what Models.load raises."""
    models, options = tools.models, order.options
    name = options["sd_model_checkpoint"]
    if models.is_whole(name):
        models.load_whole(name)
    else:
        modules = options.get("forge_additional_modules", ())
        models.load(
            name, vae=options["sd_vae"], modules=modules, keeping=keeping_of(options), float8=options["fp8_storage"]
        )
    return Done()
