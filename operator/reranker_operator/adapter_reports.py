"""Tells the owners of a model's RerankerAdapters how far these are: status and Events, each only on a change."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import structlog

from reranker_operator.cluster import Cluster
from reranker_operator.decisions import adapters
from reranker_operator.errors import NotFound, OperatorError
from reranker_operator.objects.merge_patch import merge_patch
from reranker_operator.settings import Settings
from reranker_operator.status import adapter_conditions
from reranker_operator.world.adapter_resource import AdapterResource
from reranker_operator.world.names import Document, Key
from reranker_operator.world.state import Manifest, World

log = structlog.get_logger(__name__)


class AdapterReports:
    """Writes the status of RerankerAdapters; the model that they name is reconciled by one task at a time."""

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        on_adapters: Callable[[Key, Mapping[tuple[str, str], Document]], None],
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._on_adapters = on_adapters

    async def report(self, world: World, manifest: Manifest) -> tuple[bool, bool]:
        """Whether anything was written, and whether nothing is left to wait for."""
        now = datetime.now(UTC)
        statuses = [
            (verdict.resource, adapter_conditions.status(world, manifest, verdict, now))
            for verdict in adapters.verdicts(world)
        ]
        written = await self._write_all(world.model.key, statuses)
        return written, all(adapter_conditions.settled(status) for _, status in statuses)

    async def report_missing(self, key: Key) -> bool:
        """Tell those that name a model that isn't there; whether anything was written."""
        problem, now = adapter_conditions.model_not_found(key, self._settings), datetime.now(UTC)
        named = await self._cluster.adapters.naming(key)
        return await self._write_all(key, [(each, adapter_conditions.refused(each, problem, now)) for each in named])

    async def _write_all(self, key: Key, statuses: Sequence[tuple[AdapterResource, Document]]) -> bool:
        written = [await self._write(resource, status) for resource, status in statuses]
        self._on_adapters(key, {(resource.namespace, resource.name): status for resource, status in statuses})
        return any(written)

    async def _write(self, resource: AdapterResource, status: Document) -> bool:
        patch = merge_patch(resource.status, status)
        if not patch:
            return False
        try:
            await self._cluster.adapters.write_status(resource, patch)
        except NotFound:
            return False  # deleted since; its own event brings the model up again
        for event in adapter_conditions.events(resource.status, status):
            log.info(event.message, adapter=str(resource), reason=event.reason)
            try:
                await self._cluster.emit(resource.reference, event)
            except OperatorError as error:  # an Event is news, not state: the status has it already
                log.warning("an Event couldn't be posted", adapter=str(resource), error=str(error))
        return True
