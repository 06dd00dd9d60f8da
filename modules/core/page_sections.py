"""Sections of settings for the page: its language and looks, what it shows, how it tells of finished jobs."""

from typing import Literal

from pydantic import Field, field_validator

from modules.core.sections import Section
from modules.core.validation import Text, Whole


class UserInterface(Section):
    """User interface"""

    localization: Text = Field(
        "None",
        title="Localization",
        max_length=200,
        description="A file of the folder localizations, in A1111's format, or zh_CN. From the next time that the page is loaded.",
    )
    quicksettings_list: tuple[Text, ...] = Field(
        ("sd_model_checkpoint",),
        title="Quicksettings list",
        description="Names of settings that the bar above the tabs holds, one a line: what is changed there counts at once. "
        "From the next time that the page is loaded.",
    )
    ui_tab_order: tuple[Text, ...] = Field(
        (),
        title="UI tab order",
        max_length=100,
        description="Names of tabs, one a line: these come first. From the next start.",
    )
    hidden_tabs: tuple[Text, ...] = Field(
        (),
        title="Hidden UI tabs",
        max_length=100,
        description="Names of tabs, one a line. From the next start.",
    )
    show_progress_in_title: bool = Field(True, title="Show generation progress in window title.")
    send_seed: bool = Field(True, title="Send seed when sending prompt or image to other interface")
    send_size: bool = Field(True, title="Send size when sending prompt or image to another interface")
    gradio_theme: Literal[
        "Default",
        "gradio/base",
        "gradio/glass",
        "gradio/monochrome",
        "gradio/soft",
        "gradio/citrus",
        "gradio/ocean",
        "gradio/origin",
    ] = Field(
        "Default",
        title="Gradio theme",
        description="Counts from the next start. ◐ above the tabs makes the page light, dark, or as the system is.",
    )

    @field_validator("hidden_tabs")
    @classmethod
    def _way_back(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "Settings" in value:
            raise ValueError("must not name Settings: no tab could be brought back")
        return value


class Alternatives(Section):
    """UI alternatives"""

    sd_checkpoint_dropdown_use_short: bool = Field(
        False,
        title="Checkpoint dropdown: use filenames without paths",
        description="sub/model.safetensors is called model.safetensors. From the next time that the page is loaded.",
    )
    hires_fix_show_sampler: bool = Field(
        False,
        title="Hires fix: show hires checkpoint and sampler selection",
        description="From the next time that the page is loaded.",
    )
    hires_fix_show_prompts: bool = Field(
        False,
        title="Hires fix: show hires prompt and negative prompt",
        description="From the next time that the page is loaded.",
    )
    interrupt_after_current: bool = Field(
        True,
        title="Don't Interrupt in the middle",
        description="Where more than one picture is asked for, Interrupt lets the one in work be finished; a second press ends it at once.",
    )


class Notifications(Section):
    """Notifications"""

    notification_audio: bool = Field(
        False,
        title="Play notification sound after image generation",
        description="notification.mp3 of the data folder; without that file a short chime.",
    )
    notification_volume: Whole = Field(100, title="Notification sound volume", ge=0, le=100)
    notification_popup: bool = Field(
        True,
        title="Show a notification of the browser after image generation",
        description="While the page is not in sight, and once the browser was allowed to, in the tab Queue.",
    )


class Extensions(Section):
    """Extensions"""

    disabled_extensions: tuple[Text, ...] = Field(
        (),
        title="Extensions that are switched off",
        description="Names of their folders, one a line; counts from the next start. The tab Extensions sets it.",
    )
    disable_all_extensions: Literal["none", "extra", "all"] = Field(
        "none",
        title="Disable all extensions",
        description="All of them are extra here: both words switch them all off, from the next start.",
    )
