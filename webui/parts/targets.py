"""Where a picture and its settings can be sent. A tab that comes later adds one line."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Target:
    """`tab`: whose form takes the settings. `slot`: where that tab takes the picture; "" if it takes none."""

    id: str
    label: str
    tab: str
    slot: str = ""


TARGETS = (
    Target(id="txt2img", label="Send to txt2img", tab="txt2img"),
    Target(id="img2img", label="Send to img2img", tab="img2img", slot="img2img"),
    Target(id="inpaint", label="Send to inpaint", tab="img2img", slot="inpaint"),
    Target(id="extras", label="Send to extras", tab="extras", slot="extras"),
)


def buttons(targets: tuple[Target, ...] = TARGETS) -> str:
    """Their buttons, as HTML."""
    return "".join(
        f'<button type="button" data-target="{one.id}" data-tab="{one.tab}" data-slot="{one.slot}" disabled>{one.label}</button>'
        for one in targets
    )
