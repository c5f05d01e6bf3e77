"""Runs kopf, again and again, in a thread with an event loop of its own.

Two facts of kopf (1.45) make the thread: when a run ends, it cancels every task that began after it on its loop, which
would be the reconciler's; and a run does end, on errors in a watch stream for example.
"""

import asyncio
import threading
import time
from typing import Any, cast

import kopf
import structlog

from reranker_operator import handlers
from reranker_operator.errors import cause
from reranker_operator.handlers import Notify
from reranker_operator.metrics import Metrics
from reranker_operator.world import names

log = structlog.get_logger(__name__)

PAUSE_FIRST_S, PAUSE_MAX_S = 0.5, 5.0
#: A run that lasted this long was a good one: the next pause is the first again.
GOOD_RUN_S = 60.0
#: A run that is asked to end waits up to 5 s for its own tasks; that long a pod's end shouldn't take.
STOP_S = 2.0


class Watching:
    """The watches on models and owned objects; `follow` and `stop` may be called any number of times."""

    def __init__(self, notify: Notify, metrics: Metrics) -> None:
        self._notify = notify
        self._namespaces: tuple[str, ...] | None = None
        self._metrics = metrics
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    async def follow(self, namespaces: tuple[str, ...] | None) -> None:
        """Watch these namespaces, or everywhere (None); nothing happens where that is so already."""
        if self._namespaces != namespaces:
            await self.stop()
        if self._thread is None and namespaces != ():
            self._namespaces = namespaces
            self._stopping.clear()
            self._thread = threading.Thread(target=self._repeat, name="watching", daemon=True)
            self._thread.start()

    async def stop(self) -> None:
        """End the present run and wait for the thread."""
        if self._thread is None:
            return
        self._stopping.set()
        if self._running is not None:
            loop, stop = self._running
            loop.call_soon_threadsafe(stop.set)
        await asyncio.to_thread(self._thread.join)
        self._thread = None

    def _repeat(self) -> None:
        pause = PAUSE_FIRST_S
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                asyncio.run(self._run())
            except asyncio.CancelledError:
                log.debug("the watches didn't end by themselves")
            except Exception as error:  # noqa: BLE001  (whatever ended the run, the watches must go on)
                log.warning("the watches ended and begin anew", error=cause(error))
            if self._stopping.is_set():
                return
            self._metrics.watch_restarts.inc()
            pause = PAUSE_FIRST_S if time.monotonic() - began > GOOD_RUN_S else pause
            self._stopping.wait(pause)
            pause = min(2 * pause, PAUSE_MAX_S)

    async def _run(self) -> None:
        stop = asyncio.Event()
        # Made before the run, so that the run's end doesn't take it for one of its own tasks.
        stopped = asyncio.create_task(stop.wait())
        self._running = (asyncio.get_running_loop(), stop)
        if self._stopping.is_set():
            stop.set()
        try:
            run = asyncio.create_task(self._watch(stop))
            await asyncio.wait([stopped, run], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([run], timeout=STOP_S)
            run.cancel()
            await run
        finally:
            self._running = None

    async def _watch(self, stop: asyncio.Event) -> None:
        await kopf.operator(
            registry=handlers.registry(self._notify),
            settings=handlers.settings(),
            standalone=True,
            clusterwide=self._namespaces is None,
            namespaces=self._namespaces or (),
            identity=cast("Any", names.MANAGER),  # its default asks the password database, which has no such uid
            stop_flag=stop,
        )
