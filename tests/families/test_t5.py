"""T5: as transformers computes it, with weights, sections and padding of each kind."""

from dataclasses import replace

import pytest
import torch

from modules.core.errors import InputError, ModelFileError
from modules.devices.choice import choose_compute
from modules.families.clip_prompts import TextOptions
from modules.families.scaled import unscaled
from modules.families.t5 import Filling, T5Encoder, T5Prompts, build_t5, t5_prompts
from modules.prompting.tokenizer_files import read_tokenizer
from tests.tiny_t5 import t5_tensors, tiny_t5, tiny_tokenizer, write_tokenizer

CPU = choose_compute(use_cpu=True)
NO_NORM = TextOptions(emphasis="No norm")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("t5") / "t5xxl")


def prompts(folder, **filling):
    return t5_prompts(t5_tensors(tiny_t5()), folder, CPU, Filling(**filling))


def expected(text, text_encoder=None, *, length=0, hidden=False):
    """transformers' states of a text, padded to that length."""
    ids = tiny_tokenizer().encode(text).ids
    mask = torch.tensor([[1] * len(ids) + [0] * (length - len(ids))])
    ids = torch.tensor([ids + [0] * (length - len(ids))])
    return (text_encoder or tiny_t5())(ids, attention_mask=mask if hidden else None).last_hidden_state[0]


@torch.inference_mode()
@pytest.mark.parametrize("pile", [False, True])
def test_it_is_transformers(pile):
    theirs = tiny_t5(pile=pile)
    ours = build_t5(t5_tensors(theirs), CPU)
    assert type(ours) is type(theirs)
    ids = torch.randint(0, 64, (2, 40))
    torch.testing.assert_close(ours(ids).last_hidden_state, theirs(ids).last_hidden_state)


@torch.inference_mode()
def test_float8_with_factors_beside():
    tensors = t5_tensors(tiny_t5())
    name = "encoder.block.0.layer.0.SelfAttention.q"
    small = (tensors[f"{name}.weight"] / 0.01).to(torch.float8_e4m3fn)
    plain = build_t5({**tensors, f"{name}.weight": small.float() * 0.01}, CPU)
    scaled = {**tensors, f"{name}.weight": small, f"{name}.scale_weight": torch.tensor(0.01)}
    ids = torch.arange(20)[None]
    torch.testing.assert_close(build_t5(unscaled(scaled), CPU)(ids), plain(ids))


@torch.inference_mode()
@pytest.mark.parametrize("pile", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_half_precision(dtype, pile):
    """Large values are kept: the sums behind the feed-forward layers are of float32 in float16."""
    tensors = t5_tensors(tiny_t5(pile=pile))
    tensors = {name: tensor * (400 if ".wo." in name else 1) for name, tensor in tensors.items()}
    ids, mask = torch.arange(20)[None], (torch.arange(20) < 15)[None]
    exact, half = (build_t5(tensors, replace(CPU, dtype=kind)) for kind in (torch.float32, dtype))
    wanted, found = (T5Encoder(text, CPU)(ids, mask)[:, :15].float() for text in (exact, half))
    assert found.isfinite().all()
    assert (wanted - found).norm() < 0.05 * wanted.norm()


@torch.inference_mode()
def test_padding_of_each_kind(folder):
    text = "a red star"
    n = len(tiny_tokenizer().encode(text).ids)
    states, mask = prompts(folder, least=16, attended=True).read([text])
    torch.testing.assert_close(states[0, :16], expected(text, length=16))
    assert mask[0].tolist() == [True] * 16 + [False]
    states, mask = prompts(folder, extra=1).read([text])
    torch.testing.assert_close(states[0, : n + 1], expected(text, length=16, hidden=True)[: n + 1])
    assert mask.sum() == n + 1
    states, mask = prompts(folder, least=16, blank=True).read([text])
    torch.testing.assert_close(states[0, :n], expected(text))
    assert not states[0, n:].any()
    assert mask.sum() == 16


@torch.inference_mode()
def test_a_text_does_not_depend_on_the_others(folder):
    reader = prompts(folder, least=8, attended=True)
    long = "red star " * 20
    together, mask = reader.read(["a house", long])
    alone, _ = reader.read(["a house"])
    assert mask.sum(dim=1).tolist() == [8, 41]
    assert torch.equal(together[0, :8], alone[0, :8])
    assert torch.equal(together[1, :41], reader.read([long])[0][0, :41])


@torch.inference_mode()
def test_weights_multiply_states(folder):
    reader = prompts(folder)
    plain, weighed = (reader.read([text], NO_NORM)[0][0, :2] for text in ("star", "(star:1.5)"))
    torch.testing.assert_close(weighed[0], 1.5 * plain[0])
    assert torch.equal(weighed[1], plain[1])
    original = reader.read(["(star:1.5)"])[0][0, :2]
    torch.testing.assert_close(original.mean(), plain.mean())
    torch.testing.assert_close(original, weighed * (plain.mean() / weighed.mean()))
    assert torch.equal(reader.read(["(star:1.5)"], TextOptions(emphasis="Ignore"))[0], reader.read(["star"])[0])
    literal = reader.read(["(star:1.5)"], TextOptions(emphasis="None"))[0]
    torch.testing.assert_close(literal[0, :-1], expected("(star:1.5)"))


@torch.inference_mode()
def test_break_ends_a_section(folder):
    reader = prompts(folder, least=8, attended=True)
    both, mask = reader.read(["red star BREAK a house"])
    one, other = reader.read(["red star", "a house"])[0][:, :8]
    assert torch.equal(both[0, :16], torch.cat([one, other]))
    assert mask.sum() == 16


def test_too_long_is_one_sentence(folder):
    with pytest.raises(InputError, match=r"The negative_prompt comes to 3001 tokens of T5: at most 2048") as caught:
        prompts(folder).read(["star " * 3000], TextOptions(negative=True))
    assert caught.value.field == "negative_prompt"


def test_bad_tensors_are_one_sentence():
    tensors = t5_tensors(tiny_t5())
    for lost in ("shared.weight", "encoder.block.0.layer.0.SelfAttention.q.weight", "encoder.final_layer_norm.weight"):
        left = {name: tensor for name, tensor in tensors.items() if name not in (lost, "encoder.embed_tokens.weight")}
        with pytest.raises(ModelFileError, match=lost):
            build_t5(left, CPU)


def test_bad_tokenizers_are_one_sentence(folder, tmp_path):
    with pytest.raises(ModelFileError, match="models/tokenizers/t5xxl/"):
        read_tokenizer(None)
    with pytest.raises(ModelFileError, match=r"holds no tokenizer of t5xxl: neither tokenizer\.json nor"):
        read_tokenizer(tmp_path)
    for name in ("tokenizer.json", "spiece.model"):
        (tmp_path / name).write_text("<html>")
        with pytest.raises(ModelFileError, match=f'"{name}"'):
            read_tokenizer(tmp_path)
        (tmp_path / name).unlink()
    with pytest.raises(ModelFileError, match="not of one model"):
        small = dict(t5_tensors(tiny_t5()))
        small["shared.weight"] = small["shared.weight"][:8]
        t5_prompts(small, folder, CPU, Filling()).read(["zebra"])
    from tokenizers import Tokenizer
    from tokenizers.models import BPE

    with pytest.raises(ModelFileError, match="of another text encoder"):
        T5Prompts(Tokenizer(BPE({"a": 0}, [])), lambda ids, mask: ids, Filling())
