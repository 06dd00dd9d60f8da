"""ComfyUI's graphs: nodes by id, and how to walk them against the arrows. Any input is walked in bounded time."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from modules.images.metadata.loose import mapping, sequence, words

MAX_NODES = 5000
_DEPTH = 64
_LONGEST = 100_000
_TEXTS = ("text", "value", "string", "prompt", "positive", "Text", "wildcard_text", "populated_text", "text_positive")
_JOINED = (
    "text_a",
    "text_b",
    "text_c",
    "text_d",
    "string_a",
    "string_b",
    "text1",
    "text2",
    "text3",
    "string1",
    "string2",
)
_NUMBERS = ("value", "int", "float", "seed", "noise_seed", "number", "Number", "Value", "INT", "FLOAT")

# The names of the values in a node's box, in order; of what only the editor's own file ("workflow") tells.
_WIDGETS = {
    "KSampler": ("seed", "", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (
        *("add_noise", "noise_seed", "", "steps", "cfg", "sampler_name", "scheduler", "start_at_step", "end_at_step"),
        "return_with_leftover_noise",
    ),
    "CLIPTextEncode": ("text",),
    "CLIPTextEncodeFlux": ("clip_l", "t5xxl", "guidance"),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "UnetLoaderGGUF": ("unet_name",),
    "VAELoader": ("vae_name",),
    "CLIPLoader": ("clip_name", "type"),
    "DualCLIPLoader": ("clip_name1", "clip_name2", "type"),
    "TripleCLIPLoader": ("clip_name1", "clip_name2", "clip_name3"),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "CLIPSetLastLayer": ("stop_at_clip_layer",),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "EmptySD3LatentImage": ("width", "height", "batch_size"),
    "LatentUpscale": ("upscale_method", "width", "height", "crop"),
    "LatentUpscaleBy": ("upscale_method", "scale_by"),
    "ControlNetLoader": ("control_net_name",),
    "ControlNetApply": ("strength",),
    "ControlNetApplyAdvanced": ("strength", "start_percent", "end_percent"),
    "FluxGuidance": ("guidance",),
    "ModelSamplingFlux": ("max_shift", "base_shift", "width", "height"),
    "ModelSamplingSD3": ("shift",),
    "RandomNoise": ("noise_seed", ""),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "CFGGuider": ("cfg",),
    "PrimitiveNode": ("value", ""),
    "PrimitiveString": ("value",),
    "PrimitiveStringMultiline": ("value",),
    "PrimitiveInt": ("value", ""),
    "PrimitiveFloat": ("value",),
}


@dataclass(frozen=True, kw_only=True)
class Node:
    """One box: `inputs` hold values and links ([id, slot])."""

    id: str
    kind: str
    inputs: Mapping[str, Any] = field(default_factory=dict)


class Graph:
    """All boxes by their ids."""

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self.nodes = nodes

    def at(self, link: Any) -> Node | None:
        """The node at the other end of a link."""
        return self.nodes.get(str(link[0])) if is_link(link) else None

    def links(self, node: Node) -> Iterator[tuple[str, Node]]:
        """(input's name, node) of everything that goes into a node."""
        for name, value in node.inputs.items():
            found = self.at(value)
            if found is not None:
                yield name, found

    def above(self, start: Node | None, stop: Callable[[Node], bool]) -> Iterator[Node]:
        """`start` and all nodes that it comes from, nearest first; not what is beyond those where it stops."""
        pending, seen = ([start] if start else []), set()
        while pending:
            node = pending.pop(0)
            if node.id in seen:
                continue
            seen.add(node.id)
            yield node
            if not stop(node):
                pending.extend(found for _, found in self.links(node))

    def along(self, start: Node | None, name: str) -> Iterator[Node]:
        """`start`, then what its input `name` comes from, and so on; a node without such an input ends it."""
        node, seen = start, set()
        while node is not None and node.id not in seen:
            seen.add(node.id)
            yield node
            onward = self.at(node.inputs.get(name))
            if onward is None:  # switches and reroutes call it otherwise
                others = [found for _, found in self.links(node)]
                onward = others[0] if len(others) == 1 and name not in node.inputs and passes(node) else None
            node = onward

    def value(self, node: Node | None, name: str) -> Any:
        """An input's value, through nodes that only hold one."""
        found = node.inputs.get(name) if node else None
        for _ in range(_DEPTH):
            if not is_link(found):
                return found
            holder = self.at(found)
            if holder is None:
                return None
            found = next((holder.inputs[key] for key in _NUMBERS if key in holder.inputs), None)
        return None

    def text(self, node: Node | None, name: str) -> str:
        """An input's text, through nodes that hold and join texts."""
        return self._text(node, name, {}, 0)

    def _text(self, node: Node | None, name: str, known: dict[str, str], depth: int) -> str:
        found = node.inputs.get(name) if node else None
        if isinstance(found, str):
            return words(found)
        holder = self.at(found)
        if holder is None or depth > _DEPTH:
            return ""
        if holder.id not in known:
            known[holder.id] = ""  # while it is being found: graphs may go in circles
            parts = (self._text(holder, key, known, depth + 1) for key in _JOINED if key in holder.inputs)
            joined = words(holder.inputs.get("delimiter", ", ")).join(part for part in parts if part)
            single = (self._text(holder, key, known, depth + 1) for key in _TEXTS if key in holder.inputs)
            known[holder.id] = (joined or next((text for text in single if text), ""))[:_LONGEST]
        return known[holder.id]


def is_link(value: Any) -> bool:
    """Whether an input is a link to another node's output."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], (str, int))
        and isinstance(value[1], int)
        and not isinstance(value[1], bool)
    )


def passes(node: Node) -> bool:
    """Whether a node hands on what goes into it, as far as its name tells."""
    return any(part in node.kind.lower() for part in ("reroute", "switch", "pipe", "get", "set", "anything"))


def from_prompt(found: dict[str, Any]) -> Graph | None:
    """The graph that was run ("prompt"), if that is what it is."""
    nodes = {}
    for number, node in list(found.items())[:MAX_NODES]:
        kind = mapping(node).get("class_type")
        if isinstance(kind, str):
            nodes[str(number)] = Node(id=str(number), kind=kind, inputs=mapping(node.get("inputs")))
    return Graph(nodes) if nodes else None


def from_workflow(found: dict[str, Any]) -> Graph | None:
    """The graph in the editor ("workflow"): the values of the boxes that are known here, and all links."""
    ends: dict[Any, list[Any]] = {}
    for link in sequence(found.get("links")):  # [id, from node, from slot, to node, to slot, type]
        if isinstance(link, list) and len(link) >= 5 and isinstance(link[0], int) and isinstance(link[1], int):
            ends[link[0]] = [str(link[1]), link[2] if isinstance(link[2], int) else 0]
    nodes = {}
    for node in sequence(found.get("nodes"))[:MAX_NODES]:
        box = mapping(node)
        kind, number = box.get("type"), box.get("id")
        if not isinstance(kind, str) or not isinstance(number, (int, str)) or box.get("mode") == 2:  # 2: muted
            continue
        values = box.get("widgets_values")
        inputs = (
            dict(values)
            if isinstance(values, dict)
            else dict(zip(_WIDGETS.get(kind, ()), sequence(values), strict=False))
        )
        for entry in map(mapping, sequence(box.get("inputs"))):
            number_of_link = entry.get("link")
            if isinstance(entry.get("name"), str) and isinstance(number_of_link, int) and number_of_link in ends:
                inputs[entry["name"]] = ends[number_of_link]
        nodes[str(number)] = Node(id=str(number), kind=kind, inputs=inputs)
    return Graph(nodes) if nodes else None
