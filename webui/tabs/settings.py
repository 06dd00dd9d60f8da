"""The tab Settings. Drawn by assets/settings.js over our own API: some hundred components of gradio would slow every start of the page."""

import gradio as gr

from webui.parts.script import call

PANEL = """
<div class="models settings">
  <div class="bar" role="toolbar" aria-label="Settings">
    <button type="button" class="primary apply" disabled>Apply settings</button>
    <button type="button" class="forget" disabled>Discard changes</button>
    <input type="search" class="search" placeholder="Search" aria-label="Search settings" autocomplete="off">
    <label class="only"><input type="checkbox" class="changed"> Only what differs from its default</label>
  </div>
  <p class="notice" role="alert" hidden></p>
  <div class="columns">
    <nav aria-label="Sections of settings"><ul></ul></nav>
    <div class="sections"></div>
  </div>
  <p class="none" hidden>No setting is called so.</p>
</div>
"""


def build_settings_tab() -> gr.HTML:
    """Its script starts with it, and asks for the settings each time that the tab is shown."""
    with gr.Tab("Settings", id="settings", elem_id="tab_settings", render_children=True):
        return gr.HTML(
            html_template=PANEL,
            js_on_load=f"({call('startSettings')})(element)",
            elem_id="settings_panel",
            apply_default_css=False,
        )
