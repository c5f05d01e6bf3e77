"""The scoring engine: admission, tokenisation, the device thread's batches, and the one reference to what is served."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import structlog
from opentelemetry.trace import Tracer

from reranker_worker import tracing
from reranker_worker.device import keep_batch_memory, on_passing_thread, resolve_device, use_available_cpus
from reranker_worker.errors import DeadlineExceeded, DeviceFault, NotReady, Overloaded, WorkerError
from reranker_worker.kernels import library
from reranker_worker.metrics import Metrics
from reranker_worker.scoring.backlog import Backlog, PendingScore
from reranker_worker.scoring.capture import captured, pinnable
from reranker_worker.scoring.device_thread import DeviceThread
from reranker_worker.scoring.preparing import prepare_adapter, prepare_model
from reranker_worker.scoring.progress import Progress
from reranker_worker.scoring.splitting import Queries, has_long_text, parts_of, turns
from reranker_worker.serving import (
    EncodedPair,
    EngineSettings,
    Limits,
    LoadedAdapter,
    LoadedModel,
    Queue,
    ScoreRequest,
    ScoreResult,
    Serving,
)
from reranker_worker.tracing import Step

# A request longer than this share of the queue is fed piece by piece, so that it never shuts out the others.
_QUEUE_SHARE = 4
_LONGEST_RETRY_S = 60.0
_MOST_REMEMBERED = 1000

_log = structlog.get_logger("engine")

_T = TypeVar("_T")


class Engine:
    """Scores requests with what it serves; a request keeps the Serving that it was admitted with.

    Raises DeviceFault where its device isn't there.
    """

    def __init__(
        self, limits: Limits, device: str = "auto", metrics: Metrics | None = None, tracer: Tracer | None = None
    ) -> None:
        self._limits = limits
        self._scores_on = resolve_device(device)
        self._metrics = metrics or Metrics()
        self._tracer = tracer
        self._serving = Serving()
        # What clients could have, in the order in which it came: of too many, the oldest is forgotten.
        self._had: dict[str, None] = {}
        self._backlog = Backlog()
        self._device = DeviceThread(self._backlog, lambda: self._limits.max_batch_tokens, self._metrics)
        # One thread each: a fast tokenizer spreads a batch over the CPUs by itself. A long text takes seconds.
        self._tokenisation = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenisation")
        self._long_tokenisation = ThreadPoolExecutor(max_workers=1, thread_name_prefix="long-tokenisation")
        self._metrics.queue_pairs.set_function(lambda: self._backlog.pairs)
        self._metrics.queue_tokens.set_function(lambda: self._backlog.tokens)
        self.set_limits(limits)
        use_available_cpus()
        keep_batch_memory()

    def start(self) -> None:
        """Start the device thread."""
        if self._scores_on.type == "cpu" and not library.is_compiled():
            _log.warning(
                "attention, norms and int8 rows are torch's, which are slower: there was no C compiler at installation"
            )
        self._device.start()

    def close(self) -> None:
        """Stop the device thread after its batch; requests that still wait fail with NotReady."""
        self._device.stop()
        for threads in (self._tokenisation, self._long_tokenisation):
            threads.shutdown(cancel_futures=True)

    @property
    def is_running(self) -> bool:
        """Tell whether the device thread is there; after `close` only where its device hangs."""
        return self._device.is_running

    def load_model(self, path: Path, revision: str, settings: EngineSettings) -> LoadedModel:
        """Load a checkpoint and warm it up; blocks, on any thread. Raises CheckpointError or DeviceFault."""
        # The first model may use all that there is; one beside it must leave what the largest batch of those takes.
        batches = [held.model.runner.max_batch_tokens for held in self._serving.held.values()]
        spare_tokens = min(max(batches, default=0), self._limits.max_batch_tokens)
        return self._prepared(
            lambda: prepare_model(path, revision, settings, self._scores_on, self._metrics, spare_tokens=spare_tokens)
        )

    def load_adapter(self, model: LoadedModel, path: Path, name: str, revision: str, max_rank: int) -> LoadedAdapter:
        """Load an adapter and probe it on the model; blocks, on any thread. Raises AdapterError or DeviceFault."""
        return self._prepared(
            lambda: prepare_adapter(model, path, self._metrics, name=name, revision=revision, max_rank=max_rank)
        )

    def _prepared(self, prepare: Callable[[], _T]) -> _T:
        try:
            return on_passing_thread(prepare)
        except DeviceFault as fault:
            # What was loaded before computes on the same device.
            self._device.lose(fault)
            raise

    def serve(self, serving: Serving) -> None:
        """Swap what answers; requests admitted before keep what they were admitted with."""
        self._had |= dict.fromkeys(pinnable(serving))
        for revision in list(self._had)[:-_MOST_REMEMBERED]:
            del self._had[revision]
        self._serving = serving
        self._metrics.show_serving(serving)

    @property
    def serving(self) -> Serving:
        """Return what answers now."""
        return self._serving

    def set_limits(self, limits: Limits) -> None:
        """Change the limits from the next admission and batch on."""
        self._limits = limits
        self._metrics.batch_limit.set(limits.max_batch_tokens)
        self._metrics.queue_limit.set(limits.max_queue_tokens)

    @property
    def fatal(self) -> WorkerError | None:
        """Return why this process can't score any more, if so."""
        return self._device.fatal

    @property
    def queue(self) -> Queue:
        """Return how much waits now."""
        return Queue(self._backlog.pairs, self._backlog.tokens, self._limits.max_queue_tokens)

    def heartbeat_age_s(self) -> float:
        """Return the time since the device thread's last sign of life."""
        return self._device.heartbeat_age_s()

    async def score(self, request: ScoreRequest) -> ScoreResult:
        """Score a request; raises a RequestError. Cancelling it drops what still waits."""
        if self.fatal is not None:
            raise NotReady("the device is lost; this worker is being replaced", retry_after_s=1.0)
        model, adapter = captured(self._serving, request, self._had)
        try:
            async with asyncio.timeout(_remaining_s(request.deadline_s)):
                return await self._scored(request, model, adapter)
        except WorkerError as error:
            # Without the frames that it went through: they hold what waits for it, and that holds the error.
            raise error.with_traceback(None) from None
        except TimeoutError:
            pass  # told below: what it is told in would hold it, and it holds the task that ends by that
        raise DeadlineExceeded("the request's deadline passed before all documents were scored")

    async def _scored(self, request: ScoreRequest, model: LoadedModel, adapter: LoadedAdapter | None) -> ScoreResult:
        parts = list(parts_of(request, model.max_length, max(1, self._limits.max_queue_tokens // _QUEUE_SHARE)))
        held, documents = max(part.estimated_tokens for part in parts), len(request.documents)
        self._admit(held, documents)
        progress = Progress()
        try:
            queries = Queries(model.tokenizer, request.instruction)
            threads = self._long_tokenisation if has_long_text(request) else self._tokenisation
            for part in parts:
                pairs = await self._encoded(threads, progress, queries, request, part.documents)
                pending = PendingScore(model, adapter, pairs, request.deadline_s)
                self._backlog.settle(pending.tokens - held)
                held = pending.tokens
                progress.add(await self._answered(progress, pending))
        finally:
            self._backlog.settle(-held, -documents)
            tracing.record(self._tracer, progress.steps)
        return progress.result(request, model, adapter)

    def _admit(self, tokens: int, documents: int) -> None:
        most = self._limits.max_queue_tokens
        self._metrics.load.asked(documents)
        if self._backlog.admit(tokens, documents, most):
            return
        excess = self._backlog.tokens + tokens - most
        rate = self._device.tokens_per_s
        retry_after_s = min(_LONGEST_RETRY_S, max(0.1, excess / rate)) if rate else 1.0
        raise Overloaded(f"{self._backlog.tokens} of at most {most} tokens wait", retry_after_s=retry_after_s)

    async def _encoded(
        self, threads: ThreadPoolExecutor, progress: Progress, queries: Queries, request: ScoreRequest, documents: range
    ) -> list[EncodedPair]:
        loop, pairs = asyncio.get_running_loop(), list[EncodedPair]()
        for turn in turns(request, documents):
            pairs += await loop.run_in_executor(threads, _timed, progress, queries, request, turn)
        return pairs

    async def _answered(self, progress: Progress, pending: PendingScore) -> PendingScore:
        if not self._backlog.put(pending):
            raise NotReady("this worker is going away", retry_after_s=1.0)
        try:
            await asyncio.wrap_future(pending.done)
        finally:
            self._backlog.drop(pending)
            progress.steps += pending.steps()
        if pending.failure is not None:
            raise pending.failure
        self._metrics.queue_wait.observe(pending.queue_s)
        return pending


def _timed(progress: Progress, queries: Queries, request: ScoreRequest, turn: Sequence[int]) -> list[EncodedPair]:
    """Encode a turn's pairs, and note how long that took."""
    began_s = time.monotonic()
    try:
        return queries.encoded(request, turn)
    finally:
        progress.steps.append(step := Step("tokenise", began_s, time.monotonic()))
        progress.tokenization_s += step.seconds


def _remaining_s(deadline_s: float | None) -> float | None:
    return None if deadline_s is None else deadline_s - time.monotonic()
