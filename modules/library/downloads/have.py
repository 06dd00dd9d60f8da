"""What lies on disk already, before a download of the same name begins."""

import os
from pathlib import Path

from modules.core.errors import InputError, ModelFileError
from modules.core.paths import TOKENIZER
from modules.library.downloads.names import numbered
from modules.library.downloads.plan import Plan
from modules.library.downloads.worker import staging_of
from modules.library.hashes import HashCache


def refuse_what_is_here(plan: Plan, folder: Path, hashes: HashCache) -> None:
    """Raise InputError if the very file, or folder, lies in `folder` already. One file is compared by its hash where the site
    tells one; else by its size."""
    target = folder / plan.name
    if plan.folder:
        here = plan.kind == TOKENIZER and target.is_dir()  # one of another make does as well
        here = here or all((target / f.path).is_file() and _size(target / f.path) == f.size for f in plan.files)
    else:
        here = target.is_file() and _is_same(target, plan, hashes)
    if here:
        raise InputError("name", f'You have it already: "{plan.name}" lies in "{folder.name}".')


def free_name(plan: Plan, folder: Path, taken: set[str]) -> Plan:
    """The plan under the first name that neither a file in `folder` nor a download in the list (`taken`) has."""
    folded = {name.casefold() for name in taken}
    for number in range(1, 1000):
        name = plan.name if number == 1 else numbered(plan.name, number)
        free = not os.path.lexists(folder / name) and not os.path.lexists(staging_of(folder, name))
        if name.casefold() not in folded and free:
            if plan.folder:
                return plan.model_copy(update={"name": name})
            files = (plan.files[0].model_copy(update={"path": name}),)
            return plan.model_copy(update={"name": name, "files": files})
    raise InputError("name", f'"{folder.name}" has a thousand files named like "{plan.name}". Choose another name.')


def _is_same(target: Path, plan: Plan, hashes: HashCache) -> bool:
    wanted = plan.files[0]
    if wanted.size is not None and wanted.size != _size(target):
        return False
    if wanted.sha256 is None:
        return wanted.size is not None
    try:
        return hashes.sha256(target) == wanted.sha256
    except ModelFileError:
        return False


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
