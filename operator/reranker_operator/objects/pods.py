"""What a live Pod object says, as a state.Pod. No I/O."""

from collections.abc import Iterator
from datetime import datetime

from reranker_operator.objects import serving
from reranker_operator.world import names
from reranker_operator.world.colours import Colour
from reranker_operator.world.facts import Problem, condition
from reranker_operator.world.mounts import mounts_of
from reranker_operator.world.names import Document
from reranker_operator.world.state import Pod

ENDED = ("Succeeded", "Failed")

#: Waiting reasons that a person has to do something about; other errors of a start may pass.
STUCK = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
PASSING = frozenset({"ErrImagePull"})
#: The condition of a pod whose volumes are mounted and whose network is there.
STARTED = "PodReadyToStartContainers"


def worker_pod(live: Document, model: str, since: str) -> Pod | None:
    """A living worker pod of a model's Deployment; None for a pod that ended or that something else made.

    since: when the model was created. A pod that is older drains for a former model of this name; what that one
    admitted says nothing of what this one's gate would.
    """
    metadata, status = live["metadata"], live.get("status") or {}
    if status.get("phase") in ENDED or metadata["creationTimestamp"] < since or not _made_by(metadata, model):
        return None
    labels = metadata.get("labels") or {}
    ready = condition(status, "Ready")
    return Pod(
        name=metadata["name"],
        template=labels.get(names.TEMPLATE_LABEL, ""),
        fleet=Colour.GREEN if labels.get(names.FLEET_LABEL) == Colour.GREEN else Colour.BLUE,
        ip=_address(status),
        ready=ready.get("status") == "True",
        terminating="deletionTimestamp" in metadata,
        manifest=serving.manifest((metadata.get("annotations") or {}).get(names.MANIFEST_ANNOTATION)),
        problem=next(_problems(live), None),
        mounts=mounts_of(live.get("spec") or {}),
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        unschedulable_since=_unschedulable_since(status),
        ready_since=_transition(ready) if ready.get("status") == "True" else None,
    )


def _address(status: Document) -> str:
    """Where the worker listens; a server that has ended leaves an address that would be asked until a timeout."""
    servers = (c for c in status.get("containerStatuses") or () if c["name"] == names.SERVER)
    ended = any("terminated" in (server.get("state") or {}) for server in servers)
    return "" if ended else status.get("podIP", "")


def _made_by(metadata: Document, model: str) -> bool:
    # A Deployment's ReplicaSets are named after it; a copy that someone debugs has no owner and tells us nothing.
    owners = metadata.get("ownerReferences") or ()
    return any(o.get("controller") and o["kind"] == "ReplicaSet" and o["name"].startswith(f"{model}-") for o in owners)


def _unschedulable_since(status: Document) -> datetime | None:
    scheduled = condition(status, "PodScheduled")
    if scheduled.get("status") != "False" or scheduled.get("reason") != "Unschedulable":
        return None
    return _transition(scheduled)


def _transition(said: Document) -> datetime | None:
    """When the status of a condition last changed."""
    since = said.get("lastTransitionTime")
    return datetime.fromisoformat(since) if since else None


def _problems(live: Document) -> Iterator[Problem]:
    pod, status = live["metadata"]["name"], live.get("status") or {}
    scheduled = condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        # An autoscaler may be adding a node: not stalled before the Deployment's progress deadline.
        reason = scheduled.get("reason", "Unschedulable")
        yield Problem(reason, f"pod {pod}: {scheduled.get('message', 'not scheduled')}", stalled=False)
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason", "")
        if reason in STUCK or reason in PASSING:
            message = (
                f"pod {pod}, container {container['name']}: {waiting.get('message', reason)}{_last_end(container)}"
            )
            yield Problem(reason, message, stalled=reason in STUCK)
    if scheduled.get("status") == "True" and condition(status, STARTED).get("status") == "False":
        # What a volume lacks, such as a Secret, stands in the pod's Events alone; most pods are here for a moment.
        parts = ", ".join(_volumes(live.get("spec") or {})) or "none of a Secret or a claim"
        words = f"pod {pod} has a node, where its volumes ({parts}) aren't mounted or its network isn't set up yet; "
        yield Problem("StartingPods", f"{words}the Events of the pod say what is amiss", stalled=False)


def _volumes(spec: Document) -> Iterator[str]:
    """The volumes of a pod that may be missing."""
    for volume in spec.get("volumes") or ():
        if "secret" in volume:
            yield f"Secret {volume['secret'].get('secretName')}"
        elif "persistentVolumeClaim" in volume:
            yield f"claim {volume['persistentVolumeClaim'].get('claimName')}"
        elif "image" in volume:
            yield f"image {volume['image'].get('reference')}"


def _last_end(container: Document) -> str:
    ended = (container.get("lastState") or {}).get("terminated")
    if not ended:
        return ""
    words = (ended.get("message") or ended.get("reason") or "").strip()
    return f"; it last ended with exit code {ended.get('exitCode')}" + (f": {words}" if words else "")
