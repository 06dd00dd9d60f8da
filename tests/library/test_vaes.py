"""VAEs on disk: which one the setting `sd_vae` means for a checkpoint."""

import hashlib

import pytest

from modules.core.errors import InputError, UnknownName
from modules.library.checkpoints import Checkpoints
from modules.library.hashes import HashCache
from modules.library.vaes import Vaes


@pytest.fixture
def folder(tmp_path):
    for name in ("SD/alpha", "SD/beta", "SD/alpha.vae", "VAE/kl-mse", "VAE/sub/Beta.vae", "VAE/gamma"):
        path = tmp_path / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path


@pytest.fixture
def hashes(tmp_path):
    return HashCache(tmp_path / "cache")


@pytest.fixture
def vaes(folder, hashes):
    return Vaes((folder / "VAE",), hashes)


@pytest.fixture
def checkpoints(folder, hashes):
    return Checkpoints((folder / "SD",), hashes)


def test_a_vae_is_no_checkpoint(checkpoints):
    assert [c.name for c in checkpoints.list()] == ["alpha.safetensors", "beta.safetensors"]


def test_list(vaes):
    assert [v.name for v in vaes.list()] == ["gamma.safetensors", "kl-mse.safetensors", "sub/Beta.vae.safetensors"]


@pytest.mark.parametrize(
    ("setting", "checkpoint", "name"),
    [
        ("Automatic", "alpha", "alpha.vae.safetensors"),
        ("automatic", "beta", "sub/Beta.vae.safetensors"),
        ("", "alpha", "alpha.vae.safetensors"),
        ("None", "alpha", None),
        ("kl-mse.safetensors", "alpha", "kl-mse.safetensors"),
        ("KL-MSE", "beta", "kl-mse.safetensors"),
        ("Beta.vae.safetensors", "alpha", "sub/Beta.vae.safetensors"),
        ("alpha.vae.safetensors", "alpha", "alpha.vae.safetensors"),
    ],
)
def test_choice(vaes, checkpoints, setting, checkpoint, name):
    found = vaes.choose(setting, checkpoints.find(checkpoint))
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        ('{"vae": "kl-mse.safetensors"}', "kl-mse.safetensors"),
        ('{"vae": "sub/Beta.vae.safetensors"}', "sub/Beta.vae.safetensors"),
        ('{"vae": "None"}', None),
        ('{"vae": "Automatic"}', "alpha.vae.safetensors"),
        ('{"vae": ""}', "alpha.vae.safetensors"),
        ('{"vae": 7}', "alpha.vae.safetensors"),
        ('{"notes": "x"}', "alpha.vae.safetensors"),
        ("[]", "alpha.vae.safetensors"),
        ('{"vae', "alpha.vae.safetensors"),
    ],
)
def test_automatic_is_what_the_card_prefers(folder, vaes, checkpoints, stored, name):
    (folder / "SD" / "alpha.json").write_text(stored)
    alpha = checkpoints.find("alpha")
    found = vaes.choose("Automatic", alpha)
    assert (found.name if found else None) == name
    assert vaes.choose("None", alpha) is None
    chosen = vaes.choose("gamma", alpha)
    assert chosen and chosen.name == "gamma.safetensors"


def test_a_preferred_one_that_is_gone(folder, vaes, checkpoints):
    (folder / "SD" / "alpha.json").write_text('{"vae": "gone.pt"}')
    with pytest.raises(
        InputError, match=r'The card of "alpha.safetensors" prefers the VAE "gone.pt", which is not here'
    ):
        vaes.choose("Automatic", checkpoints.find("alpha"))
    assert vaes.choose("None", checkpoints.find("alpha")) is None


def test_automatic_finds_none_of_another_name(folder, hashes):
    (folder / "SD" / "delta.safetensors").write_bytes(b"")
    delta = Checkpoints((folder / "SD",), hashes).find("delta")
    assert Vaes((folder / "VAE", folder / "nowhere"), hashes).choose("Automatic", delta) is None


def test_unknown_name(vaes, checkpoints):
    with pytest.raises(UnknownName, match=r'sd_vae "kl-msee" is not known. Nearest: kl-mse.safetensors'):
        vaes.choose("kl-msee", checkpoints.find("alpha"))


def test_hash(vaes, checkpoints):
    found = vaes.choose("gamma", checkpoints.find("alpha"))
    assert vaes.short_hash(found) == hashlib.sha256(b"VAE/gamma").hexdigest()[:10]
