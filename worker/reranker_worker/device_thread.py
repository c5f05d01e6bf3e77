"""The thread that owns the device: takes batches from the backlog, runs them, and hands the logits back."""

import threading
import time
from collections.abc import Callable, Sequence

import structlog

from reranker_worker.backlog import Backlog, BatchItem, PendingScore
from reranker_worker.errors import DeviceFault, NotReady, ScoringFailed, WorkerError
from reranker_worker.metrics import Metrics
from reranker_worker.serving import PairFailure
from reranker_worker.tracing import Step

_log = structlog.get_logger("engine")

_IDLE_TURN_S = 0.5
_RATE_MEMORY = 0.8
_FAILURES = {
    "NonFinite": "its score isn't finite, in float32 either",
    "OutOfMemory": "it doesn't fit the device's memory, even by itself",
}


class DeviceThread:
    """Runs one batch a turn until it is stopped or the device is lost."""

    def __init__(self, backlog: Backlog, max_batch_tokens: Callable[[], int], metrics: Metrics) -> None:
        self._backlog = backlog
        self._max_batch_tokens = max_batch_tokens
        self._metrics = metrics
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)
        self._stopping = threading.Event()
        self._beat_s = time.monotonic()
        self.fatal: WorkerError | None = None
        self.tokens_per_s = 0.0

    def start(self) -> None:
        """Begin to take batches."""
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """End after the running batch; what still waits fails with NotReady."""
        self._stopping.set()
        self._backlog.close()
        if self._thread.is_alive():
            self._thread.join()
        else:
            self._refuse_waiting()

    def heartbeat_age_s(self) -> float:
        """Return the time since the last sign of life: a turn begun, or a layer of a long batch."""
        return time.monotonic() - self._beat_s

    def _beat(self) -> None:
        self._beat_s = time.monotonic()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._beat()
                self._turn()
        except DeviceFault as fault:
            self.fatal = fault
            _log.critical("device lost", reason=fault.reason, message=fault.message)
        finally:
            if not self._stopping.is_set() and self.fatal is None:
                self.fatal = DeviceFault("DeviceThreadEnded", "the device thread ended by an error of its own")
            self._backlog.close()
            self._refuse_waiting()

    def _turn(self) -> None:
        # A function of its own: its locals would keep a model in memory that is no longer served.
        items = self._backlog.take(self._max_batch_tokens, _IDLE_TURN_S)
        if items:
            self._score(items)

    def _score(self, items: list[BatchItem]) -> None:
        requests = list(dict.fromkeys(item.request for item in items))
        pairs = [item.pair for item in items]
        tokens = sum(len(pair.encoded) for pair in pairs) + sum(request.shared for request in requests)
        started = time.monotonic()
        try:
            outcomes = requests[0].model.runner.score(pairs, self._beat)
        except DeviceFault:
            _fail(requests, NotReady("the device is lost; this worker is being replaced", retry_after_s=1.0))
            raise
        except RuntimeError as error:
            _log.exception("batch failed", pairs=len(pairs), tokens=tokens, error=type(error).__name__)
            outcomes = []
        finally:
            self._observe(requests, len(pairs), tokens, started)
        if not outcomes:
            _fail(requests, ScoringFailed("the batch that held this request couldn't be computed"))
        for item, outcome in zip(items, outcomes, strict=bool(outcomes)):
            _record(item, outcome)

    def _observe(self, requests: Sequence[PendingScore], pairs: int, tokens: int, began_s: float) -> None:
        size = {
            "reranker.batch.pairs": pairs,
            "reranker.batch.tokens": tokens,
            "reranker.batch.requests": len(requests),
        }
        batch = Step("batch", began_s, time.monotonic(), size)
        for request in requests:
            request.batches.append(batch)
        seconds = batch.seconds
        rate = tokens / max(seconds, 1e-6)
        self.tokens_per_s = _RATE_MEMORY * self.tokens_per_s + (1 - _RATE_MEMORY) * rate if self.tokens_per_s else rate
        self._metrics.load.scored(pairs, seconds)
        self._metrics.batch_pairs.observe(pairs)
        self._metrics.batch_tokens.observe(tokens)
        self._metrics.batch_duration.observe(seconds)

    def _refuse_waiting(self) -> None:
        _fail(self._backlog.clear(), NotReady("this worker is going away", retry_after_s=1.0))


def _record(item: BatchItem, outcome: float | PairFailure) -> None:
    if isinstance(outcome, PairFailure):
        item.request.fail(
            ScoringFailed(f"document {item.position} can't be scored: {_FAILURES[outcome.reason]}", param="documents")
        )
    else:
        item.request.add(item.position, outcome)


def _fail(requests: Sequence[PendingScore], error: WorkerError) -> None:
    for request in requests:
        request.fail(error)
