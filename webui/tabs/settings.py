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
    <button type="button" class="welcome-again">Show the welcome page</button>
  </div>
  <p class="notice" role="alert" hidden></p>
  <details class="defaults">
    <summary>Defaults</summary>
    <p class="facts">What the fields of txt2img and img2img begin with: kept in ui-config.json, as A1111 does.</p>
    <div class="actions">
      <button type="button" class="view">View changes</button>
      <button type="button" class="primary store" disabled>Apply</button>
      <button type="button" class="undo" disabled>Undo</button>
    </div>
    <p class="said" role="status" hidden></p>
    <ul class="changes" aria-label="What differs now"></ul>
    <p class="none-changed facts" hidden>Nothing differs from what the page begins with.</p>
    <p class="stored-title" hidden>Stored:</p>
    <ul class="stored" aria-label="What is stored"></ul>
  </details>
  <details class="presets">
    <summary>Presets</summary>
    <p class="facts">The model, its parts, the sampler, the size and the networks of a tab, under a name; the prompts too, if that is ticked.</p>
    <div class="actions">
      <select class="tab" aria-label="Tab of the preset"><option value="txt2img">txt2img</option><option value="img2img">img2img</option></select>
      <input type="text" class="name" placeholder="Name of the preset" aria-label="Name of the preset" maxlength="100" autocomplete="off">
      <label class="only"><input type="checkbox" class="prompts"> With the prompts</label>
      <button type="button" class="primary keep">Save preset</button>
      <button type="button" class="share">Share presets</button>
      <button type="button" class="take">Take presets of a file</button>
    </div>
    <p class="said" role="status" hidden></p>
    <ul class="list" aria-label="Presets"></ul>
  </details>
  <div class="columns">
    <nav aria-label="Sections of settings"><ul></ul></nav>
    <div class="sections"></div>
  </div>
  <p class="none" hidden>No setting is called so.</p>
</div>
"""


def build_settings_tab() -> gr.HTML:
    """Its script starts with it, and asks for the settings each time that the tab is shown."""
    with gr.Tab("Settings", id="settings", elem_id="tab_settings", elem_classes="admins", render_children=True):
        return gr.HTML(
            html_template=PANEL,
            js_on_load=f"({call('startSettings')})(element)",
            elem_id="settings_panel",
            apply_default_css=False,
        )
