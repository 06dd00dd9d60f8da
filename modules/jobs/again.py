"""Making a picture again from what its file tells, and saying how near the new one comes."""

import math
from dataclasses import dataclass
from typing import Any

from modules.core.errors import InputError, NotFound, UnknownName, short
from modules.images.compare import first_difference, psnr
from modules.images.infotext import Infotext, parse_infotext, to_request_values
from modules.images.metadata.read import Metadata, read_metadata
from modules.images.overrides import CHECKPOINT, CHECKPOINT_KEYS, modules_of, overrides
from modules.images.reading import loaded
from modules.jobs.service import JobService
from modules.jobs.store import ENDED
from modules.requests.txt2img import Txt2ImgRequest, make_request

FIELD = "image"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`psnr` in dB: infinite where nothing differs, None where the sizes do. `difference`: (key, old value, new value)."""

    psnr: float | None
    difference: tuple[str, str, str] | None
    message: str


def request_of(found: Metadata, service: JobService) -> tuple[Txt2ImgRequest, list[str]]:
    """The request that makes one picture with those settings, not saved in outputs; and sentences about what is otherwise.

    Raises InputError where the settings do not suffice.
    """
    parsed = parse_infotext(found.infotext)
    if "Seed" not in parsed.fields:
        raise InputError(
            FIELD, f"{FIELD} tells of no seed: it cannot be made again. Choose a picture with its settings inside."
        )
    if "Denoising strength" in parsed.fields and not any(key.startswith("Hires") for key in parsed.fields):
        raise InputError(
            FIELD, f"{FIELD} was made from another picture, which it does not hold. Send it to img2img instead."
        )
    warnings = list(found.unmapped)
    options = overrides(parsed.fields, service.settings.current, f"{parsed.prompt}\n{parsed.negative_prompt}")
    if modules := modules_of(parsed.fields):
        options["forge_additional_modules"] = modules
    if name := _checkpoint(parsed, service, warnings):
        options[CHECKPOINT] = name
    _drop_unknown_vae(options, service, warnings)
    values = to_request_values(parsed)
    if values.pop("control", None):
        warnings.append("It was made with ControlNet pictures, which it does not hold; it is made without them.")
    plain = {"save_images": False, "dynamic_prompts": False}  # its prompt is filled in already
    return make_request({**values, **plain, "override_settings": options}), warnings


def _drop_unknown_vae(options: dict[str, Any], service: JobService, warnings: list[str]) -> None:
    if "sd_vae" not in options:
        return
    chosen = options.get(CHECKPOINT) or service.settings.current.stable_diffusion.sd_model_checkpoint
    try:
        service.library.vaes.choose(options["sd_vae"], service.checkpoints.find(chosen))
    except UnknownName:
        warnings.append(f"The VAE {short(options.pop('sd_vae'))} is not here: the chosen one is used instead.")


def _checkpoint(parsed: Infotext, service: JobService, warnings: list[str]) -> str | None:
    said = {key: parsed.fields[key] for key in CHECKPOINT_KEYS if parsed.fields.get(key)}
    for name in said.values():
        if (found := service.checkpoints.told(name, said.get("Model hash", ""))) is not None:
            return found.name
    if said:
        warnings.insert(
            0, f"The checkpoint {short(' '.join(reversed(said.values())))} is not here: the chosen one is used instead."
        )
    return None


def compare(data: bytes, job_id: str, service: JobService) -> Comparison:
    """A picture file beside the first picture of a job that is over. Raises InputError, NotFound."""
    job, images = service.job(job_id), service.images(job_id)
    if job.state not in ENDED or not images:
        raise NotFound(f"Job {short(job_id)} has no finished picture. Compare when it is done.")
    try:
        made = images[0].path.read_bytes()
    except OSError as error:
        raise NotFound(f"The picture of job {short(job_id)} is not there any more: it was moved or deleted.") from error
    old, new = parse_infotext(read_metadata(data).infotext), parse_infotext(images[0].infotext)
    difference = first_difference(old, new, lambda key, one, other: _same(key, one, other, old, new, service))
    with loaded(FIELD, data) as one, loaded("picture", made) as other:
        if one.size != other.size:
            sizes = f"{one.width} x {one.height} and {other.width} x {other.height}"
            return Comparison(
                psnr=None, difference=difference, message=f"The sizes differ: {sizes}. {_told(difference)}"
            )
        found = psnr(one, other)
    near = "Every pixel is the same." if math.isinf(found) else f"PSNR {found:.1f} dB: {_words(found)}."
    return Comparison(psnr=found, difference=difference, message=f"{near} {_told(difference)}")


def _told(difference: tuple[str, str, str] | None) -> str:
    if difference is None:
        return "No setting differs."
    key, one, other = difference
    return f"The first setting that differs is {key}: {_value(one)} there, {_value(other)} here."


def _value(text: str) -> str:
    return short(text, 80) if text else "not said"


def _words(found: float) -> str:
    for least, words in ((50, "no eye sees a difference"), (35, "nearly the same"), (20, "alike")):
        if found >= least:
            return words
    return "another picture"


def _same(key: str, one: str, other: str, old: Infotext, new: Infotext, service: JobService) -> bool:
    """Samplers and schedules by other names, hashes of which one is longer, and what the sampler does not heed, are the same."""
    if key in ("Sampler", "Schedule type"):
        return _levels(old, service) == _levels(new, service)
    if key in ("ENSD", "Restarted noise"):
        return not _draws_noise(new, service)
    if key.endswith(" hash"):
        return bool(one and other) and (one.lower().startswith(other.lower()) or other.lower().startswith(one.lower()))
    return False


def _draws_noise(text: Infotext, service: JobService) -> bool:
    try:
        return service.catalogue.sampler_and_schedule(text.fields.get("Sampler", ""), None)[0].draws_noise
    except UnknownName:
        return True


def _levels(text: Infotext, service: JobService) -> Any:
    """The sampler and what its schedule comes to."""
    try:
        sampler, schedule = service.catalogue.sampler_and_schedule(
            text.fields.get("Sampler", ""), text.fields.get("Schedule type")
        )
    except UnknownName:
        return text.fields.get("Sampler"), text.fields.get("Schedule type")
    return sampler.name, sampler.schedule if schedule.label == "Automatic" else schedule.label
