"""The tab PNG Info: what a picture tells of how it was made, and where that goes. Drawn by assets/png_info.js over our own API."""

import gradio as gr

from webui.groups import GROUPS
from webui.parts.script import call
from webui.parts.targets import buttons

PANEL = """
<div class="png-info">
  <section class="source" aria-label="Source">
    <button type="button" class="drop" id="pnginfo_image"><span>Drop a picture here, paste one, or click to choose</span><img alt="" hidden></button>
    <input type="file" accept="image/png,image/jpeg,image/webp,image/gif,image/bmp,image/avif" aria-label="Picture file" hidden>
    <p class="notice" role="alert" hidden></p>
    <div class="send" role="group" aria-label="Send">BUTTONS</div>
    <fieldset class="only"><legend>Apply only these keys</legend>BOXES
      <span class="quick"><button type="button" class="all">All</button><button type="button" class="none">None</button></span>
    </fieldset>
    <div class="again"><button type="button" class="reproduce" disabled>Reproduce and compare</button></div>
    <div class="comparison" aria-label="Comparison" hidden>
      <p class="outcome" role="status"></p>
      <button type="button" class="stop" hidden>Interrupt</button>
      <div class="pair"><figure><img class="old" alt="The picture from the file"><figcaption>From the file</figcaption></figure>
      <figure><img class="new" alt="The picture made again"><figcaption>Made again</figcaption></figure></div>
    </div>
  </section>
  <section class="told" aria-label="What the picture tells">
    <p class="program" id="pnginfo_program" role="status">Nothing read yet.</p>
    <ul class="unmapped" aria-label="What could not be mapped" hidden></ul>
    <div class="chunks" id="pnginfo_html_info"></div>
  </section>
</div>
"""


def build_png_info_tab() -> gr.HTML:
    """Its script starts with it."""
    boxes = "".join(
        f'<label><input type="checkbox" value="{name}" checked> {group.label}</label>' for name, group in GROUPS.items()
    )
    panel = PANEL.replace("BUTTONS", buttons()).replace("BOXES", boxes)
    with gr.Tab("PNG Info", id="pnginfo", elem_id="tab_pnginfo", render_children=True):
        return gr.HTML(
            html_template=panel,
            js_on_load=f"({call('startPngInfo')})(element)",
            elem_id="pnginfo_panel",
            apply_default_css=False,
        )
