"""Calls from gradio's events into the page's own scripts."""

import json
from typing import Any

MODULE = "atelier/page/page.js"


def call(function: str, *first: Any) -> str:
    """JavaScript for `js=`: calls that export of assets/page.js with `first`, then the values of the event's inputs."""
    given = "".join(f"{json.dumps(value)}, " for value in first)
    return (
        f"(...values) => import(new URL('{MODULE}', document.baseURI)).then(page => page.{function}({given}...values))"
    )
