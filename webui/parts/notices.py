"""What went wrong, as notices on the page: the last border for errors of the page's handlers."""

import html
import logging
from collections.abc import Callable
from typing import Any

import gradio as gr

from modules.core.errors import AtelierError, InputError
from webui import hires_form, img2img_form
from webui.form import LABELS
from webui.parts.caller import called_by

log = logging.getLogger(__name__)


def notice(message: str) -> None:
    """Show a sentence; gradio takes it for HTML, so it is escaped."""
    gr.Warning(html.escape(message))


def sentence(error: AtelierError) -> str:
    """The error's message, with the field called as the page calls it."""
    field = getattr(error, "field", None)
    labels = {**hires_form.LABELS, **img2img_form.LABELS, **LABELS}
    if isinstance(error, InputError) and field in labels and error.message.startswith(f"{field} "):
        return labels[field] + error.message[len(field) :]
    return error.message


def shows_errors(otherwise: Callable[[], Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator for handlers: errors become notices, and the page gets `otherwise()` instead of a result."""

    def decorate(handler: Callable[..., Any]) -> Callable[..., Any]:
        def handled(request: gr.Request | None = None, *values: Any) -> Any:
            try:
                with called_by(request):
                    return handler(*values)
            except AtelierError as error:
                notice(sentence(error))
            except Exception:
                log.exception("%s", handler.__name__)
                notice("The program made a mistake. Its log says more; nothing finished is lost.")
            return otherwise()

        handled.__name__ = handler.__name__
        return handled

    return decorate
