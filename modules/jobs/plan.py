"""What a request would come to, before it is queued: its pictures, what it names and what of that is missing, memory, seconds."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from modules.core.errors import AtelierError, ModelFileError, NotFound, UnknownName
from modules.core.paths import HYPERNETWORK, LORA
from modules.jobs.checks import final_size
from modules.jobs.names import check_control, check_detail, check_faces
from modules.jobs.scripts import check_hires, check_script
from modules.jobs.store import Job
from modules.library.styles import with_styles
from modules.prompting.tags import take_tags
from modules.requests.generation import MAX_SEED, GenerationRequest
from modules.requests.img2img import Img2ImgRequest
from modules.requests.plot import TITLE as PLOT
from modules.requests.plot import read_plot
from modules.requests.txt2img import Txt2ImgRequest
from modules.templates.resolve import resolve

if TYPE_CHECKING:
    from modules.jobs.service import JobService

PAST = 100
"""Jobs of the past that an estimate looks at."""

BYTES_PER_PIXEL = 1536
"""Of the decoder's widest layers: 256 channels of two bytes, three times over."""

TAGS = {"lora": LORA, "lyco": LORA, "hypernet": HYPERNETWORK}


Drawing = Txt2ImgRequest | Img2ImgRequest


@dataclass(frozen=True, kw_only=True)
class Missing:
    """What is named and not here, and the sentence that says so."""

    field: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`pictures`: how many there will be, None where a script alone decides; `drawn`: the request of each, as far as it is known."""

    request: GenerationRequest
    drawn: Sequence[GenerationRequest]
    pictures: int | None
    checkpoint: str | None
    networks: list[dict[str, Any]] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    weights: int = 0
    work: int = 0
    seconds: float | None = None
    compared: int = 0


def make_plan(service: "JobService", request: Drawing) -> Plan:
    """Changes nothing. Raises InputError for values that no job could have; what is not here is listed instead."""
    missing = list(_missing(service, request))
    if not missing:
        counted = service.admission.counted(request)
        assert isinstance(counted, GenerationRequest)
        request = request.model_copy(update={"n_iter": counted.n_iter, "batch_size": counted.batch_size})
        service.admission.settings_for(request)
    styled = request if any(each.field == "styles" for each in missing) else with_styles(request, service.styles)
    folder = service.settings.current.dynamic_prompts.wildcard_dir
    options = service.settings.current.flat()
    found = resolve(styled, max(min(styled.seed, MAX_SEED), 0), "", lambda: service.wildcards.look(folder), options)
    each = list(found.requests) if found and found.requests else [styled] * styled.count
    drawn, pictures = _scripted(service, request, each)
    networks, absent = _networks(service, drawn)
    checkpoint, size = _checkpoint(service, request)
    seconds, compared = _seconds(service, request, drawn, pictures, checkpoint)
    width, height = final_size(request)
    return Plan(
        request=request,
        drawn=drawn,
        pictures=pictures,
        checkpoint=checkpoint,
        networks=networks,
        missing=[*missing, *absent],
        warnings=list(found.warnings) if found else [],
        weights=size + sum(network["size"] or 0 for network in networks),
        work=width * height * request.batch_size * BYTES_PER_PIXEL,
        seconds=seconds,
        compared=compared,
    )


def _missing(service: "JobService", request: GenerationRequest) -> Iterator[Missing]:
    """What the fields of a request name that is not here; prompts aside."""
    catalogue, upscalers = service.catalogue, service.extras.upscalers

    def hires() -> None:
        if isinstance(request, Txt2ImgRequest) and request.enable_hr:
            check_hires(request, catalogue, service.checkpoints, upscalers)

    def refiner() -> None:
        if request.refiner_checkpoint:
            service.checkpoints.find(request.refiner_checkpoint, "refiner_checkpoint")

    def checkpoint() -> None:
        options = service.settings.current.changed(
            {name: value for name, value in request.override_settings.items() if name == "sd_model_checkpoint"}
        )
        service.checkpoints.find(options.stable_diffusion.sd_model_checkpoint)

    def style(name: str) -> Callable[[], Any]:
        return lambda: service.styles.find([name])

    looks: list[tuple[str, Callable[[], Any]]] = [
        ("sampler_name", lambda: catalogue.sampler_and_schedule(request.sampler_name, request.scheduler)),
        *(("styles", style(name)) for name in request.styles),
        ("sd_model_checkpoint", checkpoint),
        ("refiner_checkpoint", refiner),
        ("hr_upscaler", hires),
        ("detail", lambda: check_detail(request, service.detectors, catalogue)),
        ("control", lambda: check_control(request, service.controls, catalogue)),
        ("restore_faces", lambda: check_faces(request, service.settings.current, service.extras)),
        ("script_name", lambda: check_script(request, catalogue, upscalers, lambda _: None)),
    ]
    for name, look in looks:
        try:
            look()
        except (UnknownName, ModelFileError, NotFound) as error:
            yield Missing(field=getattr(error, "field", name), message=error.message)


def _scripted(
    service: "JobService", request: GenerationRequest, each: Sequence[GenerationRequest]
) -> tuple[Sequence[GenerationRequest], int | None]:
    """The requests that the script makes of them, and the pictures; None of these where only drawing tells."""
    entry = next((e for e in service.catalogue.scripts if e.name.lower() == (request.script_name or "").lower()), None)
    if entry is None:
        return each, len(each)
    tab = "txt2img" if isinstance(request, Txt2ImgRequest) else "img2img"
    values = entry.values(tab, request.script_args)
    if entry.name == PLOT:
        cells = list(read_plot(values, request, tab, max(request.seed, 0)).each())
        return cells, sum(cell.count for cell in cells)
    if "prompt_type" in values and "put_at_start" in values:  # a prompt matrix
        field_name = "prompt" if values["prompt_type"] == "positive" else "negative_prompt"
        return each, (1 << getattr(request, field_name).count("|"))
    return each, None


def _networks(service: "JobService", drawn: Sequence[GenerationRequest]) -> tuple[list[dict[str, Any]], list[Missing]]:
    """The networks that tags of the prompts name, each once."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    missing = []
    for text in dict.fromkeys(text for one in drawn for text in (one.prompt, getattr(one, "hr_prompt", ""))):
        for tag in take_tags(text)[1]:
            name = tag.arguments[0].strip() if tag.arguments else ""
            if tag.kind not in TAGS or (tag.kind, name) in found:
                continue
            entry = {"kind": tag.kind, "name": name, "arguments": list(tag.arguments[1:]), "found": False, "size": None}
            try:
                row = service.library.models(TAGS[tag.kind]).find(name, tag.kind).row
                entry |= {"found": True, "size": row.size}
            except AtelierError as error:
                missing.append(Missing(field="prompt", message=error.message))
            found[tag.kind, name] = entry
    return list(found.values()), missing


def _checkpoint(service: "JobService", request: GenerationRequest) -> tuple[str | None, int]:
    """The name of the checkpoint, and the bytes of its files."""
    wanted = request.override_settings.get("sd_model_checkpoint")
    name = wanted or service.settings.current.stable_diffusion.sd_model_checkpoint
    with contextlib.suppress(AtelierError, OSError):
        found = service.checkpoints.find(name)
        files = [found.path] if found.path.is_file() else [*found.path.rglob("*.safetensors")]
        return found.name, sum(file.stat().st_size for file in files)
    return None, 0


def _seconds(
    service: "JobService",
    request: GenerationRequest,
    drawn: Sequence[GenerationRequest],
    pictures: int | None,
    checkpoint: str | None,
) -> tuple[float | None, int]:
    """An estimate from jobs of this kind that this machine has done, with that checkpoint where there are any; and how many those are."""
    if pictures is None or checkpoint is None:
        return None, 0
    kind = "txt2img" if isinstance(request, Txt2ImgRequest) else "img2img"
    past = [
        job for job in service.store.finished(kind, PAST) if job.started and job.ended and not job.request.script_name
    ]
    past = [job for job in past if job.options.get("sd_model_checkpoint") == checkpoint]
    if not past:
        return None, 0
    work = sum(effort(one) for one in drawn) / max(len(drawn), 1)
    return median(_pace(job) for job in past) * work * pictures, len(past)


def _pace(job: Job) -> float:
    """Seconds for one step of one pixel."""
    assert job.started and job.ended
    return (job.ended - job.started) / max(effort(job.request) * job.request.count, 1)


def effort(request: GenerationRequest) -> float:
    """Steps times pixels of one picture, a second pass included."""
    width, height = final_size(request)
    first = float(request.steps * request.width * request.height)
    if isinstance(request, Txt2ImgRequest) and request.enable_hr:
        return first + (request.hr_second_pass_steps or request.steps) * width * height
    return first
