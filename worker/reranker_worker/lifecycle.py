"""A serving process from start to exit: its parts, their threads, and everything down in order."""

import asyncio
import os
import threading
from collections.abc import Callable

import structlog
import uvicorn

from reranker_worker import tracing
from reranker_worker.fetching.cache import ArtifactCache
from reranker_worker.fetching.fetcher import Fetcher
from reranker_worker.fetching.origins import Hub, Origins
from reranker_worker.manifest_files import ManifestFiles, StaticManifest
from reranker_worker.metrics import Metrics
from reranker_worker.reconciling.reconciler import Reconciler
from reranker_worker.reconciling.state_metrics import StateMetrics
from reranker_worker.scoring.engine import Engine
from reranker_worker.serving import Limits
from reranker_worker.settings import ServeSettings
from reranker_worker.standalone import TEMPLATE, forget_older_copies, standalone_manifest, user_cache
from reranker_worker.web.app import client_app, internal_app
from reranker_worker.web.server import ClientServer, listen, serve_until_drained, server_config
from reranker_worker.worker import Worker

_JOIN_S = 5.0

log = structlog.get_logger("worker")


def serve(settings: ServeSettings) -> int:
    """Serve until drained; return the exit code, 1 where the device has failed. Raises DeviceFault without one."""
    metrics = Metrics()
    traces = tracing.tracer_provider(settings.pod_name)
    engine = Engine(Limits(), settings.device, metrics, traces.get_tracer("reranker_worker") if traces else None)
    reconciler, fetcher = _parts(settings, engine)
    worker = Worker(engine, reconciler, metrics, pod=settings.pod_name)
    metrics.registry.register(StateMetrics(worker.state))
    app = client_app(worker, settings, traces)
    clients = server_config(app, settings.host, settings.port, settings.keep_alive_s, settings.connection_age_s)
    internal = server_config(
        internal_app(worker, settings), settings.host, settings.internal_port, settings.keep_alive_s
    )
    listener, internal_listener = listen(clients), listen(internal)
    internal_server = uvicorn.Server(internal)

    stop = threading.Event()
    engine.start()
    threads = [
        _thread("internal-port", lambda: internal_server.run(sockets=[internal_listener])),
        _thread("reconciler", lambda: reconciler.run(stop)),
    ]
    if fetcher is not None:
        threads.append(_thread("fetcher", lambda: fetcher.run(stop)))
    log.info("listening", port=listener.getsockname()[1], internal_port=internal_listener.getsockname()[1])
    asyncio.run(serve_until_drained(ClientServer(clients, worker), listener, settings.drain_delay_s))

    stop.set()
    internal_server.should_exit = True
    for thread in threads:
        thread.join(_JOIN_S)
    engine.close()
    tracing.close(traces)
    if engine.is_running:
        log.critical("stopped beside a device that hangs")
        # A thread that waits for a driver would hold up Python's own end, and the GPU with it.
        os._exit(1)
    log.info("stopped")
    return 1 if engine.fatal is not None else 0


def _parts(settings: ServeSettings, engine: Engine) -> tuple[Reconciler, Fetcher | None]:
    """Return the reconciler and, where no sidecar fetches, the fetcher."""
    if not settings.model:
        manifests = ManifestFiles(settings.manifest_paths, settings.template)
        cache = ArtifactCache(settings.cache, settings.run)
        return Reconciler(manifests, settings.template, cache, engine), None
    told, cache = standalone_manifest(settings), user_cache(settings)
    forget_older_copies(cache, told)
    manifest = StaticManifest(told)
    origins = Origins(settings.claims, Hub(settings.hub_endpoint, settings.hub_token), local_folders=True)
    return Reconciler(manifest, TEMPLATE, cache, engine), Fetcher(manifest, TEMPLATE, cache, origins)


def _thread(name: str, run: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread
