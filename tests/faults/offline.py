"""A start, the page and a picture, wherever this runs, and who was to be reached meanwhile: `python -m tests.faults.offline DATA MODELS`.

Prints a JSON object. `asked`: how many packets found no way out, those of name servers among them; `counted`: of one that is sent at the end.
"""

import contextlib
import json
import socket
import sys
from pathlib import Path

from tests.server import Server, until


def lost() -> int:
    """Packets of this network namespace that had no route."""
    names, values = (line.split() for line in Path("/proc/net/snmp").read_text().splitlines()[:2])
    newer = dict(line.split() for line in Path("/proc/net/snmp6").read_text().splitlines())
    return int(values[names.index("OutNoRoutes")]) + int(newer["Ip6OutNoRoutes"])


def main(data: str, models: str) -> None:
    with Server(Path(data), "--ckpt-dir", models, "--ckpt", "tiny") as server:
        told = {"health": server.get("/healthz").status_code, "samplers": bool(server.get("/sdapi/v1/samplers").json())}
        told["page"] = "gradio" in server.get("/").text
        until(lambda: server.get("/readyz").status_code == 200, 280)
        drawn = server.post("/sdapi/v1/txt2img", {"prompt": "a red star", "width": 64, "height": 64, "steps": 2})
        told |= {"images": len(drawn.json().get("images", [])), "asked": lost()}
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as away:
        away.sendto(b"x", ("198.51.100.1", 9))
    print(json.dumps({**told, "counted": lost() - told["asked"], "log": server.log}))


if __name__ == "__main__":
    main(*sys.argv[1:])
