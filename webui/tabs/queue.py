"""The tab Queue: what waits, runs and is over. Drawn by assets/queue.js over our own API, because it changes all the time."""

import gradio as gr

from webui.parts.script import call

PANEL = """
<div class="models queue-tab">
  <div class="bar" role="toolbar" aria-label="Queue">
    <button type="button" class="pause" aria-pressed="false">Pause</button>
    <span class="counts facts" role="status"></span>
    <button type="button" class="allow" hidden>Allow notifications</button>
  </div>
  <p class="full" role="alert" hidden></p>
  <p class="notice" role="alert" hidden></p>
  <ol class="jobs" aria-label="Jobs"></ol>
  <p class="empty facts">Nothing was asked for yet. Press Generate or Enqueue in a tab that draws.</p>
  <dialog class="edit" aria-label="Change a waiting job"><form method="dialog"></form></dialog>
</div>
"""


def build_queue_tab() -> gr.HTML:
    """Its script starts with it, and asks how things are while the tab is seen."""
    with gr.Tab("Queue", id="queue", elem_id="tab_queue", render_children=True):
        return gr.HTML(
            html_template=PANEL,
            js_on_load=f"({call('startQueue')})(element)",
            elem_id="queue_panel",
            apply_default_css=False,
        )
