"""One worker process's parts and what can be asked of them from any thread."""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from reranker_worker.errors import WorkerError
from reranker_worker.metrics import Metrics
from reranker_worker.reconciling.reconciler import Reconciler
from reranker_worker.reconciling.state import Observation, WorkerState, worker_state
from reranker_worker.serving import Queue, ScoreRequest, ScoreResult

_LONGEST_SILENCE_S = 30.0


class Scorer(Protocol):
    """The part of the engine that answers requests."""

    async def score(self, request: ScoreRequest) -> ScoreResult:
        """Score one request."""
        ...

    @property
    def queue(self) -> Queue:
        """Return how much waits now."""
        ...

    def heartbeat_age_s(self) -> float:
        """Return the time since the device thread last gave a sign of life."""
        ...

    @property
    def fatal(self) -> WorkerError | None:
        """Return why the device can't score any more."""
        ...


@dataclass
class Worker:
    """The scorer, the reconciler that feeds it, and whether the process is draining."""

    scorer: Scorer
    reconciler: Reconciler
    metrics: Metrics
    pod: str = ""
    boot_id: str = field(default_factory=lambda: secrets.token_hex(16))
    started_s: int = field(default_factory=lambda: int(time.time()))
    clock: Callable[[], float] = time.monotonic
    _draining: threading.Event = field(default_factory=threading.Event)

    @property
    def observation(self) -> Observation:
        """Return the reconciler's latest look at the world."""
        return self.reconciler.observation

    @property
    def draining(self) -> bool:
        """Tell whether the process is on its way out."""
        return self._draining.is_set()

    @property
    def parting(self) -> bool:
        """Tell whether clients are to go elsewhere: the process ends, or no Service leads to it any more."""
        told = self.observation.reading.effective
        return self.draining or (told is not None and self.reconciler.template in told.parked)

    def drain(self) -> None:
        """Begin to drain: not ready any more, and every connection is asked to close."""
        self._draining.set()

    def state(self) -> WorkerState:
        """Return what the worker says of itself now."""
        fatal = self.scorer.fatal
        return worker_state(
            self.observation,
            draining=self.draining,
            fatal=fatal.message if fatal else "",
            pod=self.pod,
            boot_id=self.boot_id,
        )

    def ailment(self) -> str:
        """Return why the process should be restarted, or "": by signs of life only, never by a scoring call."""
        if (fatal := self.scorer.fatal) is not None:
            return fatal.message
        if (age_s := self.scorer.heartbeat_age_s()) > _LONGEST_SILENCE_S:
            return f"the device thread has been silent for {age_s:.0f} s"
        if (age_s := self.reconciler.heartbeat_age_s()) > _LONGEST_SILENCE_S:
            return f"the reconciler has been silent for {age_s:.0f} s"
        return ""
