"""The operator's metrics, in a registry of their own."""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from reranker_operator.model_metrics import ModelStatuses

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


def registry() -> CollectorRegistry:
    """A registry with the process's own figures."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each one, which nobody asks for
    collectors = CollectorRegistry()
    ProcessCollector(registry=collectors)
    PlatformCollector(registry=collectors)
    GCCollector(registry=collectors)
    return collectors


@dataclass
class Metrics:
    """Every series that the operator writes; all begin with reranker_operator_."""

    registry: CollectorRegistry = field(default_factory=registry)

    def __post_init__(self) -> None:
        self.statuses = ModelStatuses()
        self.registry.register(self.statuses)
        self.api_requests = Counter(
            "reranker_operator_api_requests",
            "Requests to the API server by the reconciler; code is the HTTP status, or `none` without an answer.",
            ["method", "resource", "code"],
            registry=self.registry,
        )
        self.reconciles = Counter(
            "reranker_operator_reconciles",
            "Reconciles by result: unchanged, changed, conflict, failed.",
            ["result"],
            registry=self.registry,
        )
        self.reconcile_seconds = Histogram(
            "reranker_operator_reconcile_seconds", "Duration of a reconcile.", buckets=BUCKETS, registry=self.registry
        )
        self.queue_depth = Gauge(
            "reranker_operator_queue_depth", "Models that wait to be reconciled now.", registry=self.registry
        )
        self.watch_events = Counter(
            "reranker_operator_watch_events", "Watch events by resource.", ["resource"], registry=self.registry
        )
        self.watch_restarts = Counter(
            "reranker_operator_watch_restarts", "How often the watches had to be begun anew.", registry=self.registry
        )
        self.resyncs = Counter(
            "reranker_operator_resyncs", "Listings of all models by result.", ["result"], registry=self.registry
        )
        self.models = Gauge("reranker_operator_models", "Models at the last resync.", registry=self.registry)
        self.leading = Gauge(
            "reranker_operator_leading",
            "1 while this operator acts, 0 while it waits for the Lease.",
            registry=self.registry,
        )
