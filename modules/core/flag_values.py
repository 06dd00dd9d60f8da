"""What every flag comes to, by its name in code, as `/sdapi/v1/cmd-flags` tells it: without secrets."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SECRET = ("auth", "gradio_auth", "gradio_auth_path", "api_auth", "ngrok", "ngrok_options", "tls_keyfile")
"""Flags of which only whether they were given is told."""

HIDDEN = "(hidden)"


def flag_values(parser: argparse.ArgumentParser, given: argparse.Namespace, kinds: Mapping[str, str]) -> dict[str, Any]:
    """Flag name, its dashes as underscores -> value. A flag without effect has the value of one that is not given.

    `kinds`: flag -> the kind of models in the folder that it names.
    """
    found: dict[str, Any] = {}
    for action in parser._actions:
        for option in action.option_strings:
            if option.startswith("--") and action.dest != argparse.SUPPRESS and option != "--help":
                found[option[2:].replace("-", "_")] = _value(action, given)
    for name in SECRET:
        if found.get(name) is not None:
            found[name] = HIDDEN
    folders = {kind: str(folder) for kind, folder in given.folders}
    for option, kind in kinds.items():
        found[option[2:].replace("-", "_")] = folders.get(kind)
    return found


def _value(action: argparse.Action, given: argparse.Namespace) -> Any:
    if action.dest == "left_out":
        return False if action.nargs == 0 else None
    value = getattr(given, action.dest, None)
    if action.dest == "attention":
        return value == action.const
    if isinstance(value, list | tuple):
        return [str(each) if isinstance(each, Path) else each for each in value]
    return str(value) if isinstance(value, Path) else value
