"""How the settings want legends to look."""

from modules.core.errors import InputError
from modules.engine.scripts import EngineAPI
from modules.images.grids import Look, open_font


def look_of(api: EngineAPI) -> Look:
    """The settings' look; with the bundled font, and a warning, where theirs cannot be used."""
    look = Look.of(api.options)
    try:
        open_font(look.font, 12)
    except InputError as error:
        api.warn(f"{error.message} The bundled font is used.")
        return Look.of({**api.options, "font": ""})
    return look
