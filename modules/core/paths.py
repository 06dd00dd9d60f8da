"""Where things are."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

CHECKPOINT, VAE, LORA, EMBEDDING, TEXT_ENCODER = "Stable-diffusion", "VAE", "Lora", "embeddings", "text_encoder"
DIFFUSION_MODEL = "diffusion_models"
TOKENIZER = "tokenizers"
DETECTOR = "adetailer"
HYPERNETWORK = "hypernetworks"
OPEN_CLIP = "open_clip"

KINDS: dict[str, tuple[str, ...]] = {
    CHECKPOINT: (CHECKPOINT,),
    VAE: (VAE,),
    LORA: (LORA, "LyCORIS"),
    EMBEDDING: (EMBEDDING,),
    HYPERNETWORK: (HYPERNETWORK,),
    "ControlNet": ("ControlNet",),
    "ControlNetPreprocessor": ("ControlNetPreprocessor",),
    TEXT_ENCODER: (TEXT_ENCODER, "text_encoders", "clip"),
    DIFFUSION_MODEL: (DIFFUSION_MODEL, "unet"),
    TOKENIZER: (TOKENIZER,),
    "clip_vision": ("clip_vision",),
    OPEN_CLIP: (OPEN_CLIP,),
    DETECTOR: ("adetailer", "ultralytics"),
    "VAE-approx": ("VAE-approx",),
    **{name: (name,) for name in ("ESRGAN", "RealESRGAN", "BSRGAN", "SwinIR", "ScuNET", "DAT", "HAT", "LDSR")},
    **{name: (name,) for name in ("GFPGAN", "Codeformer")},
}
"""Every kind of model, and the names of its folders below a model root: A1111's and Forge's, and ComfyUI's for separate parts."""


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Every folder and file of one installation; `data` holds what belongs to the user.

    `named` and `taken_over` are (kind, folder): those of flags, which come before our own, and those of other programs'
    installations, which come after them and are never written to. `styles`: the style sheets that flags name, with `*` for any.
    """

    data: Path = ROOT
    models_dir: Path | None = None
    named: tuple[tuple[str, Path], ...] = ()
    taken_over: tuple[tuple[str, Path], ...] = ()
    styles: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[Path, ...]:
        """Model roots, the user's first; the bundled models are always found."""
        return tuple(dict.fromkeys((self.models_dir or self.data / "models", ROOT / "models")))

    def folders(self, kind: str) -> tuple[Path, ...]:
        """Folders that hold models of that kind (a name in KINDS), the first one's files first; they need not exist.

        Models without text encoder and VAE lie among the whole checkpoints too, as Forge's users keep them.
        """
        own = [root / name for root in self.models for name in KINDS[kind]]
        if kind == EMBEDDING:
            own = [self.data / EMBEDDING, *own]
        shared = self.folders(CHECKPOINT) if kind == DIFFUSION_MODEL else ()
        named, taken = ([folder for k, folder in pairs if k == kind] for pairs in (self.named, self.taken_over))
        return tuple(dict.fromkeys((*named, *own, *taken, *shared)))

    def own(self, kind: str) -> Path:
        """The folder into which new files of that kind are written."""
        return self.data / EMBEDDING if kind == EMBEDDING else self.models[0] / KINDS[kind][0]

    @property
    def checkpoints(self) -> tuple[Path, ...]:
        """Folders that hold checkpoints."""
        return self.folders(CHECKPOINT)

    @property
    def networks(self) -> tuple[Path, ...]:
        """Folders that hold what can be drawn with: checkpoints, then networks in files of their own."""
        return tuple(dict.fromkeys((*self.checkpoints, *self.folders(DIFFUSION_MODEL))))

    @property
    def vaes(self) -> tuple[Path, ...]:
        """Folders that hold VAEs."""
        return self.folders(VAE)

    @property
    def loras(self) -> tuple[Path, ...]:
        """Folders that hold LoRAs."""
        return self.folders(LORA)

    @property
    def tags(self) -> tuple[Path, ...]:
        """Folders that hold lists of tags, which are completed in prompts."""
        return tuple(root / "tags" for root in self.models)

    @property
    def prompt_builder(self) -> Path:
        """The user's own words for the prompt builder."""
        return self.data / "prompt-builder.yaml"

    @property
    def wildcards(self) -> tuple[Path, ...]:
        """Folders that hold wildcards, those that a setting names aside."""
        return tuple(root / "wildcards" for root in self.models)

    @property
    def localizations(self) -> tuple[Path, ...]:
        """Folders that hold localisations of the page: the user's own, the bundled ones."""
        return self.data / "localizations", ROOT / "webui" / "assets" / "translations"

    @property
    def outputs(self) -> Path:
        """Root of relative output folders."""
        return self.data

    @property
    def settings(self) -> Path:
        """A1111's name for the settings file."""
        return self.data / "config.json"

    @property
    def ui_config(self) -> Path:
        """A1111's name for what the page's fields begin with."""
        return self.data / "ui-config.json"

    @property
    def presets(self) -> Path:
        """The page's presets."""
        return self.data / "presets.json"

    @property
    def ui_config_before(self) -> Path:
        """`ui_config` as it was before the page changed it last."""
        return self.data / "ui-config.before.json"

    @property
    def welcomed(self) -> Path:
        """There once the page that greets at the first start was put away."""
        return self.data / "welcomed"

    @property
    def cache(self) -> Path:
        """Things that can be made again, and pictures that were asked not to be saved."""
        return self.data / "cache"

    @property
    def jobs(self) -> Path:
        """The job store."""
        return self.data / "jobs.sqlite3"

    @property
    def accounts(self) -> Path:
        """Accounts, sessions and API tokens; readable by this user alone."""
        return self.data / "accounts.sqlite3"

    @property
    def downloads(self) -> Path:
        """The queue of downloads."""
        return self.data / "downloads.sqlite3"

    @property
    def tokens(self) -> Path:
        """The access tokens of other sites; readable by this user alone."""
        return self.data / "tokens.json"
