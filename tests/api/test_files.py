"""Making model files over the API, with the real engine."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from modules.library.header import read_header
from tests.tiny import write_tiny

AB = {"primary_model_name": "tiny", "secondary_model_name": "other"}


@pytest.fixture(scope="module")
def made(client, service):
    """POST, wait, and the job's last report."""

    def post(path, **values):
        answer = client.post(f"/atelier/{path}", json=values)
        assert answer.status_code == 200, answer.text
        service.wait(answer.json()["id"], 60)
        return client.get(f"/atelier/jobs/{answer.json()['id']}").json()

    return post


def folder(service):
    return service.paths.data / "models" / "Stable-diffusion"


def test_a_merge_is_listed_at_once_with_its_hash_and_draws(client, service, made, draw):
    job = made("merge", **AB, multiplier=0.5, metadata_json='{"mine": "yes"}')
    assert (job["state"], job["kind"], job["progress"]) == ("done", "merge", 1.0)
    result = job["result"]
    assert result["name"] == "0.5(tiny) + 0.5(sub_other).safetensors"
    assert result["message"] == f'Checkpoint saved to "{result["path"]}".'
    listed = {entry["filename"]: entry for entry in client.get("/sdapi/v1/sd-models").json()}
    assert listed[result["path"]]["sha256"] == result["sha256"]
    a, b, c = (
        load_file(p)
        for p in (folder(service) / "tiny.safetensors", folder(service) / "sub" / "other.safetensors", result["path"])
    )
    for name in a:
        assert torch.equal(c[name], 0.5 * a[name] + 0.5 * b[name])
    metadata = read_header(folder(service) / result["name"]).metadata
    assert metadata["mine"] == "yes"
    assert json.loads(metadata["sd_merge_recipe"])["multiplier"] == 0.5
    info = json.loads(draw(override_settings={"sd_model_checkpoint": result["name"]})["info"])
    assert info["sd_model_hash"] == result["sha256"][:10]


def test_a_pickle_and_a_config(service, made, draw):
    (folder(service) / "sub" / "other.yaml").write_text("model:\n  params:\n    parameterization: v\n")
    for source, copied in (("A, B or C", True), ("Don't", False)):
        job = made("merge", **AB, checkpoint_format="ckpt", custom_name=f"p {copied}", config_source=source)
        assert job["result"]["name"] == f"p {copied}.ckpt"
        assert (folder(service) / f"p {copied}.yaml").exists() == copied
    (folder(service) / "sub" / "other.yaml").unlink()
    draw(override_settings={"sd_model_checkpoint": "p False.ckpt"})


def test_eight_bits_draw(made, draw):
    result = made("merge", **AB, precision="fp8_e4m3fn", custom_name="eight")["result"]
    assert b'"F8_E4M3"' in Path(result["path"]).read_bytes()[:100_000]
    draw(override_settings={"sd_model_checkpoint": result["name"]})


def test_inpainting_in_the_name_and_nothing_is_replaced_unasked(service, made):
    write_tiny(folder(service) / "nine.safetensors", in_channels=9)
    values = {**AB, "primary_model_name": "nine", "custom_name": "twice"}
    assert made("merge", **values)["result"]["name"] == "twice.inpainting.safetensors"
    before = (folder(service) / "twice.inpainting.safetensors").read_bytes()
    again = made("merge", **values, multiplier=1)
    assert (again["state"], again["result"]) == ("failed", None)
    assert again["message"].startswith('"twice.inpainting.safetensors" is there already')
    assert (folder(service) / "twice.inpainting.safetensors").read_bytes() == before
    assert made("merge", **values, multiplier=1, overwrite=True)["state"] == "done"
    assert (folder(service) / "twice.inpainting.safetensors").read_bytes() != before


def test_a_lora_is_extracted_and_merged_back(service, made):
    names = {"tuned_model_name": "other", "base_model_name": "tiny"}
    job = made("extract-lora", **names, rank=2048, conv_rank=2048, custom_name="whole", precision="fp32")
    assert (job["state"], job["kind"], job["result"]["kind"]) == ("done", "extract-lora", "lora")
    assert job["message"].endswith("other weights differ too, which this LoRA does not hold: norms, biases and such.")
    assert made("extract-lora", **names, rank=4)["result"]["name"] == "sub_other - tiny rank 4.safetensors"
    both = ["whole", "sub_other - tiny rank 4"]
    summed = made("merge-loras", loras=both, weights=[1, 0.5], rank=8)
    assert summed["result"]["name"] == "1.0(whole) + 0.5(sub_other - tiny rank 4).safetensors"
    baked = made("merge-loras", loras=["whole"], checkpoint="tiny")
    assert baked["result"]["name"] == "tiny + 1.0(whole).safetensors"
    tuned, found = load_file(folder(service) / "sub" / "other.safetensors"), load_file(baked["result"]["path"])
    key = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    torch.testing.assert_close(found[key], tuned[key], atol=1e-5, rtol=1e-3)


WRONG_LORAS = [
    ("extract-lora", {}, "tuned_model_name is empty. Choose the tuned checkpoint."),
    ("extract-lora", {"tuned_model_name": "tiny"}, "base_model_name is empty. Choose the base checkpoint."),
    ("extract-lora", {"tuned_model_name": "tiny", "base_model_name": "tiny"}, "which is the tuned checkpoint too"),
    (
        "extract-lora",
        {"tuned_model_name": "tiny", "base_model_name": "nine", "rank": 0},
        "rank is 0: it must be at least 1.",
    ),
    ("merge-loras", {}, "loras is empty. Choose at least one LoRA."),
    ("merge-loras", {"loras": ["whole"]}, "loras holds one LoRA alone"),
    ("merge-loras", {"loras": ["whole", "gone"]}, 'loras "gone" is not known.'),
    ("merge-loras", {"loras": ["whole", "whole"]}, 'loras holds "whole" twice'),
    ("merge-loras", {"loras": ["whole"], "checkpoint": "gone"}, 'checkpoint "gone" is not known.'),
    ("merge-loras", {"loras": ["a", "b"], "weights": [1]}, "weights holds 1 numbers for 2 LoRAs: give one each."),
    ("merge-loras", {"loras": ["a", "b"], "weights": [1, 11]}, "weights holds 11.0: it must be from -10 to 10."),
    ("merge-loras", {"loras": ["whole"], "checkpoint": "nine", "custom_name": "a/b"}, "it must be a file name alone"),
    ("merge-loras", {"loras": ["whole"], "checkpoint": "tiny", "custom_name": "tiny"}, "is there already"),
]


@pytest.mark.parametrize(("path", "values", "words"), WRONG_LORAS, ids=[words[:40] for *_, words in WRONG_LORAS])
def test_wrong_lora_requests_are_one_sentence(client, service, path, values, words):
    before = sorted(found.name for found in (service.paths.data / "models").rglob("*"))
    answer = client.post(f"/atelier/{path}", json=values)
    assert (answer.status_code, words in answer.json()["detail"]) == (422, True), answer.text
    assert sorted(found.name for found in (service.paths.data / "models").rglob("*")) == before


WRONG = [
    ({}, "primary_model_name is empty: Weighted sum needs model A. Choose one."),
    ({"primary_model_name": "tiny"}, "secondary_model_name is empty: Weighted sum needs model B. Choose one."),
    ({**AB, "interp_method": "Add difference"}, "tertiary_model_name is empty: Add difference needs model C."),
    ({**AB, "secondary_model_name": "tiny"}, 'secondary_model_name is "tiny.safetensors", and so is model A'),
    (
        {**AB, "primary_model_name": "tiny.safetensor"},
        'primary_model_name "tiny.safetensor" is not known. Nearest: tiny.safetensors',
    ),
    ({**AB, "interp_method": "Sum"}, 'interp_method is "Sum": it must be one of '),
    ({**AB, "multiplier": 1.5}, "multiplier is 1.5: it must be at most 1."),
    ({**AB, "multiplier": "much"}, 'multiplier is "much": it must be a number.'),
    ({**AB, "custom_name": "../x"}, 'custom_name is "../x": it must be a file name alone'),
    ({**AB, "custom_name": "a\\b"}, "it must be a file name alone"),
    ({**AB, "custom_name": ".hidden"}, "it must neither begin nor end with a dot"),
    ({**AB, "custom_name": "x.vae"}, "it must not end with .vae"),
    ({**AB, "custom_name": "tiny"}, '"tiny.safetensors" is there already: give the result another name'),
    ({**AB, "custom_name": "ä" * 150}, "which is too long: give it another name"),
    ({**AB, "discard_weights": "("}, 'discard_weights is "(", which is no regular expression'),
    ({**AB, "discard_weights": "."}, "discard_weights matches every weight"),
    ({**AB, "metadata_json": "{"}, "metadata_json is not valid JSON"),
    ({**AB, "metadata_json": "[1]"}, "it must be an object of names and values"),
    ({**AB, "bake_in_vae": "nowhere"}, 'bake_in_vae "nowhere" is not known.'),
    ({**AB, "save_as_half": True, "precision": "bf16"}, "switch one of them off"),
    ({**AB, "checkpoint_format": "ckpt", "precision": "fp8_e4m3fn"}, "choose safetensors"),
    ({**AB, "block_weights": "0.5"}, 'block_weights is "0.5", which is neither numbers nor a preset.'),
    ({**AB, "block_weights": "0,1"}, "block_weights holds 2 numbers"),
    ({**AB, "block_weights": ",".join(["0"] * 24 + ["nan"])}, 'block_weights holds "nan" as number 25'),
    ({**AB, "block_weights": ",".join(["0"] * 25)}, "these checkpoints (of their own kind) have 9 blocks"),
    ({**AB, "unknown": 1}, "unknown is not a field known here; remove it."),
]


@pytest.mark.parametrize(("values", "words"), WRONG, ids=[words[:40] for _, words in WRONG])
def test_wrong_values_are_one_sentence_and_leave_nothing(client, service, made, values, words):
    before = sorted(path.name for path in folder(service).rglob("*"))
    answer = client.post("/atelier/merge", json=values)
    if answer.status_code == 200:
        job = made("merge", **values)
        assert job["state"] == "failed"
        detail = job["message"]
    else:
        assert answer.status_code == 422
        detail = answer.json()["detail"]
    assert words in detail
    assert detail.endswith(".")
    assert sorted(path.name for path in folder(service).rglob("*")) == before


def test_no_number_is_no_multiplier(client):
    for value in ("NaN", "Infinity"):
        body = json.dumps({**AB, "multiplier": math.pi}).replace(str(math.pi), value)
        answer = client.post("/atelier/merge", content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, "finite" in answer.json()["detail"]) == (422, True)


def test_an_unknown_job_cannot_be_stopped(client):
    assert client.post("/atelier/jobs/none/interrupt").status_code == 404


def test_a_merge_that_waits_is_taken_out_and_one_that_runs_is_stopped(puppet):
    service, client = puppet
    from tests.jobs.helpers import play

    running = service.submit(play(wait="interrupt"))
    for name in ("a", "b"):
        write_tiny(service.paths.data / "models" / "Stable-diffusion" / f"{name}.safetensors")
    job = client.post("/atelier/merge", json={"primary_model_name": "a", "secondary_model_name": "b"}).json()
    assert (job["state"], job["request"]["multiplier"]) == ("queued", 0.3)
    stopped = client.post(f"/atelier/jobs/{job['id']}/interrupt").json()
    assert (stopped["state"], stopped["message"]) == ("stopped", "Taken out of the queue.")
    client.post(f"/atelier/jobs/{running.id}/interrupt")
    assert service.wait(running.id, 30).state == "stopped"
