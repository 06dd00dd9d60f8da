"""Command-line flags of `app.py`, in A1111's names."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modules.core.errors import InputError, short
from modules.core.paths import ROOT, Paths


@dataclass(frozen=True, kw_only=True)
class Flags:
    """What the command line said."""

    port: int = 7860
    data_dir: Path = ROOT
    ckpt_dir: Path | None = None
    ckpt: str | None = None
    nowebui: bool = False
    use_cpu: bool = False
    no_half: bool = False
    xformers: bool = False
    autolaunch: bool = False

    @property
    def paths(self) -> Paths:
        """The folders these flags choose."""
        return Paths(data=self.data_dir, extra_checkpoints=(self.ckpt_dir,) if self.ckpt_dir else ())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]  # raises instead of exiting: one border for all errors
        raise InputError("flags", f"{message[:1].upper()}{message[1:]}. See --help for the flags.")


def parser() -> argparse.ArgumentParser:
    """The flags with their help."""
    p = _Parser(prog="app.py", description="Atelier: a web UI for text-to-image diffusion models.", allow_abbrev=False)
    p.add_argument("--port", type=int, default=7860, metavar="N", help="port to listen on (7860)")
    p.add_argument(
        "--data-dir",
        type=Path,
        default=ROOT,
        metavar="DIR",
        help="folder for your models, outputs, settings and job store",
    )
    p.add_argument("--ckpt-dir", type=Path, metavar="DIR", help="one more folder with checkpoints")
    p.add_argument("--ckpt", metavar="NAME", help="checkpoint to start with")
    p.add_argument("--nowebui", action="store_true", help="serve the API alone, without the page")
    p.add_argument("--api", action="store_true", help="accepted for A1111's sake; the API is always served")
    p.add_argument(
        "--use-cpu", nargs="+", choices=["all"], metavar="all", help="compute on the CPU even if there is a GPU"
    )
    p.add_argument("--no-half", action="store_true", help="compute in float32 on the GPU")
    p.add_argument("--xformers", action="store_true", help="use xformers attention where the installed build fits")
    p.add_argument("--autolaunch", action="store_true", help="open the page in a browser")
    return p


def parse_flags(arguments: Sequence[str]) -> Flags:
    """Flags from `arguments`; raises InputError that names the wrong one."""
    given = parser().parse_args(arguments)
    if not 1 <= given.port <= 65535:
        raise InputError("--port", f"--port {given.port} is not a port. Use a number from 1 to 65535.")
    for name in ("data_dir", "ckpt_dir"):
        folder = getattr(given, name)
        if folder is not None:
            setattr(given, name, _folder(f"--{name.replace('_', '-')}", folder))
    return Flags(
        port=given.port,
        data_dir=given.data_dir,
        ckpt_dir=given.ckpt_dir,
        ckpt=given.ckpt,
        nowebui=given.nowebui,
        use_cpu=bool(given.use_cpu),
        no_half=given.no_half,
        xformers=given.xformers,
        autolaunch=given.autolaunch,
    )


def _folder(flag: str, folder: Path) -> Path:
    try:
        folder = folder.expanduser().absolute()
    except RuntimeError as error:
        raise InputError(flag, f"{flag} {short(str(folder))} starts with an unknown user. Name a folder.") from error
    if "\0" in str(folder):
        raise InputError(flag, f"{flag} {short(str(folder))} holds a NUL character. Name a folder.")
    if folder.exists() and not folder.is_dir():
        raise InputError(flag, f'{flag} "{folder}" is a file. Name a folder.')
    if flag == "--ckpt-dir":
        if not folder.is_dir():
            raise InputError(flag, f'{flag} "{folder}" does not exist. Name a folder that holds checkpoints.')
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            flag, f'{flag} "{folder}" cannot be made: {error.strerror}. Name a folder you may write to.'
        ) from error
    return folder
