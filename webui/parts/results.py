"""The right half: progress, the large picture, the thumbnails, the infotext. Drawn by assets/panel.js."""

import gradio as gr

from webui.parts.script import call

PANEL = """
<section class="results" aria-label="Results">
  <div class="progress" role="progressbar" aria-label="Progress" aria-valuemin="0" aria-valuemax="100" hidden>
    <div class="bar"></div><span class="words"></span>
  </div>
  <p class="notice" role="alert" hidden></p>
  <div class="stage"><p class="empty">Pictures appear here.</p></div>
  <div class="thumbnails" role="listbox" aria-label="Pictures" aria-orientation="horizontal" tabindex="-1" hidden></div>
  <div class="tools" hidden>
    <a class="download" download>Download</a><a class="open" target="_blank" rel="noopener">Open in a new tab</a>
    <button type="button" class="copy">Copy infotext</button>
  </div>
  <p class="status" role="status"></p>
  <pre class="infotext" tabindex="0" aria-label="Infotext" hidden></pre>
</section>
"""


def build_results(tab: str) -> gr.HTML:
    """The panel; its script starts with it."""
    start = f"({call('start')})(element)"
    return gr.HTML(html_template=PANEL, js_on_load=start, elem_id=f"{tab}_results", apply_default_css=False)
