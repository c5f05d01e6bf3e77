"""Which writes lead from the world as it is to the target; none when it is there. No I/O."""

from reranker_operator.decisions import revisions
from reranker_operator.objects import drift, manifests, ownership, serving
from reranker_operator.world import names
from reranker_operator.world.actions import Action, Announce, Apply, Remove, Resize
from reranker_operator.world.names import Document
from reranker_operator.world.state import ACCESSORIES, Kind, Model, Pod, Target, World, child_name


def plan(world: World, target: Target) -> tuple[Action, ...]:
    """The actions, each with a detail for the log; empty when nothing differs or nothing may be touched."""
    if ownership.obstacle(world) is not None:
        return ()
    children = (_child(world, target, kind) for kind in Kind)
    manifest = serving.text(target.manifest)
    announcements = (_announce(world, target, pod, manifest) for pod in world.pods)
    return (
        *(a for a in children if a is not None),
        *(a for a in announcements if a is not None),
        *revisions.changes(world, target),
    )


def _child(world: World, target: Target, kind: Kind) -> Apply | Resize | Remove | None:
    if kind in ACCESSORIES and ownership.conflict(world, kind) is not None:
        return None
    if kind in target.children:
        return _apply(world, kind, target.children[kind])
    live = world.children.get(kind)
    if live is None:
        return None
    return _resize(world, kind, live) if kind in target.kept else _remove(world, kind, live)


def _resize(world: World, kind: Kind, live: Document) -> Resize | None:
    name, wanted = child_name(kind, world.model.key.name), world.model.spec.pods
    if live["spec"].get("replicas") == wanted:
        return None
    return Resize(kind, manifests.size(world.model, live), f"resize {kind} {name} to {wanted} pods")


def _remove(world: World, kind: Kind, live: Document) -> Remove | None:
    name, metadata = child_name(kind, world.model.key.name), live["metadata"]
    if "deletionTimestamp" in metadata:
        return None
    detail = f"delete {kind} {name}: it isn't wanted any more"
    return Remove(kind, metadata["uid"], metadata["resourceVersion"], detail)


def _apply(world: World, kind: Kind, desired: Document) -> Apply | None:
    name = child_name(kind, world.model.key.name)
    live = world.children.get(kind)
    body = _stamped(desired, world.model)
    if live is None:
        return Apply(kind, body, "", f"create {kind} {name}")
    different = drift.difference(_unsigned(desired), live) or drift.difference(desired, live)
    if different is None:
        return None
    return Apply(kind, body, live["metadata"]["resourceVersion"], f"change {kind} {name}: {different}")


def _stamped(desired: Document, model: Model) -> Document:
    """The object with the model's generation that it is written for, by which an operator with old news stops."""
    annotations = {**desired["metadata"]["annotations"], names.GENERATION_ANNOTATION: str(model.generation)}
    return {**desired, "metadata": {**desired["metadata"], "annotations": annotations}}


def _unsigned(desired: Document) -> Document:
    # The hash differs with every change, so as the first difference it would tell a person nothing.
    annotations = {k: v for k, v in desired["metadata"]["annotations"].items() if k != names.APPLIED_ANNOTATION}
    return {**desired, "metadata": {**desired["metadata"], "annotations": annotations}}


def _announce(world: World, target: Target, pod: Pod, manifest: str) -> Announce | None:
    """Tell a pod what it hasn't read. A pod that is only starting reads the ConfigMap, unless that changes now.

    manifest: the target's as text, which is long and the same for all pods.
    """
    if pod.terminating or pod.manifest == target.manifest:
        return None
    generation = target.manifest.generation
    report = world.report(pod)
    behind = report is not None and report.observed_generation < generation
    changes = world.manifest is None or world.manifest.generation != generation
    if not (behind or changes or pod.manifest is not None):
        return None
    return Announce(pod.name, manifest, f"tell pod {pod.name} generation {generation}")
