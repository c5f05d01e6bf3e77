"""The world as the API server has it, and the writes that change it: observe and execute."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import assert_never

import structlog
from pydantic import ValidationError

from reranker_operator.adapter_store import AdapterStore
from reranker_operator.api import Api
from reranker_operator.discovery import Discovery
from reranker_operator.errors import Conflict, Invalid, NotFound, Refused, UnreadableSpec
from reranker_operator.listing import FORBIDDEN, Listing
from reranker_operator.objects import ownership, pods, serving
from reranker_operator.objects.history import past
from reranker_operator.paths import (
    CORE,
    EVENTS,
    OURS,
    RESOURCES,
    REVISIONS,
    child_path,
    model_path,
    objects_path,
    revision_path,
)
from reranker_operator.resources.schema import first_error
from reranker_operator.resources.v1alpha1 import GROUP, PLURAL, RerankerModelSpec
from reranker_operator.world import names
from reranker_operator.world.actions import Action, Announce, Apply, Event, Forget, Record, Remove, Resize
from reranker_operator.world.names import Document, Key
from reranker_operator.world.state import ACCESSORIES, Kind, Model, Past, Pod, World, stored_model

log = structlog.get_logger(__name__)

#: Bytes of an Event's note that the API server takes.
MAX_NOTE = 1024


class Cluster:
    """One cluster's RerankerModels, their children and their pods, in all namespaces when there are none given."""

    def __init__(self, api: Api, identity: str, namespaces: Sequence[str] = ()) -> None:
        self._api = api
        self._identity = identity
        self._namespaces = namespaces
        self._listing = Listing(api, OURS, PLURAL, namespaces)
        self._discovery = Discovery(api, time.monotonic)
        self.adapters = AdapterStore(api, namespaces, time.monotonic)

    async def models(self) -> list[Key]:
        """Every RerankerModel that can be read."""
        found = (item["metadata"] for item in await self._listing.items())
        return [Key(metadata["namespace"], metadata["name"]) for metadata in found]

    def watchable(self) -> tuple[str, ...] | None:
        """The namespaces to watch, without those that couldn't be read when they were last listed; None: everywhere."""
        if not self._namespaces:
            return None
        unreadable = self._listing.unreadable | self.adapters.unreadable
        return tuple(each for each in self._namespaces if each not in unreadable)

    async def observe(self, key: Key) -> World | None:
        """The model, its children, its pods and adapters; None when the model is gone or on its way out."""
        live = await self._get(PLURAL, model_path(key))
        if live is None or "deletionTimestamp" in live["metadata"]:
            return None
        model = _model(live)
        apis = await self._discovery.apis()
        listed, found, history, adapters = await asyncio.gather(
            self.pods(live),
            asyncio.gather(*(self._child(key, kind, apis) for kind in Kind)),
            self._history(model),
            self.adapters.naming(key),
        )
        children = {kind: child for kind, child in zip(Kind, found, strict=True) if child is not None}
        written = (children.get(Kind.CONFIG_MAP, {}).get("data") or {}).get(names.MANIFEST_KEY)
        manifest = serving.manifest(written)
        imaged = model.spec.source.image_volume and await self._discovery.image_volumes(key.namespace)
        world = World(
            model, children, manifest, listed, history=history, adapters=adapters, apis=apis, image_volumes=imaged
        )
        return ownership.without_strange_fleet(world)

    async def pods(self, model: Document) -> tuple[Pod, ...]:
        """The workers of a model as the API server has it."""
        metadata = model["metadata"]
        key = Key(metadata["namespace"], metadata["name"])
        listed = await self._api.get("pods", objects_path(CORE, key.namespace, "pods"), _selector(key))
        found = (pods.worker_pod(live, key.name, metadata["creationTimestamp"]) for live in listed["items"])
        return tuple(pod for pod in found if pod is not None)

    async def _get(self, resource: str, path: str) -> Document | None:
        try:
            return await self._api.get(resource, path)
        except NotFound:
            return None

    async def _child(self, key: Key, kind: Kind, apis: frozenset[str]) -> Document | None:
        prefix, plural = RESOURCES[kind]
        if kind in ACCESSORIES and prefix.removeprefix("/apis/") not in {*apis, CORE}:
            return None
        try:
            return await self._get(plural, child_path(key, kind))
        except Refused as error:
            # Rights that an administrator grants may be older than this version: a model serves without these.
            if kind in ACCESSORIES and error.status == FORBIDDEN:
                return None
            raise

    async def _history(self, model: Model) -> tuple[Past, ...]:
        listed = await self._api.get(REVISIONS[1], revision_path(model.key), _selector(model.key))
        found = (past(live, model.uid) for live in listed["items"])
        return tuple(each for each in found if each is not None)

    async def config_text(self, namespace: str, name: str, key: str) -> str | None:
        """The value of a ConfigMap's key; None where either is missing."""
        live = await self._get("configmaps", objects_path(CORE, namespace, "configmaps", name))
        text = ((live or {}).get("data") or {}).get(key)
        return None if text is None else str(text)

    async def execute(self, key: Key, actions: Sequence[Action]) -> dict[Kind, str]:
        """Act: the manifest first, so that no pod is told or made for what the ConfigMap doesn't say yet.

        Returns why accessories were refused: a model serves without them.
        """
        for action in actions:
            log.info(action.detail, model=str(key))
        # KEDA refuses an object for a model that another autoscaler still has.
        first = [action for action in actions if isinstance(action, Remove) and action.kind in ACCESSORIES]
        refused = await self._refusals(key, first)
        applies = [action for action in actions if isinstance(action, Apply)]
        for apply in applies:
            if apply.kind is Kind.CONFIG_MAP:
                await self._apply(key, apply)
        await asyncio.gather(*(self._announce(key, action) for action in actions if isinstance(action, Announce)))
        for apply in applies:
            if apply.kind is not Kind.CONFIG_MAP and apply.kind not in ACCESSORIES:
                await self._apply(key, apply)
        for action in actions:
            if action not in first:
                await self._finish(key, action)
        return refused | await self._refusals(key, [apply for apply in applies if apply.kind in ACCESSORIES])

    async def _refusals(self, key: Key, actions: Sequence[Apply | Remove]) -> dict[Kind, str]:
        """Write accessories; returns what the API server, or a webhook behind it, has against those that it refuses.

        An outage is one as well: a webhook's looks no different, and the API server's own shows at the next write.
        """
        refused = {}
        for action in actions:
            try:
                await (self._apply(key, action) if isinstance(action, Apply) else self._remove(key, action))
            except Conflict:
                raise
            except Refused as error:
                log.warning("an object was refused", model=str(key), error=str(error))
                refused[action.kind] = error.message
        return refused

    async def _finish(self, key: Key, action: Action) -> None:
        """What can wait until the manifest and the objects are as they should be."""
        match action:
            case Resize():
                await self._api.merge(RESOURCES[action.kind][1], child_path(key, action.kind), action.body)
            case Remove():
                await self._remove(key, action)
            case Record():
                await self._write(REVISIONS[1], revision_path(key, action.name), action)
            case Forget():
                await self._delete(REVISIONS[1], revision_path(key, action.name), action)
            case Apply() | Announce():
                pass  # done before, in their order
            case _:
                assert_never(action)

    async def _apply(self, key: Key, action: Apply) -> None:
        await self._write(RESOURCES[action.kind][1], child_path(key, action.kind), action)

    async def _remove(self, key: Key, action: Remove) -> None:
        await self._delete(RESOURCES[action.kind][1], child_path(key, action.kind), action)

    async def _write(self, resource: str, path: str, action: Apply | Record) -> None:
        if not action.resource_version:
            await self._api.apply(resource, path, action.body)
            return
        body = _at_version(action.body, action.resource_version)
        try:
            await self._api.apply(resource, path, body)
        except Invalid:
            # Someone put an item into a list that ours can't stand beside, such as another port of the same name.
            # A merge patch replaces lists whole; the members become ours by the apply after it.
            merged = await self._api.merge(resource, path, body)
            await self._api.apply(resource, path, _at_version(action.body, merged["metadata"]["resourceVersion"]))

    async def _delete(self, resource: str, path: str, action: Remove | Forget) -> None:
        only = {"preconditions": {"uid": action.uid, "resourceVersion": action.resource_version}}
        try:
            await self._api.delete(resource, path, {**only, "propagationPolicy": "Background"})
        except NotFound:
            log.debug("the object went meanwhile", path=path)

    async def _announce(self, key: Key, action: Announce) -> None:
        patch = {"metadata": {"annotations": {names.MANIFEST_ANNOTATION: action.manifest}}}
        path = objects_path(CORE, key.namespace, "pods", action.pod)
        try:
            # In their turn the pods of a large fleet would swap a revision seconds apart: two would answer meanwhile.
            await self._api.merge("pods", path, patch, urgent=True)
        except NotFound:
            log.debug("the pod ended meanwhile", model=str(key), pod=action.pod)

    async def write_status(self, key: Key, resource_version: str, patch: Document) -> None:
        """Merge into the status of the very object that was observed; Conflict if it was written since."""
        body = {"metadata": {"resourceVersion": resource_version}, "status": patch}
        await self._api.merge(f"{PLURAL}/status", f"{model_path(key)}/status", body)

    async def emit(self, regarding: Document, event: Event) -> None:
        """Post one Kubernetes Event about a model or an adapter."""
        namespace = regarding["namespace"]
        body = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"generateName": f"{regarding['name']}-", "namespace": namespace},
            "eventTime": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "reportingController": f"{GROUP}/{names.MANAGER}",
            "reportingInstance": self._identity,
            "action": "Reconcile",
            "reason": event.reason,
            "note": _cut(event.message, MAX_NOTE),
            "type": event.type,
            "regarding": regarding,
        }
        await self._api.create("events", objects_path(EVENTS, namespace, "events"), body)


def _cut(text: str, most: int) -> str:
    """As many whole characters as fit into so many bytes."""
    return text.encode(errors="replace")[:most].decode(errors="ignore")


def _at_version(body: Document, resource_version: str) -> Document:
    """The object with the precondition that it is written over this version only."""
    return {**body, "metadata": {**body["metadata"], "resourceVersion": resource_version}}


def _selector(key: Key) -> dict[str, str]:
    return {"labelSelector": names.selector(key.name)}


def _model(live: Document) -> Model:
    stored = stored_model(live)
    try:
        spec = RerankerModelSpec.model_validate(live["spec"])
    except ValidationError as error:
        raise UnreadableSpec(live, first_error(error)) from error
    return Model(**vars(stored), spec=spec)
