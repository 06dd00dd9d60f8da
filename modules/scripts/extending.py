"""What an extension's `engine.py` is given: `register(api)`."""

from collections.abc import Sequence

from modules.engine.hooks import Hooks, PictureHook
from modules.engine.scripts import Script
from modules.plugins.extensions import Extension, load_each


class EngineExtensionAPI:
    """How an extension adds to the engine; `name` is its folder's."""

    def __init__(self, name: str, scripts: list[Script], hooks: Hooks, taken: Sequence[str]) -> None:
        self.name = name
        self._scripts = scripts
        self._hooks = hooks
        self._taken = taken

    def add_script(self, script: Script) -> None:
        """One more entry of the Script menu, and of the API's `script_name`; raises ValueError where its title is taken."""
        titles = {title.lower() for title in (*self._taken, *(one.title for one in self._scripts))}
        script.entry()  # what it asks of the user must be right before anything is added
        if script.title.lower() in titles:
            raise ValueError(f'there is a script "{script.title}" already')
        self._scripts.append(script)

    def on_picture(self, call: PictureHook) -> PictureHook:
        """Call that with every picture and its infotext before it is handed over; it may give another picture."""
        self._hooks.add(self.name, call)
        return call


def extended(extensions: Sequence[Extension], taken: Sequence[str]) -> tuple[list[Script], Hooks]:
    """The scripts and hooks of these extensions; nothing of one that fails. `taken`: titles of the scripts there are."""
    scripts: list[Script] = []
    hooks = Hooks()
    for extension in extensions:
        own, calls = [*scripts], Hooks()
        api = EngineExtensionAPI(extension.name, own, calls, taken)
        if not load_each([extension], "engine", lambda _, api=api: api):
            scripts, hooks.found = own, [*hooks.found, *calls.found]
    return scripts, hooks
