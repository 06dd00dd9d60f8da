"""Civitai: searching, the versions of a model, planning downloads, and what is kept beside a file."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modules.core.errors import AtelierError, InputError, RemoteError, short
from modules.core.files import write_atomic
from modules.library.downloads.names import KINDS, SUFFIXES, clean_name, given_name, model_name
from modules.library.downloads.plan import Plan, RemoteFile
from modules.library.downloads.sites import Sites
from modules.library.downloads.tokens import CIVITAI

log = logging.getLogger(__name__)

FOUND = 30
MAX_PREVIEW = 10 * 2**20
KIND_OF_TYPE = {
    "checkpoint": "Stable-diffusion",
    "lora": "Lora",
    "locon": "Lora",
    "dora": "Lora",
    "vae": "VAE",
    "textualinversion": "embeddings",
    "hypernetwork": "hypernetworks",
    "controlnet": "ControlNet",
    "upscaler": "ESRGAN",
}
PREVIEWS = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}


class Civitai:
    """Asks Civitai's public API, v1."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites

    def search(self, words: str, count: int = FOUND) -> list[dict[str, Any]]:
        """Models for these words: `id`, `title`, `type`, `kind`, `author`, `downloads`, `page`, `versions`."""
        answer = self._sites.ask(CIVITAI, "/api/v1/models", {"query": words.strip(), "limit": count, "nsfw": "false"})
        items = answer.get("items") if isinstance(answer, dict) else None
        if not isinstance(items, list):
            raise self._nonsense()
        return [self._model(item) for item in items if isinstance(item, dict) and isinstance(item.get("id"), int)]

    def model(self, model_id: int) -> dict[str, Any]:
        """One model with its versions and their files."""
        answer = self._sites.ask(CIVITAI, f"/api/v1/models/{model_id}")
        if not isinstance(answer, dict) or not isinstance(answer.get("id"), int):
            raise self._nonsense()
        return self._model(answer)

    def version(self, version_id: int) -> dict[str, Any]:
        """Civitai's own description of one version, as it is kept in NAME.civitai.info."""
        return self._version(f"/api/v1/model-versions/{version_id}")

    def by_hash(self, sha256: str) -> dict[str, Any]:
        """The version that has a file of that hash (sha256, AutoV1, AutoV2 ... in hex)."""
        if not 8 <= len(sha256) <= 64 or any(c not in "0123456789abcdefABCDEF" for c in sha256):
            raise InputError("hash", f"hash is {short(sha256)}: it must be 8 to 64 hexadecimal digits.")
        return self._version(f"/api/v1/model-versions/by-hash/{sha256}")

    def _version(self, path: str) -> dict[str, Any]:
        answer = self._sites.ask(CIVITAI, path)
        if not isinstance(answer, dict) or not isinstance(answer.get("files"), list):
            raise self._nonsense()
        return answer

    def plan(
        self, version_id: int, *, file_id: int | None = None, kind: str | None = None, name: str | None = None
    ) -> Plan:
        """The download of a version's main file, or of that file of it. Raises InputError, RemoteError."""
        version = self.version(version_id)
        files = [file for file in map(_file, version["files"]) if file]
        chosen = (
            [f for f in files if f["id"] == file_id]
            if file_id is not None
            else sorted(files, key=lambda f: not f["primary"])
        )
        if not chosen:
            said = f"file {file_id}" if file_id is not None else "model file"
            raise InputError(
                "civitai_version", f"Version {version_id} has no {said} at Civitai. Look at the model's page."
            )
        file, model = chosen[0], version.get("model")
        model = model if isinstance(model, dict) else {}
        target = given_name(name) if name else clean_name(file["name"])
        return Plan(
            site=CIVITAI,
            title=" ".join(str(part) for part in (model.get("name"), version.get("name")) if part) or target,
            kind=kind or _kind(model.get("type"), file["type"]),
            name=model_name(target, "name"),
            files=(RemoteFile(url=file["url"], path=target, size=None, sha256=file["sha256"]),),
            page=f"{self._sites.endpoint(CIVITAI)}/models/{version.get('modelId', '')}?modelVersionId={version_id}",
            version=version_id,
        )

    def keep_beside(self, version_id: int, target: Path) -> str | None:
        """Write NAME.civitai.info and a preview beside a file, unless they are there; a sentence if that fails."""
        stem = target.with_suffix("")
        try:
            version = self.version(version_id)
            info = Path(f"{stem}.civitai.info")
            if not info.exists():
                write_atomic(info, json.dumps(version, indent=4, ensure_ascii=False).encode(errors="backslashreplace"))
            if not any(Path(f"{stem}{end}").exists() for end in _preview_names()):
                self._keep_preview(version, stem)
        except AtelierError as error:
            return f"The model is here; its description or preview is not: {error.message}"
        return None

    def _keep_preview(self, version: dict[str, Any], stem: Path) -> None:
        for url in _previews(version):
            answer, body = self._sites.transport.read(url, limit=MAX_PREVIEW)
            suffix = picture_suffix(body) if answer.status == 200 else None
            if suffix:
                write_atomic(Path(f"{stem}.preview{suffix}"), body)
                return

    def _model(self, item: dict[str, Any]) -> dict[str, Any]:
        versions = [v for v in item.get("modelVersions") or [] if isinstance(v, dict) and isinstance(v.get("id"), int)]
        creator, stats = item.get("creator"), item.get("stats")
        return {
            "site": CIVITAI,
            "id": item["id"],
            "title": str(item.get("name", "")),
            "type": str(item.get("type", "")),
            "kind": _kind(item.get("type"), ""),
            "author": creator.get("username") if isinstance(creator, dict) else None,
            "downloads": stats.get("downloadCount") if isinstance(stats, dict) else None,
            "page": f"{self._sites.endpoint(CIVITAI)}/models/{item['id']}",
            "versions": [
                {
                    "id": version["id"],
                    "name": str(version.get("name", "")),
                    "base": str(version.get("baseModel", "")),
                    "files": [
                        {
                            "id": f["id"],
                            "name": f["name"],
                            "size": f["size"],
                            "kind": _kind(item.get("type"), f["type"]),
                        }
                        for f in map(_file, version.get("files") or [])
                        if f
                    ],
                }
                for version in versions
            ],
        }

    def _nonsense(self) -> RemoteError:
        host = self._sites.origin(CIVITAI)
        return RemoteError(f"{host} does not answer as Civitai does. Check civitai_endpoint in the settings.")


def _file(entry: Any) -> dict[str, Any] | None:
    """One file of a version, if it is a model; its size is rounded by Civitai to kilobytes, and good for showing alone."""
    if not isinstance(entry, dict):
        return None
    hashes = entry.get("hashes")
    sha256 = str(hashes.get("SHA256", "")).lower() if isinstance(hashes, dict) else ""
    name, url, kilobytes = entry.get("name"), entry.get("downloadUrl"), entry.get("sizeKB")
    if not isinstance(name, str) or not isinstance(url, str) or not clean_name(name).lower().endswith(SUFFIXES):
        return None
    return {
        "id": entry.get("id"),
        "name": clean_name(name),
        "url": url,
        "type": str(entry.get("type", "")),
        "primary": entry.get("primary") is True,
        "size": int(kilobytes * 1024) if isinstance(kilobytes, int | float) and 0 <= kilobytes < 2**40 else None,
        "sha256": sha256 if len(sha256) == 64 and all(c in "0123456789abcdef" for c in sha256) else None,
    }


def _kind(model_type: Any, file_type: Any) -> str:
    if str(file_type).casefold() == "vae":
        return "VAE"
    return KIND_OF_TYPE.get(str(model_type).casefold(), next(iter(KINDS)))


def _previews(version: dict[str, Any]) -> Iterator[str]:
    """Addresses of the version's pictures, the tamest first, at most three."""
    images = [i for i in version.get("images") or [] if isinstance(i, dict) and isinstance(i.get("url"), str)]
    pictures = [image for image in images if image.get("type", "image") == "image"]
    level = lambda image: image["nsfwLevel"] if isinstance(image.get("nsfwLevel"), int) else 99  # noqa: E731  # a sort key
    yield from (image["url"] for image in sorted(pictures, key=level)[:3])


def _preview_names() -> Iterator[str]:
    for end in (*PREVIEWS.values(), ".jpeg"):
        yield from (end, f".preview{end}")


def picture_suffix(data: bytes) -> str | None:
    """The suffix of that picture, None if it is none that may be kept as a preview."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=list(PREVIEWS)) as image:
            image.verify()
            return PREVIEWS[image.format or ""]
    except Exception:  # whatever a decoder makes of foreign bytes: it is no preview
        return None
