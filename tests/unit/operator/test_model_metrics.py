"""Models' statuses as metrics: as they were last told, and none of a model that is gone."""

import pytest
from prometheus_client import CollectorRegistry

from reranker_operator.model_metrics import ModelStatuses

STATUS = {
    "conditions": [
        {"type": "Ready", "status": "False", "reason": "RollingOut"},
        {"type": "Available", "status": "True", "reason": "Serving"},
    ],
    "revisions": {
        "serving": {"name": "bge-1"},
        "candidate": {"name": "bge-3", "phase": "Loading"},
        "rejected": [{"name": "bge-2", "reason": "GateFailed"}],
    },
}


@pytest.fixture
def statuses() -> ModelStatuses:
    return ModelStatuses()


@pytest.fixture
def registry(statuses: ModelStatuses) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(statuses)
    return registry


def told(registry: CollectorRegistry) -> set[tuple[str, ...]]:
    return {tuple(sample.labels.values()) for family in registry.collect() for sample in family.samples}


def test_conditions_and_revisions_are_told_by_model(statuses: ModelStatuses, registry: CollectorRegistry) -> None:
    statuses.tell("search", "bge", STATUS)
    assert told(registry) == {
        ("search", "bge", "Ready", "False", "RollingOut"),
        ("search", "bge", "Available", "True", "Serving"),
        ("search", "bge", "serving", "bge-1", ""),
        ("search", "bge", "candidate", "bge-3", "Loading"),
        ("search", "bge", "rejected", "bge-2", "GateFailed"),
    }


def test_a_later_status_takes_the_place_of_the_former(statuses: ModelStatuses, registry: CollectorRegistry) -> None:
    statuses.tell("search", "bge", STATUS)
    statuses.tell("search", "bge", {"revisions": {"serving": {"name": "bge-3"}}})
    assert told(registry) == {("search", "bge", "serving", "bge-3", "")}


def test_a_model_that_is_gone_is_told_no_more(statuses: ModelStatuses, registry: CollectorRegistry) -> None:
    statuses.tell("search", "bge", STATUS)
    statuses.tell("chat", "bge", {"revisions": {"serving": {"name": "bge-1"}}})
    statuses.tell("search", "bge", None)
    statuses.tell("search", "never-seen", None)
    assert told(registry) == {("chat", "bge", "serving", "bge-1", "")}


STALLED = {"conditions": [{"type": "Stalled", "status": "True", "reason": "NamespaceNotAllowed"}]}


def test_conditions_of_adapters_are_told_by_adapter_and_model(
    statuses: ModelStatuses, registry: CollectorRegistry
) -> None:
    statuses.tell_adapters("search", "bge", {("team-b", "legal"): STALLED, ("team-c", "tax"): {}})
    assert told(registry) == {("team-b", "legal", "search", "bge", "Stalled", "True", "NamespaceNotAllowed")}
    statuses.tell_adapters("search", "bge", {})
    assert told(registry) == set()


def test_an_operator_that_no_longer_acts_tells_of_no_model(
    statuses: ModelStatuses, registry: CollectorRegistry
) -> None:
    statuses.tell("search", "bge", STATUS)
    statuses.tell_adapters("search", "bge", {("team-b", "legal"): STALLED})
    statuses.clear()
    assert told(registry) == set()
