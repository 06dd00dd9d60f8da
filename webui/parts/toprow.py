"""The prompts, with Generate and its neighbours at their right."""

from dataclasses import dataclass

import gradio as gr

from webui.form import LABELS
from webui.parts.prompt_help import build_prompt_help
from webui.parts.styles import StyleRow, build_editor, build_menu

KEYS = "(Press Ctrl+Enter to generate, Alt+Enter to skip, Esc to interrupt)"


INTERROGATORS = {"interrogate": "📎", "deepbooru": "📦"}
"""A1111's buttons that have the picture described into the prompt; assets/interrogate.js does it."""


@dataclass(frozen=True, kw_only=True)
class TopRow:
    """Its components."""

    prompt: gr.Textbox
    negative_prompt: gr.Textbox
    generate: gr.Button
    interrupt: gr.Button
    skip: gr.Button
    paste: gr.Button
    enqueue: gr.Button
    styles: StyleRow


def build_toprow(tab: str) -> TopRow:
    """Interrupt and Skip lie where Generate is; the page's style shows them while its job runs."""
    with gr.Row(elem_id=f"{tab}_toprow", elem_classes="toprow"):
        with gr.Column(scale=6, min_width=260, elem_classes="prompts"):
            prompt = _prompt_box("prompt", f"{tab}_prompt")
            negative = _prompt_box("negative_prompt", f"{tab}_neg_prompt")
            build_prompt_help(tab)
        with gr.Column(scale=1, min_width=160, elem_id=f"{tab}_actions", elem_classes="actions"):
            with gr.Row(elem_classes="generate-box"):
                generate = gr.Button("Generate", variant="primary", elem_id=f"{tab}_generate", elem_classes="generate")
                interrupt = gr.Button("Interrupt", elem_id=f"{tab}_interrupt", elem_classes="interrupt", min_width=60)
                skip = gr.Button("Skip", elem_id=f"{tab}_skip", elem_classes="skip", min_width=60)
            with gr.Row(elem_classes="tools-row"):
                paste = gr.Button("↙️", elem_id=f"{tab}_paste", elem_classes="tool", min_width=40, scale=0)
                enqueue = gr.Button("Enqueue", elem_id=f"{tab}_enqueue", size="sm", min_width=60)
            if tab == "img2img":
                with gr.Row(elem_classes="tools-row"):
                    for elem_id, face in INTERROGATORS.items():
                        gr.Button(face, elem_id=elem_id, elem_classes="tool", min_width=40, scale=0)
            menu = build_menu(tab)
    styles = build_editor(tab, *menu)
    return TopRow(
        prompt=prompt,
        negative_prompt=negative,
        generate=generate,
        interrupt=interrupt,
        skip=skip,
        paste=paste,
        enqueue=enqueue,
        styles=styles,
    )


def _prompt_box(name: str, elem_id: str) -> gr.Textbox:
    return gr.Textbox(
        label=LABELS[name],
        show_label=False,
        container=False,
        placeholder=f"{LABELS[name]}\n{KEYS}",
        lines=3,
        max_lines=12,
        elem_id=elem_id,
    )
