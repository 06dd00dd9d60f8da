"""Requests that make model files out of model files: merged checkpoints, extracted and merged LoRAs."""

import json
import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from modules.core.errors import InputError, short
from modules.core.validation import Number, Text, Whole, input_error
from modules.requests.block_weights import read_block_weights

METHODS = ("No interpolation", "Weighted sum", "Add difference")
FORMATS = ("ckpt", "safetensors")
CONFIG_SOURCES = ("A, B or C", "B", "C", "Don't")
PRECISIONS = ("Automatic", "fp32", "fp16", "bf16", "fp8_e4m3fn")
LORA_PRECISIONS = ("fp16", "bf16", "fp32")
MAX_RANK = 2048
MAX_METADATA = 8 * 2**20
MAX_LORAS = 32

_FORBIDDEN = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]')


def _none(name: str) -> str:
    return "" if name.strip() in ("", "None") else name


def _file_name(name: str) -> str:
    """A file's name without its suffix; raises ValueError for what cannot be one."""
    name = name.strip()
    for suffix in (".safetensors", ".ckpt"):
        name = name[: -len(suffix)] if name.lower().endswith(suffix) else name
    if found := _FORBIDDEN.search(name):
        raise ValueError(f"must be a file name alone, without {short(found[0])}: the folder is fixed")
    if name.startswith(".") or name.endswith((".", " ")):
        raise ValueError("must neither begin nor end with a dot")
    if name.lower().endswith(".vae"):
        raise ValueError("must not end with .vae, which would make it a VAE")
    return name


Name = Annotated[Text, Field(max_length=1000), AfterValidator(_none)]
FileName = Annotated[Text, Field(max_length=150), AfterValidator(_file_name)]


class FileRequest(BaseModel):
    """What all requests that write one model file have. `custom_name`: its name without suffix, "" for one made of its sources'.

    A file that is there already is replaced only if `overwrite` is true.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    custom_name: FileName = ""
    overwrite: bool = False


class MergeRequest(FileRequest):
    """A1111's checkpoint merger, in its names. `block_weights`: "", a preset's name, or numbers between commas (IN00 ..., M00,
    OUT00 ..., with BASE in front if there is one more), which take the multiplier's place in the U-Net.

    `precision`: Automatic is A1111's: the inputs', or float16 if `save_as_half`. fp8: weight matrices of U-Net and text encoders
    in float8_e4m3fn, all else in float16.
    """

    primary_model_name: Name = ""
    secondary_model_name: Name = ""
    tertiary_model_name: Name = ""
    interp_method: Literal["No interpolation", "Weighted sum", "Add difference"] = "Weighted sum"
    multiplier: Number = Field(0.3, ge=0, le=1)
    block_weights: Text = Field("", max_length=2000)
    save_as_half: bool = False
    precision: Literal["Automatic", "fp32", "fp16", "bf16", "fp8_e4m3fn"] = "Automatic"
    checkpoint_format: Literal["ckpt", "safetensors"] = "safetensors"
    config_source: Literal["A, B or C", "B", "C", "Don't"] = "A, B or C"
    bake_in_vae: Name = ""
    discard_weights: Text = Field("", max_length=1000)
    save_metadata: bool = True
    add_merge_recipe: bool = True
    copy_metadata_fields: bool = True
    metadata_json: Text = Field("{}", max_length=MAX_METADATA)

    @property
    def names(self) -> tuple[str, ...]:
        """The checkpoints that the method takes, A first."""
        count = METHODS.index(self.interp_method) + 1
        return (self.primary_model_name, self.secondary_model_name, self.tertiary_model_name)[:count]

    @model_validator(mode="after")
    def _whole(self) -> "MergeRequest":
        read_block_weights(self.block_weights)
        _compiled(self.discard_weights)
        if self.save_metadata:
            read_metadata(self.metadata_json)
        for field, letter, name in zip(MODEL_FIELDS, "ABC", self.names, strict=False):
            if not name:
                raise InputError(field, f"{field} is empty: {self.interp_method} needs model {letter}. Choose one.")
        if self.save_as_half and self.precision not in ("Automatic", "fp16"):
            raise InputError(
                "precision", f"precision is {self.precision} and save_as_half is on: switch one of them off."
            )
        if self.checkpoint_format == "ckpt" and self.precision == "fp8_e4m3fn":
            raise InputError("precision", "precision is fp8_e4m3fn, which .ckpt files do not hold: choose safetensors.")
        return self


MODEL_FIELDS = ("primary_model_name", "secondary_model_name", "tertiary_model_name")


class ExtractLoraRequest(FileRequest):
    """A LoRA from what a tuned checkpoint has more than its base, by singular values. `rank` at most, of each linear layer of the
    U-Net's transformers (and of the text encoders); `conv_rank` of its other layers, convolutions among them, 0 leaves those out.
    """

    tuned_model_name: Name = ""
    base_model_name: Name = ""
    rank: Whole = Field(32, ge=1, le=MAX_RANK)
    conv_rank: Whole = Field(0, ge=0, le=MAX_RANK)
    text_encoder: bool = True
    precision: Literal["fp16", "bf16", "fp32"] = "fp16"

    @model_validator(mode="after")
    def _whole(self) -> "ExtractLoraRequest":
        for field, words in (("tuned_model_name", "the tuned checkpoint"), ("base_model_name", "the base checkpoint")):
            if not getattr(self, field):
                raise InputError(field, f"{field} is empty. Choose {words}.")
        return self


class MergeLorasRequest(FileRequest):
    """LoRAs of those names, each times its weight, added to `checkpoint`, or to each other if that is "".

    `rank`: of the resulting LoRA, by singular values; 0 keeps all of them, exactly.
    """

    loras: tuple[Name, ...] = Field((), max_length=MAX_LORAS)
    weights: tuple[Number, ...] = Field((), max_length=MAX_LORAS)
    checkpoint: Name = ""
    rank: Whole = Field(0, ge=0, le=MAX_RANK)
    precision: Literal["fp16", "bf16", "fp32"] = "fp16"

    @model_validator(mode="after")
    def _whole(self) -> "MergeLorasRequest":
        if not self.loras or not all(self.loras):
            raise InputError("loras", "loras is empty. Choose at least one LoRA.")
        if len(self.loras) == 1 and not self.checkpoint and not self.rank:
            raise InputError(
                "loras", "loras holds one LoRA alone: choose a second one, a checkpoint, or a rank to shrink it to."
            )
        if len(self.weights) not in (0, len(self.loras)):
            raise InputError(
                "weights", f"weights holds {len(self.weights)} numbers for {len(self.loras)} LoRAs: give one each."
            )
        if wrong := next((w for w in self.weights if abs(w) > 10), None):
            raise InputError("weights", f"weights holds {wrong}: it must be from -10 to 10.")
        return self

    @property
    def pairs(self) -> tuple[tuple[str, float], ...]:
        """Each LoRA with its weight, 1 if none is given."""
        return tuple(zip(self.loras, self.weights or (1.0,) * len(self.loras), strict=True))


Kind = TypeVar("Kind", MergeRequest, ExtractLoraRequest, MergeLorasRequest)


def make_file_request(kind: type[Kind], values: dict[str, Any]) -> Kind:
    """A request from loose values; raises InputError naming the first wrong one."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise input_error(error) from error


def read_metadata(text: str) -> dict[str, Any]:
    """The metadata that the user wrote in JSON; raises InputError."""
    try:
        found = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise InputError(
            "metadata_json", f"metadata_json is not valid JSON: {error}. Mend it, or leave {{}}."
        ) from error
    if not isinstance(found, dict):
        raise InputError("metadata_json", f"metadata_json is {short(text)}: it must be an object of names and values.")
    return found


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise InputError(
            "discard_weights",
            f"discard_weights is {short(pattern)}, which is no regular expression: {error}. Mend it, or leave it empty.",
        ) from error
