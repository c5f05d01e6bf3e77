"""Two fleets and one Service: where the wanted template is made, when the Service turns to it, what stays. No I/O.

Whatever the strategy, a model has one fleet that clients reach. By BlueGreen a new revision gets the other fleet, which
nobody reaches before every pod of it is ready; then the Service turns, and the fleet that it left stays for a while.
"""

from datetime import datetime, timedelta

from reranker_operator.world.colours import Colour, Flip
from reranker_operator.world.fleet import (
    active,
    admitted_before,
    deployed_template,
    deployment,
    last_flip,
    observed,
    told_serve,
)
from reranker_operator.world.state import DEPLOYMENTS, Kind, ManifestModel, Pod, PodTemplate, World


def home(world: World, wanted: ManifestModel, template: PodTemplate) -> Colour:
    """The fleet whose pods are made from the template: the one that clients reach, or by BlueGreen the other.

    What changes no revision is rolled where it is, and a revision that never answered isn't worth a second fleet.
    """
    here = active(world)
    live = deployment(world, here)
    if live is None or not _two_fleets(world) or not world.model.spec.pods:
        return here
    deployed = deployed_template(live)
    serves = told_serve(world).get(deployed)
    replaced = serves in admitted_before(world) and serves != wanted.revision and deployed != template.key
    return here.other if replaced else here


def flip(world: World, fleet: Colour, template: PodTemplate) -> Flip:
    """Where the Service is to point: to the fleet that is home, once that could do all that the present one does."""
    last = last_flip(world)
    if fleet is last.active or not _whole(world, fleet, template.key):
        return last
    live = deployment(world, last.active)
    return Flip(fleet, world.now, deployed_template(live) if live is not None else "")


def _whole(world: World, fleet: Colour, template: str) -> bool:
    """Whether every wanted pod of a fleet is ready and has been for long enough, and none is of another template.

    Ready means: the revision and every adapter that clients rely on are loaded, and the revision is admitted.
    """
    live = deployment(world, fleet)
    if live is None:
        return False
    pods = [pod for pod in world.pods if pod.fleet is fleet]
    ready = [pod for pod in pods if pod.ready and not pod.terminating and world.report(pod) is not None]
    replicas = world.model.spec.pods
    available = observed(live).get("availableReplicas", 0)
    return len(ready) >= replicas and available >= replicas and all(pod.template == template for pod in pods)


def kept(world: World, fleet: Colour) -> frozenset[Kind]:
    """Deployments that stay as they are: what clients reach while the other one is home, or what they left."""
    here = active(world)
    if fleet is not here:
        return frozenset({DEPLOYMENTS[here]})
    until = kept_until(world, last_flip(world))
    return frozenset({DEPLOYMENTS[here.other]} if until is not None and world.now < until else ())


def kept_until(world: World, last: Flip) -> datetime | None:
    """When the fleet that the Service left by that flip goes; None where there is none, or it became another."""
    live = deployment(world, last.active.other)
    if live is None or last.at is None or deployed_template(live) != last.left or not _two_fleets(world):
        return None
    return last.at + timedelta(seconds=world.model.spec.rollout.blue_green.keep_seconds)


def parked(world: World, fleet: Colour) -> tuple[str, ...]:
    """Templates of pods that clients have no way to but the connections that they had: they are to close these."""
    last = last_flip(world)
    if fleet is not last.active:
        return ()
    left = {pod.template for pod in world.pods if pod.fleet is last.active.other and pod.template == last.left}
    return tuple(left - {pod.template for pod in world.pods if pod.fleet is last.active})


def parked_pods(world: World) -> tuple[Pod, ...]:
    """Pods of the fleet that the Service left, as long as it is kept as it was."""
    last = last_flip(world)
    if kept_until(world, last) is None:
        return ()
    return tuple(pod for pod in world.pods if pod.fleet is last.active.other and pod.template == last.left)


def _two_fleets(world: World) -> bool:
    return world.model.spec.rollout.strategy == "BlueGreen"
