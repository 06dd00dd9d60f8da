"""The sub-tabs beside Generation: cards of embeddings, hypernetworks, checkpoints and LoRAs. Drawn by assets/cards.js."""

import gradio as gr

from modules.library.cards import PAGES
from webui.parts.script import call

SORTS = ("Path", "Name", "Date Created", "Date Modified")
IDS = ("textual_inversion", "hypernetworks", "checkpoints", "lora")

PANEL = """
<div class="cards" data-kind="KIND" data-folders="Dirs">
  <div class="bar">
    <input type="search" class="search" placeholder="Search" aria-label="Search LABEL" autocomplete="off" spellcheck="false" maxlength="200">
    <select class="sort" aria-label="Sort by">SORTS</select>
    <button type="button" class="direction"></button>
    <button type="button" class="tree" title="Show folders" aria-label="Show folders" aria-pressed="true">📁</button>
    <button type="button" class="refresh" title="Refresh" aria-label="Refresh">🔄</button>
    <span class="count" role="status"></span>
  </div>
  <p class="notice" role="alert" hidden></p>
  <div class="split">
    <div class="folders" role="group" aria-label="Folders"></div>
    <div class="scroller" role="list" aria-label="LABEL" tabindex="-1"><p class="none" hidden></p></div>
  </div>
</div>
"""


def build_cards(tab: str) -> None:
    """A sub-tab for each kind, inside gr.Tabs. Its script starts when it is opened for the first time."""
    sorts = "".join(f"<option>{name}</option>" for name in SORTS)
    for (kind, label), name in zip(PAGES.items(), IDS, strict=True):
        panel = PANEL.replace("KIND", kind).replace("LABEL", label).replace("SORTS", sorts)
        with gr.Tab(label, id=f"{tab}_{name}", elem_id=f"{tab}_{name}"):
            gr.HTML(
                html_template=panel,
                js_on_load=f"({call('startCards', tab, kind)})(element)",
                elem_id=f"{tab}_{name}_cards",
                apply_default_css=False,
            )
