"""The statuses of models and of their adapters as metrics: conditions and revisions, as they were last written."""

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from reranker_operator.world.names import Document

#: Of a RerankerAdapter, by namespace and name.
AdapterStatuses = Mapping[tuple[str, str], Document]

MODEL_LABELS = ("model_namespace", "model")


class ModelStatuses(Collector):
    """Told by the event loop, read by the health thread; holds one status for each model that there is."""

    def __init__(self) -> None:
        self._statuses: dict[tuple[str, str], Document] = {}
        self._adapters: dict[tuple[str, str], AdapterStatuses] = {}

    def tell(self, namespace: str, model: str, status: Document | None) -> None:
        """What a model's status says now; None once there is no such model."""
        if status is None:
            self._statuses.pop((namespace, model), None)
        else:
            self._statuses[namespace, model] = status

    def tell_adapters(self, namespace: str, model: str, statuses: AdapterStatuses) -> None:
        """What the statuses of all adapters that name a model say now, whether there is such a model or not."""
        if statuses:
            self._adapters[namespace, model] = statuses
        else:
            self._adapters.pop((namespace, model), None)

    def clear(self) -> None:
        """Know nothing, as an operator that doesn't act."""
        self._statuses.clear()
        self._adapters.clear()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        conditions = GaugeMetricFamily(
            "reranker_operator_model_condition",
            "1 for each condition in a model's status; Reconciling and Stalled are absent while they don't hold.",
            labels=[*MODEL_LABELS, "type", "status", "reason"],
        )
        revisions = GaugeMetricFamily(
            "reranker_operator_model_revision",
            "1 for each revision in a model's status; role: serving, candidate, rejected; "
            "reason: a candidate's phase, or why it was rejected.",
            labels=[*MODEL_LABELS, "role", "revision", "reason"],
        )
        adapters = GaugeMetricFamily(
            "reranker_operator_adapter_condition",
            "1 for each condition in a RerankerAdapter's status; Reconciling and Stalled are absent while they don't "
            "hold.",
            labels=["adapter_namespace", "adapter", *MODEL_LABELS, "type", "status", "reason"],
        )
        # A copy: the event loop may write while this is read.
        for model, status in list(self._statuses.items()):
            for condition in _conditions(status):
                conditions.add_metric([*model, *condition], 1)
            for role, name, reason in _revisions(status.get("revisions") or {}):
                revisions.add_metric([*model, role, name, reason], 1)
        for model, statuses in list(self._adapters.items()):
            for adapter, status in statuses.items():
                for condition in _conditions(status):
                    adapters.add_metric([*adapter, *model, *condition], 1)
        yield from (conditions, revisions, adapters)


def _conditions(told: Document) -> Iterator[tuple[str, str, str]]:
    for each in told.get("conditions", ()):
        yield each["type"], each["status"], each["reason"]


def _revisions(told: Any) -> Iterator[tuple[str, str, str]]:
    if serving := told.get("serving"):
        yield "serving", serving["name"], ""
    if candidate := told.get("candidate"):
        yield "candidate", candidate["name"], candidate.get("phase") or ""
    for rejected in told.get("rejected") or ():
        yield "rejected", rejected["name"], rejected["reason"]
