"""What the engine can do, as data: the page and the API are built from it.

The engine publishes it when it starts; `catalogue.json` beside this file is what it said last, for a first start
(a test keeps the two equal).
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from modules.core.errors import StorageError, UnknownName
from modules.core.files import write_atomic
from modules.requests.preprocessors import PreprocessorEntry, find_preprocessor
from modules.requests.scripts import ScriptEntry, find_script

SHIPPED = Path(__file__).with_name("catalogue.json")


class Entry(BaseModel):
    """Frozen, and strict about its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SamplerEntry(Entry):
    """A sampler: `name` is what users see, `schedule` the label that Automatic stands for.

    `draws_noise`: each step draws from the picture's generator, so that ENSD matters. `brownian_noise`: it follows one path
    a seed instead. `eta`: the setting that holds its eta, if it has one. `churn`, `s_noise`: it heeds the settings s_churn,
    s_tmin and s_tmax, or s_noise. `solver`: a variant of its method. `heeds_schedule`: False where it has levels of its own.
    """

    name: str
    aliases: tuple[str, ...] = ()
    schedule: str = "Automatic"
    second_order: bool = False
    draws_noise: bool = False
    discard_penultimate: bool = False
    brownian_noise: bool = False
    eta: str = ""
    churn: bool = False
    s_noise: bool = False
    solver: str = ""
    heeds_schedule: bool = True

    @property
    def options(self) -> dict[str, str]:
        """A1111's `options` of `/sdapi/v1/samplers`."""
        flags = {
            "discard_next_to_last_sigma": self.discard_penultimate,
            "uses_ensd": self.draws_noise,
            "second_order": self.second_order,
            "brownian_noise": self.brownian_noise,
        }
        found = {} if self.schedule == "Automatic" else {"scheduler": self.schedule.lower().replace(" ", "_")}
        solver = {"solver_type": self.solver} if self.solver else {}
        return {**found, **{name: "True" for name, value in flags.items() if value}, **solver}


class ScheduleEntry(Entry):
    """A noise schedule: `name` for the API, `label` for users."""

    name: str
    label: str
    aliases: tuple[str, ...] = ()
    default_rho: float = -1
    need_inner_model: bool = False


class HardwareEntry(Entry):
    """What the engine computes on. `gpu`: its name, "" where the processor computes; `memory`: of the GPU, in bytes. `openvino`: that
    computes, not PyTorch. `precision`: what it computes in, for people."""

    gpu: str = ""
    memory: int = 0
    openvino: bool = False
    precision: str


class Catalogue(Entry):
    """Samplers, schedules, the upscalers that need no file, scripts and preprocessors, in the order users see them.

    `hardware` is that of the last start until the engine is ready, and None in what is shipped.
    """

    samplers: tuple[SamplerEntry, ...] = ()
    schedules: tuple[ScheduleEntry, ...] = ()
    upscalers: tuple[str, ...] = ()
    scripts: tuple[ScriptEntry, ...] = ()
    preprocessors: tuple[PreprocessorEntry, ...] = ()
    hardware: HardwareEntry | None = None

    def preprocessor(self, name: str, field: str = "module") -> PreprocessorEntry:
        """The preprocessor of that name or label; raises UnknownName with the nearest choices."""
        found = find_preprocessor(name, self.preprocessors)
        if found is None:
            raise UnknownName.among(field, name, [entry.name for entry in self.preprocessors])
        return found

    def script(self, name: str) -> ScriptEntry:
        """The script of that title; raises UnknownName with the nearest choices."""
        found = find_script(name, self.scripts)
        if found is None:
            raise UnknownName.among("script_name", name, [entry.name for entry in self.scripts])
        return found

    def sampler_and_schedule(
        self, sampler: str, schedule: str | None, fields: tuple[str, str] = ("sampler_name", "scheduler")
    ) -> tuple[SamplerEntry, ScheduleEntry]:
        """The entries for names or aliases, with A1111's old combined names ("DPM++ 2M Karras") taken apart.

        Raises UnknownName with the nearest choices; `fields` are what the two are called there.
        """
        name = sampler.strip().casefold()
        found = self._sampler(name)
        if found is None:
            for entry in self.schedules:
                for suffix in (entry.label, entry.name, *entry.aliases):
                    stem = name.removesuffix(" " + suffix.casefold())
                    if stem != name and self._sampler(stem):
                        return self.sampler_and_schedule(stem, entry.label, fields)
            raise UnknownName.among(fields[0], sampler, [s.name for s in self.samplers])
        wanted = (schedule or "Automatic").strip().casefold()
        for entry in self.schedules:
            if wanted in (key.casefold() for key in (entry.name, entry.label, *entry.aliases)):
                automatic = entry.label == found.schedule and found.schedule != "Automatic"
                return found, self.schedules[0] if automatic else entry
        raise UnknownName.among(fields[1], str(schedule), [s.label for s in self.schedules])

    def _sampler(self, folded: str) -> SamplerEntry | None:
        return next((s for s in self.samplers if folded in (k.casefold() for k in (s.name, *s.aliases))), None)


def read_catalogue(kept: Path) -> Catalogue:
    """The catalogue of the last start, or the shipped one where that was another version's, without the scripts or preprocessors of this one."""
    shipped, last = _read(SHIPPED) or Catalogue(), _read(kept)
    whole = last and all(script in last.scripts for script in shipped.scripts)
    whole = whole and all(entry in last.preprocessors for entry in shipped.preprocessors)
    return last if last and whole else shipped


def keep_catalogue(catalogue: Catalogue, kept: Path) -> None:
    """Write it for the next start; a cache that cannot be written is no fault."""
    try:
        write_atomic(kept, catalogue.model_dump_json(indent=1).encode())
    except StorageError:
        return


def _read(path: Path) -> Catalogue | None:
    try:
        return Catalogue.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
