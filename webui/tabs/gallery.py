"""The tab Gallery: every picture of the output folders. Drawn by assets/album.js over our own API."""

import gradio as gr

from modules.library.album.store import ORDERS
from webui.parts.script import call
from webui.parts.targets import buttons

PANEL = """
<div class="album">
  <div class="bar">
    <input type="search" class="search" aria-label="Search pictures" placeholder="Words, model: lora: seed: size: date:" autocomplete="off" spellcheck="false" maxlength="500"
      title="Words of prompts and names. model:anime lora:fox sampler:euler negative:blurry seed:42 size:512x768 date:2026-05 after:2026-01-31 before:2026. Several must all hold; &quot;in quotation marks&quot; words follow each other.">
    <label class="meant" title="Words tell what a picture shows, whatever its prompt says; the likeliest come first"><input type="checkbox" class="meaning"> By meaning</label>
    <select class="view" aria-label="Show"></select>
    <select class="folder" aria-label="Folder"></select>
    <select class="order" aria-label="Order">ORDERS</select>
    <button type="button" class="refresh" title="Look for pictures again" aria-label="Look for pictures again">🔄</button>
    <button type="button" class="pickall" title="Choose all that are listed">Choose all</button>
    <span class="count" role="status"></span>
  </div>
  <div class="bar chosen" role="group" aria-label="Chosen pictures" hidden>
    <span class="number" role="status"></span>
    <button type="button" class="star">★ Favourite</button>
    <input type="text" class="board" list="album_boards" aria-label="Board" placeholder="Board" maxlength="100" autocomplete="off">
    <datalist id="album_boards"></datalist>
    <button type="button" class="add">Add to board</button>
    <button type="button" class="unboard" hidden>Remove from board</button>
    <button type="button" class="compare">Compare</button>
    <button type="button" class="zip">Zip</button>
    <button type="button" class="bare" title="A zip of the pictures without what they tell of how they were made">Zip without metadata</button>
    <button type="button" class="delete">Delete</button>
    <button type="button" class="restore" hidden>Restore</button>
    <button type="button" class="purge" hidden>Delete for good</button>
    <button type="button" class="clear">Clear choice</button>
  </div>
  <div class="bar board-tools" hidden><button type="button" class="drop-board">Remove this board</button><span class="facts">Its pictures stay where they are.</span></div>
  <p class="notice" role="status" hidden><span></span> <button type="button" class="undo" hidden>Undo</button></p>
  <div class="split">
    <div class="scroller" role="list" aria-label="Pictures" tabindex="-1"><p class="none" role="listitem" hidden></p></div>
    <aside class="detail" aria-label="Picture" hidden>
      <div class="head"><strong class="name"></strong><button type="button" class="close" aria-label="Close">✕</button></div>
      <button type="button" class="large" title="Large"><img alt=""></button>
      <p class="facts"></p>
      <p class="trouble" hidden></p>
      <div class="tools"><button type="button" class="star">★</button><a class="download" download>Download</a><button type="button" class="similar" title="Pictures that show the like">Similar</button><button type="button" class="delete">Delete</button></div>
      <div class="send" role="group" aria-label="Send">BUTTONS</div>
      <div class="kin parents" hidden><h4>Made from</h4><div></div></div>
      <div class="kin children" hidden><h4>Made of it</h4><div></div></div>
      <pre class="infotext" tabindex="0" aria-label="Infotext" hidden></pre>
    </aside>
  </div>
</div>
"""


def build_gallery_tab() -> gr.HTML:
    """Its script starts when the tab is opened for the first time."""
    orders = "".join(f"<option>{name}</option>" for name in ORDERS)
    with gr.Tab("Gallery", id="gallery", elem_id="tab_gallery"):
        return gr.HTML(
            html_template=PANEL.replace("ORDERS", orders).replace("BUTTONS", buttons()),
            js_on_load=f"({call('startAlbum')})(element)",
            elem_id="gallery_panel",
            apply_default_css=False,
        )
