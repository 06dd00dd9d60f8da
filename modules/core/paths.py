"""Where things are."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Every folder and file of one installation; `data` holds what belongs to the user."""

    data: Path = ROOT
    extra_checkpoints: tuple[Path, ...] = ()

    @property
    def models(self) -> tuple[Path, ...]:
        """Model roots, the user's first; the bundled models are always found."""
        return tuple(dict.fromkeys((self.data / "models", ROOT / "models")))

    @property
    def checkpoints(self) -> tuple[Path, ...]:
        """Folders that hold checkpoints."""
        return (*self.extra_checkpoints, *(root / "Stable-diffusion" for root in self.models))

    @property
    def vaes(self) -> tuple[Path, ...]:
        """Folders that hold VAEs."""
        return tuple(root / "VAE" for root in self.models)

    @property
    def outputs(self) -> Path:
        """Root of relative output folders."""
        return self.data

    @property
    def settings(self) -> Path:
        """A1111's name for the settings file."""
        return self.data / "config.json"

    @property
    def cache(self) -> Path:
        """Things that can be made again, and pictures that were asked not to be saved."""
        return self.data / "cache"

    @property
    def jobs(self) -> Path:
        """The job store."""
        return self.data / "jobs.sqlite3"
