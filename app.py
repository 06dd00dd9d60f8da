"""Composition root: flags -> settings -> services -> page and API -> serve."""

import contextlib
import os
import subprocess
import sys
import webbrowser
from collections.abc import Sequence

from modules.api.accounts.accounts import Accounts
from modules.api.serving import bind, check_certificate, first_page, greeting, server_options
from modules.api.tunnels import open_tunnel
from modules.core.errors import AtelierError
from modules.core.flags import Flags, parse_flags
from modules.core.lock import hold_lock
from modules.core.logs import log_to_stderr
from modules.core.paths import ROOT
from modules.core.settings import SettingsFile
from modules.jobs.executors.process import ProcessExecutor
from modules.jobs.service import JobService
from modules.library.downloads.queue import Downloads
from modules.library.downloads.transport import Transport
from modules.library.library import Library
from modules.library.takeover import roots_of, take_over, take_over_each
from modules.plugins.choosing import choose_extensions, usable
from modules.plugins.extensions import Extension
from modules.plugins.starts import Starts


def build_service(flags: Flags, settings: SettingsFile, extensions: Sequence[Extension] = ()) -> JobService:
    """The job service over the folders that the flags choose, with its engine, and what those add to it, in a process of its own."""
    paths = take_over(flags.paths, flags.take_over, flags.extra_model_paths)
    paths = take_over_each(paths, roots_of(settings.current.system.take_over_roots))
    library = Library(paths, hashing=not flags.no_hashing)
    checkpoints = library.checkpoints
    if flags.ckpt:
        settings.current = settings.current.changed({"sd_model_checkpoint": checkpoints.find(flags.ckpt).name})
    warm = settings.current.stable_diffusion.sd_model_checkpoint
    arguments = {
        "paths": paths,
        "warm": warm,
        "use_cpu": flags.use_cpu,
        "on_cpu": flags.on_cpu,
        "precision": flags.precision,
        "nan_check": flags.nan_check,
        "cpu_precision": None if flags.no_half else flags.cpu_precision,
        "memory": flags.memory,
        "attention": flags.attention,
        "compiles": flags.compiles,
        "fuses": flags.fuses,
        "extensions": list(extensions),
    }
    executor = ProcessExecutor("modules.scripts.build:build_engine", arguments)
    return JobService(
        paths=paths,
        settings=settings,
        checkpoints=checkpoints,
        executor=executor,
        library=library,
        policy=flags.network.policy,
        local_webhooks=flags.allow_local_webhooks,
    )


def build_downloads(flags: Flags, service: JobService) -> Downloads:
    """The queue of downloads into the folders that the flags choose."""
    return Downloads(
        paths=service.paths,
        settings=service.settings,
        hashes=service.checkpoints.hashes,
        environment=os.environ,
        transport=Transport(allow_local=flags.allow_local_downloads),
        reserve=flags.network.policy.reserve,
    )


def serve(flags: Flags) -> str:
    """Run until interrupted, or until the API asks for another end: "stop", "restart", or nothing."""
    network = flags.network
    check_certificate(network)
    listener = bind(network, flags.port)
    with hold_lock(flags.data_dir / ".lock"):
        starts = Starts(flags.data_dir / "cache" / "starts")
        starts.begin()
        settings = SettingsFile(flags.paths.settings)
        extensions = choose_extensions(flags, flags.paths, starts, settings.current)
        try:
            service = build_service(flags, settings, usable(extensions))
        except AtelierError:
            starts.forget()
            raise
        service.on_ready = starts.succeed
        accounts = Accounts(service.paths.accounts, network) if network.policy.login else None
        downloads = build_downloads(flags, service)
        downloads.start()
        closing, tunnel = contextlib.ExitStack(), None
        service.start()  # the engine loads while the page's libraries are imported
        try:
            import uvicorn

            from modules.api.app import build_api
            from modules.api.guard import Door
            from modules.api.hosts import Hosts
            from modules.api.patience import PatientProtocol
            from modules.api.power import Power

            power = Power()
            door = Door(accounts=accounts, network=network, hosts=Hosts.of(network), port=flags.port)
            app = build_api(service, flags, downloads=downloads, door=door, power=power, extensions=extensions)
            if not flags.nowebui:
                from webui.blocks import mount_page

                app = mount_page(app, service, downloads)
            if network.tunnel:
                from webui.share import share_address

                tunnel = open_tunnel(network, flags.port, os.environ, share_address)
                closing.callback(tunnel.close)
                door.hosts.add(tunnel.host)
            address = tunnel.address if tunnel else None
            print("\n".join(greeting(network, flags.port, accounts, address)), flush=True)
            if flags.autolaunch:
                webbrowser.open(first_page(network, flags.port, accounts))
            server = uvicorn.Server(uvicorn.Config(app, http=PatientProtocol, **server_options(network)))
            power.end = lambda: setattr(server, "should_exit", True)
            server.run(sockets=[listener])
            return power.wish
        finally:
            if service.engine_runs:
                starts.succeed()
            closing.close()
            downloads.close()
            service.close()
            if accounts:
                accounts.close()


def restart(arguments: Sequence[str]) -> int:
    """This program once more, from its beginning, so that it reads its own files again."""
    command = [sys.executable, str(ROOT / "app.py"), *arguments]
    if os.name == "nt":  # where a process that replaces itself seems to have ended
        return subprocess.call(command)
    return os.execv(command[0], command)


def main(arguments: Sequence[str]) -> int:
    """Exit code: 0 after a normal end, 2 when something must be changed before it can run."""
    log_to_stderr()
    try:
        if serve(parse_flags(arguments)) == "restart":
            return restart(arguments)
    except AtelierError as error:
        print(error.message, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
