"""Below the prompts: what is odd about them. Drawn by assets/prompt_notes.js; the counters in their corners by token_counter.js."""

import gradio as gr

from webui.parts.script import call

PANEL = """
<div class="prompt-help">
  <div class="notes" role="status">
    <button type="button" class="first" hidden></button>
    <button type="button" class="more" aria-haspopup="true" aria-expanded="false" aria-controls="TAB_prompt_notes" hidden></button>
  </div>
  <button type="button" class="open-history" aria-haspopup="dialog" title="The prompts you have submitted">History</button>
  <button type="button" class="open-builder" aria-haspopup="dialog" title="Words to choose from, by category">Builder</button>
  <ul class="all" id="TAB_prompt_notes" aria-label="Notes on the prompts" hidden></ul>
  <dialog class="prompt-panel history" aria-label="Prompt history">
    <div class="bar">
      <input type="search" placeholder="Search" aria-label="Search the prompt history" autocomplete="off" spellcheck="false" maxlength="200">
      <button type="button" class="undo" hidden>Undo</button>
      <button type="button" class="clear" title="Delete all that are not pinned">Clear</button>
      <button type="button" class="close" title="Close" aria-label="Close">✕</button>
    </div>
    <p class="said" role="status"></p>
    <ul class="pairs" aria-label="Prompts"></ul>
    <button type="button" class="further" hidden>Show more</button>
  </dialog>
  <dialog class="prompt-panel builder" aria-label="Prompt builder">
    <div class="bar">
      <div class="kinds" role="tablist" aria-label="Categories"></div>
      <label><input type="checkbox" class="into"> negative prompt</label>
      <button type="button" class="close" title="Close" aria-label="Close">✕</button>
    </div>
    <p class="said" role="status"></p>
    <div class="words" role="tabpanel" aria-label="Words"></div>
  </dialog>
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
