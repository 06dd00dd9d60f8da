"""What the wires into a sampler of ComfyUI's graph bring: its model with LoRAs and patches, its prompts with ControlNets."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from modules.images.metadata.comfyui_graph import Graph, Node
from modules.images.metadata.loose import number, stem, whole, words

LOADERS = ("ckpt_name", "unet_name", "model_name", "base_ckpt_name")
_CLIPS = ("clip_name", "clip_name1", "clip_name2", "clip_name3", "clip_name4")
_HARMLESS = ("Reroute", "ModelSamplingDiscrete", "PatchModelAddDownscale", "TorchCompileModel", "DifferentialDiffusion")


@dataclass(kw_only=True)
class Model:
    """Found along the model's wire: the file, the separate files, LoRAs as prompt tags, infotext fields, what has no counterpart."""

    name: str = ""
    alone: bool = False
    loras: list[str] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    unmapped: list[str] = field(default_factory=list)


def model_of(graph: Graph, start: Node | None) -> Model:
    """What comes through the wire "model"."""
    found = Model()
    for node in graph.along(start, "model"):
        name = next((key for key in LOADERS if isinstance(node.inputs.get(key), str)), None)
        if name and "lora" not in node.kind.lower():
            found.name = found.name or stem(node.inputs[name])
            found.alone = name == "unet_name"
            if "lora_name" in node.inputs:  # loaders of everything at once
                found.loras[:0] = _loras(graph, node)
        elif loras := _loras(graph, node):
            found.loras[:0] = loras  # the farthest first
        elif not _patch(graph, node, found) and "lora" not in node.kind.lower() and node.kind not in _HARMLESS:
            found.unmapped.append(
                f'The node "{node.kind[:60]}" changes the model in a way that has no counterpart here.'
            )
    return found


def _loras(graph: Graph, node: Node) -> list[str]:
    """A LoRA, or the list of a node that holds several ("Power Lora Loader": {"on", "lora", "strength"})."""
    found = []
    if (name := stem(node.inputs.get("lora_name"))) and name != "None":
        weight = _weight(graph.value(node, "strength_model" if "strength_model" in node.inputs else "strength"))
        clip = _weight(graph.value(node, "strength_clip")) if "strength_clip" in node.inputs else weight
        found.append(f"<lora:{name}:{weight}>" if clip == weight else f"<lora:{name}:{clip}:{weight}>")
    for value in node.inputs.values():
        if isinstance(value, dict) and value.get("on") is not False and (name := stem(value.get("lora"))):
            found.append(f"<lora:{name}:{_weight(value.get('strength'))}>")
    return found


def _weight(value: Any) -> int | float:
    found = number(value)
    return 1 if found is None else found


def _patch(graph: Graph, node: Node, found: Model) -> bool:
    """Patches that have a counterpart, or a sentence of their own."""
    if node.kind in ("FreeU", "FreeU_V2"):
        found.fields |= {"freeu_enabled": True, "freeu_version": 2 if node.kind == "FreeU_V2" else 1}
        found.fields |= {f"freeu_{key}": number(graph.value(node, key)) for key in ("b1", "b2", "s1", "s2")}
    elif node.kind == "RescaleCFG":
        found.fields["CFG Rescale phi"] = number(graph.value(node, "multiplier"))
    elif node.kind == "PerturbedAttentionGuidance":
        found.fields |= {"pag_enabled": True, "pag_scale": number(graph.value(node, "scale"))}
    elif node.kind == "TomePatchModel":
        found.fields["Token merging ratio"] = number(graph.value(node, "ratio"))
    elif node.kind.startswith("ModelSampling") and any("shift" in key for key in node.inputs):
        values = ", ".join(f"{key} {number(graph.value(node, key))}" for key in node.inputs if "shift" in key)
        found.unmapped.append(f"{node.kind[:60]} ({values}) has no counterpart here: the model's own shift is used.")
    else:
        return False
    return True


@dataclass(kw_only=True)
class Prompt:
    """Found along a prompt's wire: the text in A1111's language, FLUX's guidance, ControlNets, clip skip and text encoders."""

    text: str = ""
    guidance: int | float | None = None
    controls: list[str] = field(default_factory=list)
    clip_skip: int | None = None
    clips: list[str] = field(default_factory=list)
    unmapped: list[str] = field(default_factory=list)


def prompt_of(graph: Graph, start: Node | None, side: str) -> Prompt:
    """What comes through the wire `side` ("positive", "negative" or "conditioning")."""
    found = Prompt()
    found.text = _text(graph, start, side, found, set())
    return found


def _text(graph: Graph, node: Node | None, side: str, found: Prompt, seen: set[str]) -> str:
    while node is not None and node.id not in seen and len(seen) < 500:
        seen.add(node.id)
        if node.kind == "ConditioningZeroOut":
            return ""
        if node.kind in ("ConditioningCombine", "ConditioningConcat", "ConditioningAverage"):
            return _two(graph, node, side, found, seen)
        if node.kind == "FluxGuidance" or "guidance" in node.inputs:
            found.guidance = found.guidance or number(graph.value(node, "guidance"))
        if control := _control(graph, node):
            found.controls.append(control)
        text = _own_text(graph, node, side)
        if text is not None:
            _encoder(graph, node, found)
            return text
        onward = graph.at(node.inputs.get(side)) or graph.at(node.inputs.get("conditioning"))
        others = [other for _, other in graph.links(node)]
        if onward is not None and not _known(node) and len(others) > 1:
            found.unmapped.append(
                f'The node "{node.kind[:60]}" changes the prompt in a way that has no counterpart here.'
            )
        node = onward or (others[0] if len(others) == 1 else None)
    return ""


def _known(node: Node) -> bool:
    return node.kind.startswith(("FluxGuidance", "ControlNetApply", "Reroute", "InpaintModelConditioning"))


def _two(graph: Graph, node: Node, side: str, found: Prompt, seen: set[str]) -> str:
    names = {
        "ConditioningCombine": ("conditioning_1", "conditioning_2", " AND "),
        "ConditioningConcat": ("conditioning_to", "conditioning_from", " BREAK "),
        "ConditioningAverage": ("conditioning_to", "conditioning_from", " "),
    }
    one, two, between = names[node.kind]
    if node.kind == "ConditioningAverage":
        found.unmapped.append(
            "It averages two prompts, which has no counterpart here: they stand one behind the other."
        )
    texts = [_text(graph, graph.at(node.inputs.get(name)), side, found, seen) for name in (one, two)]
    return between.join(text for text in texts if text)


def _own_text(graph: Graph, node: Node, side: str) -> str | None:
    """The prompt in a node that encodes one; None for other nodes."""
    if node.kind == "CLIPTextEncodeFlux":
        return graph.text(node, "t5xxl") or graph.text(node, "clip_l")
    if "text_g" in node.inputs:
        first, second = graph.text(node, "text_g"), graph.text(node, "text_l")
        return first if second in ("", first) else f"{first}\n{second}"
    if "clip" in node.inputs or "Encode" in node.kind:
        for name in ("text", "prompt", side):
            if name in node.inputs and (text := graph.text(node, name)):
                return text
        return "" if "text" in node.inputs or "prompt" in node.inputs else None
    if any(isinstance(node.inputs.get(key), str) for key in LOADERS) and isinstance(node.inputs.get(side), str):
        return words(node.inputs[side])  # loaders of everything at once
    return None


def _control(graph: Graph, node: Node) -> str | None:
    """A1111's text about one ControlNet."""
    loader = graph.at(node.inputs.get("control_net"))
    if loader is None or "strength" not in node.inputs:
        return None
    name = next((stem(value) for key in ("control_net_name", "model") for value in _names(graph, loader, key)), "")
    start, end = number(graph.value(node, "start_percent")), number(graph.value(node, "end_percent"))
    parts = {
        "Module": "none",
        "Model": name,
        "Weight": _weight(graph.value(node, "strength")),
        "Guidance Start": 0 if start is None else start,
        "Guidance End": 1 if end is None else end,
    }
    return ", ".join(f"{key}: {value}" for key, value in parts.items())


def _names(graph: Graph, start: Node, key: str) -> Iterator[Any]:
    """The loader may stand behind one that says of which type a union is."""
    for node in graph.along(start, "control_net"):
        if isinstance(node.inputs.get(key), str):
            yield node.inputs[key]


def _encoder(graph: Graph, node: Node, found: Prompt) -> None:
    """Clip skip and the text encoders' files, along the wire "clip"."""
    for part in graph.along(graph.at(node.inputs.get("clip")), "clip"):
        skipped = whole(graph.value(part, "stop_at_clip_layer"))
        if skipped is not None and found.clip_skip is None and -12 <= skipped <= -1:
            found.clip_skip = -skipped
        for key in _CLIPS:
            if isinstance(part.inputs.get(key), str) and (name := words(part.inputs[key])):
                found.clips.append(name.replace("\\", "/").rsplit("/", 1)[-1])
