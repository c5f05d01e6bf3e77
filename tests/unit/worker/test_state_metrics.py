"""The worker's state as metrics."""

from prometheus_client import CollectorRegistry

from reranker_worker.fetching.artifacts import Download
from reranker_worker.reconciling.state import AdapterState, ModelState, PrefetchState, WorkerState
from reranker_worker.reconciling.state_metrics import StateMetrics

COMING = Download(bytes=30, total_bytes=100, bytes_per_second=10)


def registry(**members: object) -> CollectorRegistry:
    state = WorkerState(observed_generation=1, ready=True, draining=False, reason="", message="", **members)  # type: ignore[arg-type]
    found = CollectorRegistry()
    found.register(StateMetrics(lambda: state))
    return found


def test_each_revision_is_told_with_its_phase_and_why_it_failed() -> None:
    found = registry(
        models=(ModelState("Loaded", revision="m-1"), ModelState("Failed", reason="MissingHead", revision="m-2")),
        prefetch=(PrefetchState("m-3", "Pending"),),
    )
    phases = {
        tuple(sample.labels.values())
        for family in found.collect()
        for sample in family.samples
        if sample.name == "reranker_revision_phase"
    }
    assert phases == {
        ("model", "m-1", "Loaded", ""),
        ("model", "m-2", "Failed", "MissingHead"),
        ("prefetch", "m-3", "Pending", ""),
    }


def test_a_download_is_told_while_it_goes_on() -> None:
    found = registry(
        models=(ModelState("Loaded", revision="m-1"), ModelState("Downloading", revision="m-2", download=COMING))
    )
    assert found.get_sample_value("reranker_download_bytes", {"revision": "m-2"}) == 30
    assert found.get_sample_value("reranker_download_size_bytes", {"revision": "m-2"}) == 100
    assert found.get_sample_value("reranker_download_bytes", {"revision": "m-1"}) is None


def test_an_adapter_that_two_teams_bring_is_one_series() -> None:
    """Prometheus refuses a whole scrape that has a series twice."""
    same = AdapterState("Downloading", name="legal", revision="legal-1", download=COMING)
    samples = [s for family in registry(adapters=(same, same)).collect() for s in family.samples]
    names = [(sample.name, tuple(sample.labels.items())) for sample in samples]
    assert len(names) == len(set(names))
