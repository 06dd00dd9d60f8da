"""The queue as one user sees it: that user's own jobs and pictures, an administrator everyone's."""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modules.core.disk import check_reserve
from modules.core.errors import Forbidden, NotFound, StorageError, short
from modules.core.policy import Policy
from modules.core.settings import Settings
from modules.core.user import User
from modules.jobs.calls import Hook
from modules.jobs.control_folders import folders_asked, with_folders
from modules.jobs.executors.base import Wish
from modules.jobs.fairness import check_taken
from modules.jobs.keys import Key
from modules.jobs.live import Live
from modules.jobs.store import ENDED, Image, Job, Ticket
from modules.jobs.writer import OUTPUTS
from modules.requests.extras import ExtrasRequest
from modules.requests.generation import GenerationRequest
from modules.requests.kinds import Request
from modules.requests.merge import FileRequest

if TYPE_CHECKING:
    from modules.jobs.service import JobService

log = logging.getLogger(__name__)

PATH_OPTIONS = (
    *(*OUTPUTS, "outdir_init_images", "take_over_roots", "font", "wildcard_dir", "gallery_folders"),
    "control_net_detectedmap_dir",
    *("huggingface_endpoint", "civitai_endpoint", "webhook_url"),
)
"""Settings that name places of this computer, or of the world."""

CODE_OPTIONS = ("disabled_extensions", "disable_all_extensions")
"""Settings that say whose code is run."""


class Desk:
    """What `user` may ask of the service. What is another's is answered as if it were not there."""

    def __init__(self, service: "JobService", user: User) -> None:
        self.service = service
        self.user = user

    @property
    def policy(self) -> Policy:
        """The policy of this server."""
        return self.service.policy

    # -- jobs --

    def submit(
        self,
        request: Request,
        job_id: str | None = None,
        channel: str = "",
        key: Key | None = None,
        callback_url: str | None = None,
    ) -> Job:
        """As the service's. `callback_url`: called when the job is over. `channel`: whose turn in the queue it takes where nobody has a name. Raises Forbidden too."""
        self.check_places(request)
        request = with_folders(request, self.service.paths.data)
        check_reserve(self.service.paths.data, 0, self.policy.reserve)
        self.service.queue.full.check(self.user.name or channel)
        hook = None
        if callback_url:
            url = self.service.webhooks.check("callback_url", callback_url)
            hook = Hook(url=url, user=self.user.name, form=True)
        job = self.service.submit(request, self.user.name or channel, job_id, key, hook)
        if isinstance(request, GenerationRequest):
            try:
                self.service.prompts.add(self.user.name, request.prompt, request.negative_prompt)
            except StorageError as error:  # the job is stored: it goes on without
                log.warning("%s", error.message)
        return job

    def again(self, job_id: str) -> Job:
        """A job once more; raises NotFound, InputError, QueueFull."""
        job = self.job(job_id)
        check_taken(self.service.store.tickets(), job.user, self.policy, self.service.paths.data)
        return self.service.queue.again(job.id)

    def forever(self, job_id: str, wish: bool) -> tuple[str, bool]:
        """Have a job followed by others like it until it is stopped, or not any more: the last of them, and whether it is or was so.
        Raises NotFound."""
        job = self.job(job_id)
        if not wish:
            return self.service.store.chains.end(job.id)
        self.service.store.chains.begin(job.id)
        self.service.queue.forever.note_end(job.id)
        return job.id, True

    def forget(self, job_id: str) -> None:
        """A job that is over leaves the store, its saved pictures stay; one that is not is stopped. Raises NotFound."""
        job = self.job(job_id)
        if job.state not in ENDED:
            self.service.ask("interrupt", job.id)
            return
        for path in self.service.store.forget(job.id):
            path.unlink(missing_ok=True)

    def job(self, job_id: str) -> Job:
        """The job of that id; raises NotFound."""
        job = self.service.job(job_id)
        if not self.owns(job):
            raise NotFound(f'There is no job "{job_id[:40]}". Look in the queue for those there are.')
        return job

    def found(self, job_id: str) -> Job | None:
        """The job of that id, if there is one."""
        job = self.service.store.get(job_id)
        return job if job and self.owns(job) else None

    def owns(self, job: Job | Ticket) -> bool:
        """Whether this user may see it."""
        return self.user.admin or bool(job.user) and job.user == self.user.name

    def recent(self, count: int) -> list[Job]:
        """The newest ones, newest first."""
        return self.service.store.recent(count, None if self.user.admin else self.user.name)

    def waiting(self) -> list[str]:
        """The ids of those that wait, in the order of submission."""
        tickets = self.service.store.tickets()
        return [t.id for t in tickets if t.state == "queued" and (self.user.admin or t.user == self.user.name)]

    def live(self, job_id: str | None = None) -> Live | None:
        """What runs now, if it is that job, or any that may be seen."""
        live = self.service.live(job_id)
        return live if live and (self.user.admin or self.found(live.job)) else None

    def wishes(self) -> set[Wish]:
        """What was asked of the running job, if it may be seen."""
        return self.service.wishes() if self.live() else set()

    def ask(self, wish: Wish, job_id: str | None = None) -> None:
        """Interrupt or skip that job; without an id what runs, if it is this user's. Raises NotFound."""
        if job_id is not None:
            self.service.ask(wish, self.job(job_id).id)
        elif live := self.live():
            self.service.ask(wish, live.job)

    def stop(self, job_ids: Sequence[str]) -> None:
        """Stop these jobs of one press, those that wait first. By the setting `interrupt_after_current` the batch in work is finished
        where another would follow; asked once more, it ends at once."""
        jobs = [job for job in map(self.found, job_ids) if job and job.state not in ENDED]
        for job in reversed(jobs):
            self.service.ask("finish" if self._spares(job, several=len(jobs) > 1) else "interrupt", job.id)

    def _spares(self, job: Job, *, several: bool) -> bool:
        live = self.service.live(job.id)
        if not live or not self.service.settings.current.alternatives.interrupt_after_current:
            return False
        more = several or bool(live.progress and live.progress.batches > 1)
        return more and not self.service.wishes() & {"finish", "interrupt"}

    def watch(self, job_id: str) -> AsyncIterator[Job]:
        """The job at every change until it is over; raises NotFound."""
        return self.service.watch(self.job(job_id).id)

    # -- pictures --

    def images(self, job_id: str) -> list[Image]:
        """The pictures of that job so far; raises NotFound."""
        return self.service.images(self.job(job_id).id)

    def image(self, image_id: str) -> Image:
        """The picture of that id; raises NotFound."""
        number = image_id if image_id.isascii() and image_id.isdigit() and len(image_id) <= 18 else "0"
        found = self.service.store.image(int(number))
        if found is None or not self.found(found.job):
            raise NotFound(f"There is no picture {short(image_id)}.")
        return found

    # -- what all share --

    def change_options(self, options: Mapping[str, Any]) -> Settings:
        """As the service's. Raises Forbidden too."""
        if not self.user.admin:
            raise Forbidden("Settings are for administrators. Send override_settings with the request instead.")
        self._check_options(options)
        return self.service.change_options(options)

    def check_admin(self, what: str) -> None:
        """Raise Forbidden unless this user may change what all share."""
        if not self.user.admin:
            raise Forbidden(f"{what} are shared by all users: changing them is for administrators. Ask one.")

    def check_folders(self, field: str) -> None:
        """Raise Forbidden unless this user may name folders of the server's computer."""
        if not self.user.admin:
            raise Forbidden(f"{field} names a folder of the server: that is for administrators. Send the pictures.")
        if not self.policy.paths:
            raise Forbidden(f"{field} names a folder of the server: that is refused through a tunnel.")

    def _check_options(self, options: Mapping[str, Any]) -> None:
        for name in PATH_OPTIONS:
            if name in options and options[name] != self.service.settings.current.flat().get(name):
                self.check_folders(name)
        if any(name in options for name in CODE_OPTIONS):
            self.check_code()

    def check_code(self) -> None:
        """Raise Forbidden unless this user may say which extensions are run."""
        self.check_admin("Extensions")
        if self.policy.exposure == "tunnel":
            raise Forbidden(
                "Extensions are not switched on or off through a tunnel. Do it on the server's own network."
            )

    def check_places(self, request: Request) -> None:
        """Raise Forbidden for a request that names places, or makes files, that this user may not."""
        if isinstance(request, FileRequest) and not self.user.admin:
            raise Forbidden("Making model files is for administrators.")
        if isinstance(request, GenerationRequest):
            self._check_options(request.override_settings)
            for field in folders_asked(request):
                self.check_folders(field)
        if isinstance(request, ExtrasRequest):
            for field in ("input_dir", "output_dir"):
                if getattr(request, field).strip():
                    self.check_folders(field)


def disown(service: "JobService", name: str) -> None:
    """An account is gone: its jobs and pictures are no later namesake's, and no job goes on."""
    for ticket in service.store.tickets():
        if ticket.user.casefold() == name.casefold():
            service.ask("interrupt", ticket.id)
    service.store.disown(name)
    service.album.store.disown(name)
    service.prompts.clear(name, pinned=True)
