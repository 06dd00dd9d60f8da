"""Hugging Face: searching, listing a repository's files, planning downloads.

The requests are ours (HfApi's client has no deadline, retries for half a minute offline, and follows redirects anywhere);
names, addresses and answers are huggingface_hub's.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from modules.core.errors import InputError, RemoteError, short
from modules.core.paths import TOKENIZER
from modules.library.downloads.names import KINDS, SUFFIXES, clean_name, given_name, inner_path, model_name
from modules.library.downloads.plan import Plan, RemoteFile
from modules.library.downloads.sites import Sites
from modules.library.downloads.tokens import HUGGING_FACE
from modules.requests.preprocessors import FOLDER

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

INDEX = "model_index.json"
FOUND = 30
MAX_FILES = 2000
_REPO = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
_KIND_WORDS = (
    ("Lora", ("lora", "lycoris", "locon")),
    ("ControlNet", ("controlnet", "control_v", "t2i-adapter")),
    ("VAE", ("vae", "autoencoder")),
    ("text_encoder", ("text_encoder", "text-encoder", "t5xxl", "clip_l", "clip_g")),
    ("ESRGAN", ("esrgan", "upscale", "4x", "_x4")),
    ("embeddings", ("embedding", "textual_inversion", "textual-inversion")),
    ("diffusion_models", ("diffusion_models/", "unet/", "transformer/")),
)
_PARTS_KEPT = (".json", ".txt", ".model", ".jinja")


class Hub:
    """Asks Hugging Face, or a mirror of it."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites

    def search(self, words: str, count: int = FOUND) -> list[dict[str, Any]]:
        """Repositories for these words, the most downloaded first: `id`, `downloads`, `likes`, `gated`, `licence`, `page`."""
        query = {"search": words.strip(), "limit": count, "sort": "downloads", "direction": -1, "full": "true"}
        answer = self._sites.ask(HUGGING_FACE, "/api/models", query)
        if not isinstance(answer, list):
            raise self._nonsense()
        return [self._repo(entry) for entry in map(self._info, answer)]

    def files(self, repo: str, revision: str = "main") -> dict[str, Any]:
        """The models in a repository: `repo`, `folder` (its size, if it is a diffusers model), `files` with path, size, kind."""
        info = self._ask(repo, revision)
        listed = [
            {"path": path, "size": file.size, "kind": guess_kind(path, repo)}
            for path, file in self._remote(info).items()
            if path.lower().endswith(SUFFIXES)
        ]
        whole = folder_files(list(self._remote(info)))
        return {
            **self._repo(info),
            "folder": sum(self._remote(info)[path].size or 0 for path in whole) if whole else None,
            "files": sorted(listed, key=lambda entry: (entry["path"].count("/"), entry["path"])),
        }

    def plan(
        self,
        repo: str,
        *,
        file: str | None,
        kind: str | None = None,
        name: str | None = None,
        revision: str = "main",
        into: str = "",
    ) -> Plan:
        """The download of one file, or (`file` None) of the diffusers folder, for preprocessors of transformers' too. `into`: a tokenizer's own folder, made for the file.

        Raises InputError, RemoteError.
        """
        info = self._ask(repo, revision)
        remote = self._remote(info)
        page = f"{self._sites.endpoint(HUGGING_FACE)}/{repo}"
        if file is None:
            return self._folder_plan(info, remote, kind, name, page)
        if file not in remote:
            raise InputError("file", f"file is {short(file)}: {repo} has no such file. Look at the list of its files.")
        target = given_name(name) if name else clean_name(file)
        if into:
            return _in_folder(remote[file].model_copy(update={"path": target}), into, f"{repo}: {file}", page)
        return Plan(
            site=HUGGING_FACE,
            title=f"{repo}: {file}",
            kind=kind or guess_kind(file, repo),
            name=model_name(target, "name" if name else "file"),
            files=(remote[file].model_copy(update={"path": target}),),
            page=page,
        )

    def _folder_plan(
        self, info: "ModelInfo", remote: Mapping[str, RemoteFile], kind: str | None, name: str | None, page: str
    ) -> Plan:
        paths = folder_files(list(remote)) or (model_files(list(remote)) if kind == FOLDER else [])
        if not paths:
            raise InputError("repo", f"{info.id} is not a diffusers model: it has no {INDEX}. Choose one of its files.")
        folder = given_name(name) if name else clean_name(info.id)
        files = tuple(remote[path] for path in paths)
        return Plan(
            site=HUGGING_FACE,
            title=f"{info.id} (folder)",
            kind=kind or "Stable-diffusion",
            name=folder,
            files=files,
            folder=True,
            page=page,
        )

    def _ask(self, repo: str, revision: str) -> "ModelInfo":
        if not _REPO.fullmatch(repo) or ".." in repo:
            raise InputError("repo", f"repo is {short(repo)}: it must look like owner/name, as on huggingface.co.")
        path = f"/api/models/{repo}/revision/{quote(revision, safe='')}"
        return self._info(self._sites.ask(HUGGING_FACE, path, {"blobs": "true"}))

    def _info(self, answer: Any) -> "ModelInfo":
        from huggingface_hub import ModelInfo

        try:
            return ModelInfo(**answer)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise self._nonsense() from error

    def _nonsense(self) -> RemoteError:
        host = self._sites.origin(HUGGING_FACE)
        return RemoteError(f"{host} does not answer as Hugging Face does. Check huggingface_endpoint in the settings.")

    def _repo(self, info: "ModelInfo") -> dict[str, Any]:
        tags = [tag for tag in info.tags or [] if isinstance(tag, str)]
        return {
            "site": HUGGING_FACE,
            "id": info.id,
            "title": info.id,
            "downloads": info.downloads,
            "likes": info.likes,
            "gated": bool(info.gated),
            "licence": next((tag.partition(":")[2] for tag in tags if tag.startswith("license:")), ""),
            "page": f"{self._sites.endpoint(HUGGING_FACE)}/{info.id}",
        }

    def _remote(self, info: "ModelInfo") -> dict[str, RemoteFile]:
        """Path -> file, of the commit that was looked at, so that all of a folder's files belong together."""
        from huggingface_hub import hf_hub_url

        found = {}
        for entry in (info.siblings or [])[:MAX_FILES]:
            try:
                path = inner_path(entry.rfilename)
            except InputError:
                continue  # a name that no file here can have: it cannot be one of a model's
            url = hf_hub_url(
                info.id, entry.rfilename, revision=info.sha or "main", endpoint=self._sites.endpoint(HUGGING_FACE)
            )
            size = entry.lfs.size if entry.lfs else entry.size
            found[path] = RemoteFile(url=url, path=path, size=size, sha256=entry.lfs.sha256 if entry.lfs else None)
        return found


def _in_folder(file: RemoteFile, into: str, title: str, page: str) -> Plan:
    """The plan of a tokenizer: one file in a folder that is named for its text encoder."""
    return Plan(site=HUGGING_FACE, title=title, kind=TOKENIZER, name=into, files=(file,), folder=True, page=page)


def guess_kind(path: str, repo: str = "") -> str:
    """The kind of model that a file is by its path, and its repository's name."""
    for text in (path.lower(), repo.lower()):
        for kind, words in _KIND_WORDS:
            if any(word in text for word in words):
                return kind
    return next(iter(KINDS))


def folder_files(paths: list[str]) -> list[str]:
    """Of a repository's files those that make the diffusers folder: the index, and of each part configuration and weights, once
    (safetensors rather than .bin, the plain variant rather than fp16 and the like). Empty if it is no such folder."""
    if INDEX not in paths:
        return []
    parts: dict[str, list[str]] = {}
    for path in paths:
        parent, _, name = path.rpartition("/")
        if parent and "/" not in parent:
            parts.setdefault(parent, []).append(name)
    found = [INDEX]
    for parent, names in sorted(parts.items()):
        weights = _weights(names)
        if weights or any(name in names for name in ("tokenizer_config.json", "scheduler_config.json", "config.json")):
            kept = [n for n in names if n.endswith(_PARTS_KEPT) and ".index." not in n]
            found += [f"{parent}/{name}" for name in sorted([*kept, *weights])]
    return found if any(path.endswith((".safetensors", ".bin")) for path in found) else []


def model_files(paths: list[str]) -> list[str]:
    """Of a repository's files those that transformers reads: configuration, vocabularies, and one set of weights."""
    names = [path for path in paths if "/" not in path]
    weights = _weights(names)
    kept = [name for name in names if name.endswith(_PARTS_KEPT) and ".index." not in name]
    return sorted([*kept, *weights]) if "config.json" in names and weights else []


def _weights(names: list[str]) -> list[str]:
    """One set of weight files: NAME.safetensors or its shards and their index, without a variant if there is one so."""
    for suffix in (".safetensors", ".bin"):
        sets: dict[str, list[str]] = {}
        for name in names:
            shape = re.fullmatch(
                r"(diffusion_pytorch_model|pytorch_model|model)(\.[\w-]+?)?(-\d+-of-\d+)?(\.\w+)", name
            )
            if shape and shape[4] == suffix:
                sets.setdefault(shape[2] or "", []).append(name)
        if sets:
            variant = "" if "" in sets else min(sets)
            index = [n for n in names if n.endswith((f"{suffix}.index{variant}.json", f"{suffix}{variant}.index.json"))]
            return [*sets[variant], *index]
    return []
