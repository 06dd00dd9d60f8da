"""Who may call which route: one line a route. What has no line is an administrator's alone, and a test fails.

A new route says here who may call it, as (methods, path, level); paths are written as in the route itself:
    PUBLIC  anyone, without a login         USER      whoever is logged in; shows or touches what is that user's own
    ADMIN   administrators                  API       USER, but not through a tunnel without --api
    API_ADMIN, SCHEMA, DOWNLOADS            ADMIN or USER, as the policy of docs/sharing.md says
    NOBODY  answered 404: parts of gradio that the page does not use
Where nobody has to log in, everyone is an administrator.
"""

import re
from enum import Enum

from starlette.routing import compile_path

from modules.core.policy import Policy


class Level(Enum):
    """Who may call a route."""

    PUBLIC = "anyone"
    USER = "users"
    ADMIN = "administrators"
    API = "users, of the API"
    API_ADMIN = "administrators, of the API"
    SCHEMA = "readers of the API's description"
    DOWNLOADS = "administrators, where models may be fetched"
    NOBODY = "nobody"


PUBLIC, USER, ADMIN, NOBODY = Level.PUBLIC, Level.USER, Level.ADMIN, Level.NOBODY
API, API_ADMIN, SCHEMA, DOWNLOADS = Level.API, Level.API_ADMIN, Level.SCHEMA, Level.DOWNLOADS
ALL = "GET POST PUT PATCH DELETE OPTIONS"

ROUTES = (
    # logging in
    ("GET POST", "/login", PUBLIC),
    ("GET", "/login/{name}", PUBLIC),
    ("GET", "/localization.js", PUBLIC),
    ("POST", "/logout", PUBLIC),
    ("GET", "/healthz", PUBLIC),
    ("GET", "/account", USER),
    ("GET", "/atelier/me", USER),
    ("POST", "/atelier/me/password", USER),
    ("GET POST", "/atelier/me/tokens", USER),
    ("DELETE", "/atelier/me/tokens/{token_id}", USER),
    ("POST", "/atelier/me/webhook-secret", USER),
    ("POST", "/atelier/webhook-secret", ADMIN),
    ("GET", "/atelier/webhooks", USER),
    ("GET POST", "/atelier/users", ADMIN),
    ("POST DELETE", "/atelier/users/{name}", ADMIN),
    # the state of the server
    ("GET", "/readyz", USER),
    ("GET", "/metrics", ADMIN),
    ("GET", "/openapi.json", SCHEMA),
    ("GET", "/internal/ping", USER),
    ("GET", "/internal/pending-tasks", USER),
    ("POST", "/internal/progress", USER),
    ("GET", "/internal/quicksettings-hint", USER),
    ("GET", "/internal/sysinfo", ADMIN),
    ("GET", "/internal/sysinfo-download", ADMIN),
    ("GET", "/app_id", USER),
    ("GET", "/token", USER),
    # jobs and pictures
    ("GET", "/atelier/jobs", USER),
    ("GET", "/atelier/jobs/{job_id}", USER),
    ("POST", "/atelier/jobs/{job_id}/interrupt", USER),
    ("POST", "/atelier/jobs/{job_id}/forever", USER),
    ("POST", "/atelier/jobs/{job_id}/compare", USER),
    ("GET", "/atelier/jobs/{job_ids}/zip", USER),
    ("GET", "/atelier/watch/{job_id}", USER),
    ("GET", "/atelier/preview/{job_id}", USER),
    ("GET", "/atelier/images/{image_id}", USER),
    ("POST", "/atelier/images/{image_id}/save", USER),
    ("POST", "/atelier/uploads", USER),
    ("POST", "/atelier/uploads/leave", USER),
    ("POST", "/atelier/interrogate", USER),
    ("POST", "/atelier/png-info", USER),
    ("POST", "/atelier/reproduce", USER),
    ("GET POST", "/atelier/settings", ADMIN),
    ("POST", "/atelier/defaults/{action}", ADMIN),
    ("GET", "/atelier/presets", USER),
    ("GET", "/atelier/presets/file", USER),
    ("POST", "/atelier/presets/apply", USER),
    ("POST", "/atelier/presets/file", ADMIN),
    ("POST", "/atelier/presets/keep", ADMIN),
    ("POST", "/atelier/presets/delete", ADMIN),
    ("GET", "/atelier/queue", USER),
    ("POST", "/atelier/queue/pause", USER),
    ("POST", "/atelier/queue/{job_id}/move", USER),
    ("POST", "/atelier/queue/{job_id}/edit", USER),
    ("POST", "/atelier/queue/{job_id}/again", USER),
    ("POST", "/atelier/plan/txt2img", USER),
    ("POST", "/atelier/plan/img2img", USER),
    ("GET", "/atelier/notification.mp3", USER),
    ("GET", "/atelier/wildcards", USER),
    ("GET", "/atelier/wildcards/values", USER),
    ("POST", "/atelier/prompts", USER),
    ("POST", "/atelier/prompts/check", USER),
    ("POST", "/atelier/prompts/complete", USER),
    ("GET", "/atelier/prompts/builder", USER),
    ("GET POST DELETE", "/atelier/prompts/history", USER),
    ("POST", "/atelier/prompts/history/{pair_id}/pin", USER),
    ("DELETE", "/atelier/prompts/history/{pair_id}", USER),
    ("GET", "/atelier/select", USER),
    ("POST", "/atelier/select", USER),
    ("POST", "/atelier/select/{way}/download", DOWNLOADS),
    ("GET", "/atelier/preprocessors", USER),
    ("POST", "/atelier/preprocessors/{name}/download", DOWNLOADS),
    ("GET", "/atelier/extensions", ADMIN),
    ("POST", "/atelier/extensions/restart", ADMIN),
    ("POST DELETE", "/atelier/styles", ADMIN),
    ("GET", "/atelier/welcome", ADMIN),
    ("POST", "/atelier/welcome/dismiss", ADMIN),
    ("POST", "/atelier/welcome/repairs/forget", ADMIN),
    ("POST", "/atelier/welcome/take-over", ADMIN),
    # the gallery of the output folders, which are everyone's
    ("GET", "/atelier/gallery", USER),
    ("GET", "/atelier/gallery/state", USER),
    ("GET", "/atelier/gallery/version", USER),
    ("POST", "/atelier/gallery/refresh", USER),
    ("POST", "/atelier/gallery/favourite", USER),
    ("POST", "/atelier/gallery/delete", USER),
    ("POST", "/atelier/gallery/restore", USER),
    ("POST", "/atelier/gallery/purge", USER),
    ("POST", "/atelier/gallery/boards", USER),
    ("POST", "/atelier/gallery/boards/{board}/rename", USER),
    ("POST", "/atelier/gallery/boards/{board}/remove", USER),
    ("POST", "/atelier/gallery/boards/{board}/delete", USER),
    ("POST", "/atelier/gallery/zip", USER),
    ("GET", "/atelier/gallery/{picture}", USER),
    ("GET", "/atelier/gallery/{picture}/thumbnail", USER),
    ("GET", "/atelier/gallery/{picture}/file", USER),
    # models
    ("GET", "/sd_extra_networks/thumb", USER),
    ("GET", "/sd_extra_networks/cover-images", USER),
    ("GET", "/sd_extra_networks/metadata", USER),
    ("GET", "/sd_extra_networks/get-single-card", USER),
    ("GET", "/atelier/cards/{kind}", USER),
    ("GET", "/atelier/cards/{kind}/matching", USER),
    ("GET", "/atelier/cards/{model_id}/notes", USER),
    ("POST", "/atelier/cards/{model_id}/notes", ADMIN),
    ("POST", "/atelier/cards/{model_id}/preview", ADMIN),
    ("GET", "/atelier/cards/{model_id}/thumbnail", USER),
    ("GET", "/atelier/models", USER),
    ("GET", "/atelier/models/{model_id}", USER),
    ("GET", "/atelier/models/preview/{model_id}", USER),
    ("POST", "/atelier/merge", ADMIN),
    ("POST", "/atelier/extract-lora", ADMIN),
    ("POST", "/atelier/merge-loras", ADMIN),
    ("GET", "/atelier/catalogue", USER),
    ("GET", "/atelier/downloads", ADMIN),
    ("POST", "/atelier/downloads", DOWNLOADS),
    ("POST", "/atelier/downloads/clear", ADMIN),
    ("POST", "/atelier/downloads/{download_id}/{action}", DOWNLOADS),
    ("GET", "/atelier/search", DOWNLOADS),
    ("GET", "/atelier/search/huggingface", DOWNLOADS),
    ("GET", "/atelier/search/civitai/{model_id}", DOWNLOADS),
    ("GET", "/atelier/search/civitai/by-hash/{digest}", DOWNLOADS),
    ("GET POST", "/atelier/tokens", ADMIN),
    # A1111's
    ("POST", "/sdapi/v1/txt2img", API),
    ("POST", "/sdapi/v1/img2img", API),
    ("POST", "/sdapi/v1/extra-single-image", API),
    ("POST", "/sdapi/v1/extra-batch-images", API),
    ("POST", "/sdapi/v1/interrogate", API),
    ("POST", "/sdapi/v1/png-info", API),
    ("GET", "/sdapi/v1/progress", API),
    ("POST", "/sdapi/v1/interrupt", API),
    ("POST", "/sdapi/v1/skip", API),
    ("GET", "/sdapi/v1/options", API),
    ("POST", "/sdapi/v1/options", API_ADMIN),
    ("POST", "/sdapi/v1/unload-checkpoint", API_ADMIN),
    ("POST", "/sdapi/v1/reload-checkpoint", API_ADMIN),
    ("POST", "/sdapi/v1/refresh-checkpoints", API),
    ("POST", "/sdapi/v1/refresh-vae", API),
    ("POST", "/sdapi/v1/refresh-loras", API),
    ("POST", "/sdapi/v1/refresh-embeddings", API),
    ("GET", "/sdapi/v1/prompt-styles", API),
    ("GET", "/sdapi/v1/samplers", API),
    ("GET", "/sdapi/v1/schedulers", API),
    ("GET", "/sdapi/v1/upscalers", API),
    ("GET", "/sdapi/v1/latent-upscale-modes", API),
    ("GET", "/sdapi/v1/face-restorers", API),
    ("GET", "/sdapi/v1/realesrgan-models", API),
    ("GET", "/sdapi/v1/sd-models", API),
    ("GET", "/sdapi/v1/sd-vae", API),
    ("GET", "/sdapi/v1/sd-modules", API),
    ("GET", "/sdapi/v1/loras", API),
    ("GET", "/sdapi/v1/embeddings", API),
    ("GET", "/sdapi/v1/hypernetworks", API),
    ("GET", "/sdapi/v1/scripts", API),
    ("GET", "/sdapi/v1/script-info", API),
    ("GET", "/sdapi/v1/memory", API),
    ("GET", "/sdapi/v1/extensions", API),
    ("GET", "/sdapi/v1/cmd-flags", API_ADMIN),
    ("POST", "/sdapi/v1/create/embedding", API),
    ("POST", "/sdapi/v1/create/hypernetwork", API),
    ("POST", "/sdapi/v1/train/embedding", API),
    ("POST", "/sdapi/v1/train/hypernetwork", API),
    ("POST", "/sdapi/v1/server-kill", API_ADMIN),
    ("POST", "/sdapi/v1/server-restart", API_ADMIN),
    ("POST", "/sdapi/v1/server-stop", API_ADMIN),
    ("GET", "/adetailer/v1/version", API),
    ("GET", "/adetailer/v1/schema", API),
    ("GET", "/adetailer/v1/ad_model", API),
    ("GET", "/controlnet/version", API),
    ("GET", "/controlnet/settings", API),
    ("GET", "/controlnet/model_list", API),
    ("GET", "/controlnet/module_list", API),
    ("GET", "/controlnet/control_types", API),
    ("POST", "/controlnet/detect", API),
    ("POST", "/controlnet/render_openpose_json", API),
    ("POST", "/agent-scheduler/v1/queue/txt2img", API),
    ("POST", "/agent-scheduler/v1/queue/img2img", API),
    ("GET", "/agent-scheduler/v1/queue", API),
    ("POST", "/agent-scheduler/v1/queue/pause", API),
    ("POST", "/agent-scheduler/v1/queue/resume", API),
    ("POST", "/agent-scheduler/v1/queue/clear", API),
    ("GET", "/agent-scheduler/v1/export", API),
    ("POST", "/agent-scheduler/v1/import", API),
    ("GET", "/agent-scheduler/v1/history", API),
    ("POST", "/agent-scheduler/v1/history/clear", API),
    ("GET", "/agent-scheduler/v1/samplers", API),
    ("GET", "/agent-scheduler/v1/sd-models", API),
    ("GET PUT DELETE", "/agent-scheduler/v1/task/{job_id}", API),
    ("GET", "/agent-scheduler/v1/task/{job_id}/position", API),
    ("GET", "/agent-scheduler/v1/task/{job_id}/results", API),
    ("POST", "/agent-scheduler/v1/task/requeue-failed", API),
    ("POST", "/agent-scheduler/v1/task/{job_id}/run", API),
    ("POST", "/agent-scheduler/v1/task/{job_id}/requeue", API),
    ("POST", "/agent-scheduler/v1/task/{job_id}/bookmark", API),
    ("POST", "/agent-scheduler/v1/task/{job_id}/unbookmark", API),
    ("POST", "/agent-scheduler/v1/task/{job_id}/rename", API),
    ("POST", "/agent-scheduler/v1/task/{job_id}/move/{over_id}", API),
    (ALL, "/agent-scheduler/{path:path}", API_ADMIN),
    (ALL, "/controlnet/{path:path}", API_ADMIN),
    (ALL, "/sdapi/{path:path}", API_ADMIN),
    (ALL, "/internal/{path:path}", ADMIN),
    # the page
    ("GET", "/", USER),
    ("GET", "/atelier/localization.js", USER),
    ("GET", "/atelier/page/{path:path}", USER),
    ("GET", "/config", USER),
    ("GET", "/config/", USER),
    ("GET", "/theme.css", USER),
    ("GET", "/static/{path:path}", USER),
    ("GET", "/assets/{path:path}", USER),
    ("GET", "/favicon.ico", USER),
    ("GET", "/robots.txt", USER),
    ("GET", "/manifest.json", USER),
    ("GET", "/pwa_icon", USER),
    ("GET", "/pwa_icon/{size}", USER),
    ("GET", "/gradio_api/theme.css", USER),
    ("GET", "/gradio_api/app_id", USER),
    ("GET", "/gradio_api/app_id/", USER),
    ("GET", "/gradio_api/info", USER),
    ("GET", "/gradio_api/info/", USER),
    ("GET", "/gradio_api/startup-events", USER),
    ("GET", "/gradio_api/heartbeat/{session_hash}", USER),
    ("POST", "/gradio_api/queue/join", USER),
    ("GET", "/gradio_api/queue/data", USER),
    ("POST", "/gradio_api/run/{api_name}", USER),
    ("POST", "/gradio_api/run/{api_name}/", USER),
    ("POST", "/gradio_api/reset", USER),
    ("POST", "/gradio_api/reset/", USER),
    ("POST", "/gradio_api/cancel", USER),
    (ALL, "/login/", NOBODY),
    ("GET", "/logout", NOBODY),
    ("GET", "/svelte/{path:path}", NOBODY),
    (ALL, "/monitoring{path:path}", NOBODY),
    (ALL, "/gradio_api/{path:path}", NOBODY),
)


class Access:
    """Finds the level of a call."""

    def __init__(self) -> None:
        rows = sorted(ROUTES, key=lambda row: _looseness(row[1]))
        self._rules = [
            (
                frozenset((*methods.split(), *(("HEAD",) if "GET" in methods.split() else ()))),
                compile_path(path)[0],
                level,
            )
            for methods, path, level in rows
        ]

    def level(self, method: str, path: str) -> Level:
        """Who may call that; ADMIN for what has no line."""
        for methods, pattern, level in self._rules:
            if method in methods and pattern.match(path):
                return level
        return Level.ADMIN


def _looseness(path: str) -> tuple[int, int]:
    """Exact paths are looked at first, those that take whatever follows last, the longer of them before the shorter."""
    return (1, -len(path)) if ":path}" in path else (0, path.count("{"))


def listed(method: str, path: str) -> bool:
    """Whether a route, as it is written in its own place, has a line: its own, or that of gradio's closed parts."""
    return any(
        method in methods.split() and (bare(path) == bare(known) or level is NOBODY and _covers(known, path))
        for methods, known, level in ROUTES
    )


def bare(path: str) -> str:
    """A path whose parameters have no names."""
    return re.sub(r"\{[^}:]*(:[^}]*)?\}", r"{\1}", path)


def _covers(known: str, path: str) -> bool:
    start, _, rest = known.partition("{path:path}")
    return known.endswith("{path:path}") and path.startswith(start) and not rest


def answered(level: Level, policy: Policy) -> Level:
    """PUBLIC, USER, ADMIN or NOBODY: what `level` is under that policy."""
    match level:
        case Level.API:
            return Level.USER if policy.api else Level.NOBODY
        case Level.API_ADMIN:
            return Level.ADMIN if policy.api else Level.NOBODY
        case Level.SCHEMA:
            return {"all": Level.USER, "admin": Level.ADMIN, "none": Level.NOBODY}[policy.schema]
        case Level.DOWNLOADS:
            return Level.ADMIN if policy.downloads else Level.NOBODY
        case _:
            return level
