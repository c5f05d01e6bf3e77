"""`reranker-worker serve | fetch | digest`: the command line of both containers and of a laptop."""

import signal
import socket
import sys
import threading
from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_settings import SettingsError

from reranker_worker.collecting import keep_for_good, uncollected
from reranker_worker.errors import WorkerError
from reranker_worker.fetching.artifacts import SERVED_PATTERNS, artifact_digest
from reranker_worker.fetching.cache import ArtifactCache, served_files
from reranker_worker.fetching.fetcher import Fetcher
from reranker_worker.fetching.origins import Hub, Origins, Registries
from reranker_worker.fetching.room import Room
from reranker_worker.logs import configure_logs
from reranker_worker.manifest_files import ManifestFiles
from reranker_worker.settings import DigestSettings, FetchSettings, ServeSettings

_USAGE = """\
usage: reranker-worker {serve,fetch,digest} ...

  serve    score requests: reranker-worker serve --model FOLDER_OR_HUB_ID, or --template=KEY in Kubernetes
  fetch    bring the artifacts of a manifest into the cache: reranker-worker fetch --template=KEY
  digest   print the digest of a model's or adapter's folder: reranker-worker digest FOLDER

reranker-worker COMMAND --help lists a command's flags; RERANKER__FLAG_NAME in the environment sets one too.
"""

Settings = ServeSettings | FetchSettings | DigestSettings
_COMMANDS: dict[str, type[Settings]] = {"serve": ServeSettings, "fetch": FetchSettings, "digest": DigestSettings}


def main() -> None:
    """Run one command and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command; return its exit code, 2 for a wrong command line."""
    if not arguments or arguments[0] not in _COMMANDS:
        asked = bool(arguments) and arguments[0] in {"-h", "--help"}
        (sys.stdout if asked else sys.stderr).write(_USAGE)
        return 0 if asked else 2
    try:
        match parse_settings(arguments):
            case ServeSettings() as settings:
                return _serve(settings)
            case FetchSettings() as settings:
                return _fetch(settings)
            case DigestSettings() as settings:
                return _digest(settings)
    except (ValidationError, SettingsError, WorkerError) as error:
        sys.stderr.write(f"reranker-worker {arguments[0]}: {_explained(error)}\n")
        return 2


def parse_settings(arguments: Sequence[str]) -> Settings:
    """Return a command's settings from its name and flags, and from the environment."""
    command, *flags = arguments
    return _COMMANDS[command](_cli_parse_args=flags)


def _serve(settings: ServeSettings) -> int:
    with uncollected():
        from reranker_worker.lifecycle import serve  # noqa: PLC0415 — torch takes seconds, and only serving needs it
    keep_for_good()

    configure_logs(settings.log_format, settings.log_level)
    return serve(settings)


def _fetch(settings: FetchSettings) -> int:
    configure_logs(settings.log_format, settings.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    cache = ArtifactCache(settings.cache, settings.run, read_only=settings.cache_read_only)
    Fetcher(
        manifests=ManifestFiles(settings.manifest_paths, settings.template),
        template=settings.template,
        cache=cache,
        room=None if cache.read_only else Room(cache, settings.cache_bytes, user=socket.gethostname()),
        origins=Origins(
            settings.claims,
            Hub(settings.hub_endpoint, settings.hub_token),
            Registries(settings.docker_config, settings.plain_http_registries),
            images=settings.images,
        ),
    ).run(stop)
    return 0


def _digest(settings: DigestSettings) -> int:
    if not settings.path.is_dir():
        sys.stderr.write(f"reranker-worker digest: {settings.path}: no such folder\n")
        return 2
    if not (files := served_files(settings.path)):
        served = ", ".join(SERVED_PATTERNS)
        sys.stderr.write(
            f"reranker-worker digest: {settings.path}: holds none of the files that are served: {served}\n"
        )
        return 2
    sys.stdout.write(artifact_digest(files) + "\n")
    return 0


def _explained(error: Exception) -> str:
    if isinstance(error, ValidationError):
        faults = error.errors(include_url=False, include_input=False)
        return "; ".join(": ".join([*map(_flag, fault["loc"][:1]), fault["msg"]]) for fault in faults)
    return str(error)


def _flag(field: str | int) -> str:
    return f"--{str(field).replace('_', '-')}"


if __name__ == "__main__":
    main()
