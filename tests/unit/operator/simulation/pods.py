"""A worker pod on its node: when its process runs, what its probe says, and what the operator sees of it."""

from dataclasses import dataclass, field
from random import Random

from reranker_operator.objects import serving
from reranker_operator.worker_client import worker_report
from reranker_operator.world import names
from reranker_operator.world.colours import Colour
from reranker_operator.world.facts import Problem
from reranker_operator.world.mounts import mounts_of
from reranker_operator.world.names import Document
from reranker_operator.world.reports import WorkerReport
from reranker_operator.world.state import Pod
from tests.unit.operator.simulation.clock import at
from tests.unit.operator.simulation.worker import Worker

#: Seconds from a node for a pod to its worker's first look at the manifest.
START_S = 2


@dataclass(frozen=True)
class Surroundings:
    """What a pod finds on its node in one second; manifest: the ConfigMap's text, room: whether a pod fits."""

    now: int
    manifest: str | None
    room: bool
    dice: Random


@dataclass
class WorkerPod:
    """One pod, from its creation until it has ended; `made_of` is the pod template."""

    name: str
    fleet: Colour
    made_of: Document
    born: int
    annotation: str | None = None
    starts: int | None = None
    waits_since: int | None = None
    ends_since: int | None = None
    ready: bool = False
    ready_since: int = 0
    worker: Worker = field(init=False)

    def __post_init__(self) -> None:
        self.worker = Worker(self.template)

    @property
    def template(self) -> str:
        return str(self.made_of["metadata"]["labels"][names.TEMPLATE_LABEL])

    @property
    def placed(self) -> bool:
        return self.starts is not None

    @property
    def stays(self) -> bool:
        return self.ends_since is None

    @property
    def answers_with(self) -> str | None:
        """The revision that clients get scores of from this pod; None while it isn't ready."""
        return self.worker.served.model if self.ready and self.stays else None

    def end(self, now: int) -> None:
        if self.stays:
            self.ends_since, self.ready = now, False

    def restart(self) -> None:
        """End the process; another one starts in its place, with nothing in memory."""
        self.worker = Worker(self.template)
        self.ready, self.starts = False, None

    def step(self, here: Surroundings) -> None:
        """Live through one second."""
        if not self.stays or not self._comes_up(here):
            return
        self.worker.step(here.now, here.manifest, self.annotation, here.dice)
        ready = self.worker.state(draining=False).ready and not self.worker.is_silent
        if ready and not self.ready:
            self.ready_since = here.now
        self.ready = ready

    def _comes_up(self, here: Surroundings) -> bool:
        """Get a node, then the volumes, then the process; whether that runs by now."""
        if self.starts is None and not here.room:
            self.waits_since = here.now if self.waits_since is None else self.waits_since
        elif self.starts is None and here.manifest is not None:  # the kubelet can't mount a ConfigMap that isn't there
            self.starts, self.waits_since = here.now + START_S, None
        return self._runs(here.now)

    def _runs(self, now: int) -> bool:
        return self.starts is not None and now >= self.starts

    def report(self, now: int) -> WorkerReport | None:
        """What the operator's client gets from the pod; None while nothing answers there."""
        if not self._runs(now) or self.worker.is_silent:
            return None
        return worker_report(self.worker.state(draining=not self.stays).document())

    def observed(self, now: int) -> Pod:
        """The pod as the operator sees it."""
        since = at(self.waits_since) if self.waits_since is not None and not self.placed else None
        return Pod(
            name=self.name,
            template=self.template,
            fleet=self.fleet,
            ip="10.0.0.1" if self._runs(now) else "",
            ready=self.ready,
            terminating=not self.stays,
            manifest=serving.manifest(self.annotation),
            problem=Problem("Unschedulable", "no node has room", stalled=False) if since is not None else None,
            mounts=mounts_of(self.made_of["spec"]),
            created=at(self.born),
            unschedulable_since=since,
        )
