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
    <button type="button" class="save" id="save_TAB" title="Save the image to a dedicated directory.">💾</button>
    <a class="zip" id="save_zip_TAB" download title="Download all pictures of this job in one zip archive.">🗃️</a>
    <button type="button" data-send="img2img" id="TAB_send_to_img2img" title="Send image and generation parameters to img2img tab.">🖼️</button>
    <button type="button" data-send="inpaint" id="TAB_send_to_inpaint" title="Send image and generation parameters to img2img inpaint tab.">🎨️</button>
    <button type="button" data-send="extras" id="TAB_send_to_extras" title="Send image and generation parameters to extras tab.">📐</button>
    UPSCALE
  </div>
  <p class="status" role="status"></p>
  <pre class="infotext" tabindex="0" aria-label="Infotext" hidden></pre>
</section>
"""
UPSCALE = """<button type="button" class="upscale" id="txt2img_upscale"
      title="Create an upscaled version of the current image using hires fix settings.">✨</button>"""


def build_results(tab: str) -> gr.HTML:
    """The panel; its script starts with it."""
    start = f"({call('start', tab)})(element)"
    panel = PANEL.replace("TAB", tab).replace("UPSCALE", UPSCALE if tab == "txt2img" else "")
    return gr.HTML(html_template=panel, js_on_load=start, elem_id=f"{tab}_results", apply_default_css=False)
