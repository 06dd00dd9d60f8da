"""What a recipe may tell and ask while it works."""

from collections.abc import Callable
from dataclasses import dataclass

from modules.core.errors import Cancelled
from modules.jobs.executors.base import Cancel
from modules.requests.events import Event


@dataclass(frozen=True, kw_only=True)
class Context:
    """`emit` hands an event to whoever watches; `cancel` holds the user's wishes."""

    emit: Callable[[Event], None]
    cancel: Cancel

    def check(self) -> None:
        """Raise Cancelled if the user asked to stop the job or skip the batch."""
        if self.cancel.interrupted or self.cancel.take_skip():
            raise Cancelled
