"""Composition root: flags -> settings -> services -> page and API -> serve."""

import logging
import os
import socket
import sys
import webbrowser
from collections.abc import Sequence

from modules.core.errors import AtelierError, InputError
from modules.core.flags import Flags, parse_flags
from modules.core.lock import hold_lock
from modules.core.settings import SettingsFile
from modules.jobs.executors.process import ProcessExecutor
from modules.jobs.service import JobService
from modules.library.checkpoints import Checkpoints
from modules.library.hashes import HashCache

HOST = "127.0.0.1"


def build_service(flags: Flags) -> JobService:
    """The job service over the folders that the flags choose, with its engine in a process of its own."""
    paths = flags.paths
    settings = SettingsFile(paths.settings)
    checkpoints = Checkpoints(paths.checkpoints, HashCache(paths.cache))
    if flags.ckpt:
        settings.current = settings.current.changed({"sd_model_checkpoint": checkpoints.find(flags.ckpt).name})
    warm = settings.current.stable_diffusion.sd_model_checkpoint
    arguments = {
        "paths": paths,
        "warm": warm,
        "use_cpu": flags.use_cpu,
        "no_half": flags.no_half,
        "xformers": flags.xformers,
    }
    executor = ProcessExecutor("modules.engine.build:build_engine", arguments)
    return JobService(paths=paths, settings=settings, checkpoints=checkpoints, executor=executor)


def bind(port: int) -> socket.socket:
    """A listening socket; raises InputError when the port is taken."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(os.name != "nt"))
    try:
        listener.bind((HOST, port))
        listener.listen(128)  # a browser that is early waits instead of being refused
    except OSError as error:
        listener.close()
        raise InputError(
            "--port", f"Port {port} cannot be used ({error.strerror}). Choose another with --port N."
        ) from error
    return listener


def serve(flags: Flags) -> None:
    """Run until interrupted."""
    listener = bind(flags.port)
    with hold_lock(flags.data_dir / ".lock"):
        service = build_service(flags)
        service.start()  # the engine loads while the page's libraries are imported
        try:
            import uvicorn

            from modules.api.app import build_api

            app = build_api(service, flags)
            if not flags.nowebui:
                from webui.blocks import mount_page

                app = mount_page(app, service)
            print(f"Running on http://{HOST}:{flags.port}", flush=True)
            if flags.autolaunch:
                webbrowser.open(f"http://{HOST}:{flags.port}")
            uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)).run(
                sockets=[listener]
            )
        finally:
            service.close()


def main(arguments: Sequence[str]) -> int:
    """Exit code: 0 after a normal end, 2 when something must be changed before it can run."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        serve(parse_flags(arguments))
    except AtelierError as error:
        print(error.message, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
