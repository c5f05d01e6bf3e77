"""What the Deployment's controller does: ReplicaSets that grow and shrink, pods for each, and a deadline for progress.

Left out are a share of the pods for each ReplicaSet when a Deployment is resized in the middle of a roll, and the
defaults that the API server writes into objects.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from reranker_operator.world import names
from reranker_operator.world.colours import Colour
from reranker_operator.world.names import Document
from reranker_operator.world.state import DEPLOYMENTS
from tests.unit.operator.simulation.cluster import Cluster
from tests.unit.operator.simulation.pods import WorkerPod

LATE = "ProgressDeadlineExceeded"


@dataclass
class ReplicaSet:
    """Pods of one template; `replicas` is how many there should be."""

    template: Document
    replicas: int = 0

    def owns(self, pod: WorkerPod) -> bool:
        return pod.stays and pod.made_of == self.template


@dataclass(frozen=True)
class Counts:
    """How far a roll is: pods of the new template, those of them that are available, and pods of older ones."""

    new: int
    available: int
    old: int

    def is_beyond(self, before: "Counts") -> bool:
        return self.new > before.new or self.available > before.available or self.old < before.old


@dataclass
class Fleet:
    """What the controller remembers of one Deployment: its ReplicaSets, the oldest first, and its progress."""

    sets: list[ReplicaSet] = field(default_factory=list)
    rolled: str = ""
    counts: Counts = Counts(0, 0, 0)
    since: int = 0
    complete: bool = False


@dataclass
class DeploymentController:
    """Looks after the Deployments of both fleets, after `idle_until`; `say` takes a line for the log."""

    cluster: Cluster
    say: Callable[[str], None]
    fleets: dict[Colour, Fleet] = field(default_factory=dict)
    made: int = 0
    idle_until: int = 0

    def step(self, now: int) -> None:
        """Do one second's work."""
        if now < self.idle_until:
            return
        for colour, kind in DEPLOYMENTS.items():
            live = self.cluster.children.get(kind)
            if live is not None:
                self._roll(colour, live, now)
            elif self.fleets.pop(colour, None) is not None:
                self._end(self._pods(colour), now)

    def _pods(self, colour: Colour) -> list[WorkerPod]:
        return [pod for pod in self.cluster.pods if pod.fleet is colour and pod.stays]

    def _roll(self, colour: Colour, live: Document, now: int) -> None:
        fleet = self.fleets.setdefault(colour, Fleet())
        new = _of_template(fleet, live["spec"]["template"])
        old = [each for each in fleet.sets if each is not new]
        available = [pod for pod in self._pods(colour) if _is_available(pod, live, now)]
        self._resize(live, new, old, available)
        for each in fleet.sets:
            self._fill(colour, each, now)
        fleet.sets = [*[each for each in old if each.replicas], new]
        live["status"] = self._status(colour, live, new, now)

    def _resize(self, live: Document, new: ReplicaSet, old: list[ReplicaSet], available: list[WorkerPod]) -> None:
        """Say how many pods each ReplicaSet is to have now: the new one first, then the old ones, sick pods first."""
        wanted, surge, unavailable = _pace(live)
        if wanted == 0:
            for each in (new, *old):
                each.replicas = 0
            return
        total = new.replicas + sum(each.replicas for each in old)
        if new.replicas > wanted:
            new.replicas = wanted
        else:
            new.replicas += max(0, min(wanted + surge - total, wanted - new.replicas))
        least = wanted - unavailable
        total = new.replicas + sum(each.replicas for each in old)
        spare = total - least - (new.replicas - sum(map(new.owns, available)))
        for each in old:
            sick = min(max(spare, 0), each.replicas - sum(map(each.owns, available)))
            each.replicas -= max(0, sick)
            spare -= max(0, sick)
        healthy = min(max(spare, 0), max(0, len(available) - least))
        for each in old:
            gone = min(healthy, each.replicas)
            each.replicas -= gone
            healthy -= gone

    def _fill(self, colour: Colour, replica_set: ReplicaSet, now: int) -> None:
        """Make the pods that a ReplicaSet lacks, or end what is too much: unready ones first, then young ones."""
        owned = [pod for pod in self._pods(colour) if replica_set.owns(pod)]
        for _ in range(replica_set.replicas - len(owned)):
            self.made += 1
            pod = WorkerPod(f"{colour.value}-{self.made}", colour, replica_set.template, now)
            self.cluster.pods.append(pod)
            self.say(f"  pod {pod.name} of {pod.template} is made")
        owned.sort(key=lambda pod: (pod.ready, -pod.born))
        self._end(owned[: max(0, len(owned) - replica_set.replicas)], now)

    def _end(self, pods: Iterable[WorkerPod], now: int) -> None:
        for pod in pods:
            pod.end(now)
            self.say(f"  pod {pod.name} ends")

    def _status(self, colour: Colour, live: Document, new: ReplicaSet, now: int) -> Document:
        fleet, pods, wanted = self.fleets[colour], self._pods(colour), int(live["spec"]["replicas"])
        mine = [pod for pod in pods if new.owns(pod)]
        counts = Counts(len(mine), sum(_is_available(pod, live, now) for pod in mine), len(pods) - len(mine))
        template = names.hash8(new.template)
        if template != fleet.rolled or counts.is_beyond(fleet.counts):
            fleet.since = now
        # What was complete once stays so, though pods are lost or more are wanted: that is no roll that may come late.
        stays = fleet.complete and template == fleet.rolled and counts.old == 0
        fleet.complete = stays or counts == Counts(wanted, wanted, 0)
        fleet.rolled, fleet.counts = template, counts
        return {
            "observedGeneration": live["metadata"]["generation"],
            "availableReplicas": sum(_is_available(pod, live, now) for pod in pods),
            "conditions": [_progressing(fleet, live, now)],
        }


def _of_template(fleet: Fleet, template: Document) -> ReplicaSet:
    found = next((each for each in fleet.sets if each.template == template), None)
    if found is None:
        found = ReplicaSet(template)
        fleet.sets.append(found)
    return found


def _pace(live: Document) -> tuple[int, int, int]:
    """How many pods are wanted, how many more there may be, and how many fewer."""
    wanted, pace = int(live["spec"]["replicas"]), live["spec"]["strategy"]["rollingUpdate"]
    unavailable = wanted if pace["maxUnavailable"] == "100%" else int(pace["maxUnavailable"])
    return wanted, int(pace["maxSurge"]), min(unavailable, wanted)


def _is_available(pod: WorkerPod, live: Document, now: int) -> bool:
    return pod.ready and now - pod.ready_since >= int(live["spec"].get("minReadySeconds", 0))


def _progressing(fleet: Fleet, live: Document, now: int) -> Document:
    if fleet.complete:
        return {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": "complete"}
    if now - fleet.since > int(live["spec"]["progressDeadlineSeconds"]):
        return {"type": "Progressing", "status": "False", "reason": LATE, "message": "no progress in time"}
    return {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "message": "it goes on"}
