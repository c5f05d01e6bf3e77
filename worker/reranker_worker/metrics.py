"""The worker's Prometheus metrics on a registry of their own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from reranker_worker.errors import WorkerError
from reranker_worker.load_meter import LoadMeter
from reranker_worker.serving import Serving

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 45.0, 60.0)
_PAIRS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
# Whatever was served before these has no series any more, else there would be one for each adapter's every revision.
_MOST_REMEMBERED = 200
_TOKENS = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)


class Metrics:
    """One worker's metrics; no label ever holds a client's text."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each one, which nobody asks for
        registry = CollectorRegistry()
        self.registry = registry
        # Revisions of models, each with those of adapters and "", the one that was served last at the end.
        self._served: dict[tuple[str, str], None] = {}
        self.requests = Counter(
            "reranker_requests_total",
            "Answered requests; revision: what scored them, empty for refusals.",
            ["model", "api", "code", "revision"],
            registry=registry,
        )
        self.request_duration = Histogram(
            "reranker_request_duration_seconds", "A request's time in the worker.", buckets=_SECONDS, registry=registry
        )
        self.answered_pairs = Counter(
            "reranker_answered_pairs_total",
            "Pairs whose scores clients got; adapter: its revision, empty for the base model.",
            ["revision", "adapter"],
            registry=registry,
        )
        self.truncated_documents = Counter(
            "reranker_truncated_documents_total",
            "Documents of answered pairs that were cut, by the model's length or as the client asked; "
            "adapter: its revision, empty for the base model.",
            ["revision", "adapter"],
            registry=registry,
        )
        self.refusals = Counter("reranker_refusals_total", "Refused requests by reason.", ["reason"], registry=registry)
        self.queue_pairs = Gauge("reranker_queue_pairs", "Pairs admitted and not yet scored.", registry=registry)
        self.load = LoadMeter()
        load_ratio = Gauge(
            "reranker_load_ratio",
            "Pairs asked for in a second, by the pairs that this worker scores in a second of work; over 30 seconds.",
            registry=registry,
        )
        load_ratio.set_function(self.load.ratio)
        self.queue_tokens = Gauge("reranker_queue_tokens", "Tokens admitted and not yet scored.", registry=registry)
        self.queue_limit = Gauge(
            "reranker_queue_limit_tokens", "Tokens that may wait; beyond them requests get 429.", registry=registry
        )
        self.queue_wait = Histogram(
            "reranker_queue_wait_seconds",
            "From a request's first queued pair to its first batch.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_pairs = Histogram("reranker_batch_pairs", "Pairs in a batch.", buckets=_PAIRS, registry=registry)
        self.batch_tokens = Histogram("reranker_batch_tokens", "Tokens in a batch.", buckets=_TOKENS, registry=registry)
        self.batch_limit = Gauge("reranker_batch_limit_tokens", "Tokens that a batch may hold.", registry=registry)
        self.batch_duration = Histogram(
            "reranker_batch_duration_seconds", "A batch's time on the device.", buckets=_SECONDS, registry=registry
        )
        self.swap_duration = Histogram(
            "reranker_swap_duration_seconds",
            "Time to load and try what is swapped in: model, adapter.",
            ["phase"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.swaps = Counter(
            "reranker_swaps_total",
            "Loads by what was loaded (model, adapter) and result: Loaded, or the reason of the failure.",
            ["phase", "result"],
            registry=registry,
        )
        self.model_info = Gauge(
            "reranker_model_info", "1 for what is served now.", ["revision", "adapter"], registry=registry
        )

    def show_serving(self, serving: Serving) -> None:
        """Show what is served now, and drop the series of what was served long before."""
        held = {
            (revision, adapter): None
            for revision, each in serving.held.items()
            for adapter in ("", *(adapter.revision for adapter in each.adapters.values()))
        }
        self.model_info.clear()
        for revision, adapter in held:
            if serving.model is not None and revision == serving.model.revision:
                self.model_info.labels(revision, adapter).set(1)
        self._served = {key: None for key in self._served if key not in held} | held
        for revision, adapter in list(self._served)[: -len(held) - _MOST_REMEMBERED]:
            del self._served[revision, adapter]
            for counter in (self.answered_pairs, self.truncated_documents):
                counter.remove_by_labels({"revision": revision, "adapter": adapter})
            if not adapter:
                self.requests.remove_by_labels({"revision": revision})

    @contextmanager
    def loading(self, phase: str) -> Iterator[None]:
        """Time a load and count how it ended."""
        started = time.monotonic()
        result = "Failed"
        try:
            yield
            result = "Loaded"
        except WorkerError as error:
            result = error.reason
            raise
        finally:
            self.swap_duration.labels(phase).observe(time.monotonic() - started)
            self.swaps.labels(phase, result).inc()
