"""Gradio's own tunnel, for --share."""

import secrets

from gradio.networking import setup_tunnel

from modules.core.errors import RemoteError


def share_address(port: int) -> str:
    """The public address under which gradio's servers pass requests on to that port; raises RemoteError."""
    try:
        return setup_tunnel(
            local_host="127.0.0.1",
            local_port=port,
            share_token=secrets.token_urlsafe(32),
            share_server_address=None,
            share_server_tls_certificate=None,
        )
    except Exception as error:  # gradio raises whatever its download and its servers do
        raise RemoteError(
            "--share: gradio's tunnel cannot be had: its program could not be fetched or its servers do not answer. "
            "Try again later, or use --cloudflared or --ngrok."
        ) from error
