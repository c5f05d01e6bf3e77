"""Whether pods wait for room: for a node, or for a namespace's quota. No I/O."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from reranker_operator.world.fleet import active, deployed_template, deployment, making, observed_conditions
from reranker_operator.world.names import Document
from reranker_operator.world.state import Pod, World

#: In the message of the quota's admission plugin.
EXCEEDED_QUOTA = "exceeded quota"


def no_room(world: World, revision: str) -> str:
    """Why there is no room for a pod, once that is so for longer than the spec lets it wait; "" where there is.

    What counts is the first pod of a roll, and any of a fleet that comes up beside the one that serves.
    """
    fleet = making(world, revision)
    live = deployment(world, fleet) if fleet is not None else None
    if live is None:
        return ""
    template = deployed_template(live)
    pods = [p for p in world.pods if (p.fleet, p.template) == (fleet, template) and not p.terminating]
    if fleet is active(world) and any(pod.ready for pod in pods):
        return ""
    patience = timedelta(seconds=world.model.spec.rollout.on_unschedulable.after_seconds)
    found = (why for since, why in (*_waits_for_nodes(pods), *_waits_for_quota(live)) if world.now - since >= patience)
    return next(found, "")


def _waits_for_nodes(pods: Iterable[Pod]) -> Iterator[tuple[datetime, str]]:
    for pod in pods:
        if pod.unschedulable_since is not None:
            yield pod.unschedulable_since, pod.problem.message if pod.problem is not None else f"pod {pod.name} waits"


def _waits_for_quota(live: Document) -> Iterator[tuple[datetime, str]]:
    """A namespace whose quota is used up has no room either: then there is no pod at all that could wait."""
    for condition in observed_conditions(live):
        message = str(condition.get("message", ""))
        if (condition["type"], condition["status"]) == ("ReplicaFailure", "True") and EXCEEDED_QUOTA in message:
            yield datetime.fromisoformat(condition["lastTransitionTime"]), message
