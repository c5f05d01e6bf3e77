"""Which revisions are kept as ControllerRevisions: old ones at hand when the manifest no longer names them. No I/O."""

from collections.abc import Iterator

from reranker_operator.objects import drift
from reranker_operator.objects.history import controller_revision
from reranker_operator.world.actions import Forget, Record
from reranker_operator.world.fleet import answered_last
from reranker_operator.world.names import Document
from reranker_operator.world.state import ManifestModel, Model, Past, Target, World


def changes(world: World, target: Target) -> Iterator[Record | Forget]:
    """Keep what the manifest names, the revision that is to serve with the highest number; drop the oldest others."""
    known = {each.model.revision: each for each in world.history}
    highest = max((each.number for each in world.history), default=0)
    for model in sorted(target.manifest.models, key=lambda each: each.revision == target.revision):
        old = known.get(model.revision)
        number = old.number if old is not None else None
        if number is None or (model.revision == target.revision and number != highest):
            number = highest = highest + 1
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
