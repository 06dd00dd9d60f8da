"""The tab Models: what to get, from where, and how far it is. Drawn by assets/models.js over our own API."""

import gradio as gr

from webui.parts.script import call

PANEL = """
<div class="models">
  <p class="unfetched" role="note">This server is open to the internet: models are not fetched from here. Start it without the tunnel to fetch them, or put their files into its folder models.</p>
  <section class="queue" aria-label="Downloads" hidden>
    <div class="head"><h3>Downloads</h3><button type="button" class="clear" hidden>Clear finished</button></div>
    <p class="notice" role="alert" hidden></p>
    <ul class="list"></ul>
  </section>
  <section class="find fetching" aria-label="Find models">
    <div class="head"><h3>Find models</h3></div>
    <form class="row">
      <select aria-label="Where">
        <option value="huggingface">Hugging Face</option><option value="civitai">Civitai</option><option value="url">Address</option>
      </select>
      <input type="text" autocomplete="off" spellcheck="false" maxlength="8000">
      <select class="kind" aria-label="Kind" hidden></select>
      <button type="submit" class="primary">Search</button>
    </form>
    <p class="notice" role="alert" hidden></p>
    <ul class="found"></ul>
  </section>
  <details class="tokens fetching">
    <summary>Tokens</summary>
    <p class="facts">Some models want to know who asks. A token is kept in a file that only you can read, is never shown
    again, and is sent to its own site alone.</p>
    <p class="notice" role="status" hidden></p>
    <div class="list"></div>
  </details>
  <section class="start fetching" aria-label="Start set">
    <div class="head"><h3>Start set</h3></div>
    <p class="facts">Well-known models to begin with. Their licences are their makers'; sizes are approximate.</p>
    <p class="notice" role="alert" hidden></p>
    <div class="starters"></div>
  </section>
</div>
"""


def build_models_tab() -> gr.HTML:
    """Its script starts with it, and stays at work while another tab is shown: a model that has come is then in the menus."""
    with gr.Tab("Models", id="models", elem_id="tab_models", elem_classes="admins", render_children=True):
        return gr.HTML(
            html_template=PANEL,
            js_on_load=f"({call('startModels')})(element)",
            elem_id="models_panel",
            apply_default_css=False,
        )
