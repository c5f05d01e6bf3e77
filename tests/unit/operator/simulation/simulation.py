"""Runs it all side by side, second by second: the Deployment's controller, the pods, then the operator's reconcile."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random

from reranker_operator.decisions import gate, rejection
from reranker_operator.decisions.plan import plan
from reranker_operator.decisions.target import target
from reranker_operator.objects import ownership, serving
from reranker_operator.objects.merge_patch import merge_patch
from reranker_operator.settings import Settings
from reranker_operator.status import conditions
from reranker_operator.status.transitions import events
from reranker_operator.world.actions import Action, Announce, Apply
from reranker_operator.world.facts import condition
from reranker_operator.world.names import Document
from reranker_operator.world.state import Kind, Target, World
from tests.unit.operator.simulation.clock import at
from tests.unit.operator.simulation.cluster import Cluster
from tests.unit.operator.simulation.deployments import DeploymentController
from tests.unit.operator.simulation.invariants import Watch
from tests.unit.operator.simulation.judge import Circumstances, SimulatedJudge
from tests.unit.operator.simulation.pods import Surroundings, WorkerPod

SETTINGS = Settings(worker_image="worker:1")
#: How long a pod takes to go once it is to end.
DRAIN_S = 4
#: Nothing written for so long: longer than any deadline, retry or kept fleet of the simulated specs.
QUIET_S = 80


@dataclass
class Troubles:
    """What goes wrong just now, each as how likely it is in a second; `muted` pods don't answer the operator at all.

    lags: the operator doesn't look. crashes: it ends between two writes. misses: a pod doesn't answer a question.
    capacity: how many pods the nodes have room for, None for any number.
    """

    lags: float = 0.0
    crashes: float = 0.0
    misses: float = 0.0
    capacity: int | None = None
    golden_set: bool = True
    muted: frozenset[str] = frozenset()

    def end(self) -> None:
        """Let nothing go wrong any more."""
        self.lags = self.crashes = self.misses = 0.0
        self.capacity, self.golden_set, self.muted = None, True, frozenset()


@dataclass
class Simulation:
    """One model's life in one cluster, the same for the same seed."""

    seed: int = 0
    now: int = 0
    log: list[str] = field(default_factory=list)
    troubles: Troubles = field(default_factory=Troubles)
    judge: SimulatedJudge = field(default_factory=SimulatedJudge)
    writes: int | None = None  # of the last second; None where the operator didn't look

    def __post_init__(self) -> None:
        self.dice = Random(self.seed)
        self.cluster = Cluster(self.say)
        self.controller = DeploymentController(self.cluster, self.say)
        self.watch = Watch(self.cluster, self.say)
        self.goal: Target | None = None
        self.actions: Sequence[Action] = ()

    def say(self, line: str) -> None:
        self.log.append(f"{self.now:4d} {line}")

    def edit(self, spec: Document, seconds: int = 0) -> None:
        """Write the spec, then let so many seconds pass."""
        self.cluster.edit(spec)
        self.run(seconds)

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.step()

    def settle(self, most_s: int = 420) -> bool:
        """Run until nothing was written for a good while; whether it came to that."""
        quiet = 0
        for _ in range(most_s):
            self.step()
            quiet = quiet + 1 if self.writes == 0 else 0
            if quiet >= QUIET_S:
                return True
        return False

    def step(self) -> None:
        """Let one second pass; an error tells what led to it."""
        try:
            self._pass_second()
        except Exception as error:
            error.add_note(self.trace())
            raise

    def _pass_second(self) -> None:
        self.now += 1
        pods = self.cluster.pods
        pods[:] = [pod for pod in pods if pod.ends_since is None or self.now - pod.ends_since < DRAIN_S]
        self.controller.step(self.now)
        for pod in pods:
            pod.step(Surroundings(self.now, self.cluster.manifest, self._has_room(), self.dice))
        self.writes = None if self._happens(self.troubles.lags) else self._reconcile()
        self.watch.step(self.now)

    def lose(self, pods: Sequence[WorkerPod], unnoticed_s: int) -> None:
        """Take pods away at once, as a node does that fails; their controller notices after so many seconds."""
        self.say(f"!! lost: {', '.join(pod.name for pod in pods)}")
        self.cluster.pods[:] = [pod for pod in self.cluster.pods if pod not in pods]
        self.controller.idle_until = self.now + 1 + unnoticed_s

    def _happens(self, likelihood: float) -> bool:
        return likelihood > 0 and self.dice.random() < likelihood

    def _has_room(self) -> bool:
        capacity = self.troubles.capacity
        return capacity is None or sum(pod.placed for pod in self.cluster.pods) < capacity

    def _reconcile(self) -> int | None:
        """Observe, decide, act and report, as reconcile.py does; the number of writes, None where it broke off."""
        world = self._judged(self._observe())
        assert ownership.stale(world) is None, "the operator takes its own writes for newer ones"
        self.goal = target(world, SETTINGS)
        self.actions = plan(world, self.goal)
        self.watch.decision(world, self.goal)
        ordered = _in_order(self.actions)
        done = self.dice.randrange(len(ordered)) if ordered and self._happens(self.troubles.crashes) else len(ordered)
        for action in ordered[:done]:
            self.cluster.execute(action)
        if done < len(ordered):
            self.say(f"!! the operator crashes after {done} of {len(ordered)} writes")
            self.judge.forget()
            return None
        return self._report(world, self.goal, len(ordered))

    def _report(self, world: World, goal: Target, writes: int) -> int | None:
        before = self.cluster.status
        status = conditions.status(world, goal, at(self.now))
        patch = merge_patch(before, status)
        if not patch:
            return writes
        if self._happens(self.troubles.crashes):
            self.say("!! the status can't be written")
            return None
        self.cluster.write_status(world.model.resource_version, patch)
        assert self.cluster.status == status, "the patch doesn't lead to the status"
        for event in events(before, status):
            self.say(f"  event {event.reason}: {event.message}")
        return writes + 1

    def _observe(self) -> World:
        cluster, troubles = self.cluster, self.troubles
        reports = {
            pod.name: report
            for pod in cluster.pods
            if (report := pod.report(self.now)) is not None
            and pod.name not in troubles.muted
            and not self._happens(troubles.misses)
        }
        return World(
            model=cluster.model,
            children=dict(cluster.children),
            manifest=serving.manifest(cluster.manifest),
            pods=tuple(pod.observed(self.now) for pod in cluster.pods),
            reports=reports,
            adapters=tuple(cluster.adapters),
            history=cluster.past,
            now=at(self.now),
        )

    def _judged(self, world: World) -> World:
        """The world with the gate's judgement, in the steps of reconcile.py."""
        if rejection.stands(world):
            self.judge.forget()
            return world
        self.judge.keep(gate.awaited(world))
        trial = gate.trial(world)
        if trial is None:
            return world
        answering = frozenset(world.reports)
        here = Circumstances(self.now, self.troubles.golden_set, world.model.spec.source.uri, answering)
        return replace(world, judgement=self.judge.judgement(trial, here))

    def answering(self) -> list[str]:
        """What clients are answered with, by the short name of the revision, one for each ready pod."""
        return sorted(self.cluster.short(pod.answers_with) for pod in self.watch.behind_service())

    def is_ready(self) -> bool:
        return condition(self.cluster.status, "Ready").get("status") == "True"

    def stalled(self) -> str:
        """The reason why it is Stalled; "" where it isn't."""
        return str(condition(self.cluster.status, "Stalled").get("reason", ""))

    def trace(self) -> str:
        """Everything that happened, for a person."""
        ready = condition(self.cluster.status, "Ready")
        end = f"in the end: Ready {ready.get('status')}, {ready.get('reason')}: {ready.get('message')}"
        return "\n".join([f"seed {self.seed}", *self.log, end, f"answering: {self.answering()}"])


def _in_order(actions: Sequence[Action]) -> list[Action]:
    """The manifest, then the pods that are told, then other children, then what can wait, as cluster.py does it."""

    def turn(action: Action) -> int:
        match action:
            case Apply(Kind.CONFIG_MAP):
                return 0
            case Announce():
                return 1
            case Apply():
                return 2
            case _:
                return 3

    return sorted(actions, key=turn)
