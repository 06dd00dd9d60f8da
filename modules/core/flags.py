"""Command-line flags of `app.py`, in A1111's names."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modules.core.errors import InputError, short
from modules.core.flag_values import flag_values
from modules.core.left_out import add_left_out
from modules.core.network import NO_FLAGS, Network, add_network_flags, network_of
from modules.core.paths import CHECKPOINT, EMBEDDING, LORA, ROOT, TEXT_ENCODER, VAE, Paths

FOLDERS: dict[str, tuple[str, str]] = {
    "--ckpt-dir": (CHECKPOINT, "checkpoints"),
    "--vae-dir": (VAE, "VAEs"),
    "--lora-dir": (LORA, "LoRAs"),
    "--lyco-dir-backcompat": (LORA, "LoRAs"),
    "--embeddings-dir": (EMBEDDING, "textual inversion embeddings"),
    "--hypernetwork-dir": ("hypernetworks", "hypernetworks"),
    "--controlnet-dir": ("ControlNet", "ControlNets"),
    "--controlnet-annotator-models-path": ("ControlNetPreprocessor", "weights of preprocessors"),
    "--text-encoder-dir": (TEXT_ENCODER, "text encoders"),
    "--esrgan-models-path": ("ESRGAN", "ESRGAN upscalers"),
    "--realesrgan-models-path": ("RealESRGAN", "RealESRGAN upscalers"),
    "--bsrgan-models-path": ("BSRGAN", "BSRGAN upscalers"),
    "--swinir-models-path": ("SwinIR", "SwinIR upscalers"),
    "--scunet-models-path": ("ScuNET", "ScuNET upscalers"),
    "--dat-models-path": ("DAT", "DAT upscalers"),
    "--ldsr-models-path": ("LDSR", "LDSR upscalers"),
    "--gfpgan-models-path": ("GFPGAN", "GFPGAN models"),
    "--codeformer-models-path": ("Codeformer", "CodeFormer models"),
}
"""The flags that name one more folder with models: the kind, and what it is called."""

ATTENTION = (
    (("--xformers",), "xformers", "use xformers attention where the installed build fits"),
    (("--opt-sdp-attention", "--attention-pytorch"), "sdp", "use PyTorch's own attention; that is the default"),
    (("--opt-sdp-no-mem-attention",), "sdp-no-mem", "the same without its memory-efficient kernel"),
    (("--opt-sub-quad-attention", "--attention-quad"), "sub-quadratic", "attention that needs least memory"),
    (("--opt-split-attention", "--attention-split"), "Doggettx", "attention by slices of the queries: less memory"),
    (("--opt-split-attention-v1",), "V1 - original v1", "the same"),
    (("--opt-split-attention-invokeai",), "InvokeAI", "the same"),
    (("--disable-opt-split-attention",), "None", "attention by plain mathematics, all at once"),
)
"""Flags that choose the attention, the name of what they choose, and their help; the last one given counts."""

WHOLE = ("all", "sd")
CPU_PARTS = (
    "unet",
    "te",
    "clip",
    "vae",
    "controlnet",
    "interrogate",
    "gfpgan",
    "codeformer",
    "esrgan",
    "bsrgan",
    "scunet",
    "swinir",
    "dat",
)
"""What `--use-cpu` takes: everything, A1111's name for the model as a whole, and parts."""

TAKE_OVER = ("--take-over", "--forge-ref-a1111-home", "--forge-ref-comfy-home", "--model-ref")


@dataclass(frozen=True, kw_only=True)
class Flags:
    """What the command line said. `folders` are (kind, folder) in the order given, `memory` those of A1111's flags that save GPU memory.

    `use_cpu`: everything computes on the CPU; `on_cpu`: the parts of CPU_PARTS that do.
    `compiles`, `fuses`: PyTorch's networks run by torch.compile, and with projections fused.
    `precision`: those of "half", "no_half", "no_half_vae" and "upcast_sampling" that were asked for.
    `api_server_stop`: the API may end or restart the server. `disable_extensions`: none is loaded. `values`: every flag's value, secrets hidden.
    """

    port: int = 7860
    data_dir: Path = ROOT
    models_dir: Path | None = None
    folders: tuple[tuple[str, Path], ...] = ()
    take_over: tuple[Path, ...] = ()
    extra_model_paths: tuple[Path, ...] = ()
    styles_file: tuple[str, ...] = ()
    no_hashing: bool = False
    ckpt: str | None = None
    nowebui: bool = False
    use_cpu: bool = False
    on_cpu: tuple[str, ...] = ()
    precision: tuple[str, ...] = ()
    nan_check: bool = True
    cpu_precision: str = "auto"
    memory: tuple[str, ...] = ()
    attention: str | None = None
    compiles: bool = False
    fuses: bool = False
    autolaunch: bool = False
    allow_local_downloads: bool = False
    allow_local_webhooks: bool = False
    api_server_stop: bool = False
    disable_extensions: bool = False
    network: Network = NO_FLAGS
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def no_half(self) -> bool:
        """Is everything to be computed in float32?"""
        return "no_half" in self.precision

    @property
    def paths(self) -> Paths:
        """The folders these flags choose, those of other programs' installations aside."""
        return Paths(data=self.data_dir, models_dir=self.models_dir, named=self.folders, styles=self.styles_file)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]  # raises instead of exiting: one border for all errors
        raise InputError("flags", f"{message[:1].upper()}{message[1:]}. See --help for the flags.")


class _KindFolder(argparse.Action):
    """Adds (kind, folder) to `folders`."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        kind, what = FOLDERS[str(option_string)]
        folder = _existing(str(option_string), Path(str(values)), what)
        namespace.folders = [*namespace.folders, (kind, folder)]


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
    _add_folders(p)
    p.add_argument(
        "--styles-file",
        action="append",
        default=[],
        metavar="FILE",
        help="style sheet instead of styles.csv; * stands for any name, may be repeated",
    )
    p.add_argument("--no-hashing", action="store_true", help="compute no hashes of models that are not used")
    p.add_argument("--ckpt", metavar="NAME", help="checkpoint to start with")
    p.add_argument("--nowebui", action="store_true", help="serve the API alone, without the page")
    p.add_argument("--api", action="store_true", help="serve the API through a tunnel too; elsewhere it always is")
    p.add_argument(
        "--use-cpu",
        nargs="+",
        type=str.lower,
        choices=[*WHOLE, *CPU_PARTS],
        default=[],
        metavar="PART",
        help="compute on the CPU even if there is a GPU: all of it, or unet, te (text encoders), vae ...",
    )
    p.add_argument(
        "--no-half", action="store_true", help="compute in float32, and on the CPU with PyTorch: A1111's own numbers"
    )
    p.add_argument(
        "--precision",
        choices=["autocast", "half", "full"],
        default="autocast",
        help="autocast: the types that the GPU does well; half: float16 for all; full: as --no-half",
    )
    p.add_argument("--no-half-vae", action="store_true", help="the VAE alone computes in float32")
    p.add_argument(
        "--upcast-sampling",
        action="store_true",
        help="U-Nets compute in bfloat16 where the GPU has it, else in float32 with weights in float16",
    )
    p.add_argument("--disable-nan-check", action="store_true", help="do not look for NaN in what networks compute")
    p.add_argument("--medvram", action="store_true", help="one network of a model on the GPU at a time")
    p.add_argument("--medvram-sdxl", action="store_true", help="the same for Stable Diffusion XL alone")
    p.add_argument("--lowvram", action="store_true", help="one layer of a model on the GPU at a time; slow")
    p.add_argument(
        "--cpu-precision",
        choices=["auto", "bf16", "fp32", "int8"],
        default="auto",
        help="what OpenVINO computes in on the CPU: bf16 where the CPU has it, else fp32; int8 is quicker and less exact",
    )
    for flags, name, text in ATTENTION:
        p.add_argument(*flags, action="store_const", const=name, dest="attention", help=text)
    p.add_argument(
        "--compile", action="store_true", help="torch.compile for networks: quicker steps after a warm-up a size"
    )
    p.add_argument("--fuse-projections", action="store_true", help="attention's Q, K and V as one product")
    p.add_argument("--autolaunch", action="store_true", help="open the page in a browser")
    p.add_argument(
        "--allow-local-downloads", action="store_true", help="let downloads come from machines of the local network too"
    )
    p.add_argument(
        "--allow-local-webhooks", action="store_true", help="let webhooks go to machines of the local network too"
    )
    p.add_argument("--api-server-stop", action="store_true", help="let the API stop, kill and restart the server")
    for flag in ("--disable-all-extensions", "--disable-extra-extensions"):
        p.add_argument(flag, action="store_true", help="load nothing from extensions/")
    add_left_out(p)
    add_network_flags(p)
    return p


def _add_folders(p: argparse.ArgumentParser) -> None:
    p.add_argument("--models-dir", type=Path, metavar="DIR", help="folder with Stable-diffusion/, VAE/, Lora/ ...")
    p.set_defaults(folders=[])
    for flag, (_, what) in FOLDERS.items():
        p.add_argument(
            flag,
            action=_KindFolder,
            dest="folders",
            metavar="DIR",
            help=f"one more folder with {what}; may be repeated",
        )
    p.add_argument(
        *TAKE_OVER,
        dest="take_over",
        action="append",
        type=Path,
        default=[],
        metavar="DIR",
        help="use the models of that A1111, Forge or ComfyUI too; may be repeated",
    )
    p.add_argument(
        "--extra-model-paths-config",
        nargs="+",
        action="extend",
        type=Path,
        default=[],
        metavar="FILE",
        help="use the models that such a file of ComfyUI names",
    )


def parse_flags(arguments: Sequence[str]) -> Flags:
    """Flags from `arguments`; raises InputError that names the wrong one."""
    known = parser()
    given = known.parse_args(arguments)
    if not 1 <= given.port <= 65535:
        raise InputError("--port", f"--port {given.port} is not a port. Use a number from 1 to 65535.")
    configs = [_checked("--extra-model-paths-config", file, "file") for file in given.extra_model_paths_config]
    return Flags(
        port=given.port,
        data_dir=_made("--data-dir", given.data_dir),
        models_dir=_existing("--models-dir", given.models_dir, "models") if given.models_dir else None,
        folders=tuple(given.folders),
        take_over=tuple(_existing(TAKE_OVER[0], root, "an A1111, Forge or ComfyUI") for root in given.take_over),
        extra_model_paths=tuple(configs),
        styles_file=tuple(given.styles_file),
        no_hashing=given.no_hashing,
        ckpt=given.ckpt,
        nowebui=given.nowebui,
        use_cpu=not {*WHOLE}.isdisjoint(given.use_cpu),
        on_cpu=tuple(name for name in CPU_PARTS if name in given.use_cpu),
        precision=_precision(given),
        nan_check=not given.disable_nan_check,
        cpu_precision=given.cpu_precision,
        memory=tuple(name for name in ("lowvram", "medvram", "medvram_sdxl") if getattr(given, name)),
        attention=given.attention,
        compiles=given.compile,
        fuses=given.fuse_projections,
        autolaunch=given.autolaunch,
        allow_local_downloads=given.allow_local_downloads,
        allow_local_webhooks=given.allow_local_webhooks,
        api_server_stop=given.api_server_stop,
        disable_extensions=given.disable_all_extensions or given.disable_extra_extensions,
        network=network_of(given),
        values=flag_values(known, given, {flag: kind for flag, (kind, _) in FOLDERS.items()}),
    )


def _precision(given: argparse.Namespace) -> tuple[str, ...]:
    """The flags of precision that were given; raises InputError for those that contradict each other."""
    no_half = given.no_half or given.precision == "full"
    if no_half and given.precision == "half":
        raise InputError("--precision", "--precision half contradicts --no-half. Leave out one of them.")
    asked = {
        "half": given.precision == "half",
        "no_half": no_half,
        "no_half_vae": given.no_half_vae,
        "upcast_sampling": given.upcast_sampling,
    }
    return tuple(name for name, wanted in asked.items() if wanted)


def _checked(flag: str, path: Path, what: str = "folder") -> Path:
    """The path in full, if it is one that a program can write down."""
    try:
        path = path.expanduser().absolute()
    except RuntimeError as error:
        raise InputError(flag, f"{flag} {short(str(path))} starts with an unknown user. Name a {what}.") from error
    if "\0" in str(path):
        raise InputError(flag, f"{flag} {short(str(path))} holds a NUL character. Name a {what}.")
    if any("\ud800" <= c <= "\udfff" for c in str(path)):
        raise InputError(flag, f"{flag} {short(str(path))} is no text in UTF-8. Rename the {what}.")
    return path


def _existing(flag: str, folder: Path, what: str) -> Path:
    folder = _checked(flag, folder)
    try:
        if folder.is_dir():
            return folder
        if folder.exists():
            raise InputError(flag, f"{flag} {short(str(folder), 300)} is a file. Name a folder.")
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise InputError(
            flag, f"{flag} {short(str(folder), 300)} cannot be read: {error.strerror}. Name a folder that holds {what}."
        ) from error
    raise InputError(flag, f"{flag} {short(str(folder), 300)} does not exist. Name a folder that holds {what}.")


def _made(flag: str, folder: Path) -> Path:
    folder = _checked(flag, folder)
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(flag, f'{flag} "{folder}" is a file. Name a folder.')
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            flag, f'{flag} "{folder}" cannot be made: {error.strerror}. Name a folder you may write to.'
        ) from error
    return folder
