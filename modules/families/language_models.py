"""Language models that read prompts: transformers' classes, of the sizes that the tensors tell.

What shapes do not tell is in each config.json as published: Qwen3 4B and 8B, Qwen2.5-VL 7B (its language model; text alone has
one position a token), Gemma 2 2B, Mistral Small 3 24B, GLM-4 9B.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modules.core.errors import ModelFileError
from modules.devices.choice import Compute
from modules.families.assembly import empty_weights, filled

PREFIXES = ("model.language_model.", "language_model.model.", "model.", "language_model.", "transformer.", "")
_LAYER = re.compile(r"layers\.(\d+)\.")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A kind of language model: what users call it, its two classes, and the constants that shapes do not tell."""

    label: str
    classes: Callable[[], tuple[type[Any], type[Any]]]  # the configuration's and the model's; heavy to import
    constants: Mapping[str, Any]
    head_dim: int = 128  # where there is no norm of queries to tell it
    gate: str = "gate_proj"
    gates: int = 1  # how many times the inner width the gate is


def qwen3() -> Architecture:
    """Qwen3 (arXiv:2505.09388)."""

    def classes() -> tuple[type[Any], type[Any]]:
        from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
        from transformers.models.qwen3.modeling_qwen3 import Qwen3Model

        return Qwen3Config, Qwen3Model

    return Architecture(label="Qwen3", classes=classes, constants=_rope(1e6, rms_norm_eps=1e-6))


def qwen25() -> Architecture:
    """Qwen2.5 (arXiv:2412.15115), the language model within Qwen2.5-VL."""

    def classes() -> tuple[type[Any], type[Any]]:
        from transformers.models.qwen2.configuration_qwen2 import Qwen2Config
        from transformers.models.qwen2.modeling_qwen2 import Qwen2Model

        return Qwen2Config, Qwen2Model

    return Architecture(label="Qwen2.5-VL", classes=classes, constants=_rope(1e6, rms_norm_eps=1e-6))


def gemma2() -> Architecture:
    """Gemma 2 (arXiv:2408.00118), 2B."""

    def classes() -> tuple[type[Any], type[Any]]:
        from transformers.models.gemma2.configuration_gemma2 import Gemma2Config
        from transformers.models.gemma2.modeling_gemma2 import Gemma2Model

        return Gemma2Config, Gemma2Model

    constants = _rope(
        1e4, rms_norm_eps=1e-6, query_pre_attn_scalar=256, attn_logit_softcapping=50.0, sliding_window=4096
    )
    return Architecture(label="Gemma 2", classes=classes, constants=constants, head_dim=256)


def mistral3() -> Architecture:
    """Mistral Small 3, its language model."""

    def classes() -> tuple[type[Any], type[Any]]:
        from transformers.models.mistral.configuration_mistral import MistralConfig
        from transformers.models.mistral.modeling_mistral import MistralModel

        return MistralConfig, MistralModel

    return Architecture(
        label="Mistral Small 3", classes=classes, constants=_rope(1e9, rms_norm_eps=1e-5, sliding_window=None)
    )


def glm4() -> Architecture:
    """GLM-4 (arXiv:2406.12793), whose gate and inner projection are one matrix and half of whose head dimensions rotate."""

    def classes() -> tuple[type[Any], type[Any]]:
        from transformers.models.glm.configuration_glm import GlmConfig
        from transformers.models.glm.modeling_glm import GlmModel

        return GlmConfig, GlmModel

    constants = {
        "rms_norm_eps": 1.5625e-07,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
    }
    return Architecture(label="GLM-4", classes=classes, constants=constants, gate="gate_up_proj", gates=2)


def _rope(theta: float, **constants: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta}, **constants}


class LanguageModel:
    """The states of a text after some of its layers.

    `layers`: counted from the embeddings, which are 0; below 0 from the end, -2 being those before the last layer; None: the
    last ones, normalised. Layers beyond the last one asked for are not built, nor need the file hold them.
    """

    def __init__(
        self,
        architecture: Architecture,
        tensors: Mapping[str, Tensor],
        compute: Compute,
        layers: tuple[int, ...] | None = None,
    ) -> None:
        compute = compute.wide
        weights = _bare(architecture, tensors)
        depth = 1 + max(int(match[1]) for name in weights if (match := _LAYER.match(name)))
        self._layers = None if layers is None else tuple(depth + 1 + layer if layer < 0 else layer for layer in layers)
        wanted = depth if self._layers is None else max(self._layers)
        if wanted > depth:
            raise ModelFileError(
                f"The text encoder {architecture.label} has {depth} layers, {wanted} are needed: it is cut short or of "
                "another size. Choose another."
            )
        self._model = _build(architecture, weights, compute, wanted, normed=layers is None)
        self._device = compute.device
        self.vocabulary: int = weights["embed_tokens.weight"].shape[0]
        self.width: int = weights["embed_tokens.weight"].shape[1] * len(layers or (0,))

    def __call__(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """ids (T,) and the mask (T,) of what counts, all by default -> (T, D) float32, the layers' states side by side."""
        attended = None if mask is None else mask[None].to(self._device, torch.long)
        out = self._model(
            input_ids=ids[None].to(self._device),
            attention_mask=attended,
            output_hidden_states=self._layers is not None,
            use_cache=False,
        )
        if self._layers is None:
            return out.last_hidden_state[0].float()
        return torch.cat([out.hidden_states[layer][0] for layer in self._layers], dim=1).float()


def _bare(architecture: Architecture, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The language model's tensors without whatever prefix its file has; raises ModelFileError."""
    for prefix in PREFIXES:
        if f"{prefix}embed_tokens.weight" in tensors and f"{prefix}layers.0.self_attn.q_proj.weight" in tensors:
            return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    raise ModelFileError(
        f"The text encoder {architecture.label} lacks the weights embed_tokens or layers.0; it is damaged or another "
        "model. Choose another."
    )


def _build(
    architecture: Architecture, weights: Mapping[str, Tensor], compute: Compute, depth: int, *, normed: bool
) -> Any:
    attention, mlp = "layers.0.self_attn.", f"layers.0.mlp.{architecture.gate}.weight"
    for name in (f"{attention}k_proj.weight", mlp):
        if name not in weights:
            raise ModelFileError(
                f"The text encoder {architecture.label} lacks the weights {name}; it is damaged or another model. "
                "Choose another."
            )
    vocabulary, width = weights["embed_tokens.weight"].shape
    norm = weights.get(f"{attention}q_norm.weight")
    head = architecture.head_dim if norm is None else norm.shape[0]
    configuration, model_class = architecture.classes()
    config = configuration(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=weights[mlp].shape[0] // architecture.gates,
        num_hidden_layers=depth,
        num_attention_heads=weights[f"{attention}q_proj.weight"].shape[0] // head,
        num_key_value_heads=weights[f"{attention}k_proj.weight"].shape[0] // head,
        head_dim=head,
        pad_token_id=None,
        **architecture.constants,
    )
    with empty_weights():
        model: Any = model_class(config)
    if not normed:
        model.norm = nn.Identity()  # what the last layer asked for gives is asked for as it is
    return filled(model, weights, compute.home, compute.dtype)
