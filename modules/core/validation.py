"""Pydantic's findings as one sentence for the user."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError

from modules.core.errors import InputError, short


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


def _clean_text(value: Any) -> Any:
    if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
        raise ValueError("holds half of a surrogate pair, which is not text; remove it")
    return value


Whole = Annotated[int, BeforeValidator(_no_bool)]
Number = Annotated[float, BeforeValidator(_no_bool)]
Text = Annotated[str, BeforeValidator(_clean_text)]

_WORDS = {
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "greater_than": "must be above {gt}",
    "less_than": "must be below {lt}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text",
    "string_pattern_mismatch": "must look like {pattern}",
    "string_too_long": "must be at most {max_length} characters long",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "literal_error": "must be one of {expected}",
    "extra_forbidden": "is not a field known here; remove it",
    "missing": "is required",
    "model_type": "must be an object of names and values",
    "model_attributes_type": "must be an object of names and values",
    "dict_type": "must be an object of names and values",
    "list_type": "must be a list",
}


def input_error(error: ValidationError) -> InputError:
    """The first finding of `error`: names the field, the value and what to do."""
    return finding(error.errors(include_url=False)[0])


def finding(first: Mapping[str, Any]) -> InputError:
    """One entry of pydantic's `errors()` as a sentence."""
    field = ".".join(str(part) for part in first["loc"]) or "request"
    context = first.get("ctx", {})
    if first["type"] == "value_error":
        words = str(context.get("error", first["msg"]))
    else:
        template = _WORDS.get(first["type"])
        words = template.format(**context) if template else first["msg"]
    if first["type"] in ("missing", "extra_forbidden"):
        return InputError(field, f"{field} {words}.")
    return InputError(field, f"{field} is {short(first['input'])}: it {words}.")
