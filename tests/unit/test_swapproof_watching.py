"""What the proof keeps of what kubectl shows it, and how it waits for it."""

import io
import json
from typing import Any

import pytest

from hack.cluster.progress import StepError
from hack.stage.operator_metrics import writes
from hack.swapproof.record import AdapterSeen, EndpointsSeen, ManifestSeen, ModelSeen
from hack.swapproof.watching import Watch, adapter_seen, endpoints_seen, manifest_seen, model_seen

ADAPTERS = (("legal", "legal-1"), ("news", ""))


def model(generation: int, observed: int, ready: str, ready_for: int) -> dict[str, Any]:
    condition = {"type": "Ready", "status": ready, "observedGeneration": ready_for}
    adapters = [
        {"name": "news", "revision": "news-1", "ready": 1, "desired": 2},
        {"name": "legal", "revision": "legal-1", "ready": 2, "desired": 2},
    ]
    status = {
        "observedGeneration": observed,
        "conditions": [condition],
        "revisions": {"rejected": [{"name": "proof-9"}]},
        "adapters": adapters,
    }
    return {"metadata": {"generation": generation}, "status": status}


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        pytest.param(model(3, 3, "True", 3), ModelSeen(1.0, 3, 3, 3, ("proof-9",), ADAPTERS), id="ready"),
        pytest.param(model(3, 2, "True", 2), ModelSeen(1.0, 3, 2, 2, ("proof-9",), ADAPTERS), id="for the one before"),
        pytest.param(model(3, 3, "False", 3), ModelSeen(1.0, 3, 3, 0, ("proof-9",), ADAPTERS), id="not ready"),
        pytest.param({"metadata": {"generation": 1}}, ModelSeen(1.0, 1, -1, 0), id="new"),
    ],
)
def test_a_model_is_read(resource: dict[str, Any], expected: ModelSeen) -> None:
    assert model_seen(1.0, resource) == expected


def test_an_adapter_s_resource_is_read() -> None:
    ready = {"type": "Ready", "status": "True", "observedGeneration": 2}
    new = {"metadata": {"name": "tax", "generation": 2}}
    assert adapter_seen(1.0, new) == AdapterSeen(1.0, "tax", 2, 0, "")
    assert adapter_seen(1.0, new | {"status": {"revision": "tax-1", "conditions": [ready]}}) == (
        AdapterSeen(1.0, "tax", 2, 2, "tax-1")
    )


@pytest.mark.parametrize(
    ("endpoints", "ready"),
    [
        pytest.param([{"conditions": {"ready": True}}, {"conditions": {"ready": False}}], 1, id="one of two"),
        pytest.param([{"conditions": {}}], 0, id="one that doesn't say"),
        pytest.param(None, 0, id="none"),
    ],
)
def test_ready_endpoints_are_counted(endpoints: list[dict[str, Any]] | None, ready: int) -> None:
    assert endpoints_seen(1.0, {"endpoints": endpoints}) == EndpointsSeen(1.0, ready)


def test_a_manifest_is_read() -> None:
    text = json.dumps({"generation": 4, "admitted": ["proof-1", "proof-2"]})
    assert manifest_seen(1.0, {"data": {"manifest.json": text}}) == ManifestSeen(1.0, 4, ("proof-1", "proof-2"))


def followed(*events: tuple[str, dict[str, Any]]) -> Watch:
    lines = "".join(json.dumps({"type": kind, "object": resource}) + "\n" for kind, resource in events)
    watch = Watch()
    watch.follow(io.StringIO(lines), model_seen).join()
    return watch


def test_events_become_what_was_seen_and_a_deletion_is_none() -> None:
    watch = followed(
        ("ADDED", model(1, 1, "False", 1)), ("MODIFIED", model(1, 1, "True", 1)), ("DELETED", model(1, 1, "True", 1))
    )
    assert [seen.ready_generation for seen in watch.seen if isinstance(seen, ModelSeen)] == [0, 1]
    latest = watch.latest(ModelSeen)
    assert latest is not None
    assert latest.ready_generation == 1
    assert watch.latest(EndpointsSeen) is None


def test_what_was_seen_already_is_found_at_once() -> None:
    watch = followed(("ADDED", model(1, 1, "True", 1)))
    assert watch.wait_for("the model", lambda: watch.latest(ModelSeen), 0.0) == watch.seen[0]


def test_what_is_never_seen_is_an_error_with_what_was_seen_last() -> None:
    watch = followed(("ADDED", model(1, 1, "False", 1)))
    with pytest.raises(StepError, match=r"not within 0 s: endpoints; last seen: ModelSeen"):
        watch.wait_for("endpoints", lambda: watch.latest(EndpointsSeen), 0.0)


METRICS = """
# TYPE reranker_operator_api_requests_total counter
reranker_operator_api_requests_total{method="GET",resource="pods"} 7.0
reranker_operator_api_requests_total{method="PATCH",resource="pods"} 3.0
reranker_operator_api_requests_total{method="POST",resource="events"} 2.0
"""


def test_writes_are_counted_without_reads() -> None:
    assert writes(METRICS) == 5


def test_metrics_without_writes_are_no_zero() -> None:
    with pytest.raises(ValueError, match="name no write"):
        writes("")
