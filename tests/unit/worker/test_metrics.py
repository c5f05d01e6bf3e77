"""Series of what was served: there while they are of use, and bounded however often adapters change."""

from types import MappingProxyType

from prometheus_client import Counter

from reranker_worker.metrics import Metrics
from reranker_worker.serving import Held, LoadedAdapter, LoadedModel, Serving
from tests.unit.worker.scoring.scripted import ScriptedRunner, scripted


def series(counter: Counter) -> set[tuple[str, ...]]:
    return {tuple(sample.labels.values()) for metric in counter.collect() for sample in metric.samples}


def adapters(*revisions: str) -> MappingProxyType[str, LoadedAdapter]:
    return MappingProxyType({each: LoadedAdapter(each, each, weights=None) for each in revisions})


def model(revision: str) -> LoadedModel:
    return scripted(ScriptedRunner(), revision)


def answer(metrics: Metrics, revision: str, adapter: str = "") -> None:
    metrics.answered_pairs.labels(revision, adapter).inc()
    metrics.truncated_documents.labels(revision, adapter).inc()
    metrics.requests.labels("served", "rerank", "200", revision).inc()


def test_series_of_the_last_two_hundred_that_were_served_are_kept() -> None:
    metrics, served = Metrics(), model("m-1")
    for number in range(1000):
        metrics.show_serving(Serving(served, adapters(f"a-{number}")))
        answer(metrics, "m-1", f"a-{number}")
    kept = series(metrics.answered_pairs)
    assert kept == {("m-1", f"a-{number}") for number in range(799, 1000)}
    assert series(metrics.truncated_documents) == kept
    assert series(metrics.requests) == {("served", "rerank", "200", "m-1")}


def test_series_of_all_that_is_served_are_kept_however_many() -> None:
    metrics, names = Metrics(), [f"a-{number}" for number in range(500)]
    for _ in range(3):
        metrics.show_serving(Serving(model("m-1"), adapters(*names)))
        for name in names:
            answer(metrics, "m-1", name)
    assert len(series(metrics.answered_pairs)) == 500


def test_a_model_that_is_long_gone_has_no_series_and_a_refusal_keeps_its_own() -> None:
    metrics = Metrics()
    metrics.requests.labels("served", "rerank", "429", "").inc()
    for number in range(300):
        beside = MappingProxyType({"candidate": Held(model("candidate"), adapters(), admitted=False)})
        metrics.show_serving(Serving(model(f"m-{number}"), others=beside))
        answer(metrics, f"m-{number}")
    revisions = {labels[-1] for labels in series(metrics.requests)}
    assert revisions == {"", *(f"m-{number}" for number in range(99, 300))}
