"""Which scripts and styles the page is going to need, so that its head can name them all at once: without that a browser finds one
after the other, each when the one before has been read."""

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path

IMPORTED = re.compile(r'^(?:import|export)\b[^"]*?"\./([\w.-]+\.js)";', re.MULTILINE)
CHUNKS = re.compile(r"m\.f=(\[[^\]]*\])")  # of Vite's bundles: the files that its imports name by their places
CHUNK = re.compile(r"import\(`\./([\w.-]+)`\)[^`]{0,60}?__vite__mapDeps\(\[([\d,]*)\]\)")
COMPONENT = re.compile(r"(?<=[{,])(\w+):\{(?:[^{}]*?,)?component:\(\)=>\w+\(\(\)=>import\(`\./([\w.-]+)`\)")


def own(folder: Path, first: str = "page.js") -> list[str]:
    """The names of the script's own modules, itself first, in the order in which they import each other."""
    found = [first]
    for name in found:
        found += [
            one for one in dict.fromkeys(IMPORTED.findall((folder / name).read_text("utf-8"))) if one not in found
        ]
    return found


def gradio(frontend: Path, kinds: Collection[str]) -> list[str]:
    """Files below `assets/` that gradio's page fetches for components of those kinds, the one that begins it first: what is named later is
    fetched later. Fewer, or none, of a gradio that is built otherwise."""
    entry = re.search(r'src="\./assets/([\w.-]+\.js)"', (frontend / "index.html").read_text("utf-8"))
    if not entry:
        return []
    assets = frontend / "assets"
    found: dict[str, None] = {}
    for page, files in _chunks(assets / entry[1]):
        found.update(dict.fromkeys(files))
        if not page.startswith("core-"):
            found.update(
                (file, None) for blocks, files in _chunks(assets / page) if "Blocks-" in blocks for file in files
            )
            continue
        wanted = {file for kind, file in COMPONENT.findall((assets / page).read_text("utf-8")) if kind in kinds}
        found.update((file, None) for name, files in _chunks(assets / page) if name in wanted for file in files)
    return [entry[1], *(name for name in found if name != entry[1] and (assets / name).is_file())]


def _chunks(script: Path) -> Iterator[tuple[str, list[str]]]:
    """Each file that the bundle imports when it needs it, with all that this takes."""
    text = script.read_text("utf-8")
    listed = CHUNKS.search(text)
    names = [name.removeprefix("./") for name in json.loads(listed[1])] if listed else []
    for name, places in CHUNK.findall(text):
        yield name, [name, *(names[int(place)] for place in places.split(",") if place and int(place) < len(names))]
