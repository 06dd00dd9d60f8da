"""Settings of what is written into prompts."""

from typing import Literal

from pydantic import Field

from modules.core.sections import Section
from modules.core.validation import Number, Text


class DynamicPrompts(Section):
    """Dynamic Prompts"""

    wildcard_dir: Text = Field(
        "",
        title="Folders with wildcards",
        max_length=4000,
        description="One a line, besides models/wildcards; those of another program too. Nothing is written there.",
    )
    dp_ignore_whitespace: bool = Field(
        False,
        title="Ignore whitespace in prompts",
        description="Of a template's prompt: line breaks, tabs and several spaces become one space.",
    )
    dp_write_raw_template: bool = Field(
        True, title="Save template to metadata", description="As Template and Negative Template in the infotext."
    )


class PromptEditing(Section):
    """Prompt editing"""

    keyedit_precision_attention: Number = Field(
        0.1,
        title="Precision for (attention:1.1) when editing the prompt with Ctrl+up/down",
        ge=0.01,
        le=0.2,
    )
    keyedit_precision_extra: Number = Field(
        0.05,
        title="Precision for <extra networks:0.9> when editing the prompt with Ctrl+up/down",
        ge=0.01,
        le=0.2,
    )
    keyedit_delimiters: Text = Field(
        r".,\/!?%^*;:{}=`~() ", title="Word delimiters when editing the prompt with Ctrl+up/down", max_length=200
    )
    keyedit_delimiters_whitespace: tuple[Literal["Tab", "Carriage Return", "Line Feed"], ...] = Field(
        ("Tab", "Carriage Return", "Line Feed"), title="Ctrl+up/down whitespace delimiters"
    )
    keyedit_move: bool = Field(True, title="Alt+left/right moves prompt elements")
