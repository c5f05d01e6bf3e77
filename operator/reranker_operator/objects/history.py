"""A model's revisions as ControllerRevisions: the old ones at hand when the manifest no longer names them. No I/O."""

from collections.abc import Iterator

from reranker_operator.objects import drift
from reranker_operator.objects.ownership import controller, owner_reference
from reranker_operator.world import names
from reranker_operator.world.actions import Forget, Record
from reranker_operator.world.fleet import answered_last
from reranker_operator.world.names import Document
from reranker_operator.world.state import ManifestModel, Model, Past, Target, World


def past(live: Document, uid: str) -> Past | None:
    """A ControllerRevision of the model with that UID; None for another's, or one without our data."""
    owner, data = controller(live), live.get("data") or {}
    if owner is None or owner["uid"] != uid or not {"source", "engine"} <= data.keys():
        return None
    model = ManifestModel(live["metadata"]["name"], dict(data["source"]), dict(data["engine"]))
    return Past(model, int(live["revision"]), live)


def changes(world: World, target: Target) -> Iterator[Record | Forget]:
    """Keep what the manifest names, the revision that is to serve with the highest number; drop the oldest others."""
    known = {each.model.revision: each for each in world.history}
    highest = max((each.number for each in world.history), default=0)
    for model in sorted(target.manifest.models, key=lambda each: each.revision == target.revision):
        old = known.get(model.revision)
        last = old is not None and (model.revision != target.revision or old.number == highest)
        if old is None or not last:
            highest += 1
        number = old.number if old is not None and last else highest
        yield from _record(world.model, model, number, old)
    yield from _forget(world, {model.revision for model in target.manifest.models})


def _record(owner: Model, model: ManifestModel, number: int, old: Past | None) -> Iterator[Record]:
    body = controller_revision(owner, model, number)
    if old is None:
        yield Record(model.revision, body, "", f"create ControllerRevision {model.revision}")
    elif (different := drift.difference(_without_type(body), old.live)) is not None:
        version = old.live["metadata"]["resourceVersion"]
        yield Record(model.revision, body, version, f"change ControllerRevision {model.revision}: {different}")


def _without_type(body: Document) -> Document:
    """The members that an item of a list has as well."""
    return {member: value for member, value in body.items() if member not in ("apiVersion", "kind")}


def _forget(world: World, named: set[str]) -> Iterator[Forget]:
    named = {*named, answered_last(world)}  # what a fleet without a ready pod goes back to
    left = sorted((each for each in world.history if each.model.revision not in named), key=lambda each: each.number)
    limit = world.model.spec.revision_history_limit
    for each in left[: max(0, len(left) - limit)]:
        metadata = each.live["metadata"]
        detail = f"delete ControllerRevision {each.model.revision}: {limit} are kept"
        yield Forget(each.model.revision, metadata["uid"], metadata["resourceVersion"], detail)


def controller_revision(owner: Model, model: ManifestModel, number: int) -> Document:
    """What made the scores of a revision. The API server lets nobody change its data."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": model.revision,
            "namespace": owner.key.namespace,
            "labels": names.labels(owner.key.name),
            "ownerReferences": [owner_reference(owner)],
        },
        "data": {"source": model.source, "engine": model.engine},
        "revision": number,
    }
