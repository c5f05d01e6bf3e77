"""Tells the owners of a model's RerankerAdapters how far these are: status and Events, each only on a change."""

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

    def __init__(self, cluster: Cluster, settings: Settings) -> None:
        self._cluster = cluster
        self._settings = settings

    async def report(self, world: World, manifest: Manifest) -> tuple[bool, bool]:
        """Whether anything was written, and whether nothing is left to wait for."""
        now, changed, settled = datetime.now(UTC), False, True
        for verdict in adapters.verdicts(world):
            status = adapter_conditions.status(world, manifest, verdict, now)
            changed |= await self._write(verdict.resource, status)
            settled &= adapter_conditions.settled(status)
        return changed, settled

    async def report_missing(self, key: Key) -> bool:
        """Tell those that name a model that isn't there; whether anything was written."""
        problem, changed = adapter_conditions.model_not_found(key, self._settings), False
        for resource in await self._cluster.adapters.naming(key):
            status = adapter_conditions.refused(resource, problem, datetime.now(UTC))
            changed |= await self._write(resource, status)
        return changed

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
