"""Whom a reconcile tells of RerankerAdapters: their statuses as metrics, whether these had to be written or not."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from reranker_operator.adapter_reports import AdapterReports
from reranker_operator.cluster import Cluster
from reranker_operator.world.adapter_resource import AdapterResource
from reranker_operator.world.facts import condition
from reranker_operator.world.names import Document, Key
from tests.unit.operator.test_adapters import resource
from tests.unit.operator.worlds import KEY, SETTINGS, goal, serving_world

Told = dict[tuple[str, str], str]


@dataclass
class Store:
    """A cluster that has these adapters."""

    found: tuple[AdapterResource, ...] = ()

    @property
    def adapters(self) -> "Store":
        return self

    async def naming(self, _key: Key) -> tuple[AdapterResource, ...]:
        return self.found

    async def write_status(self, *_: Any) -> None:
        pass

    async def emit(self, *_: Any) -> None:
        pass


class Reports:
    """The reports of one store, and what they told last."""

    def __init__(self, store: Store) -> None:
        self.told: Told = {}
        self._reports = AdapterReports(cast("Cluster", store), SETTINGS, self._on_adapters)

    def _on_adapters(self, key: Key, statuses: Mapping[tuple[str, str], Document]) -> None:
        assert key == KEY
        self.told = {name: str(condition(status, "Ready")["reason"]) for name, status in statuses.items()}

    async def of(self, *resources: AdapterResource) -> Told:
        world = replace(serving_world(), adapters=resources)
        await self._reports.report(world, goal(world).manifest)
        return self.told

    async def without_model(self) -> Told:
        await self._reports.report_missing(KEY)
        return self.told


async def test_all_adapters_of_a_model_are_told_each_time() -> None:
    reports = Reports(Store())
    ours, theirs = resource("legal"), resource("tax", namespace="team-b")
    assert await reports.of(ours, theirs) == {("search", "legal"): "Loading", ("team-b", "tax"): "NamespaceNotAllowed"}
    assert await reports.of(theirs) == {("team-b", "tax"): "NamespaceNotAllowed"}
    assert await reports.of() == {}


async def test_those_that_wait_for_a_model_are_told() -> None:
    assert await Reports(Store((resource(),))).without_model() == {("search", "legal"): "ModelNotFound"}
