"""One reconcile: observe the world, decide, act, report. Level-triggered: what led to it doesn't matter."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum, auto

import structlog

from reranker_operator.adapter_reports import AdapterReports
from reranker_operator.cluster import Cluster
from reranker_operator.decisions import blue_green, gate, rejection
from reranker_operator.decisions.plan import plan
from reranker_operator.decisions.target import target
from reranker_operator.errors import Conflict, NotFound, OperatorError, Refused, Stale, UnreadableSpec
from reranker_operator.judge import Judge
from reranker_operator.objects import ownership
from reranker_operator.objects.merge_patch import merge_patch
from reranker_operator.settings import Settings
from reranker_operator.status import conditions
from reranker_operator.status.transitions import events
from reranker_operator.worker_client import WorkerClient
from reranker_operator.world.facts import INVALID_SPEC, Problem, condition
from reranker_operator.world.fleet import last_flip
from reranker_operator.world.names import Document, Key
from reranker_operator.world.state import StoredModel, Target, World, stored_model

log = structlog.get_logger(__name__)

#: Edits that follow one within this time are taken together; the first one is never held back.
COALESCE_S = 1.5
#: Workers are asked anew while a fleet converges: soon at first, seldom when it takes long.
POLL_FIRST_S, POLL_GROWTH, POLL_MAX_S = 0.25, 1.3, 3.0
#: The same where somebody has to do something: what a person edits is watched, so this is for what passes by itself.
POLL_STALLED_MAX_S = 15.0


@dataclass(frozen=True)
class Outcome:
    """What came of one reconcile; `again_s`: when to look again although nothing may have happened."""

    changed: bool = False
    again_s: float | None = None


class Rest(Enum):
    """What is left to do once a reconcile has acted: nothing, to wait, or something that somebody else has to do."""

    SETTLED = auto()
    CONVERGING = auto()
    STALLED = auto()


@dataclass(frozen=True)
class Memory:
    """What is remembered of a model between two reconciles; losing it costs a little time, nothing else."""

    edition: frozenset[tuple[str, int]]
    edited_at: float
    polls: int = 0


class Reconciler:
    """Brings one model at a time to what its spec asks for."""

    def __init__(
        self,
        cluster: Cluster,
        workers: WorkerClient,
        judge: Judge,
        settings: Settings,
        *,
        clock: Callable[[], float],
        on_status: Callable[[Key, Document | None], None],
        on_adapters: Callable[[Key, Mapping[tuple[str, str], Document]], None],
    ) -> None:
        self._cluster = cluster
        self._workers = workers
        self._judge = judge
        self._settings = settings
        self._adapter_reports = AdapterReports(cluster, settings, on_adapters)
        self._clock = clock
        self._on_status = on_status
        self._memory: dict[Key, Memory] = {}

    async def reconcile(self, key: Key) -> Outcome:
        """Raises OperatorError when the API server can't be reached, refuses, or somebody wrote in between."""
        try:
            world = await self._observe(key)
        except UnreadableSpec as error:
            return await self._explain(error)
        if world is None:
            self._memory.pop(key, None)
            self._judge.forget(key)
            self._on_status(key, None)
            return Outcome(await self._adapter_reports.report_missing(key))
        newer = ownership.stale(world)
        if newer is not None:
            raise Stale(f"{newer} of {key} was written for a later generation than {world.model.generation}")
        wait_s = self._coalesce(world)
        if wait_s > 0:
            return Outcome(again_s=wait_s)
        return await self._converge(world)

    async def _observe(self, key: Key) -> World | None:
        # An adapter may name a model that the operator has no right to look for.
        return await self._cluster.observe(key) if self._settings.watches(key.namespace) else None

    def _coalesce(self, world: World) -> float:
        """Seconds to wait for edits that may follow; 0 for the first edit of a series."""
        model, edition = world.model, _edition(world)
        now, known = self._clock(), self._memory.get(model.key)
        if known is not None and known.edition == edition:
            return 0.0
        if known is not None and now - known.edited_at < COALESCE_S:
            return known.edited_at + COALESCE_S - now
        self._memory[model.key] = Memory(edition, now)
        return 0.0

    async def _converge(self, observed: World) -> Outcome:
        reports = await self._workers.reports(observed.pods)
        world = replace(observed, reports=reports, now=datetime.now(UTC))
        world = self._judged(world)
        goal = target(world, self._settings)
        actions = plan(world, goal)
        try:
            refused = await self._cluster.execute(world.model.key, actions)
        except Refused as error:
            if not isinstance(error, Conflict | NotFound) and not error.outage:
                await self._write_statuses(replace(world, refusal=str(error)), _undone(world, goal))
            raise
        written, rest = await self._write_statuses(replace(world, refused=refused), goal)
        changed = len(actions) > len(refused) or written
        again_s = _kept_s(world, goal) if rest is Rest.SETTLED else self._poll_s(world.model.key, rest, changed=changed)
        return Outcome(changed, again_s)

    async def _write_statuses(self, world: World, goal: Target) -> tuple[bool, Rest]:
        """Write what is true of the model and of its adapters; whether any differed, and what is left to wait for."""
        status = conditions.status(world, goal, datetime.now(UTC))
        written = await self._write_status(world.model, status)
        adapters_written, settled = await self._adapter_reports.report(world, goal.manifest)
        ready = settled and condition(status, "Ready").get("status") == "True"
        if condition(status, "Stalled").get("status") == "True" or (ready and world.refused):
            return written or adapters_written, Rest.STALLED
        return written or adapters_written, Rest.SETTLED if ready else Rest.CONVERGING

    def _judged(self, world: World) -> World:
        """The world with the gate's judgement of the wanted revision, if there is one to judge."""
        if rejection.stands(world):
            # What was rejected isn't tried again, though a pod may still have it in memory.
            self._judge.forget(world.model.key)
            return world
        # A verdict is on the golden set of its day: who was admitted, or isn't wanted now, is tried anew the next time.
        self._judge.keep(world.model.key, gate.awaited(world))
        trial = gate.trial(world)
        return world if trial is None else replace(world, judgement=self._judge.judgement(trial))

    def _poll_s(self, key: Key, rest: Rest, *, changed: bool) -> float:
        known = self._memory[key]
        polls = 0 if changed else known.polls + 1
        self._memory[key] = replace(known, polls=polls)
        most = POLL_STALLED_MAX_S if rest is Rest.STALLED else POLL_MAX_S
        return min(POLL_FIRST_S * POLL_GROWTH ** min(polls, 20), most)

    async def _explain(self, error: UnreadableSpec) -> Outcome:
        """Say in the status why a spec can't be read; what serves goes on as it is."""
        model, problem = stored_model(error.live), Problem(INVALID_SPEC, error.message)
        pods = await self._cluster.pods(error.live)
        return Outcome(await self._write_status(model, conditions.invalid(model, pods, problem, datetime.now(UTC))))

    async def _write_status(self, model: StoredModel, status: Document) -> bool:
        """Write what differs in the status, then tell of the change; whether anything differed."""
        patch = merge_patch(model.status, status)
        if patch:
            try:
                await self._cluster.write_status(model.key, model.resource_version, patch)
            except NotFound:
                return False  # deleted since; its own event brings it up again
            await self._emit(model, status)
        self._on_status(model.key, status)
        return bool(patch)

    async def _emit(self, model: StoredModel, status: Document) -> None:
        """Post the Events of a status that was written."""
        for event in events(model.status, status):
            log.info(event.message, model=str(model.key), reason=event.reason)
            try:
                await self._cluster.emit(model.reference, event)
            except OperatorError as error:  # an Event is news, not state: the status has it already
                log.warning("an Event couldn't be posted", model=str(model.key), error=str(error))


def _undone(world: World, goal: Target) -> Target:
    """The target where it couldn't be written: clients reach, and pods were told, what was there before."""
    return replace(goal, flip=last_flip(world), manifest=world.manifest or goal.manifest)


def _kept_s(world: World, goal: Target) -> float | None:
    """Seconds until the fleet that the Service left is to go; None where none is kept."""
    until = blue_green.kept_until(world, goal.flip)
    return (until - world.now).total_seconds() if until is not None and until > world.now else None


def _edition(world: World) -> frozenset[tuple[str, int]]:
    """What users wrote last, of the model and of the adapters that name it."""
    adapters = ((each.uid, each.generation) for each in world.adapters)
    return frozenset(((world.model.uid, world.model.generation), *adapters))
