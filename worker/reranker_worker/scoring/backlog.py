"""The pairs that wait to be scored: filled by the event loop, emptied by the device thread, under one lock."""

import threading
import time
from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from reranker_worker.errors import DeadlineExceeded, WorkerError
from reranker_worker.scoring.batching import WaitingPair, take_batch
from reranker_worker.scoring.fair_share import FairShare
from reranker_worker.serving import EncodedPair, LoadedAdapter, LoadedModel, ScoringPair
from reranker_worker.tracing import Step


@dataclass(slots=True, eq=False)
class PendingScore:
    """One request's pairs on their way: the model and adapter that it was admitted with, and what is done."""

    model: LoadedModel
    adapter: LoadedAdapter | None
    pairs: list[EncodedPair]
    deadline_s: float | None
    waiting: list[WaitingPair] = field(init=False)
    """Those of its pairs that no batch has taken, the shortest first."""
    shared: int = field(init=False)
    """The tokens of the prefix that all of its pairs share."""
    tokens: int = field(init=False)
    """What scoring it in one batch computes."""
    model_key: int = field(init=False)
    turn: float = 0.0
    """Its place in the order: the turn of fair sharing in which it would end."""
    computed: int = 0
    """The tokens of the batches that took any of its pairs, as far as they are its own."""
    scored: int = 0
    logits: list[float] = field(init=False)
    done: "Future[None]" = field(default_factory=Future)
    """Ends with the last logit or with a failure, which it doesn't hold: asyncio's view of it holds on to itself."""
    failure: WorkerError | None = None
    queued_at: float = field(default_factory=time.monotonic)
    first_taken_at: float | None = None
    batches: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        first = self.pairs[0].prefix
        self.shared = len(first) if all(pair.prefix is first for pair in self.pairs) else 0
        self.waiting = sorted(WaitingPair(self.own_tokens(pair), position) for position, pair in enumerate(self.pairs))
        self.tokens = self.shared + sum(pair.tokens for pair in self.waiting)
        self.model_key = id(self.model)
        self.logits = [0.0] * len(self.pairs)
        # From here on only the device thread ends it: a client that goes away can't race with a result.
        self.done.set_running_or_notify_cancel()

    def own_tokens(self, pair: EncodedPair) -> int:
        """Return what scoring one of its pairs computes beside what all of them share."""
        return len(pair) + (0 if self.shared else len(pair.prefix))

    @property
    def queue_s(self) -> float:
        """Return how long it waited for its first batch."""
        return (self.first_taken_at or time.monotonic()) - self.queued_at

    @property
    def inference_s(self) -> float:
        """Return how long the batches took that held any of its pairs."""
        return sum(batch.seconds for batch in self.batches)

    def steps(self) -> Iterator[Step]:
        """Yield its wait and its batches."""
        yield Step("queue", self.queued_at, self.queued_at + self.queue_s, {"reranker.pairs": len(self.pairs)})
        yield from self.batches

    def fail(self, error: WorkerError) -> None:
        """End the request with an error, unless it has ended already."""
        if not self.done.done():
            self.failure = error
            self.done.set_result(None)

    def add(self, position: int, logit: float) -> None:
        """Record one pair's logit; the last one ends the request."""
        self.logits[position] = logit
        self.scored += 1
        if self.scored == len(self.pairs) and not self.done.done():
            self.done.set_result(None)


@dataclass(frozen=True, slots=True)
class BatchItem:
    """A request's pair in a batch."""

    request: PendingScore
    position: int

    @property
    def pair(self) -> ScoringPair:
        """Return what the runner scores."""
        return ScoringPair(self.request.pairs[self.position], self.request.adapter)


class Backlog:
    """Holds at most so many tokens; a request's tokens count from its admission until it has ended.

    Requests are served in the order in which they would end if all shared the device equally: those of one size in the
    order in which they came, and a short one before what is left of a long one.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._requests: list[PendingScore] = []
        self._share = FairShare()
        self._tokens = 0
        self._pairs = 0
        self._closed = False

    @property
    def tokens(self) -> int:
        """Return the tokens admitted and not yet answered."""
        return self._tokens

    @property
    def pairs(self) -> int:
        """Return the pairs admitted and not yet answered."""
        return self._pairs

    def admit(self, tokens: int, pairs: int, max_tokens: int) -> bool:
        """Reserve room; an empty backlog takes a request of any size, else none so large could ever be served."""
        with self._condition:
            if self._tokens and self._tokens + tokens > max_tokens:
                return False
            self._tokens += tokens
            self._pairs += pairs
            return True

    def settle(self, tokens: int, pairs: int = 0) -> None:
        """Change what is reserved: to the true count after tokenisation, by a negative one when a request has ended."""
        with self._condition:
            self._tokens += tokens
            self._pairs += pairs

    def put(self, request: PendingScore) -> bool:
        """Queue a request's pairs; False when the backlog is closed."""
        with self._condition:
            if self._closed:
                return False
            request.turn = self._share.admit(request.tokens)
            insort(self._requests, request, key=lambda waiting: waiting.turn)
            self._condition.notify()
            return True

    def drop(self, request: PendingScore) -> None:
        """Forget a request whose client is gone; pairs in a running batch are scored for nothing."""
        with self._condition:
            if request in self._requests:
                self._withdraw(request)

    def take(self, max_tokens: Callable[[], int], wait_s: float) -> list[BatchItem]:
        """Return the next batch, or nothing when none came in `wait_s`; `max_tokens` is asked after the wait."""
        with self._condition:
            if not self._requests and not self._closed:
                self._condition.wait(wait_s)
            self._discard_ended()
            if not self._requests:
                return []
            budget = min(max_tokens(), self._requests[0].model.runner.max_batch_tokens)
            return self._take(take_batch(self._requests, budget))

    def close(self) -> None:
        """Refuse further requests and wake the device thread."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def clear(self) -> list[PendingScore]:
        """Return the requests that still wait, and forget them."""
        with self._condition:
            waiting, self._requests = self._requests, []
            return waiting

    def _discard_ended(self) -> None:
        now = time.monotonic()
        for request in self._requests:
            if request.deadline_s is not None and request.deadline_s <= now:
                request.fail(DeadlineExceeded("the request's deadline passed while it waited"))
        for request in [request for request in self._requests if request.done.done()]:
            self._withdraw(request)

    def _withdraw(self, request: PendingScore) -> None:
        self._requests.remove(request)
        self._share.withdraw(request.turn, request.tokens, request.computed)

    def _take(self, taken: Sequence[Sequence[int]]) -> list[BatchItem]:
        now = time.monotonic()
        batch: list[BatchItem] = []
        for request, places in zip(self._requests, taken, strict=True):
            if places:
                request.first_taken_at = request.first_taken_at or now
                pairs = [request.waiting.pop(place) for place in places]
                tokens = request.shared + sum(pair.tokens for pair in pairs)
                request.computed += tokens
                self._share.advance(tokens)
                batch += [BatchItem(request, pair.position) for pair in pairs]
        self._requests = [request for request in self._requests if request.waiting]
        return batch
