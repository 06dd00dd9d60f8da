"""What will be done for one request: seeds, batches, names and infotext fields. Pure."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from modules.images.infotext import format_infotext
from modules.prompting.comments import without_comments
from modules.prompting.prompt import Prompt, read_negative, read_prompt
from modules.prompting.schedule import Timeline
from modules.prompting.schedule import schedule as schedule_prompt
from modules.requests.catalogue import Catalogue, SamplerEntry, ScheduleEntry
from modules.requests.control_infotext import told as told_units
from modules.requests.detail import told
from modules.requests.generation import GenerationRequest
from modules.requests.guidance import flattened

VERSION = "Atelier 0.1.0"

# infotext key -> (setting, its default)
CHURN = {
    "Sigma churn": ("s_churn", 0),
    "Sigma tmin": ("s_tmin", 0),
    "Sigma tmax": ("s_tmax", 0),
    "Sigma noise": ("s_noise", 1),
}
OWN_KEYS = ("Denoising strength", "Image CFG scale", "Token merging ratio hr", "Init image hash")
"""Of what a recipe tells, those with a place of their own in the infotext."""

ETA = {  # setting -> (infotext key, its default)
    "eta_ancestral": ("Eta", 1),
    "eta_ddim": ("Eta DDIM", 0),
    "tcd_gamma": ("TCD gamma", 0.3),
}


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Pictures that are drawn together: their positions in the job, their seeds and variation seeds."""

    number: int
    positions: tuple[int, ...]
    seeds: tuple[int, ...]
    subseeds: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A request with everything decided. `options` is the job's settings snapshot, `schedule` what Automatic came to, `vae` the
    name and short hash of the file its autoencoder came from, if that is not the checkpoint, `modules` the separate files, `fields` what the recipe has the infotext
    say, `notes` what a script has it say, before that."""

    request: GenerationRequest
    options: Mapping[str, Any]
    sampler: SamplerEntry
    schedule: ScheduleEntry
    prompt: Prompt
    negative: Prompt
    prompt_fields: Mapping[str, Any]
    batches: tuple[Batch, ...]
    model_name: str
    model_hash: str
    timestamp: str
    inpainting: bool = False
    distilled: bool = False
    float8: bool = False
    vae: tuple[str, str] | None = None
    modules: tuple[str, ...] = ()
    regions: tuple[tuple[Prompt, Prompt], ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    user: str = ""

    @property
    def calls(self) -> int:
        """How often its sampler asks the model, as prompt editing counts."""
        return self.request.steps * (2 if self.sampler.second_order else 1)

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds in order."""
        return tuple(seed for batch in self.batches for seed in batch.seeds)

    @property
    def subseeds(self) -> tuple[int, ...]:
        """All variation seeds in order."""
        return tuple(seed for batch in self.batches for seed in batch.subseeds)

    @property
    def sampling(self) -> dict[str, Any]:
        """The settings with the request's own values over them. As in A1111, a changed s_* setting beats the request."""
        request, found = self.request, dict(self.options)
        if request.eta is not None:
            found.update(dict.fromkeys(ETA, request.eta))
        if request.s_min_uncond is not None:
            found["s_min_uncond"] = request.s_min_uncond
        for name, plain in CHURN.values():
            value = getattr(request, name)
            if value is not None and found[name] == plain:
                found[name] = value
        return found

    def infotext(self, seed: int, subseed: int, guide_fields: Mapping[str, Any]) -> str:
        """A1111's infotext of the picture with those seeds; `guide_fields` tell how its prompts were encoded."""
        request, options = self.request, self.options
        clip_skip = options["CLIP_stop_at_last_layers"]
        source, eta = options["randn_source"], self.sampling.get(self.sampler.eta)
        fields = {
            "Steps": request.steps,
            "Sampler": self.sampler.name,
            "Schedule type": self.schedule.label,
            "CFG scale": request.cfg_scale,
            "Image CFG scale": None,
            "Distilled CFG Scale": request.distilled_cfg_scale if self.distilled else None,
            "Seed": seed,
            "Face restoration": self.faces,
            "Size": f"{request.width}x{request.height}",
            "Model hash": self.model_hash[:10] if options["add_model_hash_to_info"] else None,
            "Model": self.model_name if options["add_model_name_to_info"] else None,
            "FP8 weight": options["fp8_storage"] if self.float8 else None,
            "VAE hash": self.vae[1] if self.vae and options["add_vae_hash_to_info"] else None,
            "VAE": self.vae[0] if self.vae and options["add_vae_name_to_info"] else None,
            **{f"Module {number}": name for number, name in enumerate(self.modules, start=1)},
            "Variation seed": subseed if request.subseed_strength else None,
            "Variation seed strength": request.subseed_strength or None,
            "Seed resize from": f"{request.seed_resize_from_w}x{request.seed_resize_from_h}" if self.resized else None,
            "Denoising strength": None,
            "Conditional mask weight": self.options["inpainting_mask_weight"] if self.inpainting else None,
            "Clip skip": clip_skip if clip_skip > 1 else None,
            "ENSD": (options["eta_noise_seed_delta"] or None) if self.sampler.draws_noise and eta != 0 else None,
            "Token merging ratio": options["token_merging_ratio"] or None,
            "Token merging ratio hr": None,
            "Init image hash": None,
            "RNG": source if source != "GPU" else None,
            "Tiling": self.tiling or None,
            **self.notes,
            **{key: value for key, value in self.fields.items() if value is not None},
            "VAE Encoder": self._rough("sd_vae_encode_method") if "Denoising strength" in self.fields else None,
            "VAE Decoder": self._rough("sd_vae_decode_method"),
            **self.prompt_fields,
            **self._sampling_fields(),
            "CFG Rescale phi": request.cfg_rescale or None,
            **{key: None if value == "" else value for key, value in flattened(request).items()},
            **told_units(request.control),
            **told(request.detail),
            **guide_fields,
            "Version": VERSION if options["add_version_to_infotext"] else None,
            "User": (self.user or None) if options["add_user_name_to_info"] else None,
        }
        return format_infotext(request.prompt, request.negative_prompt, fields)

    def _rough(self, option: str) -> str | None:
        """What a part of the autoencoder's work is done by, if not by it."""
        return self.options[option] if self.options[option] != "Full" else None

    @property
    def tiling(self) -> bool:
        """Do opposite edges meet?"""
        return self.options["tiling"] if self.request.tiling is None else self.request.tiling

    @property
    def faces(self) -> str | None:
        """What restores faces; None if nothing is to."""
        option, wanted = self.options["face_restoration"], self.request.restore_faces
        return self.options["face_restoration_model"] if (option if wanted is None else wanted) else None

    @property
    def resized(self) -> bool:
        """Is the first noise that of another size?"""
        return self.request.seed_resize_from_w > 0 and self.request.seed_resize_from_h > 0

    @property
    def _told(self) -> dict[str, Any]:
        """What `fields` say beyond A1111's own keys."""
        return {key: value for key, value in self.fields.items() if value is not None and key not in OWN_KEYS}

    def _sampling_fields(self) -> dict[str, Any]:
        """A1111's keys for how levels and noise depart from the default; None is left out."""
        options, sampling, entry = self.options, self.sampling, self.sampler
        scheduled = entry.heeds_schedule and self.schedule.label != "Automatic"
        rho = options["rho"] if self.schedule.default_rho not in (-1, options["rho"]) else 0
        found: dict[str, Any] = {
            "Downcast alphas_cumprod": options["use_downcasted_alpha_bar"] or None,
            "Noise Schedule": options["sd_noise_schedule"] if options["sd_noise_schedule"] != "Default" else None,
            "Discard penultimate sigma": options["always_discard_next_to_last_sigma"]
            and not entry.discard_penultimate
            or None,
            "Schedule min sigma": options["sigma_min"] or None if scheduled else None,
            "Schedule max sigma": options["sigma_max"] or None if scheduled else None,
            "Schedule rho": rho or None if scheduled else None,
        }
        if scheduled and self.schedule.label == "Beta":
            found["Beta schedule alpha"] = options["beta_dist_alpha"]
            found["Beta schedule beta"] = options["beta_dist_beta"]
        found["SGM noise multiplier"] = options["sgm_noise_multiplier"] and entry.heeds_schedule or None
        key, plain = ETA.get(entry.eta, ("Eta", None))
        found[key] = sampling[entry.eta] if entry.eta and sampling[entry.eta] != plain else None
        for key, (name, plain) in CHURN.items():
            heeded = entry.s_noise if name == "s_noise" else entry.churn
            found[key] = options[name] if heeded and options[name] != plain else None
        found["Refiner switch by sampling steps"] = options["refiner_switch_by_sample_steps"] or None
        found["Restarted noise"] = (options["restart_noise"] or None) if entry.draws_noise else None
        found["Skip Early CFG"] = options["skip_early_cond"] or None
        found["NGMS"] = sampling["s_min_uncond"] or None
        found["NGMS all steps"] = (sampling["s_min_uncond"] and options["s_min_uncond_all"]) or None
        return found

    def pattern_fields(self, position: int, seed: int) -> dict[str, Any]:
        """The values of file-name patterns for one picture."""
        request = self.request
        return {
            "seed": seed,
            "steps": request.steps,
            "cfg": request.cfg_scale,
            "width": request.width,
            "height": request.height,
            "sampler": self.sampler.name,
            "scheduler": self.schedule.label,
            "model_hash": self.model_hash[:10],
            "model_name": self.model_name,
            "prompt": request.prompt,
            "job_timestamp": self.timestamp,
            "batch_number": position % request.batch_size + 1,
            "generation_number": position + 1,
        }

    def info(self, guide_fields: Mapping[str, Any]) -> dict[str, Any]:
        """What A1111's API tells in `info`, the infotexts aside."""
        request, seeds = self.request, list(self.seeds)
        return {
            "prompt": request.prompt,
            "all_prompts": [request.prompt] * len(seeds),
            "negative_prompt": request.negative_prompt,
            "all_negative_prompts": [request.negative_prompt] * len(seeds),
            "seed": seeds[0],
            "all_seeds": seeds,
            "subseed": self.subseeds[0],
            "all_subseeds": list(self.subseeds),
            "subseed_strength": request.subseed_strength,
            "width": request.width,
            "height": request.height,
            "sampler_name": self.sampler.name,
            "cfg_scale": request.cfg_scale,
            "steps": request.steps,
            "batch_size": request.batch_size,
            "restore_faces": self.faces is not None,
            "face_restoration_model": self.faces,
            "sd_model_name": self.model_name,
            "sd_model_hash": self.model_hash[:10],
            "sd_vae_name": self.vae[0] if self.vae else None,
            "sd_vae_hash": self.vae[1] if self.vae else None,
            "seed_resize_from_w": request.seed_resize_from_w,
            "seed_resize_from_h": request.seed_resize_from_h,
            "denoising_strength": self.fields.get("Denoising strength"),
            "extra_generation_params": {**self.notes, **self._told, **self.prompt_fields, **guide_fields},
            "index_of_first_image": 0,
            "styles": [],
            "job_timestamp": self.timestamp,
            "clip_skip": self.options["CLIP_stop_at_last_layers"],
            "is_using_inpainting_conditioning": self.inpainting,
            "version": VERSION,
        }


def make_plan(
    request: GenerationRequest,
    *,
    seed: int,
    options: Mapping[str, Any],
    catalogue: Catalogue,
    model_name: str,
    model_hash: str,
    inpainting: bool = False,
    distilled: bool = False,
    float8: bool = False,
    vae: tuple[str, str] | None = None,
    modules: tuple[str, ...] = (),
    first_pass: int | None = None,
    notes: Mapping[str, Any] | None = None,
    user: str = "",
) -> Plan:
    """Decide everything that can be decided before the first step; raises UnknownName for a sampler or schedule.

    `first_pass`: the calls of the pass before, if this is the second one of hires fix. `notes`: fields of the infotext besides.
    """
    if options["enable_prompt_comments"]:
        texts = {name: without_comments(getattr(request, name)) for name in ("prompt", "negative_prompt")}
        request = request.model_copy(update=texts)
    sampler, schedule = catalogue.sampler_and_schedule(request.sampler_name, request.scheduler)
    if schedule.label == "Automatic":
        schedule = next(entry for entry in catalogue.schedules if entry.label == sampler.schedule)
    timeline = timeline_of(
        request.steps * (2 if sampler.second_order else 1), first_pass, options["use_old_scheduling"]
    )
    prompt, negative = read_prompt(request.prompt, timeline), read_negative(request.negative_prompt, timeline)
    regions = request.tiled_diffusion.places if request.tiled_diffusion else ()
    size = request.batch_size
    subseed = request.subseed if request.subseed >= 0 else random.Random(seed).getrandbits(32)
    batches = []
    for number in range(request.n_iter):
        positions = tuple(range(number * size, (number + 1) * size))
        subseeds = tuple(request.subseed_of(subseed, p) for p in positions)
        seeds = tuple(request.seed_of(seed, p) for p in positions)
        batches.append(Batch(number=number, positions=positions, seeds=seeds, subseeds=subseeds))
    return Plan(
        request=request,
        options=options,
        sampler=sampler,
        schedule=schedule,
        prompt=prompt,
        negative=negative,
        prompt_fields=_prompt_fields(prompt, negative, timeline, options["emphasis"]),
        notes=notes or {},
        user=user,
        batches=tuple(batches),
        model_name=model_name,
        model_hash=model_hash,
        timestamp=datetime.now().strftime("%Y%m%d%H%M%S"),
        inpainting=inpainting,
        distilled=distilled,
        float8=float8,
        vae=vae,
        modules=modules,
        regions=tuple(
            (
                read_prompt(_joined(request.prompt, region.prompt), timeline),
                read_negative(_joined(request.negative_prompt, region.negative_prompt), timeline),
            )
            for region in regions
        ),
    )


def _joined(text: str, more: str) -> str:
    """A prompt with what a region adds to it."""
    return ", ".join(part for part in (text, more) if part.strip())


def timeline_of(calls: int, first_pass: int | None, old: bool) -> Timeline:
    """Over which steps prompts run; A1111's old timeline takes the second pass for as long as the first."""
    return Timeline(steps=first_pass or calls if old else calls, first_pass=first_pass, old=old)


def _prompt_fields(prompt: Prompt, negative: Prompt, timeline: Timeline, emphasis: str) -> dict[str, Any]:
    """What the infotext says about how the prompts were read: A1111's keys, where they make a difference."""
    fields: dict[str, Any] = {}
    if timeline.old:
        new = replace(timeline, old=False)
        if any(
            schedule_prompt(text, timeline) != schedule_prompt(text, new) for text in (prompt.plain, negative.plain)
        ):
            fields["Old prompt editing timelines"] = True
    texts = (span.text for spans, _ in (*prompt.parts, *negative.parts) for span in spans)
    if emphasis != "Original" and any("(" in text or "[" in text for text in texts):
        fields["Emphasis"] = emphasis
    return fields
