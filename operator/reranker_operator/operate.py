"""The process: startup, the loops that run until a signal, shutdown."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import time
from collections.abc import Mapping, Sequence

import structlog

from reranker_operator import api
from reranker_operator.api import REQUEST_TIMEOUT_S, Api
from reranker_operator.cluster import Cluster
from reranker_operator.election import Candidacy, Election
from reranker_operator.errors import Conflict, NotFound, OperatorError, Stale
from reranker_operator.health import Health, HealthServer
from reranker_operator.judge import Judge
from reranker_operator.lease import Pace
from reranker_operator.metrics import Metrics
from reranker_operator.reconcile import Reconciler
from reranker_operator.resources.adapter_kind import ADAPTER_PLURAL
from reranker_operator.settings import Settings
from reranker_operator.token_bucket import TokenBucket
from reranker_operator.watching import Watching
from reranker_operator.worker_client import WorkerClient
from reranker_operator.workqueue import WorkQueue
from reranker_operator.world.names import Document, Key

log = structlog.get_logger(__name__)

BEAT_S = 1.0
#: Between two listings, while the API server is away or seems to be.
LISTING_PAUSE_S = 2.0


class Operator:
    """Everything that one process runs."""

    def __init__(self, settings: Settings, connection: Api, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._connection = connection
        self._identity = os.environ.get("POD_NAME") or socket.gethostname()
        self._cluster = Cluster(connection, self._identity, settings.watched_namespaces)
        self._workers = WorkerClient()
        self._queue: WorkQueue[Key] = WorkQueue(time.monotonic)
        self._judge = Judge(self._cluster, self._workers, time.monotonic, self._queue.add)
        self._reconciler = Reconciler(
            self._cluster,
            self._workers,
            self._judge,
            settings,
            clock=time.monotonic,
            on_status=self._on_status,
            on_adapters=self._on_adapters,
        )
        self._health = Health(time.monotonic, longest_silence_s(settings))
        self._server = HealthServer((settings.health_address, settings.health_port), self._health, metrics.registry)
        self._outage = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._watching = Watching(self._notify, metrics)
        metrics.queue_depth.set_function(lambda: len(self._queue))

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set; then finish the reconciles that are under way."""
        self._server.start()
        log.info("the operator runs", port=self._server.port, namespaces=self._settings.namespaces or "all")
        tasks = [asyncio.create_task(loop) for loop in (self._beat(), self._lead())]
        try:
            stopped = asyncio.create_task(stop.wait())
            done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            log.info("the operator stops")
            await _cancelled(tasks)
            await self._workers.close()
            self._server.close()

    async def _lead(self) -> None:
        """Act, where several operators share a Lease only while it is ours."""
        settings = self._settings
        if not settings.lease:
            await self._act()
            return
        # Two processes of one machine are two candidates; a container that starts again is the one it was.
        candidacy = Candidacy(settings.lease, f"{self._identity}-{os.getpid()}", Pace(settings.lease_seconds))
        await Election(self._connection, candidacy, time.monotonic, self._asked).lead(self._act)

    def _asked(self, answered: bool) -> None:
        # Told while we wait for the Lease, when nothing else is heard.
        self._health.heard()
        self._health.listed(answered=answered)

    async def _act(self) -> None:
        """List, watch and reconcile until cancelled."""
        self._cluster.adapters.changed()  # whoever acted before us may have seen to that
        reconciles = (self._work() for _ in range(self._settings.concurrent_reconciles))
        tasks = [asyncio.create_task(loop) for loop in (self._resync(), *reconciles)]
        self._metrics.leading.set(1)
        try:
            await asyncio.gather(*tasks)
        finally:
            self._metrics.leading.set(0)
            self._metrics.statuses.clear()
            # Reconciles first: they are what mustn't go on once the Lease is lost.
            await _cancelled(tasks)
            await self._judge.close()
            await self._watching.stop()

    def _notify(self, resource: str, key: Key) -> None:
        # From the watching thread.
        self._loop.call_soon_threadsafe(self._hear, resource, key)

    def _hear(self, resource: str, key: Key) -> None:
        self._metrics.watch_events.labels(resource).inc()
        self._health.heard()
        if resource == ADAPTER_PLURAL:
            self._cluster.adapters.changed()
        self._queue.add(key)

    def _on_status(self, key: Key, status: Document | None) -> None:
        self._metrics.statuses.tell(key.namespace, key.name, status)

    def _on_adapters(self, key: Key, statuses: Mapping[tuple[str, str], Document]) -> None:
        self._metrics.statuses.tell_adapters(key.namespace, key.name, statuses)

    async def _beat(self) -> None:
        while True:
            self._health.beat()
            await asyncio.sleep(BEAT_S)

    async def _resync(self) -> None:
        """Make every model due once in a while, so that a lost watch event delays a change and no more.

        And once an outage of the API server is over: by then backoffs may have grown to minutes.
        """
        due_at, missed = 0.0, False
        while True:
            self._outage.clear()
            keys = await self._list()
            if keys is not None and (missed or time.monotonic() >= due_at):
                for key in keys:
                    self._queue.add(key)
                due_at = time.monotonic() + self._settings.resync_seconds * random.uniform(0.9, 1.1)  # noqa: S311
            missed = keys is None
            await asyncio.sleep(LISTING_PAUSE_S)
            if not missed:
                await self._outage_until(due_at)

    async def _outage_until(self, due_at: float) -> None:
        """Wait until a reconcile meets an outage, or the time comes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(due_at - time.monotonic()):
                await self._outage.wait()

    async def _list(self) -> list[Key] | None:
        """All models, and those that only an adapter names; None when the API server doesn't list any."""
        keys = None
        try:
            models = await self._cluster.models()
            keys = list({*models, *await self._cluster.adapters.models()})
            await self._watching.follow(self._cluster.watchable())
            self._metrics.models.set(len(models))
        except NotFound:
            # kopf looks for the API once, when it starts: start it when there is something to find.
            log.warning("the API server doesn't serve RerankerModels and RerankerAdapters; install the CRDs")
            await self._watching.stop()
        except OperatorError as error:
            log.warning("the models couldn't be listed", error=str(error))
        self._health.heard()
        self._health.listed(answered=keys is not None)
        self._metrics.resyncs.labels("failed" if keys is None else "answered").inc()
        return keys

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            try:
                with self._metrics.reconcile_seconds.time():
                    await self._reconcile(key)
            finally:
                self._queue.done(key)

    async def _reconcile(self, key: Key) -> None:
        try:
            outcome = await self._reconciler.reconcile(key)
        except (Conflict, Stale) as error:
            # Somebody was faster, mostly the user's next edit or the Deployment's controller: look again.
            self._metrics.reconciles.labels("conflict").inc()
            log.debug("decided on old news", model=str(key), error=str(error), again_s=round(self._queue.retry(key), 1))
        except OperatorError as error:
            if error.outage:
                self._outage.set()
            self._metrics.reconciles.labels("failed").inc()
            log.warning(
                "a reconcile failed", model=str(key), error=str(error), again_s=round(self._queue.retry(key), 1)
            )
        except Exception:  # a bug that one model meets must not stop the others
            self._metrics.reconciles.labels("failed").inc()
            log.exception("a reconcile broke", model=str(key), again_s=round(self._queue.retry(key), 1))
        else:
            self._metrics.reconciles.labels("changed" if outcome.changed else "unchanged").inc()
            self._queue.forget(key)
            if outcome.again_s is not None:
                self._queue.add_after(key, outcome.again_s)


async def _cancelled(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel the tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def longest_silence_s(settings: Settings) -> float:
    """For how long nothing may be heard of the API server though every loop goes on: two rounds, the last one hanging.

    A round is a resync of who acts, or a look at the Lease of who waits; each is two requests, one after the other.
    """
    look_s = Pace(settings.lease_seconds).retry_s if settings.lease else 0.0
    return 2 * (max(settings.resync_seconds, look_s, LISTING_PAUSE_S) + REQUEST_TIMEOUT_S)


async def operate(settings: Settings) -> None:
    """Run the operator until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics, rate = Metrics(), settings.api_requests_per_second
    connection = Api(await api.configuration(), metrics, TokenBucket(rate, 2 * rate, time.monotonic))
    try:
        await Operator(settings, connection, metrics).run(stop)
    finally:
        await connection.close()
