"""The tab Extensions: those there are, which of them are used, and why not. Drawn by assets/extensions.js over our own API."""

import gradio as gr

from webui.parts.script import call

PANEL = """
<div class="models extensions">
  <div class="bar" role="toolbar" aria-label="Extensions">
    <button type="button" class="primary apply" disabled>Apply and restart UI</button>
    <label class="only"><input type="checkbox" class="all-off"> Disable all extensions</label>
  </div>
  <p class="notice" role="status" hidden></p>
  <table hidden>
    <thead><tr><th scope="col">Extension</th><th scope="col">Folder</th><th scope="col">What it adds to</th><th scope="col">State</th></tr></thead>
    <tbody></tbody>
  </table>
  <p class="none" hidden>There is no extension here yet.</p>
  <p class="facts">An extension is a folder that you put into the folder extensions by hand: its code may do whatever this program may, so look at it first. Nothing is installed over this page. A1111's extensions do not run here; what ControlNet, ADetailer, tag completion and many others do is built in.</p>
</div>
"""


def build_extensions_tab() -> gr.HTML:
    """Its script starts when the tab is opened for the first time."""
    with gr.Tab("Extensions", id="extensions", elem_id="tab_extensions", elem_classes="admins"):
        return gr.HTML(
            html_template=PANEL,
            js_on_load=f"({call('startExtensions')})(element)",
            elem_id="extensions_panel",
            apply_default_css=False,
        )
