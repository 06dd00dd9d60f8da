"""The page as gradio blocks, and how it is served."""

import gradio as gr
from fastapi import FastAPI

from modules.core.page_sections import UserInterface
from modules.jobs.service import JobService
from modules.library.downloads.queue import Downloads
from webui.default_routes import build_default_routes
from webui.gallery import build_gallery
from webui.head import keep_page, mount_assets
from webui.localized import build_localization
from webui.parts.quicksettings import build_quicksettings
from webui.preset_routes import build_preset_routes
from webui.stream import build_router
from webui.tabs.extensions import build_extensions_tab
from webui.tabs.extras import ExtrasTab
from webui.tabs.gallery import build_gallery_tab
from webui.tabs.generation import GenerationTab
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
    "welcome",
)
SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")


def build_page(service: JobService, downloads: Downloads | None = None) -> gr.Blocks:
    """The whole page over that service; without `downloads` it has no tab Models."""
    return _build(service, downloads)[0]


def _build(service: JobService, downloads: Downloads | None) -> tuple[gr.Blocks, list[GenerationTab]]:
    """The page, and its tabs that draw."""
    with gr.Blocks(title="Atelier", analytics_enabled=False, fill_width=True) as page:
        picker, modules, refresh = build_quicksettings()
        with gr.Tabs(elem_id="tabs") as tabs:
            drawing: list[GenerationTab] = [
                kind(service, picker, modules, refresh) for kind in (Txt2ImgTab, Img2ImgTab)
            ]
            ExtrasTab(service)
            build_png_info_tab()
            MergerTab(service)
            if downloads is not None:
                build_models_tab()
            build_gallery_tab()
            build_queue_tab()
            build_settings_tab()
            build_extensions_tab()
        arrange(tabs, service.settings.current.user_interface)
        event = page.load
        for tab in drawing:  # one after the other: the first may be used when it is ready
            event = tab.on_load(event).then
    return page, drawing


def arrange(tabs: gr.Tabs, settings: UserInterface) -> None:
    """The tabs in the order that the settings say, the others behind as they are; hidden ones are in the page, but not seen."""
    order = list(dict.fromkeys(settings.ui_tab_order))
    tabs.children.sort(key=lambda tab: order.index(tab.label) if tab.label in order else len(order))  # type: ignore[attr-defined]
    for tab in tabs.children:
        if tab.label in settings.hidden_tabs:  # type: ignore[attr-defined]
            tab.visible = False


def theme_of(name: str) -> gr.themes.Base:
    """Gradio's theme of that name in A1111's spelling, such as "gradio/soft", with our spaces and the system's fonts."""
    kind = getattr(gr.themes, name.rpartition("/")[2].capitalize())
    return kind(font=SANS, font_mono=MONO, spacing_size="sm").set(
        layout_gap="8px",
        block_padding="6px 10px",
        input_padding="6px 8px",
        # gradio's own pale words and orange are too faint to be read (WCAG 1.4.3 wants 4.5 to 1)
        body_text_color_subdued="*neutral_500",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        color_accent="*primary_700",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_800",
    )


FREE = 0.01
"""Seconds after which gradio looks again whether the page asked for something; its own thousand looks a second are 6 % of a core."""


def mount_page(app: FastAPI, service: JobService, downloads: Downloads | None = None) -> FastAPI:
    """Serve the page at "/" of `app`, and what it needs below "/atelier". Nothing is fetched from other machines."""
    app.include_router(build_router(service))
    app.include_router(build_gallery(service))
    app.include_router(build_localization(service))
    assets = mount_assets(app)
    page, drawing = _build(service, downloads)
    app.include_router(build_default_routes(service, drawing))
    app.include_router(build_preset_routes(service, drawing))
    page.queue(default_concurrency_limit=4, max_size=200)
    page._queue.sleep_when_free = FREE
    app = gr.mount_gradio_app(
        app,
        page,
        path="/",
        theme=theme_of(service.settings.current.user_interface.gradio_theme),
        head="".join(f'<link rel="stylesheet" href="{assets}/{name}.css">' for name in STYLES),
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        max_file_size="1mb",
    )
    keep_page(app, assets, {block.get_block_name() for block in page.blocks.values()})
    return app
