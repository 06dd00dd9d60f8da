"""Who may not send more jobs for now."""

from collections.abc import Sequence
from pathlib import Path

from modules.core.disk import check_reserve
from modules.core.errors import QueueFull, TooManyJobs
from modules.core.policy import Policy
from modules.jobs.store import Ticket


def check_room(tickets: Sequence[Ticket], user: str, policy: Policy) -> None:
    """Raise TooManyJobs or QueueFull if that user's next job has no place."""
    own = sum(ticket.user == user for ticket in tickets)
    if len(tickets) >= policy.queued:
        raise QueueFull(f"{policy.queued} jobs are waiting already. Try again when some are done.")
    if own >= policy.queued_each:
        raise TooManyJobs(f"{own} jobs of yours are waiting already. Try again when some are done.")


def check_taken(tickets: Sequence[Ticket], user: str, policy: Policy, folder: Path) -> None:
    """As `check_room`; raises StorageError too, where the disk of that folder is nearly full."""
    check_room(tickets, user, policy)
    check_reserve(folder, 0, policy.reserve)
