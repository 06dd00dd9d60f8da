"""The page as gradio blocks, and how it is served."""

import gradio as gr
from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from modules.jobs.service import JobService
from modules.library.downloads.queue import Downloads
from webui.gallery import build_gallery
from webui.localized import build_localization, localize
from webui.parts.quicksettings import build_quicksettings
from webui.stream import ASSETS, build_router
from webui.tabs.extras import ExtrasTab
from webui.tabs.gallery import build_gallery_tab
from webui.tabs.img2img import Img2ImgTab
from webui.tabs.merger import MergerTab
from webui.tabs.models import build_models_tab
from webui.tabs.png_info import build_png_info_tab
from webui.tabs.queue import build_queue_tab
from webui.tabs.settings import build_settings_tab
from webui.tabs.txt2img import Txt2ImgTab

STYLES = (
    "page",
    "prompt_help",
    "control",
    "models",
    "merging",
    "extras",
    "pictures",
    "png_info",
    "queue",
    "album",
    "settings",
    "cards",
)
SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")


def build_page(service: JobService, downloads: Downloads | None = None) -> gr.Blocks:
    """The whole page over that service; without `downloads` it has no tab Models."""
    with gr.Blocks(title="Atelier", analytics_enabled=False, fill_width=True) as page:
        picker, modules, refresh = build_quicksettings()
        with gr.Tabs(elem_id="tabs"):
            drawing = [kind(service, picker, modules, refresh) for kind in (Txt2ImgTab, Img2ImgTab)]
            ExtrasTab(service)
            build_png_info_tab()
            MergerTab(service)
            if downloads is not None:
                build_models_tab()
            build_gallery_tab()
            build_queue_tab()
            build_settings_tab()
        for tab in drawing:
            tab.on_load(page)
    return page


def theme_of(name: str) -> gr.themes.Base:
    """Gradio's theme of that name in A1111's spelling, such as "gradio/soft", with our spaces and the system's fonts."""
    kind = getattr(gr.themes, name.rpartition("/")[2].capitalize())
    return kind(font=SANS, font_mono=MONO, spacing_size="sm").set(
        layout_gap="8px", block_padding="6px 10px", input_padding="6px 8px"
    )


def mount_page(app: FastAPI, service: JobService, downloads: Downloads | None = None) -> FastAPI:
    """Serve the page at "/" of `app`, and what it needs below "/atelier". Nothing is fetched from other machines."""
    app.include_router(build_router(service))
    app.include_router(build_gallery(service))
    app.include_router(build_localization(service))
    app.mount("/atelier/page", StaticFiles(directory=ASSETS))
    page = build_page(service, downloads)
    page.queue(default_concurrency_limit=4, max_size=200)
    app = gr.mount_gradio_app(
        app,
        page,
        path="/",
        theme=theme_of(service.settings.current.user_interface.gradio_theme),
        head="".join(f'<link rel="stylesheet" href="atelier/page/{name}.css">' for name in STYLES),
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        max_file_size="1mb",
    )
    localize(app)
    return app
