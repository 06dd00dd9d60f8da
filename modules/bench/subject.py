"""What is measured: a checkpoint, the size and length of its pictures, and how often."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modules.bench.seeded import write_seeded
from modules.core.flags import Flags, parse_flags
from modules.core.paths import CHECKPOINT, Paths
from modules.library.checkpoints import Checkpoint, Checkpoints, page_defaults
from modules.library.hashes import HashCache

SEEDED = "seeded.safetensors"
PROMPTS = ("a red apple", "a blue house beside a tree", "two yellow boats", "a green star over a hill")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """`folder` is the run's own, `paths` where models and what is made of them lie; `size`: pixels a side, 0 is the checkpoint's own.

    `flags`: those of app.py that the program is measured with, `words` the same as given. `runtimes`: those to measure; empty is all.
    """

    checkpoint: Checkpoint
    folder: Path
    paths: Paths
    steps: int = 20
    size: int = 0
    pictures: int = 4
    rounds: int = 5
    flags: Flags = field(default_factory=Flags)
    words: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()

    @property
    def base(self) -> dict[str, Any]:
        """What all pictures have in common: the checkpoint's own defaults."""
        own = page_defaults(self.checkpoint)
        sides = {name: self.size or own.get(name, 512) for name in ("width", "height")}
        scale = own.get("cfg_scale", 7.0)
        return {**sides, "steps": self.steps, "cfg_scale": scale, "sampler_name": "DPM++ 2M"}

    @property
    def title(self) -> str:
        """It in words."""
        base = self.base
        size = f"{base['width']} x {base['height']}, {base['steps']} steps of {base['sampler_name']}"
        return f"{self.checkpoint.name}, {size}"

    def values(self, number: int, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The request of picture number `number`."""
        return {**self.base, "prompt": PROMPTS[number % len(PROMPTS)], **(more or {})}

    @property
    def checkpoints(self) -> Checkpoints:
        """Those it is found among."""
        return Checkpoints(self.paths.networks, HashCache(self.folder / "hashes"))


def make_subject(
    folder: Path, *, ckpt: str = "", seeded: bool = False, flags: Sequence[str] = (), **more: Any
) -> Subject:
    """The checkpoint of that name or path ("" is the first one) or, written into `folder`, one of seeded random weights.

    Raises UnknownName, ModelFileError or StorageError, and InputError for wrong flags.
    """
    paths, name, words = Paths(), ckpt, list(flags)
    if seeded:
        paths, name = Paths(data=folder), SEEDED
        write_seeded(paths.own(CHECKPOINT) / SEEDED)
    elif ckpt and (file := Path(ckpt).expanduser().resolve()).exists():
        paths, name = Paths(named=((CHECKPOINT, file.parent),)), file.name
        words += ["--ckpt-dir", str(file.parent)]
    checkpoint = Checkpoints(paths.networks, HashCache(folder / "hashes")).find(name)
    return Subject(
        checkpoint=checkpoint, folder=folder, paths=paths, flags=parse_flags(words), words=tuple(words), **more
    )
