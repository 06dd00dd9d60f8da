"""Draws the example prompts of the README with the bundled model.

python -m modules.starter.gallery docs/starter.png
"""

import argparse
from pathlib import Path

from modules.devices.choice import choose_compute
from modules.families import sd1
from modules.families.source import Source
from modules.families.weights import read_weights

from .evaluate import CHECKPOINT, contact_sheet, draw_prompts
from .export import DEFAULTS

EXAMPLES = (
    "a flat illustration of a red cat on the beach",
    "a big blue rocket in the night sky, flat style",
    "neon art of a pink heart in the city",
    "a watercolour painting of a yellow house in a meadow",
    "pixel art of a green car in the desert",
    "a line drawing of an orange fish under water",
    "a purple butterfly in a meadow, watercolour",
    "a big brown castle in snowy mountains, pixel art",
    "a neon sign of a green cactus in the desert",
    "a white ghost in the forest, cartoon",
    "a black bird by the sea, line art",
    "an orange balloon in the snow, flat illustration",
    "a blue robot left of a red apple in the city, flat style",
    "a yellow moon above a purple house at night, flat style",
    "neon, a red mushroom to the right of a blue snail",
    "a pink umbrella above a green turtle on the beach, watercolour",
    "pixel art of an orange rabbit left of a blue flower in the forest",
    "a line drawing of a yellow star above a green tree",
    "a red boat under the sea, watercolour",
    "a big pink crown, pixel art, city",
    "a blue cup in the snow, line drawing",
    "a green tree in the desert, neon lights",
    "a yellow turtle under water, pixel art",
    "a red house below a white balloon in a meadow, cartoon",
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draws the example prompts with the bundled model.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--cfg", type=float, default=DEFAULTS["cfg_scale"])
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    tensors = read_weights(args.checkpoint)
    model = sd1.load(Source(tensors=tensors, name="starter", native_size=128, compute=choose_compute(use_cpu=True)))
    options = {"steps": DEFAULTS["steps"], "sampler": DEFAULTS["sampler_name"], "schedule": DEFAULTS["scheduler"]}
    pixels = draw_prompts(model, EXAMPLES, scale=args.cfg, seed=args.seed, **options)
    contact_sheet(pixels, EXAMPLES, columns=6).save(args.out, optimize=True)


if __name__ == "__main__":
    main()
