"""Which extensions a start loads."""

import logging
from dataclasses import replace

from modules.core.flags import Flags
from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.plugins.extensions import Extension, find_extensions
from modules.plugins.starts import Starts
from modules.plugins.trial import tried

log = logging.getLogger(__name__)

OFF = "Switched off."
SAFE = "The last {failed} starts did not get to their end: this one is in safe mode, without extensions. The next one loads them again."


def choose_extensions(flags: Flags, paths: Paths, starts: Starts, settings: Settings) -> list[Extension]:
    """Every extension there is, each with a trouble that is not to be loaded: all of them by a flag, a setting or in safe mode, those that
    the settings name, or those that failed when they were tried."""
    found, wish = find_extensions(paths), settings.extensions
    if flags.disable_extensions:
        return [replace(one, trouble="Switched off by a flag.") for one in found]
    if found and starts.safe:
        log.warning(SAFE.format(failed=starts.failed))
        return [replace(one, trouble="Left out in safe mode.") for one in found]
    off = [one for one in found if wish.disable_all_extensions != "none" or one.name in wish.disabled_extensions]
    found = tried([one for one in found if one not in off], paths.cache / "extensions.json")
    for one in found:
        if one.trouble:
            log.warning('The extension "%s" is not used: %s', one.name, one.trouble)
    return sorted([*found, *(replace(one, trouble=OFF) for one in off)], key=lambda one: one.name)


def usable(extensions: list[Extension]) -> list[Extension]:
    """Those to be loaded."""
    return [one for one in extensions if one.trouble is None]
