"""Which revisions were tried and may not serve, and what serves in place of a wanted one that was rejected. No I/O.

What is rejected stands in the status, so that it is tried again only under another spec, whoever restarts. Only where
another revision serves, or did last, is one rejected: the first revision ever has nothing to go back to, stays Stalled.
"""

from collections.abc import Iterable

from pydantic import BaseModel

from reranker_operator.decisions.objections import objection
from reranker_operator.decisions.rollout import wanted_model
from reranker_operator.resources.v1alpha1 import RejectedRevision, RerankerModelSpec, RerankerModelStatus
from reranker_operator.world import names
from reranker_operator.world.fleet import (
    active,
    admitted_before,
    answered_last,
    answering_clients,
    deployed_revision,
    deployment,
    known_models,
)
from reranker_operator.world.names import Document
from reranker_operator.world.state import ManifestModel, World

#: How many are remembered.
MOST = 10
IN_PLACE = "InPlace"


def rejections(world: World) -> tuple[RejectedRevision, ...]:
    """Revisions that were rejected, the last one last; `since` is None for one that is rejected only now."""
    wanted, now = wanted_model(world.model).revision, attempt(world.model.spec)
    listed = RerankerModelStatus.model_validate(world.model.status).revisions.rejected or ()
    # Another try leaves the last one behind.
    kept = [each for each in listed if each.name != wanted or each.attempt == now]
    order = (*answering_clients(world), answered_last(world))
    if all(each.name != wanted for each in kept) and _fallback(world, wanted, kept, order) is not None:
        found = objection(world, wanted, now)
        kept += [found] if found is not None else []
    return tuple(kept[-MOST:])


def stands(world: World) -> bool:
    """Whether the wanted revision was rejected before now, so that it isn't judged again."""
    return replacement(world, [each for each in rejections(world) if each.since is not None]) is not None


def replacement(world: World, rejected: Iterable[RejectedRevision]) -> ManifestModel | None:
    """What the fleet goes back to, or stays with, while the wanted revision is rejected; None where that isn't so."""
    wanted = wanted_model(world.model).revision
    listed = list(rejected)
    if all(each.name != wanted for each in listed):
        return None
    # What new pods are made for comes first: once the way back has begun, it ends where it leads.
    made = deployed_revision(deployment(world, active(world)))
    order = (made, *answering_clients(world), answered_last(world))
    return _fallback(world, wanted, listed, order)


def attempt(spec: RerankerModelSpec) -> str:
    """What tells one try of a revision from another: the gate, the way to it, and what its pods are given.

    What is as it is by default stays out, so that a field that a later version brings makes no other try of an old one.
    """
    told: Document = {
        "spec": _said(spec, "resources", "node_selector", "tolerations", "cache", "api_keys"),
        "engine": _said(spec.engine, "max_batch_tokens"),
        "rollout": _said(spec.rollout, "gate", "progress_deadline_seconds", "strategy", "on_unschedulable"),
        "secretRef": spec.source.secret_ref and spec.source.secret_ref.name,
    }
    if IN_PLACE in (spec.rollout.strategy, spec.rollout.on_unschedulable.action):
        # In place an adapter that fits no candidate holds it back; a roll waits for no adapter.
        told["adapters"] = [_said(adapter, "name", "source") for adapter in spec.adapters]
    return names.hash8(told)


def _said(part: BaseModel, *fields: str) -> Document:
    return part.model_dump(mode="json", by_alias=True, exclude_defaults=True, include=set(fields))


def _fallback(
    world: World, wanted: str, rejected: Iterable[RejectedRevision], order: Iterable[str]
) -> ManifestModel | None:
    barred = {wanted, *(each.name for each in rejected)}
    known, may_answer = known_models(world), admitted_before(world)
    possible = (revision for revision in order if revision in known and revision in may_answer - barred)
    return next((known[revision] for revision in possible), None)
