"""The API over the real engine (a tiny model, in this process), and over the stand-in for what only the queue decides."""

from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from modules.api.app import build_api
from modules.core.flags import Flags
from modules.jobs.executors.inline import InlineExecutor
from modules.jobs.service import JobService
from modules.scripts.build import build_engine
from tests.jobs.helpers import make_service, puppet_process
from tests.tiny import write_tiny

HOST = "http://127.0.0.1:7860"


def client_of(service: JobService) -> TestClient:
    return TestClient(build_api(service, Flags(nowebui=True)), base_url=HOST, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[JobService]:
    """With the real engine."""
    data = tmp_path_factory.mktemp("api")
    write_tiny(data / "models" / "Stable-diffusion" / "tiny.safetensors")
    write_tiny(data / "models" / "Stable-diffusion" / "sub" / "other.safetensors", seed=1)
    service = make_service(data, InlineExecutor(lambda: None), sd_model_checkpoint="tiny")  # type: ignore[arg-type, return-value]
    service._executor = InlineExecutor(lambda: build_engine(paths=service.paths, use_cpu=True))
    service.start()
    yield service
    service.close()


@pytest.fixture(scope="module")
def client(service) -> Iterator[TestClient]:
    with client_of(service) as found:
        yield found


@pytest.fixture
def puppet(tmp_path) -> Iterator[tuple[JobService, TestClient]]:
    """With the stand-in engine, in a process of its own."""
    service = make_service(tmp_path, puppet_process())
    service.start()
    with client_of(service) as client:
        yield service, client
    service.close()


@pytest.fixture(scope="module")
def draw(client) -> Callable[..., dict]:
    """POST txt2img of a small picture; the JSON of the answer, which must be good."""

    def post(**values) -> dict:
        body = {"prompt": "a red star", "width": 64, "height": 64, "steps": 2, **values}
        answer = client.post("/sdapi/v1/txt2img", json=body)
        assert answer.status_code == 200, answer.text[:500]
        return answer.json()

    return post
