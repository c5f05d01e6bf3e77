"""The RerankerAdapters on the API server: found by the model that they name, their status written."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reranker_operator.api import Api
from reranker_operator.errors import OperatorError
from reranker_operator.listing import Listing
from reranker_operator.paths import OURS, objects_path
from reranker_operator.resources.adapter_kind import ADAPTER_PLURAL
from reranker_operator.world.adapter_resource import AdapterResource, adapter_resource, model_of
from reranker_operator.world.names import Document, Key

#: How long a listing of many namespaces is used if no watch event makes it old news before: events can be lost.
KEPT_S = 10.0


@dataclass(frozen=True)
class Snapshot:
    """What a listing found, and what was known of changes and the time when it began."""

    found: list[Document]
    changes: int
    began_at: float


class AdapterStore:
    """RerankerAdapters of the namespaces, of all namespaces when there are none given.

    Of several namespaces each has to be asked. Reconciles then share one listing until `changed` is called: who asks
    after that gets one that began later. Who waits while one fails gets its error.
    """

    def __init__(self, api: Api, namespaces: Sequence[str], clock: Callable[[], float]) -> None:
        self._api = api
        self._shared = len(namespaces) > 1
        self._clock = clock
        self._changes = 0
        self._snapshot: Snapshot | None = None
        self._failure: OperatorError | None = None
        self._turn = asyncio.Lock()
        self._listing = Listing(api, OURS, ADAPTER_PLURAL, namespaces)

    @property
    def unreadable(self) -> frozenset[str]:
        """Namespaces that couldn't be read when they were last listed."""
        return self._listing.unreadable

    async def naming(self, key: Key) -> tuple[AdapterResource, ...]:
        """Those that name the model, but for those on their way out."""
        selector = {"fieldSelector": f"spec.modelRef.name={key.name}"}
        found = await self._all() if self._shared else await self._listing.items(selector)
        ours = (live for live in found if model_of(live) == (key.namespace, key.name))
        return tuple(adapter_resource(live) for live in ours if "deletionTimestamp" not in live["metadata"])

    def changed(self) -> None:
        """Some adapter isn't any more what a listing that began before now may say."""
        self._changes += 1

    async def _all(self) -> list[Document]:
        earlier = self._failure
        async with self._turn:
            if self._failure is not None and self._failure is not earlier:
                raise self._failure  # if each tried again in its turn, the last would wait for all their timeouts
            known, now = self._snapshot, self._clock()
            if known is None or known.changes != self._changes or now - known.began_at >= KEPT_S:
                known = self._snapshot = await self._listed(now)
            return known.found

    async def _listed(self, now: float) -> Snapshot:
        changes = self._changes
        try:
            return Snapshot(await self._listing.items(), changes, now)
        except OperatorError as error:
            self._failure = error
            raise

    async def models(self) -> set[Key]:
        """The models that any of them names, whether there are such models or not."""
        return {Key(*model) for live in await self._listing.items() if (model := model_of(live)) is not None}

    async def write_status(self, resource: AdapterResource, patch: Document) -> None:
        """Merge into the status of the very object that was seen; Conflict if it was written since."""
        path = objects_path(OURS, resource.namespace, ADAPTER_PLURAL, resource.name)
        body = {"metadata": {"resourceVersion": resource.resource_version}, "status": patch}
        try:
            await self._api.merge(f"{ADAPTER_PLURAL}/status", f"{path}/status", body)
        finally:  # an error may be a conflict, or an answer that was lost
            self.changed()
