"""Settings of what is written into prompts."""

from typing import Literal

from pydantic import Field

from modules.core.sections import Section
from modules.core.validation import Number, Text, Whole


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
    disable_token_counters: bool = Field(False, title="Disable prompt token counters")
    include_styles_into_token_counters: bool = Field(
        True, title="Count tokens of enabled styles", description="Of those chosen in the menu Styles."
    )
    prompt_notes: bool = Field(
        True,
        title="Say below the prompts what is odd about them",
        description="Brackets without partner, names that mean nothing, networks of another family, sizes and CFG that do not suit.",
    )


class PromptCompletion(Section):
    """Prompt completion"""

    tac_active: bool = Field(
        True,
        title="Complete words while typing in prompts",
        description="LoRAs, hypernetworks, embeddings, wildcards, styles, and the tags of the CSV files in models/tags.",
    )
    tac_maxResults: Whole = Field(10, title="Maximum number of completions", ge=1, le=50)
    tac_replaceUnderscores: bool = Field(True, title="Replace underscores of completed tags with spaces")
    tac_escapeParentheses: bool = Field(
        True, title="Escape brackets of completed tags", description="So that they do not weigh: name \\(series\\)."
    )
    tac_appendComma: bool = Field(True, title="Append a comma to completed tags")
