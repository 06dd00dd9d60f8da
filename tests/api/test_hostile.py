"""A real server that other machines may reach, and requests that mean no good. Tests are named for the rows of docs/reliability.md."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.server import Server

EVIL = "https://evil.example"
ANN, BOB = ("ann", "anns secret"), ("bob", "bobs secret")


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Server]:
    """With two accounts, and one site that may ask."""
    data = tmp_path_factory.mktemp("hostile") / "data"
    words = ["--gradio-auth", "ann:anns secret,bob:bobs secret", "--cors-allow-origins", "https://good.example"]
    with Server(data, "--listen", *words) as running:
        yield running


@pytest.fixture
def ann(shared) -> Iterator[httpx.Client]:
    """Logged in by the page's form."""
    with httpx.Client(base_url=shared.url, timeout=60, trust_env=False) as client:
        logged = client.post("/login", data={"username": "ann", "password": "anns secret"})
        assert logged.status_code == 303
        yield client


def raw(server: Server, lines: list[str], body: bytes = b"") -> str:
    """The first line of the answer to a request that no client would send."""
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + body)
        return connection.makefile("rb").readline().decode("latin-1").strip()


HOSTS = ("evil.com", "127.0.0.1.nip.io", "0.0.0.0", "127.0.0.1:7860@evil.com", "a\\b", "", "localhost/x?")


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["/", "/healthz", "/gradio_api/queue/data?session_hash=x", "/atelier/page/page.js"])
def test_N1_other_names_are_refused(shared, host, path):
    assert raw(shared, [f"GET {path} HTTP/1.1", f"Host: {host}"]).split()[1] in ("403", "400")


def test_N1_two_names_are_refused_and_own_ones_are_not(shared):
    two = raw(shared, ["GET /healthz HTTP/1.1", "Host: localhost", "Host: evil.com"])
    assert two.split()[1] in ("403", "400")
    for host in ("localhost", f"127.0.0.1:{shared.port}", "[::1]"):
        assert raw(shared, ["GET /healthz HTTP/1.1", f"Host: {host}"]).split()[1] == "200"


def test_N5_sockets_of_other_sites_are_refused(shared):
    upgrade = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw=="]
    for path in ("/gradio_api/queue/join", "/queue/join", "/"):
        lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{shared.port}", "Sec-WebSocket-Version: 13", *upgrade]
        assert "101" not in raw(shared, [*lines, f"Origin: {EVIL}"])


def test_N2_other_sites_make_nothing_happen(shared, ann):
    before = files_of(shared)
    calls = [
        ("/gradio_api/upload", {"files": {"files": ("x.png", b"\x89PNG" * 1000)}}),
        ("/gradio_api/queue/join", {"json": {"data": [], "fn_index": 0, "session_hash": "x"}}),
        ("/gradio_api/run/0", {"json": {"data": []}}),
        ("/atelier/uploads", {"content": b"x", "headers": {"Content-Type": "text/plain"}}),
        ("/sdapi/v1/options", {"json": {"samples_format": "jpg"}}),
        ("/sdapi/v1/txt2img", {"json": {"prompt": "x"}}),
        ("/atelier/users", {"json": {"name": "mallory", "admin": True}}),
        ("/login", {"data": {"username": "ann", "password": "anns secret"}}),
        ("/logout", {}),
    ]
    for path, values in calls:
        headers = {"Origin": EVIL, **values.pop("headers", {})}
        assert ann.post(path, headers=headers, **values).status_code in (403, 404), path
    assert ann.get("/atelier/me").json()["name"] == "ann"  # logged in still
    assert ann.get("/atelier/jobs").json()["jobs"] == []
    assert before == files_of(shared)


def files_of(server: Server) -> list[Path]:
    """What lies in its data folder; databases write at times of their own and put files beside themselves meanwhile."""
    found = Path(server.data).rglob("*")
    return sorted(path.relative_to(server.data) for path in found if ".sqlite3-" not in path.name)


def test_N3_edge_cases_of_origins(shared, ann):
    own = f"http://127.0.0.1:{shared.port}"
    for headers, status in (
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": f"http://127.0.0.1:{shared.port + 1}"}, 403),
        ({"Origin": own}, 200),
        ({}, 200),
    ):
        assert ann.post("/sdapi/v1/skip", headers=headers).status_code == status, headers
    assert httpx.post(f"{shared.url}/sdapi/v1/skip", trust_env=False).status_code == 401


@pytest.mark.parametrize("path", ["/config", "/sdapi/v1/options", "/", "/atelier/me"])
def test_N4_no_other_site_reads_answers(shared, ann, path):
    for host in (f"127.0.0.1:{shared.port}", "localhost", socket.gethostname()):
        for method in ("GET", "OPTIONS"):
            headers = {"Host": host, "Origin": EVIL, "Access-Control-Request-Method": "POST"}
            answer = ann.request(method, path, headers=headers)
            assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert "access-control-allow-origin" not in ann.get(path, headers={"Host": "localhost"}).headers


def test_N4_the_sites_of_flags_do(shared, ann):
    good = {"Origin": "https://good.example"}
    answer = ann.get("/sdapi/v1/samplers", headers=good)
    assert answer.headers["access-control-allow-origin"] == "https://good.example"
    assert "origin" in answer.headers["vary"].lower()
    asked = {**good, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    preflight = httpx.options(f"{shared.url}/sdapi/v1/txt2img", headers=asked, trust_env=False)
    assert (preflight.status_code, preflight.headers["access-control-allow-headers"]) == (204, "content-type")


def test_N6_a_host_changes_no_path(shared):
    for host in ("a/login?", "localhost/login?", "localhost/healthz#"):
        assert raw(shared, ["GET /sdapi/v1/options HTTP/1.1", f"Host: {host}"]).split()[1] in ("400", "403")
    for path in (
        "/healthz/../sdapi/v1/options",
        "/login/../sdapi/v1/options",
        "//sdapi/v1/options",
        "/%73dapi/v1/options",
    ):
        status = raw(shared, [f"GET {path} HTTP/1.1", "Host: localhost"]).split()[1]
        assert status in ("401", "404"), path


def test_N8_the_api_has_the_page_s_login(shared, ann):
    for path in ("/sdapi/v1/samplers", "/internal/ping", "/openapi.json", "/config", "/", "/adetailer/v1/version"):
        assert httpx.get(f"{shared.url}{path}", trust_env=False).status_code == 401, path
        assert ann.get(path).status_code == 200, path
    assert httpx.get(f"{shared.url}/openapi.json", auth=BOB, trust_env=False).status_code == 403
    assert ann.get("/docs").status_code == 404


def test_N9_nothing_told_holds_a_secret(shared, ann):
    told = "".join(ann.get(path).text for path in ("/sdapi/v1/options", "/config", "/", "/account", "/atelier/users"))
    assert "anns secret" not in told
    assert "bobs secret" not in told
    assert "argon2" not in told
    assert "anns secret" not in shared.log


def test_N10_guessing_gets_slow(shared, ann):
    client = httpx.Client(base_url=shared.url, trust_env=False)
    statuses = []
    for number in range(30):
        headers = {"X-Forwarded-For": f"10.0.0.{number}"}
        answer = client.post("/login", data={"username": "victim", "password": str(number)}, headers=headers)
        statuses.append(answer.status_code)
    assert statuses[:5] == [401] * 5
    assert set(statuses[5:]) == {429}
    assert int(answer.headers["retry-after"]) >= 1
    basic = client.get("/sdapi/v1/samplers", auth=("victim", "guess"))
    assert (basic.status_code, basic.json()["error"]) == (429, "TooManyTries")
    client.close()
    assert ann.get("/atelier/me").status_code == 200


def test_N12_the_cookie(shared):
    answer = httpx.post(f"{shared.url}/login", data={"username": "ann", "password": "anns secret"}, trust_env=False)
    (cookie,) = answer.headers.get_list("set-cookie")
    assert cookie.startswith(f"atelier-{shared.port}=")
    for word in ("HttpOnly", "SameSite=lax", "Path=/"):
        assert word.lower() in cookie.lower()
    assert "none" not in cookie.lower()


def test_N13_logging_out(shared):
    with httpx.Client(base_url=shared.url, trust_env=False) as client:
        client.post("/login", data={"username": "bob", "password": "bobs secret"})
        cookies = dict(client.cookies)
        assert client.get("/atelier/me").json()["admin"] is False
        assert client.post("/logout").headers["location"] == "/login"
        assert httpx.get(f"{shared.url}/atelier/me", cookies=cookies, trust_env=False).status_code == 401


@pytest.mark.parametrize(
    "target", ["//evil.example", "/\\evil.example", "////evil", "https://evil.example", "\t//evil", "/a\r\nX: y"]
)
def test_N14_logging_in_leads_nowhere_else(shared, target):
    said = {"username": "ann", "password": "anns secret", "next": target}
    answer = httpx.post(f"{shared.url}/login", data=said, trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    page = httpx.get(f"{shared.url}/login", params={"next": target}, trust_env=False)
    assert "evil" not in page.text


def test_logging_in_leads_back(shared):
    page = httpx.get(f"{shared.url}/account?a=1", headers={"Accept": "text/html"}, trust_env=False)
    assert page.headers["location"] == "/login?next=%2Faccount%3Fa%3D1"
    said = {"username": "ann", "password": "anns secret", "next": "/account?a=1"}
    assert httpx.post(f"{shared.url}/login", data=said, trust_env=False).headers["location"] == "/account?a=1"


def test_X9_headers(shared, ann):
    for path in ("/", "/login", "/account", "/atelier/page/page.js", "/sdapi/v1/samplers", "/nothing"):
        headers = ann.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] in ("no-referrer", "same-origin")
        assert "frame-ancestors" in headers["content-security-policy"]
    for path in ("/login", "/account"):
        assert "unsafe" not in ann.get(path).headers["content-security-policy"]


def test_X1_what_is_typed_at_the_login_is_text(shared):
    once = '"><img src=x onerror=alert(1)>'
    page = httpx.get(f"{shared.url}/login", params={"once": once, "next": f"/{once}"}, trust_env=False).text
    assert "<img" not in page


def test_N17_headers_of_strangers_do_not_count(shared, ann):
    said = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "Forwarded": "host=evil.example"}
    assert "evil.example" not in ann.get("/config", headers=said).text
    assert "https://127" not in ann.get("/config", headers=said).text


def test_A8_bodies_have_an_end(shared, ann):
    answer = ann.post("/atelier/uploads", content=b"x" * (33 * 2**20))
    assert answer.status_code == 413
    assert "32 MB" in answer.json()["detail"]


RANGES = (
    "bytes=0-0,1-1",
    f"bytes={','.join(['0-0'] * 10_000)}",
    "bytes=0-0-0",
    "bytes=-1",
    "bytes=5-",
    "bytes=9-1",
    "x=1",
    "",
)


@pytest.mark.parametrize("wanted", RANGES, ids=lambda wanted: wanted[:14])
@pytest.mark.parametrize("path", ["/atelier/page/page.js", "/atelier/page/page.css"])
def test_N21_odd_ranges(shared, ann, path, wanted):
    whole = ann.get(path).content
    answer = ann.get(path, headers={"Range": wanted})
    assert answer.status_code in (200, 206, 400, 416, 431), answer.status_code
    assert len(answer.content) < len(whole) + 1000
    assert ann.get("/healthz").status_code == 200


def test_N22_what_is_asked_for_forges_no_line_of_the_log(shared, ann):
    odd = "a\r\nINFO uvicorn: forged\x1b[2J"
    ann.get("/nothing/a%0d%0aINFO%20uvicorn:%20forged%1b[2J", headers={"User-Agent": "a\x1b[2J"})
    ann.post("/sdapi/v1/txt2img", json={"prompt": odd, "sampler_name": odd, "steps": 1})
    ann.post("/sdapi/v1/options", json={"sd_model_checkpoint": odd, odd: 1})
    assert "\x1b" not in shared.log
    assert "\nINFO uvicorn: forged" not in shared.log
    assert all(len(line) < 3000 for line in shared.log.splitlines())


def test_F1_gradio_serves_no_files(shared, ann):
    for path in (
        "file=/etc/passwd",
        "file=config.json",
        "file/config.json",
        "proxy=http://127.0.0.1/",
        "file=http://x/",
    ):
        assert ann.get(f"/gradio_api/{path}").status_code == 404
    assert ann.post("/gradio_api/upload", files={"files": ("x.txt", b"x")}).status_code == 404


def test_the_start_tells_how_to_get_in(shared):
    assert f"Running on {shared.url}" in shared.log
    assert "/login?once=" in shared.log
    assert "unencrypted" in shared.log
    assert "Loosened by flags: --cors-allow-origins" in shared.log
    once = shared.log.partition("/login?once=")[2].split()[0]
    page = httpx.get(f"{shared.url}/login?once={once}", trust_env=False)
    assert "one time" in page.text  # looking alone uses nothing up
    for status in (303, 401):
        assert httpx.post(f"{shared.url}/login", data={"once": once}, trust_env=False).status_code == status
