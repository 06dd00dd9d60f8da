"""What a site's refusal means, as a sentence."""

import email.utils
import time

from modules.core.errors import RemoteError
from modules.library.downloads.tokens import HUGGING_FACE, LABELS
from modules.library.downloads.transport import Answer

MAX_WAIT = 600.0


def refusal(answer: Answer, site: str, *, named: bool) -> RemoteError:
    """The error for an answer that is no success. `site` may be ""; `named`: a token of it was at hand."""
    host, status = answer.url.host, answer.status
    label = LABELS.get(site, f'"{host}"')
    if status in (401, 403):
        return RemoteError(_denied(answer, site, label, named))
    if status in (404, 410):
        return RemoteError(f"{label} has nothing at {answer.url.shown}: it was moved, removed, or is not public.")
    if status == 429:
        wait = retry_after(answer.header("Retry-After"))
        words = f" for {wait:.0f} seconds" if wait else ""
        return RemoteError(f"{label} wants no more requests just now{words}. Retry later.", temporary=True, wait=wait)
    if status >= 500:
        wait = retry_after(answer.header("Retry-After"))
        return RemoteError(f"{label} has a fault of its own ({status}). Retry later.", temporary=True, wait=wait)
    return RemoteError(f"{label} refuses to give {answer.url.shown} (status {status}). Check the address.")


def _denied(answer: Answer, site: str, label: str, named: bool) -> str:
    if site not in LABELS:
        return f"{label} refuses (status {answer.status}): a login is needed there. Download it in a browser."
    if site == HUGGING_FACE and answer.header("X-Error-Code") == "RepoNotFound":
        return "Hugging Face has no such repository, or it is private and wants a token of one who may see it. Check its name."
    if site == HUGGING_FACE and answer.header("X-Error-Code") == "GatedRepo":
        need = "" if named else ", and keep an access token below Tokens"
        return f"This model is gated: accept its licence on its Hugging Face page{need}. Then retry."
    if named:
        return f"{label} does not accept your token for this (status {answer.status}). Check the token and its rights."
    what = (
        "an API key" if site != HUGGING_FACE else "an access token (and perhaps a licence accepted on the model's page)"
    )
    return f"{label} wants {what} for this (status {answer.status}). Keep one below Tokens, then retry."


def retry_after(text: str) -> float | None:
    """Seconds of a Retry-After header, a number or a date; at most MAX_WAIT."""
    if text.isascii() and text.isdigit() and len(text) < 10:
        return min(float(text), MAX_WAIT)
    try:
        return min(max(email.utils.parsedate_to_datetime(text).timestamp() - time.time(), 0.0), MAX_WAIT)
    except (TypeError, ValueError, OverflowError):
        return None
