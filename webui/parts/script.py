"""Calls from gradio's events into the page's own scripts."""

import json
from typing import Any


def call(function: str, *first: Any) -> str:
    """JavaScript for `js=`: calls that export of assets/page.js with `first`, then the values of the event's inputs."""
    given = ", ".join(json.dumps(value) for value in (function, *first))
    return f"(...values) => atelier({given}, ...values)"
