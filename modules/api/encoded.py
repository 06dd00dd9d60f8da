"""Files that come in as base64."""

import base64
import binascii

from modules.core.errors import InputError


def decode_base64(field: str, text: str) -> bytes:
    """The bytes of base64 text, bare or as a data URL."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(field, f"{field} is not valid base64: {error}. Send the file's bytes in base64.") from error
