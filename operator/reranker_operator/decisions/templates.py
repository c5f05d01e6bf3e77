"""Which pod template the fleet's pods are made from: one that runs already, which restarts none, or a new one. No I/O.

A template's key tells its inputs and the revision that it was made for from others. A swap in place keeps the key and
changes what it serves, so what a key's inputs were is kept beside it, in an annotation of the Deployment.
"""

import json
from collections.abc import Iterator, Mapping

from reranker_operator.decisions.adapters import wanted_claims
from reranker_operator.objects.pod_template import pod_template
from reranker_operator.settings import Settings
from reranker_operator.world import names
from reranker_operator.world.fleet import (
    active,
    admitted_before,
    deployed_template,
    deployment,
    last_manifest,
    making,
    reached_pods,
    told_serve,
)
from reranker_operator.world.mounts import Mounts, image_of, mounts_of
from reranker_operator.world.room import no_room
from reranker_operator.world.state import ManifestModel, PodTemplate, World


def template(world: World, wanted: ManifestModel, settings: Settings) -> PodTemplate:
    """The template to make pods from, for a fleet that is to serve `wanted`."""
    needed = _needed(world, wanted)
    for key, mounts in _candidates(world, wanted):
        inputs = _inputs(world, mounts, settings)
        if mounts.suffice(needed) and inputs_by_template(world).get(key) == inputs:
            return PodTemplate(key, mounts, inputs)
    fleet = making(world, wanted.revision)
    live = deployment(world, fleet) if fleet is not None else None
    if live is not None:
        needed = needed.with_claims(mounts_of(live["spec"]["template"]["spec"]))
    inputs = _inputs(world, needed, settings)
    return PodTemplate(_new_key(told_serve(world), inputs, wanted.revision), needed, inputs)


def inputs_by_template(world: World) -> Mapping[str, str]:
    """What the keys in use were made of, as the Deployment keeps it; empty where it doesn't say."""
    live = deployment(world, active(world))
    annotations = (live["metadata"].get("annotations") if live is not None else None) or {}
    try:
        kept = json.loads(annotations.get(names.INPUTS_ANNOTATION, "{}"))
    except ValueError:
        return {}
    return {str(key): str(inputs) for key, inputs in kept.items()} if isinstance(kept, dict) else {}


def inputs_in_use(world: World, chosen: PodTemplate) -> dict[str, str]:
    """What is to be kept of it: the template of new pods, those that pods still have, and that of the other fleet."""
    living = {pod.template for pod in world.pods}
    other = deployment(world, active(world).other)
    if other is not None:  # where it is kept, its pods may have been evicted just now
        living.add(deployed_template(other))
    kept = {key: inputs for key, inputs in inputs_by_template(world).items() if key in living}
    return {**kept, chosen.key: chosen.inputs}


def _candidates(world: World, wanted: ManifestModel) -> Iterator[tuple[str, Mounts]]:
    """Templates that could serve the revision without a new pod, each with what its pods mount."""
    mounted = {pod.template: pod.mounts for pod in world.pods if not pod.terminating}
    previous = last_manifest(world)
    begun = [key for key, revision in (previous.candidates if previous else {}).items() if revision == wanted.revision]
    yield from ((key, mounted[key]) for key in begun if key in mounted)
    if world.model.spec.rollout.on_unschedulable.action == "InPlace" and no_room(world, wanted.revision):
        yield from ((key, mounted[key]) for key in dict.fromkeys(pod.template for pod in reached_pods(world)))
    live, serve = deployment(world, active(world)), told_serve(world)
    if live is None:
        return
    deployed = deployed_template(live), mounts_of(live["spec"]["template"]["spec"])
    revision = serve.get(deployed[0])
    if revision == wanted.revision:
        yield deployed
    yield from ((pod.template, pod.mounts) for pod in reached_pods(world) if serve.get(pod.template) == wanted.revision)
    swaps = world.model.spec.rollout.strategy == "InPlace" and world.model.spec.pods > 0
    if swaps and revision in admitted_before(world):
        yield deployed
    # A kept fleet may serve another revision than it was made for. The last, since by InPlace no pod is to be made.
    kept = deployment(world, active(world).other)
    if kept is not None and serve.get(deployed_template(kept)) == wanted.revision:
        yield deployed_template(kept), mounts_of(kept["spec"]["template"]["spec"])


def _needed(world: World, wanted: ManifestModel) -> Mounts:
    image = image_of(wanted.source) if world.image_volumes else ""
    return Mounts(wanted_claims(world.model, wanted.source["uri"]), image)


def _inputs(world: World, mounts: Mounts, settings: Settings) -> str:
    return names.hash8(pod_template(world.model, "", mounts, settings))


def _new_key(serve: Mapping[str, str], inputs: str, revision: str) -> str:
    """A key that serves nothing else: one that was made for this revision may serve another since a swap in place."""
    turn, key = 0, names.template_key(inputs, revision)
    while serve.get(key, revision) != revision:
        turn += 1
        key = names.template_key(inputs, revision, turn)
    return key
