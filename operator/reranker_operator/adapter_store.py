"""The RerankerAdapters on the API server: found by the model that they name, their status written."""

from collections.abc import Sequence

from reranker_operator.api import Api
from reranker_operator.listing import Listing
from reranker_operator.paths import OURS, objects_path
from reranker_operator.resources.adapter_kind import ADAPTER_PLURAL
from reranker_operator.world.adapter_resource import AdapterResource, adapter_resource, model_of
from reranker_operator.world.names import Document, Key


class AdapterStore:
    """RerankerAdapters of the namespaces, of all namespaces when there are none given."""

    def __init__(self, api: Api, namespaces: Sequence[str]) -> None:
        self._api = api
        self._listing = Listing(api, OURS, ADAPTER_PLURAL, namespaces)

    @property
    def unreadable(self) -> frozenset[str]:
        """Namespaces that couldn't be read when they were last listed."""
        return self._listing.unreadable

    async def naming(self, key: Key) -> tuple[AdapterResource, ...]:
        """Those that name the model, but for those on their way out."""
        found = await self._listing.items({"fieldSelector": f"spec.modelRef.name={key.name}"})
        ours = (live for live in found if model_of(live) == (key.namespace, key.name))
        return tuple(adapter_resource(live) for live in ours if "deletionTimestamp" not in live["metadata"])

    async def models(self) -> set[Key]:
        """The models that any of them names, whether there are such models or not."""
        return {Key(*model) for live in await self._listing.items() if (model := model_of(live)) is not None}

    async def write_status(self, resource: AdapterResource, patch: Document) -> None:
        """Merge into the status of the very object that was seen; Conflict if it was written since."""
        path = objects_path(OURS, resource.namespace, ADAPTER_PLURAL, resource.name)
        body = {"metadata": {"resourceVersion": resource.resource_version}, "status": patch}
        await self._api.merge(f"{ADAPTER_PLURAL}/status", f"{path}/status", body)
