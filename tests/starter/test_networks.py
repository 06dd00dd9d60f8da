"""The starter's small networks: what their training writes is what the program reads, and training goes on where it stopped."""

import random

import pytest
import torch

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.networks.extra_networks import Asked
from modules.prompting.tags import take_tags
from modules.starter import embedding, hypernetwork, lora, style
from modules.starter.base import load_base
from modules.starter.draw import draw, draw_parchment
from modules.starter.evaluate import CHECKPOINT, READER
from modules.starter.fit import Budget
from modules.starter.reader import load_reader
from modules.starter.scene import STYLES, is_held_out
from modules.starter.train_networks import COURSES
from modules.starter.words import clip_words, pad


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    return build_engine(paths=Paths(data=tmp_path_factory.mktemp("starter")), use_cpu=True)._tools


@pytest.fixture(scope="module")
def model(tools):
    with torch.inference_mode():
        return tools.models.load("starter")


@pytest.fixture
def base():
    """Anew for each test: networks in training leave their hooks in it."""
    return load_base(CHECKPOINT)


def moved(module, scale=0.1):
    """All of its parameters a little off, so that none does nothing."""
    torch.manual_seed(0)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(torch.randn_like(p) * scale * p.abs().mean().clamp(min=0.02))
    return module


def asked(prompt):
    text, tags = take_tags(prompt)
    return Asked(tags=tags, texts=(text,), options=Settings().flat(), steps=10)


def noise_of(unet):
    gen = torch.Generator().manual_seed(3)
    x, states = torch.randn(2, 4, 16, 16, generator=gen), torch.randn(2, 77, 128, generator=gen)
    return unet(x, torch.tensor([100, 700]), states).sample


def in_program(tools, model, prompt, call):
    told = []
    with torch.inference_mode(), tools.networks.applied(model, asked(prompt), told.append):
        found = call()
    assert not told
    return found


@pytest.mark.parametrize("name", ["lora", "hypernetwork"])
def test_a_written_network_acts_in_the_program_as_in_training(base, tools, model, name, tmp_path):
    plain = noise_of(base.unet)
    module = lora.Lora(base.unet, rank=2) if name == "lora" else hypernetwork.Winter(base.unet)
    assert torch.equal(noise_of(base.unet), plain)  # before it learns it changes nothing
    wanted = noise_of(moved(module) and base.unet).detach()
    assert (wanted - plain).abs().max() > 0.01
    file = f"written-{name}"
    folder, suffix = ("Lora", ".safetensors") if name == "lora" else ("hypernetworks", ".pt")
    COURSES[name].write(module, tools.networks._finder._paths.data / "models" / folder / f"{file}{suffix}")
    tag = f"<{'lora' if name == 'lora' else 'hypernet'}:{file}:1>"
    made = in_program(tools, model, f"a cat {tag}", lambda: noise_of(model.backbone))
    assert (made - wanted).abs().max() < 0.02 * (wanted - plain).abs().max()


def test_a_written_word_is_read_in_the_program_as_in_training(base, tools, model):
    word = moved(embedding.Word(base), 0.5)
    ids = torch.tensor([pad([*embedding.PLACE, *clip_words()(" in the forest")])])
    wanted = base.text(ids).last_hidden_state
    embedding.write_embedding(word, tools.networks._finder._paths.data / "embeddings" / "written-word.safetensors")
    made = in_program(
        tools, model, "written-word in the forest", lambda: model.prompts.encode(["written-word in the forest"])
    )
    assert torch.allclose(made, wanted, atol=1e-3)


def test_lessons_are_of_what_is_to_be_learnt(base, tmp_path):
    rng = random.Random(1)
    scene = embedding.mascot_scene(rng)
    assert (scene.things[0].kind, scene.things[0].colour) == (embedding.KIND, embedding.COLOUR)
    assert embedding.KIND not in embedding.mascot_text(scene, rng) and embedding.WORD in embedding.mascot_text(
        scene, rng
    )
    scene = hypernetwork.winter_scene(rng)
    assert scene.place == hypernetwork.PLACE and not is_held_out(scene)
    assert not {"snow", "snowy", "mountains"} & set(hypernetwork.placeless(scene, rng).replace(",", "").split())
    scene = lora.parchment_scene(rng)
    assert scene.style == lora.STYLE not in STYLES
    found = lora.lessons_of(base, tmp_path, 3)
    again = lora.lessons_of(base, tmp_path, 3)
    assert found.latents.shape == (3, 4, 16, 16) and torch.equal(found.states, again.states)


@pytest.mark.parametrize("name", ["lora", "embedding", "hypernetwork"])
def test_training_goes_on_where_it_stopped(name, tmp_path):
    network, kept = {"lora": lora, "embedding": embedding, "hypernetwork": hypernetwork}[name], {}
    for run, stops in (("whole", (None,)), ("parts", (1, None))):
        for stop in stops:
            base = load_base(CHECKPOINT)
            lessons = network.lessons_of(base, tmp_path, 4)
            options = {"base": base, "lessons": lessons, "batch": 2, "until_step": stop}
            module = getattr(network, f"train_{name}")(tmp_path / f"{run}.pt", Budget(steps=2), **options)
        kept[run] = torch.cat([p.detach().flatten() for p in module.parameters()])
    assert torch.equal(kept["whole"], kept["parts"])


def test_style_reader_learns_from_pictures(tmp_path):
    reader = load_reader(READER)
    trained = style.train_style(tmp_path / "style.pt", Budget(steps=2), reader=reader, batch=4)
    style.write_style(trained, tmp_path / "style.safetensors")
    pixels, styles = style.painted(random.Random(0), 3)
    read = style.load_style(tmp_path / "style.safetensors", reader)(pixels)
    assert read.shape == (3, len(style.READ)) and len(styles) == 3
    scene = lora.parchment_scene(random.Random(0))
    assert draw_parchment(scene).tobytes() != draw(lora.replace(scene, style="line")).tobytes()
