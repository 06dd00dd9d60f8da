"""Below the prompts: what is odd about them. Drawn by assets/prompt_notes.js; the counters in their corners by token_counter.js."""

import gradio as gr

from webui.parts.script import call

PANEL = """
<div class="prompt-help">
  <div class="notes" role="status">
    <button type="button" class="first" hidden></button>
    <button type="button" class="more" aria-haspopup="true" aria-expanded="false" aria-controls="TAB_prompt_notes" hidden></button>
  </div>
  <ul class="all" id="TAB_prompt_notes" aria-label="Notes on the prompts" hidden></ul>
</div>
"""


def build_prompt_help(tab: str) -> gr.HTML:
    """The row; its script starts with it."""
    return gr.HTML(
        html_template=PANEL.replace("TAB", tab),
        js_on_load=f"({call('startPromptHelp', tab)})(element)",
        elem_id=f"{tab}_prompt_help",
        apply_default_css=False,
    )
