"""The page as gradio blocks, and how it is served."""

import gradio as gr
from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from modules.jobs.service import JobService
from webui.parts.quicksettings import build_checkpoint_picker
from webui.stream import ASSETS, build_router
from webui.tabs.txt2img import Txt2ImgTab

SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")


def build_page(service: JobService) -> gr.Blocks:
    """The whole page over that service."""
    with gr.Blocks(title="Atelier", analytics_enabled=False, fill_width=True) as page:
        picker, refresh = build_checkpoint_picker()
        with gr.Tabs(elem_id="tabs"):
            tab = Txt2ImgTab(service, picker, refresh)
        tab.on_load(page)
    return page


def mount_page(app: FastAPI, service: JobService) -> FastAPI:
    """Serve the page at "/" of `app`, and what it needs below "/atelier". Nothing is fetched from other machines."""
    app.include_router(build_router(service))
    app.mount("/atelier/page", StaticFiles(directory=ASSETS))
    page = build_page(service)
    page.queue(default_concurrency_limit=4, max_size=200)
    return gr.mount_gradio_app(
        app,
        page,
        path="/",
        theme=gr.themes.Default(font=SANS, font_mono=MONO, spacing_size="sm").set(
            layout_gap="8px", block_padding="6px 10px", input_padding="6px 8px"
        ),
        head='<link rel="stylesheet" href="atelier/page/page.css">',
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        max_file_size="1mb",
    )
