"""The thread that owns the device: takes batches from the backlog, runs them, and hands the logits back."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from reranker_worker.errors import DeviceFault, NotReady, ScoringFailed, WorkerError
from reranker_worker.metrics import Metrics
from reranker_worker.scoring.backlog import Backlog, BatchItem, PendingScore
from reranker_worker.serving import PairFailure, RunningBatch
from reranker_worker.tracing import Step

_log = structlog.get_logger("engine")

_IDLE_TURN_S = 0.5
# How often a GPU is asked whether it is done while nothing waits; the shortest batches take several times as long.
_BUSY_TURN_S = 0.0005
_RATE_MEMORY = 0.8
# A worker that stops has answered its requests by then, so no batch runs that is worth more.
_LONGEST_STOP_S = 10.0
_FAILURES = {
    "NonFinite": "its score isn't finite, in float32 either",
    "OutOfMemory": "it doesn't fit the device's memory, even by itself",
    "Overflow": (
        "its score isn't finite in the model's precision, and the device has no memory to compute it in another; "
        "set engine.dtype: float32"
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Pairs that the device was told to score."""

    items: Sequence[BatchItem]
    requests: Sequence[PendingScore]
    tokens: int
    began_s: float
    running: RunningBatch


class DeviceThread:
    """Begins one batch a turn until it is stopped or the device is lost.

    A GPU computes by itself: while it is at one batch the next one is taken, packed and handed to it, so that it never
    waits for Python. A batch on a CPU is done once it is begun.
    """

    def __init__(self, backlog: Backlog, max_batch_tokens: Callable[[], int], metrics: Metrics) -> None:
        self._backlog = backlog
        self._max_batch_tokens = max_batch_tokens
        self._metrics = metrics
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)
        self._stopping = threading.Event()
        self._beat_s = time.monotonic()
        # The oldest first: one, and on a GPU another behind it.
        self._begun: deque[_Batch] = deque()
        self._last_ended_s = 0.0
        self.fatal: WorkerError | None = None
        self.tokens_per_s = 0.0

    def start(self) -> None:
        """Begin to take batches."""
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """End after the running batch; what still waits fails with NotReady. A device that hangs isn't waited for."""
        self._stopping.set()
        self._backlog.close()
        if self._thread.is_alive():
            self._thread.join(_LONGEST_STOP_S)
        else:
            self._refuse_waiting()

    def lose(self, fault: DeviceFault) -> None:
        """Note, from any thread, that the device is lost; batches that need it fail by themselves."""
        self.fatal = fault
        _log.critical("device lost", reason=fault.reason, message=fault.message)

    @property
    def is_running(self) -> bool:
        """Tell whether the thread has begun and not ended."""
        return self._thread.is_alive()

    def heartbeat_age_s(self) -> float:
        """Return the time since the last sign of life: an idle turn, a layer of a batch that begins, a batch's end."""
        return time.monotonic() - self._beat_s

    def _beat(self) -> None:
        self._beat_s = time.monotonic()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn()
            while self._begun:
                self._end_oldest()
        except DeviceFault as fault:
            self.lose(fault)
        finally:
            for batch in self._begun:
                _fail(batch.requests, _lost())
            if not self._stopping.is_set() and self.fatal is None:
                self.fatal = DeviceFault("DeviceThreadEnded", "the device thread ended by an error of its own")
            self._backlog.close()
            self._refuse_waiting()

    def _turn(self) -> None:
        # Functions of their own: their locals would keep a model in memory that is no longer served.
        if not self._begun:
            self._beat()
        items = self._backlog.take(self._max_batch_tokens, _BUSY_TURN_S if self._begun else _IDLE_TURN_S)
        if items:
            self._begin(items)
        while self._begun and (len(self._begun) > 1 or self._begun[0].running.is_done()):
            self._end_oldest()

    def _begin(self, items: list[BatchItem]) -> None:
        requests = list(dict.fromkeys(item.request for item in items))
        pairs = [item.pair for item in items]
        own = sum(item.request.own_tokens(item.pair.encoded) for item in items)
        tokens = own + sum(request.shared for request in requests)
        began_s = time.monotonic()
        with _failing(requests, pairs=len(pairs), tokens=tokens):
            running = requests[0].model.runner.begin(pairs, self._beat)
            self._begun.append(_Batch(items, requests, tokens, began_s, running))

    def _end_oldest(self) -> None:
        """Wait for the batch that was begun first, and hand its logits back."""
        batch = self._begun.popleft()
        with _failing(batch.requests, pairs=len(batch.items), tokens=batch.tokens):
            outcomes = batch.running.outcomes()
            self._beat()
            self._observe(batch)
            for item, outcome in zip(batch.items, outcomes, strict=True):
                _record(item, outcome)

    def _observe(self, batch: _Batch) -> None:
        pairs, tokens = len(batch.items), batch.tokens
        size = {
            "reranker.batch.pairs": pairs,
            "reranker.batch.tokens": tokens,
            "reranker.batch.requests": len(batch.requests),
        }
        # A batch that was handed over while another one ran has had the device since then alone.
        step = Step("batch", max(batch.began_s, self._last_ended_s), time.monotonic(), size)
        self._last_ended_s = step.ended_s
        for request in batch.requests:
            request.batches.append(step)
        seconds = step.seconds
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


@contextmanager
def _failing(requests: Sequence[PendingScore], **batch: int) -> Iterator[None]:
    """Fail a batch's requests for what goes wrong with it; a lost device is raised as well."""
    try:
        yield
    except DeviceFault:
        _fail(requests, _lost())
        raise
    except RuntimeError as error:
        _log.exception("batch failed", **batch, error=type(error).__name__)
        _fail(requests, _not_computed())
    except BaseException:
        # The thread ends by it, and the process is replaced: nobody is to wait for that.
        _fail(requests, _not_computed())
        raise


def _not_computed() -> ScoringFailed:
    return ScoringFailed("the batch that held this request couldn't be computed")


def _lost() -> NotReady:
    return NotReady("the device is lost; this worker is being replaced", retry_after_s=1.0)


def _fail(requests: Sequence[PendingScore], error: WorkerError) -> None:
    for request in requests:
        request.fail(error)
