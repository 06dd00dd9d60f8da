"""Hugging Face and Civitai as local servers speak them: search, files, plans, downloads, refusals."""

import io
import json

import pytest
from PIL import Image

from modules.core.errors import InputError, RemoteError, UnknownName
from modules.library.checkpoints import Checkpoints
from modules.library.downloads.hub import folder_files, guess_kind
from modules.library.downloads.names import KINDS, clean_name
from modules.library.downloads.starters import read_starters
from modules.library.downloads.tokens import CIVITAI, HUGGING_FACE
from modules.library.hashes import HashCache
from tests.library.downloads.conftest import ended, left
from tests.library.servers import Served, model, query_of, serve_civitai, serve_repo, sha256

REPO = "ann/fine-model"


def test_search_at_hugging_face(downloads, shop, tmp_path):
    serve_repo(shop, REPO, {"a.safetensors": model(tmp_path)})
    found = downloads.finder.search(HUGGING_FACE, "fine")
    assert [(f["id"], f["licence"], f["gated"]) for f in found] == [(REPO, "openrail++", False)]
    assert found[0]["page"] == f"{shop.url}/{REPO}"
    assert query_of(shop.asked[0])["search"] == ["fine"]
    for words in ("", " ", "x" * 201):
        with pytest.raises(InputError, match="1 to 200 characters"):
            downloads.finder.search(HUGGING_FACE, words)
    with pytest.raises(UnknownName, match="Nearest: civitai"):
        downloads.finder.search("civitay", "x")


def test_a_file_of_hugging_face(downloads, shop, tmp_path):
    data = model(tmp_path)
    serve_repo(shop, REPO, {"sub/a.safetensors": data, "README.md": b"hello"})
    listed = downloads.finder.hub.files(REPO)
    assert listed["files"] == [{"path": "sub/a.safetensors", "size": len(data), "kind": "Stable-diffusion"}]
    assert listed["folder"] is None
    plan = downloads.finder.hub.plan(REPO, file="sub/a.safetensors", kind="VAE")
    report = ended(downloads, downloads.add(plan)["id"])
    assert (report["state"], report["message"]) == ("done", "")
    assert (tmp_path / "models" / "VAE" / "a.safetensors").read_bytes() == data
    assert ("localhost", f"/cdn/{REPO}/sub/a.safetensors") in [(a.host, a.path) for a in shop.asked]
    assert plan.files[0].sha256 == sha256(data)


def test_the_token_of_hugging_face_stays_there(make, shop, tmp_path):
    data = model(tmp_path)
    serve_repo(shop, REPO, {"a.safetensors": data}, token="hf_good", gated=True)
    downloads = make()
    plan = downloads.finder.hub.plan(REPO, file="a.safetensors")
    entry = downloads.add(plan)["id"]
    report = ended(downloads, entry)
    assert report["state"] == "failed"
    assert report["message"] == (
        "This model is gated: accept its licence on its Hugging Face page, and keep an access token below Tokens. Then retry."
    )
    downloads.tokens.keep(HUGGING_FACE, "hf_bad", shop.url)
    downloads.act(entry, "retry")
    assert "accept its licence on its Hugging Face page. Then retry." in ended(downloads, entry, "failed")["message"]
    downloads.tokens.keep(HUGGING_FACE, "hf_good", shop.url)
    downloads.act(entry, "retry")
    assert ended(downloads, entry, "done")["state"] == "done"
    hosts = {host for host, _ in shop.tokens()}
    assert hosts == {"127.0.0.1"}
    assert any(asked.host == "localhost" for asked in shop.asked)
    for file in tmp_path.rglob("*"):
        if file.is_file() and file.name != "tokens.json":
            assert b"hf_good" not in file.read_bytes(), file


def test_a_token_for_another_address_is_not_sent(make, shop, tmp_path):
    serve_repo(shop, REPO, {"a.safetensors": model(tmp_path)})
    downloads = make(environment={"HF_TOKEN": "hf_env"})
    downloads.tokens.keep(HUGGING_FACE, "hf_kept", "https://huggingface.co")
    ended(downloads, downloads.add(downloads.finder.hub.plan(REPO, file="a.safetensors"))["id"])
    assert shop.tokens() == []


FOLDER = {
    "model_index.json": b'{"_class_name": "StableDiffusionPipeline"}',
    "README.md": b"hello",
    "v1-5-pruned.ckpt": b"a whole checkpoint beside it",
    "scheduler/scheduler_config.json": b"{}",
    "text_encoder/config.json": b"{}",
    "text_encoder/pytorch_model.bin": b"not this",
    "text_encoder/model.fp16.safetensors": b"nor this",
    "tokenizer/vocab.json": b"{}",
    "tokenizer/tokenizer_config.json": b"{}",
    "tokenizer/merges.txt": b"a b",
    "unet/config.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors.index.json": b"{}",
    "unet/diffusion_pytorch_model.fp16.safetensors": b"nor this",
    "unet/openvino_model.xml": b"nor this",
    "vae/config.json": b"{}",
}
WANTED = {
    *(
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
    ),
    *("tokenizer/vocab.json", "tokenizer/tokenizer_config.json", "tokenizer/merges.txt", "unet/config.json"),
    *(
        "unet/diffusion_pytorch_model.safetensors.index.json",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ),
    *(f"unet/diffusion_pytorch_model-0000{n}-of-00002.safetensors" for n in (1, 2)),
}


def whole_folder(tmp_path) -> dict[str, bytes]:
    return {
        **FOLDER,
        **{path: model(tmp_path, name=path.replace("/", "-")) for path in WANTED if path.endswith(".safetensors")},
    }


def test_a_diffusers_folder_comes_whole(downloads, shop, tmp_path):
    files = whole_folder(tmp_path)
    serve_repo(shop, REPO, files)
    assert set(folder_files(list(files))) == WANTED
    assert downloads.finder.hub.files(REPO)["folder"] == sum(len(files[path]) for path in WANTED)
    for path in ("unet/diffusion_pytorch_model-00002-of-00002.safetensors", "vae/diffusion_pytorch_model.safetensors"):
        shop.served[f"/cdn/{REPO}/{path}"].cuts.extend([1000] + [0] * 15)
    plan = downloads.finder.hub.plan(REPO, file=None)
    entry = downloads.add(plan)["id"]
    report = ended(downloads, entry)
    models = tmp_path / "models" / "Stable-diffusion"
    checkpoints = Checkpoints([models], HashCache(tmp_path / "cache"))
    assert report["state"] == "failed"
    assert 0 < report["received"] < report["size"]
    assert [path.name for path in models.iterdir()] == [".fine-model.part"]
    assert checkpoints.list() == []
    count = len(shop.asked)
    while ended(downloads, entry, "failed", "done")["state"] == "failed":
        downloads.act(entry, "retry")
        until_over = ended(downloads, entry, "failed", "done")
    assert until_over["state"] == "done"
    assert until_over["received"] == until_over["size"] == plan.size
    assert set(left(models)) == {f"fine-model/{path}" for path in WANTED}
    assert all((models / "fine-model" / path).read_bytes() == files[path] for path in WANTED)
    assert [c.name for c in checkpoints.list()] == ["fine-model"]
    again = [asked.path for asked in shop.asked[count:]]
    assert not any("model_index.json" in path for path in again)  # what was whole was not asked again
    with pytest.raises(InputError, match='You have it already: "fine-model"'):
        downloads.add(plan)


def test_a_cancelled_folder_leaves_nothing(downloads, shop, tmp_path):
    serve_repo(shop, REPO, whole_folder(tmp_path))
    shop.served[f"/cdn/{REPO}/vae/diffusion_pytorch_model.safetensors"].statuses.extend([404])
    entry = downloads.add(downloads.finder.hub.plan(REPO, file=None))["id"]
    assert ended(downloads, entry)["state"] == "failed"
    downloads.act(entry, "cancel")
    assert left(tmp_path / "models") == []
    assert list((tmp_path / "models" / "Stable-diffusion").iterdir()) == []


def test_what_hugging_face_has_not(downloads, shop, tmp_path):
    hub = downloads.finder.hub
    serve_repo(shop, REPO, {"a.safetensors": model(tmp_path), "notes.txt": b""})
    with pytest.raises(InputError, match="has no such file"):
        hub.plan(REPO, file="b.safetensors")
    with pytest.raises(InputError, match="is not a diffusers model"):
        hub.plan(REPO, file=None)
    with pytest.raises(InputError, match="ends with one of"):
        hub.plan(REPO, file="notes.txt")
    with pytest.raises(InputError, match="must be a plain file name"):
        hub.plan(REPO, file="a.safetensors", name="../a.safetensors")
    with pytest.raises(RemoteError, match="Hugging Face has nothing at"):
        hub.files("ann/nothing")
    unknown = {"X-Error-Code": "RepoNotFound"}  # the hub tells nobody whether a private one is there
    shop.json("/api/models/ann/private/revision/main", {}, statuses=[401], headers=unknown)
    with pytest.raises(RemoteError, match="has no such repository, or it is private"):
        hub.files("ann/private")
    for repo in ("", "a/b/c", "../x", "a b", "ann/..", "https://x/y"):
        with pytest.raises(InputError, match="must look like owner/name"):
            hub.files(repo)


@pytest.mark.parametrize(
    "answer", [b"<html>", b"[]", b"7", b'"x"', b'{"a": 1}', b"{" * 50_000, b'[{"no": "id"}]', b"null"]
)
def test_nonsense_from_the_sites(downloads, shop, answer):
    for path in (
        "/api/models",
        f"/api/models/{REPO}/revision/main",
        "/api/v1/models",
        "/api/v1/models/7",
        "/api/v1/model-versions/70",
    ):
        shop.file(path, answer)
    finder = downloads.finder
    for ask in (lambda: finder.hub.files(REPO), lambda: finder.civitai.model(7), lambda: finder.civitai.plan(70)):
        with pytest.raises(RemoteError, match="does not answer as|not JSON"):
            ask()
    for site in (HUGGING_FACE, CIVITAI):
        try:
            assert finder.search(site, "x") == []
        except RemoteError as error:
            assert "does not answer as" in error.message or "not JSON" in error.message


def test_without_a_network(make, shop):
    downloads = make(settings={"huggingface_endpoint": "http://127.0.0.1:9", "civitai_endpoint": "http://no.invalid"})
    with pytest.raises(RemoteError, match='"127.0.0.1" cannot be reached .* Check that this machine is online'):
        downloads.finder.search(HUGGING_FACE, "x")
    with pytest.raises(
        RemoteError, match='"no.invalid" cannot be found. Check the address, and that this machine is online'
    ):
        downloads.finder.search(CIVITAI, "x")


def test_the_address_of_the_environment(make, shop, tmp_path):
    serve_repo(shop, REPO, {"a.safetensors": model(tmp_path)})
    given = {"HF_ENDPOINT": f"{shop.url}/", "HF_TOKEN": "hf_env"}
    downloads = make(environment=given, settings={"huggingface_endpoint": ""})
    assert downloads.finder.search(HUGGING_FACE, "fine")[0]["id"] == REPO
    assert shop.tokens() == [("127.0.0.1", shop.asked[0].path)]
    downloads = make(environment={"HF_ENDPOINT": "hub", "HF_TOKEN": "hf_env"}, settings={"huggingface_endpoint": ""})
    with pytest.raises(InputError, match='HF_ENDPOINT is "hub": it must begin with https://'):
        downloads.finder.search(HUGGING_FACE, "fine")


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, format="PNG")
    return buffer.getvalue()


def test_a_model_of_civitai(downloads, shop, tmp_path):
    data = model(tmp_path)
    version = serve_civitai(shop, data, key="civ_good", picture=png())
    found = downloads.finder.search(CIVITAI, "pony")
    assert [(f["title"], f["kind"], f["versions"][0]["files"][0]["name"]) for f in found] == [
        ("Pony", "Lora", "pony.safetensors")
    ]
    assert downloads.finder.civitai.by_hash(sha256(data))["id"] == 70
    entry = downloads.add(downloads.finder.civitai.plan(70))["id"]
    report = ended(downloads, entry)
    assert report["message"] == "Civitai wants an API key for this (status 401). Keep one below Tokens, then retry."
    downloads.tokens.keep(CIVITAI, "civ_good", shop.url)
    downloads.act(entry, "retry")
    report = ended(downloads, entry, "done", "failed")
    assert (report["state"], report["message"]) == ("done", "")
    folder = tmp_path / "models" / "Lora"
    assert left(folder) == ["pony.civitai.info", "pony.preview.png", "pony.safetensors"]
    assert json.loads((folder / "pony.civitai.info").read_text()) == version
    assert (folder / "pony.preview.png").read_bytes() == png()
    assert {host for host, _ in shop.tokens()} == {"127.0.0.1"}
    assert "signature" not in str(downloads.all())


def test_a_wrong_file_of_civitai(downloads, shop, tmp_path):
    serve_civitai(shop, model(tmp_path), hashes={"SHA256": "A" * 64})
    report = ended(downloads, downloads.add(downloads.finder.civitai.plan(70))["id"])
    assert "aaaaaaaaaa was announced" in report["message"]
    assert left(tmp_path / "models") == []


def test_names_of_civitai_are_cleaned(downloads, shop, tmp_path):
    serve_civitai(shop, model(tmp_path), name="../../../evil:name.safetensors")
    plan = downloads.finder.civitai.plan(70)
    assert plan.name == "evil_name.safetensors"
    serve_civitai(shop, model(tmp_path), name="archive.zip")
    with pytest.raises(InputError, match="has no model file at Civitai"):
        downloads.finder.civitai.plan(70)
    with pytest.raises(InputError, match="has no file 5 at Civitai"):
        downloads.finder.civitai.plan(70, file_id=5)
    with pytest.raises(InputError, match="8 to 64 hexadecimal digits"):
        downloads.finder.civitai.by_hash("../../x")


def test_a_preview_that_is_none_is_left_out(downloads, shop, tmp_path):
    serve_civitai(shop, model(tmp_path), picture=b"<svg/>")
    assert ended(downloads, downloads.add(downloads.finder.civitai.plan(70))["id"])["message"] == ""
    assert left(tmp_path / "models" / "Lora") == ["pony.civitai.info", "pony.safetensors"]
    shop.served["/api/v1/model-versions/70"].statuses.append(500)
    said = downloads.finder.civitai.keep_beside(70, tmp_path / "models" / "Lora" / "other.safetensors")
    assert said.startswith("The model is here; its description or preview is not: Civitai has a fault")


def test_addresses_of_pages_are_understood(downloads, shop, tmp_path):
    data = model(tmp_path)
    serve_repo(shop, REPO, {"sub/a.safetensors": data})
    serve_civitai(shop, data)
    address = downloads.finder.address
    for url in (
        f"{shop.url}/{REPO}/blob/main/sub/a.safetensors",
        f"{shop.url}/{REPO}/resolve/main/sub/a.safetensors?download=true",
    ):
        assert address(url).files[0].sha256 == sha256(data)
    for host in (shop.url, "https://civitai.com"):
        for path in (
            "/models/7",
            "/models/7/pony?modelVersionId=70",
            "/api/download/models/70?type=Model",
            "/models/7?modelVersionId=70",
        ):
            assert address(host + path).version == 70
    assert address("https://huggingface.co/ann/fine-model/blob/main/sub/a.safetensors", kind="VAE").kind == "VAE"
    with pytest.raises(InputError, match="modelVersionId is"):
        address(f"{shop.url}/models/7?modelVersionId=x")


def test_a_plain_address(downloads, shop, tmp_path):
    data = model(tmp_path)
    address = downloads.finder.address
    plan = address(shop.file("/files/my%20vae.safetensors".replace("%20", " "), data).replace(" ", "%20"))
    assert (plan.name, plan.kind, plan.files[0].size, plan.site) == ("my vae.safetensors", "VAE", len(data), "")
    disposition = {
        "Content-Disposition": "attachment; filename=\"../../named.safetensors\"; filename*=UTF-8''n%C3%A4med.safetensors"
    }
    url = shop.file("/get", data, headers=disposition)
    assert address(url).name in ("named.safetensors", "nämed.safetensors")
    assert address(url, name="mine.safetensors").name == "mine.safetensors"
    shop.served["/moved"] = Served(redirect=f"{shop.other}/files/my%20vae.safetensors")
    assert address(f"{shop.url}/moved").name == "my vae.safetensors"


PLAIN = {
    "/login": ({"data": b"<html>", "kind": "text/html"}, '"x.safetensors" is a web page, not a model'),
    "/none": ({"data": b"", "statuses": [404]}, "has nothing at"),
    "/closed": ({"data": b"", "token": "x"}, "a login is needed there"),
    "/busy": ({"data": b"", "statuses": [503]}, "a fault of its own"),
    "/exe": ({"data": b"MZ"}, "ends with one of"),
}


@pytest.mark.parametrize("path", PLAIN)
def test_a_plain_address_that_is_no_model(downloads, shop, path):
    served, words = PLAIN[path]
    name = None if path == "/exe" else "x.safetensors"
    with pytest.raises((InputError, RemoteError, Exception), match=words):
        downloads.finder.address(shop.file(path, **served), name=name)
    assert downloads.all() == []


def test_the_strict_queue_asks_no_local_machine(make, shop):
    downloads = make(allow_local=False)
    for ask in (
        lambda: downloads.finder.address(f"{shop.url}/a.safetensors"),
        lambda: downloads.finder.search(HUGGING_FACE, "x"),
        lambda: downloads.finder.search(CIVITAI, "x"),
    ):
        with pytest.raises(InputError, match="not on the public internet"):
            ask()
    assert shop.asked == []


def test_the_start_set(downloads, shop, tmp_path):
    starters = read_starters()
    assert len({starter.id for starter in starters}) == len(starters) > 20
    for starter in starters:
        assert starter.kind in KINDS
        assert starter.licence and starter.note and starter.family
        assert bool(starter.repo) != bool(starter.url)
        assert clean_name(starter.saved_as) == starter.saved_as
    data = model(tmp_path)
    chosen = next(s for s in starters if s.id == "lcm-lora-sd15")
    serve_repo(shop, chosen.repo, {chosen.file or "": data})
    report = ended(downloads, downloads.add(downloads.finder.starter("lcm-lora-sd15"))["id"])
    assert report["state"] == "done"
    assert (tmp_path / "models" / "Lora" / "lcm-lora-sdv1-5.safetensors").read_bytes() == data
    with pytest.raises(UnknownName, match="Nearest: sdxl"):
        downloads.finder.starter("sdxl")


def test_kinds_are_guessed():
    assert guess_kind("split_files/vae/ae.safetensors") == "VAE"
    assert guess_kind("split_files/text_encoders/qwen.safetensors") == "text_encoder"
    assert guess_kind("control_v11p_sd15_canny.pth") == "ControlNet"
    assert guess_kind("pytorch_lora_weights.safetensors") == "Lora"
    assert guess_kind("model.safetensors", "ann/my-lora") == "Lora"
    assert guess_kind("sd_xl_base_1.0.safetensors") == "Stable-diffusion"
    assert guess_kind("split_files/diffusion_models/z.safetensors") == "diffusion_models"
