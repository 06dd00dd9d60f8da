"""Sections of settings for the page: its language and looks, what it shows, how it tells of finished jobs."""

from typing import Literal

from pydantic import Field

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


class Alternatives(Section):
    """UI alternatives"""

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
