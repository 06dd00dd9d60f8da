"""What may be asked of the engine's models between two jobs."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class UnloadModels:
    """Let go of every model; the next job loads its own again."""


@dataclass(frozen=True, kw_only=True)
class LoadModel:
    """Load the checkpoint that the settings name."""
