"""What the worker says of itself in /state, for Prometheus: readiness, revisions, and downloads under way."""

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from reranker_worker.reconciling.state import AdapterState, ModelState, PrefetchState, WorkerState

_Entry = ModelState | AdapterState | PrefetchState


class StateMetrics(Collector):
    """Asks for the state at each scrape, so that nothing is ever told twice or forgotten."""

    def __init__(self, state: Callable[[], WorkerState]) -> None:
        self._state = state

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield readiness, and each revision with its phase and, while it comes, its bytes."""
        state = self._state()
        yield GaugeMetricFamily("reranker_ready", "1 while clients may be sent here.", value=float(state.ready))
        phases = GaugeMetricFamily(
            "reranker_revision_phase",
            "1 for each revision that this worker is to have; kind: model, adapter, prefetch; reason: why it failed.",
            labels=["kind", "revision", "phase", "reason"],
        )
        here = GaugeMetricFamily("reranker_download_bytes", "What has come of a download.", labels=["revision"])
        whole = GaugeMetricFamily(
            "reranker_download_size_bytes",
            "What has to come of a download; 0 while the source hasn't told.",
            labels=["revision"],
        )
        # A set: what is listed twice, as one adapter under two owners, must not become two equal series.
        for labels in sorted({(kind, each.revision, each.phase, each.reason) for kind, each in _entries(state)}):
            phases.add_metric(labels, 1)
        for revision, entry in {entry.revision: entry for _, entry in _entries(state)}.items():
            if entry.download is not None:
                here.add_metric([revision], entry.download.bytes)
                whole.add_metric([revision], entry.download.total_bytes)
        yield from (phases, here, whole)


def _entries(state: WorkerState) -> Iterator[tuple[str, _Entry]]:
    yield from (("model", model) for model in state.models)
    yield from (("adapter", adapter) for adapter in state.adapters)
    yield from (("prefetch", ahead) for ahead in state.prefetch)
