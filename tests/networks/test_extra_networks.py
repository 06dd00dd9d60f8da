"""Networks on a tiny model: what they change, what is told of them, and that nothing of them stays."""

import gc

import pytest
import torch

from modules.core.errors import InputError, ModelFileError
from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.engine.room import modules_of
from modules.networks.extra_networks import Asked
from modules.networks.fitting import fit
from modules.networks.kinds.lora import Lora
from modules.networks.patch import Patched, Use, changed, touched
from modules.networks.tags import read_tag
from modules.networks.targets import Target, Targets
from modules.prompting.tags import take_tags
from tests.networks.files import layers, lora, write, write_lora
from tests.tiny import write_tiny


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("networks")
    write_tiny(root / "models" / "Stable-diffusion" / "tiny.safetensors")
    loras = root / "models" / "Lora"
    write_lora(loras / "one.safetensors", metadata={"ss_output_name": "alias of one"})
    write_lora(loras / "two.safetensors", seed=1, text=False)
    return root


@pytest.fixture(scope="module")
def tools(data):
    return build_engine(paths=Paths(data=data), use_cpu=True)._tools


@pytest.fixture(scope="module")
def model(tools):
    with torch.inference_mode():
        return tools.models.load("tiny")


@pytest.fixture(autouse=True)
def inference():
    with torch.inference_mode():
        yield


def asked(prompt, *texts, steps=10, **options):
    text, tags = take_tags(prompt)
    return Asked(tags=tags, texts=(*texts, text), options=Settings().changed(options).flat(), steps=steps)


def weights(model):
    return {
        (n, name): tensor.clone()
        for n, network in enumerate(modules_of(model))
        for name, tensor in network.state_dict().items()
    }


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(tensor, other[key]) for key, tensor in one.items())


def worn(tools, model, prompt, **values):
    """The weights with what that prompt names, and what was told."""
    told = []
    with tools.networks.applied(model, asked(prompt, **values), told.append):
        return weights(model), told


def test_a_lora_changes_exactly_what_it_says(tools, model):
    before = weights(model)
    after, told = worn(tools, model, "a star <lora:one:0.5>")
    assert told == []
    assert same(weights(model), before)
    changed = {name for (n, name), tensor in after.items() if not torch.equal(tensor, before[n, name])}
    named = layers()
    assert len(changed) == len(named)
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    parts = lora(name, named[name])
    added = 0.5 * parts[f"{name}.lora_up.weight"] @ parts[f"{name}.lora_down.weight"]
    key = (0, "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight")
    torch.testing.assert_close(after[key], before[key] + added)


def test_multipliers_of_text_and_network(tools, model):
    before = weights(model)
    for tag, text, unet in (
        ("0:1", False, True),
        ("1:0", True, False),
        ("te=0:unet=1", False, True),
        ("0", False, False),
    ):
        after, _ = worn(tools, model, f"<lora:one:{tag}>")
        changed = {n for (n, name), tensor in after.items() if not torch.equal(tensor, before[n, name])}
        assert changed == {*([0] if unet else []), *([2] if text else [])}, tag


def test_several_add_up_and_the_same_is_not_computed_again(tools, model):
    before = weights(model)
    one, _ = worn(tools, model, "<lora:one:1>")
    two, _ = worn(tools, model, "<lyco:two:1>")
    both, _ = worn(tools, model, "<lora:one:1><lora:two:1>")
    for key, tensor in both.items():
        torch.testing.assert_close(tensor - before[key], one[key] + two[key] - 2 * before[key], atol=1e-5, rtol=1e-4)
    kept = tools.networks._last["unet"].patched
    worn(tools, model, "another prompt <lora:one:1><lora:two:1>")
    assert tools.networks._last["unet"].patched is kept
    worn(tools, model, "no networks")
    assert tools.networks._last == {}
    assert same(weights(model), before)


def test_names_aliases_and_what_is_missing(tools, model):
    with tools.networks.applied(model, asked("<lora:alias of one:1>"), print) as on:
        assert on.fields["Lora hashes"].startswith("alias of one: ")
        assert len(on.fields["Lora hashes"].rpartition(" ")[2]) == 12
    told = []
    with tools.networks.applied(model, asked("<lora:oen:1> <hypernet:none:1> <fancy:x>"), told.append) as on:
        assert on.fields == {}
    assert told == [
        "<fancy:...> in the prompt has no effect: networks are named by <lora:...>, <lyco:...> or <hypernet:...>.",
        "Networks not found: oen. Nearest: one.",
        "Hypernetworks not found: none. Known are, among others: starter-winter.",
    ]
    with tools.networks.applied(model, asked("<lora:one:1>", lora_add_hashes_to_infotext=False), print) as on:
        assert on.fields == {}


def test_block_weights(tools, model, data):
    with pytest.raises(InputError, match="17 block weights"):
        worn(tools, model, "<lora:one:1:lbw=INS>")


def test_steps(tools, model):
    before = weights(model)
    whole, _ = worn(tools, model, "<lora:two:1>")
    with tools.networks.applied(model, asked("<lora:two:1:start=2:stop=0.5>", steps=8), print) as on:
        for step, expected in ((0, before), (1, before), (2, whole), (3, whole), (4, before), (8, before), (2, whole)):
            on.at(step)
            assert same(weights(model), expected), step
    assert same(weights(model), before)


def test_M16_a_network_of_another_family_is_refused(tools, model, data):
    up, down = torch.randn(320, 2), torch.randn(2, 2048)
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    write(data / "models/Lora/xl.safetensors", {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down})
    before = weights(model)
    with pytest.raises(InputError) as caught:
        worn(tools, model, "<lora:xl:1>")
    assert caught.value.message == (
        '"xl" is for Stable Diffusion XL and "tiny" is Stable Diffusion 1.x: none of its 1 layers fits. '
        "Remove it from the prompt, or choose a checkpoint that it is for."
    )
    assert same(weights(model), before)


def test_M17_a_part_that_fits_is_used_and_told(tools, model, data):
    named = layers()
    name = next(iter(named))
    tensors = {**lora(name, named[name]), **lora("lora_unet_nowhere", named[name]), "odd": torch.ones(1)}
    write(data / "models/Lora/partly.safetensors", tensors)
    after, told = worn(tools, model, "<lora:partly:1>")
    assert told == [
        '1 of the 2 layers of "partly" fit "tiny", and 1 of its tensors are of no known kind; the rest has no effect.'
    ]
    assert not same(after, weights(model))


@pytest.mark.parametrize(
    ("name", "tensors", "words"),
    [("empty", {"x": torch.ones(2)}, "is no LoRA nor any other network"), ("cut", None, "is incomplete")],
)
def test_files_that_are_none(tools, model, data, name, tensors, words):
    path = data / "models" / "Lora" / f"{name}.safetensors"
    if tensors:
        write(path, tensors)
    else:
        whole = write_lora(path).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelFileError, match=words):
        worn(tools, model, f"<lora:{name}:1>")


def test_where_memory_is_short_the_first_weights_wait_elsewhere(tools, model):
    """As on a GPU: computed one by one as they are put in, and again each time."""
    before = weights(model)
    expected, _ = worn(tools, model, "<lora:one:1>")
    (wanted,) = [read_tag(tag) for tag in asked("<lora:one:1>").tags]
    file, _ = tools.networks._finder.lora("one")
    uses = list(fit(file, wanted, Targets(model), "tiny").uses(wanted))
    assert touched(uses, torch.device("cpu")) == sum(w.nbytes for use in uses for w in use.target.weights)
    patched = Patched(uses, torch.device("cpu"), lean=True)
    for _ in range(2):
        patched.put_in()
        assert same(weights(model), expected)
        assert patched.tensors == {}
        patched.take_out()
        assert same(weights(model), before)


def test_what_a_prompt_asks_for(tools, data):
    networks = tools.networks
    assert networks.asks(asked("a star", "ugly")) is None
    assert networks.asks(asked("<lora:none:1> <odd:one>")) is None
    assert networks.asks(asked("<lora:one:1>")) == "<lora:one>"
    write(data / "embeddings" / "glow.safetensors", {"emb_params": torch.ones(1, 64)})
    assert networks.asks(asked("a Glow, star")) == 'the embedding "glow"'
    assert networks.asks(asked("aglow stars")) is None


def test_R16_a_hundred_in_turn_leave_nothing(tools, model, data):
    loras = data / "models" / "Lora"
    for number in range(10):
        write_lora(loras / f"many{number}.safetensors", seed=number)
    before = weights(model)

    def tensors():
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    def wear(number):
        with tools.networks.applied(model, asked(f"<lora:many{number % 10}:{(number + 1) / 100}>"), print):
            assert tools.networks._last

    for number in range(20):
        wear(number)
    count = tensors()
    for number in range(100):
        wear(number)
    assert tensors() <= count + 20
    assert same(weights(model), before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rough", [False, True])
def test_weights_of_16_bits_are_changed_piece_by_piece(dtype, rough, monkeypatch):
    monkeypatch.setattr("modules.networks.patch.PIECE", 100)  # less than the matrix, and no multiple of its rows
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(4, 10, 3).to(dtype)
    change = Lora(up=torch.randn(10, 2, 1, 1), down=torch.randn(2, 4, 3, 3), mid=None, scale=0.5)
    use = Use(target=Target(role="unet", path="x", modules=(layer,)), change=change, amount=0.1)
    (found,) = Patched([use], torch.device("cpu"), rough=rough).tensors.values()
    expected = changed(layer.weight.detach().float(), use)
    assert found.dtype is dtype
    assert (found.float() - expected).abs().max() < 2 * expected.abs().max() * torch.finfo(dtype).eps + 0.002 * rough
