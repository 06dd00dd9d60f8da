"""A stored job as the engine gets it."""

from modules.core.settings import Settings
from modules.jobs.scripts import kept_pictures
from modules.jobs.store import Job, JobStore
from modules.requests.events import Order


def settings_of(job: Job) -> Settings:
    """The settings of when it was submitted; another version may have stored more options, or fewer. Raises InputError."""
    known = Settings().flat()
    return Settings().changed({name: value for name, value in job.options.items() if name in known})


def order_of(job: Job, settings: Settings, store: JobStore) -> Order:
    """The order for another try, which knows what earlier ones delivered. Raises StorageError, NotFound."""
    images = store.images(job.id)
    return Order(
        job=job.id,
        request=store.whole_request(job),
        seed=job.seed,
        options=settings.flat(),
        done=frozenset(image.position for image in images if not image.incomplete),
        kept=kept_pictures(images) if getattr(job.request, "script_name", None) else (),
        user=job.user,
    )
