"""Checkpoints come and go: those used last stay, one that fails changes nothing, and memory stays where it was."""

import weakref

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from modules.core.errors import Cancelled, ModelFileError, UnknownName
from modules.devices.choice import choose_compute
from modules.devices.memory import give_back
from modules.engine.kept import Keeping
from modules.engine.models import Models
from modules.engine.room import modules_of, place
from modules.families.ldm_keys import UNET
from modules.library.checkpoints import Checkpoints
from modules.library.hashes import HashCache
from tests.tiny import write_tiny

COMPUTE = choose_compute(use_cpu=True)
ENOUGH = 2**40


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Three checkpoints in half precision, which the CPU needs a copy of, and one that lacks a weight of its autoencoder."""
    folder = tmp_path_factory.mktemp("originals")
    for seed, name in enumerate("abc"):
        tensors = load_file(write_tiny(folder / f"{name}.safetensors", seed))
        save_file({key: tensor.half() for key, tensor in tensors.items()}, folder / f"{name}.safetensors")
    broken = load_file(folder / "a.safetensors")
    del broken["first_stage_model.decoder.conv_out.bias"]
    save_file(broken, folder / "broken.safetensors")
    return folder


@pytest.fixture
def folder(tmp_path, originals):
    """The same files, to be changed at will."""
    (tmp_path / "models").mkdir()
    for file in originals.iterdir():
        (tmp_path / "models" / file.name).hardlink_to(file)
    return tmp_path / "models"


class Library:
    """Models over a folder, with memory for so many bytes of what is still alive."""

    def __init__(self, folder, size=ENOUGH):
        self.size = size
        self.read: list[str] = []
        self.alive: weakref.WeakSet = weakref.WeakSet()  # denoising networks
        self.parts: weakref.WeakSet = weakref.WeakSet()  # all networks
        self.most = 0
        checkpoints = Checkpoints((folder,), HashCache(folder.parent / "cache"))
        self.models = Models(checkpoints, COMPUTE, free=self.free)

    def free(self, device):
        self.most = max(self.most, len(self.alive))
        return self.size - sum(bytes_of(part) for part in self.parts)

    def load(self, name, **options):
        model = self.models.load(name, self.read.append, **options)
        self.alive.add(model.backbone)
        self.parts.update(modules_of(model))
        return model


def bytes_of(module):
    return sum(parameter.nbytes for parameter in module.parameters())


def enough_for_one(model):
    return sum(bytes_of(part) for part in modules_of(model)) * 3 // 2


def drawn(model):
    """What the model makes of a fixed input: equal only for equal weights."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 4, 8, 8, generator=generator)
    with torch.inference_mode():
        return model.decode(model.network(x, torch.tensor([500.0]), model.prompts.encode(["a red star"])))


def test_one_stays_by_default(folder):
    library = Library(folder)
    for name in "abab":
        library.load(name)
    assert len(library.read) == 4
    assert len(library.alive) == 1


def test_those_used_last_stay(folder):
    library = Library(folder)
    two = Keeping(limit=2)
    for name in "abab":
        library.load(name, keeping=two)
    assert library.read == ["a.safetensors", "b.safetensors"]
    library.load("a", keeping=two)
    library.load("c", keeping=two)  # b goes
    library.load("a", keeping=two)
    assert len(library.read) == 3
    library.load("b", keeping=two)
    assert len(library.read) == 4
    assert len(library.alive) == 2
    library.load("c")  # the limit is 1 again
    assert len(library.alive) == 1


def test_the_new_one_is_loaded_beside_the_old_one_if_there_is_room(folder):
    library = Library(folder)
    library.load("a")
    library.load("b")
    assert library.most == 1  # a was there when b was about to be read
    tight = Library(folder, size=enough_for_one(library.load("b")))
    for name in "abc":
        tight.load(name, keeping=Keeping(limit=3))
        assert len(tight.alive) == 1
    assert len(tight.read) == 3


@pytest.mark.parametrize("room", ["enough", "for one"])
def test_a_failed_load_leaves_the_model_before(folder, room):
    library = Library(folder)
    before = drawn(library.load("b"))
    if room == "for one":  # so that b has to go before the other is read
        library.size = enough_for_one(library.load("b"))
    with pytest.raises(ModelFileError, match=r"decoder\.conv_out\.bias"):
        library.load("broken")
    library.read.clear()
    assert torch.equal(drawn(library.load("b")), before)
    assert library.read == []


def test_a_stopped_load_leaves_the_model_before(folder):
    library = Library(folder)
    before = library.load("b")
    asked = []

    def stop():
        asked.append(1)
        if len(asked) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        library.load("a", check=stop)
    library.read.clear()
    assert library.load("b") is before
    assert library.read == []
    assert library.load("a", check=lambda: None) is not None


@pytest.mark.parametrize("room", ["enough", "for one"])
def test_R3_out_of_memory_on_the_way_to_the_gpu(folder, room, monkeypatch):
    """The model before is back and draws the same; one sentence; nothing of the other is left."""
    library = Library(folder)
    before = drawn(library.load("a"))
    if room == "for one":  # so that a has to go before the other is read
        library.size = enough_for_one(library.load("a"))
    gpu, placed = torch.device("cuda"), []

    def short(model, device):
        placed.extend(map(weakref.ref, modules_of(model)))
        if device == gpu and model.name == "b":
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("modules.engine.kept.place", short)
    library.models._kept._device = gpu
    with pytest.raises(ModelFileError, match=r'"b\.safetensors" did not fit into memory\. Close other programs'):
        library.load("b")
    give_back(placed)
    library.read.clear()
    assert torch.equal(drawn(library.load("a")), before)
    assert library.read == []
    kept = {id(part) for part in modules_of(library.load("a"))}
    assert not [part for one in placed if (part := one()) is not None and id(part) not in kept]


def test_R3_out_of_memory_leads_to_less_of_it_on_the_gpu(folder, monkeypatch):
    """Where a lower tier is left, it is loaded again in that before anybody hears of it."""
    library = Library(folder)
    tiers, asked = library.models._tiers, []

    def short(model, tier):
        asked.append(tier)
        if len(asked) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(tiers, "lower", lambda key, tier: True)
    monkeypatch.setattr(tiers, "policy_for", short)
    assert library.load("b") is library.models.load("b")
    assert len(asked) == 2


def test_M22_too_big_for_memory(folder):
    library = Library(folder, size=2 * 2**30)
    before = drawn(library.load("a"))
    library.read.clear()
    giant(folder / "giant.safetensors")
    with pytest.raises(
        ModelFileError, match=r'"giant\.safetensors" needs 2\d\d\.\d GB of memory, 2\.0 GB can be had\.'
    ):
        library.load("giant")
    assert torch.equal(drawn(library.load("a")), before)
    assert library.read == ["giant.safetensors"]


def giant(path):
    """A Stable Diffusion 1.x whose last convolution is 200 GB of nothing on a disk that has far less."""
    import json
    import struct

    write_tiny(path)
    with path.open("rb") as file:
        entries = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    end = max(entry["data_offsets"][1] for key, entry in entries.items() if key != "__metadata__")
    size = 200 * 2**30
    entries[f"{UNET}out.3.weight"] = {"dtype": "F32", "shape": [size // 4], "data_offsets": [end, end + size]}
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + end + size)


def test_M21_replaced(folder):
    library = Library(folder)
    first = drawn(library.load("a"))
    (folder / "new").hardlink_to(folder / "b.safetensors")
    (folder / "new").replace(folder / "a.safetensors")
    second = library.load("a")
    assert not torch.equal(drawn(second), first)
    assert torch.equal(drawn(second), drawn(library.load("b")))
    assert second.sha256() == library.load("b").sha256()


def test_M21_replaced_while_it_is_read(folder):
    library = Library(folder)
    before = library.load("b")

    def replace():
        (folder / "new").write_bytes((folder / "c.safetensors").read_bytes())
        (folder / "new").replace(folder / "a.safetensors")

    with pytest.raises(ModelFileError, match=r'"a\.safetensors" was changed while it was read'):
        library.load("a", check=replace)
    assert library.load("b") is before
    assert torch.equal(drawn(library.load("a")), drawn(library.load("c")))


def test_M21_vanished(folder):
    library = Library(folder)
    library.load("a")
    (folder / "a.safetensors").rename(folder / "alpha.safetensors")
    with pytest.raises(UnknownName, match=r"Nearest: .*alpha\.safetensors"):
        library.load("a.safetensors")
    assert library.load("alpha").name == "alpha"


def test_unloaded_and_loaded_again(folder):
    library = Library(folder)
    before = drawn(library.load("a"))
    library.models.unload()
    assert len(library.alive) == 0
    assert torch.equal(drawn(library.load("a")), before)
    assert len(library.read) == 2


def test_every_network_can_be_placed_elsewhere(folder):
    model = Library(folder).load("a")
    assert len(modules_of(model)) == 3
    place(model, torch.device("meta"))
    for module in modules_of(model):
        assert all(parameter.is_meta for parameter in module.parameters())


def test_R15_memory_stays_where_it_was(folder):
    library = Library(folder)

    def switches(count):
        for number in range(count):
            library.load("ab"[number % 2])
        give_back()
        return psutil.Process().memory_info().rss

    before = switches(4)
    assert switches(50) < before * 1.03
    assert len(library.alive) == 1
