"""The reader of ComfyUI's graphs: from the node that saved the picture back through its samplers to their settings."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from modules.images.metadata.comfyui_graph import Graph, Node, from_prompt, from_workflow, is_link
from modules.images.metadata.comfyui_parts import Model, Prompt, model_of, prompt_of
from modules.images.metadata.loose import number, parse_object, size, whole, words
from modules.images.metadata.names import comfy_sampler, comfy_schedule
from modules.images.metadata.reading import Carried, Reading, in_infotext

PROGRAM = "ComfyUI"
_PLACES = (
    ("prompt", "", from_prompt),
    ("exif Model", "prompt:", from_prompt),  # WEBP files
    ("exif Make", "prompt:", from_prompt),
    ("workflow", "", from_workflow),
    ("exif Make", "workflow:", from_workflow),
    ("exif ImageDescription", "workflow:", from_workflow),
    ("exif ImageDescription", "Workflow:", from_workflow),
)
_NOISE = ("ancestral", "sde", "lcm", "ddpm", "er_sde", "seeds", "sa_solver")  # in names of samplers that draw noise


def read(carried: Carried) -> Reading | None:
    """The graph that was run, else the one of the editor."""
    broken = ""
    for place, begins, build in _PLACES:
        text = carried.first(place)
        if not text.startswith(begins) or not (text := text.removeprefix(begins).strip()):
            continue
        found = parse_object(text)
        graph = build(found) if found is not None else None
        if graph is not None:
            return _mapped(graph, carried)
        if place in ("prompt", "workflow") and text.startswith("{"):
            broken = f'Its text "{place}" holds no valid graph.'
    return Reading(program=PROGRAM, unmapped=(broken,)) if broken else None


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One sampler node's settings, its wires followed."""

    node: Node
    seed: int | None
    steps: int | None
    cfg: int | float | None
    sampler: str
    schedule: str
    denoise: int | float | None
    start: int | None
    end: int | None
    model: Node | None
    positive: Node | None
    negative: Node | None


def is_sampler(node: Node) -> bool:
    """Whether a node draws: it has latents and the wires of one of ComfyUI's samplers."""
    inputs = node.inputs
    if "guider" in inputs and "sigmas" in inputs:
        return True
    drawn = "seed" in inputs or "noise_seed" in inputs
    return drawn and is_link(inputs.get("model")) and ("steps" in inputs or "sigmas" in inputs) and "positive" in inputs


def _mapped(graph: Graph, carried: Carried) -> Reading:
    chain = _chain(graph)
    if not chain:
        return Reading(program=PROGRAM, unmapped=("Its graph has no sampler that is known here.",))
    last, between = chain[0], chain[-1]  # from the picture backwards: the first drawn is the last in the list
    base = _pass(graph, between)
    model = model_of(graph, base.model)
    positive = prompt_of(graph, base.positive, "positive")
    negative = prompt_of(graph, base.negative, "negative")
    unmapped = [*model.unmapped, *positive.unmapped, *negative.unmapped]
    fields = _base_fields(graph, base, model, positive, carried, unmapped)
    if last is not between:
        fields |= _later_fields(graph, base, _pass(graph, chain[-2]), model, unmapped)
        if len(chain) > 2:
            unmapped.append(f"It was drawn in {len(chain)} passes, of which the first two are told.")
    fields |= {f"ControlNet {index}": text for index, text in enumerate(positive.controls)}
    if positive.controls:
        unmapped.append("Its ControlNets' pictures are not in the file.")
    if ":" in positive.text and "(" in positive.text:
        unmapped.append("ComfyUI weighs (words:1.2) a little otherwise than A1111.")
    return in_infotext(
        PROGRAM,
        prompt=" ".join([positive.text, *model.loras]).strip(),
        negative_prompt=negative.text,
        fields={**fields, "Version": PROGRAM},
        unmapped=unmapped,
    )


def _chain(graph: Graph) -> list[Node]:
    """The samplers behind the saved picture, the last first."""
    for start in _outputs(graph):
        found: list[Node] = []
        node: Node | None = start
        while node is not None and len(found) < 16:
            seen = {sampler.id for sampler in found}
            node = next((n for n in graph.above(node, is_sampler) if is_sampler(n) and n.id not in seen), None)
            if node is None:
                break
            found.append(node)
            node = graph.at(node.inputs.get("latent_image")) or graph.at(node.inputs.get("latent"))
        if found:
            return found
    return []


def _outputs(graph: Graph) -> Iterator[Node]:
    """Nodes that pictures end in: those that save, then those that show, then any sampler."""
    savers = [node for node in graph.nodes.values() if "save" in node.kind.lower() and list(graph.links(node))]
    showers = [node for node in graph.nodes.values() if "preview" in node.kind.lower() and list(graph.links(node))]
    used = {found.id for node in graph.nodes.values() for _, found in graph.links(node)}
    ends = [node for node in graph.nodes.values() if node.id not in used]
    yield from (*savers, *showers, *ends)
    yield from (node for node in graph.nodes.values() if is_sampler(node))


def _pass(graph: Graph, node: Node) -> Pass:
    """The settings of a sampler; those of custom samplers stand in nodes of their own."""
    at = {name: graph.at(node.inputs.get(name)) for name in ("guider", "noise", "sampler", "sigmas")}
    guider, noise, selected, sigmas = at["guider"], at["noise"], at["sampler"], at["sigmas"]
    conditioned = guider or node
    cfg = number(graph.value(conditioned, "cfg")) if "cfg" in conditioned.inputs else None
    seed = (
        graph.value(noise, "noise_seed")
        if noise
        else graph.value(node, "seed" if "seed" in node.inputs else "noise_seed")
    )
    steps = graph.value(sigmas, "steps") if sigmas else graph.value(node, "steps")
    return Pass(
        node=node,
        seed=whole(seed),
        steps=whole(steps),
        cfg=1 if guider is not None and cfg is None else cfg,
        sampler=_selected(graph, selected) if selected else words(graph.value(node, "sampler_name")),
        schedule=_schedule(graph, sigmas) if sigmas else words(graph.value(node, "scheduler")),
        denoise=number(graph.value(sigmas or node, "denoise")),
        start=whole(graph.value(node, "start_at_step")),
        end=whole(graph.value(node, "end_at_step")),
        model=graph.at(conditioned.inputs.get("model")),
        positive=graph.at(conditioned.inputs.get("positive")) or graph.at(conditioned.inputs.get("conditioning")),
        negative=graph.at(conditioned.inputs.get("negative")),
    )


def _selected(graph: Graph, node: Node) -> str:
    """The sampler's name: in KSamplerSelect a value, else the node is called after it (SamplerEulerAncestral)."""
    named = words(graph.value(node, "sampler_name"))
    kinds = {
        "SamplerEulerAncestral": "euler_ancestral",
        "SamplerDPMPP_2M_SDE": "dpmpp_2m_sde",
        "SamplerDPMPP_3M_SDE": "dpmpp_3m_sde",
        "SamplerDPMPP_SDE": "dpmpp_sde",
        "SamplerDPMPP_2S_Ancestral": "dpmpp_2s_ancestral",
        "SamplerLMS": "lms",
        "SamplerLCM": "lcm",
    }
    return named or kinds.get(node.kind, node.kind)


def _schedule(graph: Graph, node: Node) -> str:
    named = words(graph.value(node, "scheduler"))
    kinds = {
        "KarrasScheduler": "karras",
        "ExponentialScheduler": "exponential",
        "PolyexponentialScheduler": "polyexponential",
        "AlignYourStepsScheduler": "align_your_steps",
        "SDTurboScheduler": "turbo",
        "BetaSamplingScheduler": "beta",
    }
    return named or kinds.get(node.kind, node.kind)


def _base_fields(
    graph: Graph, base: Pass, model: Model, positive: Prompt, carried: Carried, unmapped: list[str]
) -> dict[str, Any]:
    sampler, schedule = comfy_sampler(base.sampler), comfy_schedule(base.schedule)
    for kind, said, known in (("sampler", base.sampler, sampler), ("scheduler", base.schedule, schedule)):
        if said and known is None:
            unmapped.append(f'Its {kind} "{said[:60]}" is not known here.')
    source = list(graph.above(graph.at(base.node.inputs.get("latent_image")), lambda node: False))
    empty = next((n for n in source if "Empty" in n.kind and "width" in n.inputs and "height" in n.inputs), None)
    first = empty is None and any("LoadImage" in n.kind or "VAEEncode" in n.kind for n in source)
    if first:
        unmapped.append("It was made from a first picture, which the file does not hold.")
    sides = size(graph.value(empty, "width"), graph.value(empty, "height"))
    flux = positive.guidance is not None
    modules = [*_vaes(graph), *positive.clips] if model.alone else []
    return {
        "Steps": base.steps,
        "Sampler": sampler or base.sampler[:100],
        "Schedule type": schedule,
        "CFG scale": base.cfg,
        "Distilled CFG Scale": positive.guidance if flux else None,
        "Seed": base.seed,
        "Size": sides or size(carried.width, carried.height),
        "Model": model.name,
        "VAE": None if model.alone else next((name for name in _vaes(graph)), None),
        **{f"Module {index}": name for index, name in enumerate(modules, start=1)},
        "Denoising strength": base.denoise if first else None,
        "Clip skip": positive.clip_skip if positive.clip_skip and positive.clip_skip > 1 else None,
        "Batch size": (whole(graph.value(empty, "batch_size")) or 1)
        if (whole(graph.value(empty, "batch_size")) or 1) > 1
        else None,
        "RNG": "CPU",
        "Restarted noise": True if any(part in base.sampler for part in _NOISE) else None,
        **model.fields,
    }


def _vaes(graph: Graph) -> list[str]:
    """The files of separate VAEs, without folders."""
    names = [
        words(node.inputs["vae_name"]) for node in graph.nodes.values() if isinstance(node.inputs.get("vae_name"), str)
    ]
    return list(dict.fromkeys(name.replace("\\", "/").rsplit("/", 1)[-1] for name in names if name))


def _later_fields(graph: Graph, base: Pass, later: Pass, model: Model, unmapped: list[str]) -> dict[str, Any]:
    """A second pass: a refiner that goes on where the first stopped, or hires fix."""
    other = model_of(graph, later.model)
    if base.end is not None and later.start and base.steps and later.start < base.steps:
        if other.name == model.name:
            return {}
        return {"Refiner": other.name, "Refiner switch at": round(later.start / base.steps, 4)}
    between = list(graph.above(graph.at(later.node.inputs.get("latent_image")), is_sampler))
    scaled = next((n for n in between if "scale_by" in n.inputs or "upscale_by" in n.inputs), None)
    sized = next((n for n in between if "width" in n.inputs and "height" in n.inputs and "Upscale" in n.kind), None)
    modelled = next((n for n in between if "upscale_model" in n.inputs), None)
    method = words(graph.value(scaled or sized, "upscale_method")) if scaled or sized else ""
    latent = {"nearest-exact": "Latent (nearest-exact)", "bicubic": "Latent (bicubic)"}.get(method, "Latent")
    loader = graph.at(modelled.inputs.get("upscale_model")) if modelled else None
    if other.name != model.name and other.name:
        unmapped.append(f'Its second pass uses the model "{other.name[:100]}".')
    by = number(graph.value(scaled, "scale_by")) or number(graph.value(scaled, "upscale_by"))
    return {
        "Denoising strength": later.denoise,
        "Hires upscale": by,
        "Hires resize": size(graph.value(sized, "width"), graph.value(sized, "height")) if by is None else None,
        "Hires steps": later.steps,
        "Hires upscaler": words(graph.value(loader, "model_name")).rsplit(".", 1)[0] if loader else latent,
    }
