"""The files that complete a network: those the user chose, else the only one that fits."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modules.core.errors import InputError, ModelFileError, short
from modules.core.paths import VAE
from modules.families.pieces import PIECES, Piece, describe, piece_of, preferred
from modules.families.source import Parts
from modules.families.weights import shapes_of
from modules.library.shelf import FIELD, Module, Shelf

log = logging.getLogger(__name__)

SETTING = "VAE / Text Encoder"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the user said: `modules` are names of files, `vae` the file that the setting `sd_vae` chose."""

    modules: tuple[str, ...] = ()
    vae: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a model called `name` of the family `label` needs beside its network, and which of it its file lacks."""

    name: str
    label: str
    parts: Parts
    missing: Sequence[str] = field(default_factory=tuple)


def find_files(wanted: Wanted, wish: Wish, shelf: Shelf) -> dict[str, Path]:
    """The file of each part that was chosen or is missing.

    Raises InputError for a chosen one that does not fit, and ModelFileError, naming each part, where none or several do.
    """
    found = _chosen(wanted, wish, shelf)
    vae = next((kind for kind in wanted.missing if kind.startswith("vae") and kind not in found), None)
    if vae and wish.vae:
        check_vae(wish.vae, wish.vae.name, wanted)
        found[vae] = wish.vae
    missing: list[str] = []
    for kind in wanted.missing:
        if kind in found:
            continue
        if path := _only(wanted, kind, shelf):
            found[kind] = path
        else:
            missing.append(kind)
    if missing:
        raise ModelFileError(_lacking(wanted, missing, shelf))
    return found


def check_vae(path: Path, name: str, wanted: Wanted) -> None:
    """Raise ModelFileError unless the file is, or holds, a VAE of that family."""
    shapes = shapes_of(path).shapes
    own = {key: shape for key, shape in shapes.items() if key.startswith(("first_stage_model.", "vae."))}
    piece = piece_of(own or shapes, path.name)
    if piece and piece.kind in wanted.parts and piece.folder == VAE:
        return
    needed = next((PIECES[kind].label for kind in wanted.parts if kind.startswith("vae") and kind in PIECES), "another")
    said = f"is {piece.label}" if piece else describe(shapes, path.name)
    raise ModelFileError(f'"{name}" {said}; "{wanted.name}" needs {needed}. Choose another in sd_vae.')


def _chosen(wanted: Wanted, wish: Wish, shelf: Shelf) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name in wish.modules:
        module = shelf.find(name)
        shapes = shapes_of(module.path).shapes
        piece = piece_of(shapes, module.path.name)
        if not piece:
            said = describe(shapes, module.path.name)
            raise InputError(FIELD, f"{short(module.name)} {said}, no VAE or text encoder. Take it out of {SETTING}.")
        if piece.kind not in wanted.parts:
            needs = ", ".join(sorted(PIECES[kind].label for kind in wanted.parts if kind in PIECES))
            raise InputError(
                FIELD,
                f'{short(module.name)} is {piece.label}; "{wanted.name}" is a {wanted.label} and takes {needs}. '
                f"Take it out of {SETTING}.",
            )
        if piece.kind in found:
            raise InputError(
                FIELD,
                f"{short(found[piece.kind].name)} and {short(module.name)} are both {piece.label}. "
                f"Leave one of them in {SETTING}.",
            )
        found[piece.kind] = module.path
    return found


def _only(wanted: Wanted, kind: str, shelf: Shelf) -> Path | None:
    """The only file that is of that kind, or the only well-known one; None if there is none."""
    piece = PIECES.get(kind)
    if not piece:
        return None
    fitting = {module.name: module for module in shelf.list(piece.folder) if _is(module, piece)}
    names = preferred(wanted.label, piece, fitting)
    if len(names) > 1:
        listed = ", ".join(short(name) for name in names)
        raise ModelFileError(
            f'"{wanted.name}" needs {piece.label}, and several files are that: {listed}. Choose one in {SETTING}.'
        )
    return fitting[names[0]].path if names else None


def _is(module: Module, piece: Piece) -> bool:
    try:
        return piece_of(shapes_of(module.path).shapes, module.path.name) == piece
    except ModelFileError as error:
        log.info("%s is passed over: %s", module.name, error.message)
        return False


def _lacking(wanted: Wanted, kinds: Sequence[str], shelf: Shelf) -> str:
    folders: dict[Path, list[str]] = {}
    unknown = []
    for kind in kinds:
        if piece := PIECES.get(kind):
            folders.setdefault(shelf.home(piece.folder), []).append(str(piece))
        else:
            unknown.append(kind)
    told = [f'Put {" and ".join(pieces)} into "{folder}".' for folder, pieces in folders.items()]
    if unknown:
        return (
            f'"{wanted.name}" is a {wanted.label} without {" and ".join(kinds)}. Choose a whole checkpoint or '
            "a diffusers folder."
        )
    alone = "is the network alone" if len(kinds) == len(wanted.parts) else "is not whole"
    return f'"{wanted.name}", a {wanted.label}, {alone}. {" ".join(told)} Or choose a whole checkpoint.'


def used_names(files: Mapping[str, Path]) -> tuple[str, ...]:
    """The files' names as infotext tells them: without suffix, the VAE first, as Forge's users write them."""
    ordered = sorted(files, key=lambda kind: (not kind.startswith("vae"), kind))
    return tuple(dict.fromkeys(files[kind].stem for kind in ordered))
