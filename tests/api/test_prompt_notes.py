"""Notes that depend on the checkpoint."""

from modules.api.prompting.check import CheckBody, counted
from modules.api.prompting.notes import notes_on
from modules.api.prompting.stock import Chosen, Stock
from modules.core.paths import LORA
from modules.library.models import Model
from modules.library.readers import Reader
from modules.library.rows import Row

SD1 = Chosen(name="v1-5.safetensors", family="SD1", width=768, defaults={"width": 512, "height": 512, "cfg_scale": 7.0})
FLUX = Chosen(
    name="flux1-dev.safetensors",
    family="FLUX",
    reader=Reader(kind="t5xxl", most=512),
    defaults={"width": 1024, "height": 1024, "cfg_scale": 1.0},
)


def told(service, chosen, **values) -> list[tuple[str, str]]:
    body, stock, settings = CheckBody(**values), Stock(service), service.settings.current
    row = Row(id=1, root="/x", name="pixels.safetensors", path="/x/pixels.safetensors", kind=LORA, size=1, mtime=1, changed=1, family="SDXL")  # fmt: skip
    stock.models = lambda kind: [Model(row=row)] if kind == LORA else []  # type: ignore[method-assign]
    counts = counted(body, chosen, stock, settings)
    return [(note["field"], note["text"]) for note in notes_on(body, chosen, counts, stock, settings)]


def test_a_network_of_another_family(service):
    ((field, text),) = told(service, SD1, prompt="a <lora:pixels:1>")
    assert (field, text.startswith('The LoRA "pixels" is for SDXL, "v1-5.safetensors" is SD1')) == ("prompt", True)
    assert told(service, Chosen(name="xl", family="SDXL"), prompt="a <lora:pixels:1>") == []


def test_sizes(service):
    assert told(service, SD1, width=512, height=704) == []
    ((field, text),) = told(service, SD1, width=1536, height=768)
    assert (field, "Set 704 x 384, and Hires. fix for more" in text) == ("width", True)
    assert "come to nothing" in told(service, SD1, width=128, height=128)[0][1]


def test_guidance(service):
    assert told(service, SD1, cfg_scale=7) == []
    assert told(service, SD1, cfg_scale=22)[0][0] == "cfg_scale"
    assert "distilled" in told(service, FLUX, cfg_scale=7)[0][1]
    turbo = Chosen(name="realTurbo_v2.safetensors", family="SDXL", defaults={"cfg_scale": 7.0})
    assert "Set 1 to 2" in told(service, turbo, cfg_scale=7)[0][1]
    ((field, text),) = told(service, FLUX, cfg_scale=1, negative_prompt="blur")
    assert (field, "no effect" in text) == ("negative_prompt", True)


def test_length_without_chunks(service):
    assert told(service, FLUX, prompt="cat " * 300) == []
    assert "was trained with 512" in told(service, FLUX, prompt="cat " * 600)[0][1]
