"""schemathesis over /openapi.json, against a real server with the bundled model: `pytest -m fuzz`, FUZZ_SECONDS=900 for a long run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server import Server

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(4000)]
SECONDS = int(os.environ.get("FUZZ_SECONDS", "60"))
OUTSIDE = "/server-|/extensions/restart|/download|/atelier/search/|/cards/.*/(notes|preview)|/styles|/atelier/watch|/queue/pause"
"""Routes that end the server, leave this machine, write beside the bundled models, answer without end or have all others wait."""


def test_A21_no_request_is_a_mistake_of_the_server(tmp_path):
    with Server(tmp_path / "data", "--max-megapixels", "1") as server:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"),
            *("--checks", "no_mistake", "--exclude-path-regex", OUTSIDE, "--max-time", str(SECONDS)),
            *("--request-timeout", "300", "--continue-on-failure", "--warnings", "off", "--no-shrink"),
            *("--suppress-health-check", "all", "--generation-database", "none"),
        ]
        environment = {
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.api.fuzz_hooks",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        done = subprocess.run(
            command,
            cwd=Path(__file__).parents[2],
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS + 600,
        )
        (tmp_path / "report.txt").write_text(done.stdout + done.stderr)
        print(done.stdout[-20_000:])
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
        assert "Traceback" not in server.log, server.log[-5000:]
        body = {"prompt": "a", "steps": 1, "width": 64, "height": 64}
        assert server.post("/sdapi/v1/txt2img", body).json()["images"]
