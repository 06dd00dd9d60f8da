"""Networks put on a loaded model for a job, as its prompt asks, and taken off after it."""

import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from modules.core.errors import InputError, nearest
from modules.core.paths import HYPERNETWORK, LORA
from modules.devices.memory import free_memory
from modules.families.model import LoadedModel
from modules.networks.altering import Altering, compiled_parts
from modules.networks.embeddings import PLAIN, Embedding
from modules.networks.families import family_words, told_family
from modules.networks.files import NetworkFile
from modules.networks.finder import Finder, Stamp
from modules.networks.fitting import Fitted, fit
from modules.networks.hypernetworks import Hypernetwork, attached
from modules.networks.naming import UNET
from modules.networks.patch import Patched, Use, touched
from modules.networks.tags import HYPERNETWORKS, KINDS, LORAS, Wanted, read_tag
from modules.networks.targets import Targets
from modules.networks.vectors import Encoders
from modules.prompting.tags import Tag
from modules.prompting.tokenizer import build_tokenizer, token_ids
from modules.prompting.words import Words

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a job asks for: the tags in its prompt, the texts of its prompts, the negative ones first, its settings, its steps."""

    tags: Sequence[Tag]
    texts: Sequence[str]
    options: Mapping[str, Any]
    steps: int


@dataclass(frozen=True, kw_only=True)
class Worn:
    """What a model wears. `key` changes whenever prompts are encoded differently; `fields` are for the infotext; `at(step)` is called
    at the beginning and after each step."""

    key: Hashable = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    at: Callable[[int], None] = lambda step: None


@dataclass(frozen=True, kw_only=True)
class _Lora:
    wanted: Wanted
    file: NetworkFile
    stamp: Stamp
    fitted: Fitted


@dataclass(frozen=True)
class _Last:
    """What was put on last: of which network, for what, and the changed tensors."""

    backbone: weakref.ref[nn.Module]
    key: Hashable
    patched: Patched


class ExtraNetworks:
    """All networks of one installation. Not for several threads at once. `free` tells how many bytes a device has left."""

    def __init__(self, finder: Finder, free: Callable[[torch.device], int] = free_memory) -> None:
        self._finder = finder
        self._free = free
        self._last: dict[str, _Last] = {}

    def asks(self, asked: Asked) -> str | None:
        """What of it changes how a model computes, in the prompt's words; None if nothing does."""
        for tag in asked.tags:
            name = tag.arguments[0] if tag.arguments else ""
            kind = LORA if tag.kind in LORAS else HYPERNETWORK if tag.kind in HYPERNETWORKS else None
            if kind and self._finder.has(kind, name):
                return f"<{tag.kind}:{name}>"
        embeddings, _ = self._finder.embeddings()
        if not embeddings:
            return None
        tokenizer = build_tokenizer()
        words = Words((e.name, tuple(token_ids(tokenizer, e.name)), e.count) for e in embeddings)
        named = (word.name for text in asked.texts for word in words.within(token_ids(tokenizer, text)))
        return next((f'the embedding "{name}"' for name in named), None)

    @contextmanager
    def applied(
        self, model: LoadedModel, asked: Asked, tell: Tell, settle: Callable[[], None] = lambda: None
    ) -> Iterator[Worn]:
        """The model with what the prompt names; `tell` hears what is missing or fits in part.

        `settle` is called before weights are exchanged: no policy may have lent any then. Raises InputError for a tag that says
        nothing, and for a network of which no layer fits, ModelFileError for a file that cannot be used.
        """
        wanted = self._wanted(asked, tell)
        loras = self._loras([w for w in wanted if w.kind in LORAS], model, tell)
        hypernetworks = self._hypernetworks([w for w in wanted if w.kind in HYPERNETWORKS], tell)
        with ExitStack() as stack:
            stack.callback(settle)
            settle()
            text = [use for lora in loras for use in lora.fitted.uses(lora.wanted) if use.target.role != UNET]
            self._put_on(stack, "text", model, tuple(_key(lora) for lora in loras), text)
            phases = _Phases(loras, asked.steps)
            worn_now = _Wearing(self, model, phases, settle)
            stack.callback(worn_now.off)
            worn_now.at(0)
            reached = stack.enter_context(attached(model.backbone, hypernetworks))
            if hypernetworks and not reached:
                raise InputError(
                    "prompt", _no_place(hypernetworks[0][0].name, "", model, len(hypernetworks[0][0].pairs))
                )
            used, key = self._know(stack, model, loras, asked, tell)
            yield Worn(
                key=(tuple(_key(lora) for lora in loras), key),
                fields=self._fields(loras, used, asked.options),
                at=worn_now.at,
            )

    # -- finding --

    def _wanted(self, asked: Asked, tell: Tell) -> list[Wanted]:
        default = asked.options["extra_networks_default_multiplier"]
        for kind in sorted({tag.kind for tag in asked.tags} - {*KINDS}):
            tell(
                f"<{kind}:...> in the prompt has no effect: networks are named by <lora:...>, <lyco:...> or <hypernet:...>."
            )
        return [read_tag(tag, default) for tag in asked.tags if tag.kind in KINDS]

    def _loras(self, wanted: Sequence[Wanted], model: LoadedModel, tell: Tell) -> list[_Lora]:
        found, missing = [], []
        targets: Targets | None = None
        for one in wanted:
            named = self._finder.lora(one.name)
            if named is None:
                missing.append(one.name)
                continue
            file, stamp = named
            targets = targets or Targets(model)
            fitted = fit(file, one, targets, model.name)
            if not fitted.count and file.changes:
                raise InputError("prompt", _no_place(one.name, file.family, model, fitted.total))
            if fitted.count < fitted.total or file.odd:
                tell(_partly(one.name, file, fitted, model))
            found.append(_Lora(wanted=one, file=file, stamp=stamp, fitted=fitted))
        if missing:
            tell(f"Networks not found: {', '.join(missing)}. {nearest(missing[0], self._finder.names(LORA))}")
        return found

    def _hypernetworks(self, wanted: Sequence[Wanted], tell: Tell) -> list[tuple[Hypernetwork, float]]:
        found, missing = [], []
        for one in wanted:
            named = self._finder.hypernetwork(one.name)
            if named:
                found.append((named[0], one.text))
            else:
                missing.append(one.name)
        if missing:
            tell(
                f"Hypernetworks not found: {', '.join(missing)}. {nearest(missing[0], self._finder.names(HYPERNETWORK))}"
            )
        return found

    # -- putting on --

    def _put_on(self, stack: ExitStack, place: str, model: LoadedModel, key: Hashable, uses: Sequence[Use]) -> None:
        patched = self.patched(place, model, key, uses)
        if patched:
            stack.callback(patched.take_out)
            patched.put_in()

    def patched(self, place: str, model: LoadedModel, key: Hashable, uses: Sequence[Use]) -> Patched | Altering | None:
        """The changes of one part of a model; those computed last are used again where nothing differs. None without any."""
        last = self._last.pop(place, None)
        if not uses:
            return None
        if parts := compiled_parts(model):
            return Altering(uses, parts, place, key)
        of_this = last is not None and last.backbone() is model.backbone
        if last and of_this and last.key == key:
            patched = last.patched
        else:
            device = model.compute.device
            spare = last.patched.tensors if last and of_this else None
            lean = device.type != "cpu" and touched(uses, device) > self._free(device) // 2
            patched = Patched(uses, device, spare, lean=lean)
        if model.compute.device.type == "cpu":  # elsewhere computing anew is quick, and memory is short
            gone: Callable[[object], object] = lambda _: self._last.pop(place, None)  # noqa: E731
            self._last[place] = _Last(weakref.ref(model.backbone, gone), key, patched)
        return patched

    def _know(
        self, stack: ExitStack, model: LoadedModel, loras: Sequence[_Lora], asked: Asked, tell: Tell
    ) -> tuple[dict[str, str], Hashable]:
        """Let the prompts name embeddings; those that they do, with their hashes, and a key of them."""
        encoders = Encoders(model)
        bundled = [
            Embedding(name=name, vectors={PLAIN: vectors.float().reshape(-1, vectors.shape[-1])})
            for lora in loras
            for name, vectors in lora.file.bundled.items()
        ]
        found, _ = self._finder.embeddings()
        every = {e.name.casefold(): e for e in (*found, *bundled)}.values()
        words = encoders.words(list(every))
        names = {w.name: None for p in encoders.prompts[:1] for text in asked.texts for w in p.words_in(text, words)}
        named = [e for e in every if e.name in names]
        usable = [e for e in named if encoders.table(e)]
        for one in named:
            if one not in usable:
                widths = " and ".join(str(v.shape[1]) for v in one.vectors.values())
                tell(
                    f'"{one.name}" in the prompt is an embedding {widths} wide, which "{model.name}" cannot use: it stays text.'
                )
        if usable:
            stack.enter_context(encoders.knowing(usable))
        order = [name for name in names if any(e.name == name for e in usable)]
        by_name = {e.name: e for e in usable}
        hashes = {name: self._finder.embedding_hash(by_name[name]) for name in order}
        owners = {name: lora for lora in loras for name in lora.file.bundled}
        if asked.options["lora_bundled_ti_to_infotext"]:
            hashes |= {n: self._finder.lora_hash(owners[n].wanted.name) for n in order if n in owners}
        return {name: found for name, found in hashes.items() if found}, tuple(sorted(hashes.items()))

    def _fields(self, loras: Sequence[_Lora], used: Mapping[str, str], options: Mapping[str, Any]) -> dict[str, str]:
        """A1111's fields of the infotext."""
        fields = {}
        if loras and options["lora_add_hashes_to_infotext"]:
            names = dict.fromkeys(lora.wanted.name for lora in loras)
            hashes = {name.replace(":", "").replace(",", ""): self._finder.lora_hash(name) for name in names}
            if any(hashes.values()):
                fields["Lora hashes"] = ", ".join(f"{name}: {digits}" for name, digits in hashes.items() if digits)
        if used and options["textual_inversion_add_hashes_to_infotext"]:
            fields["TI hashes"] = ", ".join(f"{name}: {digits}" for name, digits in used.items())
        return fields


class _Phases:
    """Which networks are on at which step."""

    def __init__(self, loras: Sequence[_Lora], steps: int) -> None:
        self._loras = loras
        self._steps = steps

    def at(self, step: int) -> list[_Lora]:
        return [lora for lora in self._loras if self._is_on(lora.wanted, step)]

    def _is_on(self, wanted: Wanted, step: int) -> bool:
        after = wanted.start is None or step >= wanted.start.step(self._steps)
        return after and (wanted.stop is None or step < wanted.stop.step(self._steps))


class _Wearing:
    """The changes of the denoising network that are in at the moment."""

    def __init__(
        self, networks: ExtraNetworks, model: LoadedModel, phases: _Phases, settle: Callable[[], None]
    ) -> None:
        self._networks = networks
        self._model = model
        self._phases = phases
        self._settle = settle
        self._now: list[_Lora] | None = None
        self._patched: Patched | Altering | None = None

    def at(self, step: int) -> None:
        """Change over to what is on from that step."""
        loras = self._phases.at(step)
        if self._now is not None and [id(lora) for lora in loras] == [id(lora) for lora in self._now]:
            return
        self.off()
        uses = [use for lora in loras for use in lora.fitted.uses(lora.wanted) if use.target.role == UNET]
        self._now = loras
        self._patched = self._networks.patched(UNET, self._model, tuple(_key(lora) for lora in loras), uses)
        if self._patched:
            self._patched.put_in()

    def off(self) -> None:
        """Take off whatever is on."""
        self._settle()
        if self._patched:
            self._patched.take_out()
        self._patched = None


def _key(lora: _Lora) -> Hashable:
    return lora.stamp, lora.wanted


def _no_place(name: str, family: str, model: LoadedModel, count: int) -> str:
    return (
        f'"{name}" is {told_family(family)} and "{model.name}" is {family_words(model.family)}: none of its {count} layers fits. '
        "Remove it from the prompt, or choose a checkpoint that it is for."
    )


def _partly(name: str, file: NetworkFile, fitted: Fitted, model: LoadedModel) -> str:
    odd = f", and {len(file.odd)} of its tensors are of no known kind" if file.odd else ""
    return f'{fitted.count} of the {fitted.total} layers of "{name}" fit "{model.name}"{odd}; the rest has no effect.'
