"""Where the page's own scripts build the ControlNet units: a place, and the hidden field that holds what they say."""

from typing import Any

import gradio as gr

from webui.control_form import CONTROL, LABEL
from webui.parts.script import call

PLACE = '<details class="control"><summary>ControlNet</summary><div class="units"></div></details>'


def build_control(tab: str) -> dict[str, Any]:
    """Field name -> component."""
    start = f"({call('startControl', tab)})(element)"
    gr.HTML(html_template=PLACE, js_on_load=start, elem_id=f"{tab}_controlnet", apply_default_css=False)
    found = {CONTROL: gr.Textbox(label=LABEL, elem_id=f"{tab}_control", elem_classes="unseen", max_lines=1)}
    found[CONTROL].change(
        None,
        inputs=[found[CONTROL]],
        js=call("showControl", tab),
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    return found
